//! What a person reads of a run: the terminal while it goes on, a summary at its end, a page.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::Serialize;
use worker::contract::Exit;
use worker::events::What;

use crate::check::{Check, Verdict};
use crate::schedule::Kind;
use crate::story::{Attempt, Effect, Story};

pub mod page;
pub mod picture;
pub mod terminal;

/// How many datasets, of what kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct DatasetCounts {
    pub training: u32,
    pub test: u32,
    pub rejected: u32,
}

/// Claims and what came of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct AttemptCounts {
    pub claims: u32,
    /// Claims of a dataset's preparation, where the long work is.
    pub datasets_claimed: u32,
    /// Claims taken over from a worker whose lease had expired.
    pub taken_over: u32,
    pub resumed: u32,
    /// Commits that found another's of the same bytes.
    pub doubled: u32,
}

/// Preemptions: only those count that interrupted held work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct PreemptionCounts {
    pub interrupted: BTreeMap<Kind, u32>,
    pub finished_in_grace: u32,
    pub idle: u32,
    pub away: u32,
    pub queue: u32,
    pub volume: u32,
    /// Ends that nobody here had asked for.
    pub from_outside: u32,
}

impl PreemptionCounts {
    pub fn effective(&self) -> u32 {
        self.interrupted.values().sum()
    }
}

/// Work that took no effect.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Default)]
pub struct Lost {
    pub seconds: f64,
    pub worked_seconds: f64,
    pub share: f64,
}

/// What the comparison with an undisturbed run found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verified {
    pub seconds: f64,
    pub files: u32,
    /// Paths that differ, or that only one of the two has.
    pub different: Vec<String>,
}

/// A part of the way from nothing to a report.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Phase {
    pub name: &'static str,
    pub seconds: f64,
}

/// One JSON object a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    pub run: String,
    pub out: String,
    /// `complete`, `interrupted`, or why it failed.
    pub ended: String,
    pub exit: u8,
    pub datasets: DatasetCounts,
    /// Reasons by path.
    pub rejected: BTreeMap<String, String>,
    pub workers: u32,
    pub queue: String,
    pub rule: String,
    pub seed: u64,
    pub work_rounds: u64,
    pub seconds: f64,
    /// Where a cluster had to be made for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<Phase>,
    pub attempts: AttemptCounts,
    pub preemptions: PreemptionCounts,
    pub lost: Lost,
    pub verified: Option<Verified>,
    pub checked: Verdict,
    /// The headline of the report's figures.
    pub figures: BTreeMap<String, f64>,
    /// Where it is, once the run has one.
    pub report: Option<String>,
    pub page: String,
    pub schedule: String,
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

pub fn attempt_counts(story: &Story, attempts: &[Attempt]) -> AttemptCounts {
    let events = || story.incarnations.iter().flat_map(|incarnation| &incarnation.events);
    AttemptCounts {
        claims: count(attempts.iter()),
        datasets_claimed: count(events().filter(|event| event.what.begins())),
        taken_over: count(attempts.iter().filter(|a| a.taken_over_from.is_some())),
        resumed: count(events().filter(|event| matches!(event.what, What::Resumed { .. }))),
        doubled: count(events().filter(|event| matches!(event.what, What::Committed { won: false, .. }))),
    }
}

pub fn preemption_counts(story: &Story) -> PreemptionCounts {
    let struck: Vec<usize> = story.faults.iter().filter_map(|fault| fault.incarnation).collect();
    let outside = story.incarnations.iter().enumerate().filter(|(number, incarnation)| {
        !struck.contains(number) && incarnation.exit.is_some_and(|exit| !Exit::is_complete(exit))
    });
    PreemptionCounts {
        interrupted: story.interrupted(),
        finished_in_grace: story.count(&Effect::FinishedInGrace),
        idle: story.count(&Effect::Idle),
        away: story.count(&Effect::Away),
        queue: story.count(&Effect::Queue),
        volume: story.count(&Effect::Volume),
        from_outside: count(outside),
    }
}

