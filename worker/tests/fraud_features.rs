//! The features: exact, causal, blind to labels that are not known yet, and the same whatever of the
//! history is kept from the join before.

mod fraud_support;

use fraud_support::days::days;
use fraud_support::{Chain, finish};
use proptest::prelude::*;
use worker::manifest::Role;
use worker::workload::fraud::features::{FeatureSet, Now, values};
use worker::workload::fraud::history::History;
use worker::workload::fraud::rows::Rows;
use worker::workload::fraud::{Fraud, Params};
use worker::workload::{Outcome, Workload};

const DAY_S: i64 = 86_400;

/// All days' rows as one, oldest first.
fn concat(days: &[Rows]) -> Rows {
    let mut all = Rows::default();
    for day in days {
        all.time.extend(&day.time);
        all.customer.extend(&day.customer);
        all.terminal.extend(&day.terminal);
        all.cents.extend(&day.cents);
        all.fraud.extend(&day.fraud);
    }
    all
}

/// A set's features of every row, through the history that is advanced row by row.
fn features(rows: &Rows, set: FeatureSet) -> Vec<Vec<f64>> {
    let mut history = History::default();
    (0..rows.len())
        .map(|row| {
            history.forget(rows.time[row]);
            let (customer, terminal) = history.push(rows, row);
            let now = Now { customer, terminal, time: rows.time[row], cents: rows.cents[row] };
            let mut found = Vec::new();
            values(&mut history, now, set, &mut found);
            found
        })
        .collect()
}

/// Every feature of every row.
fn all_features(rows: &Rows) -> Vec<Vec<f64>> {
    let sets = FeatureSet::ALL.map(|set| features(rows, set));
    (0..rows.len()).map(|row| sets.iter().flat_map(|set| set[row].clone()).collect()).collect()
}

/// The handbook's fifteen of one row, by looking at every row before it.
fn handbook(rows: &Rows, row: usize) -> Vec<f64> {
    let now = rows.time[row];
    let mut values = vec![
        rows.cents[row] as f64 / 100.0,
        f64::from((now.div_euclid(DAY_S) + 3).rem_euclid(7) >= 5),
        f64::from(now.rem_euclid(DAY_S) / 3600 <= 6),
    ];
    for days in [1, 7, 30] {
        let window: Vec<i64> = (0..=row)
            .filter(|at| rows.customer[*at] == rows.customer[row] && rows.time[*at] > now - days * DAY_S)
            .map(|at| rows.cents[at])
            .collect();
        let sum: i64 = window.iter().sum();
        values.extend([window.len() as f64, sum as f64 / 100.0 / window.len() as f64]);
    }
    for days in [1, 7, 30] {
        let (after, until) = (now - (7 + days) * DAY_S, now - 7 * DAY_S);
        let window: Vec<bool> = (0..=row)
            .filter(|at| rows.terminal[*at] == rows.terminal[row])
            .filter(|at| rows.time[*at] > after && rows.time[*at] <= until)
            .map(|at| rows.fraud[at])
            .collect();
        let frauds = window.iter().filter(|fraud| **fraud).count() as f64;
        let risk = if window.is_empty() { 0.0 } else { frauds / window.len() as f64 };
        values.extend([window.len() as f64, risk]);
    }
    values
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_handbooks_features_are_those_of_a_look_at_every_row(days in days(60)) {
        let rows = concat(&days);
        for (row, values) in features(&rows, FeatureSet::Handbook).iter().enumerate() {
            prop_assert_eq!(values, &handbook(&rows, row), "row {}", row);
        }
    }

    #[test]
    fn every_suspicion_is_a_number(days in days(60)) {
        for (row, values) in features(&concat(&days), FeatureSet::Suspicion).iter().enumerate() {
            prop_assert!(values.iter().all(|value| !value.is_nan()), "row {}: {:?}", row, values);
        }
    }

    #[test]
    fn a_label_is_no_feature_before_seven_days_are_over(days in days(60), flipped in any::<prop::sample::Index>()) {
        let rows = concat(&days);
        let flipped = flipped.index(rows.len());
        let mut other = rows.clone();
        other.fraud[flipped] = !other.fraud[flipped];
        let known_from = rows.time[flipped] + 7 * DAY_S;
        for (row, (values, others)) in all_features(&rows).iter().zip(all_features(&other)).enumerate() {
            if rows.time[row] < known_from {
                prop_assert_eq!(values, &others, "row {} of {}", row, rows.len());
            }
        }
    }

    #[test]
    fn nothing_older_than_44_days_is_a_feature(days in days(60), changed in any::<prop::sample::Index>()) {
        let rows = concat(&days);
        let changed = changed.index(rows.len());
        let mut other = rows.clone();
        (other.cents[changed], other.fraud[changed]) = (123_456, !other.fraud[changed]);
        for (row, (values, others)) in all_features(&rows).iter().zip(all_features(&other)).enumerate() {
            if row < changed || rows.time[row] >= rows.time[changed] + 44 * DAY_S {
                prop_assert_eq!(values, &others, "row {} of {}", row, rows.len());
            }
        }
    }

    #[test]
    fn a_join_is_the_same_whatever_was_joined_before(
        days in days(70),
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..20),
    ) {
        let count = days.len();
        let chain = Chain::new(days.into_iter().map(|rows| (rows, Role::Train)).collect());
        let kept = Fraud::new(Params::default());
        for index in order {
            let index = index.index(count) as u32;
            let fresh = chain.join_one(&Fraud::new(Params::default()), index);
            prop_assert!(matches!(fresh, Outcome::Part(_)));
            prop_assert_eq!(chain.join_one(&kept, index), fresh, "dataset {}", index);
        }
    }

    #[test]
    fn rows_read_back(days in days(4)) {
        for rows in days {
            prop_assert_eq!(Rows::decode(&rows.encode()), Ok(rows));
        }
    }

    #[test]
    fn rows_cut_short_are_an_error(days in days(2), cut in any::<prop::sample::Index>()) {
        let bytes = days[0].encode();
        prop_assert!(Rows::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }
}

