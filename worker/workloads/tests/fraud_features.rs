//! The features: exact, causal, blind to labels that are not known yet, and the same whatever of the
//! history is kept from the join before.

mod fraud_support;

use engine::manifest::Role;
use engine::workload::{Outcome, Workload};
use fraud_support::days::days;
use fraud_support::{Chain, finish};
use proptest::prelude::*;
use workloads::fraud::feature_set::{FeatureSet, NAMES};
use workloads::fraud::features::of_rows;
use workloads::fraud::history::History;
use workloads::fraud::rows::Rows;
use workloads::fraud::stretch::of_day;
use workloads::fraud::{Fraud, Params};

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

/// A set's features of every row, through the history that is advanced by at most `most` rows.
fn features_by(rows: &Rows, set: FeatureSet, most: usize) -> Vec<Vec<f64>> {
    let mut history = History::default();
    let mut found = vec![vec![f64::NAN; set.width()]; rows.len()];
    let mut row = 0;
    while row < rows.len() {
        history.forget(rows.time[row]);
        let stretch = of_day(rows, row, most);
        row = stretch.end;
        let found = &mut found[stretch.clone()];
        of_rows(&mut history, rows, stretch, set, &mut |row, column, value| found[row][column] = value);
    }
    found
}

fn features(rows: &Rows, set: FeatureSet) -> Vec<Vec<f64>> {
    features_by(rows, set, usize::MAX)
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

/// The 25 of one row that learn from data, by looking at every row before it.
struct Naive<'a> {
    rows: &'a Rows,
    row: usize,
    now: i64,
}

