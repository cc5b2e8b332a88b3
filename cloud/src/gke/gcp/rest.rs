//! Plain REST for the few calls whose generated clients would be larger than all the rest.

use google_cloud_auth::credentials::Credentials;
use google_cloud_gax::error::rpc::Status;
use http::header::CONTENT_LENGTH;
use reqwest::Method;
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
        let headers = headers(&self.credentials).await?;
        let url = format!("{}{path}", self.endpoint);
        let is_post = method == Method::POST;
        let request = self.client.request(method, url).query(query).headers(headers);
        let request = match body {
            Some(body) => request.json(body),
            // reqwest sends no length by itself, and Google's front end then returns 411.
            None if is_post => request.header(CONTENT_LENGTH, 0),
            None => request,
        };
        let cut = |error: reqwest::Error| {
            let why = innermost(&error);
            let kind = unconnected(&why);
            Error::new(doing, why, kind)
        };
        let response = request.send().await.map_err(cut)?;
        let http = response.status();
        let bytes = response.bytes().await.map_err(cut)?;
        if http.is_success() && bytes.is_empty() {
            return Ok(Value::Null);
        }
        if http.is_success() {
            return serde_json::from_slice(&bytes).map_err(|error| Error::other(doing, error));
        }
        let answer = match Status::try_from(&bytes) {
            Ok(status) => Answer::new(Some(http.as_u16()), &status),
            Err(_) => not_the_apis(http.as_u16()),
        };
        Err(answer.into_error(doing, self.service))
    }
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
