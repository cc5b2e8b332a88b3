//! Many schedules on all cores: what fired, what was met, and the first seed that broke a promise.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use worker::mutant::Mutant;

use super::broken::Broken;
use super::fault::{KINDS, kind_of};
use super::run::{bound, run};
use super::schedule::Schedule;
use super::shrink::shrink;
use super::watch::{SOMETIMES, Tally};
use super::words::count;

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
                format!("there is no kind of fault named {name}\nhint: `sim explore --kinds` lists them")
            })?),
        }
    }
    Ok(kinds)
}

/// Which schedules to look at.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Names of kinds of faults, or `all`, or `none`.
    pub faults: Vec<String>,
    /// In place of what the seed says.
    pub workers: Option<u32>,
    pub datasets: Option<u32>,
    /// A rule that every worker forgets.
    pub mutant: Option<Mutant>,
}

impl Search {
    pub fn everything() -> Self {
        Self { faults: vec!["all".to_owned()], ..Self::default() }
    }

    /// The schedule of a seed.
    ///
    /// # Errors
    /// Where a kind of fault is named that there is not.
    pub fn schedule(&self, seed: u64) -> Result<Schedule, String> {
        Ok(self.schedule_of(seed, &kinds(&self.faults)?))
    }

    fn schedule_of(&self, seed: u64, kinds: &[usize]) -> Schedule {
        let mut schedule = Schedule::of_seed(seed, kinds);
        schedule.mutant = self.mutant;
        let params = &mut schedule.params;
        params.train = self.datasets.unwrap_or(params.train);
        params.workers = self.workers.unwrap_or(params.workers);
        // A newer worker alone would begin the run; beside others it is the exception.
        params.newer = params.newer.filter(|_| params.workers > 1);
        schedule
    }

    /// The arguments of the command that tells a seed's story.
    pub fn replay(&self, seed: u64) -> String {
        let mut command = format!("sim replay {seed} --shrink");
        if self.faults != ["all"] {
            command.push_str(&format!(" --faults {}", self.faults.join(",")));
        }
        let numbers = [("workers", self.workers), ("datasets", self.datasets)];
        for (name, number) in numbers.iter().filter_map(|(name, number)| Some((name, (*number)?))) {
            command.push_str(&format!(" --{name} {number}"));
        }
        if let Some(mutant) = self.mutant {
            command.push_str(&format!(" --mutant {}", mutant.name()));
        }
        command
    }
}

/// What a campaign came to.
#[derive(Debug, Default)]
pub struct Campaign {
    pub schedules: u64,
    pub calls: u64,
    pub tally: Tally,
    /// The largest part, in thousandths, of the bound on draining that any schedule needed.
    pub drained_permille: u64,
    /// The lowest seed that ran and broke a promise.
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

/// Runs the seeds on `threads` threads; stops soon after the first failure. Calls `tick` with how many
/// more are done.
///
/// # Errors
/// Where a kind of fault is named that there is not.
pub fn campaign(
    seeds: Range<u64>,
    search: &Search,
    threads: usize,
    tick: &(dyn Fn(u64) + Sync),
) -> Result<Campaign, String> {
    let kinds = &kinds(&search.faults)?;
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
                    let schedule = search.schedule_of(seed, kinds);
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
    Ok(total.into_inner().unwrap_or_else(|e| e.into_inner()))
}

/// Coverage: what fired and what was met, how often.
pub fn summary(found: &Campaign) -> String {
    let mut text = format!(
        "{} schedules, {} calls, {} claims; draining took at most {:.1} % of its bound\n\nfaults that interrupted held work or changed an answer:\n",
        found.schedules,
        found.calls,
        found.tally.claims,
        found.drained_permille as f64 / 10.0
    );
    for ((name, meaning), fired) in KINDS.iter().zip(found.tally.fired) {
        text.push_str(&format!("  {fired:>9}  {name:<18} {meaning}\n"));
    }
    text.push_str("\nmet on the way:\n");
    for ((_, meaning), times) in SOMETIMES.iter().zip(found.tally.sometimes) {
        text.push_str(&format!("  {times:>9}  {meaning}\n"));
    }
    text
}

/// What the first failure was, its fewest faults, and the command that tells its story.
pub fn verdict(seed: u64, broken: &[Broken], search: &Search) -> Result<String, String> {
    let schedule = search.schedule(seed)?;
    let mut text = format!("\nseed {seed} breaks a promise:\n");
    for broken in broken.iter().take(5) {
        text.push_str(&format!("  {}: {}\n", broken.property, broken.detail));
    }
    let property = broken.first().map_or("effect", |broken| broken.property);
    let (small, outcome) = shrink(&schedule, property);
    let faults = count(schedule.faults.len() as u64, "fault");
    text.push_str(&format!("\nshrunk from {faults} to {}:\n", small.faults.len()));
    for fault in &small.faults {
        text.push_str(&format!("  from call {}: {:?}\n", fault.at, fault.what));
    }
    for broken in outcome.broken.iter().take(5) {
        text.push_str(&format!("  {}: {}\n", broken.property, broken.detail));
    }
    text.push_str(&format!("\nreplay it: {}\n", search.replay(seed)));
    Ok(text)
}
