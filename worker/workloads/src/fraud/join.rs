//! Joins, in steps: a dataset's rows get the features that their customers give them, and then, from these and what
//! the customers' turn says, those of their terminals. Two workers do a half each, with half of the memory.
//!
//! What a long one saves is what it has made of the rows so far. What is remembered is rebuilt from the parts: it is
//! larger than they are, and adding a row to it takes a fraction of what its features take.

use std::ops::Range;

use engine::hash::Hash;
use engine::workload::{Outcome, Part, PartName, Step, Task, Wanted};

use super::customers::{Customers, Usuals};
use super::feature_set::FeatureSet;
use super::features::{CustomerState, bin, of_customers, of_terminals};
use super::joined;
use super::memory::Memory;
use super::purchase::DAY_S;
use super::replay::{Replay, Replayed, Shared};
use super::rows::{Header, Rows};
use super::spent::Spent;
use super::stretch;
use super::terminals::Terminals;

/// Rows to a step, at most: some 10 ms.
const STEP_ROWS: usize = 1 << 14;

/// What a join makes of a dataset's rows, some at a time.
pub(super) trait Making: Send {
    type Memory: Memory;

    /// Makes room for the rows that there are.
    fn begin(&mut self, rows: &Rows) -> Result<(), String>;

    /// Makes the features of a stretch, whose rows are then remembered; of an earlier attempt's rows there are some.
    fn make(&mut self, memory: &mut Self::Memory, rows: &Rows, stretch: Range<usize>, is_made: bool);

    /// What is committed.
    fn encode(&self, rows: &Rows) -> Vec<u8>;

    /// What was made of the first rows.
    fn save(&self, rows: usize) -> Option<Vec<u8>>;

    /// Takes up what was made of the first rows; `false` if that is not what it is.
    fn resume(&mut self, saved: &[u8], rows: usize) -> bool;
}

/// A join.
pub(super) struct Join<K: Making> {
    replay: Replay<K::Memory>,
    /// Of what it works on, so that it takes up no other's progress.
    key: Hash,
    own: Part,
    own_rows: usize,
    state: State,
    /// What was wrong with a part that it was given.
    error: Option<String>,
    making: K,
    /// Of how many rows the features are made.
    row: usize,
}

enum State {
    Replaying,
    /// The dataset's rows, and how many of them are remembered.
    Working(Rows, usize),
    Ended,
}

impl<K: Making> Join<K> {
    /// `made_from` is what it is made from beside the prepared parts.
    pub(super) fn new(
        shared: Shared<K::Memory>,
        making: K,
        own: Part,
        window: Vec<PartName>,
        made_from: &[&[u8]],
    ) -> Self {
        let hashes: Vec<Hash> = [own.hash].into_iter().chain(window.iter().map(|part| part.hash)).collect();
        let parts = hashes.iter().map(|hash| &hash.0[..]);
        let key = Hash::of_fields(parts.chain(made_from.iter().copied()));
        let own_rows = Header::decode(&own.bytes).map_or(0, |(header, _)| header.rows);
        let replay = Replay::new(shared, own.clone(), window);
        Self { replay, key, own, own_rows, state: State::Replaying, error: None, making, row: 0 }
    }

    fn go_on(&mut self) -> Result<Step, String> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Replaying => {
                self.state = State::Replaying;
                match self.replay.step()? {
                    Replayed::Need(part) => return Ok(Step::Need(Wanted::Part(part))),
                    Replayed::Rejected(reason) => return Ok(Step::Done(Outcome::Rejected(reason))),
                    Replayed::More => {}
                    Replayed::Ready => {
                        let rows = Rows::decode(&self.own.bytes)?;
                        self.making.begin(&rows)?;
                        self.state = State::Working(rows, 0);
                    }
                }
                Ok(Step::More)
            }
            State::Working(rows, remembered) => Ok(self.work(rows, remembered)),
            State::Ended => Ok(Step::More),
        }
    }

    fn work(&mut self, rows: Rows, remembered: usize) -> Step {
        let Some(memory) = self.replay.memory() else { return Step::More };
        let stretch = stretch::of_day(&rows, remembered, STEP_ROWS);
        let end = stretch.end;
        self.making.make(memory, &rows, stretch, end <= self.row);
        self.row = self.row.max(end);
        if end < rows.len() {
            self.state = State::Working(rows, end);
            return Step::More;
        }
        self.replay.end();
        Step::Done(Outcome::Part(self.making.encode(&rows)))
    }
}

impl<K: Making> Task for Join<K> {
    fn step(&mut self) -> Step {
        self.go_on().unwrap_or_else(|error| Step::Failed(format!("read what a join is made from: {error}")))
    }

    fn give(&mut self, bytes: Vec<u8>) {
        self.error = self.replay.give(&bytes).err();
    }

    fn progress(&self) -> (u64, u64) {
        (self.row as u64, self.own_rows.max(1) as u64)
    }

    fn resumable(&self) -> bool {
        self.own_rows > STEP_ROWS
    }

    fn save(&mut self) -> Option<Vec<u8>> {
        if !self.resumable() || self.row == 0 {
            return None;
        }
        let mut saved = self.key.0.to_vec();
        saved.extend((self.row as u64).to_le_bytes());
        saved.extend(self.making.save(self.row)?);
        Some(saved)
    }

    fn resume(&mut self, saved: &[u8]) {
        let Some((key, rest)) = saved.split_first_chunk::<32>() else { return };
        let Some((row, made)) = rest.split_first_chunk::<8>() else { return };
        let row = u64::from_le_bytes(*row) as usize;
        let is_own = Hash(*key) == self.key && row <= self.own_rows;
        if is_own && matches!(self.state, State::Replaying) && self.making.resume(made, row) {
            self.row = row;
        }
    }
}

