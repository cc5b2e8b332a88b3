//! The stages' work in steps of some milliseconds.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::ToSpan;
use jiff::civil::{DateTime, date};

use crate::hash::Hash;
use crate::workload::{Outcome, Part, Step, Task};

use super::Learner;
use super::features::{self, FeatureSet};
use super::ftrl::BATCH;
use super::joined::{self, Joined};
use super::linfa;
use super::model::Model;
use super::rows::{Header, Rows};
use super::stretch;
use super::timeline::{Past, Timeline, in_order};

/// Rows to a step of a join, at most: some 10 ms.
const JOIN_STEP_ROWS: usize = 1 << 14;

/// Rows to a step of a fold: a few milliseconds.
const FOLD_STEP_ROWS: usize = 256 * BATCH;

/// Turns prepared parts into bins. It takes the timeline for as long as it works and gives it back when
/// it is done; one that is dropped on the way costs the next join a rebuild.
pub(super) struct Join {
    shared: Arc<Mutex<Timeline>>,
    set: FeatureSet,
    own: Part,
    window: Vec<Part>,
    state: JoinState,
    row: usize,
}

enum JoinState {
    Planned,
    Working(Box<Working>),
    Ended,
}

struct Working {
    timeline: Timeline,
    past: Past,
    /// Parts of the window to be pushed, the last to come first.
    missing: Vec<(Past, Part)>,
    rows: Rows,
    bins: Vec<u8>,
}

impl Join {
    pub(super) fn new(shared: Arc<Mutex<Timeline>>, set: FeatureSet, own: Part, window: Vec<Part>) -> Self {
        Self { shared, set, own, window, state: JoinState::Planned, row: 0 }
    }

    fn plan(&mut self) -> Result<Result<Working, String>, String> {
        let rows = Rows::decode(&self.own.bytes)?;
        let past = Past { hash: self.own.hash, header: Header::decode(&self.own.bytes)? };
        let mut parts = Vec::new();
        for part in &self.window {
            parts.push(Past { hash: part.hash, header: Header::decode(&part.bytes)? });
        }
        let window = in_order(parts);
        if let Some(last) = window.last().filter(|last| last.header.last >= past.header.first) {
            return Ok(Err(format!(
                "its transactions begin at {}, not after those of {}, which go until {}",
                text_of(past.header.first),
                last.header.path,
                text_of(last.header.last),
            )));
        }
        let mut timeline = std::mem::take(&mut *self.shared.lock().unwrap_or_else(PoisonError::into_inner));
        let missing = timeline.missing(&window, past.header.first);
        let part_of = |past: &Past| self.window.iter().find(|part| part.hash == past.hash).cloned();
        let missing = window[window.len() - missing..]
            .iter()
            .rev()
            .filter_map(|past| Some((past.clone(), part_of(past)?)))
            .collect();
        self.window.clear();
        let bins = vec![0; rows.len() * self.set.width()];
        Ok(Ok(Working { timeline, past, missing, rows, bins }))
    }

    fn work(&mut self, mut working: Box<Working>) -> Result<Step, String> {
        if let Some((past, part)) = working.missing.pop() {
            let rows = Rows::decode(&part.bytes)?;
            working.timeline.push(past, &rows, working.past.header.first);
            self.state = JoinState::Working(working);
            return Ok(Step::More);
        }
        let stretch = stretch::of_day(&working.rows, self.row, JOIN_STEP_ROWS);
        self.row = stretch.end;
        working.advance(stretch, self.set);
        if self.row < working.rows.len() {
            self.state = JoinState::Working(working);
            return Ok(Step::More);
        }
        let Working { mut timeline, past, rows, bins, .. } = *working;
        timeline.note(past);
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = timeline;
        Ok(Step::Done(Outcome::Part(joined::encode(&rows, self.set, &bins))))
    }
}

impl Working {
    fn advance(&mut self, stretch: Range<usize>, set: FeatureSet) {
        let history = &mut self.timeline.history;
        let bins = &mut self.bins[stretch.start * set.width()..];
        features::bins_of_rows(history, &self.rows, stretch, set, bins);
    }
}

impl Task for Join {
    fn step(&mut self) -> Step {
        let result = match std::mem::replace(&mut self.state, JoinState::Ended) {
            JoinState::Planned => match self.plan() {
                Ok(Ok(working)) => {
                    self.state = JoinState::Working(Box::new(working));
                    Ok(Step::More)
                }
                Ok(Err(reason)) => Ok(Step::Done(Outcome::Rejected(reason))),
                Err(error) => Err(error),
            },
            JoinState::Working(working) => self.work(working),
            JoinState::Ended => Ok(Step::More),
        };
        result.unwrap_or_else(|error| Step::Failed(format!("read a prepared part: {error}")))
    }

    fn progress(&self) -> (u64, u64) {
        match &self.state {
            JoinState::Working(working) => (self.row as u64, working.rows.len() as u64),
            _ => (0, 1),
        }
    }
}

/// A time as a person reads it.
pub(super) fn text_of(time: i64) -> String {
    date(1970, 1, 1)
        .at(0, 0, 0, 0)
        .checked_add(time.seconds())
        .map_or_else(|_| format!("{time} s"), |at: DateTime| at.to_string())
}

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

    fn save(&self) -> Option<Vec<u8>> {
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
