//! The output of programs, kept with bounds: a file for each attempt, and the newest attempts of each item.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Bytes that are kept of an attempt; its last lines follow in any case.
const BYTES_MAX: u64 = 1 << 20;
/// Attempts of an item that are kept.
const ATTEMPTS_MAX: usize = 10;

/// The folder of a run's logs, relative to the volume.
pub fn folder(run: &str) -> String {
    format!("logs/{run}")
}

/// The beginning of the names of an item's logs: `train-3.`.
fn prefix(item: &str) -> String {
    format!("{}.", item.replace('/', "-"))
}

/// The log of one attempt. What cannot be written is lost: the program matters more.
#[derive(Debug)]
pub(super) struct Log {
    folder: PathBuf,
    item: String,
    attempt: String,
    /// Made for the first line: a program that prints nothing has none.
    file: Option<File>,
    left: u64,
}

impl Log {
    /// The log of an attempt at an item, in the run's folder of logs.
    pub(super) fn new(folder: &Path, item: &str, attempt: &str) -> Self {
        let (folder, item, attempt) = (folder.to_owned(), item.to_owned(), attempt.to_owned());
        Self { folder, item, attempt, file: None, left: BYTES_MAX }
    }

    /// A new file; the oldest attempts' go.
    fn create(&self) -> Option<File> {
        fs::create_dir_all(&self.folder).ok()?;
        let kept = of_item(&self.folder, &self.item);
        for old in kept.iter().take((kept.len() + 1).saturating_sub(ATTEMPTS_MAX)) {
            let _ = fs::remove_file(old);
        }
        let name = format!("{}{}.log", prefix(&self.item), self.attempt);
        File::options().append(true).create(true).open(self.folder.join(name)).ok()
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
        if self.file.is_none() {
            self.file = self.create();
        }
        if let Some(file) = &mut self.file {
            let _ = file.write_all(format!("{text}\n").as_bytes());
        }
    }
}

/// The logs of an item, oldest attempt first; of all items where none is named.
pub fn of_item(folder: &Path, item: &str) -> Vec<PathBuf> {
    let prefix = if item.is_empty() { String::new() } else { prefix(item) };
    let mut found: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_bounded_and_so_are_the_attempts() {
        let folder = tempfile::tempdir().unwrap();
        for attempt in 0..ATTEMPTS_MAX * 2 {
            let mut log = Log::new(folder.path(), "train/1", &attempt.to_string());
            log.line("x");
        }
        Log::new(folder.path(), "train/11", "a").line("x");
        Log::new(folder.path(), "train/12", "silent");
        assert_eq!(of_item(folder.path(), "train/1").len(), ATTEMPTS_MAX);
        assert_eq!(of_item(folder.path(), "").len(), ATTEMPTS_MAX + 1);
        let mut log = Log::new(folder.path(), "train/2", "a");
        let line = "y".repeat(1_000);
        for _ in 0..3_000 {
            log.line(&line);
        }
        assert!(log.is_cut());
        log.end("the end");
        let text = fs::read_to_string(&of_item(folder.path(), "train/2")[0]).unwrap();
        assert!(text.len() < 1_100_000 && text.ends_with("its end:\nthe end\n"), "{} bytes", text.len());
    }
}
