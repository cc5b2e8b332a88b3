//! The protocol as a state machine small enough to be explored to its end: a few workers, a run that
//! is begun, pushed to, worked on, sealed and reported; every interleaving of their I/Os, with
//! crashes and leases that lapse. What can be done next is decided by the worker's own functions
//! ([`worker::plan`], [`worker::manifest::Manifest`]); what is modelled here is what lies between
//! them: which I/O comes after which.
//!
//! Three datasets: A is pushed before the run, T is in the folder for tests, B is pushed at any time
//! before the run's end. Workers are alike, so a state holds them sorted: their order is not part
//! of the state.

use std::collections::{BTreeMap, BTreeSet};

use sim::world::toy::{EVALUATE, FOLD, JOIN, PIPELINE, PREPARE};
use stateright::{Model, Property};
use worker::hash::Hash;
use worker::item::Item;
use worker::manifest::{Dataset, Manifest, Page, Role, Spec};
use worker::pipeline::{Stage, Step};
use worker::plan::{CommitIndex, Plan};

pub mod refine;
mod step;

/// What may happen, at most.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub workers: usize,
    pub crashes: u8,
    /// Leases that lapse while their worker goes on: what a pause comes to.
    pub pauses: u8,
    /// The queue forgets everything.
    pub wipes: u8,
    /// Claims are given any item that may be had, since workers have preferences; otherwise the lowest rank.
    pub any_order: bool,
}

/// A page of the manifest, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Written {
    /// A and T, and B where it was pushed early.
    First {
        with_b: bool,
    },
    ChapterB,
    Seal,
}

/// Pushed and not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pushed {
    pub a: bool,
    pub b: bool,
}

