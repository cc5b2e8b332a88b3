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
    /// Claims redelivered from a worker whose lease had expired.
    pub taken_over: u32,
    pub resumed: u32,
    /// Commits that found another's of the same bytes.
    pub doubled: u32,
    /// Items that were done twice and compared (`--audit`).
    pub audited: u32,
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
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
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

/// `1 file`, `2 files`.
fn counted(count: u32, [one, many]: [&str; 2]) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
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
        audited: count(events().filter(|event| matches!(event.what, What::Audited { .. }))),
    }
}

pub fn preemption_counts(story: &Story) -> PreemptionCounts {
    let faulted: Vec<usize> = story.faults.iter().filter_map(|fault| fault.incarnation).collect();
    let outside = story.incarnations.iter().enumerate().filter(|(number, incarnation)| {
        !faulted.contains(number) && incarnation.exit.is_some_and(|exit| !Exit::is_complete(exit))
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
            count => write!(f, "{count} interrupted work: {}", by_kind(&self.interrupted))?,
        }
        for (count, what) in [
            (self.finished_in_grace, "left time to finish the work in hand"),
            (self.idle, "hit an idle worker"),
            (self.away, "skipped: machine already down"),
            (self.queue, "of Redis"),
            (self.volume, "of the volume's server"),
            (self.from_outside, "by somebody else"),
        ] {
            if count > 0 {
                write!(f, "; {count} {what}")?;
            }
        }
        Ok(())
    }
}

/// How good the news of a run are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Good,
    /// Complete, and something was left out.
    Warn,
    Bad,
}

impl Tone {
    /// Its name in style sheets.
    pub fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }

    /// A text in its colour, for terminals.
    fn paint(self, text: &str) -> String {
        let colour = match self {
            Self::Good => 32,
            Self::Warn => 33,
            Self::Bad => 31,
        };
        format!("\x1b[{colour}m{text}\x1b[0m")
    }
}

