//! What is remembered of each customer and terminal: exact rolling windows over daily files.
//!
//! Purchases are kept in order. Of each window is known what came before it, in integer cents, so that its count
//! and sum are differences, exact whatever the order of advance. Each window has a cursor per entity that
//! only moves forward; one that lagged behind (a day whose features another worker computed) catches
//! up when it is next asked. Nothing older than [`REACH_S`] is ever looked at, so what features say
//! depends on the rows of that time alone and not on how long this process has been running.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use crate::input::CENTS_MAX;
use crate::prefetch::prefetch;

use super::likelihood::{Cell, Likelihood, Usual};
use super::month::Month;
use super::rows::Rows;
use super::stretch::{Now, Stretch};
use super::suspicion::{self, Chance, Suspected};

pub const DAY_S: i64 = 86_400;

/// How far back features look.
pub const REACH_S: i64 = 44 * DAY_S;

/// Labels of a transaction are known this long after it.
pub const DELAY_S: i64 = 7 * DAY_S;

/// Ends of the customers' windows, back from now.
pub(super) const CUSTOMER_WINDOWS_S: [i64; 4] = [DAY_S, 7 * DAY_S, 30 * DAY_S, 3 * DAY_S];

/// Calendar days, today among them, in which a customer's big purchases are counted. Not more: whether
/// one was big depends on the 30 days before its own day.
pub(super) const BIG_DAYS: [i64; 3] = [3, 7, 14];

/// Days before today whose purchases are looked at one by one: for whether they were big, and how likely
/// their amounts are. (Of these each takes 13; one more harms nothing.)
const JUDGED_DAYS: i64 = 14;

/// How many of a customer's purchases, or of a terminal's visits or frauds, are looked at one by one: the newest.
/// The handbook's customers make at most 88 purchases in the 14 days that count, and its terminals have at most 105
/// visits in 44 days. An id that stands for many people (guests, "unknown", 0) may have 200,000 a day, and looking at
/// all of them for each of them would take hours. Counts and sums are of all rows.
pub(super) const LOOKED_AT_MAX: usize = 256;

/// The newest of some events, at most [`LOOKED_AT_MAX`].
pub(super) fn newest<T>(events: &[T]) -> &[T] {
    &events[events.len().saturating_sub(LOOKED_AT_MAX)..]
}

/// An amount of more than so many times the customer's usual is big.
pub(super) const BIG: i64 = 3;

/// Amounts count up to this (about 10,000.00) in squares, so that their sums fit an i64.
const SQUARED_CENTS_MAX: i64 = 1 << 20;

