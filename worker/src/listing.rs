//! What others have committed, by listing the commits' folders. That costs more with every commit, so it is
//! done seldom: by those that work at a share of their time, by those that wait less and less often.

use std::cell::Cell;
use std::time::Duration;

use crate::contract::Stage;
use crate::queue::Queue;
use crate::run::Worker;
use crate::system::System;
use crate::trouble::Trouble;
use crate::volume::Volume;

/// Listing commits may cost this share of a worker's time: 1 in so many.
const SHARE: u32 = 20;
/// Listings in vain double the rest after them so many times: a thousand idle workers are many.
const DOUBLINGS: u32 = 4;

/// When the commits were listed last, and what that cost.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    at: Cell<Option<Duration>>,
    cost: Cell<Duration>,
    /// Looks in a row after which the queue needed nothing.
    in_vain: Cell<u32>,
}

impl Listing {
    pub(crate) fn was_in_vain(&self) {
        self.in_vain.set(DOUBLINGS.min(self.in_vain.get() + 1));
    }

    pub(crate) fn was_not_in_vain(&self) {
        self.in_vain.set(0);
    }

    fn is_due(&self, now: Duration, least: Duration) -> bool {
        let rest = (self.cost.get() * SHARE * (1 << self.in_vain.get())).max(least);
        self.at.get().is_none_or(|at| now.saturating_sub(at) >= rest)
    }
}

impl<Q: Queue, V: Volume, S: System> Worker<'_, Q, V, S> {
    /// Lists the commits again, unless that was done so lately that it would cost too much. Once the
    /// report is there, whoever is behind catches up at once.
    pub(crate) async fn list_if_due(&self) -> Result<(), Trouble> {
        let due = self.listing.is_due(self.system.elapsed(), self.config.idle / 4);
        let waits = self.listing.in_vain.get() > 0;
        if due || waits && self.volume.meta(&self.paths.report()).await.is_ok() {
            return self.list_commits().await;
        }
        Ok(())
    }

    async fn list_commits(&self) -> Result<(), Trouble> {
        let before = self.system.elapsed();
        for stage in Stage::ALL {
            if self.is_complete(stage) {
                continue;
            }
            let names = self.volume.list(&self.paths.stage(stage)).await?;
            let mut known = self.known.borrow_mut();
            for index in names.iter().filter_map(|name| name.parse().ok()) {
                known.insert(stage, index);
            }
        }
        self.tick();
        let now = self.system.elapsed();
        self.listing.at.set(Some(now));
        self.listing.cost.set(now.saturating_sub(before));
        Ok(())
    }

    /// Whether all that a stage has to do is known to be committed.
    fn is_complete(&self, stage: Stage) -> bool {
        let opened = self.opened.borrow();
        let missing = |manifest| self.known.borrow_mut().first_missing(stage, manifest);
        opened.as_ref().is_some_and(|opened| missing(&opened.manifest).is_none())
    }
}
