//! What is remembered of one terminal: visits, and the frauds among them.

use crate::prefetch::prefetch;

use super::memory::Entity;
use super::purchase::{DAY_S, DELAY_S, Fraud, Stamp, add_event};
use super::stretch::Now;

/// Ends of the terminals' windows, back from now: where labels become known, and 1, 7 and 30 days
/// before that.
pub(super) const TERMINAL_WINDOWS_S: [i64; 4] =
    [DELAY_S, DELAY_S + DAY_S, DELAY_S + 7 * DAY_S, DELAY_S + 30 * DAY_S];

#[derive(Debug, Clone, Default)]
pub(super) struct Terminal {
    pub(super) visits: Vec<Stamp>,
    pub(super) frauds: Vec<Fraud>,
    cursors: [usize; TERMINAL_WINDOWS_S.len()],
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
}

impl Entity for Terminal {
    fn place(now: &Now) -> u32 {
        now.terminal
    }

    fn forget(&mut self, until: i64) {
        let count = self.visits.partition_point(|visit| visit.time() <= until);
        self.visits.drain(..count);
        self.frauds.retain(|fraud| fraud.time > until);
        self.cursors.iter_mut().for_each(|cursor| *cursor = cursor.saturating_sub(count));
    }

    fn add(&mut self, now: Now) {
        add_event(&mut self.visits, Stamp::new(now.time, now.fraud));
        if now.fraud {
            self.frauds.push(now.as_fraud());
        }
    }

    fn prefetch(&self) {
        for visit in [self.visits.get(self.cursors[0]), self.visits.last()].into_iter().flatten() {
            prefetch(visit);
        }
        if let Some(fraud) = self.frauds.last() {
            prefetch(fraud);
        }
    }
}

/// Those of some frauds, oldest first, that are known now and not older than `reach_s` seconds.
pub(super) fn known(frauds: &[Fraud], reach_s: i64, now: i64) -> &[Fraud] {
    let is_early = |time: i64| move |fraud: &Fraud| fraud.time <= time;
    let known = &frauds[..frauds.partition_point(is_early(now - DELAY_S))];
    &known[known.partition_point(is_early(now - reach_s))..]
}
