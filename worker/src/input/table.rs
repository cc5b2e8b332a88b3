//! From a table of cells, whatever file it came from, to transactions: one set of rules for all.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::reject::{Place, Problem, Reject, quote};
use super::{Labels, Transactions};

/// The Fraud Detection Handbook's names. TX_TIME_SECONDS and TX_TIME_DAYS repeat TX_DATETIME and
/// are not read; further columns are left alone.
const ID: &str = "TRANSACTION_ID";
const TIME: &str = "TX_DATETIME";
const CUSTOMER: &str = "CUSTOMER_ID";
const TERMINAL: &str = "TERMINAL_ID";
const AMOUNT: &str = "TX_AMOUNT";
const FRAUD: &str = "TX_FRAUD";
const SCENARIO: &str = "TX_FRAUD_SCENARIO";

/// The columns that are read, in the order in which they are looked at.
pub(super) const COLUMNS: [&str; 7] = [ID, TIME, CUSTOMER, TERMINAL, AMOUNT, FRAUD, SCENARIO];

/// Rows that one dataset may have: what a file of a few bytes can claim must end somewhere.
pub(super) const MAX_ROWS: usize = 1 << 24;

/// A billion of the currency. The sum over a dataset's rows stays far from the end of an i64.
const MAX_AMOUNT: f64 = 1e9;
pub(crate) const CENTS_MAX: i64 = 100 * MAX_AMOUNT as i64;

/// Kinds of frauds are kept in seven bits, one more than their number.
const MAX_SCENARIO: i64 = 126;

/// Times of the years 1970 to 2199, in seconds.
const TIMES: std::ops::Range<i64> = 0..7_258_118_400;

/// Counts whose unit is to be guessed must fall into 2000 to 2099, in seconds: in these no
/// number is a time in two units.
const COUNTED_TIMES: std::ops::Range<i64> = 946_684_800..4_102_444_800;

/// Unit of a count of time since 1970-01-01 00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Unit {
    const ALL: [Self; 4] = [Self::Seconds, Self::Milliseconds, Self::Microseconds, Self::Nanoseconds];

    fn per_second(self) -> i64 {
        match self {
            Self::Seconds => 1,
            Self::Milliseconds => 1_000,
            Self::Microseconds => 1_000_000,
            Self::Nanoseconds => 1_000_000_000,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
            Self::Nanoseconds => "nanoseconds",
        }
    }

    /// The whole second that a count of this unit falls into.
    fn seconds(self, count: i64) -> i64 {
        count.div_euclid(self.per_second())
    }
}

/// A cell as a file gives it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// An integer outside an i64.
    Wide,
    Float(f64),
    Text(&'a str),
    Time(i64, Unit),
    /// Anything else, by the name of its type.
    Other(&'static str),
}

impl<'a> Cell<'a> {
    /// Text, if it is such and no longer than any number or time. (Formats in which many cells can
    /// share one text would otherwise let a small file ask for a lot of reading.)
    pub(super) fn text(bytes: &'a [u8]) -> Self {
        const LONGEST: usize = 256;
        match str::from_utf8(bytes.get(..LONGEST).unwrap_or(bytes)) {
            Ok(text) if text.len() == bytes.len() => Cell::Text(text),
            Ok(_) => Cell::Other("a long text"),
            Err(_) => Cell::Other("text that is not UTF-8"),
        }
    }
}

/// Takes the cells of a column one by one, with their row (from 0).
pub(super) type Visit<'a> = dyn FnMut(usize, Cell<'_>) -> Result<(), Reject> + 'a;

/// A file's table.
pub(super) trait Table {
    fn names(&self) -> Vec<String>;

    fn rows(&self) -> usize;

