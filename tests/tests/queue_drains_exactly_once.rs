//! The property that everything here is for: a queue of datasets drains, and each takes effect
//! exactly once, whatever datasets, workers, pushes and crashes there are. On a real directory, with
//! each real queue. What is asserted are effects: commits, the chain of their hashes, the bytes of
//! model, report and `output/`; never what the queue or a counter says.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use sim::check::{Check, Evidence, check};
use sim::settle::settle;
use sim::story::Story;
use sim::view::View;
use tests::batch::{Batch, Crash, Play, RUN, different, undisturbed};
use tests::queue::server::Server;
use tests::queue::{answer, block_on, memory_in_real_time};
use worker::contract::{Exit, TRAINING};
use worker::queue::redis::Redis;
use worker::queue::sqlite::Sqlite;
use worker::queue::{Counts, Inbox, Queue};
use worker::workload::fraud::PIPELINE;
use worker::workload::registry;

const LEASE: Duration = Duration::from_millis(50);

/// What may come.
#[derive(Debug, Clone)]
struct Case {
    batch: Batch,
    /// In this order, some more than once.
    pushes: Vec<String>,
    workers: u32,
    crashes: Vec<Crash>,
}

/// What can be read, and not be used.
const UNUSABLE: &[u8] = b"TRANSACTION_ID,TX_DATETIME\n1,yesterday\n";

/// Some days, of which one may be unusable: it is rejected, reported, and skipped by the fold.
fn batches() -> impl Strategy<Value = Batch> {
    (1..5u32, prop::option::of(any::<prop::sample::Index>())).prop_map(|(trainings, unusable)| {
        let mut batch = Batch::small(trainings);
        if let Some(which) = unusable {
            let path = batch.trainings()[which.index(trainings as usize)].clone();
            batch.files.insert(path, UNUSABLE.to_vec());
        }
        batch
    })
}

fn cases() -> impl Strategy<Value = Case> {
    let crash = (0..900u64, any::<bool>()).prop_map(|(number, before)| Crash { number, before, of: None });
    (batches(), 1..4u32, prop::collection::vec(crash, 0..6)).prop_flat_map(|(batch, workers, crashes)| {
        let paths = batch.trainings();
        let again = prop::sample::subsequence(paths.clone(), 0..=paths.len());
        again.prop_flat_map(move |again| {
            let pushes = Just([&paths[..], &again].concat()).prop_shuffle();
            let (batch, crashes) = (batch.clone(), crashes.clone());
            pushes.prop_map(move |pushes| Case {
                batch: batch.clone(),
                pushes,
                workers,
                crashes: crashes.clone(),
            })
        })
    })
}

/// Runs a case, and returns how many crashes happened. Panics where the property does not hold.
fn drains_exactly_once<Q: Queue, C: Fn() -> Q>(case: &Case, queue: impl Fn(&Path) -> C) -> usize {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let volume = folder.path();
    case.batch.stage(volume);
    let client = queue(volume);
    let quiet = Play::quiet(volume);
    let play =
        Play { workers: case.workers, lease: LEASE, crashes: &case.crashes, comes_back: true, ..quiet };
    let (ran, left) = block_on(async {
        answer(async || client().push(&case.pushes).await).await;
        let ran = play.run(&client).await;
        let left = settle(&client(), volume, RUN, PIPELINE, LEASE).await.expect("counts");
        (ran, left)
    });
    let usable = case.batch.files.iter();
    let usable =
        usable.filter(|(path, bytes)| path.starts_with(TRAINING) && bytes.starts_with(b"PAR1")).count();
    let exit = if usable == 0 { Exit::LeftOut } else { Exit::Finished };
    assert!(ran.ended.iter().all(|ended| ended.exit == exit), "{:?}", ran.ended);
    let pushed = block_on(answer(async || client().pushed_count().await));
    assert_eq!(pushed, 0, "the run took in all that was pushed");
    let view = View::read(volume, RUN).expect("the run's files can be read");
    let workload = registry::standard().make("fraud", &[].into()).expect("the workload's defaults");
    let verdict = check(&Evidence {
        run: RUN,
        story: &ran.story,
        view: &view,
        queue: left,
        workload: workload.as_ref(),
        drained_ms_max: u64::MAX,
    });
    let wrong: Vec<String> = verdict.violations.iter().map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let looked_at = |check| verdict.looked_at.get(&check).copied().unwrap_or(0);
    assert!(looked_at(Check::Once) > 0 && looked_at(Check::Chain) > 0, "{:?}", verdict.looked_at);
    let outputs = view.files.keys().filter(|path| path.starts_with("output/model_cpt_")).count();
    assert_eq!(outputs, usable, "one checkpoint for each dataset that can be used");
    assert_eq!(different(&undisturbed(&case.batch), &view), [""; 0]);
    ran.faulted.len()
}

/// Checkpoints' names are fixed by the manifest: a rejected dataset takes the name of its stem too.
#[test]
fn two_datasets_of_one_stem_have_their_checkpoints_though_the_first_is_rejected() {
    let small = Batch::small(1);
    let usable = small.files[&small.trainings()[0]].clone();
    let files = [("days.csv", UNUSABLE.to_vec()), ("days.parquet", usable)];
    let files = files.map(|(name, bytes)| (format!("{TRAINING}/{name}"), bytes)).into();
    let batch = Batch { files };
    let case = Case { pushes: batch.trainings(), batch, workers: 1, crashes: Vec::new() };
    drains_exactly_once(&case, |_| {
        let queue = memory_in_real_time();
        move || queue.clone()
    });
}

/// A push to the database of a run that is born sealed is for another run.
#[test]
fn what_is_pushed_for_another_run_is_no_leftover() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let queue = memory_in_real_time();
    let left = block_on(async {
        queue.push(&[format!("{TRAINING}/2018-04-01.parquet")]).await.expect("pushed");
        settle(&queue, folder.path(), RUN, PIPELINE, LEASE).await.expect("counts")
    });
    assert_eq!(left, Counts::default());
    let verdict = check(&Evidence {
        run: RUN,
        story: &Story::default(),
        view: &View::default(),
        queue: left,
        workload: registry::standard().make("fraud", &[].into()).expect("the workload's defaults").as_ref(),
        drained_ms_max: 0,
    });
    assert_eq!(verdict.looked_at.get(&Check::Queue), Some(&1), "{:?}", verdict.violations);
}

fn on_arm<Q: Queue, C: Fn() -> Q>(arm: &str, count: u32, queue: impl Fn(&Path) -> C) {
    let config = ProptestConfig { cases: count, failure_persistence: None, ..ProptestConfig::default() };
    let crashes = std::cell::Cell::new(0);
    proptest!(config, |(case in cases())| {
        crashes.set(crashes.get() + drains_exactly_once(&case, &queue));
    });
    // Past the capture of tests' output: the number of crashes is part of the result.
    let _ = writeln!(
        std::io::stderr(),
        "queue_drains_exactly_once, {arm}: {count} runs, {} crashes of a worker",
        crashes.get()
    );
    assert!(crashes.get() > 0, "no worker crashed");
}

#[test]
fn queue_drains_exactly_once_with_sqlite() {
    on_arm("sqlite", 40, |folder| {
        let path = folder.join("queue.sqlite");
        move || Sqlite::open(&path, RUN).expect("a file of SQLite")
    });
}

#[test]
fn queue_drains_exactly_once_with_redis() {
    let Some(server) = Server::shared() else { return };
    on_arm("redis", 40, |_| {
        let url = server.fresh_database();
        move || Redis::open_with(&url, None, "volume", RUN).expect("a good URL")
    });
}
