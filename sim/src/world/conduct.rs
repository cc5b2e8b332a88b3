//! What an onlooker remembers of how a worker behaves.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::clock::Micros;

/// What an onlooker remembers of a worker's conduct.
#[derive(Debug, Default)]
pub struct Conduct {
    /// When it claimed, or last sent a heartbeat.
    pub beat_at: Cell<Micros>,
    /// Until then faults keep it from its next heartbeat.
    pub hindered_until: Cell<Micros>,
    /// It knows that its lease is lost, or nothing moves: it sends no heartbeats.
    pub silent: Cell<bool>,
    /// Steps that its workload has done, which counts them.
    pub steps: Arc<AtomicU64>,
    /// Those of them that were done when it claimed, or last saved.
    steps_safe: Cell<u64>,
    /// When that was.
    pub safe_at: Cell<Micros>,
    /// Steps of this item that began too long after a notice to stop.
    pub late_steps: Cell<u32>,
    /// What attempts of machines that are gone had left of the item that it acknowledged last, if that was redelivered.
    pub left_by_others: RefCell<Vec<String>>,
    /// Items released in a row for what the volume did, or lacked.
    pub released_in_a_row: Cell<u32>,
}

impl Conduct {
    /// A fault keeps the machine from its next heartbeat until then. An earlier heartbeat changes nothing about that:
    /// first progress sends one of its own.
    pub fn hinder(&self, until: Micros) {
        self.hindered_until.set(self.hindered_until.get().max(until));
    }

    /// The queue gave it an item.
    pub fn claimed(&self, now: Micros) {
        self.beat_at.set(now);
        self.silent.set(false);
        self.late_steps.set(0);
        self.safe(now);
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
