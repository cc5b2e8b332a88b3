//! A stretch of rows, taken customer by customer and then terminal by terminal. History is larger than a
//! processor's caches, and most of the time goes into waiting for it: in this order what is remembered
//! of somebody is fetched once a stretch, and everybody in the order in which they lie in memory.

use std::ops::Range;

use super::history::{DAY_S, Fraud, History};
use super::rows::Rows;

/// A row as history takes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// Its customer's and its terminal's places in the history.
    pub(super) customer: u32,
    pub(super) terminal: u32,
    pub(super) time: i64,
    pub(super) cents: i64,
    pub(super) fraud: bool,
}

impl Now {
    pub(super) fn as_fraud(self) -> Fraud {
        Fraud { time: self.time, cents: self.cents, customer: self.customer }
    }
}

/// Rows of a dataset that follow each other, and where their customers and terminals are.
pub(super) struct Stretch<'r> {
    rows: &'r Rows,
    from: usize,
    customers: Vec<u32>,
    terminals: Vec<u32>,
}

/// The rows from `from` on that are of one calendar day, at most so many. Of such a stretch each row's
/// features are those that it has if all rows before it, and no others, were pushed: what they look at
/// of customers other than its own, and of visits, is not of that day.
pub fn of_day(rows: &Rows, from: usize, most: usize) -> Range<usize> {
    let Some(first) = rows.time.get(from) else { return from..from };
    let next_day = (first.div_euclid(DAY_S) + 1) * DAY_S;
    let until = rows.len().min(from.saturating_add(most));
    from..from + rows.time[from..until].partition_point(|time| *time < next_day)
}

impl<'r> Stretch<'r> {
    pub(super) fn new(history: &mut History, rows: &'r Rows, range: Range<usize>) -> Self {
        let from = range.start;
        let (customers, terminals) = range.map(|row| history.places(rows, row)).unzip();
        Self { rows, from, customers, terminals }
    }

    /// Its rows by their number in the stretch, those of a customer together and in their order.
    pub(super) fn by_customer(&self) -> impl Iterator<Item = (usize, Now)> {
        grouped(&self.customers).into_iter().map(|row| (row as usize, self.now(row as usize)))
    }

    /// The same by terminal.
    pub(super) fn by_terminal(&self) -> impl Iterator<Item = (usize, Now)> {
        grouped(&self.terminals).into_iter().map(|row| (row as usize, self.now(row as usize)))
    }

    fn now(&self, row: usize) -> Now {
        let at = self.from + row;
        Now {
            customer: self.customers[row],
            terminal: self.terminals[row],
            time: self.rows.time[at],
            cents: self.rows.cents[at],
            fraud: self.rows.fraud[at],
        }
    }
}

/// Numbers of the rows by their places, those of one place in their order: a sort by counting.
fn grouped(places: &[u32]) -> Vec<u32> {
    let most = places.iter().max().map_or(0, |place| *place as usize);
    let mut next = vec![0_u32; most + 2];
    for place in places {
        next[*place as usize + 1] += 1;
    }
    for place in 1..next.len() {
        next[place] += next[place - 1];
    }
    let mut rows = vec![0; places.len()];
    for (row, place) in places.iter().enumerate() {
        let next = &mut next[*place as usize];
        rows[*next as usize] = row as u32;
        *next += 1;
    }
    rows
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
            prop_assert_eq!(grouped(&places), sorted);
        }
    }
}
