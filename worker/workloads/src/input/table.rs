//! From a table of cells, whatever file it came from, to transactions: one set of rules for all.

use super::cell::Cell;
use super::reject::{Place, Problem, Reject};
use super::times::{self, Counting};
use super::values::{self, Mark};
use super::{How, Labels, Transactions};

/// The Fraud Detection Handbook's names. TX_TIME_SECONDS and TX_TIME_DAYS repeat TX_DATETIME and
/// are not read; further columns are left alone.
pub(super) const ID: &str = "TRANSACTION_ID";
pub(super) const TIME: &str = "TX_DATETIME";
pub(super) const CUSTOMER: &str = "CUSTOMER_ID";
pub(super) const TERMINAL: &str = "TERMINAL_ID";
pub(super) const AMOUNT: &str = "TX_AMOUNT";
pub(super) const FRAUD: &str = "TX_FRAUD";
pub(super) const SCENARIO: &str = "TX_FRAUD_SCENARIO";

/// The columns that are read, in the order in which they are looked at.
const COLUMNS: [&str; 7] = [ID, TIME, CUSTOMER, TERMINAL, AMOUNT, FRAUD, SCENARIO];

/// Rows that one dataset may have: what a file of a few bytes can claim must end somewhere, and a worker of
/// 2 GiB, as on Kubernetes, must have the memory for what follows (`Reject::TooManyRows`).
pub(super) const MAX_ROWS: usize = 5_000_000;

/// Takes the cells of a column one by one, with their row (from 0).
pub(super) type Visit<'a> = dyn FnMut(usize, Cell<'_>) -> Result<(), Reject> + 'a;

/// A file's table.
pub(super) trait Table {
    fn names(&self) -> Vec<String>;

    fn rows(&self) -> usize;

    /// Names of an index, where a table has one beside its columns.
    fn index(&self) -> Vec<String> {
        Vec::new()
    }

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
pub(super) fn transactions(table: &dyn Table, how: How<'_>) -> Result<Transactions, Reject> {
    let (labels, names) = (how.labels, how.columns.rename(table.names()));
    let [id, time, customer, terminal, amount] =
        required(&names, labels).map_err(|reject| in_index(reject, &how.columns.rename(table.index())))?;
    let label_of = |name| if labels == Labels::Unread { Ok(None) } else { optional(&names, name) };
    let (fraud, scenario) = (label_of(FRAUD)?, label_of(SCENARIO)?);
    match table.rows() {
        0 => return Err(Reject::NoRows),
        rows if rows > MAX_ROWS => {
            return Err(Reject::TooManyRows { rows: rows as u64, max: MAX_ROWS });
        }
        _ => {}
    }
    let (counting, mark) = (Counting::default(), Mark::default());
    let unsorted = Transactions {
        id: match labels {
            Labels::Needed => column(table, id, |cell| how.columns.ids.id(cell))?,
            // A score is of an id that its reader knows.
            Labels::Unread => column(table, id, values::integer)?,
        },
        time: column(table, time, |cell| times::time(cell, &counting))?,
        customer: column(table, customer, |cell| how.columns.ids.key(cell))?,
        terminal: column(table, terminal, |cell| how.columns.ids.key(cell))?,
        cents: column(table, amount, |cell| values::cents(cell, &mark))?,
        fraud: match fraud {
            Some(fraud) => column(table, fraud, values::label)?,
            None => vec![false; table.rows()],
        },
        scenario: scenario.map(|scenario| column(table, scenario, values::kind)).transpose()?,
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
        .filter(|wanted| !names.iter().any(|name| is_named(name, wanted)))
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

/// Where an index holds columns that are missing, their names say more.
fn in_index(reject: Reject, index: &[String]) -> Reject {
    let Reject::MissingColumns { missing, .. } = &reject else { return reject };
    let held = missing.iter().filter(|wanted| index.iter().any(|name| is_named(name, wanted)));
    match held.cloned().collect::<Vec<_>>() {
        held if held.is_empty() => reject,
        held => Reject::ColumnsInIndex(held),
    }
}

/// A column by its name: the one that has it to the letter, or else the one that is meant.
fn optional(names: &[String], wanted: &'static str) -> Result<Option<Column>, Reject> {
    let only = |is: &dyn Fn(&str) -> bool| {
        let mut places = names.iter().enumerate().filter(|(_, name)| is(name)).map(|(place, _)| place);
        match (places.next(), places.next()) {
            (Some(_), Some(_)) => Err(Reject::DuplicateColumn(wanted)),
            (place, _) => Ok(place.map(|place| Column(place, wanted))),
        }
    };
    match only(&|name| name == wanted)? {
        Some(column) => Ok(Some(column)),
        None => only(&|name| is_named(name, wanted)),
    }
}

/// Whether a column of this name is the wanted one: databases write names in lower case, people write
/// blanks for underscores.
pub(super) fn is_named(name: &str, wanted: &str) -> bool {
    let name = name
        .trim()
        .bytes()
        .map(|byte| if matches!(byte, b' ' | b'-') { b'_' } else { byte.to_ascii_uppercase() });
    name.eq(wanted.bytes())
}

/// How many of the columns that are read have these names.
pub(super) fn known(names: &[String]) -> usize {
    COLUMNS.iter().filter(|column| names.iter().any(|name| is_named(name, column))).count()
}

/// Whether a column of this name may be read.
pub(super) fn is_read(name: &str) -> bool {
    COLUMNS.iter().any(|column| is_named(name, column))
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
