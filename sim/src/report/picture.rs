//! The timeline of a run as one SVG file, for a README or a slide.

use askama::Template;

use worker::page::{LANE, LEFT, Lane, Scale, TOP, Tick, WIDTH};

use super::page::lanes;
use super::{Summary, Verified};
use crate::story::{Attempt, Story};

/// Height of the two lines above the lanes, and of the times and the legend below them.
const HEAD: f64 = 50.0;
const FOOT: f64 = 52.0;
const MARGIN_RIGHT: f64 = 14.0;

#[derive(Template)]
#[template(path = "timeline.svg")]
struct Picture {
    title: String,
    verdict: String,
    good: bool,
    lanes: Vec<Lane>,
    ticks: Vec<Tick>,
    left: f64,
    head: f64,
    width: f64,
    height: f64,
    /// Height of the lanes alone.
    body: f64,
    legend: Vec<Entry>,
}

/// What a colour or a sign means, and where the legend says so.
struct Entry {
    x: f64,
    class: &'static str,
    /// Absent for a colour.
    sign: Option<&'static str>,
    label: &'static str,
}

/// All that a legend may have to explain: the class, the sign where it is one, and the words.
const MEANINGS: [(&str, Option<&str>, &str); 12] = [
    ("prepare", None, "prepare"),
    ("join", None, "join"),
    ("fold", None, "fold"),
    ("evaluate", None, "evaluate"),
    ("other", None, "other"),
    ("interrupted", None, "interrupted"),
    ("stopped", None, "stopped"),
    ("fault", Some("▼"), "SIGTERM"),
    ("fault", Some("✖"), "SIGKILL"),
    ("fault", Some("‖"), "SIGSTOP past the lease"),
    ("missed", Some("○"), "interrupted nothing"),
    ("commit", Some("·"), "commit"),
];

/// Renders the picture.
///
/// # Errors
/// Where the template fails, which its types exclude.
pub fn render(story: &Story, attempts: &[Attempt], summary: &Summary) -> anyhow::Result<String> {
    let scale = Scale::new(story.began_ms, story.ended_ms);
    let lanes = lanes(story, attempts, scale);
    let body = TOP + LANE * lanes.len() as f64;
    let (verdict, good) = verdict(summary);
    let picture = Picture {
        title: title(summary),
        verdict,
        good,
        legend: legend(&lanes),
        lanes,
        ticks: scale.ticks(),
        left: LEFT,
        head: HEAD,
        width: LEFT + WIDTH + MARGIN_RIGHT,
        height: HEAD + body + FOOT,
        body,
    };
    Ok(picture.render()?)
}

/// Explains what the lanes show, and nothing else.
fn legend(lanes: &[Lane]) -> Vec<Entry> {
    let shown = |class: &str, sign: Option<&str>| match sign {
        None => lanes.iter().flat_map(|lane| &lane.boxes).any(|span| span.class == class),
        Some(sign) => {
            lanes.iter().flat_map(|lane| &lane.marks).any(|mark| (mark.class, mark.sign) == (class, sign))
        }
    };
    let mut x = 0.0;
    let entry = |(class, sign, label): (&'static str, Option<&'static str>, &'static str)| {
        let entry = Entry { x, class, sign, label };
        // As wide as the text may be: 6.6 units a letter at 12 pixels.
        x = (x + 38.0 + 6.6 * label.len() as f64).round();
        entry
    };
    MEANINGS.into_iter().filter(|(class, sign, _)| shown(class, *sign)).map(entry).collect()
}

fn title(summary: &Summary) -> String {
    let datasets = summary.datasets.training + summary.datasets.test;
    let rejected = match summary.datasets.rejected {
        0 => String::new(),
        count => format!(" ({count} rejected)"),
    };
    format!(
        "{} workers, {datasets} datasets{rejected}, {}",
        summary.workers,
        match summary.preemptions.effective() {
            0 => "no preemption interrupted work".to_owned(),
            1 => "1 preemption interrupted work".to_owned(),
            count => format!("{count} preemptions interrupted work"),
        }
    )
}

/// What the run's end is to be believed: in green only what was compared and found equal.
fn verdict(summary: &Summary) -> (String, bool) {
    match &summary.verified {
        _ if summary.exit != 0 => (format!("the run: {}", summary.ended), false),
        _ if !summary.checked.violations.is_empty() => ("a check failed".to_owned(), false),
        None => ("complete; not compared with an undisturbed run".to_owned(), false),
        Some(Verified { files, different, .. }) if different.is_empty() => {
            (format!("{files} files: identical to an undisturbed run, byte for byte"), true)
        }
        Some(Verified { different, .. }) => {
            (format!("{} files differ from an undisturbed run", different.len()), false)
        }
    }
}
