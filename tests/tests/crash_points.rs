//! Every crash point on real files: a run of three datasets by two workers, of which the one that
//! makes the k-th I/O is gone before or after it, for every k; on a directory, with SQLite and with
//! Redis. Whatever k is, the files of the run are those of an undisturbed one.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sim::settle::settle;
use sim::view::View;
use tests::batch::{Batch, Crash, Play, RUN, different, undisturbed};
use tests::queue::server::Server;
use tests::queue::{answer, block_on};
use worker::contract::Exit;
use worker::queue::Queue;
use worker::queue::redis::Redis;
use worker::queue::sqlite::Sqlite;
use worker::workload::fraud::PIPELINE;

const TRAININGS: u32 = 2;
const WORKERS: u32 = 2;
const LEASE: Duration = Duration::from_millis(50);
/// Runs beside each other: most of a run is waiting, for leases and for disks.
const THREADS: u32 = 8;
/// Runs that had fewer calls than their crash's number, before every call counts as crashed at: how often
/// idle workers poll, and so how many calls there are, depends on the machine.
const BEYOND: u64 = 24;
/// `before:17`, or `after:0:link` for the first of a name, replays one crash instead of all.
const CRASH_AT: &str = "CRASH_AT";

/// Calls that every run makes.
const CALLS: [&str; 16] = [
    "counts", "claim", "add", "ack", "pushed", "take in", "mkdir", "create", "write", "fsync", "close",
    "link", "read", "list", "rename", "remove",
];

/// The crashes at each kind of call, before and after it.
type Crashes = BTreeMap<&'static str, [u32; 2]>;

#[test]
fn every_crash_point_with_sqlite() {
    everywhere("sqlite", &|folder: &Path| {
        let path = folder.join("queue.sqlite");
        move || Sqlite::open(&path, RUN).expect("a file of SQLite")
    });
}

#[test]
fn every_crash_point_with_redis() {
    let Some(server) = Server::shared() else { return };
    everywhere("redis", &|_: &Path| {
        let url = server.fresh_database();
        move || Redis::open_with(&url, None, "volume", RUN).expect("a good URL")
    });
}

/// Runs the batch once for each crash point, until runs have fewer calls than that.
fn everywhere<Q: Queue, C: Fn() -> Q>(arm: &str, queue: &(impl Fn(&Path) -> C + Sync)) {
    let batch = Batch::small(TRAININGS);
    let expected = undisturbed(&batch);
    if let Ok(text) = std::env::var(CRASH_AT) {
        let crash = parse(&text).expect("before:<number> or after:<number>");
        println!("{crash}, at {:?}", crashed(arm, &batch, &expected, crash, queue));
        return;
    }
    let (next, beyond) = (AtomicU64::new(0), AtomicU64::new(0));
    let crashes = Mutex::new(Crashes::new());
    std::thread::scope(|scope| {
        let work = || {
            let guard = Finally(&beyond);
            while beyond.load(Ordering::SeqCst) < BEYOND {
                let number = next.fetch_add(1, Ordering::SeqCst);
                for before in [true, false] {
                    let crash = Crash { number, before, of: None };
                    let Some(call) = crashed(arm, &batch, &expected, crash, queue) else {
                        beyond.fetch_add(1, Ordering::SeqCst);
                        continue;
                    };
                    let mut crashes = crashes.lock().unwrap_or_else(PoisonError::into_inner);
                    crashes.entry(call).or_default()[usize::from(!before)] += 1;
                }
            }
            drop(guard);
        };
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
    let crashes = crashes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let runs: u32 = crashes.values().flatten().sum();
    // Past the capture of tests' output: the number of crashes is part of the result.
    let _ = writeln!(
        std::io::stderr(),
        "crash points with {arm}: {runs} runs, each with a crash before or after a call: {crashes:?}"
    );
    // A crash by number meets a call that happens once in a run only by chance: the first call of each name
    // gets a crash by name too.
    for call in CALLS {
        for before in [true, false] {
            let crash = Crash { number: 0, before, of: Some(call) };
            assert_eq!(crashed(arm, &batch, &expected, crash, queue), Some(call), "{arm}: {crash}");
        }
    }
}

/// Ends the other threads when its own does, by a panic too.
struct Finally<'a>(&'a AtomicU64);

impl Drop for Finally<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(BEYOND, Ordering::SeqCst);
    }
}

/// Runs with one crash; returns the call at which it happened.
fn crashed<Q: Queue, C: Fn() -> Q>(
    arm: &str,
    batch: &Batch,
    expected: &View,
    crash: Crash,
    queue: &impl Fn(&Path) -> C,
) -> Option<&'static str> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    batch.stage(folder.path());
    let client = queue(folder.path());
    let play = Play {
        workers: WORKERS,
        lease: LEASE,
        crashes: &[crash],
        comes_back: true,
        ..Play::quiet(folder.path())
    };
    let (ran, left) = block_on(async {
        answer(async || client().push(&batch.trainings()).await).await;
        let ran = play.run(&client).await;
        let left = settle(&client(), folder.path(), RUN, PIPELINE, LEASE).await.expect("counts");
        (ran, left)
    });
    let when = if crash.before { "before" } else { "after" };
    let replay = format!(
        "{crash}, {:?}; replay: {CRASH_AT}='{when}:{}{}' cargo test --workspace --test crash_points {arm}",
        ran.faulted,
        crash.number,
        crash.of.map(|call| format!(":{call}")).unwrap_or_default()
    );
    assert!(ran.ended.iter().all(|ended| ended.exit == Exit::Finished), "{replay}: {:?}", ran.ended);
    let view = View::read(folder.path(), RUN).expect("the run's files can be read");
    assert_eq!(different(expected, &view), [""; 0], "{replay}");
    assert!(left.is_empty(), "{replay}: left in the queue: {left:?}");
    ran.faulted.first().copied()
}

fn parse(text: &str) -> Option<Crash> {
    let mut parts = text.split(':');
    let before = match parts.next()? {
        "before" => true,
        "after" => false,
        _ => return None,
    };
    let number = parts.next()?.parse().ok()?;
    let of = match parts.next() {
        Some(name) => Some(CALLS.into_iter().find(|call| *call == name)?),
        None => None,
    };
    Some(Crash { number, before, of })
}
