//! Objects in a bucket: listed, read by range, put by resumable uploads. Each is named by its generation, which no other
//! content of any name has.

use std::path::Path;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderMap, StatusCode};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::rest::{array, path, text};
use super::{Google, RetryBudget};
use crate::error::{Error, Kind, Result};

/// What one request carries: within its limit also on a slow line, and a multiple of the 256 KiB that uploads take.
const CHUNK: usize = 8 << 20;
/// More answers than any volume's list takes, of a thousand objects each.
const PAGES_MAX: usize = 100_000;
/// The metadata that says what was uploaded.
const SHA256: &str = "sha256";

/// An object, as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectSeen {
    pub name: String,
    pub bytes: u64,
    pub generation: String,
    /// Base64 of four bytes, the first the highest.
    pub crc32c: String,
    /// Of what the deployer uploaded.
    pub sha256: Option<String>,
}

/// What is to be put under a name.
#[derive(Clone, Copy, Debug)]
pub struct Upload<'a> {
    pub name: &'a str,
    pub bytes: u64,
    pub sha256: &'a str,
    /// What it replaces: the generation that was seen, or `0` for nothing.
    pub replaces: &'a str,
}

impl Google {
    /// One answer's objects, with their earlier versions, after those before `token`; and the next token, empty at the end.
    pub(super) async fn versions(&self, bucket: &str, token: &str) -> Result<(Vec<ObjectSeen>, String)> {
        let (doing, path) = listing(bucket);
        let query = [("prefix", ""), ("versions", "true"), ("pageToken", token)];
        let answer = self.get(&self.storage, &doing, &path, &query).await?;
        Ok((array(&answer, "items").map(seen).collect(), text(&answer, "nextPageToken")))
    }

    /// All objects whose names begin with `prefix`.
    pub async fn objects(&self, bucket: &str, prefix: &str) -> Result<Vec<ObjectSeen>> {
        let (doing, path) = listing(bucket);
        let query = [("prefix", prefix), ("versions", "false")];
        let mut all = Vec::new();
        let take = |answer: &Value| all.extend(array(answer, "items").map(seen));
        self.pages(&self.storage, &doing, &path, &query, PAGES_MAX, take).await?;
        Ok(all)
    }

    /// Deletes one generation of an object; not there is success.
    pub async fn delete_object(&self, bucket: &str, object: &ObjectSeen) -> Result<()> {
        let doing = format!("delete {} in bucket {bucket}", object.name);
        let path = path(&["storage", "v1", "b", bucket, "o", &object.name]);
        let query = [("generation", object.generation.as_str())];
        let send = || self.storage.send(&doing, Method::DELETE, &path, &query, None);
        // Of one generation it can be sent as often as one likes.
        match self.read(async || self.within_limit(&doing, send()).await).await {
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            done => done.map(drop),
        }
    }

    /// The content of an object as it was listed, piece by piece to `give`, checked against its checksum.
    pub async fn read_object(
        &self,
        bucket: &str,
        object: &ObjectSeen,
        mut give: impl AsyncFnMut(Bytes) -> std::io::Result<()>,
    ) -> Result<()> {
        let doing = format!("read {} in bucket {bucket}", object.name);
        let path = path(&["storage", "v1", "b", bucket, "o", &object.name]);
        let mut sum = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
        let mut at = 0;
        while at < object.bytes {
            let end = object.bytes.min(at + CHUNK as u64);
            let request = || {
                let query = [("alt", "media"), ("generation", &object.generation)];
                let range = format!("bytes={at}-{}", end - 1);
                self.storage.request(Method::GET, &path).query(&query).header(RANGE, range)
            };
            let exchange = || self.storage.exchange(&doing, request());
            let (_, _, bytes) = self.read(async || self.within_limit(&doing, exchange()).await).await?;
            if bytes.len() as u64 != end - at {
                let why = format!("{} bytes came, {} were asked for", bytes.len(), end - at);
                return Err(Error::new(doing, why, Kind::Transient));
            }
            sum.update(&bytes);
            at = end;
            give(bytes).await.map_err(|error| Error::other(&doing, error))?;
        }
        if as_google_writes(sum.finalize()) == object.crc32c {
            return Ok(());
        }
        Err(Error::new(doing, "it arrived with another checksum", Kind::Transient))
    }

    /// Puts a file's content under a name, whole or not at all, if what is there is what was seen there.
    ///
    /// # Errors
    /// `Exists` where something else is there by now. A file that is not what was listed.
    pub async fn upload_file(&self, bucket: &str, upload: Upload<'_>, from: &Path) -> Result<()> {
        let doing = format!("read {}", from.display());
        let file = tokio::fs::File::open(from).await.map_err(|error| Error::other(doing, error))?;
        self.upload(bucket, upload, file).await
    }

    /// The same of bytes.
    pub async fn upload_bytes(&self, bucket: &str, name: &str, bytes: &[u8], replaces: &str) -> Result<()> {
        let sha256 = hex::encode(Sha256::digest(bytes));
        let upload = Upload { name, bytes: bytes.len() as u64, sha256: &sha256, replaces };
        self.upload(bucket, upload, bytes).await
    }

