//! The queue: who works on what, until when. A hint, never the truth: whatever it loses, doubles
//! or forgets costs repeated work and never a result, since only commits on the volume count.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::item::Item;

/// A worker's right to an item until its lease expires. The owner is (token, nonce): tokens start
/// over when a queue is lost, nonces never repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What is claimed.
    pub item: Item,
    /// Grows with each claim.
    pub token: u64,
    /// The claimant's nonce, as given to [`WorkQueue::claim`].
    pub nonce: u128,
    /// Who held the item when its lease expired, where the queue remembers.
    pub taken_over_from: Option<String>,
    /// How often attempts at the item failed (never counts preemptions). The owner may set it back: the queue keeps
    /// what the claim says at a heartbeat and a release.
    pub failures: u32,
    /// How many claims in a row, before this one, ended by an expired lease and reported no progress: workers that
    /// died without notice, for example for lack of memory.
    pub lost: u32,
}

/// Whether the caller still owned the claim that it spoke of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// It did; the operation took effect.
    Held,
    /// Another does, or nobody; nothing was changed.
    Lost,
}

/// Why an item is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Release {
    /// The machine goes: at once, and no failure.
    Preempted,
    /// What the item needs is not to be seen yet: later, and no failure.
    NotReady,
    /// The attempt failed.
    Failed,
}

/// How many of a run's items the queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// That a claim could have now: pending, or with a lease or delay that has expired.
    pub pending: u64,
    /// Leased, or released with a delay that has not passed.
    pub claimed: u64,
}

impl Counts {
    /// Whether the queue holds nothing.
    pub fn is_empty(&self) -> bool {
        self.pending + self.claimed == 0
    }
}

/// Why a queue's operation failed. Its effect may have happened all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// Restarting, unreachable, busy, read-only, out of memory: worth trying again.
    #[error("the queue is away: {0}")]
    Away(String),
    /// Trying again will not help: wrong password, no such database, not a queue of ours.
    #[error("the queue refused: {0}")]
    Refused(String),
}

/// The queue of one run's items. Every operation is atomic (a list of thousands may be taken in steps). An
/// expired lease lets others have the item; until one of them claims it, it is still its owner's.
#[expect(async_fn_in_trait, reason = "workers are single futures on one thread (rule 19)")]
pub trait WorkQueue {
    /// Adds those of the items that the queue does not hold yet; returns how many.
    async fn add(&self, items: &[Item]) -> Result<usize, QueueError>;

    /// Leases an item that is pending, or whose lease or delay has expired, to `worker`: the first of
    /// those `preferred` that is, otherwise the one of the lowest rank. Tokens grow as long as the
    /// queue's state is kept.
    async fn claim(
        &self,
        worker: &str,
        nonce: u128,
        lease: Duration,
        preferred: &[Item],
    ) -> Result<Option<Claim>, QueueError>;

    /// Extends the lease from now. `progress` counts what the claim has made durable so far: with any, its worker's
    /// death is no reason to count it among [`Claim::lost`].
    async fn heartbeat(&self, claim: &Claim, lease: Duration, progress: u64)
    -> Result<Ownership, QueueError>;

    /// Removes the item, which is committed; and adds `next` as [`WorkQueue::add`] does, held or not.
    async fn ack(&self, claim: &Claim, next: &[Item]) -> Result<Ownership, QueueError>;

    /// Returns the item, to be claimed again after `delay`.
    async fn release(&self, claim: &Claim, delay: Duration, why: Release) -> Result<Ownership, QueueError>;

    /// How many items are pending and claimed.
    async fn counts(&self) -> Result<Counts, QueueError>;

    /// Resolves once an item may be claimable that was not when this client last found none: early, late or never, for
    /// it is a hint, and clients go on asking. A caller may stop waiting, and wait again.
    async fn changed(&self) {
        std::future::pending().await
    }
}

/// Paths of datasets that anybody pushes, in the order pushed: the tutorial's list `datasets`. One for a whole
/// database, so all of its runs share it.
#[expect(async_fn_in_trait, reason = "workers are single futures on one thread (rule 19)")]
pub trait Inbox {
    /// Pushes paths, as `RPUSH datasets <path>…` does.
    async fn push(&self, paths: &[String]) -> Result<(), QueueError>;

    /// The pushed paths that are not removed yet, in the order pushed.
    async fn pushed(&self) -> Result<Vec<String>, QueueError>;

    /// Removes every occurrence of the given paths: by value, since others may push or remove at the same time.
    async fn remove_pushed(&self, paths: &[String]) -> Result<(), QueueError>;

    /// How many paths are pushed.
    async fn pushed_count(&self) -> Result<u64, QueueError>;
}

/// Both, in one database, as every arm here has them.
pub trait Queue: WorkQueue + Inbox {}

impl<T: WorkQueue + Inbox> Queue for T {}

/// Whole milliseconds, rounded up; at most some 35,000 years, so that sums stay exact everywhere.
pub fn millis(duration: Duration) -> u64 {
    let ms = duration.as_nanos().div_ceil(1_000_000);
    u64::try_from(ms).unwrap_or(u64::MAX).min(1 << 50)
}
