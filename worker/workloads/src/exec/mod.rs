//! Any program as the workload: unmodified commands, one process for each item. See docs/own-code.md.
//!
//! - `prepare` is done to each dataset alone, in parallel.
//! - `train` is a chain: each dataset's process starts from the files that the one before left in its output folder.
//! - `evaluate` is done to each state that `train` left, with the test datasets, in parallel.
//! - `report` is done once, at the end, with the last output of each dataset and the last state.

pub mod arguments;
pub mod buffer;
pub mod cli;
pub mod collect;
pub mod differ;
mod digest;
mod launch;
pub mod layout;
pub mod log;
pub mod logs;
mod metrics;
mod pipe;
mod report;
pub mod scenario;
pub(crate) mod scratch;
mod setup;
mod state;
mod task;
mod transcript;
pub mod tree;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::days;
use crate::guard::Guards;
use arguments::Item;
use differ::Difference;
use digest::Digest;
use engine::contract::BLOCK_BYTES;
use engine::hash::Hash;
use engine::manifest::{Dataset, Role};
use engine::order::Period;
use engine::path::name_of;
use engine::pipeline::{END, End, Input, Order, Pipeline, Stage, StageSpec};
use engine::workload::{
    Failed, Inputs, Outcome, Part, ReportInput, Shown, ShownFiles, Step, Task, Wanted, Workload,
    checkpoint_names,
};
use log::Logs;
use scratch::Scratch;
pub use setup::{Commands, Setup};
use state::KeptState;
pub use task::saved_after;
use task::{Given, Source};
use tree::{Content, Entry, Tree};

/// The workload's name in manifests.
pub const NAME: &str = "exec";

const PREPARE: StageSpec = StageSpec {
    name: "prepare",
    folder: "prepared",
    order: Order::Each,
    roles: &[Role::Train],
    inputs: &[Input::Blocks],
};
/// What `evaluate` is given of the test datasets is prepared as well.
const PREPARE_TESTS: StageSpec = StageSpec { roles: &[Role::Train, Role::Test], ..PREPARE };
/// Without a `prepare`, the test datasets' own files, committed as they are.
const TESTS: StageSpec = StageSpec {
    name: "tests",
    folder: "tests",
    order: Order::Each,
    roles: &[Role::Test],
    inputs: &[Input::Blocks],
};
const TRAIN: StageSpec = StageSpec {
    name: "train",
    folder: "trained",
    order: Order::Chain,
    roles: &[Role::Train],
    inputs: &[Input::Previous, Input::Blocks],
};
/// From what the first stage prepared.
const TRAIN_PREPARED: StageSpec = StageSpec { inputs: &[Input::Previous, Input::Own(Stage(0))], ..TRAIN };
const EVALUATE: StageSpec = StageSpec {
    name: "evaluate",
    folder: "evaluated",
    order: Order::Each,
    roles: &[Role::Train],
    inputs: &[Input::Own(Stage(1)), Input::Tests(Stage(0))],
};

/// What is done once, at the end. It is no stage of a dataset's.
const REPORT: StageSpec =
    StageSpec { name: "report", folder: "reported", order: Order::Each, roles: &[], inputs: &[] };

const MAP: Pipeline = Pipeline::new(&[PREPARE]);
const CHAIN: Pipeline = Pipeline::new(&[TRAIN]);
const PREPARED_CHAIN: Pipeline = Pipeline::new(&[PREPARE, TRAIN_PREPARED]);
const EVALUATED_CHAIN: Pipeline = Pipeline::new(&[TESTS, TRAIN, EVALUATE]);
const WHOLE: Pipeline = Pipeline::new(&[PREPARE_TESTS, TRAIN_PREPARED, EVALUATE]);

/// What of a machine's own a program is run with; it decides no result.
#[derive(Debug, Clone, Default)]
pub struct Local {
    /// Where attempts have their folders; the system's folder for temporary files where it is not given.
    pub scratch: Option<PathBuf>,
    /// A program that runs for longer has failed.
    pub item_timeout: Option<Duration>,
    /// Bytes of an attempt's output that are shown on standard error, with the item before each line.
    pub shown_max: u64,
    /// Where the output of each attempt is kept.
    pub logs: Option<Logs>,
    /// What counts of a result, where its bytes may differ: a command that prints it.
    pub digest: Option<Vec<String>>,
}

