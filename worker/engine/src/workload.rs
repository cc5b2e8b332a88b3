//! What is done to each dataset: the stages of a workload, as pure tasks of short steps. Some can be resumed.
//!
//! A stage's result is a function of its inputs alone: no clock, no randomness that is not a
//! parameter, no order of arrival, no machine. The runner stores results and hands them back as
//! [`Part`]s; what the bytes mean is the workload's own affair.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::hash::Hash;
use crate::manifest::{Dataset, Refusal, Role, Spec, is_hidden};
use crate::order::Period;
use crate::pipeline::{Pipeline, Stage};
pub use crate::record::Outcome;

/// The committed result of a stage of one dataset.
#[derive(Clone)]
pub struct Part {
    /// The stage that made it.
    pub stage: Stage,
    /// Index of the dataset in the manifest.
    pub index: u32,
    /// Hash of `bytes`: a key for caches of what was decoded from them.
    pub hash: Hash,
    /// What the stage made.
    pub bytes: Arc<Vec<u8>>,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Part({}, {:?}, {} bytes)", self.index, self.hash, self.bytes.len())
    }
}

/// The name of a [`Part`] that a task may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PartName {
    /// The stage that made it.
    pub stage: Stage,
    /// Index of the dataset in the manifest.
    pub index: u32,
    /// As [`Part::hash`].
    pub hash: Hash,
}

impl From<&Part> for PartName {
    fn from(part: &Part) -> Self {
        Self { stage: part.stage, index: part.index, hash: part.hash }
    }
}

/// The content of a file under `output/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// All of it.
    Bytes(Arc<Vec<u8>>),
    /// Blocks of a result, one after the other.
    Blocks {
        /// The size of all, in bytes.
        bytes: u64,
        /// The size of each but the last, in bytes.
        block_bytes: u64,
        /// Their hashes.
        blocks: Vec<Hash>,
    },
}

/// Files under `output/`, by name.
pub type ShownFiles = Vec<(String, Shown)>;

/// What a task needs before it can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// A block of the dataset's file, by its number.
    Dataset(u32),
    /// A block that a result which the task reads refers to.
    Result {
        /// The stage whose result it is,
        stage: Stage,
        /// of which dataset,
        index: u32,
        /// and the block's hash.
        hash: Hash,
    },
    /// A block that the state which the task resumed refers to.
    Saved(Hash),
    /// The bytes of a part of its lazy window.
    Part(PartName),
}

/// What one step of a task came to.
#[derive(Debug)]
pub enum Step {
    /// There is more to do.
    More,
    /// It goes on once it was given this ([`Task::give`]).
    Need(Wanted),
    /// A block that its result will refer to by its hash. It is on the volume before the next step.
    Keep(Vec<u8>),
    /// There is more to do, and what it has is worth saving now.
    Save,
    /// It is done.
    Done(Outcome),
    /// What the work needs is not there yet: to be tried later, and no failure.
    NotReady(String),
    /// The work has ended because [`Task::stop`] was called: what it saved is kept.
    Stopped,
    /// The inputs are not what this workload's earlier stages commit, or its own invariant is broken:
    /// no retry or rejection repairs that. What was tried, and why it failed.
    Failed(String),
}

/// A stage of a dataset under way. Steps are short (some 10 ms), so that between them the runner
/// can send heartbeats, save progress and look for signals.
pub trait Task: Send {
    /// Does a short piece of the work.
    fn step(&mut self) -> Step;

    /// Takes what the last step needed.
    fn give(&mut self, _block: Vec<u8>) {}

    /// Goes on without what the last step needed: a block of a saved state is lost.
    fn lacks(&mut self) {}

    /// Done and total, in a unit of the task's own; the total is never 0.
    fn progress(&self) -> (u64, u64) {
        (0, 1)
    }

    /// Whether an earlier attempt may have saved a state worth looking for.
    fn resumable(&self) -> bool {
        false
    }

    /// The next block that the state refers to which [`Task::save`] then returns. They are saved before it.
    fn save_block(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// State from which an equal task goes on; `None` where starting over costs less.
    fn save(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// Takes up a saved state. Anything that is not one of this task's own states is ignored:
    /// a lost progress costs work, never a result.
    fn resume(&mut self, _saved: &[u8]) {}

    /// Tells the work that its machine is about to go. Returns whether it makes use of the grace by itself; work
    /// that does not is left at once where its rest does not fit.
    fn stop(&mut self) -> bool {
        false
    }
}

/// A task that is one short step.
pub struct Once<F>(Option<F>);

impl<F> fmt::Debug for Once<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Once")
    }
}

