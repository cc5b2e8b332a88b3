//! The workload of simulated worlds: chains of hashes, so that a whole run costs microseconds, and
//! so that every byte of every result depends on every input. Preparation takes several steps, is
//! saved and resumed; some datasets are rejected; a variant's results vary with every attempt. Where results are large, the
//! chain saves a checkpoint inside each dataset, as a program does that trains: it must go on from no other dataset's. The
//! chain reads the state before from scratch, as a program does, and writes to everything that it finds there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::dice::Dice;
use super::params::{Params, Results, training};
use super::scratch::{Folders, Scratch};
use worker::hash::Hash;
use worker::manifest::{Dataset, Role};
use worker::order::Period;
use worker::pipeline::{Input, Order, Pipeline, Stage, StageSpec};
use worker::workload::days;
use worker::workload::{
    Inputs, Once, Outcome, Part, PartName, ReportInput, Shown, ShownFiles, Step, Task, Wanted, Workload,
};

pub const NAME: &str = "toy";
/// The results version of most workers.
pub const VERSION: u32 = 1;
/// The parameter that makes results vary.
const VARIES: &str = "varies";
/// Prepared parts before its own that a join reads.
pub const WINDOW: u32 = 3;
pub const PREPARE: Stage = Stage(0);
pub const JOIN: Stage = Stage(1);
pub const FOLD: Stage = Stage(2);
pub const EVALUATE: Stage = Stage(3);

/// The shape of the fraud model, with one join and a shorter window.
pub const PIPELINE: Pipeline = Pipeline::new(&[
    StageSpec {
        name: "prepare",
        folder: "prepared",
        order: Order::Each,
        roles: &[Role::Train, Role::History, Role::Test],
        inputs: &[Input::Content],
    },
    StageSpec {
        name: "join",
        folder: "joined",
        order: Order::Sticky,
        roles: &[Role::Train, Role::Test],
        inputs: &[Input::Own(PREPARE), Input::LazyWindow(PREPARE)],
    },
    StageSpec {
        name: "fold",
        folder: "checkpoints",
        order: Order::Chain,
        roles: &[Role::Train],
        inputs: &[Input::Previous, Input::Own(JOIN)],
    },
    StageSpec {
        name: "evaluate",
        folder: "evals",
        order: Order::Each,
        roles: &[Role::Train],
        inputs: &[Input::Own(FOLD), Input::Own(JOIN), Input::Tests(JOIN)],
    },
]);

/// How a dataset begins that is to be rejected.
const BAD: &[u8] = b"bad";
/// Why it is.
pub const BAD_REASON: &str = "it says that it is bad";

/// The content of a dataset: what it is called, and how many steps its preparation takes.
pub fn content(path: &str, steps: u64, rejected: bool) -> Vec<u8> {
    let start = if rejected { "bad" } else { "good" };
    format!("{start} {steps} {path}").into_bytes()
}

/// A dataset's content.
pub fn content_of(params: &Params, path: &str) -> Vec<u8> {
    let rejected = params.rejects.iter().any(|reject| training(*reject) == path);
    let sum: u32 = path.bytes().map(u32::from).sum();
    content(path, u64::from(1 + sum % params.steps), rejected)
}

/// The workload; where equal inputs do not give equal bytes, each result carries a number of its own.
#[derive(Debug)]
pub struct Toy {
    salt: Option<AtomicU64>,
    results: Results,
    /// Whether the results of some stages refer to blocks.
    large: bool,
    version: u32,
    steps: Arc<AtomicU64>,
    scratch: Arc<Scratch>,
}

impl Toy {
    /// Counts its steps in `steps`. Where results differ, their numbers begin with `first`: nobody
    /// else's may be the same.
    pub fn new(params: &Params, version: u32, first: u64, steps: &Arc<AtomicU64>) -> Self {
        let (results, large) = (params.results, params.large);
        let salt = (results != Results::Same).then(|| AtomicU64::new(first));
        Self { salt, results, large, version, steps: steps.clone(), scratch: Arc::default() }
    }

    /// The same on a machine with this local disk.
    pub fn with_scratch(self, scratch: &Arc<Scratch>) -> Self {
        Self { scratch: scratch.clone(), ..self }
    }

    /// Eight bytes that differ from result to result, in the variant.
    fn salt(&self) -> Vec<u8> {
        let next = self.salt.as_ref().map(|salt| salt.fetch_add(1, Ordering::Relaxed));
        next.map_or_else(Vec::new, |salt| salt.to_le_bytes().to_vec())
    }

