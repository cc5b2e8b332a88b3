//! The volume as NFS may be: one server, whose clients look names up in caches of their own.
//!
//! A file's bytes reach the server when they are flushed, and survive a crash of the server once
//! they are synced. Names change on the server at once and for good (`sync` exports), but a client
//! whose look-ups are stale sees the names as they were, except for those it changed itself.
//!
//! Or as a file system of one machine is: then there is no server and no look-up is stale, and a name survives
//! a loss of power only once its folder is synced.

mod objects;
mod power;

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use worker::store::bucket::objects::Object;
use worker::store::posix::calls::Meta;
use worker::store::{Kind, StoreError};

use super::clock::Micros;
pub use objects::{Condition, Put};
use power::Unsynced;

/// Who asks: a machine's incarnation. The operator, who puts datasets there, is 0.
pub type Client = u32;
pub type Inode = usize;

/// One call to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    Read(String),
    ReadAt(String, u64, u64),
    Meta(String),
    List(String),
    Create(String),
    /// Into the client's own memory: nothing that the server hears of.
    Write,
    /// The client's unwritten bytes of a file; `sync` makes all of it survive.
    Flush {
        file: Inode,
        bytes: Vec<u8>,
        sync: bool,
    },
    Link(String, String),
    Rename(String, String),
    Remove(String),
    MakeFolder(String),
    RemoveFolder(String),
    SyncFolder(String),
    /// Of a bucket, as all that follow: an object, with its version.
    Get(String),
    Put(Put),
    Copy(String, String),
    Delete(String),
    /// The paths of all objects below a folder.
    Below(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Bytes(Vec<u8>),
    Meta(Meta),
    Names(Vec<String>),
    File(Inode),
    Object(Object<Inode>),
    Done,
}

impl Reply {
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes,
            _ => Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Node {
    bytes: Vec<u8>,
    /// Number of the bytes that survive a crash of the server.
    synced: usize,
    links: u64,
    folder: bool,
    /// Of an object: the attempt that committed it.
    attempt: Option<Box<str>>,
}

/// When a name came to mean what, and by whom.
#[derive(Debug, Clone, Copy)]
struct Change {
    at: Micros,
    by: Client,
    node: Option<Inode>,
}

/// What a client sees of the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    pub client: Client,
    /// Others' changes after this are not seen; `None` where all are.
    pub as_of: Option<Micros>,
}

impl View {
    /// What it sees of a name.
    fn of(self, changes: &Changes) -> Option<Inode> {
        let seen =
            |change: &&Change| self.as_of.is_none_or(|time| change.at <= time) || change.by == self.client;
        if seen(&&changes.last) {
            return changes.last.node;
        }
        changes.before.iter().rev().find(seen)?.node
    }
}

/// What a name meant, as far back as any client may see.
#[derive(Debug, Clone)]
struct Changes {
    /// Oldest first. Empty for nearly every name.
    before: Vec<Change>,
    last: Change,
}

type Names = BTreeMap<String, Changes>;

/// A path's folder, and its name there. Byte by byte: paths are short, and each call takes some apart.
fn apart(path: &str) -> (&str, &str) {
    match path.bytes().rposition(|byte| byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => ("", path),
    }
}

#[derive(Debug, Clone, Default)]
pub struct Server {
    nodes: Vec<Node>,
    /// The names in each folder. Each call looks some up: by hash, and nothing depends on the order of that.
    folders: FxHashMap<String, Names>,
    /// Until then some client sees names as they were.
    stale_until: Micros,
    /// Where names have to be synced to last.
    unsynced: Option<Unsynced>,
}

pub fn failure(kind: Kind, operation: &'static str, path: &str, detail: &str) -> StoreError {
    StoreError { kind, operation, path: path.to_owned(), detail: detail.to_owned() }
}