impl<F: FnOnce() -> Outcome + Send + 'static> Once<F> {
    /// Makes a task of a function.
    pub fn task(work: F) -> Box<dyn Task> {
        Box::new(Self(Some(work)))
    }
}

impl<F: FnOnce() -> Outcome + Send> Task for Once<F> {
    fn step(&mut self) -> Step {
        match self.0.take() {
            Some(work) => Step::Done(work()),
            None => Step::More,
        }
    }
}

/// What a stage of a dataset reads, as its pipeline declares it.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The dataset that the stage is done to.
    pub dataset: Dataset,
    /// Rolling hash over the ordered datasets up to this one, for a model to carry.
    pub lineage: Hash,
    /// The file, whose hash has been checked; empty where the stage does not read it whole.
    pub content: Vec<u8>,
    /// The results of earlier stages of the same dataset, in the order declared.
    pub own: Vec<Part>,
    /// The results in the window, oldest first.
    pub window: Vec<Part>,
    /// Those of a lazy window, oldest first.
    pub lazy_window: Vec<PartName>,
    /// The chain's state before this dataset; `None` for the first.
    pub previous: Option<Part>,
    /// The results of the test datasets.
    pub tests: Vec<Part>,
    /// Of [`crate::pipeline::END`] alone: the last results of the run's training datasets, oldest first, each with the
    /// dataset's name under `output/`. Rejected ones are left out.
    pub all: Vec<(String, Part)>,
    /// The run's name.
    pub run: String,
    /// A name that no other attempt has.
    pub attempt: String,
    /// Datasets known so far.
    pub count: u32,
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
}

impl Inputs {
    /// Of a dataset, with nothing read yet.
    pub fn of(dataset: Dataset, lineage: Hash) -> Self {
        Self {
            dataset,
            lineage,
            content: Vec::new(),
            own: Vec::new(),
            window: Vec::new(),
            lazy_window: Vec::new(),
            previous: None,
            tests: Vec::new(),
            all: Vec::new(),
            run: String::new(),
            attempt: String::new(),
            count: 0,
            grace: Duration::ZERO,
        }
    }
}

/// A task that fails at its first step, since its inputs are not this workload's.
#[derive(Debug)]
pub struct Failed(pub String);

impl Task for Failed {
    fn step(&mut self) -> Step {
        Step::Failed(self.0.clone())
    }
}

/// Everything that a report is made from: manifest and commits, nothing else.
#[derive(Debug)]
pub struct ReportInput<'a> {
    /// The date that the report shows, from the manifest.
    pub created: &'a str,
    /// Every dataset of the manifest.
    pub datasets: &'a [Dataset],
    /// The first dataset that is the run's own; those before it are another's, which this run continues.
    pub own_from: u32,
    /// Reasons by index of dataset.
    pub rejected: &'a BTreeMap<u32, String>,
    /// Pushed paths that are no part of the run.
    pub refused: &'a [Refusal],
    /// The last results of the training datasets, oldest first; rejected ones are left out.
    pub evals: &'a [Part],
    /// The chain's last state; `None` where there is no chain, or every training dataset was rejected.
    pub model: Option<&'a Part>,
    /// What was made at the end, where the pipeline has one.
    pub end: Option<&'a Part>,
}

/// Some figures of the same scale, by dataset or by threshold.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// What they say, for people.
    pub title: String,
    /// Names of the points, in their order: of datasets, or of thresholds.
    pub points: Vec<String>,
    /// Figures by name, each with a value for each point that has one.
    pub lines: Vec<(String, Vec<Option<f64>>)>,
}

/// A workload: pure stages over datasets.
pub trait Workload: Send + Sync {
    /// The name that manifests carry.
    fn name(&self) -> &'static str;

    /// Version of the results: raised whenever a byte of any part, model or report may change.
    fn results_version(&self) -> u32;

    /// Parameters and seeds that decide the result, recorded in the manifest.
    fn params(&self) -> BTreeMap<String, String>;

    /// Whether equal inputs give equal bytes. Where they do not, the first commit is adopted.
    fn deterministic(&self) -> bool {
        true
    }

