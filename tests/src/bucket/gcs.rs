//! A stand-in of Google Cloud Storage's XML API, as far as the store's arm uses it: no server for tests that speaks it can
//! be had from a registry. It honours generations, or ignores them on purpose, as gcp-storage-emulator does.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use worker::conformance::store::Arm;
use worker::store::bucket::{self, Bucket, Client, Settings};
use worker::store::location::BucketUrl;

use super::server::PATIENCE;
use super::{listen, url};

/// Names in an answer, as Google has them.
const PAGE: usize = 1000;
const GENERATION: &str = "x-goog-generation";
const IF_GENERATION: &str = "x-goog-if-generation-match";
const COPY: &str = "x-goog-copy-source";
const METADATA: &str = "x-goog-meta-";

type Answer = Response<Full<Bytes>>;

#[derive(Debug)]
struct Object {
    bytes: Bytes,
    generation: u64,
    metadata: HeaderMap,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Object>,
    generations: u64,
    /// Uploads under way, with their parts.
    uploads: BTreeMap<String, BTreeMap<u32, Bytes>>,
    is_careless: bool,
}

/// One bucket, `bucket`, for as long as the process lives.
#[derive(Debug, Clone)]
pub struct Gcs {
    address: SocketAddr,
}

impl Gcs {
    /// Begins to serve; a careless one ignores preconditions.
    pub fn serve(is_careless: bool) -> Self {
        let state = Arc::new(Mutex::new(State { is_careless, ..State::default() }));
        let address = listen(move |stream| serve(stream, state.clone()));
        Self { address }
    }

