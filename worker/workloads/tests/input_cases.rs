//! The small cases beside the workspace, `../shared/cases`: files of other tools on which a reader failed once.
//! Each has the values of the plain reference, or is refused in the words that are said here.

#![expect(clippy::unwrap_used)]

mod input_support;

use std::path::Path;

use input_support::shared;
use workloads::input::{Transactions, read};

/// What a case's file has to give.
enum Right {
    Plain,
    /// Rejected, with these words.
    Refused(&'static str),
    /// Read, as this says.
    Read(fn(&Transactions, &Transactions) -> bool),
}

const CASES: [(&str, Right); 24] = [
    ("00_plain_reference", Right::Plain),
    ("01_stray_quote_last_field", Right::Refused("line 11: a quoted field begins here and never ends")),
    ("02_spark_backslash_quote", Right::Plain),
    ("05_zone_in_brackets_without_offset", Right::Refused("names a zone and no offset")),
    ("10_decimal_pandas_pyarrow", Right::Plain),
    ("11_decimal_int64_pyarrow", Right::Plain),
    ("12_decimal_duckdb", Right::Plain),
    ("15_decimal_spark", Right::Read(holds)),
    ("20_postgres_bool_t_f", Right::Plain),
    ("22_bigquery_timestamp_utc", Right::Plain),
    ("24_null_scenario", Right::Plain),
    ("26_excel_europe_semicolon_decimal_comma", Right::Plain),
    ("27_header_lower_case", Right::Plain),
    ("28_uint64_hash_ids", Right::Read(tells_customers_apart)),
    ("30_pickle_unused_date_column", Right::Plain),
    ("31_pickle_unused_category_column", Right::Plain),
    ("33_pickle_multiindex_rows", Right::Plain),
    ("34_pickle_string_dtype", Right::Plain),
    ("35_pickle_nullable", Right::Plain),
    ("37_pickle_zone_paris", Right::Plain),
    ("39_pickle_protocol_0", Right::Refused("written in protocol 0")),
    ("40_crlf_wrong_line_number", Right::Refused("TX_AMOUNT, line 40: the text oops")),
    ("42_fastparquet_no_rows", Right::Refused("the dataset has no rows")),
    ("44_parquet_encrypted", Right::Refused("encrypted")),
];

/// Spark's file has more rows of the same day.
fn holds(read: &Transactions, plain: &Transactions) -> bool {
    let row = |of: &Transactions, at: usize| {
        (of.id[at], of.time[at], of.customer[at], of.terminal[at], of.cents[at], of.fraud[at])
    };
    let rows: Vec<_> = (0..read.id.len()).map(|at| row(read, at)).collect();
    rows.len() == 300 && (0..plain.id.len()).all(|at| rows.contains(&row(plain, at)))
}

fn tells_customers_apart(read: &Transactions, plain: &Transactions) -> bool {
    let rows = plain.id.len();
    let same = |of: &Transactions, one: usize, other: usize| of.customer[one] == of.customer[other];
    let all = (0..rows).all(|one| (0..one).all(|other| same(read, one, other) == same(plain, one, other)));
    all && Transactions { customer: plain.customer.clone(), ..read.clone() } == *plain
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn each_case_is_the_plain_table_or_refused_in_true_words() {
    let Some(cases) = shared("cases/tables") else { return };
    let plain = files(&cases.join("00_plain_reference")).remove(0);
    let plain = read(&plain.0, &plain.1).unwrap();
    assert_eq!(plain.id.len(), 60);
    for (name, right) in &CASES {
        for (path, bytes) in files(&cases.join(name)) {
            let found = read(&path, &bytes);
            let is_right = match (right, &found) {
                (Right::Plain, Ok(found)) => *found == plain,
                (Right::Refused(words), Err(reject)) => reject.to_string().contains(words),
                (Right::Read(is_right), Ok(found)) => is_right(found, &plain),
                _ => false,
            };
            assert!(is_right, "{path}: {found:?}");
        }
    }
}
