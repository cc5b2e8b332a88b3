//! Training days that are pushed after a run began, while its test days are later: each is learned from.

#![expect(clippy::unwrap_used)]

use std::collections::BTreeMap;

use sim::view::View;
use tests::batch::{Batch, Crash, Play, RUN};
use tests::queue::{block_on, memory_in_real_time};
use worker::contract::Exit;
use worker::queue::Inbox;

/// Right after the link that makes chapter 0 public: before it, the volume was tried with one.
const BEGUN: Crash = Crash { number: 1, before: false, of: Some("link") };

/// Runs a batch whose first training day alone is pushed before the run begins, and returns its report.
fn in_two_chapters(batch: &Batch) -> serde_json::Value {
    let volume = tempfile::tempdir().unwrap();
    batch.stage(volume.path());
    let trainings = batch.trainings();
    let (first, later) = trainings.split_at(1);
    let quiet = Play::quiet(volume.path());
    block_on(async {
        let queue = memory_in_real_time();
        queue.push(first).await.unwrap();
        let begun = Play { crashes: &[BEGUN], ..quiet }.run(|| queue.clone()).await;
        assert_eq!(begun.faulted, ["link"]);
        // The queue is only a hint: a new queue has no leases of crashed workers.
        let queue = memory_in_real_time();
        queue.push(later).await.unwrap();
        let ran = quiet.run(|| queue.clone()).await;
        assert!(ran.ended.iter().all(|ended| ended.exit == Exit::Finished), "{:?}", ran.ended);
    });
    let view = View::read(volume.path(), RUN).unwrap();
    let pages = view.files.keys().filter(|path| path.contains("/manifest/")).count();
    assert_eq!(pages, 3, "two chapters and the seal");
    serde_json::from_slice(&view.files["output/report.json"]).unwrap()
}

fn check(batch: &Batch) {
    let report = in_two_chapters(batch);
    assert_eq!(report["rejected"].as_array().unwrap().len(), 0, "{:#}", report["rejected"]);
    assert_eq!(report["trained"].as_array().unwrap().len(), batch.trainings().len());
}

#[test]
fn days_pushed_late_are_learned_from_though_the_test_day_is_later() {
    check(&Batch::small(4));
}

/// As in the tutorial, whose test dataset has no day in its name.
#[test]
fn an_undated_test_comes_after_all_training_days() {
    let mut batch = Batch::small(4);
    let (path, bytes) = batch.files.pop_first().unwrap();
    assert!(path.starts_with("datasets/testing"), "{path}");
    batch.files.insert("datasets/testing/test_dataset.parquet".to_owned(), bytes);
    check(&batch);
}

#[test]
fn nothing_needs_a_day_in_its_name() {
    let batch = Batch::small(4);
    let undated = |(number, (path, bytes)): (usize, (&String, &Vec<u8>))| {
        let folder = path.rsplit_once('/').unwrap().0;
        (format!("{folder}/part-{number}.parquet"), bytes.clone())
    };
    let files: BTreeMap<String, Vec<u8>> = batch.files.iter().enumerate().map(undated).collect();
    check(&Batch { files });
}
