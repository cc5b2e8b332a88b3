//! What others have committed, by listing those folders of commits in which one is missing. A listing costs as
//! much as the folders hold: busy workers spend at most a twentieth of their time on it, and idle workers back off
//! exponentially.

use std::cell::Cell;
use std::time::Duration;

use crate::context::{Context, Ports};
use crate::item_error::ItemError;
use crate::pipeline::Stage;
use crate::store::Store;
use crate::system::System;
use crate::view::RunView;

/// Listing commits may cost this share of a worker's time: 1 in `SHARE`.
const SHARE: u32 = 20;
/// Maximum number of times the idle listing interval doubles: a thousand idle workers are many.
const DOUBLINGS_MAX: u32 = 4;
/// An idle worker lists them after this many looks at the latest.
const IDLE_LOOKS: u32 = 32;

/// When the commits were listed last, and what that cost.
#[derive(Debug, Default)]
struct Cadence {
    at: Cell<Option<Duration>>,
    cost: Cell<Duration>,
    /// How many listings in a row found nothing that the queue needed.
    empty: Cell<u32>,
}

impl Cadence {
    /// How long no listing follows the last, by what that cost.
    fn rest(&self) -> Duration {
        self.cost.get() * SHARE
    }

    fn is_older(&self, than: Duration, now: Duration) -> bool {
        self.at.get().is_none_or(|at| now.saturating_sub(at) >= than)
    }

    fn record(&self, before: Duration, now: Duration) {
        self.at.set(Some(now));
        self.cost.set(now.saturating_sub(before));
    }
}

pub(crate) struct Lister<'a, P: Ports> {
    ctx: &'a Context<'a, P>,
    view: &'a RunView<'a, P>,
    cadence: Cadence,
}

impl<'a, P: Ports> Lister<'a, P> {
    pub fn new(ctx: &'a Context<'a, P>, view: &'a RunView<'a, P>) -> Self {
        Self { ctx, view, cadence: Cadence::default() }
    }

    /// When the commits were listed last.
    pub fn listed_at(&self) -> Option<Duration> {
        self.cadence.at.get()
    }

    /// The last listing found nothing that the queue needed.
    pub fn record_empty_listing(&self) {
        self.cadence.empty.set(DOUBLINGS_MAX.min(self.cadence.empty.get() + 1));
    }

    /// There is work again.
    pub fn reset_backoff(&self) {
        self.cadence.empty.set(0);
    }

    /// Lists the commits again, unless that was done so lately that it would cost too much.
    pub async fn list_if_due(&self) -> Result<(), ItemError> {
        let rest = self.cadence.rest().max(self.ctx.config.idle / 4);
        if self.cadence.is_older(rest, self.ctx.system.elapsed()) { self.list().await } else { Ok(()) }
    }

    /// The same for an idle worker; returns whether something lies where the report belongs. Once it does, a worker that
    /// is behind catches up at once; and a worker that stood still in a listing does not take that for its cost.
    pub async fn list_if_idle(&self) -> Result<bool, ItemError> {
        let idle = self.ctx.config.idle;
        let rest = self.cadence.rest() * (1 << self.cadence.empty.get());
        let due = self.cadence.is_older(rest.clamp(idle / 4, idle * IDLE_LOOKS), self.ctx.system.elapsed());
        let has_report = self.ctx.store.exists(&self.ctx.paths.report()).await.is_ok_and(|there| there);
        if due || has_report {
            self.list().await?;
        }
        Ok(has_report)
    }

    /// Lists every folder that may hold a commit which this worker does not know of.
    pub async fn list(&self) -> Result<(), ItemError> {
        let before = self.ctx.system.elapsed();
        let Some(stages) = self.view.planned(|plan, _| plan.pipeline.stages()) else { return Ok(()) };
        for stage in stages {
            let mut from = 0;
            while let Some(folder) = self.next_folder(stage, from) {
                self.list_folder(stage, folder).await?;
                from = folder + 1;
            }
        }
        self.ctx.tick();
        self.cadence.record(before, self.ctx.system.elapsed());
        Ok(())
    }

    fn next_folder(&self, stage: Stage, from: u32) -> Option<u32> {
        self.view.planned(|plan, commits| plan.first_folder_missing(commits, stage, from)).flatten()
    }

    async fn list_folder(&self, stage: Stage, folder: u32) -> Result<(), ItemError> {
        let name = self.view.opened()?.pipeline().folder(stage);
        let names = self.ctx.store.list(&self.ctx.paths.folder(name, folder)).await?;
        for index in names.iter().filter_map(|name| name.parse().ok()) {
            self.view.record(stage, index);
        }
        Ok(())
    }
}
