//! Calls of a real file system that fail though they took effect: a close that reports what earlier writes lost, a file
//! handle that is stale since its server was restarted, a disk that was full for a moment. Whichever fails, the files of
//! the run are those of an undisturbed one.

use std::collections::BTreeSet;
use std::time::Duration;

use sim::view::View;
use tests::batch::{Batch, FailedCall, Play, RUN, different, undisturbed};
use tests::queue::{block_on, memory_in_real_time};
use worker::contract::Exit;
use worker::store::Kind;

const TRAININGS: u32 = 2;
const LEASE: Duration = Duration::from_millis(50);
/// How many of the first calls of each name fail, each in a run of its own.
const CALLS_MAX: u64 = 12;

const FAILURES: [(&str, Kind); 10] = [
    ("close", Kind::Io),
    ("create", Kind::Stale),
    ("write", Kind::NoSpace),
    ("fsync", Kind::Io),
    ("link", Kind::Stale),
    ("read", Kind::Stale),
    ("stat", Kind::Stale),
    ("list", Kind::Stale),
    ("rename", Kind::Io),
    ("mkdir", Kind::Stale),
];

#[test]
fn whatever_call_fails_the_files_are_those_of_an_undisturbed_run() {
    let batch = Batch::small(TRAININGS);
    let expected = undisturbed(&batch);
    let mut seen = BTreeSet::new();
    for (of, kind) in FAILURES {
        for number in 0..CALLS_MAX {
            let failed = FailedCall { of, number, kind };
            if !run_with(&batch, &expected, failed) {
                break;
            }
            seen.insert(of);
        }
    }
    assert_eq!(seen, FAILURES.map(|(of, _)| of).into(), "each call failed once at least");
}

/// One run with one failed call; whether there was such a call.
fn run_with(batch: &Batch, expected: &View, failed: FailedCall) -> bool {
    let folder = tempfile::tempdir().expect("a temporary folder");
    batch.stage(folder.path());
    let play = Play { workers: 2, lease: LEASE, failed: &[failed], ..Play::quiet(folder.path()) };
    let queue = memory_in_real_time();
    let ran = block_on(async {
        worker::queue::Inbox::push(&queue, &batch.trainings()).await.expect("pushed");
        play.run(|| queue.clone()).await
    });
    assert!(ran.ended.iter().all(|ended| ended.exit == Exit::Finished), "{failed:?}: {:?}", ran.ended);
    let view = View::read(folder.path(), RUN).expect("the run's files can be read");
    assert_eq!(different(expected, &view), [""; 0], "{failed:?}");
    !ran.faulted.is_empty()
}
