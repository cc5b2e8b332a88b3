//! The page about a run: one file, with a timeline of its machines, and no script from elsewhere.

use std::collections::BTreeMap;

use askama::Template;

use super::Summary;
use crate::schedule::Kind;
use crate::story::{Attempt, Effect, Story};
use worker::events::first_of;
use worker::page::{self, BAR, LANE, Lane, Mark, STYLE, Scale, TOP, Timeline};
use worker::workload::Curve;

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    summary: &'a Summary,
    style: &'static str,
    timeline: String,
    preemptions: Vec<Row>,
    datasets: Vec<DatasetRow>,
    checks: Vec<(String, u32, bool)>,
    violations: Vec<String>,
    report: &'a str,
    lost_percent: String,
    /// Names as a person says them, and values to four digits.
    figures: Vec<(String, String)>,
    /// Drawings of the report's figures by dataset.
    curves: Vec<String>,
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
    curves: &[Curve],
) -> anyhow::Result<String> {
    let scale = Scale::new(story.began_ms, story.ended_ms);
    let checks = summary.checked.looked_at.iter().map(|(check, count)| {
        let broken = summary.checked.violations.iter().any(|violation| violation.check == *check);
        (check.words().to_owned(), *count, !broken)
    });
    let page = Page {
        summary,
        style: STYLE,
        timeline: Timeline::new(lanes(story, attempts, scale), scale).render()?,
        preemptions: rows(story),
        datasets: dataset_rows(story, attempts),
        checks: checks.collect(),
        violations: summary.checked.violations.iter().map(ToString::to_string).collect(),
        report,
        lost_percent: format!("{:.1}", summary.lost.share * 100.0),
        figures: summary.figures_in_words(),
        curves: page::curves(curves),
    };
    Ok(page.render()?)
}

/// A lane for each machine: what `worker report` shows, and the faults.
pub(super) fn lanes(story: &Story, attempts: &[Attempt], scale: Scale) -> Vec<Lane> {
    (0..story.machines).map(|machine| lane(story, attempts, machine, scale)).collect()
}

fn lane(story: &Story, attempts: &[Attempt], machine: u32, scale: Scale) -> Lane {
    let name = format!("w{}", machine + 1);
    let seen = (&story.incarnations[..], attempts);
    let mut lane = page::lane(name, machine, seen, story.ended_ms, scale, page::class_of);
    let y = TOP + LANE * f64::from(machine);
    let faults = || story.faults.iter().filter(|fault| fault.machine == machine);
    for fault in faults().filter(|fault| fault.incarnation.is_some() && fault.preemption.kind == Kind::Pause)
    {
        let back = fault.back_ms.unwrap_or(story.ended_ms);
        let title = format!("stopped for {} ms", back.saturating_sub(fault.at_ms));
        lane.boxes.push(scale.span(fault.at_ms, back, y, 4.0, "stopped", title));
    }
    for fault in faults() {
        let (class, sign) = match (&fault.effect, fault.preemption.kind) {
            (Effect::Interrupted(_), Kind::Terminate) => ("fault", "▼"),
            (Effect::Interrupted(_), Kind::Kill) => ("fault", "✖"),
            (Effect::Interrupted(_), _) => ("fault", "‖"),
            (Effect::Queue, _) => ("fault", "Q"),
            (Effect::Volume, _) => ("fault", "V"),
            _ => ("missed", "○"),
        };
        let title = format!("{}: {}", fault.preemption.kind.words(), words_of(&fault.effect));
        lane.marks.push(Mark { x: scale.x(fault.at_ms), y: y + BAR + 14.0, class, sign, title });
    }
    lane
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
