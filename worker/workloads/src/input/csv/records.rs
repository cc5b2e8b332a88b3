//! A text's records, in the strict form of RFC 4180: what opens with a quote ends with one, and nothing
//! but a delimiter or the line's end follows it.
//!
//! The usual readers are lenient where a table goes wrong. They take the end of the file for that of a
//! quoted field, and text behind a closing quote for more of the field, so that one stray quote swallows
//! rows without notice. Here such a file is refused with its line.

use crate::input::reject::RecordFault;

/// Fields of one record: a file of nothing but delimiters would take sixteen times its size.
const MAX_FIELDS: usize = 1 << 16;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) delimiter: u8,
    /// Whether a quote inside of a quoted field stands behind a backslash, as in what Spark writes, and not
    /// behind another quote.
    pub(super) backslash: bool,
}

/// One record's fields, without quotes and without the blanks around them.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// The line that it begins on, from 1.
    pub(super) line: u64,
    text: Vec<u8>,
    /// Where each field begins and ends in `text`.
    fields: Vec<(usize, usize)>,
    /// The fields that go over more than one line, and the lines that they begin on.
    tall: Vec<(usize, u64)>,
}

impl Record {
    pub(super) fn len(&self) -> usize {
        self.fields.len()
    }

    pub(super) fn field(&self, index: usize) -> &[u8] {
        let (start, end) = self.fields[index];
        &self.text[start..end]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().map(|&(start, end)| &self.text[start..end])
    }

    pub(super) fn tall(&self) -> &[(usize, u64)] {
        &self.tall
    }

    fn clear(&mut self, line: u64) {
        self.line = line;
        self.text.clear();
        self.fields.clear();
        self.tall.clear();
    }

    /// Ends a field that began at `start`, and cuts off the blanks around it.
    fn end_field(&mut self, start: usize) {
        let field = &self.text[start..];
        let blanks = field.len() - field.trim_ascii_start().len();
        self.fields.push((start + blanks, start + blanks + field.trim_ascii().len()));
    }
}

/// A fault in a record, and its line.
pub(super) type Fault = (u64, RecordFault);

/// Takes one record after the other from a text.
#[derive(Debug)]
pub(super) struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u64,
    style: Style,
}

impl<'a> Records<'a> {
    /// `line` is the number of the first one.
    pub(super) fn new(bytes: &'a [u8], line: u64, style: Style) -> Self {
        Self { bytes, at: 0, line, style }
    }

    /// Reads the next record that is no empty line; returns whether there was one.
    pub(super) fn next(&mut self, record: &mut Record) -> Result<bool, Fault> {
        while self.at < self.bytes.len() && self.line_end() {}
        record.clear(self.line);
        if self.at == self.bytes.len() {
            return Ok(false);
        }
        loop {
            if record.fields.len() == MAX_FIELDS {
                return Err((record.line, RecordFault::TooManyFields(MAX_FIELDS)));
            }
            self.field(record)?;
            if self.at == self.bytes.len() || self.line_end() {
                return Ok(true);
            }
            // A field ends at a delimiter otherwise.
            self.at += 1;
            if self.at == self.bytes.len() {
                record.end_field(record.text.len());
                return Ok(true);
            }
        }
    }

    /// Steps over the end of a line, if it is here: `\n`, `\r\n`, or a `\r` alone.
    fn line_end(&mut self) -> bool {
        let length = match self.bytes[self.at..] {
            [b'\r', b'\n', ..] => 2,
            [b'\r' | b'\n', ..] => 1,
            _ => return false,
        };
        self.at += length;
        self.line += 1;
        true
    }

    fn field(&mut self, record: &mut Record) -> Result<(), Fault> {
        let start = record.text.len();
        let rest = &self.bytes[self.at..];
        let blanks = rest.iter().take_while(|byte| self.is_blank(**byte)).count();
        if rest.get(blanks) == Some(&b'"') {
            self.at += blanks + 1;
            self.quoted(record)?;
        } else {
            let is_end = |byte: &u8| *byte == self.style.delimiter || matches!(byte, b'\n' | b'\r');
            let length = rest.iter().position(is_end).unwrap_or(rest.len());
            record.text.extend_from_slice(&rest[..length]);
            self.at += length;
        }
        record.end_field(start);
        Ok(())
    }

