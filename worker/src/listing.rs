//! What others have committed, by listing those folders of commits in which one is missing. That costs as
//! much as they hold, so it is done seldom: by those that work at a share of their time, by those that wait
//! less and less often.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use crate::contract::FOLDER_COMMITS;
use crate::pipeline::Stage;
use crate::queue::Queue;
use crate::run::Worker;
use crate::system::System;
use crate::trouble::Trouble;
use crate::volume::{Kind, Volume};

/// Listing commits may cost this share of a worker's time: 1 in so many.
const SHARE: u32 = 20;
/// Listings in vain double the rest after them so many times: a thousand idle workers are many.
const DOUBLINGS: u32 = 4;

/// Whoever waits lists them after so many looks at the latest.
const IDLE_LOOKS: u32 = 32;

/// When the commits were listed last, and what that cost.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    at: Cell<Option<Duration>>,
    cost: Cell<Duration>,
    /// How often in a row it was done in vain: the queue needed nothing.
    in_vain: Cell<u32>,
    /// Folders of commits that this worker has made, or found.
    made: RefCell<BTreeSet<String>>,
}

impl Listing {
    pub(crate) fn at(&self) -> Option<Duration> {
        self.at.get()
    }

    pub(crate) fn was_in_vain(&self) {
        self.in_vain.set(DOUBLINGS.min(self.in_vain.get() + 1));
    }

    pub(crate) fn was_not_in_vain(&self) {
        self.in_vain.set(0);
    }

    /// How long no listing follows the last, by what that cost.
    fn rest(&self) -> Duration {
        self.cost.get() * SHARE
    }

    fn is_older(&self, than: Duration, now: Duration) -> bool {
        self.at.get().is_none_or(|at| now.saturating_sub(at) >= than)
    }
}

impl<Q: Queue, V: Volume, S: System> Worker<'_, Q, V, S> {
    /// Lists the commits again, unless that was done so lately that it would cost too much.
    pub(crate) async fn list_if_due(&self) -> Result<(), Trouble> {
        let rest = self.listing.rest().max(self.config.idle / 4);
        if self.listing.is_older(rest, self.system.elapsed()) { self.list_commits().await } else { Ok(()) }
    }

    /// The same of a worker that waits. Once the report is there, whoever is behind catches up at once; and
    /// whoever stood still in a listing does not take that for its cost.
    pub(crate) async fn list_if_idle(&self) -> Result<(), Trouble> {
        let idle = self.config.idle;
        let rest = self.listing.rest() * (1 << self.listing.in_vain.get());
        let due = self.listing.is_older(rest.clamp(idle / 4, idle * IDLE_LOOKS), self.system.elapsed());
        if due || self.volume.meta(&self.paths.report()).await.is_ok() {
            return self.list_commits().await;
        }
        Ok(())
    }

    pub(crate) async fn list_commits(&self) -> Result<(), Trouble> {
        let before = self.system.elapsed();
        let Some(stages) = self.planned(|plan, _| plan.pipeline.stages()) else { return Ok(()) };
        for stage in stages {
            let mut from = 0;
            while let Some(folder) = self.folder_to_list(stage, from) {
                self.list_folder(stage, folder).await?;
                from = folder + 1;
            }
        }
        self.tick();
        let now = self.system.elapsed();
        self.listing.at.set(Some(now));
        self.listing.cost.set(now.saturating_sub(before));
        Ok(())
    }

    /// The next folder that may hold a commit which this worker does not know of.
    fn folder_to_list(&self, stage: Stage, from: u32) -> Option<u32> {
        self.planned(|plan, commits| plan.first_folder_missing(commits, stage, from)).flatten()
    }

    async fn list_folder(&self, stage: Stage, folder: u32) -> Result<(), Trouble> {
        let name = self.opened()?.pipeline().folder(stage);
        let names = match self.volume.list(&self.paths.folder(name, folder)).await {
            // Made with the first commit there.
            Err(error) if error.kind == Kind::NotFound => return Ok(()),
            names => names?,
        };
        let mut known = self.known.borrow_mut();
        for index in names.iter().filter_map(|name| name.parse().ok()) {
            known.insert(stage, index);
        }
        Ok(())
    }

    /// Makes the folder of a commit of a stage. Where the commit is `synced`, the folder survives a crash too.
    pub(crate) async fn make_folder_of(&self, stage: &str, index: u32, synced: bool) -> Result<(), Trouble> {
        for number in [0, index / FOLDER_COMMITS] {
            let folder = self.paths.folder(stage, number);
            if self.listing.made.borrow().contains(&folder) {
                continue;
            }
            self.volume.make_folder(&folder).await?;
            if synced {
                let above = folder.rsplit_once('/').map_or("", |(above, _)| above);
                self.volume.sync_folder(above).await?;
            }
            self.listing.made.borrow_mut().insert(folder);
        }
        Ok(())
    }
}
