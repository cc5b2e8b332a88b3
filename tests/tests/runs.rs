//! Several runs on one volume: which one a worker takes part in, and whose `output/` shows.

#![expect(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tests::command::{run, transcript, write_volume};
use worker::events::{Event, What};

const SIM: &str = env!("CARGO_BIN_EXE_sim-under-test");
const PATHS: [&str; 2] = ["datasets/training/2018-04-01.parquet", "datasets/training/2018-04-02.parquet"];

fn worker(volume: &Path, more: &[&str]) -> Output {
    run(SIM, &[&["worker", "run", "--volume", volume.to_str().unwrap(), "--idle", "1ms"], more].concat())
}

fn push(volume: &Path, path: &str) {
    assert!(run(SIM, &["worker", "push", "--volume", volume.to_str().unwrap(), path]).status.success());
}

fn numbered_runs(volume: &Path) -> Vec<String> {
    let names = fs::read_dir(volume.join("runs")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.parse::<u32>().is_ok());
    names.sort();
    names
}

fn outputs(volume: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(volume.join("output")).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect()
}

/// Starts a worker with a list, and kills it while it prepares.
fn begin_and_die(volume: &Path, arguments: &[&str]) {
    let mut command = Command::new(SIM);
    command.args(["worker", "run", "--log", "events", "--volume"]).arg(volume).args(arguments);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut events = lines.map(|line| serde_json::from_str::<Event>(&line.unwrap()).unwrap());
    assert!(events.any(|event| matches!(event.what, What::Claimed { item, .. } if item.step() == "prepare")));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_worker_with_a_list_goes_on_with_the_run_that_was_begun_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path();
    write_volume(volume);
    fs::write(volume.join("both.txt"), PATHS.join("\n")).unwrap();
    fs::write(volume.join("one.txt"), PATHS[1]).unwrap();
    // Enough rounds that it is killed before its run has ended.
    let work = ["--work-rounds", "2000000", "--lease", "100ms"];
    begin_and_die(volume, &[&["--list", "both.txt"], &work[..]].concat());

    // Another list is another run, though the first is not finished.
    let output = worker(volume, &["--list", "one.txt"]);
    assert!(output.status.success(), "{}", transcript(&output));
    assert_eq!(numbered_runs(volume), ["1", "2"]);
    fs::remove_dir_all(volume.join("runs/2")).unwrap();

    let output = worker(volume, &[&["--list", "both.txt"], &work[..]].concat());
    assert!(output.status.success(), "{}", transcript(&output));
    assert!(transcript(&output).contains("run 1 is complete"), "{}", transcript(&output));
    assert_eq!(numbered_runs(volume), ["1"]);

    // Once it is finished, the same list begins the next.
    let output = worker(volume, &["--list", "both.txt"]);
    assert!(transcript(&output).contains("run 2 is complete"), "{}", transcript(&output));
}

/// A worker that stood still until its run had ended finds the next run's report.
#[test]
fn a_late_worker_leaves_the_output_to_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path();
    write_volume(volume);
    for path in PATHS {
        push(volume, path);
        assert!(worker(volume, &[]).status.success());
    }
    let shown = outputs(volume);
    let output = worker(volume, &["--run", "1"]);
    assert!(output.status.success(), "{}", transcript(&output));
    assert!(outputs(volume) == shown, "run 1 put its own over the files of run 2");

    // Whose report shows repairs it still.
    let checkpoint = volume.join("output/model_cpt_2018-04-02.ftrl");
    fs::remove_file(&checkpoint).unwrap();
    assert!(worker(volume, &["--run", "2"]).status.success());
    assert!(outputs(volume) == shown, "run 2 did not put back what was lost of it");
    fs::remove_dir_all(volume.join("output")).unwrap();
    assert!(worker(volume, &["--run", "1"]).status.success());
    let report = fs::read_to_string(volume.join("output/report.txt")).unwrap();
    assert!(report.contains("2018-04-01"), "{report}");
}
