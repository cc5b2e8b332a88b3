//! `sim mutants`: the suite against workers that forget one rule each.

use clap::Args;
use worker::contract::Exit;
use worker::failure::Failure;

use crate::report::terminal::print;
use crate::world::mutants::{hunt_all, table};

#[derive(Debug, Args)]
pub struct MutantsArgs {
    /// Schedules to try for each mutant before it counts as missed.
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    seeds: u64,
}

/// Hunts all mutants, to an exit code.
///
/// # Errors
/// Where the output cannot be written.
pub fn main(args: &MutantsArgs) -> Result<u8, Failure> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let found = hunt_all(args.seeds, threads);
    print(&table(&found))?;
    let all = found.iter().all(|(_, caught)| caught.is_some());
    Ok(if all { Exit::Finished } else { Exit::Check }.code())
}
