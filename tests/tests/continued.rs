//! Runs that continue runs: a day pushed each day gives the model of one run over all days.

#![expect(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Output;

use tests::command::{run, transcript, write_days, write_volume};
use worker::contract::Exit;

const SIM: &str = env!("CARGO_BIN_EXE_sim-under-test");
const PATHS: [&str; 4] = [
    "datasets/training/2018-04-01.parquet",
    "datasets/training/2018-04-02.parquet",
    "datasets/training/2018-04-03.parquet",
    "datasets/training/2018-04-04.parquet",
];
const LAST_MODEL: &str = "output/model_cpt_2018-04-04.ftrl";

fn work(volume: &Path, more: &[&str]) -> Output {
    let fixed = ["worker", "run", "--volume", volume.to_str().unwrap(), "--name", "w"];
    run(SIM, &[&fixed[..], more].concat())
}

#[track_caller]
fn finishes(volume: &Path, more: &[&str]) -> String {
    let output = work(volume, more);
    assert_eq!(output.status.code(), Some(0), "{}", transcript(&output));
    transcript(&output)
}

fn push(volume: &Path, path: &str) {
    let output = run(SIM, &["worker", "push", "--volume", volume.to_str().unwrap(), path]);
    assert!(output.status.success(), "{}", transcript(&output));
}

fn list(volume: &Path, paths: &[&str]) {
    fs::write(volume.join("list"), paths.join("\n")).unwrap();
}

/// The last model of one run over the first four days.
fn model_of_one_run() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    write_volume(folder.path());
    list(folder.path(), &PATHS);
    finishes(folder.path(), &["--list", "list"]);
    fs::read(folder.path().join(LAST_MODEL)).unwrap()
}

#[test]
fn a_day_pushed_each_day_gives_the_model_of_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path();
    write_volume(volume);
    for (number, path) in PATHS.iter().enumerate() {
        push(volume, path);
        let log = finishes(volume, &["--continue"]);
        let continues = format!("continuing run {number}, with {number} datasets");
        assert_eq!(log.contains(&continues), number > 0, "{log}");
        assert!(!log.contains("starts without a model"), "{log}");
    }
    assert_eq!(fs::read(volume.join(LAST_MODEL)).unwrap(), model_of_one_run());
    // `output/` and the report are the last run's alone.
    let models = fs::read_dir(volume.join("output")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(models.filter(|name| name.to_string_lossy().starts_with("model_cpt_")).count(), 1);
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(volume.join("output/report.json")).unwrap()).unwrap();
    assert_eq!(report["trained"].as_array().unwrap().len(), 1, "{report}");
}

/// Whatever a list repeats is left out.
#[test]
fn a_list_that_grows_trains_on_what_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path();
    write_volume(volume);
    for until in [2, 4] {
        list(volume, &PATHS[..until]);
        finishes(volume, &["--list", "list", "--continue"]);
    }
    assert_eq!(fs::read(volume.join(LAST_MODEL)).unwrap(), model_of_one_run());
    let again = work(volume, &["--list", "list", "--continue"]);
    assert_eq!(again.status.code(), Some(i32::from(Exit::NoDatasets.code())), "{}", transcript(&again));
    assert!(transcript(&again).contains("is part of run 2 already"), "{}", transcript(&again));
}

#[test]
fn what_cannot_be_continued_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path();
    write_volume(volume);
    list(volume, &PATHS[..1]);
    let missing = work(volume, &["--list", "list", "--after", "7"]);
    assert_eq!(missing.status.code(), Some(i32::from(Exit::NoDatasets.code())), "{}", transcript(&missing));
    assert!(transcript(&missing).contains("run 7 is not complete"), "{}", transcript(&missing));
    finishes(volume, &["--list", "list", "--run", "first"]);
    list(volume, &PATHS[..2]);
    let other = ["--list", "list", "--run", "second", "--after", "first", "--param", "alpha=0.5"];
    let other = work(volume, &other);
    assert_eq!(other.status.code(), Some(i32::from(Exit::Version.code())), "{}", transcript(&other));
    // An older day is refused, as it would have been in the run that is continued.
    list(volume, &PATHS[2..3]);
    finishes(volume, &["--list", "list", "--run", "second", "--after", "first"]);
    list(volume, &PATHS[1..2]);
    let older = work(volume, &["--list", "list", "--run", "third", "--after", "second"]);
    assert_eq!(older.status.code(), Some(i32::from(Exit::Input.code())), "{}", transcript(&older));
    assert!(transcript(&older).contains("it is older than"), "{}", transcript(&older));
}

