use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::hash::Hash;
use crate::manifest::{Dataset, Page, Role, Spec};
use crate::pipeline::sample::{FOLD, JOIN, PIPELINE, PREPARE};

fn manifest(roles: &[Role]) -> Manifest {
    let datasets = roles.iter().zip(0..).map(|(role, index)| Dataset {
        index,
        path: index.to_string(),
        role: *role,
        bytes: 0,
        blocks: vec![Hash::default()],
    });
    let spec = Spec { workload: "toy".to_owned(), results_version: 1, params: BTreeMap::new() };
    let page = Page::First {
        spec,
        created: String::new(),
        last: true,
        inherited: Vec::new(),
        datasets: datasets.collect(),
        refused: Vec::new(),
    };
    Manifest::begin(page).unwrap()
}

/// How many datasets the window of a join reaches back, itself counted.
const WINDOW: u32 = 4;

fn plan_of(manifest: &Manifest) -> Plan<'_> {
    Plan { pipeline: PIPELINE, manifest, window: &window }
}

fn steps(items: Vec<Item>) -> Vec<Step> {
    items.into_iter().map(|item| PIPELINE.step(item.name).unwrap()).collect()
}

fn claimable(manifest: &Manifest, known: &mut CommitIndex, limit: usize) -> Vec<Step> {
    steps(plan_of(manifest).claimable(known, limit))
}

fn first_missing(manifest: &Manifest, known: &mut CommitIndex) -> Option<u32> {
    plan_of(manifest).first_missing(known, FOLD)
}

fn window(index: u32) -> Vec<u32> {
    (index.saturating_sub(WINDOW - 1)..index).collect()
}

/// Commits what an item makes.
fn perform(item: Step, manifest: &Manifest, known: &mut CommitIndex) {
    match item {
        Step::Each(stage, index) => known.insert(stage, index),
        Step::Chain(_) => {
            let next = first_missing(manifest, known).unwrap();
            known.insert(FOLD, next);
        }
        Step::Report => known.report = true,
        Step::Begin | Step::Intake => unreachable!("never planned from commits"),
    }
}

/// Two workers, by the times that items take.
struct Pair {
    manifest: Manifest,
    known: CommitIndex,
    queue: BTreeSet<Step>,
    workers: [Simulated; 2],
    /// How often a dataset was added to the history that a join reads.
    added: u32,
}

#[derive(Default)]
struct Simulated {
    known: CommitIndex,
    joined: Option<u32>,
    /// What it left to the other last, and until when.
    left: Option<(Item, u32)>,
    /// Until when it has what.
    holds: Option<(u32, Step)>,
}

/// How long a worker leaves an item to others, in milliseconds: about what the loop's pause takes.
const LEFT_MS: u32 = 40;

impl Pair {
    /// Works until the report, as workers prefer or by rank alone; returns when that was.
    fn run(roles: &[Role], prefers: bool) -> (Self, u32) {
        let (known, queue, workers) = Default::default();
        let manifest = manifest(roles);
        let mut pair = Self { manifest, known, queue, workers, added: 0 };
        for now in 0.. {
            for number in 0..2 {
                pair.finish(number, now);
                if pair.begin(number, now, prefers) == Some(Step::Report) {
                    return (pair, now);
                }
            }
        }
        unreachable!("time ended before the report")
    }

    fn finish(&mut self, number: usize, now: u32) {
        let worker = &mut self.workers[number];
        let Some((_, item)) = worker.holds.take_if(|(until, _)| *until == now) else { return };
        match item {
            Step::Chain(_) => {
                let next = first_missing(&self.manifest, &mut self.known);
                if next.is_some_and(|next| self.known.has(JOIN, next)) {
                    perform(item, &self.manifest, &mut self.known);
                }
                // What it read, it knows.
                worker.known = self.known.clone();
            }
            item => {
                perform(item, &self.manifest, &mut self.known);
                perform(item, &self.manifest, &mut worker.known);
            }
        }
        self.offer(number);
    }

