//! What a customer usually spends: the median of the amounts of the 30 days before a day.

use std::ops::Range;

use crate::prefetch::prefetch;

use super::likelihood::Usual;
use super::purchase::{DAY_S, Purchase};

/// The days of a month.
const DAYS: i64 = 30;

/// Up to this many amounts enter or leave one by one. Each costs a pass over all of them, so more are sorted first:
/// a customer may have thousands a day.
const FEW: usize = 32;

/// Amounts that are asked for early, at most: more than a person's month.
const PREFETCHED_MAX: usize = 256;

/// A customer's amounts of the 30 days before a day.
#[derive(Debug, Clone, Default)]
pub(super) struct Month {
    day: Option<i64>,
    usual: Option<Usual>,
    /// The amounts, ascending, and the range of purchases that they are of. Whole numbers all the same: two of
    /// them are compared at once.
    cents: Vec<f64>,
    purchases: Range<usize>,
}

impl Month {
    /// What was usual before a day, which is not before that of the last call, for a customer with these purchases.
    pub(super) fn usual(&mut self, day: i64, purchases: &[Purchase]) -> Option<Usual> {
        if self.day != Some(day) {
            self.advance(day, purchases);
        }
        self.usual
    }

    /// The place of its first purchase.
    pub(super) fn first(&self) -> usize {
        self.purchases.start
    }

    pub(super) fn prefetch(&self) {
        prefetch(&self.cents[..self.cents.len().min(PREFETCHED_MAX)]);
    }

    /// Lets go of the first `count` purchases, which their owner is about to remove.
    pub(super) fn forget(&mut self, count: usize, purchases: &[Purchase]) {
        let Range { start, end } = self.purchases;
        self.leave(&purchases[start..count.clamp(start, end)]);
        self.purchases = start.saturating_sub(count)..end.saturating_sub(count);
    }

    fn advance(&mut self, day: i64, purchases: &[Purchase]) {
        let count_before = |from: usize, time: i64| {
            purchases[from..].iter().take_while(|purchase| purchase.stamp.time() < time).count()
        };
        let Range { start, end } = self.purchases;
        let first = start + count_before(start, (day - DAYS) * DAY_S);
        self.leave(&purchases[start..first.min(end)]);
        // Purchases that came and went since the last call are neither added nor removed.
        let from = first.max(end);
        let until = from + count_before(from, day * DAY_S);
        self.enter(&purchases[from..until]);
        self.purchases = first..until;
        let (middle, count) = (self.cents.len() / 2, self.cents.len() as u32);
        // Of an even number of amounts the upper one.
        self.usual = self.cents.get(middle).map(|cents| Usual { cents: (*cents as i64).max(1), count });
        self.day = Some(day);
    }

    /// Adds amounts. A whole month of them, after a redelivery, is sorted once.
    fn enter(&mut self, purchases: &[Purchase]) {
        let cents = purchases.iter().map(|purchase| purchase.cents() as f64);
        if cents.len() > self.cents.len().min(FEW) {
            self.cents.extend(cents);
            // Stable, since such a sort merges what is sorted already.
            self.cents.sort_by(f64::total_cmp);
            return;
        }
        for cents in cents {
            let at = self.below(cents);
            self.cents.insert(at, cents);
        }
    }

    /// Removes amounts that entered before.
    fn leave(&mut self, purchases: &[Purchase]) {
        let cents = purchases.iter().map(|purchase| purchase.cents() as f64);
        if cents.len() > FEW {
            let mut gone: Vec<f64> = cents.collect();
            gone.sort_unstable_by(f64::total_cmp);
            let mut gone = gone.into_iter().peekable();
            self.cents.retain(|cents| gone.next_if_eq(cents).is_none());
            return;
        }
        for cents in cents {
            let at = self.below(cents);
            self.cents.remove(at);
        }
    }

    /// How many are lower: counted, which waits for memory once, where a search does with each look.
    fn below(&self, cents: f64) -> usize {
        self.cents.iter().map(|known| u64::from(*known < cents)).sum::<u64>() as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::likelihood::Cell;
    use super::super::purchase::Stamp;
    use super::*;

    fn median(purchases: &[Purchase], day: i64) -> Option<Usual> {
        let days = (day - DAYS) * DAY_S..day * DAY_S;
        let own = purchases.iter().filter(|purchase| days.contains(&purchase.stamp.time()));
        let mut cents: Vec<i64> = own.map(|purchase| purchase.cents()).collect();
        cents.sort_unstable();
        cents.get(cents.len() / 2).map(|median| Usual { cents: *median, count: cents.len() as u32 })
    }

    fn amounts() -> impl Strategy<Value = Vec<i64>> {
        prop_oneof![prop::collection::vec(1..500_i64, 0..4), prop::collection::vec(1..500_i64, 0..4 * FEW)]
    }

    proptest! {
        /// On days of few purchases and of many, asked for on some of them, with old purchases forgotten.
        #[test]
        fn the_usual_is_the_median_of_30_days(
            days in prop::collection::vec((1..20_i64, amounts(), any::<bool>(), 0..9), 1..40),
        ) {
            let (mut month, mut purchases, mut day) = (Month::default(), Vec::new(), 0);
            for (gap, amounts, asks, forgets) in days {
                day += gap;
                if asks {
                    prop_assert_eq!(month.usual(day, &purchases), median(&purchases, day));
                }
                if forgets == 0 {
                    let until = (day - DAYS - 2) * DAY_S;
                    let count = purchases.partition_point(|purchase: &Purchase| purchase.stamp.time() <= until);
                    month.forget(count, &purchases);
                    purchases.drain(..count);
                }
                let bought = |cents: i64| Purchase::new(Stamp::new(day * DAY_S + cents, false), cents, Cell::of(cents, None));
                purchases.extend(amounts.into_iter().map(bought));
            }
        }
    }
}
