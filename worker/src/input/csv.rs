//! CSV: commas, a header, quotes where needed, one transaction a line.

use csv::{ByteRecord, ErrorKind, ReaderBuilder, Trim};

use super::reject::{Place, Reject};
use super::table::{COLUMNS, Cell, MAX_ROWS, Table, Visit};

/// The cells of the columns that are read, as text one after the other, row by row.
struct Csv {
    names: Vec<String>,
    /// For each column of the file its place among the kept ones.
    kept: Vec<Option<usize>>,
    text: String,
    /// Where each cell ends in `text`.
    ends: Vec<usize>,
    lines: Vec<u64>,
}

/// Reads a CSV file's table, without a byte order mark and with blanks around cells cut off.
pub(super) fn read(bytes: &[u8]) -> Result<impl Table, Reject> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(bytes);
    let header = reader.headers().map_err(|_| Reject::Unknown)?;
    let names: Vec<String> = header.iter().map(str::to_owned).collect();
    let mut count = 0;
    let kept = names
        .iter()
        .map(|name| {
            COLUMNS.contains(&name.as_str()).then(|| {
                count += 1;
                count - 1
            })
        })
        .collect();
    let mut csv = Csv {
        names,
        kept,
        text: String::new(),
        ends: Vec::new(),
        lines: Vec::new(),
    };
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(ragged)? {
        csv.push(&record)?;
    }
    Ok(csv)
}

fn ragged(error: csv::Error) -> Reject {
    match error.kind() {
        ErrorKind::UnequalLengths {
            pos,
            expected_len,
            len,
        } => Reject::Ragged {
            line: pos.as_ref().map_or(0, csv::Position::line),
            fields: *len,
            header: *expected_len,
        },
        // Reading from memory fails in no other way.
        _ => Reject::Unknown,
    }
}

impl Csv {
    fn push(&mut self, record: &ByteRecord) -> Result<(), Reject> {
        let line = record.position().map_or(0, csv::Position::line);
        if self.lines.len() == MAX_ROWS {
            return Err(Reject::TooManyRows {
                rows: MAX_ROWS as u64 + 1,
                max: MAX_ROWS,
            });
        }
        self.lines.push(line);
        for (cell, kept) in record.iter().zip(&self.kept) {
            if kept.is_some() {
                self.text
                    .push_str(str::from_utf8(cell).map_err(|_| Reject::NotText { line })?);
                self.ends.push(self.text.len());
            }
        }
        Ok(())
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
