//! Plain REST for the few calls whose generated clients would be larger than all the rest.

use bytes::Bytes;
use google_cloud_auth::credentials::Credentials;
use google_cloud_gax::error::rpc::Status;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use super::error::{Answer, not_the_apis};
use super::settings::headers;
use crate::error::{Error, Result, innermost, unconnected};

/// An API's address and the credentials for it.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    client: reqwest::Client,
    endpoint: String,
    service: &'static str,
    credentials: Credentials,
}

impl Rest {
    pub(super) fn new(endpoint: &str, service: &'static str, credentials: Credentials) -> Result<Self> {
        let client = reqwest::Client::builder().build();
        let client = client.map_err(|error| Error::other("make an HTTP client", innermost(&error)))?;
        Ok(Self { client, endpoint: endpoint.to_owned(), service, credentials })
    }

    /// Sends one request; `path` begins with a slash. An empty response is null.
    pub(super) async fn send(
        &self,
        doing: &str,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value> {
        let request = self.request(method, path).query(query);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let (_, _, bytes) = self.exchange(doing, request).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| Error::other(doing, error))
    }

    /// A request to the API, to be sent by [`Self::exchange`].
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.endpoint))
    }

    /// Sends one request with the credentials, and returns what is answered unless that is a refusal.
    pub(super) async fn exchange(
        &self,
        doing: &str,
        request: RequestBuilder,
    ) -> Result<(StatusCode, HeaderMap, Bytes)> {
        let cut = |error: reqwest::Error| {
            let why = innermost(&error);
            let kind = unconnected(&why);
            Error::new(doing, why, kind)
        };
        let request = request.headers(headers(&self.credentials).await?);
        let (client, request) = request.build_split();
        let mut request = request.map_err(|error| Error::other(doing, innermost(&error)))?;
        // reqwest sends no length by itself, and Google's front end then returns 411.
        if request.body().is_none() && request.method() == Method::POST {
            request.headers_mut().insert(CONTENT_LENGTH, 0.into());
        }
        let response = client.execute(request).await.map_err(cut)?;
        let (http, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.map_err(cut)?;
        // 308: of an upload, some has arrived.
        if http.is_success() || http == StatusCode::PERMANENT_REDIRECT {
            return Ok((http, headers, bytes));
        }
        let answer = match Status::try_from(&bytes) {
            Ok(status) => Answer::new(Some(http.as_u16()), &status),
            Err(_) => not_the_apis(http.as_u16()),
        };
        Err(answer.into_error(doing, self.service))
    }
}

/// The path of `segments`, each of which may hold any character.
pub(super) fn path(segments: &[&str]) -> String {
    let Ok(mut url) = reqwest::Url::parse("http://path/") else { return String::new() };
    if let Ok(mut path) = url.path_segments_mut() {
        path.extend(segments);
    }
    url.path().to_owned()
}

/// What a list holds; nothing if there is none.
pub(super) fn array<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

/// A text field; empty if there is none.
pub(super) fn text(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A field of labels.
pub(super) fn labels(value: &Value) -> crate::gke::plan::Labels {
    let pairs = value.get("labels").and_then(Value::as_object).into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// The last part of a resource's name or URL.
pub(super) fn last_part(name: &str) -> String {
    name.rsplit('/').next().unwrap_or_default().to_owned()
}
