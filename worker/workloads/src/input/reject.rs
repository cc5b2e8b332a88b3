//! Why a dataset's content cannot be used: what the report tells.

use std::fmt;

use super::pickle::refusal::Refusal;

/// Why a dataset is rejected. Its text is a pure function of the dataset's bytes and the ending of
/// its name: it goes into the report, so it carries no path and no wording of a library.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Reject {
    #[error("the file is empty")]
    Empty,
    #[error("the file is compressed with {0} (hint: unpack it; Parquet compresses its own columns)")]
    Compressed(&'static str),
    #[error("the file is cut off or damaged: {0} cannot decompress it")]
    PackingDamaged(&'static str),
    #[error("the file takes more than {mib} MiB when decompressed (hint: split it into smaller datasets)")]
    PackingLarge { mib: usize },
    #[error("the file is {0}, which is not read (hint: write Parquet or CSV)")]
    OtherFormat(&'static str),
    #[error("the file is neither Parquet nor a pickle, and as CSV it would have to be UTF-8 text")]
    Unknown,
    /// The name's ending says a format that the content is not.
    #[error("the name promises {0}, which the content is not")]
    NotWhatItSays(&'static str),
    #[error("the Parquet file is cut off: its closing footer is missing")]
    ParquetCut,
    #[error("the Parquet file is damaged: {0}")]
    ParquetDamaged(ParquetPart),
    #[error(
        "the Parquet file is compressed with {0}, which is not supported (hint: Snappy, gzip, Zstandard, LZ4 and \
         Brotli are)"
    )]
    ParquetCodec(&'static str),
    #[error("the Parquet file is encrypted (hint: write it without encryption)")]
    ParquetEncrypted,
    #[error(
        "a page of the Parquet file's column {column} takes {mib} MiB when decompressed, more than 256 \
         (hint: write smaller pages; 1 MiB is the usual size)"
    )]
    ParquetPage { column: String, mib: usize },
    #[error(transparent)]
    Pickle(#[from] Refusal),
    #[error("line {line}: {fields} field{}, where the header has {header}", if *.fields == 1 { "" } else { "s" })]
    Ragged { line: u64, fields: usize, header: usize },
    #[error("line {line}: {fault}")]
    Record { line: u64, fault: RecordFault },
    #[error("the file is {0} text, and as CSV it would have to be UTF-8 (hint: save it as CSV UTF-8)")]
    Encoding(&'static str),
    #[error("line {line}: not UTF-8 text")]
    NotText { line: u64 },
    #[error(
        "missing {}; found {} (hint: {})",
        Names("column", .missing),
        Names("only", .found),
        missing_hint(.found)
    )]
    MissingColumns { missing: Vec<String>, found: Vec<String> },
    #[error(
        "missing {}, which the DataFrame's index holds (hint: `reset_index()` makes columns of it)",
        Names("column", .0)
    )]
    ColumnsInIndex(Vec<String>),
    #[error("more than one column is named {0}")]
    DuplicateColumn(&'static str),
    #[error("the dataset has no rows")]
    NoRows,
    #[error(
        "the dataset has {} rows, which take {} MiB of memory or more: {max} rows are the most for one dataset \
         (hint: split it into smaller ones)",
        if *.rows == *.max as u64 + 1 { format!("more than {max}") } else { rows.to_string() },
        rows.saturating_mul(ROW_BYTES) >> 20
    )]
    TooManyRows { rows: u64, max: usize },
    #[error("{column}, {place}: {problem}")]
    Cell { column: &'static str, place: Place, problem: Problem },
    #[error("TRANSACTION_ID {0} occurs more than once")]
    DuplicateId(i64),
}

/// Why a record of a CSV file is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    #[error(
        "a quoted field begins here and never ends (hint: quote fields as RFC 4180 does, or write Parquet)"
    )]
    Unclosed,
    #[error(
        "text follows the end of a quoted field, which begins on line {0} (hint: quote fields as RFC 4180 does, or \
         write Parquet)"
    )]
    TextAfter(u64),
    #[error(
        "a quoted field begins here and holds what look like rows (hint: quote fields as RFC 4180 does, or write \
         Parquet)"
    )]
    HoldsRows,
    #[error("more than {0} fields")]
    TooManyFields(usize),
}

