//! A workload whose datasets take longer: after the real preparation of each, a chain of hashes
//! that is computed, saved and resumed like any long work. For people whose laptop is too fast to
//! be preempted, and for tests. Its result is committed with the part, so that a wrong resumption
//! is seen; it reaches neither model nor report.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::hash::Hash;
use engine::manifest::Dataset;
use engine::order::Period;
use engine::pipeline::{Input, Pipeline, Stage};
use engine::workload::{Curve, Inputs, Outcome, Part, ReportInput, Step, Task, Wanted, Workload};

/// The parameter, in the manifest, that holds the number of rounds.
pub const PARAM: &str = "longer_rounds";

/// Rounds of hashing that take about a millisecond: what a step does.
pub const ROUNDS_PER_STEP: u64 = 4_000;

const DIGEST_BYTES: usize = 32;

/// The stage that takes longer.
const FIRST: Stage = Stage(0);

/// The decorator.
pub struct Longer {
    inner: Arc<dyn Workload>,
    rounds: u64,
}

impl std::fmt::Debug for Longer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Longer({}, {} rounds)", self.inner.name(), self.rounds)
    }
}

impl Longer {
    pub fn new(inner: Arc<dyn Workload>, rounds: u64) -> Self {
        Self { inner, rounds }
    }
}

/// One round after another, from the dataset's own hash.
pub fn chain(mut state: Hash, rounds: u64) -> Hash {
    for _ in 0..rounds {
        state = Hash::of(&state.0);
    }
    state
}

struct LongerTask {
    inner: Option<Box<dyn Task>>,
    outcome: Option<Vec<u8>>,
    state: Hash,
    done: u64,
    rounds: u64,
}

impl Task for LongerTask {
    fn step(&mut self) -> Step {
        if let Some(inner) = &mut self.inner {
            match inner.step() {
                Step::Done(Outcome::Part(bytes)) => self.outcome = Some(bytes),
                other => return other,
            }
            self.inner = None;
        }
        let rounds = ROUNDS_PER_STEP.min(self.rounds - self.done);
        self.state = chain(self.state, rounds);
        self.done += rounds;
        if self.done < self.rounds {
            return Step::More;
        }
        let mut bytes = self.outcome.take().unwrap_or_default();
        bytes.extend(self.state.0);
        Step::Done(Outcome::Part(bytes))
    }

    fn give(&mut self, block: Vec<u8>) {
        if let Some(inner) = &mut self.inner {
            inner.give(block);
        }
    }

    fn progress(&self) -> (u64, u64) {
        (self.done, self.rounds.max(1))
    }

    fn resumable(&self) -> bool {
        self.rounds > 0
    }

    fn save(&mut self) -> Option<Vec<u8>> {
        (self.done > 0).then(|| [&self.done.to_le_bytes()[..], &self.state.0].concat())
    }

    fn resume(&mut self, saved: &[u8]) {
        let Some((done, state)) = saved.split_first_chunk::<8>() else {
            return;
        };
        let done = u64::from_le_bytes(*done);
        if let Ok(state) = state.try_into()
            && done <= self.rounds
        {
            (self.done, self.state) = (done, Hash(state));
        }
    }
}

/// A task that is given parts of the first stage without their digests.
struct Stripping {
    inner: Box<dyn Task>,
    /// Whether what it asked for last is one.
    strips: bool,
}

impl Task for Stripping {
    fn step(&mut self) -> Step {
        let step = self.inner.step();
        self.strips = matches!(step, Step::Need(Wanted::Part(name)) if name.stage == FIRST);
        step
    }

    fn give(&mut self, mut block: Vec<u8>) {
        if self.strips {
            block.truncate(block.len().saturating_sub(DIGEST_BYTES));
        }
        self.inner.give(block);
    }

    fn lacks(&mut self) {
        self.inner.lacks();
    }

    fn progress(&self) -> (u64, u64) {
        self.inner.progress()
    }

    fn resumable(&self) -> bool {
        self.inner.resumable()
    }

    fn save_block(&mut self) -> Option<Vec<u8>> {
        self.inner.save_block()
    }

    fn save(&mut self) -> Option<Vec<u8>> {
        self.inner.save()
    }

    fn resume(&mut self, saved: &[u8]) {
        self.inner.resume(saved);
    }

    fn stop(&mut self) -> bool {
        self.inner.stop()
    }
}

