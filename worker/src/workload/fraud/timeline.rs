//! The history kept between joins: advanced day by day, rebuilt from the window's parts only where it
//! is not already what they say.

use crate::hash::Hash;

use super::history::{History, REACH_S};
use super::rows::{Header, Rows};

/// A part of a window that counts, in time's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Past {
    pub(super) hash: Hash,
    pub(super) header: Header,
}

/// History, and which datasets it was made from.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    pub(super) history: History,
    seen: Vec<Past>,
}

/// The parts whose rows begin after all those before them: the others were rejected by this rule.
pub(super) fn in_order(parts: impl IntoIterator<Item = Past>) -> Vec<Past> {
    let mut kept: Vec<Past> = Vec::new();
    for part in parts {
        if kept.last().is_none_or(|last| last.header.last < part.header.first) {
            kept.push(part);
        }
    }
    kept
}

impl Timeline {
    /// Makes ready for rows from `now` on that come after `window`, and says how many of the window's
    /// last parts are still to be pushed. The result of that depends on the window alone: if anything
    /// within reach was seen that is not in it, or in another order, history begins anew.
    pub(super) fn missing(&mut self, window: &[Past], now: i64) -> usize {
        let within_reach = |past: &&Past| past.header.last > now - REACH_S;
        let wanted: Vec<&Past> = window.iter().filter(within_reach).collect();
        let seen: Vec<&Past> = self.seen.iter().filter(within_reach).collect();
        let seen_last = self.seen.last().map_or(i64::MIN, |past| past.header.last);
        let missing = wanted.len().saturating_sub(seen.len());
        let next_first = wanted.get(seen.len()).map_or(now, |past| past.header.first);
        if wanted.starts_with(&seen) && seen_last < next_first {
            self.history.forget(now);
            self.seen.retain(|past| past.header.last > now - REACH_S);
            return missing;
        }
        let all = wanted.len();
        *self = Self::default();
        all
    }

    /// Adds a dataset that features are not asked of, for rows from `now` on.
    pub(super) fn push(&mut self, past: Past, rows: &Rows, now: i64) {
        self.history.push_all(rows, now);
        self.seen.push(past);
    }

    /// Notes a dataset whose rows were pushed one by one.
    pub(super) fn note(&mut self, past: Past) {
        self.seen.push(past);
    }
}