/// The workload.
#[derive(Debug)]
pub struct Exec {
    setup: Arc<Setup>,
    local: Arc<Local>,
    kept: Arc<KeptState>,
    /// Dropped before the folder that they would remove.
    guards: Arc<Guards>,
    /// Made for the first program.
    scratch: Mutex<Option<Arc<Scratch>>>,
}

impl Exec {
    pub fn new(setup: Setup, local: Local) -> Self {
        Self {
            setup: Arc::new(setup),
            local: Arc::new(local),
            kept: Arc::default(),
            guards: Arc::default(),
            scratch: Mutex::default(),
        }
    }

    /// This worker's folder, below which those of its attempts lie.
    fn scratch(&self, attempt: &str) -> Result<Arc<Scratch>, String> {
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scratch) = &*scratch {
            return Ok(scratch.clone());
        }
        let base = self.local.scratch.clone().unwrap_or_else(std::env::temp_dir);
        let made = Scratch::create(&base, attempt).map(Arc::new).map_err(|error| {
            format!("make a folder in {}: {error}\nhint: --scratch names another folder", base.display())
        })?;
        *scratch = Some(made.clone());
        Ok(made)
    }

    /// The work of one of the user's commands.
    fn program(&self, spec: &StageSpec, command: &[String], mut inputs: Inputs) -> Box<dyn Task> {
        let name = name_of(&inputs.dataset.path);
        if name.is_empty() {
            return Box::new(Failed(format!("{} names no file", inputs.dataset.path)));
        }
        let scratch = match self.scratch(&inputs.attempt) {
            Ok(scratch) => scratch,
            Err(why) => return Box::new(Failed(why)),
        };
        let is_end = spec.name == REPORT.name;
        let source = match inputs.own.pop() {
            Some(part) => Source::Folder(part),
            None if is_end => Source::Folders(inputs.all),
            None => Source::File { blocks: inputs.dataset.blocks.len() },
        };
        let item = Item {
            run: std::mem::take(&mut inputs.run),
            name: if is_end {
                spec.name.to_owned()
            } else {
                format!("{}/{}", spec.name, inputs.dataset.index)
            },
            stage: spec.name.to_owned(),
            index: inputs.dataset.index,
            count: inputs.count,
            seed: seed(&inputs.dataset),
            // A chain's attempt does several datasets.
            folder: scratch.folder.join(format!("{}-{}", inputs.attempt, inputs.dataset.index)),
            // What an earlier stage left is a folder.
            input: matches!(source, Source::File { .. }).then(|| name.to_owned()),
            has_previous: inputs.previous.is_some(),
            has_tests: spec.inputs.iter().any(|input| matches!(input, Input::Tests(_))),
            grace_s: inputs.grace.as_secs(),
            aliases: self.setup.aliases,
        };
        let guards = self.guards.clone();
        let given = Given { source, previous: inputs.previous, tests: inputs.tests, scratch, guards };
        let (setup, local) = (self.setup.clone(), self.local.clone());
        let kept = (spec.order == Order::Chain).then(|| self.kept.clone());
        Box::new(task::Program::new(setup, local, command.to_vec(), item, given, inputs.attempt, kept))
    }
}