    fn is_blank(&self, byte: u8) -> bool {
        matches!(byte, b' ' | b'\t') && byte != self.style.delimiter
    }

    /// The rest of a field behind its opening quote.
    fn quoted(&mut self, record: &mut Record) -> Result<(), Fault> {
        let first = self.line;
        loop {
            let Some(&byte) = self.bytes.get(self.at) else {
                return Err((first, RecordFault::Unclosed));
            };
            let next = self.bytes.get(self.at + 1).copied();
            match (byte, next) {
                (b'"', Some(b'"')) if !self.style.backslash => self.at += 1,
                (b'\\', Some(b'"' | b'\\')) if self.style.backslash => self.at += 1,
                (b'"', _) => break,
                (b'\r' | b'\n', _) => {
                    self.line_end();
                    record.text.push(b'\n');
                    continue;
                }
                _ => {}
            }
            record.text.push(self.bytes[self.at]);
            self.at += 1;
        }
        self.at += 1;
        while self.bytes.get(self.at).is_some_and(|byte| self.is_blank(*byte)) {
            self.at += 1;
        }
        if self.line > first {
            record.tall.push((record.fields.len(), first));
        }
        match self.bytes.get(self.at) {
            None | Some(b'\r' | b'\n') => Ok(()),
            Some(byte) if *byte == self.style.delimiter => Ok(()),
            Some(_) => Err((self.line, RecordFault::TextAfter(first))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMA: Style = Style { delimiter: b',', backslash: false };

    fn all(text: &str, style: Style) -> Result<Vec<(u64, Vec<String>)>, Fault> {
        let mut records = Records::new(text.as_bytes(), 1, style);
        let (mut record, mut all) = (Record::default(), Vec::new());
        while records.next(&mut record)? {
            let fields = record.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect();
            all.push((record.line, fields));
        }
        Ok(all)
    }

    fn fields(text: &str, style: Style) -> Vec<Vec<String>> {
        all(text, style).unwrap().into_iter().map(|(_, fields)| fields).collect()
    }

    #[test]
    fn records_are_split_and_their_lines_counted() {
        let text = "a, b ,c\r\n\r\n1,\"x \"\"y\"\", z\",\r\n\"two\r\nlines\" , 5\" ,\n\n,,";
        let read = all(text, COMMA).unwrap();
        let said = [
            (1, vec!["a", "b", "c"]),
            (3, vec!["1", "x \"y\", z", ""]),
            (4, vec!["two\nlines", "5\"", ""]),
            (7, vec!["", "", ""]),
        ];
        assert_eq!(read, said.map(|(line, all)| (line, all.into_iter().map(str::to_owned).collect())));
        assert_eq!(fields("a\rb", COMMA), [["a"], ["b"]]);
        assert_eq!(fields("", COMMA), Vec::<Vec<String>>::new());
    }

    #[test]
    fn delimiters_and_escapes_are_the_styles() {
        let style = |delimiter, backslash| Style { delimiter, backslash };
        assert_eq!(fields("a;\"b;\";c,d", style(b';', false)), [["a", "b;", "c,d"]]);
        assert_eq!(fields("a\t\t c ", style(b'\t', false)), [["a", "", "c"]]);
        assert_eq!(fields(r#""a\"","b\\","c\d","""#, style(b',', true)), [["a\"", "b\\", "c\\d", ""]]);
    }

    #[test]
    fn a_quote_that_does_not_end_as_it_should_is_a_fault() {
        assert_eq!(all("a,b\n1,\"x\n", COMMA), Err((2, RecordFault::Unclosed)));
        assert_eq!(all("a,b\n1,\"x\\\"\"\n2,\"x\\\"\"\n", COMMA), Err((3, RecordFault::TextAfter(2))));
        let wide = ",".repeat(MAX_FIELDS) + "x";
        assert_eq!(all(&wide, COMMA), Err((1, RecordFault::TooManyFields(MAX_FIELDS))));
        assert_eq!(fields(&wide[1..], COMMA)[0].len(), MAX_FIELDS);
        assert_eq!(all("\"a\"b", COMMA), Err((1, RecordFault::TextAfter(1))));
    }
}
