//! What can be done next, as a pure function of what is committed: claimability is state, never
//! an event (rule 5).

use crate::contract::{FOLDER_COMMITS, Stage};
use crate::manifest::{Manifest, Role};
use crate::queue::Item;

/// The commits that a worker knows of. A commit once seen stays: knowledge only grows.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// One bit a stage, one byte a dataset.
    seen: Vec<u8>,
    /// For each stage, every dataset below is committed or never will be.
    frontier: [u32; 4],
    pub report: bool,
}

fn bit(stage: Stage) -> u8 {
    1 << stage as u8
}

/// Whether a stage is done to datasets of a role.
fn applies(stage: Stage, role: Role) -> bool {
    match stage {
        Stage::Prepare => true,
        Stage::Join => role != Role::History,
        Stage::Fold | Stage::Evaluate => role == Role::Train,
    }
}

impl Known {
    pub fn insert(&mut self, stage: Stage, index: u32) {
        let at = index as usize;
        if self.seen.len() <= at {
            self.seen.resize(at + 1, 0);
        }
        self.seen[at] |= bit(stage);
    }

    pub fn has(&self, stage: Stage, index: u32) -> bool {
        self.seen.get(index as usize).is_some_and(|bits| bits & bit(stage) != 0)
    }

    /// How many of a stage's commits are known.
    pub fn count(&self, stage: Stage) -> u32 {
        self.seen.iter().map(|bits| u32::from(bits & bit(stage) != 0)).sum()
    }

    /// The first dataset that a stage still has to be done to.
    pub fn first_missing(&mut self, stage: Stage, manifest: &Manifest) -> Option<u32> {
        let mut at = self.frontier[stage as usize];
        while at < manifest.len() && (self.has(stage, at) || !applies(stage, manifest.dataset(at).role)) {
            at += 1;
        }
        self.frontier[stage as usize] = at;
        (at < manifest.len()).then_some(at)
    }

    /// The first folder of a stage's commits, from a number on, in which one is missing that can be there
    /// by now.
    pub fn first_folder_missing(&mut self, stage: Stage, manifest: &Manifest, from: u32) -> Option<u32> {
        let first = self.first_missing(stage, manifest)?;
        let end = manifest.len().min(first.saturating_add(HORIZON));
        let from = first.max(from.saturating_mul(FOLDER_COMMITS));
        let is_missing = |at: &u32| !self.has(stage, *at) && applies(stage, manifest.dataset(*at).role);
        (from..end).find(is_missing).map(|at| at / FOLDER_COMMITS)
    }

    /// Whether every stage of every dataset is committed.
    pub fn complete(&mut self, manifest: &Manifest) -> bool {
        Stage::ALL.into_iter().all(|stage| self.first_missing(stage, manifest).is_none())
    }
}

/// How far beyond the first missing commit of a stage to look, which bounds both the cost of
/// planning and the length of the queue.
pub const HORIZON: u32 = 4096;

/// Uncommitted items whose inputs are committed, by rank, at most `limit` of each stage, and of the test days' joins
/// the first however many come before them: who has no history of its own begins with those.
///
/// `window` answers whose prepared parts a dataset's join reads.
pub fn claimable(
    manifest: &Manifest,
    known: &mut Known,
    window: &dyn Fn(u32) -> Vec<u32>,
    limit: usize,
) -> Vec<Item> {
    let stages = [Stage::Prepare, Stage::Join, Stage::Evaluate];
    let mut items: Vec<Item> =
        stages.into_iter().flat_map(|stage| ready_of(manifest, known, window, stage, limit)).collect();
    let tests = tests_to_join(manifest, known).filter(|item| is_claimable(manifest, known, window, *item));
    items.extend(tests);
    if let Some(next) = known.first_missing(Stage::Fold, manifest)
        && known.has(Stage::Join, next)
    {
        items.push(Item::Fold);
    }
    if known.complete(manifest) && !(known.report && manifest.sealed) {
        items.push(Item::Report);
    }
    items.sort_by_key(|item| item.rank());
    items.dedup();
    items
}

/// The first items of a stage of datasets that are uncommitted and whose inputs are committed.
fn ready_of(
    manifest: &Manifest,
    known: &mut Known,
    window: &dyn Fn(u32) -> Vec<u32>,
    stage: Stage,
    limit: usize,
) -> Vec<Item> {
    let first = known.first_missing(stage, manifest).unwrap_or(manifest.len());
    let end = manifest.len().min(first.saturating_add(HORIZON));
    let ready = (first..end).filter(|index| {
        applies(stage, manifest.dataset(*index).role)
            && !known.has(stage, *index)
            && ready(manifest, known, window, stage, *index)
    });
    let item = match stage {
        Stage::Prepare => Item::Prepare,
        Stage::Join => Item::Join,
        _ => Item::Evaluate,
    };
    ready.take(limit).map(item).collect()
}

