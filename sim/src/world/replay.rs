//! `sim replay`: the story of one seed, line by line.

use std::path::PathBuf;
use std::process::ExitCode;

use worker::contract::Exit;

use super::explore::kinds;
use super::run::{Outcome, bound, run};
use super::schedule::Schedule;
use super::shrink::shrink;
use super::words::{count, span};

/// Tell the story of a simulated schedule.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The seed, as `sim explore` prints it.
    #[arg(required_unless_present = "schedule")]
    pub seed: Option<u64>,
    /// The kinds of faults that `sim explore` was given.
    #[arg(long, default_value = "all", value_delimiter = ',')]
    pub faults: Vec<String>,
    /// A recorded schedule, in place of a seed.
    #[arg(long)]
    pub schedule: Option<PathBuf>,
    /// With the fewest faults that still break the promise.
    #[arg(long)]
    pub shrink: bool,
    /// Print the schedule as JSON, to be recorded, in place of the story.
    #[arg(long)]
    pub json: bool,
}

fn schedule(args: &Args) -> Result<Schedule, String> {
    let schedule = match (&args.schedule, args.seed) {
        (Some(path), _) => {
            let text = std::fs::read(path).map_err(|why| format!("cannot read {}: {why}", path.display()))?;
            serde_json::from_slice(&text).map_err(|why| format!("{} is no schedule: {why}", path.display()))?
        }
        (None, seed) => Schedule::of_seed(seed.unwrap_or_default(), &kinds(&args.faults)?),
    };
    if !args.shrink {
        return Ok(schedule);
    }
    let outcome = run(&schedule, false);
    Ok(match outcome.broken.first() {
        Some(broken) => shrink(&schedule, broken.property).0,
        None => schedule,
    })
}

pub fn main(args: &Args) -> ExitCode {
    let schedule = match schedule(args) {
        Ok(schedule) => schedule,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::from(Exit::Usage.code());
        }
    };
    if args.json {
        // Numbers, words and lists: writing them cannot fail.
        println!("{}", serde_json::to_string_pretty(&schedule).unwrap_or_default());
        return ExitCode::SUCCESS;
    }
    let outcome = run(&schedule, true);
    print!("{}", story(&schedule, &outcome));
    if outcome.broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(Exit::Check.code())
    }
}

/// The make-up, what happened and what came of it.
pub fn story(schedule: &Schedule, outcome: &Outcome) -> String {
    let params = &schedule.params;
    let mut text = format!(
        "A world of {}, {} to train on, {} for tests, {} for history{}{}.\n\
         Leases of {}, a grace of {}, idle workers look every {}. {} to strike.\n\
         (time in seconds; ! marks what goes wrong from outside)\n\n",
        count(u64::from(params.workers), "worker"),
        count(u64::from(params.train), "dataset"),
        params.tests,
        params.history,
        if params.listed { ", listed by the launcher" } else { ", pushed to the queue" },
        if params.deterministic { "" } else { ", with results that vary" },
        span(params.lease_ms),
        span(params.grace_ms),
        span(params.idle_ms),
        count(schedule.faults.len() as u64, "fault"),
    );
    for line in &outcome.story {
        let mark = if line.fault { '!' } else { ' ' };
        text.push_str(&format!(
            "{:>10.4} {mark} {:<9} {}\n",
            line.at as f64 / 1e6,
            line.who,
            line.text
        ));
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
