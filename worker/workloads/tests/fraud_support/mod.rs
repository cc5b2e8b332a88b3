//! Drives the fraud workload as the runner does, without one: parts in memory, tasks to their end.
#![allow(dead_code, reason = "each test program uses its own part of this")]

pub mod days;
pub mod handbook;

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::hash::Hash;
use engine::manifest::{Dataset, Refusal, Role};
use engine::pipeline::Stage;
use engine::workload::{Outcome, Part, PartName, ReportInput, Step, Task, Wanted, Workload};
use workloads::fraud::Fraud;
use workloads::fraud::rows::Rows;

/// Seconds since 1970 at which 2018-04-01 begins.
pub const APRIL_S: i64 = 17_622 * 86_400;

pub fn finish(task: Box<dyn Task>) -> Outcome {
    finish_with(task, &[])
}

/// A step that needs nothing: what those before it need is given from these parts.
pub fn step_with(task: &mut Box<dyn Task>, parts: &[Part]) -> Step {
    loop {
        match task.step() {
            Step::Need(Wanted::Part(name)) => {
                let part = parts.iter().find(|part| part.hash == name.hash).expect("a part of the window");
                task.give(part.bytes.to_vec());
            }
            step => return step,
        }
    }
}

/// Does a task that asks for parts of its window.
pub fn finish_with(mut task: Box<dyn Task>, parts: &[Part]) -> Outcome {
    for _ in 0..1_000_000 {
        match step_with(&mut task, parts) {
            Step::More => {}
            Step::Done(outcome) => return outcome,
            Step::Need(_) | Step::Keep(_) | Step::Save | Step::NotReady(_) | Step::Stopped => {
                panic!("nothing was to be waited for")
            }
            Step::Failed(error) => panic!("failed to {error}"),
        }
    }
    panic!("a task of over a million steps");
}

pub fn part(index: u32, bytes: Vec<u8>) -> Part {
    Part { stage: Stage(0), index, hash: Hash::of(&bytes), bytes: Arc::new(bytes) }
}

pub fn dataset(index: u32, path: &str, role: Role) -> Dataset {
    Dataset { index, path: path.to_owned(), role, bytes: 0, blocks: Vec::new() }
}

/// A run of the workload over prepared rows.
pub struct Chain {
    pub datasets: Vec<Dataset>,
    pub prepared: Vec<Part>,
    pub joined: BTreeMap<u32, Part>,
    pub checkpoints: BTreeMap<u32, Part>,
    pub evals: Vec<Part>,
    pub rejected: BTreeMap<u32, String>,
    pub refused: Vec<Refusal>,
}

impl Chain {
    pub fn new(days: Vec<(Rows, Role)>) -> Self {
        let mut datasets = Vec::new();
        let mut prepared = Vec::new();
        for (index, (rows, role)) in days.into_iter().enumerate() {
            datasets.push(dataset(index as u32, &rows.path, role));
            prepared.push(part(index as u32, rows.encode()));
        }
        let (joined, checkpoints) = (BTreeMap::new(), BTreeMap::new());
        Self {
            datasets,
            prepared,
            joined,
            checkpoints,
            evals: Vec::new(),
            rejected: BTreeMap::new(),
            refused: Vec::new(),
        }
    }

    pub fn join_one(&self, fraud: &Fraud, index: u32) -> Outcome {
        let window: Vec<PartName> = fraud
            .window(&self.datasets, index)
            .into_iter()
            .map(|index| PartName::from(&self.prepared[index as usize]))
            .collect();
        let own = &self.prepared[index as usize];
        let customers = match finish_with(fraud.customers(own, &window), &self.prepared) {
            Outcome::Part(bytes) => part(index, bytes),
            rejected => return rejected,
        };
        finish_with(fraud.join(own, &window, &customers), &self.prepared)
    }

    pub fn join(&mut self, fraud: &Fraud) {
        for index in 0..self.datasets.len() as u32 {
            if self.datasets[index as usize].role == Role::History {
                continue;
            }
            match self.join_one(fraud, index) {
                Outcome::Part(bytes) => drop(self.joined.insert(index, part(index, bytes))),
                Outcome::Rejected(reason) => drop(self.rejected.insert(index, reason)),
            }
        }
    }

    pub fn of_role(&self, role: Role) -> Vec<u32> {
        let joined = |dataset: &&Dataset| dataset.role == role && self.joined.contains_key(&dataset.index);
        self.datasets.iter().filter(joined).map(|dataset| dataset.index).collect()
    }

    pub fn fold(&mut self, fraud: &Fraud) {
        let mut previous: Option<Part> = None;
        let mut lineage = Hash::default();
        for index in self.of_role(Role::Train) {
            let joined = &self.joined[&index];
            lineage = Hash::of_fields([&lineage.0[..], &joined.hash.0[..]]);
            let task = fraud.fold(previous.as_ref(), joined, lineage);
            let Outcome::Part(bytes) = finish(task) else { panic!("a fold rejects nothing") };
            let checkpoint = part(index, bytes);
            self.checkpoints.insert(index, checkpoint.clone());
            previous = Some(checkpoint);
        }
    }

    pub fn evaluate(&mut self, fraud: &Fraud, only: impl Fn(u32) -> bool) {
        let tests: Vec<Part> =
            self.of_role(Role::Test).iter().map(|index| self.joined[index].clone()).collect();
        for (index, checkpoint) in self.checkpoints.iter().filter(|(index, _)| only(**index)) {
            let task = fraud.evaluate(checkpoint, &self.joined[index], &tests);
            let Outcome::Part(bytes) = finish(task) else { panic!("an evaluation rejects nothing") };
            self.evals.push(part(*index, bytes));
        }
    }

    pub fn report(&self, fraud: &Fraud) -> BTreeMap<String, String> {
        let input = ReportInput {
            created: "2018-08-14",
            datasets: &self.datasets,
            own_from: 0,
            rejected: &self.rejected,
            refused: &self.refused,
            evals: &self.evals,
            model: self.checkpoints.values().last(),
            end: None,
        };
        fraud.report(&input).expect("its own parts")
    }
}
