//! What a program says of itself on its way: lines of JSON on a file descriptor of their own, `BATCH_METRICS_FD`.
//! They are shown and kept in the log of the attempt, and decide nothing.

use std::io::{self, PipeWriter};

use rustix::event::PollFd;
use serde_json::Value;

use super::pipe::Pipe;
use crate::guard::METRICS;

/// Bytes of one line, at most: a longer one is left out.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Metrics that are shown of one line.
const SHOWN_MAX: usize = 20;

/// The end that is read.
pub(super) struct Metrics {
    pipe: Pipe,
    lines: Lines,
}

/// What was read.
#[derive(Default)]
struct Lines {
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
    /// The last tenth of the work that was shown.
    tenth: Option<u8>,
}

impl Metrics {
    /// A channel, and the end that the program writes to.
    pub(super) fn open() -> io::Result<(Self, PipeWriter)> {
        let (pipe, to) = Pipe::open()?;
        Ok((Self { pipe, lines: Lines::default() }, to))
    }

    pub(super) fn readable(&self) -> Option<PollFd<'_>> {
        self.pipe.readable()
    }

    /// What has come since, as lines for people.
    pub(super) fn read(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        self.pipe.read(|bytes| self.lines.take(bytes, &mut said));
        said
    }
}

impl Lines {
    fn take(&mut self, bytes: &[u8], lines: &mut Vec<String>) {
        for byte in bytes {
            if *byte != b'\n' {
                // One more than the most marks a line that is too long.
                if self.rest.len() <= LINE_BYTES_MAX {
                    self.rest.push(*byte);
                }
                continue;
            }
            let line = std::mem::take(&mut self.rest);
            if line.len() <= LINE_BYTES_MAX {
                lines.extend(self.in_words(&line));
            }
        }
    }

    /// What a line says; `None` for one that says nothing new of ours.
    fn in_words(&mut self, line: &[u8]) -> Option<String> {
        let Ok(Value::Object(said)) = serde_json::from_slice(line) else {
            return Some(format!("a line on {METRICS} is no JSON object: {}", String::from_utf8_lossy(line)));
        };
        let mut words = Vec::new();
        if let Some(progress) = said.get("progress").and_then(Value::as_f64) {
            let progress = progress.clamp(0.0, 1.0);
            // Programs may say it at every step: each tenth is shown once.
            let tenth = Some((progress * 10.0) as u8);
            if tenth != self.tenth {
                self.tenth = tenth;
                words.push(format!("{:.0} %", progress * 100.0));
            }
        }
        if let Some(Value::Object(metrics)) = said.get("metrics") {
            words.extend(metrics.iter().take(SHOWN_MAX).map(|(name, value)| format!("{name} {value}")));
        }
        (!words.is_empty()).then(|| words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn lines_become_words_and_what_is_no_line_of_ours_is_said() {
        let (mut metrics, mut to) = Metrics::open().unwrap();
        to.write_all(b"{\"progress\": 0.25}\n{\"metrics\": {\"auc\": 0.5, \"step\": 3}}\n{\"progress\": 7, ")
            .unwrap();
        assert_eq!(metrics.read(), ["25 %", "auc 0.5, step 3"]);
        to.write_all(b"\"metrics\": {}}\n{\"progress\": 1}\nnonsense\n{\"other\": 1}\n").unwrap();
        assert_eq!(metrics.read(), ["100 %", "a line on BATCH_METRICS_FD is no JSON object: nonsense"]);
        assert_eq!(metrics.read(), Vec::<String>::new(), "nothing has come, and nothing is waited for");
    }

    #[test]
    fn a_line_that_is_too_long_is_left_out() {
        let (mut metrics, mut lines) = (Lines::default(), Vec::new());
        metrics.take(&vec![b'x'; LINE_BYTES_MAX * 3], &mut lines);
        assert!(metrics.rest.len() <= LINE_BYTES_MAX + 1);
        metrics.take(b"\n{\"progress\": 1}\n", &mut lines);
        assert_eq!(lines, ["100 %"]);
    }
}