impl Call {
    /// The same call with its names changed.
    pub fn renamed(self, to: impl Fn(String) -> String) -> Self {
        match self {
            Self::Read(path) => Self::Read(to(path)),
            Self::ReadAt(path, offset, length) => Self::ReadAt(to(path), offset, length),
            Self::Meta(path) => Self::Meta(to(path)),
            Self::List(path) => Self::List(to(path)),
            Self::Create(path) => Self::Create(to(path)),
            Self::Link(from, public) => Self::Link(to(from), to(public)),
            Self::Rename(from, public) => Self::Rename(to(from), to(public)),
            Self::Remove(path) => Self::Remove(to(path)),
            Self::MakeFolder(path) => Self::MakeFolder(to(path)),
            Self::RemoveFolder(path) => Self::RemoveFolder(to(path)),
            Self::SyncFolder(path) => Self::SyncFolder(to(path)),
            Self::Get(path) => Self::Get(to(path)),
            Self::Put(put) => Self::Put(Put { path: to(put.path), ..put }),
            Self::Copy(from, public) => Self::Copy(to(from), to(public)),
            Self::Delete(path) => Self::Delete(to(path)),
            Self::Below(path) => Self::Below(to(path)),
            Self::Write | Self::Flush { .. } => self,
        }
    }

    pub fn operation(&self) -> &'static str {
        match self {
            Self::Read(_) | Self::ReadAt(..) | Self::Get(_) => "read",
            Self::Meta(_) => "stat",
            Self::List(_) | Self::Below(_) => "list",
            Self::Create(_) => "create",
            Self::Write => "write",
            Self::Flush { sync: true, .. } => "fsync",
            Self::Flush { sync: false, .. } => "close",
            Self::Link(..) => "link",
            Self::Rename(..) => "rename",
            Self::Remove(_) => "remove",
            Self::MakeFolder(_) => "mkdir",
            Self::RemoveFolder(_) => "rmdir",
            Self::SyncFolder(_) => "fsync folder",
            Self::Put(put) => put.operation(),
            Self::Copy(..) => "copy",
            Self::Delete(_) => "delete",
        }
    }

    /// The name that the call is about: for two, the one that it makes.
    pub fn path(&self) -> &str {
        match self {
            Self::Read(path)
            | Self::ReadAt(path, ..)
            | Self::Meta(path)
            | Self::List(path)
            | Self::Create(path)
            | Self::Link(_, path)
            | Self::Rename(_, path)
            | Self::Remove(path)
            | Self::MakeFolder(path)
            | Self::RemoveFolder(path)
            | Self::SyncFolder(path)
            | Self::Get(path)
            | Self::Copy(_, path)
            | Self::Delete(path)
            | Self::Below(path) => path,
            Self::Put(put) => &put.path,
            Self::Write | Self::Flush { .. } => "",
        }
    }

    /// Whether it changes nothing.
    pub fn looks(&self) -> bool {
        matches!(
            self,
            Self::Read(_) | Self::ReadAt(..) | Self::Meta(_) | Self::List(_) | Self::Get(_) | Self::Below(_)
        )
    }

    /// Whether the call can find the disk full.
    pub fn needs_space(&self) -> bool {
        match self {
            Self::Create(_) | Self::Link(..) | Self::MakeFolder(_) => true,
            Self::Flush { bytes, .. } => !bytes.is_empty(),
            _ => false,
        }
    }

    pub fn fail(&self, kind: Kind, detail: &str) -> StoreError {
        failure(kind, self.operation(), self.path(), detail)
    }
}

pub type Answer = Result<Reply, StoreError>;

fn not_found(call: &Call) -> Answer {
    Err(call.fail(Kind::NotFound, "no such file or directory"))
}

fn exists(call: &Call) -> Answer {
    Err(call.fail(Kind::Exists, "the name is taken"))
}

impl Server {
    /// On one machine, or of a server that makes names last at once.
    pub fn new(on_one_machine: bool) -> Self {
        Self { unsynced: on_one_machine.then(Unsynced::default), ..Self::default() }
    }

    fn changes(&self, path: &str) -> Option<&Changes> {
        let (folder, name) = apart(path);
        self.folders.get(folder)?.get(name)
    }

    fn find(&self, view: View, path: &str) -> Option<Inode> {
        view.of(self.changes(path)?)
    }

    fn now_at(&self, path: &str) -> Option<Inode> {
        self.changes(path)?.last.node
    }

