//! What can be done next, as a pure function of what is committed: claimability is state, never
//! an event (rule 5).

use crate::contract::FOLDER_COMMITS;
use crate::item::Item;
use crate::manifest::{Manifest, Role};
use crate::pipeline::{Input, Order, Pipeline, STAGES_MAX, Stage, Step};

/// The commits that a worker knows of. A commit once seen stays: knowledge only grows.
#[derive(Debug, Clone, Default)]
pub struct CommitIndex {
    /// One bit a stage, one byte a dataset.
    seen: Vec<u8>,
    /// For each stage, every dataset below is committed or never will be.
    frontier: [u32; STAGES_MAX],
    /// Whether the report is committed.
    pub report: bool,
}

const _: () = assert!(STAGES_MAX <= u8::BITS as usize);

fn bit(stage: Stage) -> u8 {
    1 << stage.0
}

impl CommitIndex {
    /// Records a commit.
    pub fn insert(&mut self, stage: Stage, index: u32) {
        let at = index as usize;
        if self.seen.len() <= at {
            self.seen.resize(at + 1, 0);
        }
        self.seen[at] |= bit(stage);
    }

    /// Whether a commit is known.
    pub fn has(&self, stage: Stage, index: u32) -> bool {
        self.seen.get(index as usize).is_some_and(|bits| bits & bit(stage) != 0)
    }

    /// How many of a stage's commits are known.
    pub fn count(&self, stage: Stage) -> u32 {
        self.seen.iter().map(|bits| u32::from(bits & bit(stage) != 0)).sum()
    }
}

/// How far beyond the first missing commit of a stage to look, which bounds both the cost of
/// planning and the length of the queue.
pub const HORIZON: u32 = 4096;

/// Items of a kind that are preferred, at most.
const PREFERRED: usize = 4;
/// The worker of the sticky stage (see [`crate::pipeline::Pipeline::sticky`]) leaves the chain to others until it is
/// behind by this many datasets.
const CHAIN_BEHIND: u32 = 32;
/// A dataset is left behind by the sticky stage where it is done to the one this many training datasets later:
/// the worker that did that goes on from there, and the chain waits.
const LEFT_BEHIND: u32 = 32;
/// Stages before the sticky one are not preferred to it for datasets farther ahead than this.
const AHEAD: u32 = 128;

/// What planning looks at beside the commits.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// The run's stages.
    pub pipeline: Pipeline,
    /// Its datasets.
    pub manifest: &'a Manifest,
    /// Whose results a dataset's windowed inputs are: indices before its own.
    pub window: &'a dyn Fn(u32) -> Vec<u32>,
}

impl std::fmt::Debug for Plan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Plan({} datasets)", self.manifest.len())
    }
}

