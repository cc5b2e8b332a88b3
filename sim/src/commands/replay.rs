//! `sim replay`: the story of one seed, line by line.

use std::path::{Path, PathBuf};

use clap::Args;
use worker::contract::Exit;
use worker::failure::Failure;

use super::explore::SearchArgs;
use crate::report::terminal::print;
use crate::world::run::run;
use crate::world::schedule::Schedule;
use crate::world::shrink::shrink;
use crate::world::story::story;

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The seed, as `sim explore` prints it.
    #[arg(required_unless_present = "world")]
    seed: Option<u64>,
    /// A recorded world with its faults, in place of a seed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "faults", "workers", "datasets", "mutant"])]
    world: Option<PathBuf>,
    /// With the fewest faults that still break the promise.
    #[arg(long)]
    shrink: bool,
    /// Print the world and its faults as JSON, to be recorded, in place of the story.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    search: SearchArgs,
}

/// Tells the story, to an exit code.
///
/// # Errors
/// Where there is no such schedule, or it cannot be read.
pub fn main(args: &ReplayArgs) -> Result<u8, Failure> {
    let schedule = schedule(args)?;
    if args.json {
        let json = serde_json::to_string_pretty(&schedule)
            .map_err(Failure::when(Exit::Failed, "write the world"))?;
        print(&(json + "\n"))?;
        return Ok(Exit::Finished.code());
    }
    let outcome = run(&schedule, true);
    print(&story(&schedule, &outcome))?;
    Ok(if outcome.broken.is_empty() { Exit::Finished } else { Exit::Check }.code())
}

fn read(path: &Path) -> Result<Schedule, Failure> {
    let doing = || format!("read world {}", path.display());
    let content = std::fs::read(path).map_err(|error| error.to_string());
    let parsed = content
        .and_then(|content| serde_json::from_slice::<Schedule>(&content).map_err(|error| error.to_string()));
    let checked = parsed.and_then(|schedule| {
        schedule.check()?;
        Ok(schedule)
    });
    let hint = "give one as `sim replay SEED --json` prints it";
    checked.map_err(|why| Failure::new(Exit::Usage, doing(), why).hint(hint))
}

fn schedule(args: &ReplayArgs) -> Result<Schedule, Failure> {
    let schedule = match (&args.world, args.seed) {
        (Some(path), _) => read(path)?,
        (None, seed) => {
            let search = args.search.search()?;
            search.schedule(seed.unwrap_or_default()).map_err(|why| Failure::of(Exit::Usage, why))?
        }
    };
    if !args.shrink {
        return Ok(schedule);
    }
    Ok(match run(&schedule, false).broken.first() {
        Some(broken) => shrink(&schedule, broken.property).0,
        None => schedule,
    })
}
