//! One large world: what a committed result costs, by tenths of the run. Where that grows with what
//! is already committed, something looks at all of it again and again.

use super::clock::{Micros, ms};
use super::dice::Dice;
use super::fault::{Fault, FaultKind, KINDS};
use super::oddity::Oddities;
use super::params::{Params, Results};
use super::run::{Outcome, watched};
use super::schedule::Schedule;
use super::world::World;

/// Counts from the beginning of a world until now.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// Paths that are committed.
    pub results: u64,
    pub claims: u64,
    pub queue_calls: u64,
    pub volume_calls: u64,
    /// Virtual time.
    pub now: Micros,
    /// Of this process: microseconds of CPU, and bytes of memory.
    pub cpu_us: u64,
    pub memory: u64,
}

/// CPU that this process has used, in microseconds, and its memory, in bytes.
pub type Meter<'a> = &'a dyn Fn() -> (u64, u64);

/// A batch of `datasets` datasets on `workers` workers, pushed to the queue, with `faults` faults spread
/// over it: of each kind in turn, except kinds that roll the queue back. Work and leases are of a size
/// that lets the fold keep up.
pub fn schedule(seed: u64, workers: u32, datasets: u32, faults: u32, bucket: bool) -> Schedule {
    let params = Params {
        workers,
        train: datasets,
        tests: 2,
        history: 2,
        rejects: (0..datasets).step_by(997).skip(1).collect(),
        steps: 6,
        results: Results::Same,
        large: false,
        newer: None,
        listed: false,
        on_one_machine: false,
        bucket,
        pushes: Vec::new(),
        lease_ms: 5_000,
        grace_ms: 5_000,
        idle_ms: 2_000,
        progress_ms: 1_000,
        volume_us: (200, 800),
        queue_us: (100, 400),
        step_us: (500, 2_000),
        hints: false,
        oddities: Oddities::default(),
    };
    let mut dice = Dice::new(seed);
    let calls = params.calls();
    // Kinds that roll the queue back need copies of the whole queue at all times.
    let whats = (0..KINDS.len()).cycle().map(|kind| FaultKind::of_kind(kind, &mut dice));
    let whats: Vec<FaultKind> = whats.filter(|what| !what.goes_back()).take(faults as usize).collect();
    let faults = whats.into_iter().map(|what| Fault { at: dice.between(0, calls), what });
    let faults = faults.collect();
    Schedule::new(seed, params, faults)
}

/// Runs a world and takes a sample after each tenth of its results, and one at its end.
pub fn measure(schedule: &Schedule, meter: Meter<'_>, tick: &dyn Fn(&Sample)) -> (Vec<Sample>, Outcome) {
    // A page of the manifest, its seal and the report are committed too.
    let all = schedule.params.items() + 1;
    let mut samples = vec![sample(None, meter)];
    let outcome = watched(schedule, false, &mut |world| {
        let results = world.watch.committed_so_far() as u64;
        if results * 10 >= all * samples.len() as u64 && samples.len() <= 10 {
            samples.push(sample(Some(world), meter));
            tick(&samples[samples.len() - 1]);
        }
    });
    (samples, outcome)
}

fn sample(world: Option<&World>, meter: Meter<'_>) -> Sample {
    let (cpu_us, memory) = meter();
    let Some(world) = world else { return Sample { cpu_us, memory, ..Sample::default() } };
    Sample {
        results: world.watch.committed_so_far() as u64,
        claims: world.watch.tally().claims,
        queue_calls: world.broker.calls.get(),
        volume_calls: world.share.calls.get(),
        now: world.now(),
        cpu_us,
        memory,
    }
}

/// What a result cost between two samples.
fn each(before: &Sample, after: &Sample, of: impl Fn(&Sample) -> u64) -> f64 {
    let results = (after.results - before.results).max(1);
    (of(after) - of(before)) as f64 / results as f64
}

/// A line a tenth, with a bar of its CPU.
pub fn table(samples: &[Sample]) -> String {
    let mut text = String::from(
        " results  claims/result  queue calls  volume calls  virtual time    CPU/result  memory\n",
    );
    let cpu = |pair: &[Sample]| each(&pair[0], &pair[1], |sample| sample.cpu_us);
    let most = samples.windows(2).map(cpu).fold(1.0, f64::max);
    for pair in samples.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        text.push_str(&format!(
            "{:>8}  {:>13.2}  {:>11.1}  {:>12.1}  {:>10.1} s  {:>8.1} µs  {:>4} MB  {}\n",
            after.results,
            each(before, after, |sample| sample.claims),
            each(before, after, |sample| sample.queue_calls),
            each(before, after, |sample| sample.volume_calls),
            after.now as f64 / ms(1_000) as f64,
            cpu(pair),
            after.memory >> 20,
            "█".repeat((30.0 * cpu(pair) / most).round() as usize),
        ));
    }
    text
}