    fn offer(&mut self, number: usize) {
        let items = claimable(&self.manifest, &mut self.workers[number].known, 64);
        let held = self.workers.each_ref().map(|worker| worker.holds.map(|(_, item)| item));
        let is_done =
            |item: &Step| matches!(item, Step::Each(stage, index) if self.known.has(*stage, *index));
        self.queue.extend(items.into_iter().filter(|item| !held.contains(&Some(*item)) && !is_done(item)));
    }

    /// An idle worker claims something, or looks at the commits.
    fn begin(&mut self, number: usize, now: u32, prefers: bool) -> Option<Step> {
        let worker = &mut self.workers[number];
        if worker.holds.is_some() {
            return None;
        }
        let mut preferred = Vec::new();
        if prefers {
            preferred = as_preferred(&self.manifest, &mut worker.known, worker.joined);
            let left = plan_of(&self.manifest).left_to_others(&mut worker.known, &did(worker.joined));
            if let Some(item) = left.filter(|item| worker.left.is_none_or(|(last, _)| last != *item)) {
                worker.left = Some((item, now + LEFT_MS));
            }
            if worker.left.is_some_and(|(_, until)| now < until) {
                return None;
            }
        }
        let first = self.queue.iter().copied().min_by_key(|step| PIPELINE.item(*step).rank);
        let Some(item) = preferred.into_iter().find(|item| self.queue.contains(item)).or(first) else {
            worker.known = self.known.clone();
            self.offer(number);
            return None;
        };
        self.queue.remove(&item);
        if let Step::Each(JOIN, index) = item {
            let reached = worker.joined.filter(|joined| *joined < index).map_or(0, |joined| joined + 1);
            self.added += (index + 1 - reached).min(WINDOW);
            worker.joined = Some(index);
        }
        // In milliseconds, some as they were measured.
        let spends = match item {
            Step::Each(PREPARE, _) => 3,
            Step::Each(JOIN, _) => 8,
            Step::Each(..) => 4,
            _ => 2,
        };
        worker.holds = Some((now + spends, item));
        Some(item)
    }
}

proptest! {
    /// In whatever order items are done, there is always one more until the report; each is
    /// done once; and none comes before what it reads.
    #[test]
    fn any_order_of_claimable_items_drains(
        roles in prop::collection::vec(prop_oneof![Just(Role::Train), Just(Role::History), Just(Role::Test)], 1..12),
        choices in prop::collection::vec(any::<prop::sample::Index>(), 60),
        limit in 1..5usize,
    ) {
        let manifest = manifest(&roles);
        let mut known = CommitIndex::default();
        let mut done = BTreeSet::new();
        for choice in choices {
            let items = claimable(&manifest, &mut known, limit);
            if known.report {
                prop_assert_eq!(items, vec![]);
                break;
            }
            prop_assert!(!items.is_empty(), "nothing to do before the report: {:?}", known);
            prop_assert!(items.is_sorted_by_key(|step| PIPELINE.item(*step).rank));
            let item = items[choice.index(items.len())];
            if let Step::Each(JOIN, index) = item {
                prop_assert!(window(index).iter().chain([&index]).all(|i| known.has(PREPARE, *i)));
            }
            prop_assert!(done.insert(item) || item == Step::Chain(FOLD), "{:?} came twice", item);
            perform(item, &manifest, &mut known);
        }
        prop_assert!(known.report);
    }
}

proptest! {
    /// Whatever lies in the folders of commits, and whatever was joined.
    #[test]
    fn what_is_preferred_is_of_the_manifest(
        roles in prop::collection::vec(prop_oneof![4 => Just(Role::Train), 1 => Just(Role::History), 1 => Just(Role::Test)], 1..80),
        commits in prop::collection::vec((0..4u8, 0..200u32), 0..300),
        joined in prop::option::of(prop_oneof![0..200u32, Just(u32::MAX)]),
    ) {
        let manifest = manifest(&roles);
        let mut known = CommitIndex::default();
        for (stage, index) in commits {
            known.insert(Stage(stage), index);
        }
        for item in as_preferred(&manifest, &mut known, joined) {
            let (stage, index) = match item {
                Step::Each(stage, index) => (stage, index),
                Step::Begin | Step::Report => panic!("{item:?} is never preferred"),
                Step::Intake | Step::Chain(_) => continue,
            };
            prop_assert!(index < manifest.len() && !known.has(stage, index), "{item:?} is done or of no dataset");
            prop_assert!(PIPELINE.applies(stage, manifest.dataset(index).role), "{item:?} does not apply");
        }
    }
}

