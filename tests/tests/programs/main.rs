//! Any program as the workload: it is preempted, killed and misbehaves, and every dataset takes effect once.

#![expect(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tests::command::{run, transcript};

mod audit;
mod check;
mod examples;
mod large;
mod misbehaving;
mod stages;
mod under_preemption;

const SIM: &str = env!("CARGO_BIN_EXE_sim-under-test");
const DAYS: usize = 5;

fn write_days(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for day in 1..=DAYS {
        fs::write(folder.join(format!("2018-04-0{day}.txt")), format!("day {day}\n")).unwrap();
    }
}

/// A volume with datasets to train on, and the list of them.
fn write_volume(volume: &Path, datasets: usize) {
    let folder = volume.join("datasets/training");
    fs::create_dir_all(&folder).unwrap();
    let paths: Vec<String> =
        (1..=datasets).map(|day| format!("datasets/training/2018-04-0{day}.txt")).collect();
    for path in &paths {
        fs::write(volume.join(path), "x\n").unwrap();
    }
    fs::write(volume.join("list"), paths.join("\n")).unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs a program under simulated preemptions; what it made is that of an undisturbed run.
fn simulate(days: &Path, out: &Path, more: &[&str]) -> Value {
    let fixed = ["run", "--json", "--datasets", text(days), "--out", text(out), "--verify"];
    let output = run(SIM, &[&fixed, more].concat());
    assert!(output.status.success(), "{more:?}: {}", transcript(&output));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["verified"]["different"], Value::Array(Vec::new()));
    assert_eq!(summary["checked"]["violations"], Value::Array(Vec::new()));
    summary
}

/// Runs a script as the program of one worker, on one dataset.
fn work(volume: &Path, options: &[&str], script: &str) -> Output {
    if !volume.join("list").exists() {
        write_volume(volume, 1);
    }
    let fixed = ["worker", "run", "--volume", text(volume), "--list", "list", "--name", "w", "--idle", "5ms"];
    let retries: &[&str] = if options.contains(&"--retries") { &[] } else { &["--retries", "2"] };
    run(SIM, &[&fixed, options, retries, &["--", "sh", "-c", script]].concat())
}

/// A worker under way, as a process of its own.
fn start(volume: &Path, scratch: &Path, options: &[&str], script: &str) -> std::process::Child {
    let mut command = Command::new(SIM);
    command
        .args(["worker", "run", "--volume", text(volume), "--list", "list", "--idle", "5ms", "--name", "w"])
        .args(["--scratch", text(scratch)])
        .args(if options.is_empty() { &["--grace", "10s"] } else { options })
        .args(["--", "sh", "-c", script])
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Waits for a line of the program's, as the worker shows it.
fn wait_for_line(worker: &mut std::process::Child, wanted: &str) {
    let lines = BufReader::new(worker.stderr.take().unwrap()).lines();
    let found = lines.map_while(Result::ok).any(|line| line.contains(wanted));
    assert!(found, "the worker ended before `{wanted}`");
}

/// Whether a process that carries this mark in its command line is left.
fn is_left(mark: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
    lines.into_iter().any(|line| line.contains(mark))
}

/// Waits until something holds; fails after a minute.
#[expect(clippy::disallowed_methods, reason = "an observer of real processes")]
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not within a minute: {what}");
}
