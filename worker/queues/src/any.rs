//! The queue that a launcher names by URL.

use std::path::Path;
use std::time::Duration;

use crate::redis::Redis;
use crate::sqlite::Sqlite;
use engine::item::Item;
use engine::queue::{Claim, Counts, Inbox, Ownership, QueueError, Release, WorkQueue};

/// The file of the embedded queue, on the volume.
const SQLITE_FILE: &str = "queue.sqlite";

/// One of the real queues.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a process has one")]
pub enum AnyQueue {
    Redis(Redis),
    Sqlite(Sqlite),
}

impl AnyQueue {
    /// Opens `sqlite`, a file in the volume's folder, `sqlite:PATH` or a URL of Redis; see [`engine::store::identity`]
    /// for the id.
    ///
    /// # Errors
    /// `Refused` where the URL names no queue, or the queue does not let us in.
    pub fn open(url: &str, folder: Option<&Path>, volume_id: &str, run: &str) -> Result<Self, QueueError> {
        if is_redis(url) {
            return Ok(Self::Redis(Redis::open(url, volume_id, run)?));
        }
        let path = match url.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => path.into(),
            None if url == "sqlite" => match folder {
                Some(folder) => folder.join(SQLITE_FILE),
                None => {
                    let why = "`sqlite` is a file on the volume, which is no folder\n\
                               hint: use redis://HOST:PORT/DB, or sqlite:PATH for workers of one machine";
                    return Err(QueueError::Refused(why.to_owned()));
                }
            },
            _ => {
                // What follows may hold a password.
                let scheme = url.split(':').next().unwrap_or_default();
                return Err(QueueError::Refused(format!(
                    "`{scheme}` names no queue\nhint: use sqlite, sqlite:PATH or redis://HOST:PORT/DB"
                )));
            }
        };
        Ok(Self::Sqlite(Sqlite::open(&path, run)?))
    }
}

/// Whether a URL is one of Redis or Valkey, whatever way leads there.
pub fn is_redis(url: &str) -> bool {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    matches!(
        scheme.strip_suffix("+sentinel").unwrap_or(scheme),
        "redis" | "rediss" | "valkey" | "valkeys" | "unix" | "redis+unix" | "valkey+unix"
    )
}

/// What a queue's server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// What it is, of which version, and where.
    pub server: String,
    /// Its clock, where it has one that leases go by and others can read.
    pub time_ms: Option<u64>,
    /// What may become a problem, or is one.
    pub remarks: Vec<Remark>,
}

/// Something about a queue's server that its operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Workers cannot use the server so.
    pub is_problem: bool,
    /// What it is.
    pub said: String,
    /// What to do about it.
    pub hint: String,
}

impl AnyQueue {
    /// What the server says of itself.
    ///
    /// # Errors
    /// Where it cannot be reached, or does not let us in.
    pub async fn about(&self) -> Result<About, QueueError> {
        match self {
            Self::Redis(redis) => redis.about().await,
            Self::Sqlite(sqlite) => Ok(About {
                server: format!("SQLite {} in {}", rusqlite::version(), sqlite.path().display()),
                time_ms: None,
                remarks: Vec::new(),
            }),
        }
    }
}

/// Calls the method of whichever queue it is.
macro_rules! forward {
    ($self:ident, $queue:ident => $call:expr) => {
        match $self {
            Self::Redis($queue) => $call.await,
            Self::Sqlite($queue) => $call.await,
        }
    };
}

impl WorkQueue for AnyQueue {
    async fn add(&self, items: &[Item]) -> Result<usize, QueueError> {
        forward!(self, queue => queue.add(items))
    }

    async fn claim(
        &self,
        worker: &str,
        nonce: u128,
        lease: Duration,
        preferred: &[Item],
    ) -> Result<Option<Claim>, QueueError> {
        forward!(self, queue => queue.claim(worker, nonce, lease, preferred))
    }

    async fn heartbeat(
        &self,
        claim: &Claim,
        lease: Duration,
        progress: u64,
    ) -> Result<Ownership, QueueError> {
        forward!(self, queue => queue.heartbeat(claim, lease, progress))
    }

    async fn ack(&self, claim: &Claim, next: &[Item]) -> Result<Ownership, QueueError> {
        forward!(self, queue => queue.ack(claim, next))
    }

    async fn release(&self, claim: &Claim, delay: Duration, why: Release) -> Result<Ownership, QueueError> {
        forward!(self, queue => queue.release(claim, delay, why))
    }

    async fn counts(&self) -> Result<Counts, QueueError> {
        forward!(self, queue => queue.counts())
    }

    async fn changed(&self) {
        forward!(self, queue => queue.changed())
    }
}

impl Inbox for AnyQueue {
    async fn push(&self, paths: &[String]) -> Result<(), QueueError> {
        forward!(self, queue => queue.push(paths))
    }

    async fn pushed(&self) -> Result<Vec<String>, QueueError> {
        forward!(self, queue => queue.pushed())
    }

    async fn remove_pushed(&self, paths: &[String]) -> Result<(), QueueError> {
        forward!(self, queue => queue.remove_pushed(paths))
    }

    async fn pushed_count(&self) -> Result<u64, QueueError> {
        forward!(self, queue => queue.pushed_count())
    }
}
