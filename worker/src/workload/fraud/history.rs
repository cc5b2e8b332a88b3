//! What is remembered of each customer and terminal: exact rolling windows over daily files.
//!
//! Purchases are kept in order with running sums in integer cents, so that a window's count and sum
//! are two differences, exact whatever the order of advance. Each window has a cursor per entity that
//! only moves forward; one that lagged behind (a day whose features another worker computed) catches
//! up when it is next asked. Nothing older than [`REACH_S`] is ever looked at, so what features say
//! depends on the rows of that time alone and not on how long this process has been running.

use std::collections::BTreeMap;

use super::rows::Rows;

pub const DAY_S: i64 = 86_400;

/// How far back features look.
pub const REACH_S: i64 = 44 * DAY_S;

/// Labels of a transaction are known this long after it.
pub const DELAY_S: i64 = 7 * DAY_S;

/// Amounts count up to this (about 10,000.00) in squares, so that their sums fit an i64.
const SQUARED_CENTS_MAX: i64 = 1 << 20;

/// Ends of the customers' windows, back from now.
pub(super) const CUSTOMER_WINDOWS_S: [i64; 5] =
    [DAY_S, 3 * DAY_S, 7 * DAY_S, 14 * DAY_S, 30 * DAY_S];

/// Ends of the terminals' windows, back from now: where labels become known, and 1, 7 and 30 days
/// before that.
pub(super) const TERMINAL_WINDOWS_S: [i64; 4] = [
    DELAY_S,
    DELAY_S + DAY_S,
    DELAY_S + 7 * DAY_S,
    DELAY_S + 30 * DAY_S,
];

/// One purchase of a customer, with the customer's running sums before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Purchase {
    pub(super) time: i64,
    pub(super) cents: i64,
    cents_before: i64,
    squares_before: i64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Fraud {
    pub(super) time: i64,
    pub(super) cents: i64,
    /// The customer's slot.
    pub(super) customer: u32,
}

/// Count and sums of a window of purchases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sums {
    pub(super) count: i64,
    pub(super) cents: i64,
    pub(super) squares: i64,
}

impl Sums {
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

#[derive(Debug, Default)]
pub(super) struct Customer {
    pub(super) purchases: Vec<Purchase>,
    /// Known or not: who asks looks only at those older than the delay.
    pub(super) frauds: Vec<Fraud>,
    cursors: [usize; CUSTOMER_WINDOWS_S.len()],
    cents: i64,
    squares: i64,
    /// A day's number and the median amount of the 30 days before it.
    usual: Option<(i64, Option<i64>)>,
}

#[derive(Debug, Default)]
pub(super) struct Terminal {
    pub(super) visits: Vec<Visit>,
    pub(super) frauds: Vec<Fraud>,
    cursors: [usize; TERMINAL_WINDOWS_S.len()],
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Visit {
    pub(super) time: i64,
    pub(super) fraud: bool,
}

impl Customer {
    fn push(&mut self, time: i64, cents: i64) {
        self.purchases.push(Purchase { time, cents, cents_before: self.cents, squares_before: self.squares });
        self.cents = self.cents.wrapping_add(cents);
        self.squares = self.squares.wrapping_add(squared(cents));
    }

    /// The purchases of the `window`-th window up to `now`, from its first, as an index.
    fn first(&mut self, window: usize, now: i64) -> usize {
        let after = now - CUSTOMER_WINDOWS_S[window];
        let cursor = &mut self.cursors[window];
        while self.purchases.get(*cursor).is_some_and(|purchase| purchase.time <= after) {
            *cursor += 1;
        }
        *cursor
    }

    /// Sums of the `window`-th window up to `now`, both ends as pandas' rolling windows have them:
    /// after now - window, up to and with what was pushed last.
    pub(super) fn window(&mut self, window: usize, now: i64) -> Sums {
        let first = self.first(window, now);
        match self.purchases.get(first) {
            None => Sums::default(),
            Some(purchase) => Sums {
                count: (self.purchases.len() - first) as i64,
                cents: self.cents.wrapping_sub(purchase.cents_before),
                squares: self.squares.wrapping_sub(purchase.squares_before),
            },
        }
    }

