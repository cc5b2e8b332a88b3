//! Reading a dataset's bytes into transactions: Parquet, CSV, and the tutorial's pickles.
//!
//! Each format gives a `Table` of cells; the rules for what a column may hold are one
//! set for all, in `table.rs`. Whatever the bytes, the answer is transactions or a [`Reject`]:
//! nothing panics and nothing is executed. Memory is bounded by a multiple of the file's size, or by
//! limits that are looked at before anything is decompressed.

mod cell;
pub mod cli;
mod columns;
mod csv;
mod other;
mod packed;
mod parquet;
mod pickle;
mod reject;
mod table;
mod times;
mod values;

pub use columns::Columns;
pub use pickle::refusal::Refusal;
pub use reject::{ParquetPart, Place, Problem, RecordFault, Reject};
pub(crate) use values::CENTS_MAX;

use engine::manifest::is_hidden;
use engine::path::name_of;
use packed::Packing;

/// One dataset's transactions as columns of equal length, sorted by (time, id).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transactions {
    pub id: Vec<i64>,
    /// Seconds since 1970-01-01 00:00 UTC.
    pub time: Vec<i64>,
    /// Unsigned ids of 64 bits, such as hashes, as the signed ones of the same bits; terminals too.
    pub customer: Vec<i64>,
    pub terminal: Vec<i64>,
    /// Amount in cents.
    pub cents: Vec<i64>,
    pub fraud: Vec<bool>,
    /// Which kind of fraud (0 for none), where the data names it. Never a feature.
    pub scenario: Option<Vec<u8>>,
}

/// Reads a dataset, which may be compressed. The content says which format it is; where it does not, the
/// ending of `path` (`.parquet`, `.pkl`, `.pickle`) says what it should have been, and anything else is CSV.
///
/// The columns are the Fraud Detection Handbook's, found by name: `TRANSACTION_ID`,
/// `TX_DATETIME`, `CUSTOMER_ID`, `TERMINAL_ID`, `TX_AMOUNT`, `TX_FRAUD`, and
/// `TX_FRAUD_SCENARIO` where there is one. Amounts are rounded to cents, times cut to seconds.
///
/// # Errors
/// A [`Reject`] whose text is the reason that the report shows.
pub fn read(path: &str, bytes: &[u8]) -> Result<Transactions, Reject> {
    read_mapped(path, bytes, &Columns::default())
}

/// As [`read`], of columns under other names.
///
/// # Errors
/// As [`read`].
pub fn read_mapped(path: &str, bytes: &[u8], columns: &Columns) -> Result<Transactions, Reject> {
    read_with(path, bytes, How { labels: Labels::Needed, columns })
}

/// Reads transactions to be scored: as [`read`], but neither label column is looked at. All are genuine.
///
/// # Errors
/// As [`read`].
pub fn read_unlabelled(path: &str, bytes: &[u8], columns: &Columns) -> Result<Transactions, Reject> {
    read_with(path, bytes, How { labels: Labels::Unread, columns })
}

/// Whether `TX_FRAUD` and `TX_FRAUD_SCENARIO` are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Labels {
    Needed,
    Unread,
}

/// How a table is read.
#[derive(Debug, Clone, Copy)]
struct How<'a> {
    labels: Labels,
    columns: &'a Columns,
}

fn read_with(path: &str, bytes: &[u8], how: How<'_>) -> Result<Transactions, Reject> {
    match Packing::of(bytes) {
        Some(packing) => read_plain(packed::without_ending(path), &packing.unpack(bytes)?, how),
        None => read_plain(path, bytes, how),
    }
}

fn read_plain(path: &str, bytes: &[u8], how: How<'_>) -> Result<Transactions, Reject> {
    match Format::of(path, bytes)? {
        Format::Parquet => parquet::read(bytes, how),
        Format::Pickle => table::transactions(&pickle::read(bytes)?.table()?, how),
        Format::Csv => table::transactions(&csv::read(bytes, how.columns)?, how),
    }
}

/// Endings of datasets' names.
const ENDINGS: [&str; 4] = ["parquet", "csv", "pkl", "pickle"];

/// Whether a file is a dataset by its name: by its ending, in any case, which that of a compression may
/// follow. Hidden files are none, such as what editors (`.2018-04-01.csv.swp`) and macOS (`._2018-04-01.csv`)
/// put beside them.
pub fn is_dataset(path: &str) -> bool {
    let ending = ending_of(packed::without_ending(name_of(path)));
    !is_hidden(path) && ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

fn ending_of(path: &str) -> Option<String> {
    path.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Parquet,
    Pickle,
    Csv,
}

impl Format {
    fn of(path: &str, bytes: &[u8]) -> Result<Self, Reject> {
        if bytes.is_empty() {
            return Err(Reject::Empty);
        }
        if bytes.starts_with(parquet::MAGIC) || bytes.starts_with(parquet::MAGIC_ENCRYPTED) {
            return Ok(Self::Parquet);
        }
        // No UTF-8 text begins with the opcode PROTO.
        if bytes[0] == pickle::PROTO {
            return Ok(Self::Pickle);
        }
        if let Some(name) = other::format_of(bytes) {
            return Err(Reject::OtherFormat(name));
        }
        if let Some(name) = packed::name_of(bytes) {
            return Err(Reject::Compressed(name));
        }
        match ending_of(packed::without_ending(path)).as_deref() {
            Some("parquet") => Err(Reject::NotWhatItSays("a Parquet file")),
            Some("pkl" | "pickle") => Ok(Self::Pickle),
            _ => Ok(Self::Csv),
        }
    }
}
