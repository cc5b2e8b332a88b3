//! Small days of transactions for properties: few customers and terminals, so that windows fill.

use proptest::prelude::*;
use workloads::fraud::rows::Rows;

use super::APRIL_S;

/// One transaction: second of the day, customer, terminal, cents, fraud.
type Raw = (i64, i64, i64, i64, bool);

fn raw() -> impl Strategy<Value = Raw> {
    let cents = prop_oneof![4 => 1..10_000i64, 1 => 20_000..60_000i64, 1 => Just(500)];
    // Few distinct seconds and ids on the edges of what is stored, so that ties and widths occur.
    let second = prop_oneof![3 => 0..86_400i64, 1 => (0..5i64).prop_map(|part| part * 21_599)];
    let customer = prop_oneof![5 => 0..4i64, 1 => Just(i64::MAX), 1 => Just(-7i64)];
    (second, customer, 0..3i64, cents, prop::bool::weighted(0.3))
}

/// A day's rows, the first of them some days after 2018-04-01.
pub fn day(number: i64, mut raw: Vec<Raw>) -> Rows {
    raw.sort_by_key(|row| row.0);
    let date = jiff::civil::date(2018, 4, 1).checked_add(jiff::ToSpan::days(number)).expect("a day");
    Rows {
        path: format!("datasets/training/{date}.csv"),
        time: raw.iter().map(|row| APRIL_S + number * 86_400 + row.0).collect(),
        customer: raw.iter().map(|row| row.1).collect(),
        terminal: raw.iter().map(|row| row.2).collect(),
        cents: raw.iter().map(|row| row.3).collect(),
        fraud: raw.iter().map(|row| row.4).collect(),
        scenario: None,
    }
}

/// Several days with gaps between them, oldest first.
pub fn days(most: usize) -> impl Strategy<Value = Vec<Rows>> {
    let gap = prop_oneof![6 => Just(1i64), 1 => 2..9i64, 1 => 40..50i64];
    prop::collection::vec((gap, prop::collection::vec(raw(), 1..12)), 1..most).prop_map(|days| {
        let mut number = 0;
        days.into_iter()
            .map(|(gap, raw)| {
                number += gap;
                day(number, raw)
            })
            .collect()
    })
}