    /// The window's purchases themselves.
    pub(super) fn purchases(&mut self, window: usize, now: i64) -> &[Purchase] {
        let first = self.first(window, now);
        &self.purchases[first..]
    }

    /// Median of the amounts of the 30 days before the day of `now`; of an even number the
    /// upper, and at least one cent.
    pub(super) fn usual(&mut self, now: i64, scratch: &mut Vec<i64>) -> Option<i64> {
        let day = now.div_euclid(DAY_S);
        if let Some((cached, usual)) = self.usual
            && cached == day
        {
            return usual;
        }
        let (after, before) = ((day - 30) * DAY_S, day * DAY_S);
        let first = self.purchases.partition_point(|purchase| purchase.time < after);
        let end = self.purchases.partition_point(|purchase| purchase.time < before);
        scratch.clear();
        scratch.extend(self.purchases[first..end].iter().map(|purchase| purchase.cents));
        let middle = scratch.len() / 2;
        let usual = (!scratch.is_empty()).then(|| (*scratch.select_nth_unstable(middle).1).max(1));
        self.usual = Some((day, usual));
        usual
    }

    fn forget(&mut self, until: i64) {
        let count = self.purchases.partition_point(|purchase| purchase.time <= until);
        self.purchases.drain(..count);
        self.frauds.retain(|fraud| fraud.time > until);
        self.cursors.iter_mut().for_each(|cursor| *cursor = cursor.saturating_sub(count));
    }
}

impl Terminal {
    /// Number of visits older than the `window`-th end before `now`: a difference of two is a count.
    pub(super) fn before(&mut self, window: usize, now: i64) -> usize {
        let until = now - TERMINAL_WINDOWS_S[window];
        let cursor = &mut self.cursors[window];
        while self.visits.get(*cursor).is_some_and(|visit| visit.time <= until) {
            *cursor += 1;
        }
        *cursor
    }

    fn forget(&mut self, until: i64) {
        let count = self.visits.partition_point(|visit| visit.time <= until);
        self.visits.drain(..count);
        self.frauds.retain(|fraud| fraud.time > until);
        self.cursors.iter_mut().for_each(|cursor| *cursor = cursor.saturating_sub(count));
    }
}

/// Dense places for ids that may be any number; those that are small, as usual, without a search.
#[derive(Debug, Default)]
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

/// All customers and terminals, as of the rows pushed.
#[derive(Debug, Default)]
pub struct History {
    customer_slots: Slots,
    terminal_slots: Slots,
    pub(super) customers: Vec<Customer>,
    pub(super) terminals: Vec<Terminal>,
    forgot_until: i64,
}

impl History {
    /// Adds a row, not older than those before it, and gives the slots of its customer and terminal.
    pub fn push(&mut self, rows: &Rows, row: usize) -> (usize, usize) {
        let customer = self.customer_slots.of(rows.customer[row]);
        let terminal = self.terminal_slots.of(rows.terminal[row]) as usize;
        if customer as usize >= self.customers.len() {
            self.customers.resize_with(customer as usize + 1, Customer::default);
        }
        if terminal >= self.terminals.len() {
            self.terminals.resize_with(terminal + 1, Terminal::default);
        }
        let (time, cents, fraud) = (rows.time[row], rows.cents[row], rows.fraud[row]);
        self.customers[customer as usize].push(time, cents);
        self.terminals[terminal].visits.push(Visit { time, fraud });
        if fraud {
            let fraud = Fraud { time, cents, customer };
            self.customers[customer as usize].frauds.push(fraud);
            self.terminals[terminal].frauds.push(fraud);
        }
        (customer as usize, terminal)
    }

    /// Adds a dataset whose features are not asked for.
    pub fn push_all(&mut self, rows: &Rows) {
        for row in 0..rows.len() {
            self.push(rows, row);
        }
    }

    /// Lets go of what no row from `now` on looks at; seldom, since it walks over everybody.
    pub fn forget(&mut self, now: i64) {
        let until = now - REACH_S;
        if until < self.forgot_until + 7 * DAY_S {
            return;
        }
        self.forgot_until = until;
        self.customers.iter_mut().for_each(|customer| customer.forget(until));
        self.terminals.iter_mut().for_each(|terminal| terminal.forget(until));
    }
}