/// At most so many items of a kind are preferred.
const PREFERRED: usize = 4;
/// Whoever joins leaves the fold to others until it is behind by so many datasets.
const FOLD_BEHIND: u32 = 32;
/// A join is left behind where the one so many training datasets later is done: whoever made that goes on from
/// there, and the fold waits.
const LEFT_BEHIND: u32 = 32;
/// No preparing so many datasets ahead of the joins is preferred to joining.
const PREPARE_AHEAD: u32 = 128;

/// What a worker would rather have than the item of the lowest rank, best first.
///
/// Whoever joined a dataset has in memory what the next join reads. It goes on joining (`joined` is what it
/// joined last), and the others leave the joins to it for as long as they find something else: of those, first
/// the test days', for which evaluation waits.
pub fn preferred(
    manifest: &Manifest,
    known: &mut Known,
    window: &dyn Fn(u32) -> Vec<u32>,
    joined: Option<u32>,
) -> Vec<Item> {
    let joins = known.first_missing(Stage::Join, manifest).unwrap_or(manifest.len());
    let folds = known.first_missing(Stage::Fold, manifest).unwrap_or(manifest.len());
    // The joins are not asked for: whether one can be done is a look at its whole window.
    let mut others = ready_of(manifest, known, window, Stage::Prepare, PREFERRED);
    others.retain(|item| item.rank() < Item::Prepare(joins.saturating_add(PREPARE_AHEAD)).rank());
    others.extend(ready_of(manifest, known, window, Stage::Evaluate, PREFERRED));
    others.extend((folds < manifest.len() && known.has(Stage::Join, folds)).then_some(Item::Fold));
    others.sort_by_key(|item| item.rank());
    let missing =
        |index: &u32| applies(Stage::Join, manifest.dataset(*index).role) && !known.has(Stage::Join, *index);
    let missing_from =
        |from: u32| (from.max(joins)..manifest.len()).filter(missing).take(PREFERRED).map(Item::Join);

    let later = manifest.datasets.get(joins.saturating_add(LEFT_BEHIND) as usize);
    let is_left_behind =
        later.is_some_and(|later| later.role == Role::Train && known.has(Stage::Join, later.index));

    let mut items = Vec::new();
    items.extend((!manifest.sealed).then_some(Item::Intake));
    if is_left_behind {
        items.extend(missing_from(joins));
    }
    if let Some(joined) = joined {
        items.extend((joins.saturating_sub(folds) >= FOLD_BEHIND).then_some(Item::Fold));
        items.extend(missing_from(joined.saturating_add(1)));
        items.extend(others);
    } else {
        items.push(Item::Fold);
        // Somebody has to begin.
        items.extend(missing_from(joins).take(usize::from(manifest.train_before(joins).is_none())));
        items.extend(others);
        items.extend(tests_to_join(manifest, known));
        items.extend(missing_from(joins));
    }
    items
}

/// The first joins of test days that are not committed.
fn tests_to_join(manifest: &Manifest, known: &Known) -> impl Iterator<Item = Item> {
    let tests = manifest.tests().iter().copied();
    tests.filter(|test| !known.has(Stage::Join, *test)).take(PREFERRED).map(Item::Join)
}

/// Whether a dataset's item can be done now: its inputs are committed, and it is not.
pub fn is_claimable(
    manifest: &Manifest,
    known: &Known,
    window: &dyn Fn(u32) -> Vec<u32>,
    item: Item,
) -> bool {
    let (stage, index) = match item {
        Item::Prepare(index) => (Stage::Prepare, index),
        Item::Join(index) => (Stage::Join, index),
        Item::Evaluate(index) => (Stage::Evaluate, index),
        Item::Begin | Item::Intake | Item::Fold | Item::Report => return false,
    };
    index < manifest.len()
        && applies(stage, manifest.dataset(index).role)
        && !known.has(stage, index)
        && ready(manifest, known, window, stage, index)
}

/// Whether everything that a stage of a dataset reads is committed.
fn ready(
    manifest: &Manifest,
    known: &Known,
    window: &dyn Fn(u32) -> Vec<u32>,
    stage: Stage,
    index: u32,
) -> bool {
    match stage {
        Stage::Prepare => true,
        // The cheap looks first: a window is a list, of datasets before its own.
        Stage::Join => {
            let is_prepared = |index: u32| known.has(Stage::Prepare, index);
            let are_before = || window(index).into_iter().all(is_prepared);
            is_prepared(index) && (known.frontier[Stage::Prepare as usize] >= index || are_before())
        }
        Stage::Fold => known.has(Stage::Join, index),
        Stage::Evaluate => {
            known.has(Stage::Fold, index) && manifest.tests().iter().all(|test| known.has(Stage::Join, *test))
        }
    }
}

#[cfg(test)]
mod tests;
