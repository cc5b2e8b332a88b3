//! The arm of a directory, local or on NFS.
//!
//! The rules, each of which closes a hole (numbers are those of ARCHITECTURE.md):
//! - a private file is created with O_EXCL under a name that nobody else ever has, and never written to again: a
//!   commit shares its inode (1);
//! - `link(2)` alone decides who is first; its answer may be lost, so the public name is opened again and
//!   compared (8);
//! - what is synced is read back, since errors of NFS may surface only then, and its name with it: the folder that
//!   holds it, and the folders that hold that (21).
//!
//! Folders are made when the first name in them is needed.

use std::cell::RefCell;
use std::collections::BTreeSet;

use self::calls::FileSystem;
use super::{Keep, Kind, Put, Result, Staged, Store, StoreError};
use crate::contract::ROOT;
use crate::mutant::Mutant;
use crate::path::folder_of;

pub mod calls;
pub mod dir;
#[cfg(test)]
mod tests;

/// A directory by the calls of its file system.
#[derive(Debug)]
pub struct Posix<F> {
    files: F,
    /// Folders that this client has made, or found.
    made: RefCell<BTreeSet<String>>,
    /// Folders whose own names, and those above them, this client has synced.
    durable: RefCell<BTreeSet<String>>,
}

impl<F: FileSystem> Posix<F> {
    /// The store over a file system.
    pub fn new(files: F) -> Self {
        Self { files, made: RefCell::default(), durable: RefCell::default() }
    }

    /// The calls below.
    pub fn files(&self) -> &F {
        &self.files
    }

    /// On one machine, everybody who knew of an unsynced file goes with the power; on a server others outlive it.
    fn is_synced(&self, keep: Keep) -> bool {
        keep == Keep::Durable || !self.files.is_on_one_machine()
    }

    /// Makes the folders above a name, unless this client knows that they are there.
    async fn make_folders_of(&self, path: &str) -> Result<()> {
        // Where the deepest is known, those above it are.
        if self.made.borrow().contains(folder_of(path)) {
            return Ok(());
        }
        for (at, _) in path.match_indices('/') {
            let folder = &path[..at];
            if !self.made.borrow().contains(folder) {
                self.files.make_folder(folder).await?;
                self.made.borrow_mut().insert(folder.to_owned());
            }
        }
        Ok(())
    }

    /// After a name was not found: somebody may have removed the folders above it.
    fn forget_folders_of<T>(&self, path: &str, answer: Result<T>) -> Result<T> {
        if answer.as_ref().is_err_and(|error| error.kind == Kind::NotFound) {
            for (at, _) in path.match_indices('/') {
                self.made.borrow_mut().remove(&path[..at]);
                self.durable.borrow_mut().remove(&path[..at]);
            }
        }
        answer
    }

    /// Writes a file that does not exist.
    async fn write_new(&self, path: &str, bytes: &[u8], synced: bool) -> Result<()> {
        self.make_folders_of(path).await?;
        let mut file = self.forget_folders_of(path, self.files.create(path).await)?;
        self.files.write(&mut file, bytes).await?;
        if synced {
            self.files.sync(&mut file).await?;
        }
        self.files.close(file).await?;
        if synced && self.files.read(path).await? != bytes {
            let detail = "what was read back is not what was written".to_owned();
            return Err(StoreError { kind: Kind::Io, operation: "verify", path: path.to_owned(), detail });
        }
        Ok(())
    }
}

impl<F: FileSystem> Store for Posix<F> {
    type Log = F::File;
    type Upload = F::File;

    fn inside(&self, absolute: &str) -> Option<String> {
        self.files.inside(absolute)
    }

    /// A hard link from a private name to a public one.
    async fn probe(&self, private: &str, public: &str) -> Result<()> {
        self.make_folders_of(private).await?;
        self.make_folders_of(public).await?;
        let file = self.forget_folders_of(private, self.files.create(private).await)?;
        self.files.close(file).await?;
        let linked = self.files.link(private, public).await;
        let _ = self.files.remove(public).await;
        let _ = self.files.remove(private).await;
        match linked {
            // A lost reply to the first try shows as a name that is taken: links work.
            Err(error) if error.kind == Kind::Exists => Ok(()),
            // Swept by the report of a run that ends just now: the folders are there, so try again.
            Err(error) if error.kind == Kind::NotFound => Err(StoreError { kind: Kind::Stale, ..error }),
            other => other,
        }
    }

