//! CSV: a header, one transaction a line, quotes where needed. What parts the fields, and how a quote
//! inside of a field is written, is seen from the file.

mod records;

use records::{Fault, Record, Records, Style};

use super::reject::{Place, RecordFault, Reject};
use super::table::{self, MAX_ROWS, TIME, Table, Visit};
use super::{Columns, cell::Cell, times};

/// Delimiters of fields. Where several give a header equally many known names, the first is taken.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// The cells of the columns that are read, as text one after the other, row by row.
struct Csv {
    names: Vec<String>,
    /// For each column of the file its place among the kept ones.
    kept: Vec<Option<usize>>,
    /// The column of times.
    time: Option<usize>,
    text: String,
    /// Where each cell ends in `text`.
    ends: Vec<usize>,
    lines: Vec<u64>,
}

/// Reads a CSV file's table, without a byte order mark and with blanks around cells cut off.
pub(super) fn read(bytes: &[u8], columns: &Columns) -> Result<impl Table + use<>, Reject> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if is_utf16(bytes) {
        return Err(Reject::Encoding("UTF-16"));
    }
    let (bytes, line) = match bytes.strip_prefix(b"sep=") {
        // What Excel writes before the header, to be read by itself.
        Some([_, b'\r', b'\n', rest @ ..] | [_, b'\n', rest @ ..]) => (rest, 2),
        _ => (bytes, 1),
    };
    let delimiter = delimiter(bytes, columns);
    let written = |backslash| Csv::read(bytes, line, Style { delimiter, backslash }, columns);
    match written(false) {
        Err(refused @ Reject::Record { .. }) if has_escaped_quote(bytes) => {
            written(true).map_err(|_| refused)
        }
        read => read,
    }
}

/// By the mark at its beginning, or since every other byte of its first letters is zero.
fn is_utf16(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 1..=127, 0, 1..=127, ..] | [1..=127, 0, 1..=127, 0, ..]
    )
}

fn has_escaped_quote(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == b"\\\"")
}

fn delimiter(bytes: &[u8], columns: &Columns) -> u8 {
    let known = |delimiter: u8| {
        let mut header = Record::default();
        let mut records = Records::new(bytes, 1, Style { delimiter, backslash: false });
        match records.next(&mut header) {
            Ok(_) => table::known(&columns.rename(names(&header))),
            Err(_) => 0,
        }
    };
    // Of the largest the last: the first of the delimiters.
    DELIMITERS.into_iter().rev().max_by_key(|delimiter| known(*delimiter)).unwrap_or(b',')
}

fn names(header: &Record) -> Vec<String> {
    header.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

fn refused((line, fault): Fault) -> Reject {
    Reject::Record { line, fault }
}

impl Csv {
    fn read(bytes: &[u8], line: u64, style: Style, columns: &Columns) -> Result<Self, Reject> {
        let mut records = Records::new(bytes, line, style);
        let mut record = Record::default();
        records.next(&mut record).map_err(refused)?;
        let mut csv = Self::of(&record, columns);
        if record.iter().any(|name| str::from_utf8(name).is_err())
            && table::known(&columns.rename(csv.names.clone())) == 0
        {
            return Err(Reject::Unknown);
        }
        while records.next(&mut record).map_err(refused)? {
            csv.push(&record, style)?;
        }
        Ok(csv)
    }

    fn of(header: &Record, columns: &Columns) -> Self {
        let names = names(header);
        let meant = columns.rename(names.clone());
        let mut count = 0;
        let kept = meant.iter().map(|name| {
            table::is_read(name).then(|| {
                count += 1;
                count - 1
            })
        });
        let kept = kept.collect();
        let time = meant.iter().position(|name| table::is_named(name, TIME));
        Self { names, kept, time, text: String::new(), ends: Vec::new(), lines: Vec::new() }
    }

    fn push(&mut self, record: &Record, style: Style) -> Result<(), Reject> {
        let line = record.line;
        if self.lines.len() == MAX_ROWS {
            return Err(Reject::TooManyRows { rows: MAX_ROWS as u64 + 1, max: MAX_ROWS });
        }
        if let Some(&(_, line)) =
            record.tall().iter().find(|&&(field, _)| self.holds_rows(field, record, style))
        {
            return Err(refused((line, RecordFault::HoldsRows)));
        }
        if record.len() != self.names.len() {
            return Err(Reject::Ragged { line, fields: record.len(), header: self.names.len() });
        }
        self.lines.push(line);
        for (cell, kept) in record.iter().zip(&self.kept) {
            if kept.is_some() {
                let text = str::from_utf8(cell).ok().filter(|text| !text.contains('\0'));
                self.text.push_str(text.ok_or(Reject::NotText { line })?);
                self.ends.push(self.text.len());
            }
        }
        Ok(())
    }

    /// Whether a field over several lines has, where rows would have them, times. Between two stray quotes lie
    /// rows that would be lost without notice; a note of several lines has no times in just these places.
    fn holds_rows(&self, field: usize, record: &Record, style: Style) -> bool {
        let Some(time) = self.time else { return false };
        let mut lines = record.field(field).split(|byte| *byte == b'\n').enumerate();
        lines.any(|(index, line)| {
            let before = if index == 0 { field } else { 0 };
            let place = time.checked_sub(before).filter(|place| index > 0 || *place > 0);
            let cell = place.and_then(|place| line.split(|byte| *byte == style.delimiter).nth(place));
            let text = cell.and_then(|cell| str::from_utf8(cell).ok());
            text.is_some_and(|text| times::looks_like_a_time(text.trim_matches([' ', '"'])))
        })
    }
}

impl Table for Csv {
    fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    fn rows(&self) -> usize {
        self.lines.len()
    }

    fn visit(&self, column: usize, each: &mut Visit<'_>) -> Result<(), Reject> {
        let Some(&Some(first)) = self.kept.get(column) else {
            return Ok(());
        };
        let width = self.ends.len() / self.lines.len().max(1);
        for row in 0..self.lines.len() {
            let cell = row * width + first;
            let start = if cell == 0 { 0 } else { self.ends[cell - 1] };
            each(row, Cell::Text(&self.text[start..self.ends[cell]]))?;
        }
        Ok(())
    }

    fn place(&self, row: usize) -> Place {
        Place::Line(self.lines[row])
    }
}
