//! `sim explore`: many schedules on all cores, what they met, and the first one that broke a
//! promise, shrunk.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use worker::contract::Exit;

use super::check::Broken;
use super::run::{bound, run};
use super::schedule::{KINDS, Schedule, kind_of};
use super::shrink::shrink;
use super::watch::{SOMETIMES, Tally};
use super::words::count;

/// Explore simulated schedules of faults: the worker's own loop in virtual time.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 10_000)]
    pub seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    pub from: u64,
    /// Kinds of faults, separated by commas: all, none, or names of `sim explore --kinds`.
    #[arg(long, default_value = "all", value_delimiter = ',')]
    pub faults: Vec<String>,
    /// Threads; all cores by default.
    #[arg(long)]
    pub threads: Option<usize>,
    /// List the kinds of faults.
    #[arg(long)]
    pub kinds: bool,
}

/// The numbers of the kinds named.
///
/// # Errors
/// Where a name is none.
pub fn kinds(names: &[String]) -> Result<Vec<usize>, String> {
    let mut kinds = Vec::new();
    for name in names {
        match name.as_str() {
            "all" => kinds.extend(0..KINDS.len()),
            "none" => {}
            name => kinds.push(kind_of(name).ok_or_else(|| {
                format!("there is no kind of fault named {name}\nhint: sim explore --kinds lists them")
            })?),
        }
    }
    Ok(kinds)
}

/// What a campaign came to.
#[derive(Debug, Default)]
pub struct Campaign {
    pub schedules: u64,
    pub calls: u64,
    pub tally: Tally,
    /// The largest part, in thousandths, of the bound on draining that any schedule needed.
    pub drained_permille: u64,
    /// The lowest seed that broke a promise, of those that ran.
    pub failure: Option<(u64, Vec<Broken>)>,
}

impl Campaign {
    fn add(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.calls += other.calls;
        self.tally.add(&other.tally);
        self.drained_permille = self.drained_permille.max(other.drained_permille);
        if let Some((seed, broken)) = other.failure
            && self.failure.as_ref().is_none_or(|(before, _)| seed < *before)
        {
            self.failure = Some((seed, broken));
        }
    }
}

/// Runs the seeds on so many threads; stops soon after the first failure. `tick` hears how many
/// are done.
pub fn campaign(
    seeds: std::ops::Range<u64>,
    kinds: &[usize],
    threads: usize,
    tick: &(dyn Fn(u64) + Sync),
) -> Campaign {
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicBool::new(false);
    let total = Mutex::new(Campaign::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let mut mine = Campaign::default();
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let schedule = Schedule::of_seed(seed, kinds);
                    let outcome = run(&schedule, false);
                    mine.schedules += 1;
                    mine.calls += outcome.calls;
                    mine.tally.add(&outcome.tally);
                    let permille = outcome.drained_in * 1000 / bound(&schedule.params);
                    mine.drained_permille = mine.drained_permille.max(permille);
                    if !outcome.broken.is_empty() {
                        mine.failure = Some((seed, outcome.broken));
                        stop.store(true, Ordering::Relaxed);
                    }
                    if mine.schedules.is_multiple_of(64) {
                        tick(64);
                    }
                }
                total.lock().unwrap_or_else(|e| e.into_inner()).add(mine);
            });
        }
    });
    total.into_inner().unwrap_or_else(|e| e.into_inner())
}

#[expect(clippy::disallowed_methods, reason = "the rate of schedules is told, nothing depends on it")]
pub fn main(args: &Args) -> ExitCode {
    if args.kinds {
        for (name, meaning) in KINDS {
            println!("{name:<18} {meaning}");
        }
        return ExitCode::SUCCESS;
    }
    let kinds = match kinds(&args.faults) {
        Ok(kinds) => kinds,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::from(Exit::Usage.code());
        }
    };
    let threads = args
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
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
    let found = campaign(args.from..args.from + args.seeds, &kinds, threads, &tick);
    if on_terminal {
        eprintln!();
    }
    let rate = found.schedules as f64 / started.elapsed().as_secs_f64();
    print!("{}", summary(&found, &kinds));
    println!("{rate:.0} schedules a second on {}", count(threads as u64, "thread"));
    match &found.failure {
        None => ExitCode::SUCCESS,
        Some((seed, broken)) => {
            print!("{}", verdict(*seed, broken, &kinds, &args.faults));
            ExitCode::from(Exit::Check.code())
        }
    }
}

/// Coverage: what fired and what was met, how often.
pub fn summary(found: &Campaign, kinds: &[usize]) -> String {
    let mut text = format!(
        "{} schedules, {} calls, {} claims; draining took at most {:.1} % of its bound\n\nfaults that interrupted held work or changed an answer:\n",
        found.schedules,
        found.calls,
        found.tally.claims,
        found.drained_permille as f64 / 10.0
    );
    for kind in kinds {
        let (name, meaning) = KINDS[*kind];
        text.push_str(&format!("  {:>9}  {name:<18} {meaning}\n", found.tally.fired[*kind]));
    }
    text.push_str("\nmet on the way:\n");
    for ((_, meaning), times) in SOMETIMES.iter().zip(found.tally.sometimes) {
        text.push_str(&format!("  {times:>9}  {meaning}\n"));
    }
    text
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
    let faults = if names == ["all"] {
        String::new()
    } else {
        format!(" --faults {}", names.join(","))
    };
    text.push_str(&format!("\nreplay it: sim replay {seed} --shrink{faults}\n"));
    text
}