    /// Every cell of a column, in the order of rows.
    fn visit(&self, column: usize, each: &mut Visit<'_>) -> Result<(), Reject>;

    /// How a person finds a row (from 0) in the file.
    fn place(&self, row: usize) -> Place {
        Place::Row(row + 1)
    }
}

/// A column that is read: its place in the table, and its name.
#[derive(Clone, Copy)]
struct Column(usize, &'static str);

/// Reads a table's columns into transactions sorted by (time, id).
pub(super) fn transactions(table: &dyn Table, labels: Labels) -> Result<Transactions, Reject> {
    let [id, time, customer, terminal, amount] = required(&table.names(), labels)?;
    let label_of = |name| if labels == Labels::Unread { Ok(None) } else { optional(&table.names(), name) };
    let (fraud, scenario) = (label_of(FRAUD)?, label_of(SCENARIO)?);
    match table.rows() {
        0 => return Err(Reject::NoRows),
        rows if rows > MAX_ROWS => {
            return Err(Reject::TooManyRows { rows: rows as u64, max: MAX_ROWS });
        }
        _ => {}
    }
    let unsorted = Transactions {
        id: column(table, id, integer)?,
        time: times(table, time)?,
        customer: column(table, customer, integer)?,
        terminal: column(table, terminal, integer)?,
        cents: column(table, amount, cents)?,
        fraud: match fraud {
            Some(fraud) => column(table, fraud, label)?,
            None => vec![false; table.rows()],
        },
        scenario: scenario.map(|scenario| column(table, scenario, kind)).transpose()?,
    };
    refuse_duplicates(&unsorted.id)?;
    Ok(sorted(unsorted))
}

fn required(names: &[String], labels: Labels) -> Result<[Column; 5], Reject> {
    let wanted = [ID, TIME, CUSTOMER, TERMINAL, AMOUNT];
    let label = (labels == Labels::Needed).then_some(FRAUD);
    let missing: Vec<String> = wanted
        .into_iter()
        .chain(label)
        .filter(|name| !names.iter().any(|n| n == *name))
        .map(ToString::to_string)
        .collect();
    if !missing.is_empty() {
        return Err(Reject::MissingColumns { missing, found: names.to_vec() });
    }
    let mut columns = [Column(0, ID); 5];
    for (column, name) in columns.iter_mut().zip(wanted) {
        if let Some(found) = optional(names, name)? {
            *column = found;
        }
    }
    Ok(columns)
}

fn optional(names: &[String], name: &'static str) -> Result<Option<Column>, Reject> {
    let mut places = names.iter().enumerate().filter(|(_, n)| *n == name).map(|(place, _)| place);
    match (places.next(), places.next()) {
        (Some(_), Some(_)) => Err(Reject::DuplicateColumn(name)),
        (place, _) => Ok(place.map(|place| Column(place, name))),
    }
}

/// A column whose cells are read each by itself.
fn column<T>(
    table: &dyn Table,
    Column(index, name): Column,
    read: impl Fn(Cell<'_>) -> Result<T, Problem>,
) -> Result<Vec<T>, Reject> {
    let mut values = Vec::with_capacity(table.rows());
    table.visit(index, &mut |row, cell| {
        let value =
            read(cell).map_err(|problem| Reject::Cell { column: name, place: table.place(row), problem })?;
        values.push(value);
        Ok(())
    })?;
    Ok(values)
}

/// Integers of any width, and text of digits. No floats: an id that went through one may have
/// lost its last digits.
fn integer(cell: Cell<'_>) -> Result<i64, Problem> {
    match cell {
        Cell::Int(value) => Ok(value),
        Cell::Wide => Err(Problem::TooWide("the integer".to_owned())),
        Cell::Text(text) => match text.parse() {
            Ok(value) => Ok(value),
            Err(error) if is_too_wide(&error) => Err(Problem::TooWide(quote(text))),
            Err(_) => Err(mistyped(cell, "an integer")),
        },
        _ => Err(mistyped(cell, "an integer")),
    }
}

fn is_too_wide(error: &std::num::ParseIntError) -> bool {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    matches!(error.kind(), PosOverflow | NegOverflow)
}

/// An amount in the currency's unit, as cents: multiplied by 100 in f64 and rounded to the
/// nearest integer, halves up. What is smaller than a cent is rounded away without a word, as
/// amounts out of a float32 column or a conversion carry such a rest.
fn cents(cell: Cell<'_>) -> Result<i64, Problem> {
    let amount = match cell {
        Cell::Int(value) => value as f64,
        Cell::Float(value) => value,
        Cell::Text(text) => text.parse().map_err(|_| mistyped(cell, "an amount"))?,
        Cell::Wide => return Err(Problem::TooLarge("the integer".to_owned())),
        _ => return Err(mistyped(cell, "an amount")),
    };
    if amount.is_nan() {
        Err(Problem::NotFinite("NaN"))
    } else if amount.is_infinite() {
        Err(Problem::NotFinite("infinity"))
    } else if amount < 0.0 {
        Err(Problem::Negative(amount.to_string()))
    } else if amount > MAX_AMOUNT {
        Err(Problem::TooLarge(format!("{amount:e}")))
    } else {
        Ok((amount * 100.0).round() as i64)
    }
}

fn label(cell: Cell<'_>) -> Result<bool, Problem> {
    match cell {
        Cell::Bool(value) => Ok(value),
        Cell::Text("True" | "true") => Ok(true),
        Cell::Text("False" | "false") => Ok(false),
        _ => match integer(cell)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Problem::NotALabel(other.to_string())),
        },
    }
}

fn kind(cell: Cell<'_>) -> Result<u8, Problem> {
    let value = integer(cell)?;
    match u8::try_from(value) {
        Ok(kind) if value <= MAX_SCENARIO => Ok(kind),
        _ => Err(Problem::NotAScenario(value.to_string())),
    }
}

fn mistyped(cell: Cell<'_>, wanted: &'static str) -> Problem {
    let found = match cell {
        Cell::Null | Cell::Text("") => return Problem::Null,
        // what pandas puts where there is no value
        Cell::Float(value) if value.is_nan() => return Problem::Null,
        Cell::Bool(value) => format!("the boolean {value}"),
        Cell::Int(value) => format!("the integer {value}"),
        Cell::Wide => "a wide integer".to_owned(),
        Cell::Float(value) => format!("the float {value:?}"),
        Cell::Text(text) => format!("the text {}", quote(text)),
        Cell::Time(..) => "a time".to_owned(),
        Cell::Other(name) => name.to_owned(),
    };
    Problem::Mistyped { found, wanted }
}

/// Times as whole seconds since 1970 UTC, fractions cut off. Text is read as UTC unless it names
/// an offset. Integers (the tutorial's pickles have nanoseconds) count from 1970 in the unit
/// which makes them a time between 2000 and 2100, the same one in all rows.
fn times(table: &dyn Table, time: Column) -> Result<Vec<i64>, Reject> {
    let unit = std::cell::Cell::new(None);
    column(table, time, |cell| {
        let seconds = match cell {
            Cell::Time(count, unit) => unit.seconds(count),
            Cell::Int(count) => return counted(count, &unit),
            Cell::Text(text) => match (text.parse(), seconds_of(text)) {
                (Ok(count), _) => return counted(count, &unit),
                (_, Some(seconds)) => seconds,
                _ if text.is_empty() => return Err(Problem::Null),
                _ => return Err(Problem::NotATime(quote(text))),
            },
            _ => return Err(mistyped(cell, "a time")),
        };
        match (TIMES.contains(&seconds), cell) {
            (true, _) => Ok(seconds),
            (false, Cell::Text(text)) => Err(Problem::OutOfTime(quote(text))),
            (false, _) => Err(Problem::OutOfTime(format!("{seconds} s since 1970"))),
        }
    })
}

fn counted(count: i64, first: &std::cell::Cell<Option<Unit>>) -> Result<i64, Problem> {
    let Some(unit) = Unit::ALL.into_iter().find(|unit| COUNTED_TIMES.contains(&unit.seconds(count))) else {
        return Err(Problem::NotACount(count.to_string()));
    };
    match first.get() {
        Some(before) if before != unit => Err(Problem::MixedUnits(count, unit.name(), before.name())),
        _ => {
            first.set(Some(unit));
            Ok(unit.seconds(count))
        }
    }
}

/// A date and time as pandas, Spark and people write them: `2018-04-01 00:00:31`, with `T`, a
/// fraction, an offset or `Z`, or the date alone.
fn seconds_of(text: &str) -> Option<i64> {
    let whole = |time: Timestamp| time.as_nanosecond().div_euclid(1_000_000_000) as i64;
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(whole(time));
    }
    let time: DateTime = text.parse().ok()?;
    Offset::UTC.to_timestamp(time).ok().map(whole)
}

fn refuse_duplicates(ids: &[i64]) -> Result<(), Reject> {
    if ids.windows(2).all(|pair| pair[0] < pair[1]) {
        return Ok(());
    }
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    match ids.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Reject::DuplicateId(pair[0])),
        None => Ok(()),
    }
}

/// Ids are unique, so (time, id) is a total order and any sort gives the same.
fn sorted(unsorted: Transactions) -> Transactions {
    let key = |row: usize| (unsorted.time[row], unsorted.id[row]);
    let rows = unsorted.id.len();
    if (1..rows).all(|row| key(row - 1) < key(row)) {
        return unsorted;
    }
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_unstable_by_key(|&row| key(row));
    fn pick<T: Copy>(values: &[T], order: &[usize]) -> Vec<T> {
        order.iter().map(|&row| values[row]).collect()
    }
    Transactions {
        id: pick(&unsorted.id, &order),
        time: pick(&unsorted.time, &order),
        customer: pick(&unsorted.customer, &order),
        terminal: pick(&unsorted.terminal, &order),
        cents: pick(&unsorted.cents, &order),
        fraud: pick(&unsorted.fraud, &order),
        scenario: unsorted.scenario.as_deref().map(|scenario| pick(scenario, &order)),
    }
}
