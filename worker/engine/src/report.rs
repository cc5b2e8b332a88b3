//! What a run's report commits: its files, and how many datasets it is of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::contract::Exit;
use crate::record::Record;
use crate::workload::Outcome;

/// The report's files by name, and what the run came to in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Texts by file name, as `output/` shows them.
    pub files: BTreeMap<String, String>,
    /// How many datasets took effect, and how many were left out.
    pub tally: Tally,
}

/// How many datasets a run was of, and how many it left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Training datasets of the manifest, and those of them that were trained on.
    pub training: u32,
    /// Training datasets that took effect.
    pub trained: u32,
    /// Datasets of every role that were rejected.
    pub rejected: u32,
    /// Pushed paths that are no part of the run.
    pub refused: u32,
}

impl Report {
    /// The content of the report's record.
    pub fn encode(&self) -> Vec<u8> {
        // Texts and numbers: writing them as JSON cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The report that a record holds.
    ///
    /// # Errors
    /// Where it holds none.
    pub fn of(record: &Record) -> Result<Self, String> {
        match &record.outcome {
            Outcome::Part(content) => Self::decode(content),
            Outcome::Rejected(_) => Err("it is no report: it is a rejection".to_owned()),
        }
    }

    /// # Errors
    /// Where the bytes are no report.
    fn decode(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| format!("it is no report: {error}"))
    }
}

impl Tally {
    /// Whether every dataset that was pushed or listed took effect.
    pub fn is_whole(self) -> bool {
        self.rejected == 0 && self.refused == 0
    }

    /// How a worker of a complete run ends. A run that trained on nothing is no success, whatever was asked for.
    pub fn exit(self, fail_on_rejected: bool) -> Exit {
        if self.trained == 0 || fail_on_rejected && !self.is_whole() { Exit::LeftOut } else { Exit::Finished }
    }

    /// What became of the run, in a few words.
    pub fn state(self) -> String {
        match (self.trained, self.is_whole()) {
            (0, _) => "trained on nothing".to_owned(),
            (_, true) => "complete".to_owned(),
            (_, false) => format!("complete, but {}", self.left_out()),
        }
    }

    /// `2 datasets rejected, 1 pushed path refused`.
    pub fn left_out(self) -> String {
        let some = |count: u32, one: &str, many: &str, what: &str| {
            (count > 0).then(|| format!("{count} {} {what}", if count == 1 { one } else { many }))
        };
        let parts = [
            some(self.rejected, "dataset", "datasets", "rejected"),
            some(self.refused, "pushed path", "pushed paths", "refused"),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_is_said_and_has_its_exit_code() {
        let whole = Tally { training: 3, trained: 3, rejected: 0, refused: 0 };
        let some = Tally { trained: 2, rejected: 1, refused: 2, ..whole };
        let none = Tally { trained: 0, rejected: 4, ..whole };
        assert_eq!(
            [whole, some, none].map(|tally| tally.exit(false)),
            [Exit::Finished, Exit::Finished, Exit::LeftOut]
        );
        assert_eq!(
            [whole, some, none].map(|tally| tally.exit(true)),
            [Exit::Finished, Exit::LeftOut, Exit::LeftOut]
        );
        assert_eq!(whole.state(), "complete");
        assert_eq!(some.state(), "complete, but 1 dataset rejected, 2 pushed paths refused");
        assert_eq!(none.state(), "trained on nothing");
        assert_eq!(none.left_out(), "4 datasets rejected");
    }
}
