//! All terminals, as of the rows pushed, with what their turn needs to know of customers.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use super::customers::Usuals;
use super::likelihood::{Likelihood, Usual};
use super::memory::{Everybody, Memory};
use super::purchase::Fraud;
use super::rows::Rows;
use super::slots::Slots;
use super::stretch::{Now, Stretch};
use super::terminal::Terminal;

#[derive(Debug, Clone, Default)]
pub(super) struct Terminals {
    slots: Slots,
    everybody: Everybody<Terminal>,
    known: Known,
}

/// What is known of the customers of frauds.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Made when the first fraud is looked at: it takes some milliseconds.
    likelihood: Arc<LazyLock<Likelihood>>,
    customers: Slots,
    /// What was usual for each before the present day.
    usual: Vec<Option<Usual>>,
}

impl Known {
    /// What was usual for the customer of a fraud.
    pub(super) fn usual(&self, fraud: &Fraud) -> Option<Usual> {
        self.usual.get(fraud.customer as usize).copied().flatten()
    }

    /// The likelihood of a fraud's amount.
    pub(super) fn ratio(&self, fraud: &Fraud) -> f64 {
        self.likelihood.ratio(fraud.cents, self.usual(fraud))
    }
}

impl Terminals {
    /// What is pending and then some rows, and how many were pending.
    fn stretch(&mut self, rows: &Rows, range: Range<usize>) -> (Stretch, usize) {
        let (mut stretch, pending) = self.everybody.take_pending(range.len());
        for row in range {
            let terminal = self.slots.of(rows.terminal[row]);
            let (time, cents, fraud) = (rows.time[row], rows.cents[row], rows.fraud[row]);
            let customer = if fraud { self.known.customers.of(rows.customer[row]) } else { u32::MAX };
            stretch.0.push(Now { customer, terminal, time, cents, fraud, judged: false });
        }
        self.everybody.grow(self.slots.len());
        (stretch, pending)
    }

    /// Adds rows and calls `each` with each one's terminal, after it was added.
    pub(super) fn visit(
        &mut self,
        rows: &Rows,
        range: Range<usize>,
        mut each: impl FnMut(&mut Terminal, &Known, usize, Now),
    ) {
        let (stretch, pending) = self.stretch(rows, range);
        let known = &self.known;
        self.everybody.add_all(&stretch, |terminal, number, now| {
            if let Some(row) = number.checked_sub(pending) {
                each(terminal, known, row, now);
            }
        });
    }

    /// Adds some rows whose features are not asked for.
    pub(super) fn push(&mut self, rows: &Rows, range: Range<usize>) {
        let (stretch, _) = self.stretch(rows, range);
        self.everybody.push(stretch);
    }

    /// Takes in what was usual before a day, in place of what it knew.
    pub(super) fn know(&mut self, usuals: &Usuals) {
        self.known.usual.clear();
        self.known.usual.resize(self.known.customers.len(), None);
        for (customer, usual) in &usuals.customers {
            if let Some(slot) = self.known.customers.find(*customer) {
                self.known.usual[slot as usize] = Some(*usual);
            }
        }
    }
}

impl Memory for Terminals {
    fn push_all(&mut self, rows: &Rows, _now: i64) {
        self.push(rows, 0..rows.len());
    }

    fn forget(&mut self, now: i64) {
        self.everybody.forget(now);
    }
}
