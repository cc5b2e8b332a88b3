//! A stretch of rows, taken customer by customer and then terminal by terminal. History is larger than a
//! processor's caches, and most of the time goes into waiting for it: in this order what is remembered
//! of somebody is fetched once a stretch, and everybody in the order in which they lie in memory.

use std::ops::Range;

use super::purchase::{DAY_S, Fraud};
use super::rows::Rows;

/// A row as history takes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// Its customer's and its terminal's places in the history: of the one that remembers it, and at a terminal, of a fraud's
    /// customer.
    pub(super) customer: u32,
    pub(super) terminal: u32,
    pub(super) time: i64,
    pub(super) cents: i64,
    pub(super) fraud: bool,
    /// Whether its amount is compared with what was usual for its customer.
    pub(super) judged: bool,
}

impl Now {
    pub(super) fn as_fraud(self) -> Fraud {
        Fraud { time: self.time, cents: self.cents, customer: self.customer }
    }
}

/// Rows that follow each other.
#[derive(Debug, Clone, Default)]
pub(super) struct Stretch(pub(super) Vec<Now>);

/// The rows from `from` on that are of one calendar day, at most `most`. In such a stretch each row has the
/// features that it would have if all rows before it, and no others, were pushed: what they look at of
/// customers other than its own, and of visits, is not of that day.
pub fn of_day(rows: &Rows, from: usize, most: usize) -> Range<usize> {
    let Some(first) = rows.time.get(from) else { return from..from };
    let next_day = (first.div_euclid(DAY_S) + 1) * DAY_S;
    let until = rows.len().min(from.saturating_add(most));
    from..from + rows.time[from..until].partition_point(|time| *time < next_day)
}

impl Stretch {
    /// Fills `into` with its rows and their numbers, those of a place together and in their order.
    pub(super) fn by(&self, place: impl Fn(&Now) -> u32, into: &mut Vec<(usize, Now)>) {
        into.clear();
        into.extend(grouped(&self.0, place).into_iter().map(|row| (row as usize, self.0[row as usize])));
    }
}

/// Numbers of the rows by their places, those of one place in their order: a sort by counting.
fn grouped<T>(rows: &[T], place: impl Fn(&T) -> u32) -> Vec<u32> {
    let most = rows.iter().map(&place).max().map_or(0, |place| place as usize);
    let mut next = vec![0_u32; most + 2];
    for row in rows {
        next[place(row) as usize + 1] += 1;
    }
    for place in 1..next.len() {
        next[place] += next[place - 1];
    }
    let mut numbers = vec![0; rows.len()];
    for (number, row) in rows.iter().enumerate() {
        let next = &mut next[place(row) as usize];
        numbers[*next as usize] = number as u32;
        *next += 1;
    }
    numbers
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn grouping_is_a_stable_sort(places in prop::collection::vec(0..20_u32, 0..100)) {
            let mut sorted: Vec<u32> = (0..places.len() as u32).collect();
            sorted.sort_by_key(|row| places[*row as usize]);
            prop_assert_eq!(grouped(&places, |place| *place), sorted);
        }
    }
}
