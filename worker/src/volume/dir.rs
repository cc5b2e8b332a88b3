//! The real volume: a directory, local or on NFS. Every call runs beside the worker's own thread, so that
//! a server that hangs never keeps a lease from being renewed (rule 15).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Kind, Meta, Result, Volume, VolumeError};
use crate::aside::aside;

/// A directory as a volume.
#[derive(Debug, Clone)]
pub struct DirVolume {
    root: Arc<Path>,
}

/// A file open for writing.
#[derive(Debug)]
pub struct DirFile {
    file: Arc<File>,
    path: String,
}

impl DirVolume {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into().into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Runs one call on a thread where waiting harms nobody.
    async fn call<T: Send + 'static>(
        &self,
        operation: &'static str,
        path: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let full = self.root.join(path);
        let answer = aside(move || work(&full)).await.unwrap_or_else(|why| Err(io::Error::other(why)));
        answer.map_err(|error| translate(operation, path, &error))
    }

    async fn call_on<T: Send + 'static>(
        &self,
        operation: &'static str,
        file: &DirFile,
        work: impl FnOnce(&File) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let handle = file.file.clone();
        self.call(operation, &file.path, move |_| work(&handle)).await
    }
}

/// Names the kind of an error by its number.
pub fn translate(operation: &'static str, path: &str, error: &io::Error) -> VolumeError {
    use nix::errno::Errno;
    let kind = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT | Errno::ENOTDIR) => Kind::NotFound,
        Some(Errno::EEXIST | Errno::ENOTEMPTY) => Kind::Exists,
        Some(Errno::ENOSPC | Errno::EDQUOT) => Kind::NoSpace,
        Some(Errno::ESTALE) => Kind::Stale,
        Some(Errno::EXDEV) => Kind::CrossDevice,
        // link(2): EPERM is also how a file system without hard links answers.
        Some(Errno::EPERM) if operation == "link" => Kind::Unsupported,
        Some(Errno::EACCES | Errno::EPERM | Errno::EROFS) => Kind::Permission,
        Some(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EMLINK) => Kind::Unsupported,
        _ => Kind::Io,
    };
    VolumeError { kind, operation, path: path.to_owned(), detail: error.to_string() }
}

impl Volume for DirVolume {
    type File = DirFile;

    async fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.call("read", path, |full| fs::read(full)).await
    }

    async fn read_at(&self, path: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
        self.call("read", path, move |full| {
            let mut file = File::open(full)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::new();
            file.take(length).read_to_end(&mut bytes)?;
            Ok(bytes)
        })
        .await
    }

    async fn meta(&self, path: &str) -> Result<Meta> {
        self.call("stat", path, |full| {
            let meta = fs::metadata(full)?;
            Ok(Meta { bytes: meta.len(), links: meta.nlink() })
        })
        .await
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        self.call("list", folder, |full| {
            let mut names = Vec::new();
            for entry in fs::read_dir(full)? {
                // A name that is not UTF-8 is none of ours.
                if let Ok(name) = entry?.file_name().into_string() {
                    names.push(name);
                }
            }
            names.sort_unstable();
            Ok(names)
        })
        .await
    }

    async fn create(&self, path: &str) -> Result<DirFile> {
        let file = self
            .call("create", path, |full| OpenOptions::new().write(true).create_new(true).open(full))
            .await?;
        Ok(DirFile { file: Arc::new(file), path: path.to_owned() })
    }

    async fn write(&self, file: &mut DirFile, bytes: &[u8]) -> Result<()> {
        let bytes = bytes.to_vec();
        self.call_on("write", file, move |mut handle| handle.write_all(&bytes)).await
    }

    async fn sync(&self, file: &mut DirFile) -> Result<()> {
        self.call_on("fsync", file, |handle| handle.sync_all()).await
    }

    async fn close(&self, file: DirFile) -> Result<()> {
        let DirFile { file, path } = file;
        self.call("close", &path, move |_| match Arc::try_unwrap(file) {
            // Dropping a File ignores the answer of close(2), where NFS reports failed writes.
            Ok(handle) => nix::unistd::close(handle).map_err(io::Error::from),
            Err(_) => Err(io::Error::other("another call still uses the file")),
        })
        .await
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where links are made")]
    async fn link(&self, from: &str, to: &str) -> Result<()> {
        let target = self.root.join(to);
        self.call("link", from, move |full| fs::hard_link(full, target))
            .await
            .map_err(|error| VolumeError { path: format!("{from} to {to}"), ..error })
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where files are renamed")]
    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let target = self.root.join(to);
        self.call("rename", from, move |full| fs::rename(full, target))
            .await
            .map_err(|error| VolumeError { path: format!("{from} to {to}"), ..error })
    }

    async fn remove(&self, path: &str) -> Result<()> {
        self.call("remove", path, |full| fs::remove_file(full)).await
    }

    async fn make_folder(&self, path: &str) -> Result<()> {
        self.call("mkdir", path, |full| match fs::create_dir(full) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            answer => answer,
        })
        .await
    }

    async fn remove_folder(&self, path: &str) -> Result<()> {
        self.call("rmdir", path, |full| fs::remove_dir(full)).await
    }

    async fn sync_folder(&self, path: &str) -> Result<()> {
        self.call("fsync", path, |full| File::open(full)?.sync_all()).await
    }
}
