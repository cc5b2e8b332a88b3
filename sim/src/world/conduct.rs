//! What an onlooker remembers of how a worker behaves.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::clock::Micros;

/// What an onlooker remembers of a worker's conduct.
#[derive(Debug, Default)]
pub struct Conduct {
    /// When it claimed, or last sent a heartbeat.
    pub beat_at: Cell<Micros>,
    /// How much later faults make the next heartbeat.
    pub hindered: Cell<Micros>,
    /// It was told that its lease is lost, or nothing moves: it sends no heartbeats.
    pub silent: Cell<bool>,
    /// Steps that its workload has done, which counts them.
    pub steps: Arc<AtomicU64>,
    /// Those of them that were done when it claimed, or last saved.
    steps_safe: Cell<u64>,
    /// When that was.
    pub safe_at: Cell<Micros>,
    /// Items released in a row for what the volume did, or lacked.
    pub released_in_a_row: Cell<u32>,
}

impl Conduct {
    /// A fault keeps the machine from its next heartbeat for a while.
    pub fn hinder(&self, span: Micros) {
        self.hindered.set(self.hindered.get() + span);
    }

    /// The queue gave it an item, while the machine stands still until some time.
    pub fn claimed(&self, now: Micros, still_until: Micros) {
        self.beat(now, still_until);
        self.silent.set(false);
        self.safe(now);
    }

    pub fn beat(&self, now: Micros, still_until: Micros) {
        self.beat_at.set(now);
        self.hindered.set(still_until.saturating_sub(now));
    }

    pub fn safe(&self, now: Micros) {
        self.steps_safe.set(self.steps_done());
        self.safe_at.set(now);
    }

    pub fn steps_done(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    pub fn unsaved(&self) -> u64 {
        self.steps_done() - self.steps_safe.get()
    }
}
