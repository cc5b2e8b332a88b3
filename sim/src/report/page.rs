//! The page about a run: one file, with a timeline of its machines, and no script from elsewhere.

use std::collections::BTreeMap;

use askama::Template;

use super::Summary;
use crate::schedule::Kind;
use crate::story::{Attempt, Effect, End, Story};
use worker::events::first_of;

/// Width and heights in the drawing's units.
pub(super) const WIDTH: f64 = 1000.0;
pub(super) const LANE: f64 = 46.0;
const BAR: f64 = 26.0;
pub(super) const LEFT: f64 = 48.0;
pub(super) const TOP: f64 = 8.0;

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    summary: &'a Summary,
    lanes: Vec<Lane>,
    ticks: Vec<Tick>,
    width: f64,
    height: f64,
    left: f64,
    preemptions: Vec<Row>,
    datasets: Vec<DatasetRow>,
    checks: Vec<(String, u32, bool)>,
    violations: Vec<String>,
    report: &'a str,
    lost_percent: String,
    /// Names as a person says them, and values to four digits.
    figures: Vec<(String, String)>,
}

pub(super) struct Lane {
    pub(super) name: String,
    pub(super) y: f64,
    pub(super) boxes: Vec<Box_>,
    pub(super) marks: Vec<Mark>,
}

/// A span of time on a lane.
pub(super) struct Box_ {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) class: &'static str,
    pub(super) title: String,
}

/// A moment on a lane.
pub(super) struct Mark {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) class: &'static str,
    pub(super) sign: &'static str,
    pub(super) title: String,
}

pub(super) struct Tick {
    pub(super) x: f64,
    pub(super) label: String,
}

struct Row {
    at: String,
    machine: String,
    kind: &'static str,
    effect: String,
    away: String,
}

#[derive(Default)]
struct DatasetRow {
    index: u32,
    path: String,
    attempts: u32,
    interrupted: u32,
    resumed: u32,
    lost_ms: u64,
}

/// Renders the page.
///
/// # Errors
/// Where the template fails, which its types exclude.
pub fn render(
    story: &Story,
    attempts: &[Attempt],
    summary: &Summary,
    report: &str,
) -> anyhow::Result<String> {
    let scale = Scale::of(story);
    let lanes: Vec<Lane> = (0..story.machines).map(|machine| lane(story, attempts, machine, scale)).collect();
    let checks = summary.checked.looked_at.iter().map(|(check, count)| {
        let broken = summary.checked.violations.iter().any(|violation| violation.check == *check);
        (check.words().to_owned(), *count, !broken)
    });
    let page = Page {
        summary,
        ticks: scale.ticks(),
        width: LEFT + WIDTH + 10.0,
        height: TOP + LANE * lanes.len() as f64 + 24.0,
        left: LEFT,
        lanes,
        preemptions: rows(story),
        datasets: dataset_rows(story, attempts),
        checks: checks.collect(),
        violations: summary.checked.violations.iter().map(ToString::to_string).collect(),
        report,
        lost_percent: format!("{:.1}", summary.lost.share * 100.0),
        figures: summary.figures_in_words(),
    };
    Ok(page.render()?)
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    began_ms: u64,
    span_ms: f64,
}

impl Scale {
    pub(super) fn of(story: &Story) -> Self {
        let span = story.ended_ms.saturating_sub(story.began_ms).max(1);
        Self { began_ms: story.began_ms, span_ms: span as f64 }
    }

    fn x(self, at_ms: u64) -> f64 {
        let share = at_ms.saturating_sub(self.began_ms) as f64 / self.span_ms;
        LEFT + WIDTH * share.min(1.0)
    }

    /// Five to ten round times.
    pub(super) fn ticks(self) -> Vec<Tick> {
        let mut step: u64 = 100;
        for factor in [2, 5, 10, 20, 50, 100, 200, 600, 1200, 3000, 6000, 36_000, 360_000] {
            if self.span_ms / step as f64 <= 10.0 {
                break;
            }
            step = 100 * factor;
        }
        let last = (self.span_ms / step as f64).min(1000.0) as u64;
        let tick = |number: u64| Tick {
            x: self.x(self.began_ms + number * step),
            label: format!("{} s", (number * step) as f64 / 1000.0),
        };
        (0..=last).map(tick).collect()
    }
}