    async fn get(&self, path: &str) -> Result<Vec<u8>> {
        self.files.read(path).await
    }

    async fn get_range(&self, path: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
        self.files.read_at(path, offset, length).await
    }

    async fn size(&self, path: &str) -> Result<u64> {
        self.files.meta(path).await.map(|meta| meta.bytes)
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        match self.files.list(folder).await {
            Err(error) if error.kind == Kind::NotFound => Ok(Vec::new()),
            names => names,
        }
    }

    async fn put(&self, path: &str, bytes: &[u8], keep: Keep) -> Result<()> {
        self.write_new(path, bytes, self.is_synced(keep)).await
    }

    async fn stage<'b>(&self, name: &str, bytes: &'b [u8], keep: Keep) -> Result<Staged<'b>> {
        self.write_new(name, bytes, self.is_synced(keep)).await?;
        Ok(Staged { name: name.to_owned(), bytes, keep })
    }

    async fn put_if_absent(&self, staged: &Staged<'_>, path: &str) -> Result<Put> {
        self.make_folders_of(path).await?;
        let linked = self.files.link(&staged.name, path).await;
        if self.files.breaks(Mutant::TrustLinksReply) && is_answered(&linked) {
            return Ok(Put::Ours { first: true });
        }
        let found = match self.files.read(path).await {
            // What kept the link from being made says more.
            Err(absent) if absent.kind == Kind::NotFound => {
                return self.forget_folders_of(path, Err(linked.err().unwrap_or(absent)));
            }
            found => found?,
        };
        if self.is_synced(staged.keep) {
            self.settle(folder_of(path)).await?;
        }
        if found != staged.bytes {
            return Ok(Put::Theirs(found));
        }
        let first = linked.is_ok() || self.files.meta(&staged.name).await.is_ok_and(|meta| meta.links > 1);
        Ok(Put::Ours { first })
    }

    async fn replace(&self, staged: &Staged<'_>, path: &str) -> Result<()> {
        self.publish_upload(&staged.name, path).await
    }

    async fn begin_upload(&self, name: &str) -> Result<F::File> {
        self.make_folders_of(name).await?;
        self.forget_folders_of(name, self.files.create(name).await)
    }

    async fn upload(&self, upload: &mut F::File, bytes: &[u8]) -> Result<()> {
        self.files.write(upload, bytes).await
    }

    async fn end_upload(&self, mut upload: F::File) -> Result<()> {
        self.files.sync(&mut upload).await?;
        self.files.close(upload).await
    }

    async fn publish_upload(&self, name: &str, path: &str) -> Result<()> {
        self.make_folders_of(path).await?;
        self.forget_folders_of(path, self.files.rename(name, path).await)
    }

    async fn unstage(&self, name: &str) {
        let _ = self.files.remove(name).await;
    }

    async fn settle(&self, folder: &str) -> Result<()> {
        if self.files.breaks(Mutant::SkipFolderSync) {
            return Ok(());
        }
        self.forget_folders_of(&format!("{folder}/"), self.files.sync_folder(folder).await)?;
        let mut synced = Vec::new();
        let mut at = folder;
        while at != ROOT && !self.durable.borrow().contains(at) {
            synced.push(at);
            at = folder_of(at);
            self.files.sync_folder(at).await?;
        }
        self.durable.borrow_mut().extend(synced.into_iter().map(str::to_owned));
        Ok(())
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.files.remove(path).await
    }

    async fn delete_folder(&self, path: &str) {
        if self.files.remove_folder(path).await.is_ok() {
            self.made.borrow_mut().remove(path);
            self.durable.borrow_mut().remove(path);
        }
    }

    async fn delete_all(&self, path: &str) {
        if self.files.remove(path).await.is_ok() {
            return;
        }
        for name in self.files.list(path).await.unwrap_or_default() {
            let _ = self.files.remove(&format!("{path}/{name}")).await;
        }
        let _ = self.files.remove_folder(path).await;
        self.made.borrow_mut().remove(path);
    }

    async fn create_log(&self, path: &str) -> Result<F::File> {
        self.make_folders_of(path).await?;
        self.files.create(path).await
    }

    async fn append(&self, log: &mut F::File, bytes: &[u8]) -> Result<()> {
        self.files.write(log, bytes).await
    }
}

/// Whether the server says that the name is there, by us or by another.
fn is_answered(answer: &Result<()>) -> bool {
    answer.as_ref().map_or_else(|error| error.kind == Kind::Exists, |()| true)
}
