//! The queue: who works on what, until when. A hint, never the truth: whatever it loses, doubles
//! or forgets costs repeated work and never a result, since only commits on the volume count.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub mod any;
pub mod memory;
pub mod redis;
pub mod sqlite;

/// What the queue hands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Item {
    /// Commit chapter 0 of the manifest.
    Begin,
    /// Take pushed paths into a further chapter.
    Intake,
    /// Fold joined parts into checkpoints, oldest first, as far as they reach.
    Fold,
    Prepare(u32),
    Join(u32),
    Evaluate(u32),
    /// Seal the run, commit the report, write `output/`.
    Report,
}

impl Item {
    /// Order in which items that nobody prefers are handed out, lowest first: the fold before all
    /// else, since it is the one serial stage; then the oldest dataset's; the report last. Below
    /// 2^53, so that it is exact as a Redis score.
    pub fn rank(self) -> u64 {
        match self {
            Self::Begin => 0,
            Self::Intake => 1,
            Self::Fold => 2,
            Self::Prepare(index) => 4 + 4 * u64::from(index),
            Self::Join(index) => 5 + 4 * u64::from(index),
            Self::Evaluate(index) => 6 + 4 * u64::from(index),
            Self::Report => 4 + 4 * (u64::from(u32::MAX) + 1),
        }
    }

    /// The item's name in a file's name: `prepare.3`.
    pub fn file_name(self) -> String {
        self.to_string().replace('/', ".")
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin => f.write_str("begin"),
            Self::Intake => f.write_str("intake"),
            Self::Fold => f.write_str("fold"),
            Self::Prepare(index) => write!(f, "prepare/{index}"),
            Self::Join(index) => write!(f, "join/{index}"),
            Self::Evaluate(index) => write!(f, "evaluate/{index}"),
            Self::Report => f.write_str("report"),
        }
    }
}

impl FromStr for Item {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let index =
            |digits: &str| digits.parse::<u32>().ok().filter(|index| index.to_string() == digits).ok_or(());
        let item = match text.split_once('/') {
            None if text == "begin" => Ok(Self::Begin),
            None if text == "intake" => Ok(Self::Intake),
            None if text == "fold" => Ok(Self::Fold),
            None if text == "report" => Ok(Self::Report),
            Some(("prepare", digits)) => index(digits).map(Self::Prepare),
            Some(("join", digits)) => index(digits).map(Self::Join),
            Some(("evaluate", digits)) => index(digits).map(Self::Evaluate),
            _ => Err(()),
        };
        item.map_err(|()| format!("`{text}` is no item of a queue"))
    }
}

impl TryFrom<String> for Item {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Item> for String {
    fn from(item: Item) -> Self {
        item.to_string()
    }
}

/// A worker's right to an item until its lease expires. The owner is (token, nonce): tokens start
/// over when a queue is lost, nonces never repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub item: Item,
    pub token: u64,
    /// The claimant's nonce, as given to [`Queue::claim`].
    pub nonce: u128,
    /// Who held the item when its lease expired, where the queue remembers.
    pub taken_over_from: Option<String>,
    /// How often attempts at the item failed (never counts preemptions).
    pub failures: u32,
}

/// Whether the caller still owned the claim that it spoke of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    Held,
    Lost,
}

/// Why an item is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GiveBack {
    /// The machine goes: at once, and no failure.
    Preempted,
    /// What the item needs is not to be seen yet: later, and no failure.
    NotReady,
    /// The attempt failed.
    Failed,
}

/// How many entries the queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// That a claim could have now: pending, or with a lease or delay that has expired.
    pub pending: u64,
    /// Leased, or given back with a delay that has not passed.
    pub claimed: u64,
    /// Paths pushed and not yet taken in.
    pub pushed: u64,
}

impl Counts {
    pub fn is_empty(&self) -> bool {
        self.pending + self.claimed + self.pushed == 0
    }

    /// Whether nothing of this run is left in the queue. What is pushed is not: all runs of a database
    /// share that list.
    pub fn is_drained(&self) -> bool {
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

/// The queue of one run. Every operation is atomic (a list of thousands may be taken in steps). An
/// expired lease lets others have the item; until one of them claims it, it is still its owner's.
#[expect(async_fn_in_trait, reason = "workers are single futures on one thread (rule 19)")]
pub trait Queue {
    /// Adds those of the items that the queue does not hold yet; answers how many.
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

    /// Extends the lease from now; `progress` is kept for people who look.
    async fn renew(&self, claim: &Claim, lease: Duration, progress: u64) -> Result<Hold, QueueError>;

    /// Removes the item, which is committed; and adds `next` as [`Queue::add`] does, held or not.
    async fn ack(&self, claim: &Claim, next: &[Item]) -> Result<Hold, QueueError>;

    /// Returns the item, to be claimed again after `delay`.
    async fn give_back(&self, claim: &Claim, delay: Duration, why: GiveBack) -> Result<Hold, QueueError>;

    /// Pushes paths of datasets, as `RPUSH datasets <path>…` does.
    async fn push(&self, paths: &[String]) -> Result<(), QueueError>;

    /// The pushed paths not yet taken in, in the order pushed.
    async fn pushed(&self) -> Result<Vec<String>, QueueError>;

    /// Removes every occurrence of the given paths from the pushed ones: by value, since others
    /// may push or remove meanwhile.
    async fn take_in(&self, paths: &[String]) -> Result<(), QueueError>;

    async fn counts(&self) -> Result<Counts, QueueError>;
}

/// Whole milliseconds, rounded up; at most some 35,000 years, so that sums stay exact everywhere.
fn millis(duration: Duration) -> u64 {
    let ms = duration.as_nanos().div_ceil(1_000_000);
    u64::try_from(ms).unwrap_or(u64::MAX).min(1 << 50)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Item;

    fn items() -> impl Strategy<Value = Item> {
        prop_oneof![
            Just(Item::Begin),
            Just(Item::Intake),
            Just(Item::Fold),
            Just(Item::Report),
            any::<u32>().prop_map(Item::Prepare),
            any::<u32>().prop_map(Item::Join),
            any::<u32>().prop_map(Item::Evaluate),
        ]
    }

    proptest! {
        #[test]
        fn an_items_text_reads_back(item in items()) {
            prop_assert_eq!(item.to_string().parse(), Ok(item));
        }

        #[test]
        fn ranks_are_distinct_and_exact_as_redis_scores(a in items(), b in items()) {
            prop_assert_eq!(a == b, a.rank() == b.rank());
            prop_assert!(a.rank() < 1 << 53);
        }

        #[test]
        fn other_texts_are_refused(text in "[a-z]{0,8}/?[0-9+-]{0,3}") {
            if let Ok(item) = text.parse::<Item>() {
                prop_assert_eq!(item.to_string(), text);
            }
        }
    }
}
