//! What lies where a run ends, under `report`: its report; or a record that the run was left, abandoned by its
//! operator or pruned. The first of them decides (rule 12).

use serde::{Deserialize, Serialize};

use crate::hash::Hash;
use crate::record::Record;
use crate::report::Report;
use crate::workload::Outcome;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It is complete.
    Report(Report),
    /// Nobody is to work on it any more.
    Left(Left),
}

/// Why nobody is to work on a run any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// Its operator gave it up before it was complete.
    Abandoned,
    /// It had ended, and its results were removed to free space.
    Pruned,
}

impl Why {
    /// `abandoned`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Abandoned => "abandoned",
            Self::Pruned => "pruned",
        }
    }
}

/// A run that was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Which of the two.
    pub why: Why,
    /// What its operator said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Left {
    /// What is committed in place of the report.
    pub fn record(&self) -> Record {
        // An enum and a text: writing them as JSON cannot fail.
        Record::new(Hash::default(), Outcome::Rejected(serde_json::to_string(self).unwrap_or_default()))
    }

    /// `run 3 was abandoned: its dataset is gone`.
    pub fn words(&self, run: &str) -> String {
        let what = match self.why {
            Why::Abandoned => "was abandoned",
            Why::Pruned => "was pruned: its results were removed",
        };
        let reason = self.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        format!("run {run} {what}{reason}")
    }
}

impl Ending {
    /// The ending that a record under `report` holds.
    ///
    /// # Errors
    /// Where it holds none.
    pub fn of(record: &Record) -> Result<Self, String> {
        match &record.outcome {
            Outcome::Part(_) => Report::of(record).map(Self::Report),
            Outcome::Rejected(text) => serde_json::from_str(text)
                .map(Self::Left)
                .map_err(|error| format!("it is no ending of a run: {error}")),
        }
    }

    /// Why the run was left, if it was.
    pub fn left(&self) -> Option<&Left> {
        match self {
            Self::Report(_) => None,
            Self::Left(left) => Some(left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Tally;

    #[test]
    fn a_report_and_a_run_that_was_left_read_back() {
        let left = Left { why: Why::Abandoned, reason: Some("lost".to_owned()) };
        assert_eq!(Ending::of(&left.record()), Ok(Ending::Left(left.clone())));
        assert_eq!(left.words("3"), "run 3 was abandoned: lost");
        let report = Report { files: [("a".to_owned(), "b".to_owned())].into(), tally: Tally::default() };
        let record = Record::part(Hash::default(), report.encode());
        assert_eq!(Ending::of(&record), Ok(Ending::Report(report)));
        let rejection = Record::new(Hash::default(), Outcome::Rejected("bad rows".to_owned()));
        assert!(Ending::of(&rejection).is_err());
    }
}
