//! What a worker tells the queue of, and what it would rather be given.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use crate::breakage::Breakage;
use crate::manifest::Manifest;
use crate::plan::{self, Known};
use crate::queue::{Claim, Item, Queue, QueueError};
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
    /// The dataset whose join was claimed last.
    joined: Cell<Option<u32>>,
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
        let joined = self.offers.joined.get();
        let preferred =
            self.planned(|manifest, known, window| plan::preferred(manifest, known, window, joined));
        let claim = self.queue.claim(name, self.system.nonce(), lease, &preferred).await?;
        if let Some(Item::Join(index)) = claim.as_ref().map(|claim| claim.item) {
            self.offers.joined.set(Some(index));
        }
        Ok(claim)
    }

    /// What is claimable by what this worker knows.
    pub(crate) fn claimable(&self) -> Vec<Item> {
        let mut items =
            self.planned(|manifest, known, window| plan::claimable(manifest, known, window, OFFER_ITEMS));
        items.retain(|item| *item != Item::Fold || !self.breaks(Breakage::ForgetToFold));
        items
    }

    /// What a function of [`plan`] says of the manifest and of what this worker knows.
    fn planned(
        &self,
        plan: impl FnOnce(&Manifest, &mut Known, &dyn Fn(u32) -> Vec<u32>) -> Vec<Item>,
    ) -> Vec<Item> {
        let opened = self.opened.borrow();
        let Some(opened) = opened.as_ref() else { return Vec::new() };
        plan(&opened.manifest, &mut self.known.borrow_mut(), &|index| opened.window(index))
    }

    /// Whether a dataset's item can be done now, by what this worker knows.
    pub(crate) fn is_claimable(&self, item: Item) -> bool {
        let opened = self.opened.borrow();
        let Some(opened) = opened.as_ref() else { return false };
        plan::is_claimable(&opened.manifest, &self.known.borrow(), &|index| opened.window(index), item)
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
        items.retain(|item| match item {
            Item::Prepare(index) | Item::Join(index) | Item::Evaluate(index) => {
                ours.wrapping_add(u64::from(*index)).is_multiple_of(shares) && made.insert(*item)
            }
            // The others are done again and again: that they were offered once says nothing.
            Item::Begin | Item::Intake | Item::Fold | Item::Report => true,
        });
        items
    }

    /// An item was claimed and done, or was found to be done.
    pub(crate) fn was_done_before(&self, before: bool) {
        let shy = self.offers.shy.get();
        self.offers.shy.set(if before { SHY_MAX.min(shy + SHY_STEP) } else { shy.saturating_sub(1) });
    }
}