    fn prepare(&self, content: Vec<u8>) -> Box<dyn Task> {
        if content.starts_with(BAD) {
            return Once::task(move || prepared(&content, &[], false));
        }
        Box::new(Prepare {
            state: Hash::of(&content),
            salt: self.salt(),
            done: 0,
            total: steps_of(&content),
            steps: self.steps.clone(),
            end: End::of(self.large),
            start: Hash::of(&content),
            saved: false,
            resumes: None,
        })
    }
}

/// The stages whose results refer to blocks, where any do.
pub const LARGE: [Stage; 2] = [PREPARE, FOLD];
/// Bytes of a block.
const BLOCK_BYTES: usize = 32;

/// The block that a result refers to.
pub fn block_of(result: &[u8]) -> Vec<u8> {
    Hash::of_fields([&b"block"[..], result]).0.to_vec()
}

/// A result that refers to a block.
fn enlarged(mut result: Vec<u8>) -> Vec<u8> {
    let hash = Hash::of(&block_of(&result));
    result.extend(hash.0);
    result
}

/// A result, and the hash of the block that it refers to.
fn split(bytes: &[u8]) -> (&[u8], Option<Hash>) {
    match bytes.split_last_chunk::<32>() {
        Some((result, hash)) if result.len() >= 32 => (result, Some(Hash(*hash))),
        _ => (bytes, None),
    }
}

/// The block that a committed result refers to, where it does: its hash, and its content.
pub fn refers_to(bytes: &[u8]) -> Option<(Hash, Vec<u8>)> {
    let (result, hash) = split(bytes);
    Some((hash?, block_of(result)))
}

/// What reads a result reads: its bytes, and those of its block.
pub fn read(bytes: &[u8]) -> Vec<u8> {
    match split(bytes) {
        (result, Some(_)) => [bytes, &block_of(result)].concat(),
        _ => bytes.to_vec(),
    }
}

/// What `output/` shows of a result.
pub fn shown(bytes: &[u8]) -> Vec<u8> {
    match split(bytes) {
        (result, Some(_)) => block_of(result),
        _ => bytes.to_vec(),
    }
}

/// The end of a task: its block, where it has one, and its result.
struct End {
    large: bool,
    kept: bool,
}

impl End {
    fn of(large: bool) -> Self {
        Self { large, kept: false }
    }

    fn step(&mut self, result: Vec<u8>) -> Step {
        if self.large && !std::mem::replace(&mut self.kept, true) {
            return Step::Keep(block_of(&result));
        }
        Step::Done(Outcome::Part(if self.large { enlarged(result) } else { result }))
    }
}

/// A stage that mixes what it reads.
struct Mix {
    fields: Vec<Vec<u8>>,
    /// Whether what it has read is saved, once all is read.
    checkpoint: Checkpoint,
    /// Fields to which blocks belong, and the blocks.
    needs: VecDeque<(usize, Wanted)>,
    salt: Vec<u8>,
    /// The folders in scratch that it has not read yet; of the chain alone.
    folders: Option<(Arc<Scratch>, Folders)>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checkpoint {
    /// Starting over costs little.
    None,
    Due,
    Saved,
}

impl Mix {
    fn add(&mut self, part: &Part) {
        if let (_, Some(hash)) = split(&part.bytes) {
            let wanted = Wanted::Result { stage: part.stage, index: part.index, hash };
            self.needs.push_back((self.fields.len(), wanted));
        }
        self.fields.push(part.bytes.to_vec());
    }

    /// Takes the state before as it lies in scratch, and whatever lies in the output folder, which should be nothing.
    fn start(&mut self) {
        let Some((scratch, folders)) = self.folders.take() else { return };
        let (previous, left) = scratch.start(&folders);
        if let (Some(previous), Some(field)) = (previous, self.fields.get_mut(STATE)) {
            *field = previous;
        }
        self.fields.extend(Some(left).filter(|left| !left.is_empty()));
    }

    fn ask_for(&mut self, part: PartName) {
        self.needs.push_back((self.fields.len(), Wanted::Part(part)));
        self.fields.push(Vec::new());
    }
}

/// The field of the chain's state before.
const STATE: usize = 1;

impl Task for Mix {
    fn step(&mut self) -> Step {
        self.start();
        if let Some((_, wanted)) = self.needs.front() {
            return Step::Need(*wanted);
        }
        if self.checkpoint == Checkpoint::Due {
            self.checkpoint = Checkpoint::Saved;
            return Step::Save;
        }
        let fields: Vec<&[u8]> = self.fields.iter().map(Vec::as_slice).collect();
        self.end.step(mix(&fields, &self.salt))
    }

