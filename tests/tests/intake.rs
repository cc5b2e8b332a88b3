//! What is pushed is taken in, or it is said why not: on the volume, in the report, by status and by the exit code.

#![expect(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Output;

use sim::view::View;
use tests::batch::{Batch, Crash, Play, RUN};
use tests::command::{FILTERS, run, transcript, without, write_days, write_volume};
use tests::queue::{block_on, memory_in_real_time};
use worker::contract::{Exit, RunPaths};
use worker::manifest::{Manifest, Page};
use worker::queue::Inbox;
use worker::record::Record;
use worker::workload::Outcome;

const SIM: &str = env!("CARGO_BIN_EXE_sim-under-test");
const FOLDER: &str = "datasets/training";

/// Right after the link that makes chapter 0 public: before it, the volume was tried with one.
const BEGUN: Crash = Crash { number: 1, before: false, of: Some("link") };

fn worker(volume: &Path, command: &str, more: &[&str]) -> Output {
    run(SIM, &[&["worker", command, "--volume", volume.to_str().unwrap()], more].concat())
}

/// Compares with a snapshot, the folder's own name left out.
fn see(name: &str, folder: &Path, text: &str) {
    insta::with_settings!({filters => FILTERS.to_vec()}, { insta::assert_snapshot!(name, without(folder, text)) });
}

/// Begins a run with the first training day, and pushes other paths to it one push after another while it is open.
fn in_chapters(volume: &Path, first: &str, later: &[&[String]]) -> View {
    let quiet = Play::quiet(volume);
    block_on(async {
        let queue = memory_in_real_time();
        queue.push(&[first.to_owned()]).await.unwrap();
        assert_eq!(Play { crashes: &[BEGUN], ..quiet }.run(|| queue.clone()).await.faulted, ["link"]);
        for (number, paths) in later.iter().enumerate() {
            // The queue is only a hint: a new queue has no leases of crashed workers.
            let queue = memory_in_real_time();
            queue.push(paths).await.unwrap();
            let is_last = number + 1 == later.len();
            let crashes = if is_last { &[][..] } else { &[BEGUN] };
            let ran = Play { crashes, ..quiet }.run(|| queue.clone()).await;
            assert_eq!(queue.pushed().await.unwrap(), if is_last { vec![] } else { paths.to_vec() });
            assert!(ran.ended.iter().all(|ended| ended.exit == Exit::Finished), "{:?}", ran.ended);
        }
    });
    View::read(volume, RUN).unwrap()
}

fn manifest(view: &View) -> Manifest {
    let page = |number| {
        let record = Record::decode(view.files[&RunPaths::new(RUN).chapter(number)].clone()).unwrap();
        let Outcome::Part(content) = record.outcome else { panic!("a page is no rejection") };
        Page::decode(&content).unwrap()
    };
    let mut manifest = Manifest::begin(page(0)).unwrap();
    while !manifest.sealed {
        manifest.turn(page(manifest.next_page)).unwrap();
    }
    manifest
}

