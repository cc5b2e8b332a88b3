//! A worker's line to the outside: counts what passes, and cuts a worker off at a given call.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use worker::item::Item;
use worker::queue::{Claim, Counts, Inbox, Ownership, Queue, QueueError, Release, WorkQueue};
use worker::store::posix::calls::{FileSystem, Meta};
use worker::store::posix::dir::{DirFile, Directory};
use worker::store::{Kind, Result, StoreError};

/// Where in a run's I/O a worker crashes: at the `number`-th call, from 0, of all workers together;
/// counted among the calls of one name where `of` gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash {
    pub number: u64,
    /// Before the call takes effect, or after it and before its answer arrives.
    pub before: bool,
    pub of: Option<&'static str>,
}

impl std::fmt::Display for Crash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let when = if self.before { "before" } else { "after" };
        write!(f, "{when} {} {}", self.of.unwrap_or("I/O"), self.number)
    }
}

/// A call of the file system that takes effect and fails: the `number`-th of its name, from 0, of all workers
/// together. A close that fails has lost the end of what was written, as NFS may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedCall {
    pub of: &'static str,
    pub number: u64,
    pub kind: Kind,
}

/// What all workers of a batch share: the count of their calls, who crashes when, and which calls fail.
#[derive(Debug, Default)]
pub(super) struct Meter {
    failed: Vec<FailedCall>,
    calls: Cell<u64>,
    by_name: RefCell<BTreeMap<&'static str, u64>>,
    crashes: RefCell<Vec<Crash>>,
    /// The calls that workers crashed at, and the calls that failed.
    faulted: RefCell<Vec<&'static str>>,
}

/// One worker's line to the outside. Once cut, nothing passes any more: its future is a machine
/// that is gone, and is dropped.
#[derive(Debug, Clone)]
pub(super) struct Line {
    meter: Rc<Meter>,
    is_cut: Rc<Cell<bool>>,
    cut: Rc<Notify>,
}

impl Meter {
    pub(super) fn new(crashes: &[Crash], failed: &[FailedCall]) -> Self {
        Self { crashes: RefCell::new(crashes.to_vec()), failed: failed.to_vec(), ..Self::default() }
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls.get()
    }

    /// How the next call of a name fails, if it does.
    fn next_failure(&self, name: &'static str) -> Option<Kind> {
        let number = self.by_name.borrow().get(name).copied().unwrap_or(0);
        self.failed.iter().find(|call| (call.of, call.number) == (name, number)).map(|call| call.kind)
    }

    /// How many calls of a name came before this one.
    fn count(&self, name: &'static str) -> u64 {
        let mut by_name = self.by_name.borrow_mut();
        let count = by_name.entry(name).or_default();
        *count += 1;
        *count - 1
    }

    pub(super) fn faulted(&self) -> Vec<&'static str> {
        self.faulted.borrow().clone()
    }
}

impl Line {
    pub(super) fn new(meter: &Rc<Meter>) -> Self {
        Self { meter: meter.clone(), is_cut: Rc::default(), cut: Rc::new(Notify::new()) }
    }

    /// Resolves once the worker is gone.
    pub(super) async fn is_cut(&self) {
        self.cut.notified().await;
    }

    async fn call<T>(&self, name: &'static str, io: impl Future<Output = T>) -> T {
        self.stay_cut().await;
        let number = self.meter.calls.replace(self.meter.calls.get() + 1);
        let of_its_name = self.meter.count(name);
        let at = |before| {
            [(number, None), (of_its_name, Some(name))].map(|(number, of)| Crash { number, before, of })
        };
        self.crash_if_due(&at(true), name).await;
        let answer = io.await;
        self.stay_cut().await;
        self.crash_if_due(&at(false), name).await;
        answer
    }

    /// A call of the file system. One that is to fail does so after it took effect, and after `then`.
    async fn file_call<T>(
        &self,
        name: &'static str,
        path: &str,
        io: impl Future<Output = Result<T>>,
        then: impl FnOnce(),
    ) -> Result<T> {
        let failure = self.meter.next_failure(name);
        let answer = self.call(name, io).await;
        let Some(kind) = failure else { return answer };
        self.meter.faulted.borrow_mut().push(name);
        then();
        let detail = format!("injected: {kind:?}");
        Err(StoreError { kind, operation: name, path: path.to_owned(), detail })
    }

    async fn stay_cut(&self) {
        if self.is_cut.get() {
            std::future::pending::<()>().await;
        }
    }

    async fn crash_if_due(&self, at: &[Crash], name: &'static str) {
        if !self.meter.crashes.borrow().iter().any(|crash| at.contains(crash)) {
            return;
        }
        self.meter.faulted.borrow_mut().push(name);
        self.is_cut.set(true);
        self.cut.notify_one();
        std::future::pending::<()>().await;
    }
}

/// The directory, by way of a line.
#[derive(Debug)]
pub(super) struct WiredVolume(pub(super) Directory, pub(super) Line);