/// What the customers give.
pub(super) struct OfCustomers {
    set: FeatureSet,
    /// The place of each of the set's features among the customers'.
    places: Vec<usize>,
    width: usize,
    spent: Spent,
}

impl OfCustomers {
    pub(super) fn new(set: FeatureSet) -> Self {
        let own = set.places(true);
        let mut places = vec![0; set.width()];
        own.iter().enumerate().for_each(|(place, (column, _))| places[*column] = place);
        Self { set, places, width: own.len(), spent: Spent::default() }
    }
}

/// Bytes of a row's state, as it is saved.
const STATE_BYTES: usize = 9;

impl Making for OfCustomers {
    type Memory = Customers;

    fn begin(&mut self, rows: &Rows) -> Result<(), String> {
        self.spent.bins.resize(rows.len() * self.width, 0);
        self.spent.states.resize(rows.len(), CustomerState::default());
        Ok(())
    }

    fn make(&mut self, customers: &mut Customers, rows: &Rows, stretch: Range<usize>, is_made: bool) {
        if is_made {
            customers.push(rows, stretch.clone(), i64::MIN);
        } else {
            let features: Vec<usize> = self.set.features().collect();
            let bins = &mut self.spent.bins[stretch.start * self.width..];
            let states = &mut self.spent.states[stretch.clone()];
            of_customers(customers, rows, stretch.clone(), self.set, states, &mut |row, column, value| {
                bins[row * self.width + self.places[column]] = bin(features[column], value);
            });
        }
        if !self.set.asks_usual() {
            return;
        }
        let day = |row: usize| rows.time.get(row).map(|time| time.div_euclid(DAY_S));
        let (own, next) = (day(stretch.start), day(stretch.end));
        customers.look_at(rows, stretch);
        if let Some(own) = own.filter(|_| own != next) {
            self.spent.days.push(customers.usuals(own));
        }
    }

    fn encode(&self, _rows: &Rows) -> Vec<u8> {
        self.spent.encode(self.set)
    }

    fn save(&self, rows: usize) -> Option<Vec<u8>> {
        let mut saved = self.spent.bins.get(..rows * self.width)?.to_vec();
        for state in self.spent.states.get(..rows)? {
            saved.push(state.level);
            saved.extend(state.misused.to_le_bytes());
        }
        Some(saved)
    }

    fn resume(&mut self, saved: &[u8], rows: usize) -> bool {
        if saved.len() != rows * (self.width + STATE_BYTES) {
            return false;
        }
        let (bins, states) = saved.split_at(rows * self.width);
        let state = |bytes: &[u8; STATE_BYTES]| {
            let [level, misused @ ..] = *bytes;
            CustomerState { level, misused: f64::from_le_bytes(misused) }
        };
        self.spent.bins = bins.to_vec();
        self.spent.states = states.as_chunks().0.iter().map(state).collect();
        true
    }
}

/// What the terminals give, beside what the customers gave: all features.
pub(super) struct OfTerminals {
    set: FeatureSet,
    spent: Part,
    states: Vec<CustomerState>,
    days: std::vec::IntoIter<Usuals>,
    /// The day of which it is known what was usual.
    day: Option<i64>,
    bins: Vec<u8>,
}

impl OfTerminals {
    pub(super) fn new(set: FeatureSet, spent: Part) -> Self {
        let (states, days, bins) = Default::default();
        Self { set, spent, states, days, day: None, bins }
    }
}

impl Making for OfTerminals {
    type Memory = Terminals;

    fn begin(&mut self, rows: &Rows) -> Result<(), String> {
        let Spent { bins, states, days } = Spent::decode(&self.spent.bytes, self.set)?;
        if states.len() != rows.len() {
            return Err(format!("{} rows, of which the customers' turn has {}", rows.len(), states.len()));
        }
        (self.states, self.days) = (states, days.into_iter());
        let (width, own) = (self.set.width(), self.set.places(true));
        self.bins.resize(rows.len() * width, 0);
        for (all, bins) in self.bins.chunks_exact_mut(width).zip(bins.chunks_exact(own.len())) {
            own.iter().zip(bins).for_each(|((column, _), bin)| all[*column] = *bin);
        }
        Ok(())
    }

    fn make(&mut self, terminals: &mut Terminals, rows: &Rows, stretch: Range<usize>, is_made: bool) {
        if is_made {
            terminals.push(rows, stretch);
            return;
        }
        let day = rows.time.get(stretch.start).map(|time| time.div_euclid(DAY_S));
        if self.set.asks_usual() && self.day != day {
            let usuals = self.days.find(|usuals| Some(usuals.day) == day);
            terminals.know(&usuals.unwrap_or_default());
            self.day = day;
        }
        let (width, features) = (self.set.width(), self.set.features().collect::<Vec<_>>());
        let bins = &mut self.bins[stretch.start * width..];
        let states = &self.states[stretch.clone()];
        of_terminals(terminals, rows, stretch, self.set, states, &mut |row, column, value| {
            bins[row * width + column] = bin(features[column], value);
        });
    }

    fn encode(&self, rows: &Rows) -> Vec<u8> {
        joined::encode(rows, self.set, &self.bins)
    }

    fn save(&self, rows: usize) -> Option<Vec<u8>> {
        self.bins.get(..rows * self.set.width()).map(<[u8]>::to_vec)
    }

    fn resume(&mut self, saved: &[u8], rows: usize) -> bool {
        let is_whole = saved.len() == rows * self.set.width();
        if is_whole {
            self.bins = saved.to_vec();
        }
        is_whole
    }
}
