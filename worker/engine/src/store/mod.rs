//! The store: datasets in, commits out; the truth of a run. The port that the engine uses, in the terms of what
//! commits need: create-if-absent, and what is durable when. How an arm comes by that is the arm's affair:
//! [`posix`] by private files, `link(2)` and `fsync(2)`; [`bucket`] by an object store's conditional writes.

use std::fmt;

pub mod bucket;
pub mod identity;
pub mod posix;

/// What kind of failure a store reported; the engine decides by kind, never by text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Not there, as far as this client can see: on NFS never a proof of absence.
    NotFound,
    /// The name is taken.
    Exists,
    /// ENOSPC or EDQUOT.
    NoSpace,
    /// ESTALE: the handle's file is gone on the server.
    Stale,
    /// EXDEV: the two names lie on different file systems.
    CrossDevice,
    /// EACCES, EPERM, EROFS.
    Permission,
    /// EISDIR, ENAMETOOLONG, ELOOP: what can be no file.
    NoFile,
    /// The store cannot do it at all (a file system without hard links).
    Unsupported,
    /// The store cannot be used as it is set up; says what to do about it.
    Unusable(&'static str),
    /// Anything else: EIO, ETIMEDOUT…
    Io,
}

/// A failed operation: what was tried, on what, and why it failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation} {path}: {detail}")]
pub struct StoreError {
    /// By which the engine decides.
    pub kind: Kind,
    /// What was tried.
    pub operation: &'static str,
    /// On what.
    pub path: String,
    /// Why it failed.
    pub detail: String,
}

impl StoreError {
    /// What to do about a store that cannot be used; `None` where it may recover by itself.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self.kind {
            Kind::Unsupported => "commits need hard links: use a volume on ext4, xfs, btrfs, tmpfs or NFS",
            Kind::CrossDevice => "attempts and commits must lie on one file system",
            Kind::NotFound => "create the volume's folder, or mount it, first",
            Kind::Permission => "the worker must be able to list, read, write and delete on the volume",
            Kind::Unusable(hint) => hint,
            _ => return None,
        })
    }

    /// The failure with its hint, for people.
    pub fn with_hint(&self) -> String {
        self.hint().map_or_else(|| self.to_string(), |hint| format!("{self}\nhint: {hint}"))
    }
}

/// The result of a store's operation.
pub type Result<T> = std::result::Result<T, StoreError>;

/// What must outlive a power failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Equal inputs give equal bytes again. It may go with the power where everybody who knew of it goes too.
    Reproducible,
    /// It cannot be recomputed. It is durable, and so is its name, before the call returns (rule 21).
    Durable,
}

/// Bytes on their way to a public name, under a private name that nobody else ever has (rule 1).
#[derive(Debug)]
pub struct Staged<'b> {
    /// The private name.
    pub name: String,
    /// What is to become public.
    pub bytes: &'b [u8],
    /// Whether it must be durable.
    pub keep: Keep,
}

/// What a public name holds after [`Store::put_if_absent`], read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// The staged bytes.
    Ours {
        /// False where an earlier call, or another worker, put the same bytes.
        first: bool,
    },
    /// Other bytes, whole or torn.
    Theirs(Vec<u8>),
}

/// What the workers of a run share. Paths are relative, normalised, with `/`; folders need not be made.
///
/// An operation that fails may have taken effect.
#[expect(async_fn_in_trait, reason = "workers are single futures on one thread (rule 19)")]
pub trait Store {
    /// An append-only file of this process.
    type Log: fmt::Debug;

    /// A large file on its way, piece by piece.
    type Upload: fmt::Debug;

    /// What an absolute path names in the store, where that is known and lies inside it.
    fn inside(&self, _absolute: &str) -> Option<String> {
        None
    }

    /// Tries what commits need, under private names that start with `private`, beside `public`.
    ///
    /// # Errors
    /// Those with a [`StoreError::hint`] mean that the store cannot be used.
    async fn probe(&self, private: &str, public: &str) -> Result<()>;

    /// All bytes under a name.
    async fn get(&self, path: &str) -> Result<Vec<u8>>;

    /// Up to `length` bytes at `offset`; fewer only at the end.
    async fn get_range(&self, path: &str, offset: u64, length: u64) -> Result<Vec<u8>>;

    /// How many bytes a name holds.
    async fn size(&self, path: &str) -> Result<u64>;

    /// Names in a folder, sorted; none where the folder does not exist.
    async fn list(&self, folder: &str) -> Result<Vec<String>>;

    /// Writes under a name that no other caller, and no earlier call, uses.
    async fn put(&self, path: &str, bytes: &[u8], keep: Keep) -> Result<()>;

    /// Brings bytes to where [`Store::put_if_absent`] and [`Store::replace`] take one atomic step.
    async fn stage<'b>(&self, name: &str, bytes: &'b [u8], keep: Keep) -> Result<Staged<'b>>;

    /// Makes staged bytes public unless the name is taken, atomically, and reads what it holds then.
    ///
    /// # Errors
    /// Whether it took effect is then unknown: look.
    async fn put_if_absent(&self, staged: &Staged<'_>, path: &str) -> Result<Put>;

    /// Makes staged bytes public in place of what is there, atomically.
    async fn replace(&self, staged: &Staged<'_>, path: &str) -> Result<()>;

    /// Begins a large file under a private name that no other caller, and no earlier call, uses.
    async fn begin_upload(&self, name: &str) -> Result<Self::Upload>;

    /// Adds bytes to its end.
    async fn upload(&self, upload: &mut Self::Upload, bytes: &[u8]) -> Result<()>;

    /// Ends it: all of it is durable then, still under its private name.
    async fn end_upload(&self, upload: Self::Upload) -> Result<()>;

    /// Makes an ended upload public in place of what is there, atomically.
    async fn publish_upload(&self, name: &str, path: &str) -> Result<()>;

    /// Removes what is left of staged bytes. Best effort: leftovers harm nobody.
    async fn unstage(&self, name: &str);

    /// Makes the names durable that can be seen in a folder: the worker that made them may be gone, and had not.
    async fn settle(&self, folder: &str) -> Result<()>;

    /// Deletes a name.
    async fn delete(&self, path: &str) -> Result<()>;

    /// Deletes an empty folder, where the store has such. Best effort.
    async fn delete_folder(&self, path: &str);

    /// Deletes a name, or all names in the folder of that name. Best effort.
    async fn delete_all(&self, path: &str);

    /// Begins a log under a name that does not exist.
    async fn create_log(&self, path: &str) -> Result<Self::Log>;

    /// Appends to a log, and may keep the bytes back for a while; after a failure its last line may be torn.
    async fn append(&self, log: &mut Self::Log, bytes: &[u8]) -> Result<()>;

    /// Lets others see all that was appended.
    async fn show(&self, _log: &mut Self::Log) -> Result<()> {
        Ok(())
    }

    /// Whether a name can be seen, whatever it holds.
    async fn exists(&self, path: &str) -> Result<bool> {
        match self.size(path).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}