    fn give(&mut self, block: Vec<u8>) {
        let Some((at, wanted)) = self.needs.pop_front() else { return };
        if let (Wanted::Part(part), (_, Some(hash))) = (wanted, split(&block)) {
            let wanted = Wanted::Result { stage: part.stage, index: part.index, hash };
            self.needs.push_front((at, wanted));
        }
        self.fields[at].extend(block);
    }

    fn resumable(&self) -> bool {
        self.checkpoint != Checkpoint::None
    }

    fn save(&mut self) -> Option<Vec<u8>> {
        (self.checkpoint == Checkpoint::Saved).then(|| serde_json::to_vec(&self.fields).unwrap_or_default())
    }

    fn resume(&mut self, saved: &[u8]) {
        if let Ok(fields) = serde_json::from_slice(saved) {
            self.start();
            (self.fields, self.checkpoint) = (fields, Checkpoint::Saved);
            self.needs.clear();
        }
    }
}

/// A result: a hash over its inputs and its salt, and the salt.
pub fn mix(fields: &[&[u8]], salt: &[u8]) -> Vec<u8> {
    let hash = Hash::of_fields(fields.iter().copied().chain([salt]));
    [&hash.0[..], salt].concat()
}

/// A result of a stage after the first.
pub fn made(fields: &[Vec<u8>], salt: &[u8], large: bool) -> Outcome {
    let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
    part(mix(&fields, salt), large)
}

fn part(result: Vec<u8>, large: bool) -> Outcome {
    Outcome::Part(if large { enlarged(result) } else { result })
}

pub fn rejected() -> Outcome {
    Outcome::Rejected(BAD_REASON.to_owned())
}

/// The salt of a result of the variant.
pub fn salt_of(bytes: &[u8]) -> &[u8] {
    split(bytes).0.get(32..).unwrap_or_default()
}

/// What preparing a dataset's content comes to, with a salt.
pub fn prepared(content: &[u8], salt: &[u8], large: bool) -> Outcome {
    if content.starts_with(BAD) {
        return rejected();
    }
    let state = (0..steps_of(content)).fold(Hash::of(content), |state, _| step(state));
    part(mix(&[&state.0], salt), large)
}

/// A step of work: every bit depends on every bit before. A schedule has hundreds, so that a hash would cost too much.
fn step(state: Hash) -> Hash {
    let mut next = state;
    let mut before = 0;
    for _ in 0..2 {
        for word in next.0.chunks_exact_mut(8) {
            let seed = word.iter().fold(before, |seed: u64, byte| seed.rotate_left(8) ^ u64::from(*byte));
            before = Dice::new(seed).draw();
            word.copy_from_slice(&before.to_le_bytes());
        }
    }
    next
}

pub fn is_bad(content: &[u8]) -> bool {
    content.starts_with(BAD)
}

/// How many steps a dataset's preparation takes.
pub fn steps_of(content: &[u8]) -> u64 {
    let text = std::str::from_utf8(content).unwrap_or_default();
    let steps = text.split(' ').nth(1).and_then(|steps| steps.parse().ok());
    steps.unwrap_or(1)
}

struct Prepare {
    /// The state in the beginning.
    start: Hash,
    state: Hash,
    salt: Vec<u8>,
    done: u64,
    total: u64,
    steps: Arc<AtomicU64>,
    end: End,
    /// Whether the block of the state that is saved next was given.
    saved: bool,
    /// The block of the state that was resumed.
    resumes: Option<Hash>,
}

impl Prepare {
    /// The block that a saved state refers to.
    fn block(&self) -> Vec<u8> {
        block_of(&self.state.0)
    }
}

impl Task for Prepare {
    fn step(&mut self) -> Step {
        if let Some(hash) = self.resumes {
            return Step::Need(Wanted::Saved(hash));
        }
        if self.done < self.total {
            self.state = step(self.state);
            self.done += 1;
            self.steps.fetch_add(1, Ordering::Relaxed);
        }
        if self.done < self.total {
            return Step::More;
        }
        self.end.step(mix(&[&self.state.0], &self.salt))
    }

    fn progress(&self) -> (u64, u64) {
        (self.done, self.total.max(1))
    }

    fn resumable(&self) -> bool {
        self.total > 1 || self.end.large
    }

    /// A state whose block is another's gives a wrong result.
    fn give(&mut self, block: Vec<u8>) {
        self.resumes = None;
        if block != self.block() {
            self.state = Hash::of(&block);
        }
    }

    fn lacks(&mut self) {
        (self.resumes, self.done, self.state) = (None, 0, self.start);
    }

