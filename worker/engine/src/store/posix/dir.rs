//! The real file system: a directory, local or on NFS. What may wait runs beside the worker's own thread, so that
//! a server that hangs never blocks heartbeats (rule 15): on NFS every call, on a file system of this machine's own
//! each call that waits for the disk. The other calls take less time there than to be handed over, and any worker that
//! could claim the item has the same disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::calls::{FileSystem, Meta};
use crate::aside::aside;
use crate::store::{Kind, Result, StoreError};

/// What a call takes where the file system is this machine's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Less time than to hand it over.
    Short,
    /// It waits for the disk, or moves many bytes.
    Long,
}

const SHORT_BYTES: u64 = 1 << 20;
/// Short calls in a row, before others have their turn.
const IN_A_ROW: u32 = 16;
/// Bytes that are copied for another thread at once.
const COPIED_BYTES: usize = 1 << 20;

impl Takes {
    /// What a call takes that reads or writes this number of bytes.
    fn of(bytes: u64) -> Self {
        if bytes > SHORT_BYTES { Self::Long } else { Self::Short }
    }
}

/// A directory.
#[derive(Debug, Clone)]
pub struct Directory {
    root: Arc<Path>,
    /// The root without links, as others may name it.
    real_root: Option<Arc<Path>>,
    is_local: bool,
    /// Calls that were made in place.
    made: Arc<AtomicU32>,
}

/// A file open for writing.
#[derive(Debug)]
pub struct DirFile {
    file: Arc<File>,
    path: String,
}

impl Directory {
    /// The folder at `root`, on whatever file system it lies.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let is_local = is_local(&root);
        Self { real_root: real(&root), root: root.into(), is_local, made: Arc::default() }
    }

    /// The same, taken for one on a server wherever it lies.
    pub fn on_server(root: impl Into<PathBuf>) -> Self {
        Self { is_local: false, ..Self::new(root) }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Runs one call: in place where it is short and the file system this machine's own, else on a thread where waiting
    /// harms nobody.
    async fn call<T: Send + 'static>(
        &self,
        operation: &'static str,
        path: &str,
        takes: Takes,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let full = self.root.join(path);
        let answer = if self.is_in_place(takes) {
            self.in_place(work(&full)).await
        } else {
            aside(move || work(&full)).await.unwrap_or_else(|why| Err(io::Error::other(why)))
        };
        answer.map_err(|error| translate(operation, path, &error))
    }

    fn is_in_place(&self, takes: Takes) -> bool {
        self.is_local && takes == Takes::Short
    }

    /// The answer of a call that was made in place. However many such calls follow each other, the worker sends heartbeats
    /// and sees signals between them. Not between each two: a turn looks at all that the worker waits for, and takes as
    /// long as a call.
    async fn in_place<T>(&self, answer: T) -> T {
        if self.made.fetch_add(1, Ordering::Relaxed) % IN_A_ROW == IN_A_ROW - 1 {
            tokio::task::yield_now().await;
        }
        answer
    }

    /// What it takes to read a file; of one on a server that is not asked, since it is always read beside.
    fn takes(&self, path: &str) -> Takes {
        if !self.is_local {
            return Takes::Long;
        }
        fs::metadata(self.root.join(path)).map_or(Takes::Short, |meta| Takes::of(meta.len()))
    }
}

fn real(root: &Path) -> Option<Arc<Path>> {
    Some(root.canonicalize().ok()?.into())
}

/// Whether a folder lies on a file system of this machine's own, as far as is known.
#[cfg(target_os = "linux")]
fn is_local(folder: &Path) -> bool {
    use nix::sys::statfs::{
        BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC, statfs,
    };
    let local = [BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC];
    statfs(folder).is_ok_and(|system| local.contains(&system.filesystem_type()))
}

#[cfg(not(target_os = "linux"))]
fn is_local(folder: &Path) -> bool {
    nix::sys::statfs::statfs(folder)
        .is_ok_and(|system| ["apfs", "hfs"].contains(&system.filesystem_type_name()))
}

