//! What a program prints: shown with its item before each line, kept in a log, and its last lines kept for errors.

use std::collections::VecDeque;
use std::io::{self, PipeWriter, Write};

use rustix::event::PollFd;

use super::log::Log;
use super::pipe::Pipe;

/// The last lines of a program's output that are kept for errors, and the bytes of a line at most.
const LINES_KEPT: usize = 20;
const LINE_BYTES_MAX: usize = 2_000;

/// The lines of one program.
#[derive(Debug)]
pub(super) struct Transcript {
    /// The item, before each line that is shown.
    prefix: String,
    /// Bytes that are still shown.
    shown_left: u64,
    log: Option<Log>,
    last: VecDeque<String>,
}

impl Transcript {
    pub fn new(prefix: String, shown_max: u64, log: Option<Log>) -> Self {
        Self { prefix, shown_left: shown_max, log, last: VecDeque::new() }
    }

    /// A line that the program printed.
    fn printed(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line).trim_end().to_owned();
        self.line(&text);
        if self.last.len() >= LINES_KEPT {
            self.last.pop_front();
        }
        self.last.push_back(text);
    }

    /// A line about the program, which is no output of its own.
    pub fn line(&mut self, text: &str) {
        if self.shown_left > 0 {
            self.shown_left = self.shown_left.saturating_sub(text.len() as u64 + 1);
            // Where nobody reads it, the program works on.
            let _ = writeln!(io::stderr(), "{} | {text}", self.prefix);
        }
        if let Some(log) = &mut self.log {
            log.line(text);
        }
    }

    /// The last lines, to be put behind why the program ended.
    pub fn last_lines(&mut self) -> String {
        let lines: Vec<&str> = self.last.iter().map(String::as_str).collect();
        if let Some(log) = self.log.as_mut().filter(|log| log.is_cut()) {
            log.end(&lines.join("\n"));
        }
        if lines.is_empty() { String::new() } else { format!("; its last lines:\n  {}", lines.join("\n  ")) }
    }
}

/// What a program writes to one of its two outputs.
#[derive(Debug)]
pub(super) struct Output {
    pipe: Pipe,
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
    /// The first bytes, as they came, and how many there may be.
    kept: (Vec<u8>, usize),
}

impl Output {
    /// An output whose first bytes are kept, and the end that the program writes to.
    pub fn open(kept_max: usize) -> io::Result<(Self, PipeWriter)> {
        let (pipe, to) = Pipe::open()?;
        Ok((Self { pipe, rest: Vec::new(), kept: (Vec::new(), kept_max) }, to))
    }

    pub fn kept(&self) -> &[u8] {
        &self.kept.0
    }

    pub fn readable(&self) -> Option<PollFd<'_>> {
        self.pipe.readable()
    }

    /// Takes the lines that have come since. A longer line than [`LINE_BYTES_MAX`] counts as several.
    pub fn read(&mut self, into: &mut Transcript) {
        let (rest, (kept, kept_max)) = (&mut self.rest, &mut self.kept);
        self.pipe.read(|mut bytes| {
            kept.extend(&bytes[..bytes.len().min(*kept_max - kept.len())]);
            while !bytes.is_empty() {
                let free = bytes.len().min(LINE_BYTES_MAX - rest.len());
                let end = bytes[..free].iter().position(|byte| *byte == b'\n').map(|at| at + 1);
                let (taken, left) = bytes.split_at(end.unwrap_or(free));
                rest.extend_from_slice(taken);
                bytes = left;
                if end.is_some() || rest.len() == LINE_BYTES_MAX {
                    into.printed(rest);
                    rest.clear();
                }
            }
        });
    }

    /// Takes what is left of a program that has ended.
    pub fn end(&mut self, into: &mut Transcript) {
        self.read(into);
        if !self.rest.is_empty() {
            into.printed(&std::mem::take(&mut self.rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_cut_and_ended() {
        let (mut output, mut to) = Output::open(5).unwrap();
        let mut transcript = Transcript::new("train/0".to_owned(), 0, None);
        to.write_all(b"one\n\ntw").unwrap();
        output.read(&mut transcript);
        assert_eq!(transcript.last, ["one", ""]);
        to.write_all(b"o\n").unwrap();
        to.write_all(&[b'x'; LINE_BYTES_MAX + 3]).unwrap();
        output.read(&mut transcript);
        assert_eq!(transcript.last.iter().map(String::len).collect::<Vec<_>>(), [3, 0, 3, LINE_BYTES_MAX]);
        to.write_all(b"\nthe \xff end").unwrap();
        assert!(output.readable().is_some());
        drop(to);
        output.end(&mut transcript);
        assert!(transcript.last_lines().ends_with("\n  xxx\n  the \u{fffd} end"), "{:?}", transcript.last);
        assert!(output.readable().is_none(), "its end is known, and nothing is waited for");
        assert_eq!(output.kept(), b"one\n\n");
    }
}
