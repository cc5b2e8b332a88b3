//! `sim explore`: many simulated schedules on all cores, what they met, and the first one that broke
//! a promise, shrunk to the fewest faults.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Args;
use worker::contract::Exit;
use worker::failure::Failure;
use worker::mutant::Mutant;

use crate::report::terminal::print;
use crate::world::campaign::{Search, campaign, summary, verdict};
use crate::world::fault::KINDS;
use crate::world::words::count;

#[derive(Debug, Args)]
pub struct ExploreArgs {
    /// How many seeds, each a schedule of its own.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(..1 << 63))]
    seeds: u64,
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..1 << 63))]
    from: u64,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// List the kinds of faults, and do nothing.
    #[arg(long)]
    kinds: bool,
    #[command(flatten)]
    search: SearchArgs,
}

/// Which schedules seeds stand for: the same for `explore` and `replay`.
#[derive(Debug, Args)]
pub struct SearchArgs {
    /// Kinds of faults, separated by commas: all, none, or names that `sim explore --kinds` lists.
    #[arg(long, value_name = "KINDS", default_value = "all", value_delimiter = ',')]
    faults: Vec<String>,
    /// Workers [default: 1 to 5, by the seed]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    workers: Option<u32>,
    /// Datasets to train on [default: 1 to 8, by the seed]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    datasets: Option<u32>,
    /// A rule that every worker forgets, by its name in `sim mutants`.
    #[arg(long, value_name = "NAME")]
    mutant: Option<String>,
}

impl SearchArgs {
    /// # Errors
    /// Where a mutant is named that there is not.
    pub fn search(&self) -> Result<Search, Failure> {
        let named = |name: &String| {
            Mutant::named(name).ok_or_else(|| {
                let failure =
                    Failure::new(Exit::Usage, format!("find mutant {name}"), "there is none of that name");
                failure.hint("`sim mutants` lists them")
            })
        };
        let mutant = self.mutant.as_ref().map(named).transpose()?;
        let (faults, workers, datasets) = (self.faults.clone(), self.workers, self.datasets);
        Ok(Search { faults, workers, datasets, mutant })
    }
}

/// Explores, to an exit code.
///
/// # Errors
/// Where a kind of fault or a mutant is named that there is not.
#[expect(clippy::disallowed_methods, reason = "only shows the rate of schedules; nothing depends on it")]
pub fn main(args: &ExploreArgs) -> Result<u8, Failure> {
    if args.kinds {
        print(&KINDS.map(|(name, meaning)| format!("{name:<18} {meaning}\n")).concat())?;
        return Ok(Exit::Finished.code());
    }
    let search = args.search.search()?;
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
    let usage = |why: String| Failure::of(Exit::Usage, why);
    let seeds = args.from..args.from.saturating_add(args.seeds);
    let found = campaign(seeds, &search, threads, &tick).map_err(usage)?;
    if on_terminal {
        eprintln!();
    }
    let rate = found.schedules as f64 / started.elapsed().as_secs_f64();
    let threads = count(threads as u64, "thread");
    print(&format!("{}\n{rate:.0} schedules a second on {threads}\n", summary(&found)))?;
    let Some((seed, broken)) = &found.failure else {
        return Ok(Exit::Finished.code());
    };
    print(&verdict(*seed, broken, &search).map_err(usage)?)?;
    Ok(Exit::Check.code())
}