#[test]
fn a_date_twice_is_rejected_and_counts_once() {
    let one = |number| fraud_support::days::day(number, vec![(10, 1, 1, 500, false), (20, 1, 1, 900, true)]);
    let mut again = one(1);
    again.path = "datasets/training/2018-04-02-again.csv".to_owned();
    let with = |days: Vec<Rows>| Chain::new(days.into_iter().map(|rows| (rows, Role::Train)).collect());
    let twice = with(vec![one(0), one(1), again, one(9)]);
    let once = with(vec![one(0), one(1), one(9)]);
    let fraud = Fraud::new(Params::default());
    assert_eq!(
        twice.join_one(&fraud, 2),
        Outcome::Rejected(
            "its transactions begin at 2018-04-02T00:00:10, not after those of \
             datasets/training/2018-04-02.csv, which go until 2018-04-02T00:00:20"
                .to_owned()
        )
    );
    assert_eq!(twice.join_one(&fraud, 3), once.join_one(&Fraud::new(Params::default()), 2));
}

#[test]
fn a_window_is_of_45_days_by_name_or_of_45_datasets() {
    let fraud = Fraud::new(Params::default());
    let days: Vec<_> =
        (0..60).map(|n| (fraud_support::days::day(n, vec![(0, 1, 1, 1, false)]), Role::Train)).collect();
    let mut chain = Chain::new(days);
    assert_eq!(fraud.window(&chain.datasets, 50), (5..50).collect::<Vec<_>>());
    assert_eq!(fraud.window(&chain.datasets, 0), Vec::<u32>::new());
    for dataset in &mut chain.datasets {
        dataset.path = format!("part-{}.csv", dataset.index);
    }
    assert_eq!(fraud.window(&chain.datasets, 50), (5..50).collect::<Vec<_>>());
}

#[test]
fn bytes_that_are_no_dataset_are_rejected() {
    let fraud = Fraud::new(Params::default());
    let dataset = fraud_support::dataset(0, "datasets/training/2018-04-01.parquet", Role::Train);
    let outcome = finish(fraud.prepare(&dataset, b"PAR1 and nothing more".to_vec()));
    assert!(matches!(outcome, Outcome::Rejected(_)), "{outcome:?}");
}
