//! The story of one schedule, line by line, for somebody who has never seen this project.

use super::params::Results;
use super::run::{Outcome, bound};
use super::schedule::Schedule;
use super::words::{count, span};

/// The make-up, what happened and what came of it.
pub fn story(schedule: &Schedule, outcome: &Outcome) -> String {
    let params = &schedule.params;
    let mut text = format!(
        "A world of {}, {} to train on, {} for tests, {} for history{}{}{}.\n\
         Leases of {}, a grace of {}, idle workers look every {}. {} to inject.\n\
         Each dataset is prepared, joined with those before it, folded into the model and evaluated.\n\
         A result counts once it is linked to its public name: the first writer wins.\n\
         (time in seconds; ! marks what goes wrong from outside)\n\n",
        count(u64::from(params.workers), "worker"),
        count(u64::from(params.train), "dataset"),
        params.tests,
        params.history,
        if params.listed { ", listed by the launcher" } else { ", pushed to the queue" },
        if params.bucket { ", on a bucket" } else { "" },
        match params.results {
            Results::Same => "",
            Results::Vary => ", with results that vary",
            Results::Lie => ", with results that vary although the workload denies it",
        },
        span(params.lease_ms),
        span(params.grace_ms),
        span(params.idle_ms),
        count(schedule.faults.len() as u64, "fault"),
    );
    for line in &outcome.story {
        let mark = if line.fault { '!' } else { ' ' };
        text.push_str(&format!("{:>10.4} {mark} {:<9} {}\n", line.at as f64 / 1e6, line.who, line.text));
    }
    text.push_str(&format!(
        "\n{} calls in {:.3} s of virtual time; drained {:.3} s after the last fault, of {:.1} s allowed.\n",
        outcome.calls,
        outcome.took as f64 / 1e6,
        outcome.drained_in as f64 / 1e6,
        bound(params) as f64 / 1e6,
    ));
    if outcome.broken.is_empty() {
        text.push_str("Every promise holds: each dataset took effect once, and every byte is that of an undisturbed run.\n");
    }
    for broken in &outcome.broken {
        text.push_str(&format!("BROKEN ({}): {}\n", broken.property, broken.detail));
    }
    text
}
