//! The arm of a bucket: an object store that creates a name only if it is absent.
//!
//! The rules, each of which closes a hole (numbers are those of ARCHITECTURE.md):
//! - a commit is one conditional create: a PUT is whole or absent, so nothing is staged, linked or torn (1, 10);
//! - 412, 409, 429, time-outs, resets and 5xx all mean the same: look at the name, and compare. Our own create may be
//!   what answers 412, by a request whose answer was lost; 409 does not even mean that there is anything (8);
//! - what is replaced must be what this client last read of the name, so that a request that arrives late replaces
//!   nothing that others have put since (12);
//! - an answered write is durable, and so is its name (21).

mod failure;
mod http;
mod log;
mod open;
mod upload;
mod versions;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use engine::store::{Keep, Kind, Put, Result, Staged, Store, StoreError};
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutPayload, PutResult, UpdateVersion,
};
use tokio::time::timeout;

use self::http::{Connector, Counters};
pub use self::log::Log;
pub use self::open::Settings;
pub use self::upload::Upload;
use self::versions::Versions;
use crate::calls::Calls;
use crate::location::BucketUrl;

/// How long the next bytes of a body may take.
const NEXT_BYTES: Duration = Duration::from_secs(20);
/// How long a folder's names may take, a thousand an answer.
const ALL_NAMES: Duration = Duration::from_secs(300);
/// Metadata of a commit: the private name of the attempt that put it.
const ATTEMPT: &str = "attempt";

/// The objects below a prefix.
pub struct Bucket {
    store: Box<dyn ObjectStore>,
    url: BucketUrl,
    versions: Versions,
    counters: Arc<Counters>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({})", self.url)
    }
}

/// An object that was read.
struct Found {
    bytes: Vec<u8>,
    /// The private name under which it was staged, where it was put by [`Store::put_if_absent`].
    attempt: Option<String>,
}

impl Bucket {
    /// Makes a store of a bucket. Nothing is sent yet.
    ///
    /// # Errors
    /// Where the settings cannot be used.
    pub fn open(url: &BucketUrl, settings: &Settings) -> Result<Self> {
        let connector = Connector::default();
        let counters = connector.counters.clone();
        let store = open::client(url, settings, connector)
            .map_err(|error| failure::translate(url.provider, "open", &url.to_string(), &error))?;
        Ok(Self { store, url: url.clone(), versions: Versions::default(), counters })
    }

    /// How many requests were sent so far.
    pub fn calls(&self) -> Calls {
        self.counters.so_far()
    }

    /// Lists, to see whether the bucket is there and lets us in.
    ///
    /// # Errors
    /// Where it is not, with what to do about it.
    pub async fn reach(&self) -> Result<()> {
        let prefix = self.key("list", "")?;
        let looked = timeout(ALL_NAMES, self.store.list(Some(&prefix)).try_next()).await;
        let failed = match looked {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => self.failure("list", "", &error),
            Err(_) => self.late("list", ""),
        };
        let kind = match failed.kind {
            Kind::Io => Kind::Unusable(failure::unreachable(self.url.provider)),
            kind => kind,
        };
        Err(StoreError { kind, path: self.url.to_string(), ..failed })
    }

    fn key(&self, operation: &'static str, path: &str) -> Result<Path> {
        let slash = if self.url.prefix.is_empty() || path.is_empty() { "" } else { "/" };
        Path::parse(format!("{}{slash}{path}", self.url.prefix))
            .map_err(|error| self.failure(operation, path, &error.into()))
    }

    fn failure(&self, operation: &'static str, path: &str, error: &object_store::Error) -> StoreError {
        failure::translate(self.url.provider, operation, path, error)
    }

    fn late(&self, operation: &'static str, path: &str) -> StoreError {
        let detail = "the server stopped in the middle of its answer".to_owned();
        StoreError { kind: Kind::Io, operation, path: path.to_owned(), detail }
    }