    pub fn settings(&self) -> Settings {
        let variables = vec![("STORAGE_EMULATOR_HOST".to_owned(), self.address.to_string())];
        Settings { variables, patience: PATIENCE }
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let service = service_fn(move |request| answer(request, state.clone()));
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// A stand-in for itself.
#[derive(Debug)]
pub struct GcsArm(Gcs, BucketUrl);

impl Arm for GcsArm {
    type Client = Bucket<Client>;

    fn open() -> Option<Self> {
        Some(Self(Gcs::serve(false), url("gs://bucket/team/volume")))
    }

    fn client(&self) -> Bucket<Client> {
        bucket::open(&self.1, &self.0.settings()).expect("good settings")
    }
}

async fn answer(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Ok(error(StatusCode::BAD_REQUEST, "IncompleteBody")) };
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let uri = format!("http://stand-in{}", head.uri);
    let Ok(uri) = url::Url::parse(&uri) else { return Ok(error(StatusCode::BAD_REQUEST, "InvalidURI")) };
    let path = percent_decoded(uri.path().trim_start_matches('/'));
    let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
    if bucket != "bucket" {
        return Ok(error(StatusCode::NOT_FOUND, "NoSuchBucket"));
    }
    let query: BTreeMap<String, String> = uri.query_pairs().into_owned().collect();
    let upload = query.get("uploadId").cloned();
    Ok(match head.method.as_str() {
        "POST" if upload.is_none() => begin(&mut state),
        "POST" => state.complete(key, &upload.unwrap_or_default()),
        "PUT" if upload.is_some() => state.part(&upload.unwrap_or_default(), &query, body.to_bytes()),
        "GET" if key.is_empty() => state.list(&query),
        "GET" | "HEAD" => state.get(key, &head.headers),
        "PUT" => state.put(key, body.to_bytes(), &head.headers),
        "DELETE" if state.objects.remove(key).is_some() => said(StatusCode::NO_CONTENT),
        "DELETE" => error(StatusCode::NOT_FOUND, "NoSuchKey"),
        _ => error(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
    })
}

fn begin(state: &mut State) -> Answer {
    let id = format!("upload-{}", state.uploads.len());
    state.uploads.insert(id.clone(), BTreeMap::new());
    let xml =
        format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>");
    Response::new(Full::new(xml.into()))
}

impl State {
    fn part(&mut self, upload: &str, query: &BTreeMap<String, String>, bytes: Bytes) -> Answer {
        let number = query.get("partNumber").and_then(|number| number.parse().ok());
        let (Some(parts), Some(number)) = (self.uploads.get_mut(upload), number) else {
            return error(StatusCode::NOT_FOUND, "NoSuchUpload");
        };
        parts.insert(number, bytes);
        let mut answer = said(StatusCode::OK);
        answer.headers_mut().insert("etag", format!("\"{number}\"").parse().expect("a header's value"));
        answer
    }

    fn complete(&mut self, key: &str, upload: &str) -> Answer {
        let Some(parts) = self.uploads.remove(upload) else {
            return error(StatusCode::NOT_FOUND, "NoSuchUpload");
        };
        let bytes: Vec<u8> = parts.into_values().flatten().collect();
        self.put(key, bytes.into(), &HeaderMap::new());
        let xml = "<CompleteMultipartUploadResult><ETag>\"whole\"</ETag></CompleteMultipartUploadResult>";
        Response::new(Full::new(xml.into()))
    }

    fn put(&mut self, key: &str, bytes: Bytes, headers: &HeaderMap) -> Answer {
        let bytes = match headers.get(COPY).and_then(|source| source.to_str().ok()) {
            None => bytes,
            Some(source) => {
                let source = percent_decoded(source);
                let from = source.split_once('/').and_then(|(_, key)| self.objects.get(key));
                match from {
                    Some(object) => object.bytes.clone(),
                    None => return error(StatusCode::NOT_FOUND, "NoSuchKey"),
                }
            }
        };
        let there = self.objects.get(key).map_or(0, |object| object.generation);
        let expected = headers.get(IF_GENERATION).and_then(|value| value.to_str().ok()?.parse().ok());
        if expected.is_some_and(|expected: u64| expected != there) && !self.is_careless {
            return error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
        }
        self.generations += 1;
        let mut metadata = HeaderMap::new();
        for (name, value) in headers.iter().filter(|(name, _)| name.as_str().starts_with(METADATA)) {
            metadata.insert(name.clone(), value.clone());
        }
        let object = Object { bytes, generation: self.generations, metadata };
        let mut answer = said(StatusCode::OK);
        object.describe(answer.headers_mut());
        self.objects.insert(key.to_owned(), object);
        answer
    }

    fn get(&self, key: &str, headers: &HeaderMap) -> Answer {
        let Some(object) = self.objects.get(key) else { return error(StatusCode::NOT_FOUND, "NoSuchKey") };
        let length = object.bytes.len();
        let range = headers.get("range").and_then(|range| {
            let (from, to) = range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
            Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()?))
        });
        let mut answer = match range {
            Some((from, _)) if from >= length => {
                return error(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange");
            }
            Some((from, to)) => {
                let to = to.min(length - 1);
                let mut answer = Response::new(Full::new(object.bytes.slice(from..=to)));
                *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
                let range = format!("bytes {from}-{to}/{length}").parse().expect("a header's value");
                answer.headers_mut().insert("content-range", range);
                answer
            }
            None => Response::new(Full::new(object.bytes.clone())),
        };
        object.describe(answer.headers_mut());
        // Of an answer without a body, as to HEAD, nobody else says it.
        let length = answer.body().size_hint().lower();
        answer.headers_mut().insert("content-length", length.into());
        answer
    }

    fn list(&self, query: &BTreeMap<String, String>) -> Answer {
        let of = |name: &str| query.get(name).map_or("", String::as_str);
        let (prefix, delimiter, after) = (of("prefix"), of("delimiter"), of("continuation-token"));
        let (mut xml, mut folders) = (String::new(), BTreeMap::new());
        let mut last = None;
        let mut count = 0;
        for (key, object) in
            self.objects.iter().filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after)
        {
            if count == PAGE {
                xml +=
                    &format!("<NextContinuationToken>{}</NextContinuationToken>", last.unwrap_or_default());
                break;
            }
            let rest = &key[prefix.len()..];
            match rest.find(delimiter).filter(|_| !delimiter.is_empty()) {
                Some(at) => drop(folders.insert(format!("{prefix}{}", &rest[..=at]), ())),
                None => {
                    xml += &format!(
                        "<Contents><Key>{}</Key><Size>{}</Size><LastModified>2026-01-01T00:00:00Z</LastModified>\
                         <ETag>\"{}\"</ETag></Contents>",
                        escaped(key),
                        object.bytes.len(),
                        object.generation
                    );
                }
            }
            (last, count) = (Some(escaped(key)), count + 1);
        }
        for folder in folders.keys() {
            xml += &format!("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", escaped(folder));
        }
        Response::new(Full::new(format!("<ListBucketResult>{xml}</ListBucketResult>").into()))
    }
}

impl Object {
    fn describe(&self, headers: &mut HeaderMap) {
        headers.extend(self.metadata.clone());
        headers.insert("etag", format!("\"{}\"", self.generation).parse().expect("a header's value"));
        headers.insert(GENERATION, self.generation.into());
        headers.insert("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT".parse().expect("a header's value"));
    }
}

fn said(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

fn error(status: StatusCode, code: &str) -> Answer {
    let mut answer = Response::new(Full::new(format!("<Error><Code>{code}</Code></Error>").into()));
    *answer.status_mut() = status;
    answer
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let code = (*first == b'%').then(|| text_of(more.get(..2)?)).flatten();
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn text_of(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
