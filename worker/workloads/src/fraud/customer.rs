//! What is remembered of one customer: purchases, windows over them, and what amounts were usual.

use crate::prefetch::prefetch;

use super::likelihood::{Cell, Usual};
use super::memory::Entity;
use super::month::Month;
use super::purchase::{DAY_S, Fraud, Purchase, Stamp, Sums, add_event};
use super::stretch::Now;

/// Ends of the customers' windows, back from now.
pub(super) const CUSTOMER_WINDOWS_S: [i64; 4] = [DAY_S, 7 * DAY_S, 30 * DAY_S, 3 * DAY_S];

/// Calendar days, today among them, in which a customer's big purchases are counted. Not more: whether
/// one was big depends on the 30 days before its own day.
pub(super) const BIG_DAYS: [i64; 3] = [3, 7, 14];

/// An amount of more than this multiple of the customer's usual is big.
pub(super) const BIG: i64 = 3;

/// Number of a customer's newest purchases that are prefetched: about those of [`JUDGED_DAYS`].
const NEWEST: usize = 28;

#[derive(Debug, Clone, Default)]
pub(super) struct Customer {
    pub(super) purchases: Vec<Purchase>,
    pub(super) frauds: Vec<Fraud>,
    /// Times of those purchases that were big when they were made.
    pub(super) big: Vec<i64>,
    windows: [Window; CUSTOMER_WINDOWS_S.len()],
    big_cursors: [usize; BIG_DAYS.len()],
    /// Of all purchases there ever were.
    all: Sums,
    month: Month,
}

/// A window's first purchase, and the sums of those before it.
#[derive(Debug, Clone, Default)]
struct Window {
    first: usize,
    before: Sums,
}

impl Window {
    /// Lets the purchases go that are not after a time.
    fn move_on(&mut self, purchases: &[Purchase], after: i64) {
        while let Some(purchase) = purchases.get(self.first).filter(|first| first.stamp.time() <= after) {
            self.before.add(purchase.cents());
            self.first += 1;
        }
    }
}

impl Customer {
    /// Sums of the `window`-th window up to `now`, both ends as pandas' rolling windows have them: after
    /// now - window, up to and with what was pushed last.
    pub(super) fn window(&mut self, window: usize, now: i64) -> Sums {
        let after = now - CUSTOMER_WINDOWS_S[window];
        let window = &mut self.windows[window];
        window.move_on(&self.purchases, after);
        self.all.less(window.before)
    }

    /// Times of the big purchases of the last [`BIG_DAYS`], the `window`-th of them.
    pub(super) fn big(&mut self, window: usize, now: i64) -> &[i64] {
        let from = (now.div_euclid(DAY_S) - BIG_DAYS[window] + 1) * DAY_S;
        let cursor = &mut self.big_cursors[window];
        while self.big.get(*cursor).is_some_and(|time| *time < from) {
            *cursor += 1;
        }
        &self.big[*cursor..]
    }

    /// What amounts were usual in the 30 days before the day of `now`.
    pub(super) fn usual(&mut self, now: i64) -> Option<Usual> {
        self.month.usual(now.div_euclid(DAY_S), &self.purchases)
    }
}

impl Entity for Customer {
    fn place(now: &Now) -> u32 {
        now.customer
    }

    fn forget(&mut self, until: i64) {
        let count = self.purchases.partition_point(|purchase| purchase.stamp.time() <= until);
        self.month.forget(count, &self.purchases);
        for window in &mut self.windows {
            window.move_on(&self.purchases, until);
            window.first = window.first.saturating_sub(count);
        }
        self.purchases.drain(..count);
        self.frauds.retain(|fraud| fraud.time > until);
        let count = self.big.partition_point(|time| *time <= until);
        self.big.drain(..count);
        self.big_cursors.iter_mut().for_each(|cursor| *cursor = cursor.saturating_sub(count));
    }

    fn add(&mut self, now: Now) {
        let usual = if now.judged { self.usual(now.time) } else { None };
        if is_big(now.cents, usual) {
            self.big.push(now.time);
        }
        let stamp = Stamp::new(now.time, now.fraud);
        add_event(&mut self.purchases, Purchase::new(stamp, now.cents, Cell::of(now.cents, usual)));
        self.all.add(now.cents);
        if now.fraud {
            self.frauds.push(now.as_fraud());
        }
    }

    fn prefetch(&self) {
        for first in [self.month.first(), self.windows[2].first] {
            if let Some(purchase) = self.purchases.get(first) {
                prefetch(purchase);
            }
        }
        prefetch(&self.purchases[self.purchases.len().saturating_sub(NEWEST)..]);
        self.month.prefetch();
    }
}

/// Whether an amount is more than [`BIG`] times the usual; nothing is where no usual is known.
pub(super) fn is_big(cents: i64, usual: Option<Usual>) -> bool {
    usual.is_some_and(|usual| cents > usual.cents.saturating_mul(BIG))
}
