//! What programs print, shown while the run goes on: the workers put it on standard error, which goes to a file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use worker::workload::exec::logs::is_a_programs;

/// Bytes that are shown at a time, at most; of more the last ones.
const SHOWN_MAX: u64 = 64 << 10;

/// Goes on in a file from where it was read last.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    at: u64,
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
}

impl Tail {
    /// From the file's end on: what is there is of an earlier part of the run.
    pub fn new(path: &Path) -> Self {
        let at = std::fs::metadata(path).map_or(0, |meta| meta.len());
        Self { path: path.to_owned(), at, rest: Vec::new() }
    }

    /// Shows the lines of programs that have come since. What cannot be read is not shown: the run matters more.
    pub fn read(&mut self, show: &mut dyn FnMut(&str)) {
        let Ok(mut file) = File::open(&self.path) else { return };
        let length = file.metadata().map_or(0, |meta| meta.len());
        let mut from = self.at;
        if length.saturating_sub(from) > SHOWN_MAX {
            from = length - SHOWN_MAX;
            self.rest.clear();
            show(&format!("… more was printed: {} has it", self.path.display()));
        }
        let mut new = Vec::new();
        let read = file.seek(SeekFrom::Start(from)).and_then(|_| file.take(SHOWN_MAX).read_to_end(&mut new));
        if read.is_err() {
            return;
        }
        self.at = from + new.len() as u64;
        self.rest.extend(new);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            if is_a_programs(&line) {
                show(line.trim_end());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn only_whole_lines_of_programs_are_shown_and_each_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut tail = Tail::new(&path);
        let mut read = || {
            let mut lines = Vec::new();
            tail.read(&mut |line| lines.push(line.to_owned()));
            lines
        };
        assert_eq!(read(), Vec::<String>::new());
        let mut file = File::create(&path).unwrap();
        file.write_all(b"train/0 | one\nerror: a worker's | own\nreport | all\ntrain/0 | tw").unwrap();
        assert_eq!(read(), ["train/0 | one", "report | all"]);
        file.write_all(b"o\n").unwrap();
        assert_eq!(read(), ["train/0 | two"]);
        file.write_all("train/0 | more\n".repeat(10_000).as_bytes()).unwrap();
        let lines = read();
        assert!(lines.len() < 10_000 && lines[0].starts_with("…"), "{} lines", lines.len());
    }
}
