//! What a run has come to, by what lies on its volume.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::ending::{Ending, Left, Why};
use crate::manifest::Manifest;
use crate::pipeline::Pipeline;
use crate::plan::CommitIndex;
use crate::report::Tally;

/// The files of a run that say what it has come to.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// The manifest, as far as its pages are there.
    pub manifest: Option<Manifest>,
    /// What lies in place of its report.
    pub ending: Option<Ending>,
    /// The text of its violation.
    pub violation: Option<String>,
    /// Why one of these cannot be read.
    pub damage: Option<String>,
}

/// What a run has come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It has no manifest.
    NotBegun,
    /// Workers may work on it.
    Open,
    /// It has its report.
    Complete(Tally),
    /// Two results of one item differ: the text names them.
    Void(String),
    /// It was left before it was complete, or its results were removed.
    Left(Left),
    /// A file of it cannot be read: the text names it.
    Damaged(String),
}

impl Files {
    /// What the run has come to.
    pub fn state(&self) -> State {
        match (&self.ending, &self.violation, &self.damage) {
            (Some(Ending::Left(left)), ..) => State::Left(left.clone()),
            (_, Some(violation), _) => State::Void(violation.clone()),
            (_, _, Some(damage)) => State::Damaged(damage.clone()),
            (Some(Ending::Report(report)), ..) => State::Complete(report.tally),
            _ if self.manifest.is_none() => State::NotBegun,
            _ => State::Open,
        }
    }

    /// The runs whose commits this one reads.
    pub fn continues(&self) -> BTreeSet<String> {
        let manifest = self.manifest.iter();
        let homes = manifest.flat_map(|manifest| (0..manifest.own_from()).filter_map(|at| manifest.home(at)));
        homes.map(|(run, _)| run.to_owned()).collect()
    }
}

impl State {
    /// A few words, for tables.
    pub fn word(&self) -> String {
        let word = match self {
            Self::NotBegun => "not begun",
            Self::Open => "open",
            Self::Complete(tally) if tally.trained == 0 => "trained on nothing",
            Self::Complete(tally) if tally.is_whole() => "complete",
            Self::Complete(tally) => return format!("complete, {} left out", tally.rejected + tally.refused),
            Self::Void(_) => "void",
            Self::Left(left) => left.why.word(),
            Self::Damaged(_) => "damaged",
        };
        word.to_owned()
    }

    /// Whether no worker does anything to it any more.
    pub fn has_ended(&self) -> bool {
        matches!(self, Self::Complete(_) | Self::Void(_) | Self::Left(_))
    }

    /// Whether its report, and what the next run continues, is there.
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Complete(_))
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBegun => f.write_str("not begun"),
            Self::Open => f.write_str("open"),
            Self::Complete(tally) => f.write_str(&tally.state()),
            Self::Void(_) => f.write_str("void: two results of one item differ"),
            Self::Left(Left { why, reason }) => {
                let what = match why {
                    Why::Abandoned => "abandoned",
                    Why::Pruned => "pruned: its results were removed",
                };
                f.write_str(what)?;
                reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
            }
            Self::Damaged(why) => write!(f, "damaged: {why}"),
        }
    }
}

/// Whether every stage of a dataset is committed.
pub fn is_done(manifest: &Manifest, pipeline: Pipeline, commits: &CommitIndex, index: u32) -> bool {
    let role = manifest.dataset(index).role;
    index < manifest.own_from() || pipeline.stages_of(role).all(|stage| commits.has(stage, index))
}

/// How many of the run's own datasets are done.
pub fn done(manifest: &Manifest, pipeline: Pipeline, commits: &CommitIndex) -> u32 {
    let own = manifest.own_from()..manifest.len();
    let done = own.filter(|index| is_done(manifest, pipeline, commits, *index));
    u32::try_from(done.count()).unwrap_or(u32::MAX)
}