impl Pushed {
    fn is_empty(self) -> bool {
        !self.a && !self.b
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entry {
    Pending,
    Leased,
}

/// The next I/O of a worker that holds a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Next {
    Start,
    /// Begin and intake have read the pushed paths, and read the manifest next.
    ReadManifest(Pushed),
    /// Links a page at this number.
    Link(u32, Written, Pushed),
    TakeIn(Pushed),
    /// Has folded, and tells the queue of the evaluation.
    OfferEvaluation(u32),
    /// Goes on folding.
    FoldOn,
    /// Looks for pushed paths before the seal at this number.
    LookBeforeSeal(u32),
    Report,
    Project,
    Ack,
}

impl Next {
    /// Whether the last I/O changed anything: a crash after one that did not is a crash before it.
    fn follows_an_effect(self) -> bool {
        !matches!(self, Self::ReadManifest(_) | Self::Link(..) | Self::LookBeforeSeal(_))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Worker {
    Idle,
    /// `owns`: the queue still takes the claim for this worker's.
    Holding {
        item: Step,
        owns: bool,
        next: Next,
    },
    Finished,
}

/// Everything: volume, queue, workers, and what may still happen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub pages: Vec<Written>,
    pub commits: BTreeSet<(u8, u32)>,
    /// What each checkpoint was folded from.
    pub folded: BTreeMap<u32, Vec<u32>>,
    /// Of how many datasets.
    pub report: Option<u32>,
    pub output: bool,
    pub queue: BTreeMap<Step, Entry>,
    pub pushed: Pushed,
    pub b_was_pushed: bool,
    pub workers: Vec<Worker>,
    pub crashes: u8,
    pub pauses: u8,
    pub wipes: u8,
    /// A commit found its name taken: two did the same.
    pub doubled: bool,
    /// What must never happen has.
    pub broken: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    Short,
    Long,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Step(usize),
    /// An idle worker is given this.
    Claim(usize, Step),
    /// The lease that a crash leaves runs out at once, or not before nothing else can be done.
    Crash(usize, Lease),
    /// The second worker's lease has lapsed while it goes on; its item is redelivered to the first worker.
    /// A lease that lapses without a redelivery changes nothing.
    Overtake(usize, usize),
    /// The lease of one that is gone.
    Expire(Step),
    PushB,
    Wipe,
}

/// The model: its bounds, and every manifest that can be written.
#[derive(Debug, Clone)]
pub struct Protocol {
    bounds: Bounds,
    manifests: BTreeMap<Vec<Written>, Manifest>,
}

/// How the worker plans: by the fraud model's pipeline.
fn plan(manifest: &Manifest) -> Plan<'_> {
    Plan { pipeline: PIPELINE, manifest, window: &window }
}

fn steps(items: Vec<Item>) -> Vec<Step> {
    items.into_iter().filter_map(|item| PIPELINE.step(item.name)).collect()
}

/// Joins read the parts of all datasets before theirs.
fn window(index: u32) -> Vec<u32> {
    (0..index).collect()
}

fn dataset(name: &str, index: u32) -> Dataset {
    let role = if name == "T" { Role::Test } else { Role::Train };
    Dataset { index, path: name.to_owned(), role, bytes: 1, blocks: vec![Hash::of(name.as_bytes())] }
}

/// The page as the worker reads it, after `before` datasets.
fn page(written: Written, before: u32) -> Page {
    let numbered = |names: &[&str]| names.iter().zip(before..).map(|(name, i)| dataset(name, i)).collect();
    match written {
        Written::First { with_b } => Page::First {
            inherited: Vec::new(),
            spec: Spec { workload: "model".to_owned(), results_version: 1, params: BTreeMap::new() },
            created: String::new(),
            last: false,
            datasets: numbered(if with_b { &["A", "B", "T"] } else { &["A", "T"] }),
            refused: Vec::new(),
        },
        Written::ChapterB => Page::Chapter { datasets: numbered(&["B"]), refused: Vec::new() },
        Written::Seal => Page::Seal { datasets: before },
    }
}

impl Protocol {
    pub fn new(bounds: Bounds) -> Self {
        let mut manifests = BTreeMap::new();
        for with_b in [false, true] {
            let first = Written::First { with_b };
            let begun = Manifest::begin(page(first, 0)).expect("a first page begins a manifest");
            let mut open = vec![(vec![first], begun)];
            while let Some((pages, manifest)) = open.pop() {
                for written in [Written::ChapterB, Written::Seal] {
                    let mut longer = manifest.clone();
                    let held = written == Written::ChapterB && manifest.by_path("B").is_some();
                    if !held && longer.turn(page(written, manifest.len())).is_ok() {
                        open.push(([&pages[..], &[written]].concat(), longer));
                    }
                }
                manifests.insert(pages, manifest);
            }
        }
        Self { bounds, manifests }
    }

    /// What the pages say; `None` before the first, and of pages that no run can have.
    fn manifest(&self, state: &State) -> Option<&Manifest> {
        self.manifests.get(&state.pages)
    }

    /// What a listing of the commits shows.
    fn known(state: &State) -> CommitIndex {
        let mut known = CommitIndex::default();
        for &(stage, index) in &state.commits {
            known.insert(Stage(stage), index);
        }
        known
    }

    /// The items that a worker which looks at the volume now would offer.
    fn claimable(&self, state: &State, has_reported: bool) -> Vec<Step> {
        let Some(manifest) = self.manifest(state) else { return Vec::new() };
        let mut known = Self::known(state);
        known.report = has_reported;
        steps(plan(manifest).claimable(&mut known, usize::MAX))
    }

    fn is_complete(&self, state: &State) -> bool {
        self.manifest(state).is_some_and(|manifest| plan(manifest).is_complete(&mut Self::known(state)))
    }

    /// When a worker may exit with 0.
    fn has_ended(&self, state: &State) -> bool {
        let sealed = self.manifest(state).is_some_and(|manifest| manifest.sealed);
        sealed && self.is_complete(state) && state.report.is_some() && state.output
    }
}

impl State {
    pub fn has(&self, stage: Stage, index: u32) -> bool {
        self.commits.contains(&(stage.0, index))
    }

    /// What a claim may be given, by rank.
    fn free(&self) -> Vec<Step> {
        let free = self.queue.iter().filter(|(_, entry)| **entry == Entry::Pending);
        let mut free: Vec<Step> = free.map(|(item, _)| *item).collect();
        free.sort_by_key(|item| PIPELINE.item(*item).rank);
        free
    }

