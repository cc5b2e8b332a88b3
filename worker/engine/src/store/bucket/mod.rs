//! The arm of a bucket: an object store that creates a name only if it is absent.
//!
//! The rules, each of which closes a hole (numbers are those of ARCHITECTURE.md):
//! - a commit is one conditional create: a PUT is whole or absent, so nothing is staged, linked or torn (1, 10);
//! - 412, 409, 429, time-outs, resets and 5xx all mean the same: look at the name, and compare. Our own create may be
//!   what answers 412, by a request whose answer was lost; 409 does not even mean that there is anything (8);
//! - what is replaced must be what this client last read of the name, so that a request that arrives late replaces
//!   nothing that others have put since (12);
//! - an answered write is durable, and so is its name (21).

mod log;
pub mod objects;
mod versions;

use std::fmt;

pub use self::log::Log;
use self::objects::{Condition, Object, Objects};
use self::versions::Versions;
use super::{Keep, Kind, Put, Result, Staged, Store, StoreError};
use crate::mutant::Mutant;

/// The hint for a store that breaks what commits stand on.
const CONDITIONS: &str =
    "commits need conditional writes: use S3, R2, MinIO, versitygw or Google Cloud Storage, or a directory";

/// A bucket by the requests of its store.
pub struct Bucket<C: Objects> {
    client: C,
    versions: Versions<C::Version>,
}

impl<C: Objects> fmt::Debug for Bucket<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({})", self.client.url())
    }
}

impl<C: Objects> Bucket<C> {
    /// The store over a client.
    pub fn new(client: C) -> Self {
        Self { client, versions: Versions::default() }
    }

    /// The client below.
    pub fn client(&self) -> &C {
        &self.client
    }

    /// Writes an object, under a condition or none, and records the name's version.
    async fn write(
        &self,
        path: &str,
        bytes: &[u8],
        condition: Condition<C::Version>,
        attempt: Option<&str>,
    ) -> Result<()> {
        let version = self.client.put(path, bytes, condition, attempt).await?;
        self.versions.record(path, Some(version));
        Ok(())
    }

    async fn create(&self, path: &str, staged: &Staged<'_>) -> Result<()> {
        self.write(path, staged.bytes, Condition::Absent, Some(&staged.name)).await
    }

    /// Reads a name, and records its version.
    async fn read(&self, path: &str) -> Result<Object<C::Version>> {
        let got = self.client.get(path).await;
        match &got {
            Ok(object) => self.versions.record(path, Some(object.version.clone())),
            Err(error) if error.kind == Kind::NotFound => self.versions.record(path, None),
            Err(_) => {}
        }
        got
    }

    /// A create was not answered, or with what decides nothing: what the name holds does.
    async fn look_into(&self, undecided: StoreError, staged: &Staged<'_>, path: &str) -> Result<Put> {
        match self.read(path).await {
            Ok(Object { bytes, attempt, .. }) if bytes == staged.bytes => {
                let by_bytes = self.client.breaks(Mutant::OwnByBytes);
                Ok(Put::Ours { first: by_bytes || attempt.as_ref() == Some(&staged.name) })
            }
            Ok(object) => Ok(Put::Theirs(object.bytes)),
            // What kept the name from being created says more.
            Err(absent) if absent.kind == Kind::NotFound && undecided.kind != Kind::Exists => Err(undecided),
            Err(unread) => {
                let detail = format!(
                    "whether it was created is not known: {}, and reading it: {}",
                    undecided.detail, unread.detail
                );
                // Taken a moment ago and not to be read now: that is no proof of anything.
                let kind = if unread.kind == Kind::NotFound { Kind::Io } else { unread.kind };
                Err(StoreError { kind, detail, ..undecided })
            }
        }
    }

    /// What a client makes of an undecided answer that has forgotten to look: `None` where it has not.
    async fn decide_blindly(
        &self,
        undecided: &StoreError,
        staged: &Staged<'_>,
        path: &str,
    ) -> Option<Result<Put>> {
        let is_taken = undecided.kind == Kind::Exists;
        let forgets = |rule| self.client.breaks(rule);
        if is_taken && forgets(Mutant::TakenIsALoss) {
            return Some(Ok(Put::Ours { first: false }));
        }
        if !is_taken && forgets(Mutant::UnansweredIsDone) {
            return Some(Ok(Put::Ours { first: true }));
        }
        if !is_taken && forgets(Mutant::UnansweredIsUndone) {
            let written = self.write(path, staged.bytes, Condition::Always, Some(&staged.name)).await;
            return Some(written.map(|()| Put::Ours { first: true }));
        }
        None
    }