/// The part without the digest that `prepare` added.
fn strip(part: &Part) -> Part {
    let kept = part.bytes.len().saturating_sub(DIGEST_BYTES);
    Part {
        stage: part.stage,
        index: part.index,
        hash: part.hash,
        bytes: Arc::new(part.bytes[..kept].to_vec()),
    }
}

impl Workload for Longer {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn results_version(&self) -> u32 {
        self.inner.results_version()
    }

    fn params(&self) -> BTreeMap<String, String> {
        let mut params = self.inner.params();
        params.insert(PARAM.to_owned(), self.rounds.to_string());
        params
    }

    fn deterministic(&self) -> bool {
        self.inner.deterministic()
    }

    fn ordered(&self) -> bool {
        self.inner.ordered()
    }

    fn window(&self, datasets: &[Dataset], index: u32) -> Vec<u32> {
        self.inner.window(datasets, index)
    }

    fn is_dataset(&self, path: &str) -> bool {
        self.inner.is_dataset(path)
    }

    fn datasets_in_words(&self) -> &'static str {
        self.inner.datasets_in_words()
    }

    fn period<'p>(&self, path: &'p str) -> Option<Period<'p>> {
        self.inner.period(path)
    }

    fn pipeline(&self) -> Pipeline {
        self.inner.pipeline()
    }

    fn task(&self, stage: Stage, mut inputs: Inputs) -> Box<dyn Task> {
        if stage == FIRST {
            let state = inputs.dataset.hash();
            let inner = Some(self.inner.task(stage, inputs));
            return Box::new(LongerTask { inner, outcome: None, state, done: 0, rounds: self.rounds });
        }
        // Results of the first stage are read as they were before the digest was added.
        let inputs_of = self.inner.pipeline().spec(stage).inputs;
        let owns = inputs_of.iter().filter(|input| matches!(input, Input::Own(_)));
        for (part, _) in inputs.own.iter_mut().zip(owns).filter(|(_, input)| **input == Input::Own(FIRST)) {
            *part = strip(part);
        }
        if inputs_of.contains(&Input::Window(FIRST)) {
            inputs.window = inputs.window.iter().map(strip).collect();
        }
        let inner = self.inner.task(stage, inputs);
        match inputs_of.contains(&Input::LazyWindow(FIRST)) {
            true => Box::new(Stripping { inner, strips: false }),
            false => inner,
        }
    }

    fn report(&self, input: &ReportInput<'_>) -> Result<BTreeMap<String, String>, String> {
        self.inner.report(input)
    }

    fn headline(&self, file: &dyn Fn(&str) -> Option<Vec<u8>>) -> BTreeMap<String, f64> {
        self.inner.headline(file)
    }

    fn curves(&self, file: &dyn Fn(&str) -> Option<Vec<u8>>) -> Vec<Curve> {
        self.inner.curves(file)
    }

    fn checkpoint_name(&self, stem: &str) -> String {
        self.inner.checkpoint_name(stem)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use engine::workload::Once;

    fn task(rounds: u64) -> LongerTask {
        let inner = Once::task(|| Outcome::Part(b"part".to_vec()));
        LongerTask { inner: Some(inner), outcome: None, state: Hash::of(b"data"), done: 0, rounds }
    }

    fn finish(task: &mut LongerTask) -> Vec<u8> {
        loop {
            if let Step::Done(Outcome::Part(bytes)) = task.step() {
                return bytes;
            }
        }
    }

    proptest! {
        /// However often it is interrupted, the result is that of an undisturbed task.
        #[test]
        fn interrupted_work_ends_as_if_it_had_not_been(rounds in 0..20_000u64, steps in prop::collection::vec(0..4usize, 0..4)) {
            let undisturbed = finish(&mut task(rounds));
            let mut saved: Option<Vec<u8>> = None;
            for steps in steps {
                let mut attempt = task(rounds);
                if let Some(saved) = &saved {
                    attempt.resume(saved);
                }
                let ended = (0..steps).any(|_| matches!(attempt.step(), Step::Done(_)));
                if ended {
                    break;
                }
                saved = attempt.save().or(saved);
            }
            let mut last = task(rounds);
            last.resume(&saved.unwrap_or_default());
            prop_assert_eq!(finish(&mut last), undisturbed);
        }

        #[test]
        fn other_bytes_are_no_state(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut task = task(100);
            task.resume(&bytes);
            prop_assert!(task.done <= 100);
        }
    }
}
