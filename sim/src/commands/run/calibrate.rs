//! How many rounds of hashing a time is worth on this machine: measured once, before the run.

#![expect(clippy::disallowed_methods, reason = "an adapter: faults on real machines happen in real time")]

use tokio::time::Instant;
use worker::hash::Hash;
use worker::workload::longer::{ROUNDS_PER_STEP, chain};

use crate::units::Span;

/// Measurements; the fastest counts, since whatever else runs only slows one down.
const MEASUREMENTS: u32 = 3;
const ROUNDS: u64 = 5 * ROUNDS_PER_STEP;

/// Rounds that take about as long as `work`.
pub fn rounds(work: Span) -> u64 {
    if work.ms == 0 {
        return 0;
    }
    let mut state = Hash::default();
    let mut fastest_us = u128::MAX;
    for _ in 0..MEASUREMENTS {
        let began = Instant::now();
        state = std::hint::black_box(chain(state, ROUNDS));
        fastest_us = fastest_us.min(began.elapsed().as_micros().max(1));
    }
    let rounds = u128::from(work.ms) * 1000 * u128::from(ROUNDS) / fastest_us;
    u64::try_from(rounds).unwrap_or(u64::MAX).max(1)
}
