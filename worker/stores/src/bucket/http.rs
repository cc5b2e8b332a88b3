//! A bucket's requests on their way to the server: each has a time limit, is counted, and what the server refuses for
//! good is an error that says so by type. object_store keeps status and body to itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use tokio::time::timeout;

use crate::calls::Calls;

/// How long a server may take to begin its answer to a request without a body.
const ANSWER: Duration = Duration::from_secs(20);
/// Bytes of a body that go up in a second, on a slow line.
const BYTES_PER_S: usize = 100_000;
/// How long a server may take to copy an object.
const COPY: Duration = Duration::from_secs(300);
const COPY_HEADERS: [&str; 2] = ["x-amz-copy-source", "x-goog-copy-source"];
/// Of an error's body, so much is read.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// What a server said that asking again does not change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status}{}{}{}", part(" ", .code), part(": ", .message), part("; the bucket is in ", .region))]
pub(super) struct Refusal {
    pub host: String,
    pub status: u16,
    /// The API's own word for it, such as `NoSuchBucket`.
    pub code: String,
    pub message: String,
    /// The bucket's region, where the server says it.
    pub region: String,
}

fn part(before: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{before}{text}") }
}

/// A request that was not answered.
#[derive(Debug, thiserror::Error)]
#[error("{host}: {why}")]
pub(super) struct Unanswered {
    pub host: String,
    pub why: String,
}

/// Requests so far, by what providers charge for.
#[derive(Debug, Default)]
pub(super) struct Counters {
    writes: AtomicU64,
    lists: AtomicU64,
    reads: AtomicU64,
    deletes: AtomicU64,
}

impl Counters {
    pub fn so_far(&self) -> Calls {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Calls {
            writes: of(&self.writes),
            lists: of(&self.lists),
            reads: of(&self.reads),
            deletes: of(&self.deletes),
        }
    }

    fn count(&self, request: &HttpRequest) {
        let is_list = request.uri().query().is_some_and(|query| query.contains("list-type="));
        let counter = match request.method().as_str() {
            "GET" if is_list => &self.lists,
            "GET" | "HEAD" => &self.reads,
            "DELETE" => &self.deletes,
            _ => &self.writes,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Makes clients whose requests pass through here.
#[derive(Debug, Clone, Default)]
pub(super) struct Connector {
    pub counters: Arc<Counters>,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Service { inner, counters: self.counters.clone() }))
    }
}

#[derive(Debug)]
struct Service {
    inner: HttpClient,
    counters: Arc<Counters>,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.counters.count(&request);
        let host = request.uri().host().unwrap_or_default().to_owned();
        let bytes = request.body().content_length();
        let is_copy = COPY_HEADERS.iter().any(|name| request.headers().contains_key(*name));
        let limit = if is_copy { COPY } else { ANSWER } + Duration::from_secs((bytes / BYTES_PER_S) as u64);
        let answer = match timeout(limit, self.inner.execute(request)).await {
            Ok(answer) => answer.map_err(|error| unanswered(error.kind(), host.clone(), root_of(&error)))?,
            Err(_) => {
                let why = format!("no answer within {} s", limit.as_secs());
                return Err(unanswered(HttpErrorKind::Timeout, host, why));
            }
        };
        refuse(host, answer).await
    }
}

fn unanswered(kind: HttpErrorKind, host: String, why: String) -> HttpError {
    HttpError::new(kind, Unanswered { host, why })
}

/// The innermost cause: what wraps it says that a request failed.
fn root_of(error: &HttpError) -> String {
    let mut error: &dyn std::error::Error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Makes an error of an answer that asking again does not change. Conflicts, failed conditions and what is not there
/// are answers that object_store knows; of busy and failing servers it asks again.
async fn refuse(host: String, answer: HttpResponse) -> Result<HttpResponse, HttpError> {
    let status = answer.status().as_u16();
    if !matches!(status, 301 | 307 | 400 | 401 | 403 | 404 | 405 | 416 | 501) {
        return Ok(answer);
    }
    let (head, body) = answer.into_parts();
    let bytes = timeout(ANSWER, body.bytes()).await.unwrap_or_else(|_| Ok(Default::default()))?;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(REFUSAL_BYTES_MAX)]).into_owned();
    let code = element(&text, "Code");
    // A missing object, which is no failure. A bucket or a user may be what is missing.
    if status == 404 && matches!(code.as_str(), "" | "NoSuchKey" | "NotFound") {
        return Ok(HttpResponse::from_parts(head, bytes.into()));
    }
    let region = head.headers.get("x-amz-bucket-region").and_then(|value| value.to_str().ok());
    let region = region.map_or_else(|| element(&text, "Region"), str::to_owned);
    let message = element(&text, "Message");
    Err(HttpError::new(HttpErrorKind::Unknown, Refusal { host, status, code, message, region }))
}

/// The text of an element of an error's XML; empty where there is none. What it is shown to needs no more.
fn element(xml: &str, name: &str) -> String {
    let inside = xml.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once("</"));
    inside.map_or_else(String::new, |(text, _)| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_the_server_said() {
        let xml = "<?xml?><Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is \
                   wrong</Message><Region>eu-west-1</Region></Error>";
        let refusal = Refusal {
            host: "store".to_owned(),
            status: 400,
            code: element(xml, "Code"),
            message: element(xml, "Message"),
            region: element(xml, "Region"),
        };
        assert_eq!(
            refusal.to_string(),
            "400 AuthorizationHeaderMalformed: the region 'us-east-1' is wrong; the bucket is in eu-west-1"
        );
        assert_eq!(element("<Code>cut", "Code"), "");
    }
}
