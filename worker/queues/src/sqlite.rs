//! The queue in an SQLite file: the default on one machine, for any number of processes. It has a
//! thread of its own, so that a disk that stalls blocks neither the work nor its heartbeats, were
//! the queue not on that disk (rule 15).
//!
//! Times are milliseconds since the machine booted: they pass while it is suspended, no one sets
//! them, and a reboot, which the boot's id shows, voids all of them (rule 16). The file may lose its
//! last changes with the machine's power: the queue is a hint, and items that it forgets are added again. A path
//! that was pushed in the second before that, and not taken in, has to be pushed again.

mod clock;
mod file;
mod log;
mod store;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::{Mutex, oneshot};

pub use self::clock::Clock;
use self::log::Log;
use self::store::Store;
use engine::item::Item;
use engine::queue::{Claim, Counts, Inbox, Ownership, QueueError, Release, WorkQueue, millis};

/// Others write at each claim, heartbeat and acknowledgement: after its first looks, of which one is for what it wrote
/// itself, a client that waits looks no more often than this.
const REST: Duration = Duration::from_millis(1);
const LOOKS_AT_ONCE: u32 = 2;

/// What the queue's thread does with the store.
type Job = Box<dyn FnOnce(&mut Store) + Send>;

/// A handle on the queue of one run. Its thread ends when it is dropped.
pub struct Sqlite {
    path: PathBuf,
    jobs: mpsc::Sender<Job>,
    /// The file's log, once somebody waits for changes.
    log: Mutex<Option<Log>>,
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sqlite").field(&self.path).finish()
    }
}

impl Sqlite {
    /// Opens the file, and makes it where there is none. Refused on NFS and the like, and where the
    /// file is another program's, damaged, or a later version's.
    pub fn open(path: &Path, run: &str) -> Result<Self, QueueError> {
        Self::open_with(path, run, Clock::system()?)
    }

    /// [`Sqlite::open`] by another clock.
    pub fn open_with(path: &Path, run: &str, clock: Clock) -> Result<Self, QueueError> {
        let mut store = Store::open(path, run, clock)?;
        let (jobs, received) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("queue".to_owned())
            .spawn(move || {
                while let Ok(job) = received.recv() {
                    job(&mut store);
                }
            })
            .map_err(|error| QueueError::Away(format!("starting the queue's thread: {error}")))?;
        Ok(Self { path: path.to_owned(), jobs, log: Mutex::default() })
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Store) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        let gone = || QueueError::Away("the queue's thread has ended".to_owned());
        let (answer, answered) = oneshot::channel();
        let job = move |store: &mut Store| {
            // A caller that no longer waits has been dropped: the effect stands.
            let _ = answer.send(operation(store));
        };
        self.jobs.send(Box::new(job)).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl WorkQueue for Sqlite {
    async fn add(&self, items: &[Item]) -> Result<usize, QueueError> {
        let items = items.to_vec();
        self.run(move |store| store.add(&items)).await
    }

    async fn claim(
        &self,
        worker: &str,
        nonce: u128,
        lease: Duration,
        preferred: &[Item],
    ) -> Result<Option<Claim>, QueueError> {
        let (worker, preferred) = (worker.to_owned(), preferred.to_vec());
        self.run(move |store| store.claim(&worker, nonce, millis(lease), &preferred)).await
    }

    async fn heartbeat(
        &self,
        claim: &Claim,
        lease: Duration,
        progress: u64,
    ) -> Result<Ownership, QueueError> {
        let claim = claim.clone();
        self.run(move |store| store.heartbeat(&claim, millis(lease), progress)).await
    }

    async fn ack(&self, claim: &Claim, next: &[Item]) -> Result<Ownership, QueueError> {
        let (claim, next) = (claim.clone(), next.to_vec());
        self.run(move |store| store.ack(&claim, &next)).await
    }

    async fn release(&self, claim: &Claim, delay: Duration, why: Release) -> Result<Ownership, QueueError> {
        let claim = claim.clone();
        self.run(move |store| store.release(&claim, millis(delay), why)).await
    }

    async fn counts(&self) -> Result<Counts, QueueError> {
        self.run(Store::counts).await
    }

    async fn changed(&self) {
        let mut watched = self.log.lock().await;
        if !watched.as_ref().is_some_and(Log::is_there) {
            *watched = Log::watch(&self.path);
        }
        let Some(log) = &*watched else { return std::future::pending().await };
        let mut looks = 0;
        // Watched before it looks: of what others do after that it hears. Each look is a transaction, and waits for the
        // one that is being written.
        while !self.counts().await.is_ok_and(|counts| counts.pending > 0) {
            log.written().await;
            looks += 1;
            if looks > LOOKS_AT_ONCE {
                tokio::time::sleep(REST).await;
            }
        }
    }
}

impl Inbox for Sqlite {
    async fn push(&self, paths: &[String]) -> Result<(), QueueError> {
        let paths = paths.to_vec();
        self.run(move |store| store.push(&paths)).await
    }

    async fn pushed(&self) -> Result<Vec<String>, QueueError> {
        self.run(Store::pushed).await
    }

    async fn remove_pushed(&self, paths: &[String]) -> Result<(), QueueError> {
        let paths = paths.to_vec();
        self.run(move |store| store.remove_pushed(&paths)).await
    }

    async fn pushed_count(&self) -> Result<u64, QueueError> {
        self.run(Store::pushed_count).await
    }
}