/// The same on a laptop: each day's run is preempted, checked, and compared with an undisturbed run.
#[test]
fn sim_run_continues_and_the_model_is_that_of_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let [all, days, out] = ["all", "days", "out"].map(|name| folder.path().join(name));
    write_days(&all);
    fs::create_dir(&days).unwrap();
    let shown = [&days, &out].map(|path| path.to_str().unwrap());
    let retrain = || {
        let place = ["--datasets", shown[0], "--out", shown[1], "--workers", "2", "--lease", "400ms"];
        run(SIM, &[&["run", "--json", "--continue", "--verify"][..], &place].concat())
    };
    for day in 1..=4 {
        let name = format!("2018-04-0{day}.parquet");
        fs::copy(all.join(&name), days.join(name)).unwrap();
        let output = retrain();
        assert!(output.status.success(), "day {day}: {}", transcript(&output));
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(summary["datasets"]["training"], 1, "day {day}");
        assert_eq!(summary["verified"]["different"], serde_json::Value::Array(Vec::new()), "day {day}");
        assert_eq!(summary["checked"]["violations"], serde_json::Value::Array(Vec::new()), "day {day}");
    }
    assert_eq!(fs::read(out.join(LAST_MODEL)).unwrap(), model_of_one_run());
    let again = retrain();
    assert_eq!(again.status.code(), Some(i32::from(Exit::NoDatasets.code())), "{}", transcript(&again));
    let words = "failed to continue run 4: all 4 datasets to train on are part of it";
    assert!(transcript(&again).contains(words), "{}", transcript(&again));
}

/// The state of a program, and its numbers, go on too.
#[test]
fn a_program_goes_on_from_its_last_state() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path();
    fs::create_dir_all(volume.join("datasets/training")).unwrap();
    let script = "if [ -n \"${BATCH_PREVIOUS:-}\" ]; then cp \"$BATCH_PREVIOUS/seen\" \"$BATCH_OUTPUT/seen\"; fi; \
                  echo \"$BATCH_INDEX $(cat \"$BATCH_INPUT\")\" >> \"$BATCH_OUTPUT/seen\"";
    for day in 1..=3 {
        let path = format!("datasets/training/2018-04-0{day}.txt");
        fs::write(volume.join(&path), format!("day {day}\n")).unwrap();
        push(volume, &path);
        finishes(volume, &["--continue", "--", "sh", "-c", script]);
    }
    let seen = fs::read_to_string(volume.join("output/latest/seen")).unwrap();
    assert_eq!(seen, "0 day 1\n1 day 2\n2 day 3\n");
}

/// Its state may be too large for its record: then it lies in blocks of the earlier run.
#[test]
fn sim_run_verifies_a_program_that_goes_on_from_a_large_state() {
    let folder = tempfile::tempdir().unwrap();
    let [days, out] = ["days", "out"].map(|name| folder.path().join(name));
    fs::create_dir(&days).unwrap();
    let script = "cat ${BATCH_PREVIOUS+\"$BATCH_PREVIOUS/all\"} \"$BATCH_INPUT\" > \"$BATCH_OUTPUT/all\"";
    let place = ["--datasets", days.to_str().unwrap(), "--out", out.to_str().unwrap(), "--workers", "2"];
    let fixed = ["run", "--json", "--continue", "--verify", "--deterministic", "--preempt", "none"];
    for day in 1..=2u8 {
        fs::write(days.join(format!("2018-04-0{day}.txt")), [day].repeat(300_000)).unwrap();
        let output = run(SIM, &[&fixed[..], &place, &["--", "sh", "-c", script]].concat());
        assert!(output.status.success(), "day {day}: {}", transcript(&output));
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(summary["verified"]["different"], serde_json::Value::Array(Vec::new()), "day {day}");
    }
    assert_eq!(fs::metadata(out.join("output/latest/all")).unwrap().len(), 600_000);
}
