//! The readers on bytes that nobody wrote on purpose, and on tables that they must read back: what
//! they answer is a table whose columns are equally long, or a reason.

#![expect(clippy::unwrap_used)]

mod input_support;

use input_support::asm::pickle;
use input_support::{columns, csv, expected, layouts, parquet, rows, samples};
use proptest::prelude::*;
use worker::input::read;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Whatever the bytes, and whatever the name.
fn read_or_refused(bytes: &[u8]) {
    for path in ["day.pkl", "day.parquet", "day.csv"] {
        match read(path, bytes) {
            Ok(day) => {
                let rows = day.id.len();
                assert!(rows > 0);
                let others = [day.time.len(), day.customer.len(), day.terminal.len(), day.cents.len()];
                assert_eq!((others, day.fraud.len()), ([rows; 4], rows));
                assert!(day.scenario.is_none_or(|scenario| scenario.len() == rows));
            }
            Err(reject) => assert!(!reject.to_string().is_empty()),
        }
    }
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        read_or_refused(&bytes);
    }

    /// The pickle machine's own opcodes, in any order.
    #[test]
    fn any_opcodes_are_read_or_refused(
        bytes in prop::collection::vec(prop_oneof![
            4 => prop::sample::select(b"()]}.0123NKMJX\x85\x86\x87\x80\x81\x88\x89\x8a\x8c\x8e\x93\x94\x95\x96Rabceghijlpqrstu".to_vec()),
            1 => any::<u8>(),
        ], 0..200),
    ) {
        read_or_refused(&[b"\x80\x04", &bytes[..], b"."].concat());
    }
}

/// Files of pandas and pyarrow, a few bytes of which are others, fewer or more.
#[test]
fn damaged_samples_are_read_or_refused() {
    let all: Vec<_> = ["pickle", "parquet", "csv", "hostile"].into_iter().flat_map(samples).collect();
    let edit = || (any::<prop::sample::Index>(), any::<u8>(), 0..4u8);
    proptest!(config(2_000), |(which in any::<prop::sample::Index>(), edits in prop::collection::vec(edit(), 1..8))| {
        let mut bytes = all[which.index(all.len())].1.clone();
        for (at, byte, how) in edits {
            let at = at.index(bytes.len().max(1));
            match how {
                0 if at < bytes.len() => bytes[at] = byte,
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 if at > 0 => bytes.truncate(at),
                _ => bytes.insert(at.min(bytes.len()), byte),
            }
        }
        read_or_refused(&bytes);
    });
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn a_pickle_reads_back(rows in rows(30)) {
        prop_assert_eq!(read("day.pkl", &pickle(&rows)), Ok(expected(&rows)));
    }

    #[test]
    fn a_csv_reads_back(rows in rows(30)) {
        prop_assert_eq!(read("day.csv", &csv(&rows)), Ok(expected(&rows)));
    }

    #[test]
    fn a_parquet_reads_back(rows in rows(60), layout in layouts()) {
        prop_assert_eq!(read("day.parquet", &parquet(&columns(&rows), layout)), Ok(expected(&rows)));
    }
}
