//! Steps a workload's task to its end: between steps progress is reported and saved, and signals are seen.

use std::time::Duration;

use crate::artifacts::Artifacts;
use crate::attempt::Attempt;
use crate::blocks::Blocks;
use crate::context::{Context, Ports};
use crate::events::What;
use crate::hash::Hash;
use crate::item_error::ItemError;
use crate::manifest::Dataset;
use crate::mutant::Mutant;
use crate::progress::{Progress, Resumed, Saved};
use crate::system::System;
use crate::workload::{Outcome, Step, Task, Wanted};

/// The share of the grace in which a task may still end or save: the rest is for the commit and the release.
const GRACE_FIFTHS: u32 = 3;

pub(crate) struct Runner<'a, P: Ports> {
    ctx: &'a Context<'a, P>,
    progress: &'a Progress<'a, P>,
    blocks: &'a Blocks<'a, P>,
    artifacts: &'a Artifacts<'a, P>,
}

impl<'a, P: Ports> Runner<'a, P> {
    pub fn new(
        ctx: &'a Context<'a, P>,
        progress: &'a Progress<'a, P>,
        blocks: &'a Blocks<'a, P>,
        artifacts: &'a Artifacts<'a, P>,
    ) -> Self {
        Self { ctx, progress, blocks, artifacts }
    }

    /// Runs a task done to `dataset`, whose inputs hash to `parent`, from where an earlier attempt saved it.
    pub async fn run(
        &self,
        attempt: &Attempt,
        mut task: Box<dyn Task>,
        parent: Hash,
        dataset: &Dataset,
    ) -> Result<Outcome, ItemError> {
        let began = self.ctx.system.elapsed();
        let parent = Hash::of_fields([b"progress", &parent.0[..]]);
        let resumed = match task.resumable() {
            true => self.progress.resume(attempt, &mut task, parent).await,
            false => None,
        };
        let (done_before, _) = task.progress();
        let mut saved_at = began;
        let mut uses_grace = None;
        let mut given = None;
        loop {
            let stopping = self.ctx.system.stopping_for();
            let tell = stopping.is_some() && uses_grace.is_none();
            let block = given.take();
            let (step, task_uses_grace, back) = self
                .ctx
                .compute(move || {
                    let task_uses_grace = tell.then(|| task.stop());
                    match block {
                        Some(Some(block)) => task.give(block),
                        Some(None) => task.lacks(),
                        None => {}
                    }
                    (task.step(), task_uses_grace, task)
                })
                .await?;
            task = back;
            uses_grace = uses_grace.or(task_uses_grace);
            self.ctx.tick();
            let (has_stopped, saves_now) = (matches!(step, Step::Stopped), matches!(step, Step::Save));
            match step {
                Step::More | Step::Save | Step::Stopped => {}
                Step::Need(wanted) => given = Some(self.read(dataset, resumed.as_ref(), wanted).await?),
                Step::Keep(_) if self.ctx.breaks(Mutant::CommitBeforeBlocks) => {}
                Step::Keep(block) => self.blocks.put(attempt, block).await?,
                Step::Done(outcome) => return Ok(outcome),
                Step::NotReady(why) => return Err(ItemError::NotReady(why)),
                Step::Failed(error) => return Err(ItemError::Defect(error)),
            }
            let (done, total) = task.progress();
            let now = self.ctx.system.elapsed();
            let leave = has_stopped
                || match (stopping, uses_grace) {
                    (Some(since), Some(true)) => since >= self.grace_to_use(),
                    (Some(_), _) => !self.fits_in_grace(began, done_before, done, total),
                    // A notice since then reaches the task first.
                    (None, _) => false,
                };
            let rest = self.progress.rest(now.saturating_sub(began));
            let saves = !leave || !self.ctx.breaks(Mutant::NoticeSavesNothing);
            if saves && (leave || saves_now || now.saturating_sub(saved_at) >= rest) {
                self.ctx.note(What::Progress { item: attempt.item, done, total });
                task = self.save(attempt, task, parent).await?;
                saved_at = self.ctx.system.elapsed();
            }
            if leave {
                return Err(ItemError::Stop);
            }
        }
    }

    /// What a task has asked for; `None` where it was saved and is lost.
    async fn read(
        &self,
        dataset: &Dataset,
        resumed: Option<&Resumed>,
        wanted: Wanted,
    ) -> Result<Option<Vec<u8>>, ItemError> {
        Ok(match wanted {
            Wanted::Dataset(number) => Some(self.blocks.of_dataset(dataset, number).await?),
            Wanted::Result { stage, index, hash } => Some(self.blocks.of_result(stage, index, hash).await?),
            Wanted::Part(name) => Some(self.artifacts.bytes_of(name).await?),
            Wanted::Saved(hash) => self.progress.saved_block(resumed, hash).await,
        })
    }

    async fn save(
        &self,
        attempt: &Attempt,
        mut task: Box<dyn Task>,
        parent: Hash,
    ) -> Result<Box<dyn Task>, ItemError> {
        let mut is_whole = true;
        loop {
            let (block, back) = self.ctx.compute(move || (task.save_block(), task)).await?;
            task = back;
            let Some(block) = block else { break };
            // A state without one of its blocks is of no use; the task gives the others all the same.
            is_whole = is_whole && self.progress.save_block(attempt, block).await;
        }
        let (state, task) = self.ctx.compute(move || (task.save(), task)).await?;
        if let Some(state) = state.filter(|_| is_whole) {
            let (done, total) = task.progress();
            let blocks = attempt.blocks_of_state();
            self.progress.save(attempt, Saved { parent, done, total, blocks, state }).await;
        }
        self.ctx.flush().await;
        Ok(task)
    }

    fn grace_to_use(&self) -> Duration {
        let fifths = if self.ctx.breaks(Mutant::UseAllGrace) { 5 } else { GRACE_FIFTHS };
        self.ctx.config.grace * fifths / 5
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
