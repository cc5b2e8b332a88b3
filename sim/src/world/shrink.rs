//! The fewest faults that still break a promise: delta debugging (Zeller, Hildebrandt 2002).

use super::fault::Fault;
use super::run::{Outcome, run};
use super::schedule::Schedule;

/// The schedule with as few of its faults and pushes as still break the same property.
pub fn shrink(schedule: &Schedule, property: &str) -> (Schedule, Outcome) {
    let breaks = |candidate: &Schedule| {
        let outcome = run(candidate, false);
        outcome.broken.iter().any(|broken| broken.property == property).then_some(outcome)
    };
    let mut best = schedule.clone();
    let mut of_best = run(&best, false);
    let mut parts = 2;
    while !best.faults.is_empty() {
        let size = best.faults.len().div_ceil(parts);
        let mut smaller = None;
        for start in (0..best.faults.len()).step_by(size) {
            let mut faults: Vec<Fault> = best.faults.clone();
            faults.drain(start..(start + size).min(faults.len()));
            let candidate = Schedule { faults, ..best.clone() };
            if let Some(outcome) = breaks(&candidate) {
                smaller = Some((candidate, outcome));
                break;
            }
        }
        match smaller {
            Some(found) => (best, of_best) = found,
            None if size == 1 => break,
            None => parts = (parts * 2).min(best.faults.len()),
        }
    }
    let mut without_pushes = best.clone();
    without_pushes.params.pushes.clear();
    if let Some(outcome) = breaks(&without_pushes) {
        (best, of_best) = (without_pushes, outcome);
    }
    (best, of_best)
}
