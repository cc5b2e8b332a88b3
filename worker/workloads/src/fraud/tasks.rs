//! The fold's work in steps of some milliseconds.

use std::sync::Arc;

use engine::hash::Hash;
use engine::workload::{Outcome, Step, Task};

use super::Learner;
use super::ftrl::BATCH;
use super::joined::Joined;
use super::linfa;
use super::model::Model;

/// Rows to a step of a fold: a few milliseconds.
const FOLD_STEP_ROWS: usize = 256 * BATCH;

/// Learns from a joined part, from where the previous checkpoint stopped.
pub(super) struct Fold {
    /// Of what it works on, so that it takes up no other's progress.
    key: Hash,
    learner: Learner,
    model: Model,
    joined: Arc<Joined>,
    row: usize,
}

impl Fold {
    pub(super) fn new(key: Hash, learner: Learner, model: Model, joined: Arc<Joined>) -> Self {
        Self { key, learner, model, joined, row: 0 }
    }
}

impl Task for Fold {
    fn step(&mut self) -> Step {
        let end = self.joined.len().min(self.row + FOLD_STEP_ROWS);
        let fraud = &self.joined.labels.fraud[self.row..end];
        let features = self.joined.set.width();
        let bins = &self.joined.bins()[self.row * features..end * features];
        match self.learner {
            Learner::Ftrl => self.model.chains.learn(bins, fraud),
            Learner::Linfa => match linfa::learn(&self.model.chains, bins, fraud) {
                Ok(chains) => self.model.chains = chains,
                Err(error) => return Step::Failed(format!("learn with linfa: {error}")),
            },
        }
        self.model.rows += fraud.len() as u64;
        self.model.frauds += fraud.iter().filter(|fraud| **fraud).count() as u64;
        self.row = end;
        if end < self.joined.len() { Step::More } else { Step::Done(Outcome::Part(self.model.encode())) }
    }

    fn progress(&self) -> (u64, u64) {
        (self.row as u64, self.joined.len().max(1) as u64)
    }

    fn resumable(&self) -> bool {
        self.joined.len() > FOLD_STEP_ROWS
    }

    fn save(&mut self) -> Option<Vec<u8>> {
        let mut saved = self.key.0.to_vec();
        saved.extend((self.row as u64).to_le_bytes());
        saved.extend(self.model.encode());
        Some(saved)
    }

    fn resume(&mut self, saved: &[u8]) {
        let Some((key, rest)) = saved.split_first_chunk::<32>() else { return };
        let Some((row, model)) = rest.split_first_chunk::<8>() else { return };
        let row = u64::from_le_bytes(*row) as usize;
        if Hash(*key) != self.key || row > self.joined.len() {
            return;
        }
        if let Ok(model) = Model::decode(model)
            && model.lineage == self.model.lineage
        {
            self.model = model;
            self.row = row;
        }
    }
}
