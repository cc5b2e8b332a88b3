//! Steps a workload's task to its end: between steps progress is reported and saved, and signals are seen.

use std::time::Duration;

use crate::attempt::Attempt;
use crate::breakage::Breakage;
use crate::context::{Context, Ports};
use crate::events::What;
use crate::hash::Hash;
use crate::item_error::ItemError;
use crate::progress::{Progress, Saved};
use crate::system::System;
use crate::workload::{Outcome, Step, Task};

/// The share of the grace in which a task may still end or save: the rest is for the commit and the release.
const GRACE_FIFTHS: u32 = 3;

pub(crate) struct Runner<'a, P: Ports> {
    ctx: &'a Context<'a, P>,
    progress: &'a Progress<'a, P>,
}

impl<'a, P: Ports> Runner<'a, P> {
    pub fn new(ctx: &'a Context<'a, P>, progress: &'a Progress<'a, P>) -> Self {
        Self { ctx, progress }
    }

    /// Runs a task whose inputs hash to `parent`, from where an earlier attempt saved it.
    pub async fn run(
        &self,
        attempt: &Attempt,
        mut task: Box<dyn Task>,
        parent: Hash,
    ) -> Result<Outcome, ItemError> {
        let began = self.ctx.system.elapsed();
        let parent = Hash::of_fields([b"progress", &parent.0[..]]);
        if task.resumable() {
            self.progress.resume(attempt, &mut task, parent).await;
        }
        let (done_before, _) = task.progress();
        let mut saved_at = began;
        let mut uses_grace = None;
        loop {
            let stopping = self.ctx.system.stopping_for();
            let tell = stopping.is_some() && uses_grace.is_none();
            let (step, told, back) = self
                .ctx
                .compute(move || {
                    let told = tell.then(|| task.stop());
                    (task.step(), told, task)
                })
                .await?;
            task = back;
            uses_grace = uses_grace.or(told);
            self.ctx.tick();
            match step {
                Step::More | Step::Stopped => {}
                Step::Done(outcome) => return Ok(outcome),
                Step::NotReady(why) => return Err(ItemError::NotReady(why)),
                Step::Failed(error) => return Err(ItemError::Defect(error)),
            }
            let (done, total) = task.progress();
            let now = self.ctx.system.elapsed();
            let leave = matches!(step, Step::Stopped)
                || match (stopping, uses_grace) {
                    (Some(since), Some(true)) => since >= self.grace_to_use(),
                    (Some(_), _) => !self.fits_in_grace(began, done_before, done, total),
                    // A notice since then reaches the task first.
                    (None, _) => false,
                };
            let rest = self.progress.rest(now.saturating_sub(began));
            let saves = !leave || !self.ctx.breaks(Breakage::NoticeSavesNothing);
            if saves && (leave || now.saturating_sub(saved_at) >= rest) {
                self.ctx.note(What::Progress { item: attempt.item, done, total });
                task = self.save(attempt, task, parent).await?;
                saved_at = self.ctx.system.elapsed();
            }
            if leave {
                return Err(ItemError::Stop);
            }
        }
    }

    async fn save(
        &self,
        attempt: &Attempt,
        mut task: Box<dyn Task>,
        parent: Hash,
    ) -> Result<Box<dyn Task>, ItemError> {
        let (state, task) = self.ctx.compute(move || (task.save(), task)).await?;
        if let Some(state) = state {
            let (done, total) = task.progress();
            self.progress.save(attempt, Saved { parent, done, total, state }).await;
        }
        self.ctx.flush().await;
        Ok(task)
    }

    fn grace_to_use(&self) -> Duration {
        self.ctx.config.grace * GRACE_FIFTHS / 5
    }

    /// Whether the rest of the work, at the rate so far, fits in what is left of the grace.
    fn fits_in_grace(&self, began: Duration, done_before: u64, done: u64, total: u64) -> bool {
        let Some(stopping) = self.ctx.system.stopping_for() else {
            return true;
        };
        let left = self.grace_to_use().saturating_sub(stopping);
        let spent = self.ctx.system.elapsed().saturating_sub(began);
        let (did, rest) = (done.saturating_sub(done_before), total.saturating_sub(done));
        did > 0 && spent.mul_f64(rest as f64 / did as f64) < left
    }
}