/// What a read gives where few bytes are asked for and the system has all of them in memory.
#[cfg(target_os = "linux")]
fn in_memory(full: &Path, offset: u64, length: u64) -> Option<Vec<u8>> {
    use rustix::io::{ReadWriteFlags, preadv2};
    let file = File::open(full).ok()?;
    let left = file.metadata().ok()?.len().saturating_sub(offset).min(length);
    let left = usize::try_from(left).ok().filter(|_| Takes::of(left) == Takes::Short)?;
    // A file may hold more than it says, as those of `/proc` do, or than it said when it was opened.
    let room = usize::from(length > left as u64);
    let mut bytes = vec![0; left + room];
    let into = &mut [io::IoSliceMut::new(&mut bytes)];
    let read = preadv2(&file, into, offset, ReadWriteFlags::NOWAIT).ok()?;
    bytes.truncate(left);
    (read == left).then_some(bytes)
}

#[cfg(not(target_os = "linux"))]
fn in_memory(_: &Path, _: u64, _: u64) -> Option<Vec<u8>> {
    None
}

/// Names the kind of an error by its number.
pub fn translate(operation: &'static str, path: &str, error: &io::Error) -> StoreError {
    use nix::errno::Errno;
    let kind = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT | Errno::ENOTDIR) => Kind::NotFound,
        Some(Errno::EEXIST | Errno::ENOTEMPTY) => Kind::Exists,
        Some(Errno::ENOSPC | Errno::EDQUOT) => Kind::NoSpace,
        Some(Errno::ESTALE) => Kind::Stale,
        Some(Errno::EISDIR | Errno::ENAMETOOLONG | Errno::ELOOP) => Kind::NoFile,
        Some(Errno::EXDEV) => Kind::CrossDevice,
        // link(2): EPERM is also how a file system without hard links answers.
        Some(Errno::EPERM) if operation == "link" => Kind::Unsupported,
        Some(Errno::EACCES | Errno::EPERM | Errno::EROFS) => Kind::Permission,
        Some(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EMLINK) => Kind::Unsupported,
        _ => Kind::Io,
    };
    StoreError { kind, operation, path: path.to_owned(), detail: error.to_string() }
}

impl FileSystem for Directory {
    type File = DirFile;

    fn inside(&self, absolute: &str) -> Option<String> {
        let path = Path::new(absolute);
        let mut roots = self.real_root.iter().chain([&self.root]).filter(|root| root.is_absolute());
        Some(roots.find_map(|root| path.strip_prefix(root).ok())?.to_str()?.to_owned())
    }

    fn is_on_one_machine(&self) -> bool {
        self.is_local
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.call("read", path, self.takes(path), |full| fs::read(full)).await
    }

    async fn read_at(&self, path: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
        if self.is_local
            && let Some(bytes) = in_memory(&self.root.join(path), offset, length)
        {
            return Ok(self.in_place(bytes).await);
        }
        self.call("read", path, Takes::Long, move |full| {
            let mut file = File::open(full)?;
            file.seek(SeekFrom::Start(offset))?;
            // Growing, it would take twice the memory.
            let left = file.metadata()?.len().saturating_sub(offset).min(length);
            let mut bytes = Vec::with_capacity(usize::try_from(left).unwrap_or_default());
            file.take(length).read_to_end(&mut bytes)?;
            Ok(bytes)
        })
        .await
    }

