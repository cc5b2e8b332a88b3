//! Schedules of SIGTERM, SIGKILL, SIGSTOP and of a Redis that is killed, on real processes:
//! CHAOS_SCHEDULES of them (5 where nothing is said), from seed CHAOS_FROM on, or the one of
//! CHAOS_SEED.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tests::chaos::{Chaos, Tally};
use tests::queue::server::Server;

const SCHEDULES: u64 = 5;
/// Schedules beside each other: a run waits, for leases and for machines to return, as much as it
/// computes.
const THREADS: usize = 2;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: it is no number")))
}

#[test]
fn whatever_strikes_the_files_are_those_of_an_undisturbed_run() {
    let (from, schedules) = match (number("CHAOS_SEED"), number("CHAOS_SCHEDULES"), number("CHAOS_FROM")) {
        (Some(seed), _, _) => (seed, 1),
        (None, schedules, from) => (from.unwrap_or(0), schedules.unwrap_or(SCHEDULES)),
    };
    // Without one `sim run --queue redis` has none to start either.
    let redis = Server::shared().is_some();
    let on_sqlite = AtomicU64::new(0);
    let program = Path::new(env!("CARGO_BIN_EXE_sim-under-test"));
    let next = AtomicU64::new(from);
    let (tally, failed) = (Mutex::new(Tally::default()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::SeqCst);
                if seed >= from + schedules {
                    return;
                }
                let mut chaos = Chaos::draw(seed);
                if chaos.redis && !redis {
                    on_sqlite.fetch_add(1, Ordering::SeqCst);
                    chaos = chaos.without_redis();
                }
                let folder = tempfile::tempdir().expect("a temporary folder");
                match chaos.run(program, folder.path()) {
                    Ok(one) => tally.lock().unwrap_or_else(PoisonError::into_inner).add(&one),
                    Err(why) => failed.lock().unwrap_or_else(PoisonError::into_inner).push(format!(
                        "seed {seed}: {why}\nfiles: {}\nreplay: CHAOS_SEED={seed} cargo test --workspace --test chaos",
                        folder.keep().display()
                    )),
                }
            }
        };
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    let kinds: Vec<String> =
        tally.interrupted.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    // Past the capture of tests' output: the number of faults is part of the result.
    let _ = writeln!(
        std::io::stderr(),
        "chaos: {schedules} schedules from seed {from}, {} on SQLite for want of Redis, {} failed; interrupted \
         held work: {}; Redis faults: {}; {} files compared, byte for byte",
        on_sqlite.into_inner(),
        failed.len(),
        if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") },
        tally.queue,
        tally.files
    );
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    assert!(schedules < SCHEDULES || !tally.interrupted.is_empty(), "no fault interrupted held work");
}
