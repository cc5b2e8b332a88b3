//! One purchase, one fraud, and the sums of many purchases, as history keeps them.

use crate::input::CENTS_MAX;

use super::likelihood::Cell;

/// Seconds of a day.
pub(super) const DAY_S: i64 = 86_400;

/// Labels of a transaction are known this long after it.
pub(super) const DELAY_S: i64 = 7 * DAY_S;

/// How many of a customer's purchases, or of a terminal's visits or frauds, are looked at one by one: the newest.
/// The handbook's customers make at most 88 purchases in the 14 days that count, and its terminals have at most 105
/// visits in 44 days. An id that stands for many people (guests, "unknown", 0) may have 200,000 a day, and looking at
/// all of them for each of them would take hours. Counts and sums are of all rows.
pub(super) const LOOKED_AT_MAX: usize = 256;

/// The newest of some events, at most [`LOOKED_AT_MAX`].
pub(super) fn newest<T>(events: &[T]) -> &[T] {
    &events[events.len().saturating_sub(LOOKED_AT_MAX)..]
}

/// Adds an event where room grows by a quarter, not twofold: what is remembered are mostly these.
pub(super) fn add_event<T>(events: &mut Vec<T>, event: T) {
    if events.len() == events.capacity() {
        events.reserve_exact((events.len() / 4).max(4));
    }
    events.push(event);
}

/// Amounts count up to this (about 10,000.00) in squares, so that their sums fit an i64.
const SQUARED_CENTS_MAX: i64 = 1 << 20;

/// When a transaction took place and whether it was a fraud, in eight bytes: history is larger than a
/// processor's caches, and most of the time goes into waiting for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp(i64);

impl Stamp {
    /// Times are those of the years 1900 to 9999: far from the bit that this takes.
    pub(super) fn new(time: i64, fraud: bool) -> Self {
        Self(time << 1 | i64::from(fraud))
    }

    pub(super) fn time(self) -> i64 {
        self.0 >> 1
    }

    /// Days since 1970-01-01.
    pub(super) fn day(self) -> i64 {
        self.time().div_euclid(DAY_S)
    }

    /// Known or not: who asks looks only at those older than the delay.
    pub(super) fn is_fraud(self) -> bool {
        self.0 & 1 == 1
    }
}

/// One purchase of a customer, in sixteen bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Purchase {
    pub(super) stamp: Stamp,
    /// The amount, and where the likelihood of it is, from the purchases of the 30 days before its day.
    cents_and_cell: i64,
}

impl Purchase {
    pub(super) fn new(stamp: Stamp, cents: i64, cell: Cell) -> Self {
        const { assert!(CENTS_MAX << Cell::BITS >> Cell::BITS == CENTS_MAX, "amounts fit beside a cell") };
        Self { stamp, cents_and_cell: cents << Cell::BITS | i64::from(cell.0) }
    }

    pub(super) fn cents(self) -> i64 {
        self.cents_and_cell >> Cell::BITS
    }

    pub(super) fn cell(self) -> Cell {
        Cell((self.cents_and_cell & ((1 << Cell::BITS) - 1)) as u16)
    }
}

/// Count and sums of a window of purchases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sums {
    pub(super) count: i64,
    pub(super) cents: i64,
    squares: i64,
}

impl Sums {
    /// With one more. They wrap around: what counts is the difference of two.
    pub(super) fn add(&mut self, cents: i64) {
        self.count += 1;
        self.cents = self.cents.wrapping_add(cents);
        self.squares = self.squares.wrapping_add(squared(cents));
    }

    /// Without those before it that are in `before`.
    pub(super) fn less(self, before: Self) -> Self {
        Self {
            count: self.count - before.count,
            cents: self.cents.wrapping_sub(before.cents),
            squares: self.squares.wrapping_sub(before.squares),
        }
    }

    /// The sums without one purchase that is among them.
    pub(super) fn without(self, cents: i64) -> Self {
        Self { count: self.count - 1, cents: self.cents - cents, squares: self.squares - squared(cents) }
    }

    pub(super) fn mean(self) -> f64 {
        self.cents as f64 / self.count as f64
    }

    /// How many standard deviations an amount lies above the mean; `None` below two purchases.
    /// One whole unit of money is added to the deviation, so that equal amounts do not divide by zero.
    pub(super) fn z(self, cents: i64) -> Option<f64> {
        let mean = self.mean();
        let variance = (self.squares as f64 / self.count as f64 - mean * mean).max(0.0);
        (self.count >= 2).then(|| (cents as f64 - mean) / (variance.sqrt() + 100.0))
    }
}

fn squared(cents: i64) -> i64 {
    let cents = cents.min(SQUARED_CENTS_MAX);
    cents * cents
}

/// A fraud at a terminal or of a customer, known or not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fraud {
    pub(super) time: i64,
    pub(super) cents: i64,
    /// The customer's slot.
    pub(super) customer: u32,
}