    /// Whether datasets must come oldest first, so that one is refused after one of a later day.
    fn ordered(&self) -> bool {
        true
    }

    /// Whether a file is a dataset, by its path: a folder of datasets may hold other files. Hidden ones are none.
    fn is_dataset(&self, path: &str) -> bool {
        !is_hidden(path)
    }

    /// The files that are its datasets, in words.
    fn datasets_in_words(&self) -> &'static str {
        "files"
    }

    /// When a dataset's data is from, as its path says; `None` where that says nothing.
    fn period<'p>(&self, _path: &'p str) -> Option<Period<'p>> {
        None
    }

    /// The stages, their inputs and whose datasets they are done to.
    fn pipeline(&self) -> Pipeline;

    /// Indices, ascending and all smaller than `index`, of the datasets whose results a stage with
    /// [`crate::pipeline::Input::Window`] or a lazy one reads.
    fn window(&self, _datasets: &[Dataset], _index: u32) -> Vec<u32> {
        Vec::new()
    }

    /// The work of a stage, or of [`crate::pipeline::END`], from its inputs.
    fn task(&self, stage: Stage, inputs: Inputs) -> Box<dyn Task>;

    /// The report's files, by name: `report.txt`, and whatever goes beside it.
    ///
    /// # Errors
    /// Parts that are not this workload's.
    fn report(&self, input: &ReportInput<'_>) -> Result<BTreeMap<String, String>, String>;

    /// The figures of a report that a summary shows, from one of its files by name; none by default.
    fn headline(&self, _file: &dyn Fn(&str) -> Option<Vec<u8>>) -> BTreeMap<String, f64> {
        BTreeMap::new()
    }

    /// The figures of a report that a page draws; none by default.
    fn curves(&self, _file: &dyn Fn(&str) -> Option<Vec<u8>>) -> Vec<Curve> {
        Vec::new()
    }

    /// The name under `output/` of what is shown of a dataset, from its stem (`2018-04-01`).
    fn checkpoint_name(&self, stem: &str) -> String;

    /// The files under `output/` that show a dataset's result: by default one, of the given name.
    ///
    /// # Errors
    /// Where the result is not this workload's.
    fn shown_files(&self, name: &str, part: &Part) -> Result<ShownFiles, String> {
        Ok(vec![(name.to_owned(), Shown::Bytes(part.bytes.clone()))])
    }

    /// The name under `output/` by which the chain's last state is shown once more.
    fn latest_name(&self) -> Option<&'static str> {
        None
    }

    /// What counts of a result where its bytes may differ, as a task by the attempt of this name whose outcome is compared in
    /// their place; `None` where the bytes count.
    fn digest(&self, _attempt: &str, _result: Part) -> Option<Box<dyn Task>> {
        None
    }

    /// The blocks that must be read to say where two results differ, not too many.
    fn blocks_to_compare(&self, _ours: &[u8], _theirs: &[u8]) -> Vec<Hash> {
        Vec::new()
    }

    /// Where two results differ, for people; `None` where that cannot be said. `blocks` holds those of
    /// [`Workload::blocks_to_compare`] that could be read.
    fn difference(&self, _ours: &[u8], _theirs: &[u8], _blocks: &BTreeMap<Hash, Vec<u8>>) -> Option<String> {
        None
    }

    /// What the report needs of a result: all of it, unless that is long.
    ///
    /// # Errors
    /// Where the result is not this workload's.
    fn for_report(&self, part: Part) -> Result<Part, String> {
        Ok(part)
    }
}

impl Spec {
    /// What a manifest records of a workload.
    pub fn of(workload: &dyn Workload) -> Self {
        Self {
            workload: workload.name().to_owned(),
            results_version: workload.results_version(),
            params: workload.params(),
        }
    }
}

/// The names of the training datasets' checkpoints under `output/`, by index, fixed by the manifest alone: two
/// datasets of one stem get their index added.
pub fn checkpoint_names(
    workload: &dyn Workload,
    datasets: &[Dataset],
) -> impl Iterator<Item = (u32, String)> {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let trained = datasets.iter().filter(|dataset| dataset.role == Role::Train);
    trained.map(move |dataset| {
        let mut name = workload.checkpoint_name(dataset.stem());
        if taken.contains(&name) {
            name = workload.checkpoint_name(&format!("{}.{}", dataset.stem(), dataset.index));
        }
        taken.insert(name.clone());
        (dataset.index, name)
    })
}