    /// Some client sees names as they are now, until then.
    pub fn stale_until(&mut self, until: Micros) {
        self.stale_until = self.stale_until.max(until);
    }

    /// Where no client sees what was, what a name meant before is forgotten: a run makes, and sweeps,
    /// many times more names than it leaves.
    fn set(&mut self, at: Micros, by: Client, path: &str, node: Option<Inode>) {
        let remembers = at < self.stale_until;
        let (folder, name) = apart(path);
        let change = Change { at, by, node };
        if !self.folders.contains_key(folder) {
            self.folders.insert(folder.to_owned(), Names::new());
        }
        let Some(names) = self.folders.get_mut(folder) else { return };
        let known = names.get_mut(name);
        let before = known.as_ref().and_then(|changes| changes.last.node);
        if let Some(unsynced) = &mut self.unsynced {
            unsynced.changed(folder, name, before, node);
        }
        match known {
            _ if node.is_none() && !remembers => {
                names.remove(name);
                if names.is_empty() {
                    self.folders.remove(folder);
                }
            }
            Some(changes) if remembers => {
                changes.before.push(std::mem::replace(&mut changes.last, change));
            }
            _ => {
                names.insert(name.to_owned(), Changes { before: Vec::new(), last: change });
            }
        }
    }

    /// One name less for a file. Nobody reads the bytes of one without a name, unless it gets that back; only
    /// whether a crash would cut it is still known.
    fn unlink(&mut self, node: Inode) {
        let node = &mut self.nodes[node];
        node.links -= 1;
        if node.links == 0 && self.unsynced.is_none() {
            node.bytes = node.bytes.split_off(node.synced);
            node.synced = 0;
        }
    }

    fn parent_is_there(&self, path: &str) -> bool {
        let (folder, _) = apart(path);
        folder.is_empty() || self.now_at(folder).is_some()
    }

    /// Names directly below a folder, in order, with what they mean.
    fn below(&self, view: View, folder: &str) -> impl Iterator<Item = (&str, Inode)> {
        let names = self.folders.get(folder).into_iter().flatten();
        names.filter_map(move |(name, changes)| Some((name.as_str(), view.of(changes)?)))
    }

    /// Carries a call out. Look-ups see what the client sees; changes are decided by the server.
    pub fn apply(&mut self, now: Micros, view: View, call: &Call) -> Answer {
        let by = view.client;
        match call {
            Call::Read(_) | Call::ReadAt(..) | Call::Meta(_) | Call::List(_) => self.look(view, call),
            Call::Get(_) | Call::Put(_) | Call::Copy(..) | Call::Delete(_) | Call::Below(_) => {
                self.serve(now, by, call)
            }
            Call::Create(path) => self.make(now, by, call, path, false),
            Call::MakeFolder(path) if self.now_at(path).is_some() => Ok(Reply::Done),
            Call::MakeFolder(path) => self.make(now, by, call, path, true),
            Call::Write => Ok(Reply::Done),
            Call::Flush { file, bytes, sync } => {
                let node = &mut self.nodes[*file];
                node.bytes.extend(bytes);
                if *sync {
                    node.synced = node.bytes.len();
                }
                Ok(Reply::Done)
            }
            Call::Link(from, to) => self.link(now, by, call, from, to),
            Call::Rename(from, to) => self.rename(now, by, call, from, to),
            Call::Remove(path) => self.remove(now, by, call, path),
            Call::RemoveFolder(path) => self.remove_folder(now, by, call, path),
            Call::SyncFolder(path) if !path.is_empty() && self.now_at(path).is_none() => not_found(call),
            Call::SyncFolder(path) => {
                if let Some(unsynced) = &mut self.unsynced {
                    unsynced.synced(path);
                }
                Ok(Reply::Done)
            }
        }
    }

    fn make(&mut self, now: Micros, by: Client, call: &Call, path: &str, folder: bool) -> Answer {
        if self.now_at(path).is_some() {
            return exists(call);
        }
        if !self.parent_is_there(path) {
            return not_found(call);
        }
        let node = self.nodes.len();
        self.nodes.push(Node { links: 1, folder, ..Node::default() });
        self.set(now, by, path, Some(node));
        Ok(if folder { Reply::Done } else { Reply::File(node) })
    }