/// The names of the training datasets that the report says were trained on.
fn trained(view: &View) -> Vec<String> {
    let report: serde_json::Value = serde_json::from_slice(&view.files["output/report.json"]).unwrap();
    assert_eq!(report["rejected"].as_array().unwrap().len(), 0, "{:#}", report["rejected"]);
    let trained = report["trained"].as_array().unwrap().iter();
    trained.map(|trained| trained["dataset"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn one_push_in_any_order_is_taken_in_oldest_first() {
    let batch = Batch::small(5);
    let volume = tempfile::tempdir().unwrap();
    batch.stage(volume.path());
    let days = batch.trainings();
    let newest_first: Vec<String> = days[1..].iter().rev().cloned().collect();
    let view = in_chapters(volume.path(), &days[0], &[&newest_first]);
    let names: Vec<String> = days.iter().map(|path| path.rsplit('/').next().unwrap().to_owned()).collect();
    assert_eq!(trained(&view), names);
    assert!(manifest(&view).refused.is_empty());
}

/// One day from two regions, and by the hour; with what is older than that, and is said to be.
#[test]
fn files_of_one_day_are_all_taken_and_what_is_older_is_refused_on_the_volume() {
    let batch = Batch::small(4);
    let volume = tempfile::tempdir().unwrap();
    batch.stage(volume.path());
    let days = batch.trainings();
    let csv = |name: &str, seconds: &[u32]| {
        let row = |second: &u32| {
            format!("{second},2018-04-05 {:02}:00:{:02},{second},7,12.50,0\n", second / 60, second % 60)
        };
        let rows: String = seconds.iter().map(row).collect();
        let header = "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD\n";
        fs::write(volume.path().join(FOLDER).join(name), format!("{header}{rows}")).unwrap();
        format!("{FOLDER}/{name}")
    };
    let eu = csv("eu-2018-04-05.csv", &[1, 70, 200]);
    let us = csv("us-2018-04-05.csv", &[2, 69, 100]);
    let hours = [csv("2018-04-05T07.csv", &[420, 421]), csv("2018-04-05T08.csv", &[421, 480])];
    let pushed = [format!("{us}\r"), hours[1].clone(), eu.clone(), days[1].clone(), hours[0].clone()];
    let late = [days[2].clone(), "/elsewhere/2018-04-06.csv".to_owned(), days[2].clone()];
    let view = in_chapters(volume.path(), &days[0], &[&pushed, &late]);
    let name = |path: &String| path.rsplit('/').next().unwrap().to_owned();
    let expected = [&days[0], &days[1], &eu, &us, &hours[0], &hours[1]].map(name);
    assert_eq!(trained(&view), expected);
    let refused = manifest(&view).refused;
    let refused: Vec<String> =
        refused.iter().map(|refusal| format!("{}: {}", refusal.path, refusal.reason)).collect();
    insta::assert_snapshot!("refused", refused.join("\n"));
    let report = String::from_utf8_lossy(&view.files["output/report.txt"]).into_owned();
    assert!(refused.iter().all(|line| report.contains(line)), "{report}");
    let status = worker(volume.path(), "status", &["--run", RUN]);
    see("status", volume.path(), &transcript(&status));
}

/// What can be read of tests and history and not used is in the report as training data is.
#[test]
fn rejected_tests_and_history_are_in_the_report() {
    let batch = Batch::small(2);
    let volume = tempfile::tempdir().unwrap();
    batch.stage(volume.path());
    let bad = ["datasets/history/2018-03-01.csv", "datasets/testing/2018-05-01.csv"];
    for path in bad.into_iter().chain(["datasets/history/.2018-03-02.csv", "datasets/testing/x.csv~"]) {
        fs::create_dir_all(volume.path().join(path).parent().unwrap()).unwrap();
        fs::write(volume.path().join(path), "no table").unwrap();
    }
    let ran = block_on(async {
        let queue = memory_in_real_time();
        queue.push(&batch.trainings()).await.unwrap();
        Play::quiet(volume.path()).run(|| queue.clone()).await
    });
    assert_eq!(ran.ended[0].reason, "run 1 is complete, but 2 datasets rejected: output/report.txt");
    let report = fs::read_to_string(volume.path().join("output/report.txt")).unwrap();
    let said: Vec<&str> =
        report.lines().filter(|line| line.starts_with("  2018-0") && line.contains("): ")).collect();
    insta::assert_snapshot!("rejected_of_all_roles", said.join("\n"));
}

/// Nothing begins, and nothing is taken from the list.
#[test]
fn paths_that_are_all_refused_begin_no_run_and_the_reason_is_said() {
    let volume = tempfile::tempdir().unwrap();
    let pushed = ["../x.csv".to_owned(), "/etc/passwd".to_owned()];
    let (ran, left) = block_on(async {
        let queue = memory_in_real_time();
        queue.push(&pushed).await.unwrap();
        let ran = Play::quiet(volume.path()).run(|| queue.clone()).await;
        (ran, queue.pushed().await.unwrap())
    });
    assert_eq!(left, pushed);
    assert_eq!(ran.ended[0].exit, Exit::NoDatasets);
    insta::assert_snapshot!("all_refused", ran.ended[0].reason);
}

/// As a program elsewhere names them, in a list from Windows.
#[test]
fn absolute_paths_below_the_volume_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    write_volume(folder.path());
    let absolute = folder.path().join(FOLDER).join("2018-04-01.parquet");
    fs::write(folder.path().join("list.txt"), format!("{}\r\n", absolute.display())).unwrap();
    let output = worker(folder.path(), "run", &["--list", "list.txt"]);
    assert!(output.status.success(), "{}", transcript(&output));
    let report = fs::read_to_string(folder.path().join("output/report.txt")).unwrap();
    assert_eq!(report.matches("Training dataset: 2018-04-01.parquet").count(), 1, "{report}");
}

#[test]
fn push_takes_what_it_can_read_and_refuses_the_rest_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path().join("volume");
    write_volume(&volume);
    fs::write(volume.join(FOLDER).join(".2018-04-01.parquet.swp"), "").unwrap();
    let mut printed = String::new();
    for paths in [
        &["datasets/training/2018-04-1.parquet"][..],
        &["datasets/training"],
        &["datasets/training/2019-*.parquet"],
        &["datasets/trainig/2018-04-01.parquet"],
        &["datasets/training/.2018-04-01.parquet.swp"],
        &["/etc/passwd"],
        &["datasets/training/2018-04-01.parquet", "../outside.parquet", "nowhere.csv"],
    ] {
        let output = worker(&volume, "push", paths);
        assert!(!output.status.success(), "{paths:?}");
        printed += &format!("{}: {}", paths.join(" "), transcript(&output));
    }
    see("push_refuses", folder.path(), &printed);
    let status = transcript(&worker(&volume, "run", &["--run", "1", "--retries", "1"]));
    assert!(status.contains("nothing was pushed"), "{status}");

    // As it is on the volume; absolute; from elsewhere; with the end of a line of Windows'.
    let absolute = volume.join(FOLDER).join("2018-04-02.parquet");
    let from_here = pathdiff(&volume.join(FOLDER).join("2018-04-03.parquet"));
    let cr = format!("{FOLDER}/2018-04-04.parquet\r");
    let good = ["datasets//training/2018-04-01.parquet", absolute.to_str().unwrap(), &from_here, &cr];
    let output = worker(&volume, "push", &good);
    assert!(output.status.success(), "{}", transcript(&output));
    // One is taken back, by another of its names; what is not there cannot be.
    let output = worker(&volume, "unpush", &["datasets/training/2018-04-02.parquet"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "took back 1\n");
    see(
        "unpush_of_nothing",
        folder.path(),
        &transcript(&worker(&volume, "unpush", &[absolute.to_str().unwrap()])),
    );
    let output = worker(&volume, "run", &[]);
    assert!(output.status.success(), "{}", transcript(&output));
    let report = fs::read_to_string(volume.join("output/report.txt")).unwrap();
    let trained: Vec<&str> =
        report.lines().filter_map(|line| line.strip_prefix("Training dataset: ")).collect();
    assert_eq!(trained, ["2018-04-01.parquet", "2018-04-03.parquet", "2018-04-04.parquet"]);
}

/// A path as it is seen from where the tests run.
fn pathdiff(path: &Path) -> String {
    let here = std::env::current_dir().unwrap();
    let up = "../".repeat(here.components().count() - 1);
    format!("{up}{}", path.strip_prefix("/").unwrap().display())
}

/// Nothing is trained on, and nothing says "complete".
#[test]
fn a_run_whose_datasets_were_all_rejected_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let (volume, days, out) =
        (folder.path().join("volume"), folder.path().join("days"), folder.path().join("out"));
    write_volume(&volume);
    let path = "datasets/training/2018-04-01.parquet";
    fs::write(volume.join(path), "no Parquet").unwrap();
    worker(&volume, "push", &[path]);
    let output = worker(&volume, "run", &["--name", "w"]);
    see("trained_on_nothing", folder.path(), &transcript(&output));
    let report = fs::read_to_string(volume.join("output/report.txt")).unwrap();
    see("trained_on_nothing_report", folder.path(), &report);
    let status = transcript(&worker(&volume, "status", &["--run", "1"]));
    assert!(status.contains("run 1: trained on nothing"), "{status}");

    fs::create_dir(&days).unwrap();
    fs::write(days.join("2018-04-01.csv"), "no table").unwrap();
    let sim = ["run", "--preempt", "none", "--json", "--out", out.to_str().unwrap(), "--datasets"];
    let output = run(SIM, &[&sim[..], &[days.to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(i32::from(Exit::LeftOut.code())), "{}", transcript(&output));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["ended"], "trained on nothing");
    assert_eq!(summary["checked"]["violations"].as_array().unwrap().len(), 0, "{summary:#}");
}

#[test]
fn what_was_left_out_fails_a_run_that_is_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let (days, out) = (folder.path().join("days"), folder.path().join("out"));
    write_days(&days);
    fs::write(days.join("2018-04-02.parquet"), "no Parquet").unwrap();
    let arguments = [
        "run",
        "--preempt",
        "none",
        "--json",
        "--out",
        out.to_str().unwrap(),
        "--datasets",
        days.to_str().unwrap(),
    ];
    for (more, code) in [(&[][..], 0), (&["--fail-on-rejected"], 9)] {
        let output = run(SIM, &[&arguments[..], more].concat());
        assert_eq!(output.status.code(), Some(code), "{}", transcript(&output));
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(summary["ended"], "complete, but 1 dataset rejected");
    }
    // The runs lie on the volume; their workers say the same.
    for (more, code) in [(&[][..], 0), (&["--fail-on-rejected"], 9)] {
        let output = worker(&out, "run", &[&["--run", "1"], more].concat());
        assert_eq!(output.status.code(), Some(code), "{}", transcript(&output));
        assert!(
            transcript(&output).contains("WARN 1 dataset rejected: the report says why"),
            "{}",
            transcript(&output)
        );
    }
}

#[test]
fn a_second_run_says_that_it_learns_from_nothing() {
    let folder = tempfile::tempdir().unwrap();
    write_volume(folder.path());
    let mut logs = Vec::new();
    for day in ["2018-04-01", "2018-04-02"] {
        assert!(worker(folder.path(), "push", &[&format!("{FOLDER}/{day}.parquet")]).status.success());
        let output = worker(folder.path(), "run", &[]);
        assert!(output.status.success(), "{}", transcript(&output));
        logs.push(transcript(&output));
    }
    let said = "WARN this run starts without a model";
    assert!(!logs[0].contains(said) && logs[1].contains(said), "{}", logs.concat());
    let report = fs::read_to_string(folder.path().join("output/report.txt")).unwrap();
    assert!(report.contains("it does not continue the model of an earlier run"), "{report}");
}