    /// Creates a name twice, and replaces what has changed since it was read: neither may succeed.
    async fn try_conditions(&self, private: &str, path: &str) -> Result<()> {
        let unfit = |what: &str| {
            let (kind, detail) = (Kind::Unusable(CONDITIONS), format!("{}: {what}", self.client.url()));
            Err(StoreError { kind, operation: "probe", path: path.to_owned(), detail })
        };
        let staged = |bytes| Staged { name: private.to_owned(), bytes, keep: Keep::Durable };
        if let Put::Theirs(_) = self.put_if_absent(&staged(b"first"), path).await? {
            return unfit("a new object holds other bytes than were put");
        }
        if !is_refused(self.create(path, &staged(b"second")).await)? {
            return unfit("a second create of one name took effect too");
        }
        self.get(path).await?;
        let Some(Some(version)) = self.versions.of(path) else { return Ok(()) };
        let update = || self.write(path, b"third", Condition::Unchanged(version.clone()), None);
        // A refusal decides nothing: the answer to an earlier sending may be lost, or a conflict (409) kept it from taking
        // effect. Only after one that took effect a second tells what is asked.
        let is_updated = !is_refused(update().await)? || self.get(path).await? == b"third";
        if is_updated && !is_refused(update().await)? {
            return unfit("it replaced an object that had changed since it was read");
        }
        Ok(())
    }
}

/// Whether a condition was not met.
fn is_refused(answer: Result<()>) -> Result<bool> {
    match answer {
        Ok(()) => Ok(false),
        Err(error) if error.kind == Kind::Exists => Ok(true),
        Err(error) => Err(error),
    }
}

impl<C: Objects> Store for Bucket<C> {
    type Log = Log;
    type Upload = C::Upload;

    fn inside(&self, absolute: &str) -> Option<String> {
        let below = absolute.strip_prefix(&self.client.url())?;
        Some(below.strip_prefix('/')?.to_owned())
    }

    async fn probe(&self, private: &str, public: &str) -> Result<()> {
        let tried = self.try_conditions(private, public).await;
        let deleted = match self.delete(public).await {
            // By an earlier sending, whose answer was lost.
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            deleted => deleted,
        };
        tried.and(deleted)
    }

    async fn get(&self, path: &str) -> Result<Vec<u8>> {
        self.read(path).await.map(|object| object.bytes)
    }

    async fn get_range(&self, path: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
        self.client.get_range(path, offset, length).await
    }

    async fn size(&self, path: &str) -> Result<u64> {
        self.client.size(path).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let mut names = self.client.list(folder).await?;
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    async fn put(&self, path: &str, bytes: &[u8], _: Keep) -> Result<()> {
        self.write(path, bytes, Condition::Always, None).await
    }

    /// Nothing: bytes go up with the one call that makes them public.
    async fn stage<'b>(&self, name: &str, bytes: &'b [u8], keep: Keep) -> Result<Staged<'b>> {
        Ok(Staged { name: name.to_owned(), bytes, keep })
    }

    async fn put_if_absent(&self, staged: &Staged<'_>, path: &str) -> Result<Put> {
        let Err(undecided) = self.create(path, staged).await else { return Ok(Put::Ours { first: true }) };
        match self.decide_blindly(&undecided, staged, path).await {
            Some(decided) => decided,
            None => self.look_into(undecided, staged, path).await,
        }
    }

    async fn replace(&self, staged: &Staged<'_>, path: &str) -> Result<()> {
        let condition = match self.versions.of(path) {
            Some(Some(version)) => Condition::Unchanged(version),
            Some(None) => Condition::Absent,
            None => Condition::Always,
        };
        self.write(path, staged.bytes, condition, None).await
    }

    async fn begin_upload(&self, name: &str) -> Result<C::Upload> {
        self.client.begin_upload(name).await
    }

    async fn upload(&self, upload: &mut C::Upload, bytes: &[u8]) -> Result<()> {
        self.client.upload(upload, bytes).await
    }

    async fn end_upload(&self, upload: C::Upload) -> Result<()> {
        self.client.end_upload(upload).await
    }

    /// A copy on the server. Of a worker that stood still it fails: what it would copy was swept (12).
    async fn publish_upload(&self, name: &str, path: &str) -> Result<()> {
        let copied = self.client.copy(name, path).await;
        self.versions.forget(path);
        copied?;
        let _ = self.delete(name).await;
        Ok(())
    }

    async fn unstage(&self, _: &str) {}

    async fn settle(&self, _: &str) -> Result<()> {
        Ok(())
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.client.delete(path).await?;
        self.versions.record(path, None);
        Ok(())
    }

    async fn delete_folder(&self, _: &str) {}

    async fn delete_all(&self, path: &str) {
        let Ok(below) = self.client.list_below(path).await else { return };
        if below.is_empty() {
            let _ = self.delete(path).await;
        }
        for path in below {
            let _ = self.client.delete(&path).await;
        }
    }

    async fn create_log(&self, path: &str) -> Result<Log> {
        self.write(path, b"", Condition::Absent, None).await?;
        Ok(Log::new(path, self.client.elapsed()))
    }

    async fn append(&self, log: &mut Log, bytes: &[u8]) -> Result<()> {
        log.append(&self.client, bytes).await
    }

    async fn show(&self, log: &mut Log) -> Result<()> {
        log.show(&self.client).await
    }
}