    fn claim(&mut self, number: usize, item: Step) {
        self.queue.insert(item, Entry::Leased);
        self.workers[number] = Worker::Holding { item, owns: true, next: Next::Start };
    }

    fn add(&mut self, items: &[Step]) {
        for item in items {
            self.queue.entry(*item).or_insert(Entry::Pending);
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            pages: vec![],
            commits: BTreeSet::new(),
            folded: BTreeMap::new(),
            report: None,
            output: false,
            queue: BTreeMap::new(),
            pushed: Pushed { a: true, b: false },
            b_was_pushed: false,
            workers: vec![Worker::Idle; self.bounds.workers],
            crashes: self.bounds.crashes,
            pauses: self.bounds.pauses,
            wipes: self.bounds.wipes,
            doubled: false,
            broken: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (number, worker) in state.workers.iter().enumerate() {
            // Workers that are alike do alike.
            if number > 0 && state.workers[number - 1] == *worker {
                continue;
            }
            let Worker::Holding { owns, next, .. } = worker else {
                actions.extend((*worker == Worker::Idle).then_some(Action::Step(number)));
                if self.bounds.any_order && *worker == Worker::Idle {
                    // The first is what a step claims.
                    actions.extend(state.free().into_iter().skip(1).map(|item| Action::Claim(number, item)));
                }
                continue;
            };
            actions.push(Action::Step(number));
            if state.crashes > 0 && next.follows_an_effect() {
                actions.push(Action::Crash(number, Lease::Short));
                actions.extend(owns.then_some(Action::Crash(number, Lease::Long)));
            }
            if let Some(idle) = self.overtaker(state, worker) {
                actions.push(Action::Overtake(idle, number));
            }
        }
        let busy = |worker: &Worker| matches!(worker, Worker::Holding { .. });
        if !state.workers.iter().any(busy) && state.queue.values().all(|entry| *entry == Entry::Leased) {
            actions.extend(state.queue.keys().map(|item| Action::Expire(*item)));
        }
        // When it matters: before somebody reads what was pushed, and after the seal.
        if !state.b_was_pushed && (state.pages.contains(&Written::Seal) || self.is_read_next(state)) {
            actions.push(Action::PushB);
        }
        if state.wipes > 0 && !state.pages.is_empty() {
            actions.push(Action::Wipe);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Step(number) => self.step(&mut state, number),
            Action::Claim(number, item) => state.claim(number, item),
            Action::Crash(number, lease) => {
                state.crashes -= 1;
                if let (Worker::Holding { item, owns: true, .. }, Lease::Short) =
                    (&state.workers[number], lease)
                {
                    state.queue.insert(*item, Entry::Pending);
                }
                // Its successor starts whenever it is scheduled first.
                state.workers[number] = Worker::Idle;
            }
            Action::Overtake(idle, holder) => {
                state.pauses -= 1;
                let Worker::Holding { item, owns, .. } = &mut state.workers[holder] else { return None };
                *owns = false;
                state.workers[idle] = Worker::Holding { item: *item, owns: true, next: Next::Start };
            }
            Action::Expire(item) => {
                state.queue.insert(item, Entry::Pending);
            }
            Action::PushB => {
                state.b_was_pushed = true;
                state.pushed.b = true;
            }
            Action::Wipe => {
                state.wipes -= 1;
                state.queue.clear();
                state.pushed = Pushed { a: false, b: false };
                for worker in &mut state.workers {
                    if let Worker::Holding { owns, .. } = worker {
                        *owns = false;
                    }
                }
            }
        }
        state.workers.sort_unstable();
        // A look that changes nothing is none.
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing happens that must never", |_, state: &State| state.broken.is_none()),
            Property::always("every commit has its inputs", Self::commits_have_inputs),
            Property::always("every checkpoint folds each dataset before it once, oldest first", Self::folds),
            Property::always("the seal seals what is complete", |model: &Self, state: &State| {
                !state.pages.contains(&Written::Seal) || model.is_complete(state)
            }),
            Property::always("nobody exits 0 before report and output", |model: &Self, state: &State| {
                !state.workers.contains(&Worker::Finished) || model.has_ended(state)
            }),
            Property::always("a report is of all datasets", |model: &Self, state: &State| {
                state
                    .report
                    .is_none_or(|of| model.manifest(state).is_some_and(|manifest| manifest.len() == of))
            }),
            // Of a queue that is wiped, nothing can be asked.
            Property::always("a push is kept until it is in a chapter", |model: &Self, state: &State| {
                let held = model.manifest(state).is_some_and(|manifest| manifest.by_path("B").is_some());
                !state.b_was_pushed || state.pushed.b || held || state.wipes < model.bounds.wipes
            }),
            Property::eventually("everyone finishes", |_, state: &State| {
                state.workers.iter().all(|worker| *worker == Worker::Finished)
            }),
            Property::sometimes("two do the same", |_, state: &State| state.doubled),
            Property::sometimes("a push comes in a further chapter", |_, state: &State| {
                state.pages.contains(&Written::ChapterB)
            }),
            Property::sometimes("a push comes after the seal", |_, state: &State| {
                state.pages.contains(&Written::Seal) && state.pushed.b
            }),
            Property::sometimes("a commit outlives its claim", |_, state: &State| {
                let lost =
                    |worker: &Worker| matches!(worker, Worker::Holding { owns: false, next: Next::Ack, .. });
                state.workers.iter().any(lost)
            }),
        ]
    }
}

impl Protocol {
    /// An idle worker that would be given this worker's item, were its lease to lapse.
    fn overtaker(&self, state: &State, holder: &Worker) -> Option<usize> {
        let Worker::Holding { item, owns: true, .. } = holder else { return None };
        let idle = state.workers.iter().position(|worker| *worker == Worker::Idle)?;
        let first =
            state.free().first().is_none_or(|free| PIPELINE.item(*item).rank < PIPELINE.item(*free).rank);
        (state.pauses > 0 && (first || self.bounds.any_order)).then_some(idle)
    }