/// Where a cell is: text files are found by line, the others by row. Both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Row(usize),
    Line(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(row) => write!(f, "row {row}"),
            Self::Line(line) => write!(f, "line {line}"),
        }
    }
}

/// The part of a Parquet file that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParquetPart {
    Footer,
    Column(String),
    Content,
}

impl fmt::Display for ParquetPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Footer => f.write_str("its footer cannot be read"),
            Self::Column(name) => write!(f, "its column {name} cannot be read"),
            Self::Content => f.write_str("its content cannot be read"),
        }
    }
}

/// What is wrong with a cell.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Problem {
    #[error("no value")]
    Null,
    #[error("{found} where {wanted} is wanted")]
    Mistyped { found: String, wanted: &'static str },
    #[error("{0} where an integer is wanted (hint: --text-ids takes any text as an id)")]
    TextId(String),
    #[error("{0} where an id is wanted (hint: write ids as integers, or as text for --text-ids)")]
    NotAnId(String),
    #[error("{0} does not fit into 64 bits")]
    TooWide(String),
    #[error(
        "{0} is above 9223372036854775807, the largest id of a transaction (hint: number transactions from 0)"
    )]
    Unsigned(u64),
    #[error("{0:?} is a float too large to be an exact integer (hint: write integers)")]
    Inexact(f64),
    #[error("{0} ({1}) does not hold exact cents (hint: write 64-bit floats or decimals)")]
    Coarse(&'static str, f64),
    #[error("{0} has another decimal mark than the rows before it")]
    MixedMarks(String),
    #[error("the comma in {0} may part thousands or decimals (hint: write a decimal point)")]
    Comma(String),
    #[error("{0} is no amount")]
    NotFinite(&'static str),
    #[error("{0} is negative: refunds are not supported (hint: leave them out)")]
    Negative(String),
    #[error("{0} is too large for an amount (at most 1 billion)")]
    TooLarge(String),
    #[error("{0} is no time of the years 1970 to 2199")]
    OutOfTime(String),
    #[error("{0} is no time (hint: 2018-04-01 00:00:31)")]
    NotATime(String),
    #[error("{0} names a zone and no offset (hint: 2018-04-01T02:00:31+02:00, or UTC)")]
    ZoneWithoutOffset(String),
    #[error("{0} is no time since 1970 in s, ms, µs or ns that falls between 2000 and 2100")]
    NotACount(String),
    #[error("{0} counts {1}, the rows before it {2}")]
    MixedUnits(i64, &'static str, &'static str),
    #[error("{0} is neither 0 nor 1")]
    NotALabel(String),
    #[error("{0} is not between 0 and 126")]
    NotAScenario(String),
}

/// What to do about columns that are missing. A name has a letter: without any, the first row was read as the header.
fn missing_hint(found: &[String]) -> &'static str {
    let is_name = |name: &String| name.chars().any(char::is_alphabetic);
    match found.is_empty() || found.iter().any(is_name) {
        true => "--map-columns says which of yours it is",
        false => "the first line has to name the columns",
    }
}

/// Memory that a worker was measured to need for a row of a dataset, from reading it to learning from it.
const ROW_BYTES: u64 = 300;

/// A list of names, fit for one line: some of them, shortened.
struct Names<'a>(&'static str, &'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 12;
        let Self(what, names) = self;
        match (*what, names.len()) {
            ("column", 2..) => f.write_str("columns ")?,
            (_, 0) => return f.write_str("no columns"),
            (what, _) => write!(f, "{what} ")?,
        }
        for (i, name) in names.iter().take(SHOWN).enumerate() {
            write!(f, "{}{}", if i > 0 { ", " } else { "" }, quote(name))?;
        }
        match names.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Text out of a dataset, made fit for one line of a report: control characters escaped, and
/// shortened to 60 characters.
pub(super) fn quote(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut short: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        short.push('…');
    }
    if short.is_empty() { "\"\"".to_owned() } else { short }
}