/// An open file, and its name.
#[derive(Debug)]
pub(super) struct WiredFile(DirFile, String);

impl WiredVolume {
    async fn call<T>(
        &self,
        name: &'static str,
        path: &str,
        io: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.1.file_call(name, path, io, || {}).await
    }

    /// Loses the second half of a file.
    fn tear(&self, path: &str) {
        let file = std::fs::OpenOptions::new().write(true).open(self.0.root().join(path));
        let torn = file.and_then(|file| file.set_len(file.metadata()?.len() / 2));
        torn.expect("a file that has just been written");
    }
}

impl FileSystem for WiredVolume {
    type File = WiredFile;

    fn is_on_one_machine(&self) -> bool {
        self.0.is_on_one_machine()
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.call("read", path, self.0.read(path)).await
    }

    async fn read_at(&self, path: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
        self.call("read", path, self.0.read_at(path, offset, length)).await
    }

    async fn meta(&self, path: &str) -> Result<Meta> {
        self.call("stat", path, self.0.meta(path)).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        self.call("list", folder, self.0.list(folder)).await
    }

    async fn create(&self, path: &str) -> Result<WiredFile> {
        let create = async { Ok::<_, StoreError>(WiredFile(self.0.create(path).await?, path.to_owned())) };
        self.call("create", path, create).await
    }

    async fn write(&self, file: &mut WiredFile, bytes: &[u8]) -> Result<()> {
        self.call("write", &file.1, self.0.write(&mut file.0, bytes)).await
    }

    async fn sync(&self, file: &mut WiredFile) -> Result<()> {
        self.call("fsync", &file.1, self.0.sync(&mut file.0)).await
    }

    async fn close(&self, file: WiredFile) -> Result<()> {
        let WiredFile(file, path) = file;
        self.1.file_call("close", &path, self.0.close(file), || self.tear(&path)).await
    }

    async fn link(&self, from: &str, to: &str) -> Result<()> {
        self.call("link", to, self.0.link(from, to)).await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.call("rename", to, self.0.rename(from, to)).await
    }

    async fn remove(&self, path: &str) -> Result<()> {
        self.call("remove", path, self.0.remove(path)).await
    }

    async fn make_folder(&self, path: &str) -> Result<()> {
        self.call("mkdir", path, self.0.make_folder(path)).await
    }

    async fn remove_folder(&self, path: &str) -> Result<()> {
        self.call("rmdir", path, self.0.remove_folder(path)).await
    }

    async fn sync_folder(&self, path: &str) -> Result<()> {
        self.call("fsync folder", path, self.0.sync_folder(path)).await
    }
}

/// A queue, by way of a line.
#[derive(Debug)]
pub(super) struct WiredQueue<Q>(pub(super) Q, pub(super) Line);

impl<Q: Queue> WorkQueue for WiredQueue<Q> {
    async fn add(&self, items: &[Item]) -> std::result::Result<usize, QueueError> {
        self.1.call("add", self.0.add(items)).await
    }

    async fn claim(
        &self,
        worker: &str,
        nonce: u128,
        lease: Duration,
        preferred: &[Item],
    ) -> std::result::Result<Option<Claim>, QueueError> {
        self.1.call("claim", self.0.claim(worker, nonce, lease, preferred)).await
    }

    async fn heartbeat(
        &self,
        claim: &Claim,
        lease: Duration,
        progress: u64,
    ) -> std::result::Result<Ownership, QueueError> {
        self.1.call("heartbeat", self.0.heartbeat(claim, lease, progress)).await
    }

    async fn ack(&self, claim: &Claim, next: &[Item]) -> std::result::Result<Ownership, QueueError> {
        self.1.call("ack", self.0.ack(claim, next)).await
    }

    async fn release(
        &self,
        claim: &Claim,
        delay: Duration,
        why: Release,
    ) -> std::result::Result<Ownership, QueueError> {
        self.1.call("release", self.0.release(claim, delay, why)).await
    }

    async fn counts(&self) -> std::result::Result<Counts, QueueError> {
        self.1.call("counts", self.0.counts()).await
    }

    async fn changed(&self) {
        self.0.changed().await
    }
}

impl<Q: Queue> Inbox for WiredQueue<Q> {
    async fn push(&self, paths: &[String]) -> std::result::Result<(), QueueError> {
        self.1.call("push", self.0.push(paths)).await
    }

    async fn pushed(&self) -> std::result::Result<Vec<String>, QueueError> {
        self.1.call("pushed", self.0.pushed()).await
    }

    async fn remove_pushed(&self, paths: &[String]) -> std::result::Result<(), QueueError> {
        self.1.call("take in", self.0.remove_pushed(paths)).await
    }

    async fn pushed_count(&self) -> std::result::Result<u64, QueueError> {
        self.1.call("pushed count", self.0.pushed_count()).await
    }
}
