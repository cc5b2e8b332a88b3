//! The readers against files that others wrote: pandas and pyarrow of many versions, the
//! tutorial, the handbook, and attackers.

#![expect(clippy::unwrap_used)]

mod input_support;

use input_support::{samples, shared_data};
use workloads::input::{Columns, Transactions, read, read_unlabelled};

/// What `tests/data/make.py` says, sorted by (time, id).
fn made() -> Transactions {
    Transactions {
        id: vec![3, 5, 9, 4, 12, 7],
        time: vec![1709164831, 1709164930, 1709188200, 1709208000, 1709208000, 1709251199],
        customer: vec![255, 70_000, 596, 3_000_000_000, 65_535, 0],
        terminal: vec![256, 3156, 9_007_199_254_740_993, 2_147_483_648, 65_536, 1],
        cents: vec![0, 29, 110, 12_345_678, 14_600, 5716],
        fraud: vec![false, false, false, true, true, false],
        scenario: Some(vec![0, 0, 0, 3, 1, 0]),
    }
}

/// What is to be scored may have labels, or columns where they will be: they are not looked at.
#[test]
fn labels_that_are_not_asked_for_are_not_read() {
    let csv = |fraud: &str, scenario: &str| {
        let names = "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD,TX_FRAUD_SCENARIO";
        format!("{names}\n1,2018-04-01 10:00:00,2,3,4.50,{fraud},{scenario}\n").into_bytes()
    };
    assert_eq!(read("day.csv", &csv("1", "2")).unwrap().fraud, [true]);
    let genuine = read_unlabelled("day.csv", &csv("1", "2"), &Columns::default()).unwrap();
    assert_eq!((&genuine.fraud[..], &genuine.scenario), (&[false][..], &None));
    assert_eq!(read("day.csv", &csv("1", "126")).unwrap().scenario, Some(vec![126]));
    let reason = read("day.csv", &csv("1", "127")).unwrap_err().to_string();
    assert_eq!(reason, "TX_FRAUD_SCENARIO, line 2: 127 is not between 0 and 126");
    for (fraud, scenario) in [("", ""), ("unknown", "0"), ("0", "-1")] {
        assert!(read("day.csv", &csv(fraud, scenario)).is_err());
        assert_eq!(
            read_unlabelled("day.csv", &csv(fraud, scenario), &Columns::default()),
            Ok(genuine.clone())
        );
    }
}

#[test]
fn every_version_of_pandas_gives_the_same() {
    let samples = samples("pickle");
    assert!(samples.len() >= 100, "only {} samples", samples.len());
    for (name, bytes) in samples {
        assert_eq!(read(&name, &bytes), Ok(made()), "{name}");
    }
}

#[test]
fn parquet_and_csv_of_pandas_give_the_same() {
    let samples: Vec<_> = samples("parquet").into_iter().chain(samples("csv")).collect();
    assert!(samples.len() >= 34, "only {} samples", samples.len());
    for (name, bytes) in samples {
        assert_eq!(read(&name, &bytes), Ok(made()), "{name}");
    }
}

#[test]
fn the_content_decides_what_a_file_is() {
    for kind in ["pickle", "parquet", "csv"] {
        let (name, bytes) = samples(kind).remove(0);
        for path in ["day", "day.csv", "folder.pkl/day", "DAY.PKL.BAK"] {
            assert_eq!(read(path, &bytes), Ok(made()), "{name} as {path}");
        }
    }
}

#[test]
fn hostile_pickles_are_refused_by_name() {
    let said: Vec<String> = samples("hostile")
        .into_iter()
        .map(|(name, bytes)| format!("{name}: {}", read(&name, &bytes).unwrap_err()))
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}

/// Other types, other protocols, no rows, and what only looks like a table.
#[test]
fn what_is_not_read_is_refused_in_true_words() {
    let said: Vec<String> = samples("refused")
        .into_iter()
        .map(|(name, bytes)| format!("{name}: {}", read(&name, &bytes).unwrap_err()))
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}

/// The tutorial's own pickles hold what the handbook's Parquet of the same days holds.
#[test]
fn the_tutorials_pickles_are_the_handbooks_days() {
    let Some(data) = shared_data() else { return };
    let days = ["2018-04-01", "2018-04-02", "2018-04-03", "2018-04-04", "test_dataset"];
    let mut rows = 0;
    for name in days {
        let pickle = data.join(format!("tutorial/{name}.pkl"));
        let day = if name == "test_dataset" { "2018-04-05" } else { name };
        let parquet = data.join(format!("handbook/{day}.parquet"));
        let pickle = read("day.pkl", &std::fs::read(pickle).unwrap()).unwrap();
        let parquet = read("day.parquet", &std::fs::read(parquet).unwrap()).unwrap();
        assert_eq!(pickle, parquet, "{name}");
        rows += pickle.id.len();
    }
    assert_eq!(rows, 9488 + 9583 + 9747 + 9530 + 9651);
}

/// What pandas says of the tutorial's first day: sums of its columns, and its first and last row.
#[test]
fn the_tutorials_first_day_is_what_pandas_reads() {
    let Some(data) = shared_data() else { return };
    let day = read("day.pkl", &std::fs::read(data.join("tutorial/2018-04-01.pkl")).unwrap()).unwrap();
    let sum = |values: &[i64]| values.iter().sum::<i64>();
    let said = [sum(&day.id), sum(&day.time), sum(&day.customer), sum(&day.terminal), sum(&day.cents)];
    assert_eq!(said, PANDAS_SUMS);
    assert_eq!(day.fraud.iter().filter(|&&fraud| fraud).count(), PANDAS_FRAUDS);
    let row = |at: usize| (day.id[at], day.time[at], day.customer[at], day.terminal[at], day.cents[at]);
    assert_eq!((row(0), row(9487)), PANDAS_ENDS);
}

const PANDAS_SUMS: [i64; 5] = [45006328, 14446277862464, 23764957, 47520630, 50523582];
const PANDAS_FRAUDS: usize = 3;
type Ends = (i64, i64, i64, i64, i64);
const PANDAS_ENDS: (Ends, Ends) = ((0, 1522540831, 596, 3156, 5716), (9487, 1522627191, 554, 8248, 1920));
