//! All customers, as of the rows pushed; and whose usual amounts the terminals' turn looks at.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use super::customer::Customer;
use super::likelihood::{Likelihood, Usual};
use super::memory::{Everybody, Memory};
use super::purchase::{DAY_S, DELAY_S};
use super::rows::Rows;
use super::slots::Slots;
use super::stretch::{Now, Stretch};
use super::suspicion::REACH_DAYS;

/// Days before today whose purchases are looked at one by one: for whether they were big, and how likely
/// their amounts are. (Of these each takes 13; one more harms nothing.)
const JUDGED_DAYS: i64 = 14;

#[derive(Debug, Clone, Default)]
pub(super) struct Customers {
    /// Made when the first purchase is judged: it takes some milliseconds.
    likelihood: Arc<LazyLock<Likelihood>>,
    slots: Slots,
    everybody: Everybody<Customer>,
    frauds: Frauds,
}

/// What was usual before a day for the customers of known frauds, by the customer's id, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Usuals {
    pub(super) day: i64,
    pub(super) customers: Vec<(i64, Usual)>,
}

impl Customers {
    /// What is pending and then some rows, and how many were pending. Those before `judged_from` are not judged.
    fn stretch(&mut self, rows: &Rows, range: Range<usize>, judged_from: i64) -> (Stretch, usize) {
        let (mut stretch, pending) = self.everybody.take_pending(range.len());
        for row in range {
            let customer = self.slots.of(rows.customer[row]);
            let (time, cents, fraud) = (rows.time[row], rows.cents[row], rows.fraud[row]);
            if fraud {
                self.frauds.add(rows.terminal[row], time, customer);
            }
            let judged = time >= judged_from;
            stretch.0.push(Now { customer, terminal: 0, time, cents, fraud, judged });
        }
        self.everybody.grow(self.slots.len());
        (stretch, pending)
    }

    /// Adds rows and calls `each` with each one's customer, after it was added.
    pub(super) fn spend(
        &mut self,
        rows: &Rows,
        range: Range<usize>,
        mut each: impl FnMut(&mut Customer, &Likelihood, usize, Now),
    ) {
        let (stretch, pending) = self.stretch(rows, range, i64::MIN);
        let likelihood = &self.likelihood;
        self.everybody.add_all(&stretch, |customer, number, now| {
            if let Some(row) = number.checked_sub(pending) {
                each(customer, likelihood, row, now);
            }
        });
    }

    /// Adds some rows whose features are not asked for. Those before `judged_from` are not judged.
    pub(super) fn push(&mut self, rows: &Rows, range: Range<usize>, judged_from: i64) {
        let (stretch, _) = self.stretch(rows, range, judged_from);
        self.everybody.push(stretch);
    }

    /// Notes what the terminals of some rows of one day will look at.
    pub(super) fn look_at(&mut self, rows: &Rows, range: Range<usize>) {
        for row in range {
            self.frauds.look_at(rows.terminal[row], rows.time[row].div_euclid(DAY_S));
        }
    }

    /// What was usual before a day for those whose frauds were looked at since the last call.
    pub(super) fn usuals(&mut self, day: i64) -> Usuals {
        self.everybody.flush();
        let looked_at = self.frauds.take();
        let usual = |slot: u32| Some((self.slots.id(slot), self.everybody.at(slot).usual(day * DAY_S)?));
        let mut customers: Vec<(i64, Usual)> = looked_at.into_iter().filter_map(usual).collect();
        customers.sort_unstable_by_key(|(id, _)| *id);
        Usuals { day, customers }
    }
}

impl Memory for Customers {
    fn push_all(&mut self, rows: &Rows, now: i64) {
        self.push(rows, 0..rows.len(), (now.div_euclid(DAY_S) - JUDGED_DAYS) * DAY_S);
    }

    fn forget(&mut self, now: i64) {
        if let Some(until) = self.everybody.forget(now) {
            self.frauds.forget(until);
        }
    }
}

/// The frauds of each terminal, with their customers.
#[derive(Debug, Clone, Default)]
struct Frauds {
    terminals: Slots,
    /// Of each terminal, its newest, and at which turn it was looked at last.
    of_terminal: Vec<(u32, u32)>,
    all: Vec<FraudAt>,
    turn: u32,
    looked_at: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct FraudAt {
    terminal: u32,
    time: i64,
    customer: u32,
    /// The one before it at the terminal.
    before: u32,
}

/// No fraud.
const NONE: u32 = u32::MAX;

impl Frauds {
    fn add(&mut self, terminal: i64, time: i64, customer: u32) {
        let terminal = self.terminals.of(terminal);
        self.of_terminal.resize(self.terminals.len(), (NONE, NONE));
        self.link(FraudAt { terminal, time, customer, before: NONE });
    }

    fn link(&mut self, fraud: FraudAt) {
        let newest = &mut self.of_terminal[fraud.terminal as usize].0;
        let before = std::mem::replace(newest, self.all.len() as u32);
        self.all.push(FraudAt { before, ..fraud });
    }

    /// Notes the customers of a terminal's frauds that rows of a day may look at, once a turn.
    fn look_at(&mut self, terminal: i64, day: i64) {
        let Some(slot) = self.terminals.find(terminal) else { return };
        let (newest, turn) = &mut self.of_terminal[slot as usize];
        if std::mem::replace(turn, self.turn) == self.turn {
            return;
        }
        let reach = (day - REACH_DAYS + 1) * DAY_S..(day + 1) * DAY_S - DELAY_S;
        let mut next = *newest;
        while let Some(fraud) = self.all.get(next as usize) {
            next = fraud.before;
            if reach.contains(&fraud.time) {
                self.looked_at.push(fraud.customer);
            }
        }
    }

    /// The customers whose frauds were looked at in this turn, which ends.
    fn take(&mut self) -> Vec<u32> {
        // Not the number of a terminal that was never looked at.
        self.turn = (self.turn + 1) % NONE;
        let mut looked_at = std::mem::take(&mut self.looked_at);
        looked_at.sort_unstable();
        looked_at.dedup();
        looked_at
    }

    fn forget(&mut self, until: i64) {
        self.of_terminal.iter_mut().for_each(|(newest, _)| *newest = NONE);
        for fraud in std::mem::take(&mut self.all) {
            if fraud.time > until {
                self.link(fraud);
            }
        }
    }
}