impl Workload for Exec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn results_version(&self) -> u32 {
        3
    }

    fn params(&self) -> BTreeMap<String, String> {
        self.setup.params()
    }

    fn deterministic(&self) -> bool {
        self.setup.deterministic
    }

    /// A map takes its datasets in any order.
    fn ordered(&self) -> bool {
        self.setup.commands.train.is_some()
    }

    fn period<'p>(&self, path: &'p str) -> Option<Period<'p>> {
        days::period(path)
    }

    fn pipeline(&self) -> Pipeline {
        let Commands { prepare, train, evaluate, report } = &self.setup.commands;
        let stages = match (prepare, train, evaluate) {
            (_, None, _) => MAP,
            (None, Some(_), None) => CHAIN,
            (Some(_), Some(_), None) => PREPARED_CHAIN,
            (None, Some(_), Some(_)) => EVALUATED_CHAIN,
            (Some(_), Some(_), Some(_)) => WHOLE,
        };
        if report.is_some() { stages.ending(End { folder: REPORT.folder }) } else { stages }
    }

    fn task(&self, stage: Stage, inputs: Inputs) -> Box<dyn Task> {
        let spec = if stage == END { &REPORT } else { self.pipeline().spec(stage) };
        match self.setup.commands.of(spec.name) {
            Some(command) => self.program(spec, command, inputs),
            None => Box::new(KeepFile { dataset: inputs.dataset, next: 0, given: None }),
        }
    }

    fn report(&self, input: &ReportInput<'_>) -> Result<BTreeMap<String, String>, String> {
        let names = checkpoint_names(self, input.datasets).collect();
        report::files(&self.setup, input, &names)
    }

    fn checkpoint_name(&self, stem: &str) -> String {
        stem.to_owned()
    }

    fn shown_files(&self, name: &str, part: &Part) -> Result<ShownFiles, String> {
        let tree = Tree::decode(&part.bytes)?;
        let file = |(path, content): (&str, &Content)| {
            let shown = match content {
                Content::Inline(content) => Shown::Bytes(Arc::new(content.clone())),
                Content::Blocks { bytes, blocks } => {
                    Shown::Blocks { bytes: *bytes, block_bytes: BLOCK_BYTES, blocks: blocks.clone() }
                }
            };
            (format!("{name}/{path}"), shown)
        };
        Ok(tree.files().map(file).collect())
    }

    fn latest_name(&self) -> Option<&'static str> {
        self.setup.commands.train.is_some().then_some("latest")
    }

    fn for_report(&self, part: Part) -> Result<Part, String> {
        Ok(Part { bytes: Arc::new(report::summary(&part)?), ..part })
    }

    fn blocks_to_compare(&self, ours: &[u8], theirs: &[u8]) -> Vec<Hash> {
        differ::blocks_to_compare(ours, theirs)
    }

    fn digest(&self, attempt: &str, result: Part) -> Option<Box<dyn Task>> {
        let words = self.local.digest.clone()?;
        let scratch = match self.scratch(attempt) {
            Ok(scratch) => scratch,
            Err(why) => return Some(Box::new(Failed(why))),
        };
        let command = digest::Command {
            words,
            environment: self.setup.variables(),
            folder: scratch.folder.join(format!("{attempt}-digest-{}", result.index)),
            timeout: self.local.item_timeout,
            scratch,
            guards: self.guards.clone(),
        };
        Some(Box::new(Digest::new(command, result)))
    }

    fn difference(&self, ours: &[u8], theirs: &[u8], blocks: &BTreeMap<Hash, Vec<u8>>) -> Option<String> {
        Difference::of_results(ours, theirs, blocks).map(|difference| difference.to_string())
    }
}

/// A dataset's file as a result: what reads it is given the file itself.
struct KeepFile {
    dataset: Dataset,
    next: u32,
    given: Option<Vec<u8>>,
}

impl Task for KeepFile {
    fn step(&mut self) -> Step {
        let Dataset { path, bytes, blocks, .. } = &self.dataset;
        if let Some(block) = self.given.take() {
            self.next += 1;
            return Step::Keep(block);
        }
        if (self.next as usize) < blocks.len() {
            return Step::Need(Wanted::Dataset(self.next));
        }
        let content = Content::Blocks { bytes: *bytes, blocks: blocks.clone() };
        let file = Entry::File { executable: false, content };
        let tree = Tree { entries: BTreeMap::from([(name_of(path).to_owned(), file)]) };
        Step::Done(Outcome::Part(tree.encode()))
    }

    fn give(&mut self, block: Vec<u8>) {
        self.given = Some(block);
    }
}

/// A seed for each dataset, from its place and content: several libraries do not save their sampler's state.
fn seed(dataset: &Dataset) -> u32 {
    let hash = Hash::of_fields([&dataset.index.to_le_bytes()[..], &dataset.hash().0]);
    u32::from_le_bytes([hash.0[0], hash.0[1], hash.0[2], hash.0[3]]) >> 1
}
