//! The store that a launcher names by `--volume`.

#[cfg(feature = "bucket")]
use engine::store::bucket::Log;
use engine::store::posix::Posix;
use engine::store::posix::dir::{DirFile, Directory};
use engine::store::{Keep, Kind, Put, Result, Staged, Store, StoreError};

#[cfg(feature = "bucket")]
use crate::bucket::{self, Bucket, Client, Settings};
use crate::calls::Calls;
use crate::location::Location;

/// One of the real stores.
#[derive(Debug)]
pub enum AnyStore {
    Directory(Posix<Directory>),
    #[cfg(feature = "bucket")]
    Bucket(Bucket<Client>),
}

/// A log on one of them.
#[derive(Debug)]
pub enum AnyLog {
    Directory(DirFile),
    #[cfg(feature = "bucket")]
    Bucket(Log),
}

/// A large file on its way to one of them.
#[derive(Debug)]
pub enum AnyUpload {
    Directory(DirFile),
    #[cfg(feature = "bucket")]
    Bucket(bucket::Upload),
}

/// Opens the store at a location. Of a bucket nothing is asked yet.
///
/// # Errors
/// Where nothing that could be one is there, or the environment's settings of a bucket cannot be used.
pub fn open(location: &Location) -> Result<AnyStore> {
    match location {
        Location::Folder(folder) if folder.is_dir() => {
            Ok(AnyStore::Directory(Posix::new(Directory::new(folder.as_path()))))
        }
        Location::Folder(folder) => {
            let (path, detail) = (folder.display().to_string(), "it is no folder".to_owned());
            Err(StoreError { kind: Kind::NotFound, operation: "open", path, detail })
        }
        #[cfg(feature = "bucket")]
        Location::Bucket(url) => bucket::open(url, &Settings::of_environment()).map(AnyStore::Bucket),
        #[cfg(not(feature = "bucket"))]
        Location::Bucket(url) => {
            let kind = Kind::Unusable("build it with `--features bucket`, or give a folder");
            let (path, detail) = (url.to_string(), "this program was built without buckets".to_owned());
            Err(StoreError { kind, operation: "open", path, detail })
        }
    }
}

impl AnyStore {
    /// Whether each call goes over a network and costs money: then calls are made less often.
    pub fn is_bucket(&self) -> bool {
        !matches!(self, Self::Directory(_))
    }

    /// How many requests were sent, where they cost.
    pub fn calls(&self) -> Option<Calls> {
        match self {
            Self::Directory(_) => None,
            #[cfg(feature = "bucket")]
            Self::Bucket(bucket) => Some(bucket.client().calls()),
        }
    }

    /// Looks whether the store is there and lets us in, where that is not known yet.
    ///
    /// # Errors
    /// Where it is not, with what to do about it.
    pub async fn reach(&self) -> Result<()> {
        match self {
            Self::Directory(_) => Ok(()),
            #[cfg(feature = "bucket")]
            Self::Bucket(bucket) => bucket.client().reach().await,
        }
    }
}

/// Calls the method of whichever store it is.
macro_rules! forward {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            Self::Directory($store) => $call,
            #[cfg(feature = "bucket")]
            Self::Bucket($store) => $call,
        }
    };
}

/// Calls the method of whichever store it is, on a file of its own.
macro_rules! forward_file {
    ($self:ident, $kind:ident, $file:ident, $store:ident => $call:expr) => {
        match ($self, $file) {
            (Self::Directory($store), $kind::Directory($file)) => $call.await,
            #[cfg(feature = "bucket")]
            (Self::Bucket($store), $kind::Bucket($file)) => $call.await,
            #[cfg(feature = "bucket")]
            (_, file) => {
                let (path, detail) = (format!("{file:?}"), "it is another store's".to_owned());
                Err(StoreError { kind: Kind::Io, operation: "write", path, detail })
            }
        }
    };
}

impl Store for AnyStore {
    type Log = AnyLog;
    type Upload = AnyUpload;

    fn inside(&self, absolute: &str) -> Option<String> {
        forward!(self, store => store.inside(absolute))
    }

    async fn probe(&self, private: &str, public: &str) -> Result<()> {
        forward!(self, store => store.probe(private, public).await)
    }

    async fn get(&self, path: &str) -> Result<Vec<u8>> {
        forward!(self, store => store.get(path).await)
    }

    async fn get_range(&self, path: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
        forward!(self, store => store.get_range(path, offset, length).await)
    }

    async fn size(&self, path: &str) -> Result<u64> {
        forward!(self, store => store.size(path).await)
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        forward!(self, store => store.list(folder).await)
    }

    async fn put(&self, path: &str, bytes: &[u8], keep: Keep) -> Result<()> {
        forward!(self, store => store.put(path, bytes, keep).await)
    }

    async fn stage<'b>(&self, name: &str, bytes: &'b [u8], keep: Keep) -> Result<Staged<'b>> {
        forward!(self, store => store.stage(name, bytes, keep).await)
    }

    async fn put_if_absent(&self, staged: &Staged<'_>, path: &str) -> Result<Put> {
        forward!(self, store => store.put_if_absent(staged, path).await)
    }

    async fn replace(&self, staged: &Staged<'_>, path: &str) -> Result<()> {
        forward!(self, store => store.replace(staged, path).await)
    }

    async fn begin_upload(&self, name: &str) -> Result<AnyUpload> {
        match self {
            Self::Directory(store) => store.begin_upload(name).await.map(AnyUpload::Directory),
            #[cfg(feature = "bucket")]
            Self::Bucket(store) => store.begin_upload(name).await.map(AnyUpload::Bucket),
        }
    }

    async fn upload(&self, upload: &mut AnyUpload, bytes: &[u8]) -> Result<()> {
        forward_file!(self, AnyUpload, upload, store => store.upload(upload, bytes))
    }

    async fn end_upload(&self, upload: AnyUpload) -> Result<()> {
        forward_file!(self, AnyUpload, upload, store => store.end_upload(upload))
    }

    async fn publish_upload(&self, name: &str, path: &str) -> Result<()> {
        forward!(self, store => store.publish_upload(name, path).await)
    }

    async fn unstage(&self, name: &str) {
        forward!(self, store => store.unstage(name).await);
    }

    async fn settle(&self, folder: &str) -> Result<()> {
        forward!(self, store => store.settle(folder).await)
    }

    async fn delete(&self, path: &str) -> Result<()> {
        forward!(self, store => store.delete(path).await)
    }

    async fn delete_folder(&self, path: &str) {
        forward!(self, store => store.delete_folder(path).await);
    }

    async fn delete_all(&self, path: &str) {
        forward!(self, store => store.delete_all(path).await);
    }

    async fn create_log(&self, path: &str) -> Result<AnyLog> {
        match self {
            Self::Directory(store) => store.create_log(path).await.map(AnyLog::Directory),
            #[cfg(feature = "bucket")]
            Self::Bucket(store) => store.create_log(path).await.map(AnyLog::Bucket),
        }
    }

    async fn append(&self, log: &mut AnyLog, bytes: &[u8]) -> Result<()> {
        forward_file!(self, AnyLog, log, store => store.append(log, bytes))
    }

    async fn show(&self, log: &mut AnyLog) -> Result<()> {
        forward_file!(self, AnyLog, log, store => store.show(log))
    }
}
