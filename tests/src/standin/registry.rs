//! The part of a Docker registry that `docker push` speaks, for images of the stand-in's repositories: blobs
//! are uploaded, then a manifest names them. Nothing can be pulled.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Response, StatusCode};
use sha2::{Digest as _, Sha256};

use super::project::Project;

/// A request, with its body.
#[derive(Debug)]
pub struct Asked<'a> {
    pub method: &'a Method,
    /// After `/v2/`, `PROJECT/REPOSITORY/IMAGE/…`, split.
    pub rest: &'a [&'a str],
    /// The value of `digest` in the query.
    pub digest: Option<String>,
    pub body: &'a [u8],
}

impl Project {
    /// One request of a push.
    pub fn push(&mut self, asked: &Asked<'_>) -> Response<Full<Bytes>> {
        let [_, repository, name, what @ ..] = asked.rest else { return answer(404, &[]) };
        if !self.repositories.keys().any(|(_, there)| there == repository) {
            return answer(404, &[]);
        }
        let base = format!("/v2/{}/{repository}/{name}", self.id);
        match (asked.method, what) {
            (&Method::HEAD, ["blobs", digest]) => match self.blobs.get(*digest) {
                Some(size) => {
                    answer(200, &[("docker-content-digest", digest), ("content-length", &size.to_string())])
                }
                None => answer(404, &[]),
            },
            (&Method::POST, ["blobs", "uploads"]) => {
                let id = self.uploads.len().to_string();
                self.uploads.push(0);
                answer(
                    202,
                    &[("location", &format!("{base}/blobs/uploads/{id}")), ("docker-upload-uuid", &id)],
                )
            }
            (&Method::PATCH, ["blobs", "uploads", id]) => {
                let Some(size) = self.grow_upload(id, asked.body.len()) else { return answer(404, &[]) };
                let range = format!("0-{}", size.saturating_sub(1));
                answer(202, &[("location", &format!("{base}/blobs/uploads/{id}")), ("range", &range)])
            }
            (&Method::PUT, ["blobs", "uploads", id]) => {
                let Some(size) = self.grow_upload(id, asked.body.len()) else { return answer(404, &[]) };
                let digest = asked.digest.clone().unwrap_or_default();
                self.blobs.insert(digest.clone(), size);
                answer(
                    201,
                    &[("location", &format!("{base}/blobs/{digest}")), ("docker-content-digest", &digest)],
                )
            }
            (&Method::PUT, ["manifests", tag]) => {
                self.images.push(format!("{}/{repository}/{name}:{tag}", self.id));
                // Docker compares it with the hash of what it sent.
                let digest = format!("sha256:{}", hex::encode(Sha256::digest(asked.body)));
                answer(
                    201,
                    &[
                        ("location", &format!("{base}/manifests/{digest}")),
                        ("docker-content-digest", &digest),
                    ],
                )
            }
            _ => answer(404, &[]),
        }
    }

    /// Adds to an upload, and gives its size.
    fn grow_upload(&mut self, id: &str, bytes: usize) -> Option<usize> {
        let size = self.uploads.get_mut(id.parse::<usize>().ok()?)?;
        *size += bytes;
        Some(*size)
    }
}

/// Without credentials: the challenge that makes Docker send them.
pub fn challenge() -> Response<Full<Bytes>> {
    answer(401, &[("www-authenticate", "Basic realm=\"stand-in\"")])
}

pub fn answer(status: u16, headers: &[(&'static str, &str)]) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    let all = headers.iter().chain(&[("docker-distribution-api-version", "registry/2.0")]);
    for (name, value) in all {
        if let Ok(value) = hyper::header::HeaderValue::from_str(value) {
            response.headers_mut().insert(*name, value);
        }
    }
    response
}
