//! What a worker offers to the queue, and what it prefers to claim.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use crate::context::{Context, Ports};
use crate::item::Item;
use crate::listing::Lister;
use crate::mutant::Mutant;
use crate::pipeline::{Stage, Step};
use crate::queue::{Claim, QueueError, WorkQueue};
use crate::system::System;
use crate::view::RunView;

/// At most this many items of each stage are offered to the queue at once.
const OFFER_ITEMS: usize = 64;
/// Penalty of a claimed item that is committed already: a worker offers fewer where more than one in this number is.
const PENALTY_STEP: u32 = 8;
/// The largest penalty: a share of 1 in 64.
const PENALTY_MAX: u32 = 4 * 63;

pub(crate) struct Offers<'a, P: Ports> {
    ctx: &'a Context<'a, P>,
    view: &'a RunView<'a, P>,
    lister: &'a Lister<'a, P>,
    /// Items that this worker has offered, so as not to offer them with every acknowledgement.
    made: RefCell<BTreeSet<Item>>,
    /// Grows with claims whose items turn out to be committed already: too many workers offer the same.
    redundancy_penalty: Cell<u32>,
    /// The sticky stages that this worker has claimed, each with the dataset that it claimed last.
    sticky: RefCell<BTreeMap<Stage, u32>>,
    /// What it left to others last.
    left: Cell<Option<Item>>,
}

impl<'a, P: Ports> Offers<'a, P> {
    pub fn new(ctx: &'a Context<'a, P>, view: &'a RunView<'a, P>, lister: &'a Lister<'a, P>) -> Self {
        Self {
            ctx,
            view,
            lister,
            made: RefCell::default(),
            redundancy_penalty: Cell::new(0),
            sticky: RefCell::default(),
            left: Cell::new(None),
        }
    }

    /// Forgets what was offered: the queue may have lost it.
    pub fn reset(&self) {
        self.made.borrow_mut().clear();
        self.redundancy_penalty.set(0);
    }

    /// Claims an item that this worker prefers, or any.
    pub async fn claim(&self) -> Result<Option<Claim>, QueueError> {
        let (name, lease) = (&self.ctx.config.worker, self.ctx.config.lease);
        let did: Vec<(Stage, u32)> =
            self.sticky.borrow().iter().map(|(stage, last)| (*stage, *last)).collect();
        let left = self.view.planned(|plan, commits| plan.left_to_others(commits, &did)).flatten();
        // Once an item: the worker that should do it may be gone.
        if left.is_some() && self.left.replace(left) != left {
            self.ctx.pause(self.ctx.config.idle).await;
            if self.ctx.is_stopping() {
                return Ok(None);
            }
        }
        let preferred = self.view.planned(|plan, commits| plan.preferred(commits, &did)).unwrap_or_default();
        let claim = self.ctx.queue.claim(name, self.ctx.system.nonce(), lease, &preferred).await?;
        if let Some(Step::Each(stage, index)) =
            claim.as_ref().and_then(|claim| self.view.step_of(claim.item.name))
            && self.view.planned(|plan, _| plan.pipeline.is_sticky(stage)) == Some(true)
        {
            self.sticky.borrow_mut().insert(stage, index);
        }
        Ok(claim)
    }

    /// What is claimable by what this worker knows.
    pub fn claimable(&self) -> Vec<Item> {
        let mut items =
            self.view.planned(|plan, commits| plan.claimable(commits, OFFER_ITEMS)).unwrap_or_default();
        if self.ctx.breaks(Mutant::ForgetToFold) {
            items.retain(|item| !matches!(self.view.step_of(item.name), Some(Step::Chain(_))));
        }
        items
    }

    /// What is claimable and not yet offered.
    pub async fn next_items(&self) -> Vec<Item> {
        if self.view.has_begun() {
            // A listing that fails only delays: the idle workers look again.
            let _ = self.lister.list_if_due().await;
        }
        self.not_yet_offered(self.claimable())
    }

    /// Those of the items that this worker has not offered; its share of them, where many workers offer
    /// the same: an item that is done before the last of them offers it is only claimed again.
    pub fn not_yet_offered(&self, mut items: Vec<Item>) -> Vec<Item> {
        let mut made = self.made.borrow_mut();
        let (shares, ours) = (u64::from(self.redundancy_penalty.get() / 4) + 1, self.ctx.jitter());
        items.retain(|item| match self.view.step_of(item.name) {
            Some(Step::Each(_, index)) => {
                ours.wrapping_add(u64::from(index)).is_multiple_of(shares) && made.insert(*item)
            }
            // The other steps recur: that one was offered before says nothing.
            _ => true,
        });
        items
    }

    /// Records whether a claimed item was committed already.
    pub fn record_claim(&self, was_committed: bool) {
        let penalty = self.redundancy_penalty.get();
        let penalty =
            if was_committed { PENALTY_MAX.min(penalty + PENALTY_STEP) } else { penalty.saturating_sub(1) };
        self.redundancy_penalty.set(penalty);
    }
}
