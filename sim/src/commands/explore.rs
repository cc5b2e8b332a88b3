//! `sim explore`: many simulated schedules on all cores, what they met, and the first one that broke
//! a promise, shrunk to the fewest faults.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::anyhow;
use clap::Args;
use worker::contract::Exit;

use super::Failure;
use crate::world::campaign::{Campaign, campaign, kinds, summary};
use crate::world::check::Broken;
use crate::world::fault::KINDS;
use crate::world::schedule::Schedule;
use crate::world::shrink::shrink;
use crate::world::words::count;

#[derive(Debug, Args)]
pub struct ExploreArgs {
    /// How many seeds, each a schedule of its own.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    from: u64,
    /// Kinds of faults, separated by commas: all, none, or names that --kinds lists.
    #[arg(long, value_name = "KINDS", default_value = "all", value_delimiter = ',')]
    faults: Vec<String>,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// List the kinds of faults, and do nothing.
    #[arg(long)]
    kinds: bool,
}

/// Explores, to an exit code.
///
/// # Errors
/// Where a kind of fault is named that there is not.
#[expect(clippy::disallowed_methods, reason = "the rate of schedules is told, nothing depends on it")]
pub fn main(args: &ExploreArgs) -> Result<u8, Failure> {
    if args.kinds {
        for (name, meaning) in KINDS {
            println!("{name:<18} {meaning}");
        }
        return Ok(Exit::Finished.code());
    }
    let kinds = kinds(&args.faults).map_err(|why| Failure::new(Exit::Usage, anyhow!(why)))?;
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let started = Instant::now();
    let done = AtomicU64::new(0);
    let on_terminal = std::io::stderr().is_terminal();
    let tick = |more: u64| {
        let done = done.fetch_add(more, Ordering::Relaxed) + more;
        if on_terminal {
            let rate = done as f64 / started.elapsed().as_secs_f64();
            let _ = write!(std::io::stderr(), "\r{done} of {} schedules, {rate:.0}/s ", args.seeds);
        }
    };
    let found = campaign(args.from..args.from.saturating_add(args.seeds), &kinds, threads, &tick);
    if on_terminal {
        eprintln!();
    }
    print!("{}", summary(&found, &kinds));
    let rate = found.schedules as f64 / started.elapsed().as_secs_f64();
    println!("\n{rate:.0} schedules a second on {}", count(threads as u64, "thread"));
    Ok(conclude(&found, &kinds, &args.faults))
}

fn conclude(found: &Campaign, kinds: &[usize], names: &[String]) -> u8 {
    match &found.failure {
        None => Exit::Finished.code(),
        Some((seed, broken)) => {
            print!("{}", verdict(*seed, broken, kinds, names));
            Exit::Check.code()
        }
    }
}

fn verdict(seed: u64, broken: &[Broken], kinds: &[usize], names: &[String]) -> String {
    let schedule = Schedule::of_seed(seed, kinds);
    let mut text = format!("\nseed {seed} breaks a promise:\n");
    for broken in broken.iter().take(5) {
        text.push_str(&format!("  {}: {}\n", broken.property, broken.detail));
    }
    let (small, outcome) = shrink(&schedule, broken[0].property);
    text.push_str(&format!(
        "\nshrunk from {} to {}:\n",
        count(schedule.faults.len() as u64, "fault"),
        small.faults.len()
    ));
    for fault in &small.faults {
        text.push_str(&format!("  from call {}: {:?}\n", fault.at, fault.what));
    }
    for broken in outcome.broken.iter().take(5) {
        text.push_str(&format!("  {}: {}\n", broken.property, broken.detail));
    }
    let faults = if names == ["all"] { String::new() } else { format!(" --faults {}", names.join(",")) };
    text.push_str(&format!("\nreplay it: sim replay {seed} --shrink{faults}\n"));
    text
}