impl Plan<'_> {
    fn applies(&self, stage: Stage, index: u32) -> bool {
        self.pipeline.applies(stage, self.manifest.dataset(index).role)
    }

    /// Whether a stage still has to be done to a dataset.
    fn is_missing(&self, commits: &CommitIndex, stage: Stage, index: u32) -> bool {
        !commits.has(stage, index) && self.applies(stage, index)
    }

    /// The first dataset that a stage still has to be done to.
    pub fn first_missing(&self, commits: &mut CommitIndex, stage: Stage) -> Option<u32> {
        let mut at = commits.frontier[usize::from(stage.0)];
        while at < self.manifest.len() && !self.is_missing(commits, stage, at) {
            at += 1;
        }
        commits.frontier[usize::from(stage.0)] = at;
        (at < self.manifest.len()).then_some(at)
    }

    /// The first folder of a stage's commits, from a number on, in which one is missing that can be there
    /// by now.
    pub fn first_folder_missing(&self, commits: &mut CommitIndex, stage: Stage, from: u32) -> Option<u32> {
        let first = self.first_missing(commits, stage)?;
        let end = self.manifest.len().min(first.saturating_add(HORIZON));
        let from = first.max(from.saturating_mul(FOLDER_COMMITS));
        (from..end).find(|at| self.is_missing(commits, stage, *at)).map(|at| at / FOLDER_COMMITS)
    }

    /// Whether every stage of every dataset is committed.
    pub fn is_complete(&self, commits: &mut CommitIndex) -> bool {
        self.pipeline.stages().all(|stage| self.first_missing(commits, stage).is_none())
    }

    /// Uncommitted items whose inputs are committed, by rank: at most `limit` of each stage; and the first of the
    /// test datasets in the sticky stage, however many come before them: a worker without history begins with those.
    pub fn claimable(&self, commits: &mut CommitIndex, limit: usize) -> Vec<Item> {
        let mut items = Vec::new();
        for stage in self.pipeline.each() {
            items.extend(self.ready_of(commits, stage, limit));
        }
        if let Some(stage) = self.pipeline.sticky() {
            let ready =
                self.tests_missing(commits, stage).filter(|test| self.is_ready(commits, stage, *test));
            items.extend(ready.map(|test| self.pipeline.item(Step::Each(stage, test))));
        }
        items.extend(self.chain_item(commits));
        if self.is_complete(commits) && !(commits.report && self.manifest.sealed) {
            items.push(self.pipeline.item(Step::Report));
        }
        items.sort();
        items.dedup();
        items
    }

    /// The first items of a stage whose datasets are uncommitted and whose inputs are committed.
    fn ready_of(&self, commits: &mut CommitIndex, stage: Stage, limit: usize) -> Vec<Item> {
        let first = self.first_missing(commits, stage).unwrap_or(self.manifest.len());
        let end = self.manifest.len().min(first.saturating_add(HORIZON));
        let ready = (first..end)
            .filter(|at| self.is_missing(commits, stage, *at) && self.is_ready(commits, stage, *at))
            .take(limit);
        ready.map(|index| self.pipeline.item(Step::Each(stage, index))).collect()
    }

    /// The chain, where it can go on.
    fn chain_item(&self, commits: &mut CommitIndex) -> Option<Item> {
        let chain = self.pipeline.chain()?;
        let next = self.first_missing(commits, chain)?;
        self.is_ready(commits, chain, next).then(|| self.pipeline.item(Step::Chain(chain)))
    }

    /// What a worker would rather have than the item of the lowest rank, best first.
    ///
    /// A worker that did the sticky stage of a dataset has in memory what the next one reads. It goes on with that
    /// stage (`did` is the dataset of its last one), and the others leave the stage to it while they find something
    /// else: of those, first the test datasets, for which evaluation waits.
    pub fn preferred(&self, commits: &mut CommitIndex, did: Option<u32>) -> Vec<Item> {
        let mut items = Vec::new();
        items.extend((!self.manifest.sealed).then(|| self.pipeline.item(Step::Intake)));
        let Some(sticky) = self.pipeline.sticky() else { return items };
        let first = self.first_missing(commits, sticky).unwrap_or(self.manifest.len());
        let chain = self.pipeline.chain();
        let chained =
            chain.and_then(|chain| self.first_missing(commits, chain)).unwrap_or(self.manifest.len());
        let chain = chain.map(|chain| self.pipeline.item(Step::Chain(chain)));
        let others = self.others(commits, sticky, first);
        let missing_from = |from: u32| {
            let missing =
                (from.max(first)..self.manifest.len()).filter(|at| self.is_missing(commits, sticky, *at));
            missing.take(PREFERRED).map(|index| self.pipeline.item(Step::Each(sticky, index)))
        };
        let later = self.manifest.datasets.get(first.saturating_add(LEFT_BEHIND) as usize);
        if later.is_some_and(|later| later.role == Role::Train && commits.has(sticky, later.index)) {
            items.extend(missing_from(first));
        }
        if let Some(did) = did {
            items.extend(chain.filter(|_| first.saturating_sub(chained) >= CHAIN_BEHIND));
            items.extend(missing_from(did.saturating_add(1)));
            items.extend(others);
        } else {
            items.extend(chain);
            // Somebody has to begin.
            items.extend(missing_from(first).take(usize::from(self.manifest.train_before(first).is_none())));
            items.extend(others);
            let tests = self.tests_missing(commits, sticky);
            items.extend(tests.map(|test| self.pipeline.item(Step::Each(sticky, test))));
            items.extend(missing_from(first));
        }
        items
    }

    /// What can be done beside the sticky stage, which is not asked for: whether one of its datasets is ready is a
    /// look at its whole window.
    fn others(&self, commits: &mut CommitIndex, sticky: Stage, first: u32) -> Vec<Item> {
        let mut others = Vec::new();
        for stage in self.pipeline.each().filter(|stage| *stage != sticky) {
            let mut ready = self.ready_of(commits, stage, PREFERRED);
            if stage < sticky {
                let end = self.pipeline.item(Step::Each(stage, first.saturating_add(AHEAD)));
                ready.retain(|item| item.rank < end.rank);
            }
            others.extend(ready);
        }
        others.extend(self.chain_item(commits));
        others.sort();
        others
    }

    /// The first test datasets that a stage still has to be done to.
    fn tests_missing(&self, commits: &CommitIndex, stage: Stage) -> impl Iterator<Item = u32> {
        let tests = self.manifest.tests().iter().copied();
        tests.filter(move |test| self.is_missing(commits, stage, *test)).take(PREFERRED)
    }

    /// Whether a stage of a dataset can be done now: its inputs are committed, and it is not.
    pub fn is_claimable(&self, commits: &CommitIndex, stage: Stage, index: u32) -> bool {
        index < self.manifest.len()
            && self.pipeline.spec(stage).order != Order::Chain
            && self.is_missing(commits, stage, index)
            && self.is_ready(commits, stage, index)
    }

    /// Whether everything that a stage of a dataset reads is committed.
    fn is_ready(&self, commits: &CommitIndex, stage: Stage, index: u32) -> bool {
        self.pipeline.spec(stage).inputs.iter().all(|input| match input {
            Input::Content | Input::Blocks => true,
            Input::Own(read) => commits.has(*read, index),
            // The cheap look first: a window is a list, of datasets before its own.
            Input::Window(read) => {
                commits.frontier[usize::from(read.0)] >= index
                    || (self.window)(index).into_iter().all(|before| commits.has(*read, before))
            }
            Input::Previous => {
                self.manifest.train_before(index).is_none_or(|before| commits.has(stage, before))
            }
            Input::Tests(read) => self.manifest.tests().iter().all(|test| commits.has(*read, *test)),
        })
    }
}

#[cfg(test)]
mod tests;
