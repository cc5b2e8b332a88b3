//! A client of S3 and of Google Cloud Storage. What is made of its answers is the engine's (`engine::store::bucket`).

mod failure;
mod http;
mod open;
mod upload;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use engine::store::bucket::{Bucket, objects};
use engine::store::{Kind, Result, StoreError};
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutOptions, PutPayload, PutResult, UpdateVersion,
};
use tokio::time::timeout;

use self::http::{Connector, Counters};
use self::objects::{Condition, Object, Objects};
pub use self::open::Settings;
pub use self::upload::Upload;
use crate::calls::Calls;
use crate::location::BucketUrl;

/// How long the next bytes of a body may take.
const NEXT_BYTES: Duration = Duration::from_secs(20);
/// How long a folder's names may take, a thousand an answer.
const ALL_NAMES: Duration = Duration::from_secs(300);
/// Before a listing that broke off is asked for again at the start.
const AGAIN: Duration = Duration::from_millis(200);
/// Metadata of a commit: the private name of the attempt that put it.
const ATTEMPT: &str = "attempt";

/// Makes a store of a bucket. Nothing is sent yet.
///
/// # Errors
/// Where the settings cannot be used.
#[expect(clippy::disallowed_methods, reason = "when to write a log decides no result")]
pub fn open(url: &BucketUrl, settings: &Settings) -> Result<Bucket<Client>> {
    let connector = Connector::default();
    let counters = connector.counters.clone();
    let store = open::client(url, settings, connector)
        .map_err(|error| failure::translate(url.provider, "open", &url.to_string(), &error))?;
    Ok(Bucket::new(Client {
        store,
        url: url.clone(),
        counters,
        opened: Instant::now(),
        patience: settings.patience,
    }))
}

/// The objects below a prefix.
pub struct Client {
    store: Box<dyn ObjectStore>,
    url: BucketUrl,
    counters: Arc<Counters>,
    opened: Instant,
    patience: Duration,
}

/// A file below a folder, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Below the volume's prefix.
    pub path: String,
    pub bytes: u64,
    /// What the store calls this content of the name; another content has another.
    pub version: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.url)
    }
}

impl Client {
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
        let begin = self.elapsed();
        let failed = loop {
            let failed = match timeout(ALL_NAMES, self.store.list(Some(&prefix)).try_next()).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => self.failure("list", "", &error),
                Err(_) => self.late("list", ""),
            };
            // An answer that a restart of the server cut off: no request is repeated for that.
            if failed.kind != Kind::Io || self.elapsed() - begin >= self.patience {
                break failed;
            }
            tokio::time::sleep(AGAIN).await;
        };
        let kind = match failed.kind {
            Kind::Io => Kind::Unusable(failure::unreachable(self.url.provider)),
            kind => kind,
        };
        Err(StoreError { kind, path: self.url.to_string(), ..failed })
    }

    /// All files below a folder, sorted by path.
    ///
    /// # Errors
    /// Where it cannot be listed to its end.
    pub async fn files(&self, folder: &str) -> Result<Vec<Listed>> {
        let key = self.key("list", folder)?;
        let listed = timeout(ALL_NAMES, self.store.list(Some(&key)).try_collect::<Vec<_>>()).await;
        let listed = listed.map_err(|_| self.late("list", folder))?;
        let objects = listed.map_err(|error| self.failure("list", folder, &error))?;
        let file = |object: ObjectMeta| {
            let rest: Vec<_> =
                object.location.prefix_match(&key)?.map(|part| part.as_ref().to_owned()).collect();
            // An object that stands for the folder itself, as consoles make them, is no file in it.
            let path = (!rest.is_empty()).then(|| format!("{folder}/{}", rest.join("/")))?;
            let version = object.version.or(object.e_tag).unwrap_or_default();
            Some(Listed { path, bytes: object.size, version })
        };
        let mut files: Vec<Listed> = objects.into_iter().filter_map(file).collect();
        files.sort();
        Ok(files)
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
}

impl Objects for Client {
    type Version = UpdateVersion;
    type Upload = Upload;

    fn elapsed(&self) -> Duration {
        self.opened.elapsed()
    }

    fn url(&self) -> String {
        self.url.to_string()
    }

    async fn put(
        &self,
        path: &str,
        bytes: &[u8],
        condition: Condition<UpdateVersion>,
        attempt: Option<&str>,
    ) -> Result<UpdateVersion> {
        let (operation, mode) = match condition {
            Condition::Always => ("write", PutMode::Overwrite),
            Condition::Absent => ("create", PutMode::Create),
            Condition::Unchanged(version) => ("replace", PutMode::Update(version)),
        };
        let key = self.key(operation, path)?;
        let mut attributes = Attributes::new();
        if let Some(attempt) = attempt {
            attributes.insert(Attribute::Metadata(ATTEMPT.into()), attempt.to_owned().into());
        }
        let options = PutOptions { mode, attributes, ..PutOptions::default() };
        let put = self.store.put_opts(&key, PutPayload::from(bytes.to_vec()), options).await;
        let PutResult { e_tag, version, .. } = put.map_err(|error| self.failure(operation, path, &error))?;
        Ok(UpdateVersion { e_tag, version })
    }

    async fn get(&self, path: &str) -> Result<Object<UpdateVersion>> {
        let key = self.key("read", path)?;
        let got = self.store.get_opts(&key, GetOptions::default()).await;
        let got = got.map_err(|error| self.failure("read", path, &error))?;
        let version = UpdateVersion { e_tag: got.meta.e_tag.clone(), version: got.meta.version.clone() };
        let attempt =
            got.attributes.get(&Attribute::Metadata(ATTEMPT.into())).map(|name| name.as_ref().to_owned());
        let bytes = self.body(path, got).await?;
        Ok(Object { bytes, version, attempt })
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
        Ok(inside.filter_map(|location| location.filename().map(str::to_owned)).collect())
    }

    async fn list_below(&self, folder: &str) -> Result<Vec<String>> {
        Ok(self.files(folder).await?.into_iter().map(|file| file.path).collect())
    }

    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        let (source, target) = (self.key("copy", from)?, self.key("copy", to)?);
        self.store.copy(&source, &target).await.map_err(|error| self.failure("copy", from, &error))
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let key = self.key("delete", path)?;
        self.store.delete(&key).await.map_err(|error| self.failure("delete", path, &error))
    }

    async fn begin_upload(&self, path: &str) -> Result<Upload> {
        Upload::begin(self, path).await
    }

    async fn upload(&self, upload: &mut Upload, bytes: &[u8]) -> Result<()> {
        upload.add(self, bytes).await
    }

    async fn end_upload(&self, upload: Upload) -> Result<()> {
        upload.end(self).await
    }
}