pub(super) fn lane(story: &Story, attempts: &[Attempt], machine: u32, scale: Scale) -> Lane {
    let y = TOP + LANE * f64::from(machine);
    let mut lane =
        Lane { name: format!("w{}", machine + 1), y: y + BAR * 0.7, boxes: Vec::new(), marks: Vec::new() };
    let mut add = |from: u64, to: u64, inset: f64, class, title| {
        let x = scale.x(from);
        let (y, height) = (y + inset, BAR - 2.0 * inset);
        lane.boxes.push(Box_ { x, y, width: (scale.x(to) - x).max(0.8), height, class, title });
    };
    for incarnation in story.incarnations.iter().filter(|incarnation| incarnation.machine == machine) {
        let end = incarnation.ended_ms.unwrap_or(story.ended_ms);
        let title = format!("{}, process {}", incarnation.name, incarnation.pid);
        add(incarnation.started_ms, end, 0.0, "alive", title);
    }
    for attempt in attempts.iter().filter(|attempt| attempt.machine == machine) {
        add(attempt.start_ms, attempt.end_ms, 4.0, class_of(attempt), title_of(attempt));
    }
    for fault in story.faults.iter().filter(|fault| fault.machine == machine && fault.incarnation.is_some()) {
        if fault.preemption.kind == Kind::Pause {
            let back = fault.back_ms.unwrap_or(story.ended_ms);
            add(
                fault.at_ms,
                back,
                4.0,
                "stopped",
                format!("stopped for {} ms", back.saturating_sub(fault.at_ms)),
            );
        }
    }
    let commits =
        attempts.iter().filter(|attempt| attempt.machine == machine).flat_map(|attempt| &attempt.commits);
    for commit in commits {
        let (class, title) = match commit.won {
            true => ("commit", format!("committed {}", commit.path)),
            false => ("doubled", format!("{} was committed by another, the same bytes", commit.path)),
        };
        lane.marks.push(Mark { x: scale.x(commit.at_ms), y: y + BAR + 7.0, class, sign: "·", title });
    }
    for fault in story.faults.iter().filter(|fault| fault.machine == machine) {
        let (class, sign) = match (&fault.effect, fault.preemption.kind) {
            (Effect::Interrupted(_), Kind::Terminate) => ("struck", "▼"),
            (Effect::Interrupted(_), Kind::Kill) => ("struck", "✖"),
            (Effect::Interrupted(_), _) => ("struck", "‖"),
            (Effect::Queue, _) => ("struck", "Q"),
            (Effect::Volume, _) => ("struck", "V"),
            _ => ("missed", "○"),
        };
        let title = format!("{}: {}", fault.preemption.kind.words(), words_of(&fault.effect));
        lane.marks.push(Mark { x: scale.x(fault.at_ms), y: y + BAR + 14.0, class, sign, title });
    }
    lane
}

fn class_of(attempt: &Attempt) -> &'static str {
    const COLOURED: [&str; 4] = ["prepare", "join", "fold", "evaluate"];
    if matches!(attempt.end, End::Died | End::GaveBack(_)) {
        return "interrupted";
    }
    COLOURED.into_iter().find(|step| *step == attempt.held.item.step()).unwrap_or("other")
}

fn title_of(attempt: &Attempt) -> String {
    let dataset = attempt.dataset.as_deref().unwrap_or_default();
    let ended = match attempt.end {
        End::Acked => "done",
        End::GaveBack(_) => "given back",
        End::Died => "died with its machine",
        End::Open => "open",
    };
    let resumed = if attempt.resumed_from.is_some() { ", resumed from saved progress" } else { "" };
    format!(
        "{} {dataset} (token {}): {ended} after {} ms{resumed}",
        attempt.held.item,
        attempt.held.token,
        attempt.busy_ms()
    )
}

fn words_of(effect: &Effect) -> String {
    match effect {
        Effect::Pending => "under way at the end".to_owned(),
        Effect::Interrupted(held) => format!("interrupted {} (token {})", held.item, held.token),
        Effect::FinishedInGrace => "finished its work in the grace".to_owned(),
        Effect::Idle => "hit an idle worker".to_owned(),
        Effect::Away => "the machine was away".to_owned(),
        Effect::Queue => "the queue was away".to_owned(),
        Effect::Volume => "the volume was away".to_owned(),
    }
}

fn rows(story: &Story) -> Vec<Row> {
    let rows = story.faults.iter().map(|fault| Row {
        at: format!("{:.3}", fault.at_ms.saturating_sub(story.began_ms) as f64 / 1000.0),
        machine: match fault.incarnation {
            Some(life) => story.incarnations[life].name.clone(),
            None => format!("w{}", fault.machine + 1),
        },
        kind: fault.preemption.kind.words(),
        effect: words_of(&fault.effect),
        away: fault.preemption.away.to_string(),
    });
    rows.collect()
}

fn dataset_rows(story: &Story, attempts: &[Attempt]) -> Vec<DatasetRow> {
    let mut rows: BTreeMap<u32, DatasetRow> = BTreeMap::new();
    for attempt in attempts {
        let (Some(index), Some(path)) = (first_of(attempt.held.item), &attempt.dataset) else { continue };
        let row = rows.entry(index).or_default();
        (row.index, row.path) = (index, path.clone());
        row.attempts += 1;
        row.resumed += u32::from(attempt.resumed_from.is_some());
        row.lost_ms += attempt.lost_ms;
        let hit = story
            .faults
            .iter()
            .any(|fault| matches!(&fault.effect, Effect::Interrupted(held) if *held == attempt.held));
        row.interrupted += u32::from(hit);
    }
    rows.into_values().collect()
}