    fn save_block(&mut self) -> Option<Vec<u8>> {
        let gives = self.end.large && self.resumes.is_none() && !std::mem::replace(&mut self.saved, true);
        gives.then(|| self.block())
    }

    fn save(&mut self) -> Option<Vec<u8>> {
        self.saved = false;
        self.resumes.is_none().then(|| [&self.done.to_le_bytes()[..], &self.state.0].concat())
    }

    fn resume(&mut self, saved: &[u8]) {
        if let Some((done, state)) = saved.split_first_chunk::<8>()
            && let Ok(state) = state.try_into()
            && u64::from_le_bytes(*done) <= self.total
        {
            (self.done, self.state) = (u64::from_le_bytes(*done), Hash(state));
            self.resumes = self.end.large.then(|| Hash::of(&self.block()));
        }
    }
}

impl Workload for Toy {
    fn name(&self) -> &'static str {
        NAME
    }

    fn results_version(&self) -> u32 {
        self.version
    }

    fn params(&self) -> BTreeMap<String, String> {
        let varies = self.results == Results::Vary;
        varies.then(|| (VARIES.to_owned(), "yes".to_owned())).into_iter().collect()
    }

    fn deterministic(&self) -> bool {
        self.results != Results::Vary
    }

    fn period<'p>(&self, path: &'p str) -> Option<Period<'p>> {
        days::period(path)
    }

    fn pipeline(&self) -> Pipeline {
        PIPELINE
    }

    fn window(&self, _: &[Dataset], index: u32) -> Vec<u32> {
        (index.saturating_sub(WINDOW)..index).collect()
    }

    fn task(&self, stage: Stage, inputs: Inputs) -> Box<dyn Task> {
        if stage == PREPARE {
            return self.prepare(inputs.content);
        }
        let mut mix = Mix {
            fields: vec![PIPELINE.spec(stage).name.into()],
            checkpoint: if self.large && stage == FOLD { Checkpoint::Due } else { Checkpoint::None },
            needs: VecDeque::new(),
            salt: self.salt(),
            folders: (stage == FOLD).then(|| {
                let folders =
                    self.scratch.lay_out(&inputs.attempt, inputs.dataset.index, inputs.previous.as_ref());
                (self.scratch.clone(), folders)
            }),
            end: End::of(self.large && LARGE.contains(&stage)),
        };
        match (stage, &inputs.previous) {
            (JOIN, _) => mix.fields.push(inputs.dataset.path.into()),
            (FOLD, Some(previous)) => mix.add(previous),
            (FOLD, None) => mix.fields.push(Vec::new()),
            _ => {}
        }
        inputs.own.iter().for_each(|part| mix.add(part));
        inputs.lazy_window.iter().for_each(|part| mix.ask_for(*part));
        match stage {
            FOLD => mix.fields.push(inputs.lineage.0.to_vec()),
            _ => inputs.tests.iter().for_each(|part| mix.add(part)),
        }
        Box::new(mix)
    }

    fn report(&self, input: &ReportInput<'_>) -> Result<BTreeMap<String, String>, String> {
        let mut text = format!("Report generated on: {}\n", input.created);
        for dataset in input.datasets {
            text.push_str(&dataset.path);
            let eval = input.evals.binary_search_by_key(&dataset.index, |part| part.index);
            let eval = eval.ok().and_then(|at| input.evals.get(at));
            match (input.rejected.get(&dataset.index), eval) {
                (Some(reason), _) => text.push_str(&format!(" rejected: {reason}")),
                (None, Some(eval)) => text.push_str(&format!(" {}", Hash::of(&eval.bytes))),
                (None, None) => {}
            }
            text.push('\n');
        }
        for refusal in input.refused {
            text.push_str(&format!("{:?} refused: {}\n", refusal.path, refusal.reason));
        }
        if let Some(model) = input.model {
            text.push_str(&format!("model {}\n", Hash::of(&model.bytes)));
        }
        Ok(BTreeMap::from([("report.txt".to_owned(), text)]))
    }

    fn checkpoint_name(&self, stem: &str) -> String {
        format!("model_cpt_{stem}")
    }

    fn shown_files(&self, name: &str, part: &Part) -> Result<ShownFiles, String> {
        let shown = match split(&part.bytes) {
            (_, Some(hash)) => {
                let size = BLOCK_BYTES as u64;
                Shown::Blocks { bytes: size, block_bytes: size, blocks: vec![hash] }
            }
            _ => Shown::Bytes(part.bytes.clone()),
        };
        Ok(vec![(name.to_owned(), shown)])
    }
}