    fn link(&mut self, now: Micros, by: Client, call: &Call, from: &str, to: &str) -> Answer {
        let Some(node) = self.now_at(from) else { return not_found(call) };
        if self.now_at(to).is_some() {
            return exists(call);
        }
        if !self.parent_is_there(to) {
            return not_found(call);
        }
        self.nodes[node].links += 1;
        self.set(now, by, to, Some(node));
        Ok(Reply::Done)
    }

    fn rename(&mut self, now: Micros, by: Client, call: &Call, from: &str, to: &str) -> Answer {
        let Some(node) = self.now_at(from) else { return not_found(call) };
        let before = self.now_at(to);
        // rename(2): two names of one file stay as they are.
        if before != Some(node) {
            if let Some(before) = before {
                self.unlink(before);
            }
            self.set(now, by, to, Some(node));
            self.set(now, by, from, None);
        }
        Ok(Reply::Done)
    }

    fn remove(&mut self, now: Micros, by: Client, call: &Call, path: &str) -> Answer {
        let Some(node) = self.now_at(path) else { return not_found(call) };
        if self.nodes[node].folder {
            return Err(call.fail(Kind::NoFile, "is a directory"));
        }
        self.unlink(node);
        self.set(now, by, path, None);
        Ok(Reply::Done)
    }

    fn remove_folder(&mut self, now: Micros, by: Client, call: &Call, path: &str) -> Answer {
        if self.now_at(path).is_none_or(|node| !self.nodes[node].folder) {
            return not_found(call);
        }
        let fresh = View { client: by, as_of: None };
        if self.below(fresh, path).next().is_some() {
            return exists(call);
        }
        self.set(now, by, path, None);
        Ok(Reply::Done)
    }

    fn look(&self, view: View, call: &Call) -> Answer {
        let path = call.path();
        let Some(node) = self.find(view, path) else {
            return Err(call.fail(Kind::NotFound, "no such file or directory"));
        };
        if let Call::List(_) = call {
            if !self.nodes[node].folder {
                return Err(call.fail(Kind::NotFound, "not a directory"));
            }
            let names = self.below(view, path).map(|(name, _)| name.to_owned());
            return Ok(Reply::Names(names.collect()));
        }
        let node = &self.nodes[node];
        if node.links == 0 {
            return Err(call.fail(Kind::Stale, "stale file handle"));
        }
        Ok(match call {
            Call::ReadAt(_, offset, length) => {
                let start = (*offset as usize).min(node.bytes.len());
                let end = (start + *length as usize).min(node.bytes.len());
                Reply::Bytes(node.bytes[start..end].to_vec())
            }
            Call::Meta(_) => Reply::Meta(Meta { bytes: node.bytes.len() as u64, links: node.links }),
            _ => Reply::Bytes(node.bytes.clone()),
        })
    }

    /// The answer to a look-up through another view; `None` for calls that change anything.
    pub fn look_again(&self, view: View, call: &Call) -> Option<Answer> {
        let is_of_files = !matches!(call, Call::Get(_) | Call::Below(_));
        (call.looks() && is_of_files).then(|| self.look(view, call))
    }

    /// Every file's path and bytes below a folder, for comparisons.
    pub fn files(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let inside = format!("{folder}/");
        let folders = self.folders.iter().filter(|(path, _)| *path == folder || path.starts_with(&inside));
        let paths = folders.flat_map(|(path, names)| names.keys().map(move |name| format!("{path}/{name}")));
        paths.filter_map(|path| self.bytes(&path).map(<[u8]>::to_vec).map(|bytes| (path, bytes))).collect()
    }

    /// A disk that lied: the file loses its tail although it was synced.
    pub fn tear(&mut self, path: &str, keep: usize) {
        if let Some(node) = self.now_at(path) {
            let node = &mut self.nodes[node];
            node.bytes.truncate(keep);
            node.synced = node.bytes.len();
        }
    }

