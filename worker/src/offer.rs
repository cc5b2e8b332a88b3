//! What a worker tells the queue of, and what it would rather be given.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use crate::breakage::Breakage;
use crate::item::Item;
use crate::pipeline::{Stage, Step};
use crate::plan::{CommitIndex, Plan};
use crate::queue::{Claim, Queue, QueueError};
use crate::run::Worker;
use crate::system::System;
use crate::volume::Volume;

/// At most so many items are offered to the queue at once, of each stage.
const OFFER_ITEMS: usize = 64;
/// More than one in so many claimed items that are done already: a worker offers fewer.
const SHY_STEP: u32 = 8;
/// Not shier than this: a share of 1 in 64.
const SHY_MAX: u32 = 4 * 63;

#[derive(Debug, Default)]
pub(crate) struct Offers {
    /// Items that this worker has told the queue of, so as not to tell them with every answer.
    made: RefCell<BTreeSet<Item>>,
    /// Grows with claims whose items turn out to be committed already: too many offer the same.
    shy: Cell<u32>,
    /// The dataset whose sticky stage was claimed last.
    sticky: Cell<Option<u32>>,
}

impl Offers {
    /// What was offered may be lost.
    pub(crate) fn begin_anew(&self) {
        self.made.borrow_mut().clear();
        self.shy.set(0);
    }
}

impl<Q: Queue, V: Volume, S: System> Worker<'_, Q, V, S> {
    /// Claims what this worker would rather have, or what there is.
    pub(crate) async fn claim(&self) -> Result<Option<Claim>, QueueError> {
        let (name, lease) = (&self.config.worker, self.config.lease);
        let did = self.offers.sticky.get();
        let preferred = self.planned(|plan, commits| plan.preferred(commits, did)).unwrap_or_default();
        let claim = self.queue.claim(name, self.system.nonce(), lease, &preferred).await?;
        if let Some(Step::Each(stage, index)) = claim.as_ref().and_then(|claim| self.step_of(claim.item.name))
            && self.planned(|plan, _| plan.pipeline.sticky()) == Some(Some(stage))
        {
            self.offers.sticky.set(Some(index));
        }
        Ok(claim)
    }

    /// What is claimable by what this worker knows.
    pub(crate) fn claimable(&self) -> Vec<Item> {
        let mut items =
            self.planned(|plan, commits| plan.claimable(commits, OFFER_ITEMS)).unwrap_or_default();
        if self.breaks(Breakage::ForgetToFold) {
            items.retain(|item| !matches!(self.step_of(item.name), Some(Step::Chain(_))));
        }
        items
    }

    /// Plans by what this worker knows, once the run has begun.
    pub(crate) fn planned<T>(&self, with: impl FnOnce(Plan<'_>, &mut CommitIndex) -> T) -> Option<T> {
        let opened = self.opened.borrow();
        Some(opened.as_ref()?.plan(|plan| with(plan, &mut self.known.borrow_mut())))
    }

    /// Whether a dataset's item can be done now, by what this worker knows.
    pub(crate) fn is_claimable(&self, stage: Stage, index: u32) -> bool {
        self.planned(|plan, commits| plan.is_claimable(commits, stage, index)).unwrap_or_default()
    }

    /// What the queue has not been told of yet.
    pub(crate) async fn next_items(&self) -> Vec<Item> {
        if self.opened.borrow().is_some() {
            // A listing that fails only delays: the idle ones look again.
            let _ = self.list_if_due().await;
        }
        self.news(self.claimable())
    }

    /// Those of the items that this worker has not told the queue of; its share of them, where many
    /// workers tell it the same: what is done before the last of them does is only claimed again.
    pub(crate) fn news(&self, mut items: Vec<Item>) -> Vec<Item> {
        let mut made = self.offers.made.borrow_mut();
        let (shares, ours) = (u64::from(self.offers.shy.get() / 4) + 1, self.jitter.get());
        items.retain(|item| match self.step_of(item.name) {
            Some(Step::Each(_, index)) => {
                ours.wrapping_add(u64::from(index)).is_multiple_of(shares) && made.insert(*item)
            }
            // The others are done again and again: that they were offered once says nothing.
            _ => true,
        });
        items
    }

    /// An item was claimed and done, or was found to be done.
    pub(crate) fn was_done_before(&self, before: bool) {
        let shy = self.offers.shy.get();
        self.offers.shy.set(if before { SHY_MAX.min(shy + SHY_STEP) } else { shy.saturating_sub(1) });
    }
}