impl Summary {
    /// The end of a run, for people.
    pub fn text(&self, is_coloured: bool) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text, is_coloured);
        text
    }

    pub fn tone(&self) -> Tone {
        match self.exit {
            0 if self.datasets.rejected == 0 => Tone::Good,
            0 => Tone::Warn,
            _ => Tone::Bad,
        }
    }

    /// What it took to get all datasets done.
    pub fn work(&self) -> String {
        let AttemptCounts { datasets_claimed, taken_over, resumed, doubled, audited, .. } = self.attempts;
        let datasets = counted(self.datasets.training + self.datasets.test, ["dataset", "datasets"]);
        let twice = match doubled {
            0 => "nothing committed twice".to_owned(),
            count => format!("{} a second time and dropped", counted(count, ["result made", "results made"])),
        };
        let audits = match audited {
            0 => String::new(),
            count => format!(", {} done twice and compared", counted(count, ["item", "items"])),
        };
        format!(
            "{datasets} begun {}; {taken_over} redelivered to another worker, {resumed} resumed from saved \
             progress, {twice}{audits}",
            counted(datasets_claimed, ["time", "times"])
        )
    }

    /// The headline's names as a person says them, with values to four digits.
    pub fn figures_in_words(&self) -> Vec<(String, String)> {
        let words = |(name, value): (&String, &f64)| (name.replace('_', " "), format!("{value:.4}"));
        self.figures.iter().map(words).collect()
    }

    fn write(&self, text: &mut String, is_coloured: bool) -> fmt::Result {
        let DatasetCounts { training, test, rejected } = self.datasets;
        let ended = if is_coloured { self.tone().paint(&self.ended) } else { self.ended.clone() };
        writeln!(text, "run {} {ended} after {:.2} s", self.run, self.seconds)?;
        let mut line = |name: &str, what: String| writeln!(text, "  {name:<12} {what}");
        line("datasets", format!("{training} to train on, {test} to test with, {rejected} rejected"))?;
        for (path, reason) in &self.rejected {
            line("", format!("rejected {path}: {reason}"))?;
        }
        line("work", self.work())?;
        line("preemptions", self.preemptions.to_string())?;
        if !self.phases.is_empty() {
            let phases: Vec<String> =
                self.phases.iter().map(|phase| format!("{} {:.1} s", phase.name, phase.seconds)).collect();
            line("wall time", phases.join(", "))?;
        }
        let Lost { seconds, worked_seconds, share } = self.lost;
        line("work lost", format!("{seconds:.2} s of {worked_seconds:.2} s ({:.1} %)", share * 100.0))?;
        match &self.verified {
            None => line("verified", "not compared with an undisturbed run (--verify)".to_owned())?,
            Some(verified) if verified.different.is_empty() => line(
                "verified",
                format!(
                    "{} files are byte for byte those of an undisturbed run ({:.2} s)",
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
                line(name, format!("{} ({})", check.words(), counted(looked_at, check.units())))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Violation;

    fn summary() -> Summary {
        let interrupted = [(Kind::Terminate, 4), (Kind::Kill, 2), (Kind::Pause, 2)].into();
        let looked_at = Check::ALL.into_iter().zip([1, 33, 34, 35, 11, 1, 3, 1]).collect();
        Summary {
            run: "1".to_owned(),
            out: "out/generated".to_owned(),
            ended: "complete".to_owned(),
            exit: 0,
            datasets: DatasetCounts { training: 8, test: 1, rejected: 0 },
            rejected: BTreeMap::new(),
            workers: 3,
            queue: "sqlite".to_owned(),
            rule: "progress".to_owned(),
            seed: 1,
            work_rounds: 0,
            seconds: 12.345,
            phases: Vec::new(),
            attempts: AttemptCounts {
                claims: 50,
                datasets_claimed: 14,
                taken_over: 3,
                resumed: 4,
                doubled: 1,
                audited: 0,
            },
            preemptions: PreemptionCounts {
                interrupted,
                away: 79,
                idle: 2,
                queue: 1,
                ..PreemptionCounts::default()
            },
            lost: Lost { seconds: 0.5, worked_seconds: 10.0, share: 0.05 },
            verified: Some(Verified { seconds: 4.0, files: 46, different: Vec::new() }),
            checked: Verdict { looked_at, violations: Vec::new() },
            figures: [("auc_roc".to_owned(), 0.87)].into(),
            report: Some("out/generated/output/report.txt".to_owned()),
            page: "out/generated/sim/1/report.html".to_owned(),
            schedule: "out/generated/sim/1/schedule.toml".to_owned(),
        }
    }

    #[test]
    fn a_run_that_went_well() {
        insta::assert_snapshot!(summary().text(false));
    }

    #[test]
    fn a_run_that_left_something_out_and_broke_a_promise() {
        let mut summary = summary();
        summary.ended = "broke its promise".to_owned();
        (summary.exit, summary.attempts.doubled, summary.datasets.rejected) = (87, 0, 1);
        let reason = "line 40: 8 fields, where the header has 9".to_owned();
        summary.rejected = [("datasets/training/2018-04-03.csv".to_owned(), reason)].into();
        summary.verified =
            Some(Verified { different: vec!["output/report.txt".to_owned()], ..Verified::default() });
        summary.checked.violations.push(Violation {
            check: Check::Exit,
            detail: "runs/1/report was committed after a worker had exited 0".to_owned(),
            dataset: None,
            attempts: Vec::new(),
            events: Vec::new(),
        });
        insta::assert_snapshot!(summary.text(false));
    }

    /// Green is for what is complete and left nothing out.
    #[test]
    fn only_a_whole_run_is_green() {
        let whole = summary();
        let mut part = summary();
        part.datasets.rejected = 1;
        let mut failed = summary();
        failed.exit = 9;
        assert_eq!([whole.tone(), part.tone(), failed.tone()], [Tone::Good, Tone::Warn, Tone::Bad]);
        assert!(whole.text(true).starts_with("run 1 \x1b[32mcomplete\x1b[0m after"));
        assert!(part.text(true).starts_with("run 1 \x1b[33mcomplete"));
        assert!(!whole.text(false).contains('\x1b'));
    }
}