/// Ends of the terminals' windows, back from now: where labels become known, and 1, 7 and 30 days
/// before that.
pub(super) const TERMINAL_WINDOWS_S: [i64; 4] =
    [DELAY_S, DELAY_S + DAY_S, DELAY_S + 7 * DAY_S, DELAY_S + 30 * DAY_S];

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
    fn add(&mut self, cents: i64) {
        self.count += 1;
        self.cents = self.cents.wrapping_add(cents);
        self.squares = self.squares.wrapping_add(squared(cents));
    }

    /// Without those before it that are in `before`.
    fn less(self, before: Self) -> Self {
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

#[derive(Debug, Clone, Default)]
pub(super) struct Terminal {
    pub(super) visits: Vec<Stamp>,
    pub(super) frauds: Vec<Fraud>,
    cursors: [usize; TERMINAL_WINDOWS_S.len()],
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
}

impl Terminal {
    /// Number of visits older than the `window`-th end before `now`: a difference of two is a count.
    pub(super) fn before(&mut self, window: usize, now: i64) -> usize {
        let until = now - TERMINAL_WINDOWS_S[window];
        let cursor = &mut self.cursors[window];
        while self.visits.get(*cursor).is_some_and(|visit| visit.time() <= until) {
            *cursor += 1;
        }
        *cursor
    }

    /// The known frauds since `reach_s` seconds before now.
    pub(super) fn frauds(&self, reach_s: i64, now: i64) -> &[Fraud] {
        known(&self.frauds, reach_s, now)
    }

    fn forget(&mut self, until: i64) {
        let count = self.visits.partition_point(|visit| visit.time() <= until);
        self.visits.drain(..count);
        self.frauds.retain(|fraud| fraud.time > until);
        self.cursors.iter_mut().for_each(|cursor| *cursor = cursor.saturating_sub(count));
    }
}

/// Dense places for ids that may be any number; those that are small, as usual, without a search.
#[derive(Debug, Clone, Default)]
struct Slots {
    small: Vec<u32>,
    large: BTreeMap<i64, u32>,
    count: u32,
}

const SMALL: i64 = 1 << 18;

impl Slots {
    fn of(&mut self, id: i64) -> u32 {
        let slot = if (0..SMALL).contains(&id) {
            let at = id as usize;
            if at >= self.small.len() {
                self.small.resize(at + 1, u32::MAX);
            }
            &mut self.small[at]
        } else {
            self.large.entry(id).or_insert(u32::MAX)
        };
        if *slot == u32::MAX {
            *slot = self.count;
            self.count += 1;
        }
        *slot
    }
}

/// Those of some frauds, oldest first, that are known now and not older than `reach_s` seconds.
pub(super) fn known(frauds: &[Fraud], reach_s: i64, now: i64) -> &[Fraud] {
    let is_early = |time: i64| move |fraud: &Fraud| fraud.time <= time;
    let known = &frauds[..frauds.partition_point(is_early(now - DELAY_S))];
    &known[known.partition_point(is_early(now - reach_s))..]
}

/// Whether an amount is more than [`BIG`] times the usual; nothing is where no usual is known.
pub(super) fn is_big(cents: i64, usual: Option<Usual>) -> bool {
    usual.is_some_and(|usual| cents > usual.cents.saturating_mul(BIG))
}

/// All customers and terminals, as of the rows pushed.
#[derive(Debug, Clone)]
pub struct History {
    /// Made when the first purchase is pushed: it takes some milliseconds.
    likelihood: Arc<LazyLock<Likelihood>>,
    customer_slots: Slots,
    terminal_slots: Slots,
    pub(super) customers: Vec<Customer>,
    pub(super) terminals: Vec<Terminal>,
    /// Rows that are still to be added, with those that features are asked of next: whoever is in both is
    /// then fetched once.
    pending: Stretch,
    /// A stretch's rows in another order: memory that is new each day would have to be cleared first.
    grouped: Vec<(usize, Now)>,
    forgot_until: i64,
}

/// A customer or a terminal.
trait Remembered {
    /// Asks for what it points to that its next row will look at.
    fn prefetch(&self);
}

impl Remembered for Customer {
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

impl Remembered for Terminal {
    fn prefetch(&self) {
        for visit in [self.visits.get(self.cursors[0]), self.visits.last()].into_iter().flatten() {
            prefetch(visit);
        }
        if let Some(fraud) = self.frauds.last() {
            prefetch(fraud);
        }
    }
}

/// So many rows ahead it is asked for a row's customer or terminal, and so many ahead for what that points to:
/// processors wait for memory, and for many places at once no longer than for one.
const FAR: usize = 48;
const NEAR: usize = 24;

/// So many of a customer's purchases, the newest, are asked for: about those of [`JUDGED_DAYS`].
const NEWEST: usize = 28;

/// The place of a row's customer or terminal, if the row before it has another.
fn next_place(rows: &[(usize, Now)], at: usize, place: impl Fn(Now) -> u32) -> Option<usize> {
    let (_, now) = rows.get(at)?;
    let before = at.checked_sub(1).map(|before| place(rows[before].1));
    (before != Some(place(*now))).then_some(place(*now) as usize)
}

/// At a row's turn, asks for those of later rows.
fn ask_ahead<T: Remembered>(all: &[T], rows: &[(usize, Now)], at: usize, place: impl Fn(Now) -> u32) {
    if let Some(next) = next_place(rows, at + FAR, &place) {
        prefetch(&all[next]);
    }
    if let Some(next) = next_place(rows, at + NEAR, &place) {
        all[next].prefetch();
    }
}

/// So many rows are pending at most; a few milliseconds to add.
const PENDING_ROWS: usize = 1 << 15;

impl Default for History {
    fn default() -> Self {
        Self {
            likelihood: Arc::new(LazyLock::new(Likelihood::default)),
            customer_slots: Slots::default(),
            terminal_slots: Slots::default(),
            customers: Vec::new(),
            terminals: Vec::new(),
            pending: Stretch::default(),
            grouped: Vec::new(),
            forgot_until: 0,
        }
    }
}

impl History {
    /// What is pending and then some rows, for [`Self::spend_all`] and [`Self::visit_all`]; and how many were pending. Those
    /// before `judged_from` are not judged.
    pub(super) fn stretch(&mut self, rows: &Rows, range: Range<usize>, judged_from: i64) -> (Stretch, usize) {
        let mut stretch = std::mem::take(&mut self.pending);
        let pending = stretch.0.len();
        stretch.0.reserve(range.len());
        for row in range {
            let customer = self.customer_slots.of(rows.customer[row]);
            let terminal = self.terminal_slots.of(rows.terminal[row]);
            let (time, cents, fraud) = (rows.time[row], rows.cents[row], rows.fraud[row]);
            let judged = time >= judged_from;
            stretch.0.push(Now { customer, terminal, time, cents, fraud, judged });
        }
        self.customers.resize_with(self.customer_slots.count as usize, Customer::default);
        self.terminals.resize_with(self.terminal_slots.count as usize, Terminal::default);
        (stretch, pending)
    }

    /// Adds a stretch's rows to their customers, whose rows then come one after another; calls `each` after each
    /// row, with its number.
    pub(super) fn spend_all(&mut self, stretch: &Stretch, mut each: impl FnMut(&mut Self, usize, Now)) {
        let mut rows = std::mem::take(&mut self.grouped);
        stretch.by_customer(&mut rows);
        for (at, (number, now)) in rows.iter().enumerate() {
            ask_ahead(&self.customers, &rows, at, |now| now.customer);
            self.spend(*now);
            each(self, *number, *now);
        }
        self.grouped = rows;
    }

    /// The same with their terminals.
    pub(super) fn visit_all(&mut self, stretch: &Stretch, mut each: impl FnMut(&mut Self, usize, Now)) {
        let mut rows = std::mem::take(&mut self.grouped);
        stretch.by_terminal(&mut rows);
        for (at, (number, now)) in rows.iter().enumerate() {
            ask_ahead(&self.terminals, &rows, at, |now| now.terminal);
            self.visit(*now);
            each(self, *number, *now);
        }
        self.grouped = rows;
    }

    /// Adds a purchase of a customer, not older than those before it.
    fn spend(&mut self, now: Now) {
        let customer = &mut self.customers[now.customer as usize];
        let usual = if now.judged { customer.usual(now.time) } else { None };
        if is_big(now.cents, usual) {
            customer.big.push(now.time);
        }
        let stamp = Stamp::new(now.time, now.fraud);
        customer.purchases.push(Purchase::new(stamp, now.cents, Cell::of(now.cents, usual)));
        customer.all.add(now.cents);
        if now.fraud {
            customer.frauds.push(now.as_fraud());
        }
    }

    /// Adds the same to its terminal's visits.
    fn visit(&mut self, now: Now) {
        let terminal = &mut self.terminals[now.terminal as usize];
        terminal.visits.push(Stamp::new(now.time, now.fraud));
        if now.fraud {
            terminal.frauds.push(now.as_fraud());
        }
    }

    /// Chance that the last purchase of a customer, added last, is a fraud because the card is misused.
    pub(super) fn misused(&self, customer: u32, now: i64) -> Chance {
        suspicion::of_card(&self.customers[customer as usize], now, &self.likelihood)
    }

    /// Chance that a purchase at a terminal is a fraud because that is compromised.
    pub(super) fn compromised(&mut self, terminal: u32, now: i64) -> Suspected {
        let terminal = &mut self.terminals[terminal as usize];
        let known = terminal.before(0, now);
        let customers = &mut self.customers;
        suspicion::of_terminal(terminal, known, now, |fraud| {
            let usual = customers[fraud.customer as usize].usual(now);
            self.likelihood.ratio(fraud.cents, usual)
        })
    }

    /// Adds a dataset whose features are not asked for, before rows from `now` on. What is long past then
    /// counts in sums only, and is not judged: that would be most of a rebuild's work.
    pub fn push_all(&mut self, rows: &Rows, now: i64) {
        self.push(rows, 0..rows.len(), (now.div_euclid(DAY_S) - JUDGED_DAYS) * DAY_S);
    }

    /// Adds some rows whose features are not asked for. Those before `judged_from` are not judged.
    pub(super) fn push(&mut self, rows: &Rows, range: Range<usize>, judged_from: i64) {
        let (stretch, _) = self.stretch(rows, range, judged_from);
        if stretch.0.len() <= PENDING_ROWS {
            self.pending = stretch;
            return;
        }
        self.spend_all(&stretch, |_, _, _| {});
        self.visit_all(&stretch, |_, _, _| {});
    }

    /// Lets go of what no row from `now` on looks at; seldom, since it walks over everybody.
    pub fn forget(&mut self, now: i64) {
        let until = now - REACH_S;
        if until < self.forgot_until + 28 * DAY_S {
            return;
        }
        self.forgot_until = until;
        self.customers.iter_mut().for_each(|customer| customer.forget(until));
        self.terminals.iter_mut().for_each(|terminal| terminal.forget(until));
    }
}
