//! Calls to the queue, and its answers.

use std::time::Duration;

use worker::item::Item;
use worker::queue::{Claim, Counts, Ownership, Release};

/// One call to the queue.
#[derive(Debug, Clone)]
pub enum Ask {
    Add(Vec<Item>),
    Claim { worker: String, nonce: u128, lease: Duration, preferred: Vec<Item> },
    Heartbeat(Claim, Duration, u64),
    Ack(Claim, Vec<Item>),
    Release(Claim, Duration, Release),
    Push(Vec<String>),
    Pushed,
    RemovePushed(Vec<String>),
    PushedCount,
    Counts,
}

#[derive(Debug, Clone)]
pub enum QueueReply {
    Added(usize),
    Claimed(Option<Claim>),
    Ownership(Ownership),
    Done,
    Paths(Vec<String>),
    Count(u64),
    Counts(Counts),
}

impl Ask {
    pub fn changes(&self) -> bool {
        !matches!(self, Self::Pushed | Self::PushedCount | Self::Counts)
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Claim { .. } => "claim",
            Self::Heartbeat(..) => "heartbeat",
            Self::Ack(..) => "ack",
            Self::Release(..) => "release",
            Self::Push(_) => "push",
            Self::Pushed => "pushed",
            Self::RemovePushed(_) => "remove pushed",
            Self::PushedCount => "count pushed",
            Self::Counts => "counts",
        }
    }
}
