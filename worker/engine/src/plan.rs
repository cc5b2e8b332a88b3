//! What can be done next, as a pure function of what is committed: claimability is state, never
//! an event (rule 5).

use crate::contract::FOLDER_COMMITS;
use crate::item::Item;
use crate::manifest::Manifest;
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
/// The worker of a sticky stage (see [`crate::pipeline::Pipeline::sticky`]) leaves the chain to others until it is
/// behind by this many datasets.
const CHAIN_BEHIND: u32 = 32;
/// Stages before the sticky ones are not preferred to them for datasets farther ahead than this.
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

    /// Uncommitted items whose inputs are committed, by rank: at most `limit` of each stage, and of a sticky stage the
    /// oldest, since a worker that does another one first has to read what that looks back at.
    pub fn claimable(&self, commits: &mut CommitIndex, limit: usize) -> Vec<Item> {
        let mut items = Vec::new();
        for stage in self.pipeline.each() {
            items.extend(self.ready_of(commits, stage, limit));
        }
        items.extend(self.chain_item(commits));
        if self.is_complete(commits) && !(commits.report && self.manifest.sealed) {
            items.push(self.pipeline.item(Step::Report));
        }
        items.sort();
        items
    }

    /// The first items of a stage whose datasets are uncommitted and whose inputs are committed.
    fn ready_of(&self, commits: &mut CommitIndex, stage: Stage, limit: usize) -> Vec<Item> {
        let first = self.first_missing(commits, stage).unwrap_or(self.manifest.len());
        let horizon = if self.pipeline.is_sticky(stage) { 1 } else { HORIZON };
        let end = self.manifest.len().min(first.saturating_add(horizon));
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
    /// A worker that did a sticky stage of a dataset has in memory what the next one reads. It goes on with that stage
    /// (`did` says of which dataset it did which last), and the others leave the stage to it while they find something
    /// else. There may be several such stages, each with its worker.
    pub fn preferred(&self, commits: &mut CommitIndex, did: &[(Stage, u32)]) -> Vec<Item> {
        let mut items = Vec::new();
        items.extend((!self.manifest.sealed).then(|| self.pipeline.item(Step::Intake)));
        let sticky: Vec<(Stage, u32)> = self
            .pipeline
            .sticky()
            .map(|stage| (stage, self.first_missing(commits, stage).unwrap_or(self.manifest.len())))
            .collect();
        let (Some((before, begun)), Some((_, ended))) = (sticky.first(), sticky.last()) else { return items };
        let (own, left): (Vec<_>, Vec<_>) =
            sticky.iter().copied().partition(|(stage, first)| self.goes_on(did, *stage, *first));
        let chain = self.pipeline.chain();
        let chained =
            chain.and_then(|chain| self.first_missing(commits, chain)).unwrap_or(self.manifest.len());
        let is_behind = ended.saturating_sub(chained) >= CHAIN_BEHIND;
        let chain = chain.map(|chain| self.pipeline.item(Step::Chain(chain)));
        items.extend(chain.filter(|_| own.is_empty() || is_behind));
        let next = |&(stage, first): &(Stage, u32)| {
            (first < self.manifest.len()).then(|| self.pipeline.item(Step::Each(stage, first)))
        };
        items.extend(own.iter().filter_map(next));
        if own.is_empty() {
            // Somebody has to begin.
            let new = left.iter().filter(|(_, first)| self.manifest.train_before(*first).is_none());
            items.extend(new.filter_map(next));
        }
        items.extend(self.others(commits, *before, *begun));
        items.extend(left.iter().filter_map(next));
        items
    }

    /// The oldest claimable item, where a worker that does one sticky stage should leave it to others for a moment: all that
    /// is claimable are sticky stages that others have begun. Taking one costs as much as all that it looks back at.
    pub fn left_to_others(&self, commits: &mut CommitIndex, did: &[(Stage, u32)]) -> Option<Item> {
        if did.is_empty() {
            return None;
        }
        let items = self.claimable(commits, 1);
        let is_left = |item: &Item| match self.pipeline.step(item.name) {
            Some(Step::Each(stage, index)) => {
                self.pipeline.is_sticky(stage)
                    && self.manifest.train_before(index).is_some()
                    && !self.goes_on(did, stage, index)
            }
            _ => false,
        };
        items.first().copied().filter(|_| items.iter().all(is_left))
    }

    /// Whether a worker did a stage of the dataset before `next`, of those to which that stage is done.
    fn goes_on(&self, did: &[(Stage, u32)], stage: Stage, next: u32) -> bool {
        did.iter().any(|&(own, last)| {
            own == stage && last < next && !(last + 1..next).any(|between| self.applies(stage, between))
        })
    }

    /// What can be done beside the sticky stages, the first of which has come to dataset `first`.
    fn others(&self, commits: &mut CommitIndex, sticky: Stage, first: u32) -> Vec<Item> {
        let mut others = Vec::new();
        let pipeline = self.pipeline;
        for stage in pipeline.each().filter(|stage| !pipeline.is_sticky(*stage)) {
            let mut ready = self.ready_of(commits, stage, PREFERRED);
            if stage < sticky {
                let end = pipeline.item(Step::Each(stage, first.saturating_add(AHEAD)));
                ready.retain(|item| item.rank < end.rank);
            }
            others.extend(ready);
        }
        others.extend(self.chain_item(commits));
        others.sort();
        others
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
            Input::Window(read) | Input::LazyWindow(read) => {
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