    /// Writes an object, under a condition or none, and records the name's version.
    async fn write(
        &self,
        operation: &'static str,
        path: &str,
        bytes: &[u8],
        options: PutOptions,
    ) -> Result<()> {
        let key = self.key(operation, path)?;
        let payload = PutPayload::from(bytes.to_vec());
        let PutResult { e_tag, version, .. } = self
            .store
            .put_opts(&key, payload, options)
            .await
            .map_err(|error| self.failure(operation, path, &error))?;
        self.versions.record(path, Some(UpdateVersion { e_tag, version }));
        Ok(())
    }

    /// Writes whatever is there.
    pub(crate) async fn overwrite(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.write("write", path, bytes, PutMode::Overwrite.into()).await
    }

    async fn create(&self, path: &str, staged: &Staged<'_>) -> Result<()> {
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::Metadata(ATTEMPT.into()), staged.name.clone().into());
        let options = PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() };
        self.write("create", path, staged.bytes, options).await
    }

    async fn read(&self, path: &str) -> Result<Found> {
        let key = self.key("read", path)?;
        let got = self.store.get_opts(&key, GetOptions::default()).await.map_err(|error| {
            let failed = self.failure("read", path, &error);
            if failed.kind == Kind::NotFound {
                self.versions.record(path, None);
            }
            failed
        })?;
        let version = UpdateVersion { e_tag: got.meta.e_tag.clone(), version: got.meta.version.clone() };
        let attempt =
            got.attributes.get(&Attribute::Metadata(ATTEMPT.into())).map(|name| name.as_ref().to_owned());
        let bytes = self.body(path, got).await?;
        self.versions.record(path, Some(version));
        Ok(Found { bytes, attempt })
    }

    async fn body(&self, path: &str, got: GetResult) -> Result<Vec<u8>> {
        let length = got.range.end.saturating_sub(got.range.start);
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        let mut stream = got.into_stream();
        loop {
            match timeout(NEXT_BYTES, stream.next()).await {
                Err(_) => return Err(self.late("read", path)),
                Ok(None) => return Ok(bytes),
                Ok(Some(next)) => bytes.extend(next.map_err(|error| self.failure("read", path, &error))?),
            }
        }
    }

    /// Creates a name twice, and replaces what has changed since it was read: neither may succeed.
    async fn try_conditions(&self, private: &str, path: &str) -> Result<()> {
        let unfit = |what: &str| {
            let (kind, detail) = (Kind::Unusable(failure::CONDITIONS), format!("{}: {what}", self.url));
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
        let update = || self.write("replace", path, b"third", PutMode::Update(version.clone()).into());
        // The answer may be lost: then the second one is refused, and all the same tells what is asked.
        let _ = is_refused(update().await)?;
        if !is_refused(update().await)? {
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

impl Store for Bucket {
    type Log = Log;
    type Upload = Upload;

    fn inside(&self, absolute: &str) -> Option<String> {
        let below = absolute.strip_prefix(&self.url.to_string())?;
        Some(below.strip_prefix('/')?.to_owned())
    }

    async fn probe(&self, private: &str, public: &str) -> Result<()> {
        let tried = self.try_conditions(private, public).await;
        let deleted = self.delete(public).await;
        tried.and(deleted)
    }

    async fn get(&self, path: &str) -> Result<Vec<u8>> {
        self.read(path).await.map(|found| found.bytes)
    }

    async fn get_range(&self, path: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
        let key = self.key("read", path)?;
        let range = Some(GetRange::Bounded(offset..offset.saturating_add(length)));
        match self.store.get_opts(&key, GetOptions { range, ..GetOptions::default() }).await {
            Ok(got) => self.body(path, got).await,
            Err(error) if failure::is_behind_end(&error) => Ok(Vec::new()),
            Err(error) => Err(self.failure("read", path, &error)),
        }
    }

    async fn size(&self, path: &str) -> Result<u64> {
        let key = self.key("stat", path)?;
        let meta = self.store.head(&key).await.map_err(|error| self.failure("stat", path, &error))?;
        Ok(meta.size)
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let key = self.key("list", folder)?;
        let listed = timeout(ALL_NAMES, self.store.list_with_delimiter(Some(&key))).await;
        let listed = listed.map_err(|_| self.late("list", folder))?;
        let listed = listed.map_err(|error| self.failure("list", folder, &error))?;
        let objects = listed.objects.iter().map(|object| &object.location);
        // An object that stands for the folder itself, as consoles make them, is none of its names.
        let inside = objects.chain(&listed.common_prefixes).filter(|location| **location != key);
        let mut names: Vec<String> =
            inside.filter_map(|location| location.filename().map(str::to_owned)).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    async fn put(&self, path: &str, bytes: &[u8], _: Keep) -> Result<()> {
        self.overwrite(path, bytes).await
    }

    /// Nothing: bytes go up with the one call that makes them public.
    async fn stage<'b>(&self, name: &str, bytes: &'b [u8], keep: Keep) -> Result<Staged<'b>> {
        Ok(Staged { name: name.to_owned(), bytes, keep })
    }

    async fn put_if_absent(&self, staged: &Staged<'_>, path: &str) -> Result<Put> {
        let Err(undecided) = self.create(path, staged).await else { return Ok(Put::Ours { first: true }) };
        match self.read(path).await {
            Ok(Found { bytes, attempt }) if bytes == staged.bytes => {
                Ok(Put::Ours { first: attempt.as_ref() == Some(&staged.name) })
            }
            Ok(found) => Ok(Put::Theirs(found.bytes)),
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

    async fn replace(&self, staged: &Staged<'_>, path: &str) -> Result<()> {
        let mode = match self.versions.of(path) {
            Some(Some(version)) => PutMode::Update(version),
            Some(None) => PutMode::Create,
            None => PutMode::Overwrite,
        };
        self.write("replace", path, staged.bytes, mode.into()).await
    }

    async fn begin_upload(&self, name: &str) -> Result<Upload> {
        Upload::begin(self, name).await
    }

    async fn upload(&self, upload: &mut Upload, bytes: &[u8]) -> Result<()> {
        upload.add(self, bytes).await
    }

    async fn end_upload(&self, upload: Upload) -> Result<()> {
        upload.end(self).await
    }

    /// A copy on the server. Of a worker that stood still it fails: what it would copy was swept (12).
    async fn publish_upload(&self, name: &str, path: &str) -> Result<()> {
        let (from, to) = (self.key("copy", name)?, self.key("copy", path)?);
        let copied = self.store.copy(&from, &to).await;
        self.versions.forget(path);
        copied.map_err(|error| self.failure("copy", name, &error))?;
        let _ = self.delete(name).await;
        Ok(())
    }

    async fn unstage(&self, _: &str) {}

    async fn settle(&self, _: &str) -> Result<()> {
        Ok(())
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let key = self.key("delete", path)?;
        self.store.delete(&key).await.map_err(|error| self.failure("delete", path, &error))?;
        self.versions.record(path, None);
        Ok(())
    }

    async fn delete_folder(&self, _: &str) {}

    async fn delete_all(&self, path: &str) {
        let Ok(key) = self.key("delete", path) else { return };
        let listed = timeout(ALL_NAMES, self.store.list(Some(&key)).try_collect::<Vec<_>>()).await;
        let Ok(Ok(objects)) = listed else { return };
        if objects.is_empty() {
            let _ = self.delete(path).await;
            return;
        }
        for object in objects {
            let _ = self.store.delete(&object.location).await;
        }
    }

    async fn create_log(&self, path: &str) -> Result<Log> {
        self.write("create", path, b"", PutMode::Create.into()).await?;
        Ok(Log::new(path))
    }

    async fn append(&self, log: &mut Log, bytes: &[u8]) -> Result<()> {
        log.append(self, bytes).await
    }

    async fn show(&self, log: &mut Log) -> Result<()> {
        log.show(self).await
    }
}