    /// Whether a worker's next I/O may be to read the pushed paths.
    fn is_read_next(&self, state: &State) -> bool {
        state.workers.iter().any(|worker| match worker {
            Worker::Idle => state.free().is_empty(),
            Worker::Holding { item: Step::Begin | Step::Intake, next: Next::Start, .. } => true,
            Worker::Holding { next: Next::LookBeforeSeal(_), .. } => true,
            _ => false,
        })
    }

    fn commits_have_inputs(&self, state: &State) -> bool {
        let Some(manifest) = self.manifest(state) else { return state.commits.is_empty() };
        state.commits.iter().all(|&(stage, index)| {
            Self::inputs(manifest, Stage(stage), index).iter().all(|input| state.commits.contains(input))
        })
    }

    /// The commits that a stage of a dataset reads, as the design has it: said here once more, by itself.
    fn inputs(manifest: &Manifest, stage: Stage, index: u32) -> Vec<(u8, u32)> {
        let of = |stage: Stage, index: u32| (stage.0, index);
        match stage {
            PREPARE => vec![],
            JOIN => window(index).into_iter().chain([index]).map(|i| of(PREPARE, i)).collect(),
            FOLD => {
                let before = manifest.train_before(index).map(|i| of(FOLD, i));
                before.into_iter().chain([of(JOIN, index)]).collect()
            }
            _ => {
                let tests = manifest.tests().iter().map(|test| of(JOIN, *test));
                tests.chain([of(FOLD, index), of(JOIN, index)]).collect()
            }
        }
    }

    fn folds(&self, state: &State) -> bool {
        let Some(manifest) = self.manifest(state) else { return state.folded.is_empty() };
        state.folded.iter().all(|(index, from)| {
            let before = manifest.datasets[..=*index as usize].iter();
            before.filter(|dataset| dataset.role == Role::Train).map(|d| d.index).eq(from.iter().copied())
        })
    }
}
