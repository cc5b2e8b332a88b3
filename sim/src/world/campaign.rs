//! Many schedules on all cores: what fired, what was met, and the first seed that broke a promise.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::check::Broken;
use super::fault::{KINDS, kind_of};
use super::run::{bound, run};
use super::schedule::Schedule;
use super::watch::{SOMETIMES, Tally};

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
pub fn campaign(seeds: Range<u64>, kinds: &[usize], threads: usize, tick: &(dyn Fn(u64) + Sync)) -> Campaign {
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