    async fn meta(&self, path: &str) -> Result<Meta> {
        self.call("stat", path, Takes::Short, |full| {
            let meta = fs::metadata(full)?;
            Ok(Meta { bytes: meta.len(), links: meta.nlink() })
        })
        .await
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        self.call("list", folder, Takes::Short, |full| {
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
            .call("create", path, Takes::Short, |full| {
                OpenOptions::new().write(true).create_new(true).open(full)
            })
            .await?;
        Ok(DirFile { file: Arc::new(file), path: path.to_owned() })
    }

    async fn write(&self, file: &mut DirFile, bytes: &[u8]) -> Result<()> {
        let takes = Takes::of(bytes.len() as u64);
        if self.is_in_place(takes) {
            // The bytes need no copy that goes to another thread.
            let answer = self.in_place(file.file.as_ref().write_all(bytes)).await;
            return answer.map_err(|error| translate("write", &file.path, &error));
        }
        for piece in bytes.chunks(COPIED_BYTES) {
            let (handle, piece) = (file.file.clone(), piece.to_vec());
            self.call("write", &file.path, takes, move |_| handle.as_ref().write_all(&piece)).await?;
        }
        Ok(())
    }

    async fn sync(&self, file: &mut DirFile) -> Result<()> {
        let handle = file.file.clone();
        self.call("fsync", &file.path, Takes::Long, move |_| handle.sync_all()).await
    }

    async fn close(&self, file: DirFile) -> Result<()> {
        let DirFile { file, path } = file;
        self.call("close", &path, Takes::Short, move |_| match Arc::try_unwrap(file) {
            // Dropping a File ignores the answer of close(2), where NFS reports failed writes.
            Ok(handle) => nix::unistd::close(handle).map_err(io::Error::from),
            Err(_) => Err(io::Error::other("another call still uses the file")),
        })
        .await
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where links are made")]
    async fn link(&self, from: &str, to: &str) -> Result<()> {
        let target = self.root.join(to);
        self.call("link", from, Takes::Short, move |full| fs::hard_link(full, target))
            .await
            .map_err(|error| StoreError { path: format!("{from} to {to}"), ..error })
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where files are renamed")]
    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let target = self.root.join(to);
        self.call("rename", from, Takes::Short, move |full| fs::rename(full, target))
            .await
            .map_err(|error| StoreError { path: format!("{from} to {to}"), ..error })
    }

    async fn remove(&self, path: &str) -> Result<()> {
        self.call("remove", path, Takes::Short, |full| fs::remove_file(full)).await
    }

    async fn make_folder(&self, path: &str) -> Result<()> {
        self.call("mkdir", path, Takes::Short, |full| match fs::create_dir(full) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            answer => answer,
        })
        .await
    }

    async fn remove_folder(&self, path: &str) -> Result<()> {
        self.call("rmdir", path, Takes::Short, |full| fs::remove_dir(full)).await
    }

    async fn sync_folder(&self, path: &str) -> Result<()> {
        self.call("fsync", path, Takes::Long, |full| File::open(full)?.sync_all()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn between_short_calls_others_have_their_turn() {
        let folder = tempfile::tempdir().unwrap();
        let volume = Directory::new(folder.path());
        tokio::select! {
            biased;
            () = async { for _ in 0..IN_A_ROW { let _ = volume.meta("nothing").await; } } => panic!("no turn"),
            () = std::future::ready(()) => {}
        }
    }

    #[tokio::test]
    async fn what_is_in_memory_is_read_as_what_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = [Directory::new(folder.path()), Directory::on_server(folder.path())];
        let bytes: Vec<u8> = (0..=255).cycle().take(3 * SHORT_BYTES as usize).collect();
        for (name, length) in [("empty", 0), ("short", 1_000), ("long", bytes.len())] {
            fs::write(folder.path().join(name), &bytes[..length]).unwrap();
        }
        for (name, offset, length) in [
            ("empty", 0, 9),
            ("short", 5, 100),
            ("short", 990, 100),
            ("short", 5_000, 1),
            ("long", 7, 100),
            ("long", 0, u64::MAX),
            ("none", 0, 1),
            // It says that it holds nothing.
            ("/proc/version", 0, 9),
        ] {
            let [here, there] = volumes.each_ref().map(|volume| volume.read_at(name, offset, length));
            assert_eq!(here.await, there.await, "{name} {offset} {length}");
        }
    }

    #[tokio::test]
    async fn what_is_long_is_read_and_written_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let volume = Directory::new(folder.path());
        let bytes = vec![7; 2 * SHORT_BYTES as usize];
        let mut file = volume.create("long").await.unwrap();
        volume.write(&mut file, &bytes).await.unwrap();
        volume.write(&mut file, b"short").await.unwrap();
        volume.close(file).await.unwrap();
        assert_eq!(volume.read("long").await.unwrap(), [&bytes[..], b"short"].concat());
    }
}