impl Naive<'_> {
    /// Rows before this one, of its customer or of its terminal, after one time and until another.
    fn before(&self, of: impl Fn(&Rows) -> &Vec<i64>, after: i64, until: i64) -> Vec<usize> {
        let (ids, own) = (of(self.rows), of(self.rows)[self.row]);
        let is_within = |at: &usize| self.rows.time[*at] > after && self.rows.time[*at] <= until;
        (0..self.row).filter(|at| ids[*at] == own).filter(is_within).collect()
    }

    /// The upper median of a customer's amounts in the 30 days before the day of `time`.
    fn usual(&self, customer: i64, time: i64) -> Option<i64> {
        let day = time.div_euclid(DAY_S);
        let days = (day - 30) * DAY_S..day * DAY_S;
        let own = |at: &usize| self.rows.customer[*at] == customer && days.contains(&self.rows.time[*at]);
        let mut cents: Vec<i64> =
            (0..self.rows.len()).filter(own).map(|at| self.rows.cents[at].max(1)).collect();
        cents.sort_unstable();
        cents.get(cents.len() / 2).copied()
    }

    /// Whether a row's amount was more than three times what was usual at some time.
    fn is_big(&self, at: usize, time: i64) -> bool {
        self.usual(self.rows.customer[at], time).is_some_and(|usual| self.rows.cents[at] > 3 * usual)
    }

    fn age(&self, at: usize) -> f64 {
        (self.now - self.rows.time[at]) as f64 / DAY_S as f64
    }

    fn big(&self, calendar_days: i64) -> Vec<usize> {
        let after = (self.now.div_euclid(DAY_S) - calendar_days + 1) * DAY_S - 1;
        let mut rows = self.before(|rows| &rows.customer, after, self.now);
        rows.retain(|at| self.is_big(*at, self.rows.time[*at]));
        rows
    }

    fn frauds(&self, of: impl Fn(&Rows) -> &Vec<i64>, days: i64) -> Vec<usize> {
        let mut rows = self.before(of, self.now - days * DAY_S, self.now - 7 * DAY_S);
        rows.retain(|at| self.rows.fraud[*at]);
        rows
    }

    fn z(&self) -> f64 {
        let others = self.before(|rows| &rows.customer, self.now - 30 * DAY_S, self.now);
        let count = others.len() as f64;
        let mean = others.iter().map(|at| self.rows.cents[*at]).sum::<i64>() as f64 / count;
        let squares = others.iter().map(|at| self.rows.cents[*at].pow(2)).sum::<i64>() as f64;
        let variance = (squares / count - mean * mean).max(0.0);
        let own = self.rows.cents[self.row] as f64;
        if others.len() < 2 { -9.0 } else { f64::max((own - mean) / (variance.sqrt() + 100.0), -8.0) }
    }

    fn mean_3d_over_30d(&self) -> f64 {
        let [days_3, days_30] = [3, 30].map(|days| {
            let others = self.before(|rows| &rows.customer, self.now - days * DAY_S, self.now);
            let cents: Vec<i64> =
                others.into_iter().chain([self.row]).map(|at| self.rows.cents[at]).collect();
            cents.iter().sum::<i64>() as f64 / cents.len() as f64
        });
        days_3 / days_30
    }

    /// Length and age of the run of frauds that ends the terminal's known visits of 30 days, genuine ones
    /// since the last fraud, age of the last genuine one.
    fn run(&self) -> [f64; 4] {
        let visits = self.before(|rows| &rows.terminal, self.now - 37 * DAY_S, self.now - 7 * DAY_S);
        let is_fraud = |at: &usize| self.rows.fraud[*at];
        let after_genuine = visits.iter().rposition(|at| !is_fraud(at)).map_or(0, |at| at + 1);
        let run = &visits[after_genuine..];
        let last_fraud = visits.iter().rposition(is_fraud);
        let last_genuine = visits.iter().rfind(|at| !is_fraud(at));
        [
            run.len() as f64,
            run.first().map_or(-1.0, |at| self.age(*at)),
            last_fraud.map_or(-1.0, |at| (visits.len() - 1 - at) as f64),
            last_genuine.map_or(-1.0, |at| self.age(*at)),
        ]
    }

    fn values(&self) -> Vec<f64> {
        let usual = self.usual(self.rows.customer[self.row], self.now);
        let over_usual = usual.map_or(-1.0, |usual| self.rows.cents[self.row] as f64 / usual as f64);
        let [big_3d, big_7d, big_14d] = [3, 7, 14].map(|days| self.big(days));
        let count = |rows: &[usize]| if usual.is_some() { rows.len() as f64 } else { -1.0 };
        let mut values = vec![over_usual, self.z(), count(&big_3d), count(&big_7d), count(&big_14d)];
        values.push(big_14d.first().map_or(-1.0, |at| self.age(*at)));
        values.extend([usual.map_or(0.0, |usual| usual as f64 / 100.0), self.mean_3d_over_30d()]);
        let mut small = self.frauds(|rows| &rows.terminal, 35);
        values.extend([self.frauds(|rows| &rows.terminal, 28).len() as f64, small.len() as f64]);
        small.retain(|at| !self.is_big(*at, self.now));
        values.push(small.len() as f64);
        values.extend(self.run());
        values.extend([14, 21, 35].map(|days| self.frauds(|rows| &rows.customer, days).len() as f64));
        let mut big = self.frauds(|rows| &rows.customer, 21);
        big.retain(|at| self.is_big(*at, self.now));
        values.extend([big.last(), big.first()].map(|at| at.map_or(-1.0, |at| self.age(*at))));
        let edges = [0.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0];
        let level = edges.iter().filter(|edge| **edge <= over_usual).count();
        let small_age = small.first().map_or(0, |at| ((self.age(*at) / 4.0) as usize).clamp(1, 8) - 1);
        let (big_3d, big_7d, big_14d) = (big_3d.len(), big_7d.len(), big_14d.len());
        let crossed = [
            level * 5 + big_7d.min(4),
            level * 7 + big_14d.min(6),
            level * 4 + small.len().min(3),
            small.len().min(6) * 8 + small_age,
            big_3d.min(4) * 7 + big_14d.min(6),
        ];
        values.extend(crossed.map(|cell| cell as f64));
        values
    }
}

