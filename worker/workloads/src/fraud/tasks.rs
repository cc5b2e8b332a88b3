//! The stages' work in steps of some milliseconds.

use std::sync::{Arc, Mutex, PoisonError};

use engine::hash::Hash;
use engine::workload::{Outcome, Part, Step, Task};

use super::Learner;
use super::feature_set::FeatureSet;
use super::features;
use super::ftrl::BATCH;
use super::joined::{self, Joined};
use super::linfa;
use super::model::Model;
use super::rows::{Header, Rows};
use super::stretch;
use super::timeline::{Candidate, Layer, Past, Timeline, layers, taking_part};

/// Rows to a step of a join, at most: some 10 ms.
const JOIN_STEP_ROWS: usize = 1 << 14;

/// Rows to a step of a fold: a few milliseconds.
const FOLD_STEP_ROWS: usize = 256 * BATCH;

/// Turns prepared parts into bins. It takes the timeline for as long as it works and gives it back when
/// it is done; one that is dropped on the way costs the next join a rebuild.
///
/// What a long one saves are the bins of the rows so far. The history is rebuilt from the parts: it is larger than
/// they are, and adding a row to it takes a fraction of what its features take.
pub(super) struct Join {
    shared: Arc<Mutex<Timeline>>,
    set: FeatureSet,
    /// Of what it works on, so that it takes up no other's progress.
    key: Hash,
    own: Part,
    own_rows: usize,
    window: Vec<Part>,
    state: JoinState,
    /// The bins of the first rows, and how many rows these are.
    bins: Vec<u8>,
    row: usize,
}

enum JoinState {
    Planned,
    Working(Box<Working>),
    Ended,
}

struct Working {
    timeline: Timeline,
    /// At how many layers missing the timeline is copied for the joins after this one: where files overlap, the next
    /// file's history is not this one's with this file's rows added.
    copy_at: Option<usize>,
    copied: Option<Timeline>,
    own: Past,
    /// The time of the first row.
    now: i64,
    /// What of the window is to be pushed, the last to come first.
    missing: Vec<(Layer, Vec<Part>)>,
    rows: Rows,
    /// How many of its own rows the timeline has.
    pushed: usize,
}

impl Join {
    pub(super) fn new(shared: Arc<Mutex<Timeline>>, set: FeatureSet, own: Part, window: Vec<Part>) -> Self {
        let parts = [&own].into_iter().chain(&window).map(|part| &part.hash.0[..]);
        let key = Hash::of_fields(parts.chain([set.name().as_bytes()]));
        let own_rows = Header::decode(&own.bytes).map_or(0, |(header, _)| header.rows);
        let (state, bins) = (JoinState::Planned, Vec::new());
        Self { shared, set, key, own, own_rows, window, state, bins, row: 0 }
    }

    fn plan(&mut self) -> Result<Result<Working, String>, String> {
        let rows = Rows::decode(&self.own.bytes)?;
        let own = Candidate::decode(self.own.hash, &self.own.bytes)?;
        let window = self.window.iter().map(|part| Candidate::decode(part.hash, &part.bytes));
        let window = taking_part(window.collect::<Result<_, _>>()?);
        if let Some(reason) = own.objection(&window) {
            return Ok(Err(reason));
        }
        let now = own.header.first;
        let layers = layers(&window, now);
        let mut timeline = std::mem::take(&mut *self.shared.lock().unwrap_or_else(PoisonError::into_inner));
        // Later files see these as they are, and more of the others.
        let whole = layers.iter().take_while(|layer| layer.is_whole()).count();
        let missing = &layers[whole - timeline.missing(&layers[..whole], now)..];
        let overlaps = whole < layers.len() || layers.iter().any(Layer::is_of_several);
        let copy_at = overlaps.then_some(layers.len() - whole);
        let missing = missing.iter().rev().map(|layer| (layer.clone(), self.parts_of(layer))).collect();
        let own = Past::whole(own.hash, &own.header);
        self.window.clear();
        self.bins.resize(rows.len() * self.set.width(), 0);
        Ok(Ok(Working { timeline, copy_at, copied: None, own, now, missing, rows, pushed: 0 }))
    }

    fn parts_of(&self, layer: &Layer) -> Vec<Part> {
        let part_of = |past: &Past| self.window.iter().find(|part| part.hash == past.hash).cloned();
        layer.0.iter().filter_map(part_of).collect()
    }

    fn work(&mut self, mut working: Box<Working>) -> Result<Step, String> {
        if working.copy_at == Some(working.missing.len()) {
            working.copy_at = None;
            working.copied = Some(working.timeline.clone());
        }
        if let Some((layer, parts)) = working.missing.pop() {
            let until = layer.0.iter().map(|past| past.until);
            let rows = parts.iter().zip(until).map(|(part, until)| Ok((Rows::decode(&part.bytes)?, until)));
            let rows = Rows::merged(rows.collect::<Result<_, String>>()?);
            working.timeline.push(layer, &rows, working.now);
            self.state = JoinState::Working(working);
            return Ok(Step::More);
        }
        let stretch = stretch::of_day(&working.rows, working.pushed, JOIN_STEP_ROWS);
        working.pushed = stretch.end;
        let history = &mut working.timeline.history;
        if stretch.end <= self.row {
            // Rows of which an earlier attempt has made the features.
            history.push(&working.rows, stretch, i64::MIN);
        } else {
            self.row = stretch.end;
            let bins = &mut self.bins[stretch.start * self.set.width()..];
            features::bins_of_rows(history, &working.rows, stretch, self.set, bins);
        }
        if working.pushed < working.rows.len() {
            self.state = JoinState::Working(working);
            return Ok(Step::More);
        }
        let Working { mut timeline, copied, own, rows, .. } = *working;
        timeline.note(own);
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = copied.unwrap_or(timeline);
        Ok(Step::Done(Outcome::Part(joined::encode(&rows, self.set, &self.bins))))
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
        (self.row as u64, self.own_rows.max(1) as u64)
    }

    fn resumable(&self) -> bool {
        self.own_rows > JOIN_STEP_ROWS
    }

    fn save(&mut self) -> Option<Vec<u8>> {
        if !self.resumable() || self.row == 0 {
            return None;
        }
        let mut saved = self.key.0.to_vec();
        saved.extend((self.row as u64).to_le_bytes());
        saved.extend(self.bins.get(..self.row * self.set.width())?);
        Some(saved)
    }

    fn resume(&mut self, saved: &[u8]) {
        let Some((key, rest)) = saved.split_first_chunk::<32>() else { return };
        let Some((row, bins)) = rest.split_first_chunk::<8>() else { return };
        let row = u64::from_le_bytes(*row) as usize;
        let is_whole = row <= self.own_rows && bins.len() == row * self.set.width();
        if Hash(*key) == self.key && is_whole && matches!(self.state, JoinState::Planned) {
            self.bins = bins.to_vec();
            self.row = row;
        }
    }
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