fn as_preferred(manifest: &Manifest, known: &mut CommitIndex, joined: Option<u32>) -> Vec<Step> {
    steps(plan_of(manifest).preferred(known, &did(joined)))
}

fn did(joined: Option<u32>) -> Vec<(Stage, u32)> {
    joined.map(|last| (JOIN, last)).into_iter().collect()
}

/// Two workers that take what comes each add every dataset to their history.
#[test]
fn who_joined_a_dataset_joins_the_next() {
    let roles = [vec![Role::Train; 120], vec![Role::History; 7], vec![Role::Test; 7]].concat();
    let joins = 127;
    let (pair, ended) = Pair::run(&roles, true);
    assert!(pair.added < joins + 2 * WINDOW, "{} for {joins} joins", pair.added);
    let (other, ended_by_rank) = Pair::run(&roles, false);
    assert!(other.added > 3 * joins / 2, "{}: the pair has no need of a preference", other.added);
    assert!(ended <= ended_by_rank, "at {ended} and {ended_by_rank}");
}

/// A worker that joins a later one would first have to read all that it looks back at.
#[test]
fn one_join_after_the_other_is_claimable() {
    let manifest = manifest(&[vec![Role::Train; 100], vec![Role::History], vec![Role::Test; 7]].concat());
    let mut known = CommitIndex::default();
    for index in 0..manifest.len() {
        known.insert(PREPARE, index);
    }
    for next in (0..manifest.len()).filter(|index| *index != 100) {
        let joins = claimable(&manifest, &mut known, 3);
        let joins = joins.into_iter().filter(|item| matches!(item, Step::Each(JOIN, _)));
        assert_eq!(joins.collect::<Vec<_>>(), [Step::Each(JOIN, next)]);
        known.insert(JOIN, next);
    }
}

/// Who did the last one goes on with it before all else; the others do that last.
#[test]
fn a_sticky_stage_is_left_to_the_worker_that_did_it() {
    let manifest = manifest(&[vec![Role::Train; 5], vec![Role::History], vec![Role::Train; 5]].concat());
    let mut known = CommitIndex::default();
    (0..8).for_each(|index| known.insert(PREPARE, index));
    (0..5).for_each(|index| known.insert(JOIN, index));
    let next = Step::Each(JOIN, 6);
    for (joined, is_own) in [(None, false), (Some(3), false), (Some(4), true), (Some(6), false)] {
        let steps = as_preferred(&manifest, &mut known, joined);
        let wanted = steps.iter().filter(|step| **step != Step::Intake).collect::<Vec<_>>();
        let place = wanted.iter().position(|step| **step == next);
        assert_eq!(place, Some(if is_own { 0 } else { wanted.len() - 1 }), "{joined:?} {wanted:?}");
    }
}

/// A worker that does another sticky stage leaves a join to the worker that did the last one, if there is nothing else.
#[test]
fn a_join_is_left_to_others_only_where_they_have_begun() {
    let manifest = manifest(&[Role::Train; 2]);
    let mut known = CommitIndex::default();
    let left = |known: &mut CommitIndex, did: &[(Stage, u32)]| {
        let left = plan_of(&manifest).left_to_others(known, did);
        left.and_then(|item| PIPELINE.step(item.name))
    };
    let another = (Stage(u8::MAX), 0);
    [PREPARE, FOLD].iter().for_each(|stage| (0..2).for_each(|index| known.insert(*stage, index)));
    assert_eq!(left(&mut known, &[another]), None, "somebody has to begin");
    known.insert(JOIN, 0);
    known.insert(Stage(3), 0);
    assert_eq!(left(&mut known, &[another]), Some(Step::Each(JOIN, 1)));
    assert_eq!(left(&mut known, &[another, (JOIN, 0)]), None, "it did the last one");
    assert_eq!(left(&mut known, &[]), None, "it does no other");
}