    async fn upload(&self, bucket: &str, upload: Upload<'_>, mut from: impl AsyncRead + Unpin) -> Result<()> {
        let doing = format!("upload {} to bucket {bucket}", upload.name);
        let session = self.begin_upload(&doing, bucket, upload).await?;
        let (mut at, mut hash, mut buffer) = (0, Sha256::new(), vec![0; CHUNK]);
        loop {
            let length = usize::try_from(upload.bytes - at).unwrap_or(CHUNK).min(CHUNK);
            let read = from.read_exact(&mut buffer[..length]).await;
            read.map_err(|error| {
                Error::other(&doing, format!("the file changed while it was read: {error}"))
            })?;
            hash.update(&buffer[..length]);
            // The last piece makes the object, so it goes only if all is as it was listed.
            if at + length as u64 == upload.bytes && hex::encode(hash.clone().finalize()) != upload.sha256 {
                let hint = "run the same command again";
                return Err(Error::with_hint(doing, "the file changed since it was listed", hint));
            }
            let piece = Bytes::copy_from_slice(&buffer[..length]);
            if self.send_piece(&doing, &session, piece, at, upload.bytes).await? {
                return Ok(());
            }
            at += length as u64;
        }
    }

    /// Returns the path of an upload that has begun. One that is never ended costs nothing.
    async fn begin_upload(&self, doing: &str, bucket: &str, upload: Upload<'_>) -> Result<String> {
        let path = path(&["upload", "storage", "v1", "b", bucket, "o"]);
        let query =
            [("uploadType", "resumable"), ("name", upload.name), ("ifGenerationMatch", upload.replaces)];
        let body = json!({"metadata": {SHA256: upload.sha256}});
        let begin = || self.storage.request(Method::POST, &path).query(&query).json(&body);
        let exchange = || self.storage.exchange(doing, begin());
        let (_, headers, _) = self.read(async || self.within_limit(doing, exchange()).await).await?;
        let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
        // Credentials go to the API alone, wherever the answer points.
        let url = location.and_then(|location| reqwest::Url::parse(location).ok());
        let url = url.ok_or_else(|| Error::other(doing, "Google named no place for it"))?;
        Ok(format!("{}?{}", url.path(), url.query().unwrap_or_default()))
    }

    /// Sends a piece until all of it has arrived. True: with it, the object is there.
    async fn send_piece(
        &self,
        doing: &str,
        session: &str,
        piece: Bytes,
        begin: u64,
        total: u64,
    ) -> Result<bool> {
        let end = begin + piece.len() as u64;
        let mut budget = RetryBudget::default();
        let mut at = begin;
        loop {
            let rest = piece.slice(usize::try_from(at - begin).unwrap_or(0)..);
            let range = match rest.is_empty() {
                true => format!("bytes */{total}"),
                false => format!("bytes {at}-{}/{total}", end - 1),
            };
            let put = self.storage.request(Method::PUT, session).header(CONTENT_RANGE, range).body(rest);
            let mut answered = self.within_limit(doing, self.storage.exchange(doing, put)).await;
            if let Err(error) = &answered
                && error.is_transient()
            {
                budget.wait(&self.clock, error.clone()).await?;
                let ask = self.storage.request(Method::PUT, session);
                let ask = ask.header(CONTENT_RANGE, format!("bytes */{total}")).body(Bytes::new());
                answered = self.within_limit(doing, self.storage.exchange(doing, ask)).await;
            }
            match answered {
                Ok((StatusCode::PERMANENT_REDIRECT, headers, _)) => match arrived(&headers) {
                    all if all == end && end < total => return Ok(false),
                    some if some > at && some < end => at = some,
                    some if (begin..=end).contains(&some) => {
                        at = some;
                        let none = Error::new(doing, "nothing more arrived", Kind::Transient);
                        budget.wait(&self.clock, none).await?;
                    }
                    _ => return Err(Error::new(doing, "Google lost what had arrived", Kind::Transient)),
                },
                Ok(_) => return Ok(true),
                Err(error) if error.is_transient() => budget.wait(&self.clock, error).await?,
                // The upload was forgotten: another one begins at the start.
                Err(error) if error.kind == Kind::NotFound => {
                    return Err(Error::new(error.doing, error.why, Kind::Transient));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// What is done, and where.
fn listing(bucket: &str) -> (String, String) {
    (format!("list what is in bucket {bucket}"), path(&["storage", "v1", "b", bucket, "o"]))
}

/// How much of an upload has arrived: `bytes=0-42`, or no such header.
fn arrived(headers: &HeaderMap) -> u64 {
    let range = headers.get(RANGE).and_then(|range| range.to_str().ok()?.rsplit_once('-'));
    range.and_then(|(_, last)| last.parse::<u64>().ok()).map_or(0, |last| last + 1)
}

fn as_google_writes(crc32c: u64) -> String {
    use base64::Engine as _;
    let bytes = u32::try_from(crc32c).unwrap_or(0).to_be_bytes();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn seen(found: &Value) -> ObjectSeen {
    ObjectSeen {
        name: text(found, "name"),
        bytes: text(found, "size").parse().unwrap_or(0),
        generation: text(found, "generation"),
        crc32c: text(found, "crc32c"),
        sha256: found.pointer(&format!("/metadata/{SHA256}")).and_then(Value::as_str).map(str::to_owned),
    }
}