pub fn lost(attempts: &[Attempt]) -> Lost {
    let lost: u64 = attempts.iter().map(|attempt| attempt.lost_ms).sum();
    let worked: u64 = attempts.iter().map(Attempt::busy_ms).sum();
    Lost {
        seconds: seconds(lost),
        worked_seconds: seconds(worked),
        share: if worked == 0 { 0.0 } else { lost as f64 / worked as f64 },
    }
}

/// `3 SIGTERM with notice, 2 silent SIGKILL`.
pub fn by_kind(interrupted: &BTreeMap<Kind, u32>) -> String {
    let kinds: Vec<String> =
        interrupted.iter().map(|(kind, count)| format!("{count} {}", kind.words())).collect();
    kinds.join(", ")
}

impl fmt::Display for PreemptionCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.effective() {
            0 => f.write_str("none interrupted work")?,
            count => write!(f, "{count} interrupted held work: {}", by_kind(&self.interrupted))?,
        }
        for (count, what) in [
            (self.finished_in_grace, "finished in the grace"),
            (self.idle, "hit an idle worker"),
            (self.away, "found the machine away"),
            (self.queue, "struck Redis"),
            (self.volume, "struck the volume's server"),
            (self.from_outside, "came from outside"),
        ] {
            if count > 0 {
                write!(f, "; {count} {what}")?;
            }
        }
        Ok(())
    }
}

impl Summary {
    /// The end of a run, for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    /// The headline's names as a person says them, with values to four digits.
    pub fn figures_in_words(&self) -> Vec<(String, String)> {
        let words = |(name, value): (&String, &f64)| (name.replace('_', " "), format!("{value:.4}"));
        self.figures.iter().map(words).collect()
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        let DatasetCounts { training, test, rejected } = self.datasets;
        writeln!(text, "run {} {} after {:.2} s", self.run, self.ended, self.seconds)?;
        let mut line = |name: &str, what: String| writeln!(text, "  {name:<12} {what}");
        line("datasets", format!("{training} to train on, {test} to test with, {rejected} rejected"))?;
        for (path, reason) in &self.rejected {
            line("", format!("rejected {path}: {reason}"))?;
        }
        let AttemptCounts { claims, datasets_claimed, taken_over, resumed, doubled } = self.attempts;
        line(
            "attempts",
            format!(
                "{datasets_claimed} claims of {} datasets ({claims} of all items), {taken_over} taken over, \
                 {resumed} resumed from saved progress, {doubled} done twice",
                training + test
            ),
        )?;
        line("preemptions", self.preemptions.to_string())?;
        if !self.phases.is_empty() {
            let phases: Vec<String> =
                self.phases.iter().map(|phase| format!("{} {:.1} s", phase.name, phase.seconds)).collect();
            line("wall time", phases.join(", "))?;
        }
        let Lost { seconds, worked_seconds, share } = self.lost;
        line("work lost", format!("{seconds:.2} s of {worked_seconds:.2} s ({:.1} %)", share * 100.0))?;
        match &self.verified {
            None => line("verified", "not asked for (--verify)".to_owned())?,
            Some(verified) if verified.different.is_empty() => line(
                "verified",
                format!(
                    "{} files are those of an undisturbed run ({:.2} s), byte for byte",
                    verified.files, verified.seconds
                ),
            )?,
            Some(verified) => {
                line(
                    "verified",
                    format!("DIFFERENT from an undisturbed run: {}", verified.different.join(", ")),
                )?;
            }
        }
        for (number, check) in
            Check::ALL.into_iter().filter(|check| self.checked.looked_at.contains_key(check)).enumerate()
        {
            if !self.checked.violations.iter().any(|violation| violation.check == check) {
                let looked_at = self.checked.looked_at.get(&check).copied().unwrap_or(0);
                let name = if number == 0 { "checked" } else { "" };
                line(name, format!("{} ({looked_at})", check.words()))?;
            }
        }
        for violation in &self.checked.violations {
            line("VIOLATED", violation.to_string())?;
        }
        if !self.figures.is_empty() {
            let figures = self.figures_in_words().into_iter().map(|(name, value)| format!("{name} {value}"));
            line("model", figures.collect::<Vec<_>>().join(", "))?;
        }
        if let Some(report) = &self.report {
            line("report", report.clone())?;
        }
        line("page", self.page.clone())?;
        line("schedule", self.schedule.clone())
    }
}