fn naive(rows: &Rows, row: usize) -> Vec<f64> {
    Naive { rows, row, now: rows.time[row] }.values()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_rich_features_are_those_of_a_look_at_every_row(days in days(60)) {
        let rows = concat(&days);
        for (row, values) in features(&rows, FeatureSet::Rich).iter().enumerate() {
            let naive: Vec<f64> = handbook(&rows, row).into_iter().chain(naive(&rows, row)).collect();
            for ((feature, value), naive) in FeatureSet::Rich.features().zip(values).zip(&naive) {
                prop_assert_eq!(value, naive, "row {}, {}", row, NAMES[feature]);
            }
            prop_assert_eq!(values.len(), naive.len());
        }
    }

    /// Each row has what it has if the rows before it were pushed, and no others.
    #[test]
    fn features_are_those_of_one_row_after_another(days in days(60), most in 2..9_usize) {
        let rows = concat(&days);
        for set in FeatureSet::ALL {
            let one_by_one = features_by(&rows, set, 1);
            prop_assert_eq!(&features_by(&rows, set, most), &one_by_one);
            prop_assert_eq!(&features(&rows, set), &one_by_one);
        }
    }

    /// A feature has the same value in every set that it is in.
    #[test]
    fn a_blend_is_of_what_it_is_blended_from(days in days(40)) {
        let rows = concat(&days);
        let named = |set: FeatureSet| {
            let names = set.features().collect::<Vec<_>>();
            let of_row = move |values: Vec<f64>| names.iter().copied().zip(values).collect::<Vec<_>>();
            features(&rows, set).into_iter().map(of_row).collect::<Vec<_>>()
        };
        let (rich, suspicion) = (named(FeatureSet::Rich), named(FeatureSet::Suspicion));
        for (row, blend) in named(FeatureSet::Blend).iter().enumerate() {
            prop_assert_eq!(blend.len(), FeatureSet::Blend.width());
            for value in blend {
                prop_assert!(rich[row].contains(value) || suspicion[row].contains(value), "row {}: {:?}", row, value);
            }
        }
    }

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

    /// Also after a day of many visits to one terminal, where the one or the other is as good as excluded.
    #[test]
    fn the_suspicion_of_a_busy_terminal_is_a_number(genuine in 50..200_i64, frauds in 50..400_i64, order: bool) {
        let visit = |second| (second, second, 1, 5_000, (second < genuine) != order);
        let busy = fraud_support::days::day(1, (0..genuine + frauds).map(visit).collect());
        let later = (9..44).map(|number| fraud_support::days::day(number, vec![(0, 1, 1, 5_000, false)]));
        let rows = concat(&[busy].into_iter().chain(later).collect::<Vec<_>>());
        for (row, values) in features(&rows, FeatureSet::Suspicion).iter().enumerate() {
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
        // Between them these two have every feature.
        for features in [FeatureSet::Rich, FeatureSet::Blend] {
            let params = Params { features, ..Params::default() };
            let kept = Fraud::new(params);
            for index in &order {
                let index = index.index(count) as u32;
                let fresh = chain.join_one(&Fraud::new(params), index);
                prop_assert!(matches!(fresh, Outcome::Part(_)));
                prop_assert_eq!(chain.join_one(&kept, index), fresh, "{:?}, dataset {}", features, index);
            }
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

/// Each day in up to three files that overlap, in the run's order: each row is in one of them.
fn in_files(days: Vec<Rows>, files: &[u8]) -> Vec<Rows> {
    let mut files = files.iter().cycle();
    let mut found: Vec<Rows> = Vec::new();
    for day in days {
        let file_of_row: Vec<u8> = day.time.iter().map(|_| files.next().copied().unwrap_or(0)).collect();
        let of_file = |file: u8| {
            let rows = || (0..day.len()).filter(|row| file_of_row[*row] == file);
            let name = day.path.rsplit('/').next().expect("a name");
            Rows {
                path: format!("datasets/training/{file}/{name}"),
                time: rows().map(|row| day.time[row]).collect(),
                customer: rows().map(|row| day.customer[row]).collect(),
                terminal: rows().map(|row| day.terminal[row]).collect(),
                cents: rows().map(|row| day.cents[row]).collect(),
                fraud: rows().map(|row| day.fraud[row]).collect(),
                scenario: None,
            }
        };
        for file in (0..3).map(of_file).filter(|rows| !rows.is_empty()) {
            let is_copy = |other: &Rows| {
                Rows { path: String::new(), ..other.clone() } == Rows { path: String::new(), ..file.clone() }
            };
            if !found.iter().any(is_copy) {
                found.push(file);
            }
        }
    }
    found
}

/// The rows of some files that are not later than a time, in time's order.
fn until(files: &[Rows], now: i64) -> Rows {
    let all = concat(files);
    let file_of_row = files.iter().enumerate().flat_map(|(file, rows)| vec![file; rows.len()]);
    let mut order: Vec<(i64, i64, i64, usize, usize)> = file_of_row
        .enumerate()
        .map(|(row, file)| {
            let (first, last) = (files[file].time[0], files[file].time[files[file].len() - 1]);
            (all.time[row], first, last.min(now), file, row)
        })
        .filter(|(time, ..)| *time <= now)
        .collect();
    order.sort_unstable();
    let rows = || order.iter().map(|(.., row)| *row);
    Rows {
        path: "datasets/history/all.csv".to_owned(),
        time: rows().map(|row| all.time[row]).collect(),
        customer: rows().map(|row| all.customer[row]).collect(),
        terminal: rows().map(|row| all.terminal[row]).collect(),
        cents: rows().map(|row| all.cents[row]).collect(),
        fraud: rows().map(|row| all.fraud[row]).collect(),
        scenario: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Of files that overlap in time, each sees the rows of those before it that are not later than its own first
    /// row, and no others, whatever was joined before; and no file is left out.
    #[test]
    fn files_of_a_day_see_what_is_not_later_than_their_first_row(
        days in days(12),
        files in prop::collection::vec(0..3u8, 1..40),
        again in prop::collection::vec(any::<prop::sample::Index>(), 1..20),
    ) {
        let files = in_files(days, &files);
        let chain = Chain::new(files.iter().map(|rows| (rows.clone(), Role::Train)).collect());
        let kept = Fraud::new(Params::default());
        let in_any_order = again.iter().map(|index| index.index(files.len()));
        for index in (0..files.len()).chain(in_any_order) {
            let own = &files[index];
            let window = kept.window(&chain.datasets, index as u32);
            let window: Vec<Rows> = window.iter().map(|before| files[*before as usize].clone()).collect();
            let past = until(&window, own.time[0]);
            let mut pair = vec![(past, Role::History), (own.clone(), Role::Train)];
            pair.retain(|(rows, _)| !rows.is_empty());
            let alone = Chain::new(pair);
            let expected = alone.join_one(&Fraud::new(Params::default()), alone.datasets.len() as u32 - 1);
            prop_assert!(matches!(expected, Outcome::Part(_)), "{:?}", expected);
            prop_assert_eq!(chain.join_one(&kept, index as u32), expected, "dataset {}", index);
        }
    }
}

#[test]
fn a_copy_of_a_file_is_rejected_and_counts_once() {
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
            "its transactions are those of datasets/training/2018-04-02.csv, which comes before it"
                .to_owned()
        )
    );
    assert_eq!(twice.join_one(&fraud, 3), once.join_one(&Fraud::new(Params::default()), 2));
}

/// Nothing tells which comes first, and the learner takes them in the order of the run.
#[test]
fn undated_files_that_overlap_are_rejected_with_a_hint() {
    let named = |name: &str, rows: Vec<_>| {
        let mut rows = fraud_support::days::day(0, rows);
        rows.path = format!("datasets/training/{name}");
        (rows, Role::Train)
    };
    let chain = Chain::new(vec![
        named("part-0.csv", vec![(10, 1, 1, 500, false), (20, 1, 1, 900, true)]),
        named("part-1.csv", vec![(20, 2, 1, 500, false), (30, 1, 1, 900, true)]),
        named("part-2.csv", vec![(25, 2, 1, 500, false), (40, 1, 1, 900, true)]),
    ]);
    let fraud = Fraud::new(Params::default());
    // They may meet within a second.
    assert!(matches!(chain.join_one(&fraud, 1), Outcome::Part(_)));
    let Outcome::Rejected(reason) = chain.join_one(&fraud, 2) else { panic!("it was taken") };
    insta::assert_snapshot!(reason, @"its transactions begin at 2018-04-01T00:00:25, not after those of datasets/training/part-1.csv, which go until 2018-04-01T00:00:30 (hint: put the day into the name of each file, or the rows into files that follow each other)");
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

/// What is taken in after the tests has larger indices, whenever its transactions were.
#[test]
fn tests_that_come_later_are_in_no_window_of_a_training_day() {
    let fraud = Fraud::new(Params::default());
    let window = |datasets: &[(&str, Role)], index| {
        let dataset =
            |(index, (path, role)): (u32, &(&str, Role))| fraud_support::dataset(index, path, *role);
        fraud.window(&(0..).zip(datasets).map(dataset).collect::<Vec<_>>(), index)
    };
    let (train, history, test) = (Role::Train, Role::History, Role::Test);
    let dated = [
        ("2018-04-01.csv", train),
        ("2018-04-03.csv", test),
        ("2018-04-05.csv", test),
        ("2018-04-02.csv", train),
        ("2018-04-03.csv", train),
        ("2018-04-04.csv", history),
        ("2018-04-05.csv", train),
    ];
    assert_eq!(window(&dated, 2), [0, 1]);
    assert_eq!(window(&dated, 3), [0]);
    assert_eq!(window(&dated, 4), [0, 3]);
    assert_eq!(window(&dated, 6), [0, 1, 3, 4, 5]);
    let undated =
        [("a.csv", train), ("test.csv", test), ("test-2.csv", test), ("b.csv", train), ("c.csv", train)];
    assert_eq!(window(&undated, 2), [0, 1]);
    assert_eq!(window(&undated, 4), [0, 3]);
    let mixed = [("2018-04-01.csv", train), ("test.csv", test), ("2018-04-02.csv", train), ("a.csv", train)];
    assert_eq!(window(&mixed, 1), [0]);
    assert_eq!(window(&mixed, 2), [0]);
    assert_eq!(window(&mixed, 3), [0, 2]);
}

#[test]
fn bytes_that_are_no_dataset_are_rejected() {
    let fraud = Fraud::new(Params::default());
    let dataset = fraud_support::dataset(0, "datasets/training/2018-04-01.parquet", Role::Train);
    let outcome = finish(fraud.prepare(&dataset, b"PAR1 and nothing more".to_vec()));
    assert!(matches!(outcome, Outcome::Rejected(_)), "{outcome:?}");
}

#[test]
fn a_dataset_named_for_a_day_holds_no_other() {
    let fraud = Fraud::new(Params::default());
    let prepared = |path: &str, time: &str| {
        let csv = format!(
            "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD\n\
             7,2018-04-02 10:00:00,1,1,5.00,0\n8,{time},1,1,5.00,0\n"
        );
        finish(fraud.prepare(&fraud_support::dataset(0, path, Role::Train), csv.into_bytes()))
    };
    // What is late on the day in one time zone is on the next in another.
    for good in ["2018-04-01 00:00:00", "2018-04-02 23:00:00", "2018-04-03 23:59:59"] {
        assert!(matches!(prepared("2018-04-02.csv", good), Outcome::Part(_)), "{good}");
    }
    for (bad, seen) in [
        ("2018-03-31 23:59:59", "2018-03-31T23:59:59"),
        ("2018-04-04 00:00:00", "2018-04-04T00:00:00"),
        ("2028-04-02 10:00:00", "2028-04-02T10:00:00"),
    ] {
        let reason = format!(
            "transaction 8 is of {seen}, and the dataset's name says 2018-04-02 (hint: leave the day out of the \
             name of a file of several days)"
        );
        assert_eq!(prepared("2018-04-02.csv", bad), Outcome::Rejected(reason));
        assert!(matches!(prepared("april.csv", bad), Outcome::Part(_)), "{bad}");
    }
}
