//! The tests' own test: rules forgotten on purpose, and whether the property that must see it does.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use worker::mutant::{Entry, MUTANTS, Mutant};

use super::broken::Broken;
use super::fault::kind_of;
use super::run::run;
use super::schedule::Schedule;

/// How a mutant was seen.
#[derive(Debug, Clone)]
pub struct Caught {
    pub seed: u64,
    /// Schedules run until then.
    pub schedules: u64,
    pub broken: Broken,
}

/// The property of a seed that tells one story.
const REPLAY: &str = "replay";

/// Runs a schedule twice: one seed is one world, down to the number of calls (rule 19).
pub fn replays(schedule: &Schedule) -> Option<Broken> {
    let [first, second] = [(); 2].map(|()| run(schedule, false));
    let same = (first.calls, first.took, &first.tally, &first.output)
        == (second.calls, second.took, &second.tally, &second.output);
    let detail = || format!("one seed makes {} calls, and then {}", first.calls, second.calls);
    (!same).then(|| Broken::new(REPLAY, detail()))
}

/// The rule of what must be durable.
const DURABILITY: u8 = 21;

/// The schedule of a seed in which a mutant is looked for. What is not durable shows when the power is lost; with all
/// kinds of faults and worlds that takes thousands of schedules. A bucket's rules show where a bucket's faults are.
fn schedule_for(entry: &Entry, seed: u64) -> Schedule {
    let of_kinds = |kinds: &[&str]| {
        let kinds: Vec<usize> = kinds.iter().filter_map(|kind| kind_of(kind)).collect();
        Schedule::of_seed(seed, &kinds)
    };
    match entry.mutant {
        _ if entry.rule == DURABILITY => of_kinds(&["power-loss", "kill"]),
        Mutant::TrustFirstPage | Mutant::TrustCutBody => of_kinds(&["cut"]),
        Mutant::UnansweredIsDone | Mutant::UnansweredIsUndone => of_kinds(&["error", "pause", "twin"]),
        Mutant::TakenIsALoss | Mutant::OwnByBytes => of_kinds(&["conflict", "pause"]),
        _ => Schedule::of_any_kind(seed),
    }
}

/// The first seed at which the property that must see a mutant sees it.
pub fn hunt(entry: &Entry, seeds_max: u64) -> Option<Caught> {
    (0..seeds_max).find_map(|seed| {
        let schedule = Schedule { mutant: Some(entry.mutant), ..schedule_for(entry, seed) };
        let broken = match entry.caught_by {
            REPLAY => replays(&schedule).into_iter().collect(),
            _ => run(&schedule, false).broken,
        };
        let broken = broken.into_iter().find(|broken| broken.property == entry.caught_by)?;
        Some(Caught { seed, schedules: seed + 1, broken })
    })
}

/// Hunts every mutant, on `threads` threads. Returns them in the order of the list.
pub fn hunt_all(seeds_max: u64, threads: usize) -> Vec<(Entry, Option<Caught>)> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some(entry) = MUTANTS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let caught = hunt(entry, seeds_max);
                    found.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((*entry, caught));
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    found.sort_by_key(|(entry, _)| (entry.rule, entry.name));
    found
}

/// The list as a person reads it.
pub fn table(found: &[(Entry, Option<Caught>)]) -> String {
    let mut text = String::new();
    for (entry, caught) in found {
        let rule = if entry.rule == 0 { "loop".to_owned() } else { format!("rule {}", entry.rule) };
        let how = match caught {
            Some(caught) => format!("{} after {} schedules", entry.caught_by, caught.schedules),
            None => format!("NOT CAUGHT by {}", entry.caught_by),
        };
        text.push_str(&format!("{:<26} {rule:<8} {how:<28} {}\n", entry.name, entry.what));
    }
    let caught = found.iter().filter(|(_, caught)| caught.is_some()).count();
    text.push_str(&format!("{caught} of {} caught\n", found.len()));
    text
}
