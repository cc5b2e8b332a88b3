//! The workload of simulated worlds: chains of hashes, so that a whole run costs microseconds, and
//! so that every byte of every result depends on every input. Preparation takes several steps, is
//! saved and resumed; some datasets are rejected; a variant's results vary with every attempt.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::params::{Params, Results, training};
use worker::hash::Hash;
use worker::manifest::Dataset;
use worker::order::Period;
use worker::pipeline::{Pipeline, Stage};
use worker::workload::days;
use worker::workload::{Inputs, Once, Outcome, ReportInput, Step, Task, Workload};

pub const NAME: &str = "toy";
/// The results version of most workers.
pub const VERSION: u32 = 1;
/// The parameter that makes results vary.
const VARIES: &str = "varies";
/// Prepared parts before its own that a join reads.
pub const WINDOW: u32 = 3;
/// The shape of the fraud model, with a shorter window.
pub use worker::workload::fraud::{EVALUATE, FOLD, JOIN, PIPELINE, PREPARE};

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
    version: u32,
    steps: Arc<AtomicU64>,
}

impl Toy {
    /// Counts its steps in `steps`. Where results differ, their numbers begin with `first`: nobody
    /// else's may be the same.
    pub fn new(results: Results, version: u32, first: u64, steps: &Arc<AtomicU64>) -> Self {
        let salt = (results != Results::Same).then(|| AtomicU64::new(first));
        Self { salt, results, version, steps: steps.clone() }
    }

    /// Eight bytes that differ from result to result, in the variant.
    fn salt(&self) -> Vec<u8> {
        let next = self.salt.as_ref().map(|salt| salt.fetch_add(1, Ordering::Relaxed));
        next.map_or_else(Vec::new, |salt| salt.to_le_bytes().to_vec())
    }

    fn prepare(&self, content: Vec<u8>) -> Box<dyn Task> {
        if content.starts_with(BAD) {
            return Once::task(move || prepared(&content, &[]));
        }
        Box::new(Prepare {
            state: Hash::of(&content),
            salt: self.salt(),
            done: 0,
            total: steps_of(&content),
            steps: self.steps.clone(),
        })
    }

    fn once(&self, fields: &[&[u8]]) -> Box<dyn Task> {
        let bytes = mix(fields, &self.salt());
        Once::task(move || Outcome::Part(bytes))
    }
}

/// A result: a hash over its inputs and its salt, and the salt.
pub fn mix(fields: &[&[u8]], salt: &[u8]) -> Vec<u8> {
    let hash = Hash::of_fields(fields.iter().copied().chain([salt]));
    [&hash.0[..], salt].concat()
}

/// A result of a stage after the first.
pub fn made(fields: &[Vec<u8>], salt: &[u8]) -> Outcome {
    let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
    Outcome::Part(mix(&fields, salt))
}

pub fn rejected() -> Outcome {
    Outcome::Rejected(BAD_REASON.to_owned())
}

/// The salt of a result of the variant.
pub fn salt_of(bytes: &[u8]) -> &[u8] {
    bytes.get(32..).unwrap_or_default()
}

/// What preparing a dataset's content comes to, with a salt.
pub fn prepared(content: &[u8], salt: &[u8]) -> Outcome {
    if content.starts_with(BAD) {
        return rejected();
    }
    let state = (0..steps_of(content)).fold(Hash::of(content), |state, _| Hash::of(&state.0));
    Outcome::Part(mix(&[&state.0], salt))
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
    state: Hash,
    salt: Vec<u8>,
    done: u64,
    total: u64,
    steps: Arc<AtomicU64>,
}

impl Task for Prepare {
    fn step(&mut self) -> Step {
        if self.done < self.total {
            self.state = Hash::of(&self.state.0);
            self.done += 1;
            self.steps.fetch_add(1, Ordering::Relaxed);
        }
        if self.done < self.total {
            return Step::More;
        }
        Step::Done(Outcome::Part(mix(&[&self.state.0], &self.salt)))
    }

    fn progress(&self) -> (u64, u64) {
        (self.done, self.total.max(1))
    }

    fn resumable(&self) -> bool {
        self.total > 1
    }

    fn save(&mut self) -> Option<Vec<u8>> {
        Some([&self.done.to_le_bytes()[..], &self.state.0].concat())
    }

    fn resume(&mut self, saved: &[u8]) {
        if let Some((done, state)) = saved.split_first_chunk::<8>()
            && let Ok(state) = state.try_into()
            && u64::from_le_bytes(*done) <= self.total
        {
            (self.done, self.state) = (u64::from_le_bytes(*done), Hash(state));
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
        let mut fields: Vec<&[u8]> = vec![PIPELINE.spec(stage).name.as_bytes()];
        let (dataset, lineage) = (inputs.dataset, inputs.lineage);
        match stage {
            JOIN => fields.push(dataset.path.as_bytes()),
            FOLD => fields.push(inputs.previous.as_ref().map_or(&b""[..], |part| &part.bytes)),
            _ => {}
        }
        fields.extend(inputs.own.iter().chain(&inputs.window).map(|part| &part.bytes[..]));
        match stage {
            FOLD => fields.push(&lineage.0),
            _ => fields.extend(inputs.tests.iter().map(|part| &part.bytes[..])),
        }
        self.once(&fields)
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
}
