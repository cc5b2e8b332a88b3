//! What prepare commits: a dataset's rows, checked and packed.
//!
//! ```text
//! "FRAUDROW"                magic
//! u32                       version (1)
//! u32, bytes                length and text of the dataset's path, for messages that name it
//! u64                       rows, n
//! 4 columns                 time, customer, terminal, cents: i64 base, u8 width (1, 2, 4 or 8),
//!                           then n unsigned offsets from the base
//! n x u8                    bit 0: fraud; bits 1..: scenario + 1 where the data names it, else 0
//! ```
//! All numbers are little-endian. Rows are sorted by (time, id).

use jiff::ToSpan;
use jiff::civil::{DateTime, date};

use crate::input::Transactions;

use super::bytes::{Reader, Writer};

const MAGIC: &[u8; 8] = b"FRAUDROW";
const VERSION: u32 = 1;

/// The rows of one dataset, as columns of equal length sorted by (time, id).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows {
    /// The dataset's path.
    pub path: String,
    /// Seconds since 1970-01-01 00:00 UTC.
    pub time: Vec<i64>,
    pub customer: Vec<i64>,
    pub terminal: Vec<i64>,
    pub cents: Vec<i64>,
    pub fraud: Vec<bool>,
    /// Which kind of fraud (0 for none), where the data names it. Never a feature.
    pub scenario: Option<Vec<u8>>,
}

/// What a message or a check needs of rows, without reading them all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub path: String,
    /// First and last time.
    pub first: i64,
    pub last: i64,
    /// How many rows there are.
    pub rows: usize,
}

impl Header {
    /// The header, and the bytes of the rows: equal where the rows are, whatever the dataset's path.
    ///
    /// # Errors
    /// What is wrong with the bytes, for a message.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), String> {
        let mut input = Reader::new(bytes, MAGIC, VERSION)?;
        let path = input.text()?;
        let body = input.rest();
        let rows = input.len()?;
        let (first, last) = input.packed_ends(rows)?;
        Ok((Self { path, first, last, rows }, body))
    }
}

impl Rows {
    /// The rows of transactions that [`crate::input`] has read and checked.
    pub fn from_transactions(path: &str, read: Transactions) -> Self {
        Self {
            path: path.to_owned(),
            time: read.time,
            customer: read.customer,
            terminal: read.terminal,
            cents: read.cents,
            fraud: read.fraud,
            scenario: read.scenario,
        }
    }

    pub fn len(&self) -> usize {
        self.time.len()
    }

    pub fn is_empty(&self) -> bool {
        self.time.is_empty()
    }

    /// The rows of several datasets as one, of each those until a time: in time's order, those of one second in
    /// the order in which the datasets are given.
    pub(super) fn merged(mut parts: Vec<(Self, i64)>) -> Self {
        for (rows, until) in &mut parts {
            let kept = rows.time.partition_point(|time| time <= until);
            for column in [&mut rows.time, &mut rows.customer, &mut rows.terminal, &mut rows.cents] {
                column.truncate(kept);
            }
            rows.fraud.truncate(kept);
            rows.scenario = None;
        }
        let mut parts = parts.into_iter().map(|(rows, _)| rows);
        let Some(mut all) = parts.next() else { return Self::default() };
        for rows in parts {
            all.time.extend(rows.time);
            all.customer.extend(rows.customer);
            all.terminal.extend(rows.terminal);
            all.cents.extend(rows.cents);
            all.fraud.extend(rows.fraud);
        }
        if !all.time.is_sorted() {
            all.sort_by_time();
        }
        all
    }

    fn sort_by_time(&mut self) {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by_key(|row| self.time[*row]);
        for column in [&mut self.time, &mut self.customer, &mut self.terminal, &mut self.cents] {
            *column = order.iter().map(|row| column[*row]).collect();
        }
        self.fraud = order.iter().map(|row| self.fraud[*row]).collect();
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(MAGIC, VERSION);
        out.text(&self.path);
        out.u64(self.len() as u64);
        for column in [&self.time, &self.customer, &self.terminal, &self.cents] {
            out.packed(column);
        }
        out.flags(&self.fraud, self.scenario.as_deref());
        out.finish()
    }

    /// # Errors
    /// What is wrong with the bytes, for a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut input = Reader::new(bytes, MAGIC, VERSION)?;
        let path = input.text()?;
        let rows = input.len()?;
        let mut column = || input.packed(rows);
        let (time, customer, terminal, cents) = (column()?, column()?, column()?, column()?);
        let (fraud, scenario) = input.flags(rows)?;
        input.end()?;
        Ok(Self { path, time, customer, terminal, cents, fraud, scenario })
    }
}

/// A time as a person reads it.
pub(super) fn text_of(time: i64) -> String {
    date(1970, 1, 1)
        .at(0, 0, 0, 0)
        .checked_add(time.seconds())
        .map_or_else(|_| format!("{time} s"), |at: DateTime| at.to_string())
}
