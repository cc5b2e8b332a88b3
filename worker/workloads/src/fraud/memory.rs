//! What is remembered of each customer and terminal: exact rolling windows over daily files.
//!
//! Purchases are kept in order. Of each window is known what came before it, in integer cents, so that its count
//! and sum are differences, exact whatever the order of advance. Each window has a cursor per entity that
//! only moves forward; one that lagged behind (a day whose features another worker computed) catches
//! up when it is next asked. Nothing older than [`REACH_S`] is ever looked at, so what features say
//! depends on the rows of that time alone and not on how long this process has been running.

use crate::prefetch::prefetch;

use super::purchase::DAY_S;
use super::rows::Rows;
use super::stretch::{Now, Stretch};

/// How far back features look.
pub(super) const REACH_S: i64 = 44 * DAY_S;

/// What is remembered of rows, as a timeline fills it.
pub(super) trait Memory: Default + Clone + Send + 'static {
    /// Adds a dataset whose features are not asked for, before rows from `now` on.
    fn push_all(&mut self, rows: &Rows, now: i64);

    /// Lets go of what no row from `now` on looks at; seldom, since it walks over everybody.
    fn forget(&mut self, now: i64);
}

/// A customer or a terminal.
pub(super) trait Entity: Default + Clone {
    /// A row's place among them.
    fn place(now: &Now) -> u32;
    /// Adds a row, not older than those before it.
    fn add(&mut self, now: Now);
    /// Asks for what it points to that its next row will look at.
    fn prefetch(&self);
    /// Lets go of what is not after a time.
    fn forget(&mut self, until: i64);
}

/// All entities of a kind.
#[derive(Debug, Clone)]
pub(super) struct Everybody<E> {
    all: Vec<E>,
    /// Rows that are still to be added. They are added together with the rows whose features are asked for next: who is
    /// in both is then fetched once.
    pending: Stretch,
    /// A stretch's rows in another order: memory that is new each day would have to be cleared first.
    grouped: Vec<(usize, Now)>,
    forgot_until: i64,
}

impl<E> Default for Everybody<E> {
    fn default() -> Self {
        Self { all: Vec::new(), pending: Stretch::default(), grouped: Vec::new(), forgot_until: 0 }
    }
}

/// A row's entity is prefetched [`FAR`] rows ahead, and what that points to [`NEAR`] rows ahead:
/// processors wait for memory, and for many places at once no longer than for one.
const FAR: usize = 48;
const NEAR: usize = 24;

/// Days between two walks over everybody to let go of what is old.
const FORGET_EVERY_DAYS: i64 = 7;

/// Maximum number of pending rows; a few milliseconds to add.
const PENDING_ROWS: usize = 1 << 15;

impl<E: Entity> Everybody<E> {
    /// What is pending, with room for more rows, and how many are pending.
    pub(super) fn take_pending(&mut self, more: usize) -> (Stretch, usize) {
        let mut stretch = std::mem::take(&mut self.pending);
        let pending = stretch.0.len();
        stretch.0.reserve(more);
        (stretch, pending)
    }

    /// Makes room for a number of them.
    pub(super) fn grow(&mut self, count: usize) {
        self.all.resize_with(count, E::default);
    }

    pub(super) fn at(&mut self, place: u32) -> &mut E {
        &mut self.all[place as usize]
    }

    /// Adds a stretch's rows to their entities, whose rows then come one after another; calls `each` after each row, with
    /// its number.
    pub(super) fn add_all(&mut self, stretch: &Stretch, mut each: impl FnMut(&mut E, usize, Now)) {
        let mut rows = std::mem::take(&mut self.grouped);
        stretch.by(E::place, &mut rows);
        for (at, (number, now)) in rows.iter().enumerate() {
            self.ask_ahead(&rows, at);
            let entity = &mut self.all[E::place(now) as usize];
            entity.add(*now);
            each(entity, *number, *now);
        }
        self.grouped = rows;
    }

    /// At a row's turn, asks for the entities of later rows.
    fn ask_ahead(&self, rows: &[(usize, Now)], at: usize) {
        if let Some(next) = next_place::<E>(rows, at + FAR) {
            prefetch(&self.all[next]);
        }
        if let Some(next) = next_place::<E>(rows, at + NEAR) {
            self.all[next].prefetch();
        }
    }

    /// Adds rows later, or now where they are many.
    pub(super) fn push(&mut self, stretch: Stretch) {
        self.pending = stretch;
        if self.pending.0.len() > PENDING_ROWS {
            self.flush();
        }
    }

    /// Adds what is pending.
    pub(super) fn flush(&mut self) {
        let (stretch, _) = self.take_pending(0);
        self.add_all(&stretch, |_, _, _| {});
    }

    /// Lets go of what no row from `now` on looks at; says from when on it remembers, where it let go of something.
    pub(super) fn forget(&mut self, now: i64) -> Option<i64> {
        let until = now - REACH_S;
        if until < self.forgot_until + FORGET_EVERY_DAYS * DAY_S {
            return None;
        }
        self.forgot_until = until;
        self.all.iter_mut().for_each(|entity| entity.forget(until));
        Some(until)
    }
}

/// The place of a row's entity, if the row before it has another.
fn next_place<E: Entity>(rows: &[(usize, Now)], at: usize) -> Option<usize> {
    let (_, now) = rows.get(at)?;
    let before = at.checked_sub(1).map(|before| E::place(&rows[before].1));
    (before != Some(E::place(now))).then_some(E::place(now) as usize)
}
