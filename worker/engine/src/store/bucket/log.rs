//! A log in a bucket, where nothing can be appended to: objects of many lines, each put as a whole and put again as it
//! grows, at most every few seconds, since each writing costs as much as a commit.

use std::time::Duration;

use super::objects::{Condition, Objects};
use crate::store::Result;

/// Between two writings; a worker that is killed takes so much of its log along.
const PACE: Duration = Duration::from_secs(5);
/// An object that holds so much grows no further: what is put again stays small.
const SEGMENT_BYTES: usize = 256 << 10;

/// A log that this process writes.
#[derive(Debug)]
pub struct Log {
    /// The first object's name, without its ending.
    stem: String,
    ending: String,
    segment: u32,
    /// What the present object holds, and is to hold.
    lines: Vec<u8>,
    /// How much of `lines` the object holds.
    shown: usize,
    put_at: Duration,
}

impl Log {
    /// Of a log that was just created: stores take a write a second to a name, so the first lines wait too.
    pub(super) fn new(path: &str, created: Duration) -> Self {
        let name = path.rsplit('/').next().unwrap_or(path).len();
        let (stem, ending) = match path[path.len() - name..].rfind('.') {
            Some(dot) => path.split_at(path.len() - name + dot),
            None => (path, ""),
        };
        let (stem, ending) = (stem.to_owned(), ending.to_owned());
        Self { stem, ending, segment: 0, lines: Vec::new(), shown: 0, put_at: created }
    }

    /// Sorted after the objects before it: `_` comes after `.`.
    fn name(&self) -> String {
        match self.segment {
            0 => format!("{}{}", self.stem, self.ending),
            later => format!("{}_{later:06}{}", self.stem, self.ending),
        }
    }

    fn is_due(&self, now: Duration) -> bool {
        now.saturating_sub(self.put_at) >= PACE
    }

    /// Appends, and writes where that is due. After a failure nothing is appended.
    pub(super) async fn append(&mut self, client: &impl Objects, bytes: &[u8]) -> Result<()> {
        let before = self.lines.len();
        self.lines.extend(bytes);
        if !self.is_due(client.elapsed()) && self.lines.len() < SEGMENT_BYTES {
            return Ok(());
        }
        let written = self.write(client).await;
        if written.is_err() {
            self.lines.truncate(before);
        }
        written
    }

    /// Writes what was kept back.
    pub(super) async fn show(&mut self, client: &impl Objects) -> Result<()> {
        if self.shown == self.lines.len() { Ok(()) } else { self.write(client).await }
    }

    async fn write(&mut self, client: &impl Objects) -> Result<()> {
        client.put(&self.name(), &self.lines, Condition::Always, None).await?;
        (self.shown, self.put_at) = (self.lines.len(), client.elapsed());
        if self.lines.len() >= SEGMENT_BYTES {
            (self.segment, self.shown) = (self.segment + 1, 0);
            self.lines.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_a_log_are_read_in_their_order() {
        let mut log = Log::new("runs/1/events/w-1.2-0f.jsonl", Duration::ZERO);
        let mut names = Vec::new();
        for segment in [0, 1, 2, 10, 1_000] {
            log.segment = segment;
            names.push(log.name());
        }
        assert_eq!(names[..2], ["runs/1/events/w-1.2-0f.jsonl", "runs/1/events/w-1.2-0f_000001.jsonl"]);
        assert!(names.is_sorted());
        assert_eq!(Log::new("a.b/log", Duration::ZERO).name(), "a.b/log");
    }
}
