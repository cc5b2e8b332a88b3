//! The output of an attempt, kept with bounds.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use super::buffer::Buffer;
use super::logs::{of_attempt, of_item, oldest};

/// Bytes that are kept of an attempt; its last lines follow in any case.
const BYTES_MAX: u64 = 1 << 20;

/// Where the output of attempts is kept.
#[derive(Debug, Clone)]
pub enum Logs {
    /// In the run's folder of logs, line by line.
    Folder(PathBuf),
    /// In memory, from where it is uploaded.
    Buffer(Arc<Buffer>),
}

/// The log of one attempt. What cannot be written is lost: the program matters more.
#[derive(Debug)]
pub(super) struct Log {
    to: Logs,
    item: String,
    attempt: String,
    /// Made for the first line: a program that prints nothing has none.
    file: Option<File>,
    left: u64,
}

impl Log {
    /// The log of an attempt at an item.
    pub(super) fn new(to: Logs, item: &str, attempt: &str) -> Self {
        Self { to, item: item.to_owned(), attempt: attempt.to_owned(), file: None, left: BYTES_MAX }
    }

    pub(super) fn line(&mut self, text: &str) {
        let bytes = text.len() as u64 + 1;
        if self.left == 0 {
            return;
        }
        if bytes > self.left {
            self.left = 0;
            self.end(&format!("… {} KiB are kept of an attempt; its end:", BYTES_MAX >> 10));
            return;
        }
        self.left -= bytes;
        self.end(text);
    }

    /// Whether lines were left out.
    pub(super) fn is_cut(&self) -> bool {
        self.left == 0
    }

    /// Writes a line, whatever was written before.
    pub(super) fn end(&mut self, text: &str) {
        match &self.to {
            Logs::Buffer(buffer) => buffer.add(&self.item, &self.attempt, text),
            Logs::Folder(folder) => {
                if self.file.is_none() {
                    self.file = create(folder.join(of_item(&self.item)), &self.attempt);
                }
                if let Some(file) = &mut self.file {
                    let _ = file.write_all(format!("{text}\n").as_bytes());
                }
            }
        }
    }
}

/// A new file in an item's folder; the oldest attempts' go.
fn create(folder: PathBuf, attempt: &str) -> Option<File> {
    fs::create_dir_all(&folder).ok()?;
    let there = fs::read_dir(&folder).ok()?.flatten();
    for old in oldest(there.filter_map(|entry| entry.file_name().into_string().ok()).collect()) {
        let _ = fs::remove_file(folder.join(old));
    }
    File::options().append(true).create(true).open(folder.join(of_attempt(attempt))).ok()
}

#[cfg(test)]
mod tests {
    use super::super::logs::{ATTEMPTS_MAX, sort};
    use super::*;

    #[test]
    fn a_log_is_bounded_and_so_are_the_attempts() {
        let folder = tempfile::tempdir().unwrap();
        let log = |item: &str, attempt: &str| Log::new(Logs::Folder(folder.path().to_owned()), item, attempt);
        let names = |item: &str| {
            let entries = fs::read_dir(folder.path().join(item)).unwrap().flatten();
            let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
            sort(&mut names);
            names
        };
        for token in 1..=ATTEMPTS_MAX * 2 {
            log("train/1", &format!("train.1-{token}-0f")).line("x");
        }
        log("train/11", "a").line("x");
        log("train/12", "silent");
        let newest: Vec<_> = (11..=20).map(|token| format!("train.1-{token}-0f.log")).collect();
        assert_eq!(names("train-1"), newest);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        let mut cut = log("train/2", "a");
        let line = "y".repeat(1_000);
        for _ in 0..3_000 {
            cut.line(&line);
        }
        assert!(cut.is_cut());
        cut.end("the end");
        let text = fs::read_to_string(folder.path().join("train-2/a.log")).unwrap();
        assert!(text.len() < 1_100_000 && text.ends_with("its end:\nthe end\n"), "{} bytes", text.len());
    }
}
