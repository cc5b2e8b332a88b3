//! The calls of a file system, one system call an operation, so that each is a place where a simulated machine can
//! crash, be delayed or be lied to.

use std::fmt;

use crate::mutant::Mutant;
use crate::store::Result;

/// Size in bytes and number of hard links. The number is a hint on NFS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Size.
    pub bytes: u64,
    /// Names of the file.
    pub links: u64,
}

/// A folder on a file system. Paths are relative, normalised, with `/`.
///
/// An operation that fails may have taken effect; one that succeeds may not be visible to another
/// client until the file is closed and opened again (close-to-open consistency, RFC 1813 §4.11).
#[expect(async_fn_in_trait, reason = "workers are single futures on one thread (rule 19)")]
pub trait FileSystem {
    /// A new file open for writing.
    type File: fmt::Debug;

    /// Whether it lies on one machine, with all who use it: should that lose its power, nobody goes on from
    /// what was not synced.
    fn is_on_one_machine(&self) -> bool;

    /// Whether a rule is to be forgotten: never, but in the simulated world.
    fn breaks(&self, _: Mutant) -> bool {
        false
    }

    /// What an absolute path names on the volume, where that is known and lies below it.
    fn inside(&self, _absolute: &str) -> Option<String> {
        None
    }

    /// Opens the file again, reads all, closes.
    async fn read(&self, path: &str) -> Result<Vec<u8>>;

    /// Opens the file again, reads up to `length` bytes at `offset` (fewer only at the end), closes.
    async fn read_at(&self, path: &str, offset: u64, length: u64) -> Result<Vec<u8>>;

    /// Size and number of names, as stat(2) has them.
    async fn meta(&self, path: &str) -> Result<Meta>;

    /// Names in a folder, sorted.
    async fn list(&self, folder: &str) -> Result<Vec<String>>;

    /// Creates a file that must not exist (O_EXCL), for writing.
    async fn create(&self, path: &str) -> Result<Self::File>;

    /// Appends to a file that this client created and has not closed.
    async fn write(&self, file: &mut Self::File, bytes: &[u8]) -> Result<()>;

    /// Forces the file's content to stable storage; not its name, which is the folder's (fsync(2)).
    async fn sync(&self, file: &mut Self::File) -> Result<()>;

    /// Closes; on NFS the place where errors of earlier writes surface.
    async fn close(&self, file: Self::File) -> Result<()>;

    /// Makes `to` another name of `from`; fails if `to` exists. Atomic (link(2)).
    async fn link(&self, from: &str, to: &str) -> Result<()>;

    /// Makes `to` name what `from` named, replacing what was there. Atomic (rename(2)).
    async fn rename(&self, from: &str, to: &str) -> Result<()>;

    /// Removes a file's name.
    async fn remove(&self, path: &str) -> Result<()>;

    /// Creates a folder; that it exists already is no error.
    async fn make_folder(&self, path: &str) -> Result<()>;

    /// Removes an empty folder.
    async fn remove_folder(&self, path: &str) -> Result<()>;

    /// Forces a folder's entries to stable storage.
    async fn sync_folder(&self, path: &str) -> Result<()>;
}
