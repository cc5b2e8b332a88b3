//! What pages about a run share: the timeline of its machines, its colours, its style. Pages are one file each, with
//! nothing from elsewhere.

mod curve;

use askama::Template;

use crate::reader::attempts::{Attempt, End, Incarnation};

pub use curve::curves;

/// Width and heights in the drawing's units.
pub const WIDTH: f64 = 1000.0;
/// Height of a lane.
pub const LANE: f64 = 46.0;
/// Height of the bars on it.
pub const BAR: f64 = 26.0;
/// Room for the names of machines.
pub const LEFT: f64 = 48.0;
/// Room above the first lane.
pub const TOP: f64 = 8.0;

/// The style of all pages.
pub const STYLE: &str = include_str!("../templates/page.css");

/// A machine's lane.
#[derive(Debug)]
pub struct Lane {
    /// The machine.
    pub name: String,
    /// Where its name stands.
    pub y: f64,
    /// Spans of time.
    pub boxes: Vec<Span>,
    /// Moments.
    pub marks: Vec<Mark>,
}

/// A span of time on a lane.
#[derive(Debug)]
#[allow(missing_docs, reason = "they are those of an SVG rectangle")]
pub struct Span {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
    pub class: &'static str,
    pub title: String,
}

/// A moment on a lane.
#[derive(Debug)]
#[allow(missing_docs, reason = "they are those of an SVG text")]
pub struct Mark {
    pub x: f64,
    pub y: f64,
    pub class: &'static str,
    pub sign: &'static str,
    pub title: String,
}

/// A time on the axis.
#[derive(Debug)]
pub struct Tick {
    /// Where.
    pub x: f64,
    /// Its text.
    pub label: String,
}

/// The picture of all lanes, as a part of a page.
#[derive(Debug, Template)]
#[template(path = "timeline.html")]
pub struct Timeline {
    lanes: Vec<Lane>,
    ticks: Vec<Tick>,
    width: f64,
    height: f64,
    left: f64,
}

impl Timeline {
    /// Of lanes on a scale.
    pub fn new(lanes: Vec<Lane>, scale: Scale) -> Self {
        let height = TOP + LANE * lanes.len() as f64 + 24.0;
        Self { lanes, ticks: scale.ticks(), width: LEFT + WIDTH + 10.0, height, left: LEFT }
    }
}

/// Times on the drawing.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    began_ms: u64,
    span_ms: f64,
}

impl Scale {
    /// From one time to another.
    pub fn new(began_ms: u64, ended_ms: u64) -> Self {
        Self { began_ms, span_ms: ended_ms.saturating_sub(began_ms).max(1) as f64 }
    }

    /// Where a time is.
    pub fn x(self, at_ms: u64) -> f64 {
        let share = at_ms.saturating_sub(self.began_ms) as f64 / self.span_ms;
        LEFT + WIDTH * share.min(1.0)
    }

    /// A span of a lane at `y`, `inset` from the edges of its bar.
    pub fn span(self, from: u64, to: u64, y: f64, inset: f64, class: &'static str, title: String) -> Span {
        let x = self.x(from);
        let (y, height) = (y + inset, BAR - 2.0 * inset);
        Span { x, y, width: (self.x(to) - x).max(0.8), height, class, title }
    }

    /// Five to ten round times.
    pub fn ticks(self) -> Vec<Tick> {
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

/// A machine's lane with its lives, attempts and commits; attempts have the class that `class_of` gives. What still
/// lives is drawn up to `until_ms`.
pub fn lane(
    name: String,
    machine: u32,
    (incarnations, attempts): (&[Incarnation], &[Attempt]),
    until_ms: u64,
    scale: Scale,
    class_of: fn(&Attempt) -> &'static str,
) -> Lane {
    let y = TOP + LANE * f64::from(machine);
    let mut lane = Lane { name, y: y + BAR * 0.7, boxes: Vec::new(), marks: Vec::new() };
    for incarnation in incarnations.iter().filter(|incarnation| incarnation.machine == machine) {
        let end = incarnation.ended_ms.unwrap_or(until_ms);
        let title = format!("{}, process {}", incarnation.name, incarnation.pid);
        lane.boxes.push(scale.span(incarnation.started_ms, end, y, 0.0, "alive", title));
    }
    let own = || attempts.iter().filter(|attempt| attempt.machine == machine);
    for attempt in own() {
        let (from, to) = (attempt.start_ms, attempt.end_ms);
        lane.boxes.push(scale.span(from, to, y, 4.0, class_of(attempt), title_of(attempt)));
    }
    for commit in own().flat_map(|attempt| &attempt.commits) {
        let (class, title) = match commit.won {
            true => ("commit", format!("committed {}", commit.path)),
            false => ("doubled", format!("{} was committed by another, the same bytes", commit.path)),
        };
        lane.marks.push(Mark { x: scale.x(commit.at_ms), y: y + BAR + 7.0, class, sign: "·", title });
    }
    lane
}

/// The class, and so the colour, of an attempt: its step, or that it was interrupted.
pub fn class_of(attempt: &Attempt) -> &'static str {
    /// Steps and their classes; a join's two halves have one.
    const COLOURED: [(&str, &str); 5] = [
        ("prepare", "prepare"),
        ("customers", "join"),
        ("join", "join"),
        ("fold", "fold"),
        ("evaluate", "evaluate"),
    ];
    if matches!(attempt.end, End::Died | End::GaveBack(_)) {
        return "interrupted";
    }
    let step = attempt.held.item.step();
    COLOURED.into_iter().find(|(coloured, _)| *coloured == step).map_or("other", |(_, class)| class)
}

fn title_of(attempt: &Attempt) -> String {
    let dataset = attempt.dataset.as_deref().unwrap_or_default();
    let ended = match attempt.end {
        End::Acked => "done",
        End::GaveBack(_) => "released",
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
