//! `sim scale`: one large simulated batch, and what a result costs from its beginning to its end.

use clap::Args;
use nix::time::{ClockId, clock_gettime};
use worker::contract::Exit;
use worker::failure::Failure;

use crate::report::terminal::print;
use crate::world::scale::{Sample, measure, schedule, table};

#[derive(Debug, Args)]
pub struct ScaleArgs {
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    workers: u32,
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    datasets: u32,
    /// Faults, spread over the run, each kind in turn except the four that restore the queue to an earlier state.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    faults: u32,
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
    /// The volume is a bucket [default: a directory on NFS]
    #[arg(long)]
    bucket: bool,
}

/// Runs one world, to an exit code.
///
/// # Errors
/// Where the output cannot be written.
pub fn main(args: &ScaleArgs) -> Result<u8, Failure> {
    let ScaleArgs { workers, datasets, faults, seed, bucket } = *args;
    print(&format!("{workers} workers, {datasets} datasets to train on, {faults} faults, seed {seed}\n"))?;
    let schedule = schedule(seed, workers, datasets, faults, bucket);
    let tick = |sample: &Sample| {
        eprintln!("{} results after {:.0} s of CPU", sample.results, sample.cpu_us as f64 / 1e6)
    };
    let (samples, outcome) = measure(&schedule, &meter, &tick);
    let (cpu_us, memory) = meter();
    let mut text = table(&samples);
    text += &format!(
        "checked: {:.1} s of CPU in all, {} MB; {} calls, {:.1} s of virtual time, {} results recomputed\n",
        cpu_us as f64 / 1e6,
        memory >> 20,
        outcome.calls,
        outcome.took as f64 / 1e6,
        outcome.tally.redone,
    );
    for broken in outcome.broken.iter().take(5) {
        text += &format!("BROKEN ({}): {}\n", broken.property, broken.detail);
    }
    print(&text)?;
    Ok(if outcome.broken.is_empty() { Exit::Finished } else { Exit::Check }.code())
}

/// CPU of this process in microseconds, and its memory in bytes (0 where the system does not say).
fn meter() -> (u64, u64) {
    let cpu = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(0, |spent| {
        spent.tv_sec().unsigned_abs() * 1_000_000 + spent.tv_nsec().unsigned_abs() / 1_000
    });
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = resident.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
    (cpu, kilobytes.unwrap_or(0) << 10)
}
