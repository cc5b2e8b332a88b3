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

use crate::prefetch::prefetch;

use super::customer::Customer;
use super::likelihood::Likelihood;
use super::purchase::DAY_S;
use super::rows::Rows;
use super::stretch::{Now, Stretch};
use super::suspicion::{self, Chance, Suspected};
use super::terminal::Terminal;

/// How far back features look.
pub const REACH_S: i64 = 44 * DAY_S;

/// Days before today whose purchases are looked at one by one: for whether they were big, and how likely
/// their amounts are. (Of these each takes 13; one more harms nothing.)
const JUDGED_DAYS: i64 = 14;

/// Dense places for ids that may be any number. Small ids, the usual ones, need no search.
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

/// All customers and terminals, as of the rows pushed.
#[derive(Debug, Clone)]
pub struct History {
    /// Made when the first purchase is pushed: it takes some milliseconds.
    likelihood: Arc<LazyLock<Likelihood>>,
    customer_slots: Slots,
    terminal_slots: Slots,
    pub(super) customers: Vec<Customer>,
    pub(super) terminals: Vec<Terminal>,
    /// Rows that are still to be added. They are added together with the rows whose features are asked for next: a
    /// customer or terminal in both is then fetched once.
    pending: Stretch,
    /// A stretch's rows in another order: memory that is new each day would have to be cleared first.
    grouped: Vec<(usize, Now)>,
    forgot_until: i64,
}

/// A row's customer or terminal is prefetched [`FAR`] rows ahead, and what that points to [`NEAR`] rows ahead:
/// processors wait for memory, and for many places at once no longer than for one.
const FAR: usize = 48;
const NEAR: usize = 24;

/// The place of a row's customer or terminal, if the row before it has another.
fn next_place(rows: &[(usize, Now)], at: usize, place: impl Fn(Now) -> u32) -> Option<usize> {
    let (_, now) = rows.get(at)?;
    let before = at.checked_sub(1).map(|before| place(rows[before].1));
    (before != Some(place(*now))).then_some(place(*now) as usize)
}

/// At a row's turn, asks for those of later rows.
fn ask_ahead<T>(all: &[T], rows: &[(usize, Now)], at: usize, place: impl Fn(Now) -> u32, ask: impl Fn(&T)) {
    if let Some(next) = next_place(rows, at + FAR, &place) {
        prefetch(&all[next]);
    }
    if let Some(next) = next_place(rows, at + NEAR, &place) {
        ask(&all[next]);
    }
}

/// Maximum number of pending rows; a few milliseconds to add.
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
            ask_ahead(&self.customers, &rows, at, |now| now.customer, Customer::prefetch);
            self.customers[now.customer as usize].spend(*now);
            each(self, *number, *now);
        }
        self.grouped = rows;
    }

    /// The same with their terminals.
    pub(super) fn visit_all(&mut self, stretch: &Stretch, mut each: impl FnMut(&mut Self, usize, Now)) {
        let mut rows = std::mem::take(&mut self.grouped);
        stretch.by_terminal(&mut rows);
        for (at, (number, now)) in rows.iter().enumerate() {
            ask_ahead(&self.terminals, &rows, at, |now| now.terminal, Terminal::prefetch);
            self.terminals[now.terminal as usize].visit(*now);
            each(self, *number, *now);
        }
        self.grouped = rows;
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