    /// Creates a file although it is there: a client that has it open finds it empty.
    pub fn reopen(&mut self, path: &str) -> Option<Inode> {
        let node = self.now_at(path)?;
        self.nodes[node].bytes.clear();
        self.nodes[node].synced = 0;
        Some(node)
    }

    /// Puts a file there as the operator does, with the folders above it.
    pub fn install(&mut self, now: Micros, path: &str, bytes: Vec<u8>) {
        self.install_as(now, 0, path, bytes);
    }

    fn install_as(&mut self, now: Micros, by: Client, path: &str, bytes: Vec<u8>) -> Inode {
        // What is put there so lasts.
        let unsynced = self.unsynced.take();
        for (end, _) in path.match_indices('/') {
            if self.now_at(&path[..end]).is_none() {
                self.nodes.push(Node { links: 1, folder: true, ..Node::default() });
                self.set(now, by, &path[..end], Some(self.nodes.len() - 1));
            }
        }
        let node = self.nodes.len();
        self.nodes.push(Node { synced: bytes.len(), bytes, links: 1, ..Node::default() });
        self.set(now, by, path, Some(node));
        self.unsynced = unsynced;
        node
    }

    /// What a name holds, for the checks afterwards.
    pub fn bytes(&self, path: &str) -> Option<&[u8]> {
        let node = &self.nodes[self.now_at(path)?];
        (!node.folder).then_some(&node.bytes)
    }

    /// The names in a folder, for the checks afterwards.
    pub fn names(&self, folder: &str) -> Vec<&str> {
        let fresh = View { client: 0, as_of: None };
        self.below(fresh, folder).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: View = View { client: 1, as_of: None };

    fn server() -> Server {
        let mut server = Server::new(false);
        server.install(0, "a/private", b"bytes".to_vec());
        server
    }

    #[test]
    fn link_is_exclusive_and_shares_the_file() {
        let mut server = server();
        let link = Call::Link("a/private".into(), "a/public".into());
        assert_eq!(server.apply(1, FRESH, &link), Ok(Reply::Done));
        assert_eq!(server.apply(2, FRESH, &link).unwrap_err().kind, Kind::Exists);
        let meta = server.apply(3, FRESH, &Call::Meta("a/public".into()));
        assert_eq!(meta, Ok(Reply::Meta(Meta { bytes: 5, links: 2 })));
    }

    #[test]
    fn a_stale_client_sees_its_own_changes_and_not_others() {
        let mut server = server();
        let stale = View { client: 2, as_of: Some(1) };
        server.stale_until(9);
        for (client, name) in [(1, "a/theirs"), (2, "a/ours")] {
            let view = View { client, as_of: None };
            server.apply(5, view, &Call::Create(name.into())).unwrap();
        }
        let names = server.apply(6, stale, &Call::List("a".into()));
        assert_eq!(names, Ok(Reply::Names(vec!["ours".into(), "private".into()])));
        // What is gone on the server and still looked up is a stale handle.
        server.apply(7, FRESH, &Call::Remove("a/private".into())).unwrap();
        let read = server.apply(8, stale, &Call::Read("a/private".into()));
        assert_eq!(read.unwrap_err().kind, Kind::Stale);
    }

    #[test]
    fn names_that_nobody_can_see_any_more_are_forgotten() {
        let mut server = server();
        server.stale_until(4);
        server.apply(3, FRESH, &Call::Remove("a/private".into())).unwrap();
        let stale = View { client: 2, as_of: Some(2) };
        assert_eq!(server.apply(3, stale, &Call::List("a".into())), Ok(Reply::Names(vec!["private".into()])));
        server.apply(5, FRESH, &Call::Create("a/private".into())).unwrap();
        server.apply(6, FRESH, &Call::Remove("a/private".into())).unwrap();
        assert_eq!(server.folders.keys().collect::<Vec<_>>(), [""]);
    }

    #[test]
    fn a_folder_that_is_not_empty_stays() {
        let mut server = server();
        let refused = server.apply(1, FRESH, &Call::RemoveFolder("a".into()));
        assert_eq!(refused.unwrap_err().kind, Kind::Exists);
    }
}
