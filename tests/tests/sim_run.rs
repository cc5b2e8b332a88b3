//! `sim run` as a person types it: preempted, checked, compared with an undisturbed run.

#![expect(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use sim::schedule::{Kind, Preemption, Schedule, Trigger};
use sim::units::Span;
use tests::browser;
use tests::command::{run, transcript, write_days};
use tests::queue::block_on;
use tests::queue::items::{FOLD, evaluate};
use tests::queue::server::Server;
use worker::item::Item;
use worker::queue::sqlite::Sqlite;
use worker::queue::{Release, WorkQueue};

const SIM: &str = env!("CARGO_BIN_EXE_sim-under-test");

fn summary(arguments: &[&str]) -> Value {
    let output = run(SIM, &[&["run", "--json"], arguments].concat());
    assert!(output.status.success(), "sim run --json {}: {}", arguments.join(" "), transcript(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What the README promises of its first command.
#[test]
fn the_first_command_preempts_and_makes_no_difference() {
    let out = tempfile::tempdir().unwrap();
    let summary = summary(&["--out", out.path().to_str().unwrap()]);
    let interrupted = summary["preemptions"]["interrupted"].as_object().unwrap();
    let effective: u64 = interrupted.values().map(|count| count.as_u64().unwrap()).sum();
    assert!(interrupted.len() >= 3 && effective >= 5, "{interrupted:?}");
    assert_eq!(summary["verified"]["different"], Value::Array(Vec::new()));
    assert!(summary["verified"]["files"].as_u64().unwrap() > 40);
    assert_eq!(summary["checked"]["violations"], Value::Array(Vec::new()));
    assert!(summary["figures"]["auc_roc"].is_number(), "{}", summary["figures"]);
    let page = fs::read_to_string(out.path().join("sim/1/report.html")).unwrap();
    for day in 1..=8 {
        assert!(page.contains(&format!("<td>datasets/training/2018-04-0{day}.parquet</td>")), "day {day}");
    }
    assert_eq!(page.matches("<polyline").count(), 7, "five drawings, two of them of two figures");
    browser::look(&out.path().join("sim/1/report.html"));
    let picture = fs::read_to_string(out.path().join("sim/1/timeline.svg")).unwrap();
    for words in
        [format!("{effective} preemptions interrupted work"), "identical to an undisturbed run".to_owned()]
    {
        assert!(picture.contains(&words), "the picture says: {words}");
    }
}

/// The report and the models. The records under `runs/` also hold the rounds of `--work`, which the
/// simulator measures again for each run.
fn results(out: &Path) -> BTreeSet<(String, Vec<u8>)> {
    let entries = fs::read_dir(out.join("output")).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

/// With 1, 2 and 8 workers, any queue, any schedule: the same bytes.
#[test]
fn neither_workers_nor_queue_nor_schedule_reach_the_result() {
    let folder = tempfile::tempdir().unwrap();
    let days = folder.path().join("days");
    write_days(&days);
    let days = days.to_str().unwrap();
    let mut first = None;
    let mut queues = vec!["sqlite"];
    if Server::shared().is_some() {
        queues.push("redis");
    }
    for queue in queues {
        for (workers, preempt) in [("1", "none"), ("2", "poisson:200ms"), ("8", "progress")] {
            let out = folder.path().join(format!("{queue}-{workers}"));
            let arguments = ["--workers", workers, "--preempt", preempt, "--queue", queue, "--work", "150ms"];
            summary(&[&arguments[..], &["--datasets", days, "--out", out.to_str().unwrap()]].concat());
            let files = results(&out);
            assert_eq!(files.len(), 6, "four models and two reports");
            match &first {
                None => first = Some(files),
                Some(first) => assert!(*first == files, "{workers} workers, {queue}, {preempt}"),
            }
        }
    }
}

/// A recorded schedule that is given to a run preempts it in the same way.
#[test]
fn a_recorded_schedule_is_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    summary(&["--seed", "3", "--verify=false", "--out", one.to_str().unwrap()]);
    let recorded = one.join("sim/1/schedule.toml");
    let rule = format!("schedule:{}", recorded.display());
    summary(&["--preempt", &rule, "--verify=false", "--out", two.to_str().unwrap()]);
    assert_eq!(fs::read(recorded).unwrap(), fs::read(two.join("sim/1/schedule.toml")).unwrap());
}

/// A queue that is away when the last worker ends is waited for before it is looked at.
#[test]
fn a_queue_that_is_away_at_the_end_is_waited_for() {
    if Server::shared().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (days, out, file) =
        (folder.path().join("days"), folder.path().join("out"), folder.path().join("schedule.toml"));
    write_days(&days);
    let (trigger, kind) = (Trigger::Report, Kind::QueueRestart);
    let preemption = Preemption { trigger, kind, away: Span::ms(700), renamed: false };
    let schedule = Schedule { seed: 0, rule: "schedule".to_owned(), preemptions: vec![preemption] };
    fs::write(&file, schedule.to_toml()).unwrap();
    let rule = format!("schedule:{}", file.display());
    let place = ["--datasets", days.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let summary = summary(&[&["--queue", "redis", "--preempt", &rule][..], &place].concat());
    assert_eq!(summary["preemptions"]["queue"], 1);
    assert_eq!(summary["checked"]["violations"], Value::Array(Vec::new()));
}

/// Ctrl-C in the middle: exit code 130, nobody left, and the run can be gone on with; the next one is right too.
#[test]
fn an_interrupted_run_leaves_no_process_and_harms_no_other() {
    let out = tempfile::tempdir().unwrap();
    let shown = out.path().to_str().unwrap();
    let mut command = Command::new(SIM);
    command.args(["run", "--verify=false", "--out", shown]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // The first preemption is printed: workers live.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("in the middle of")), "nothing was preempted");
    interrupt(&child);
    lines.for_each(drop);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130));
    let hint = "hint: the same command with --resume goes on with run 1\n";
    assert!(String::from_utf8_lossy(&ended.stderr).ends_with(hint), "{}", transcript(&ended));
    assert_eq!(processes_of(shown), Vec::<String>::new());
    let resumed = summary(&["--resume", "--out", shown]);
    assert_eq!(
        (&resumed["run"], &resumed["verified"]["different"]),
        (&"1".into(), &Value::Array(Vec::new()))
    );
    assert_eq!(resumed["checked"]["violations"], Value::Array(Vec::new()));
    let complete = run(SIM, &["run", "--resume", "--out", shown]);
    assert_eq!(complete.status.code(), Some(2), "{}", transcript(&complete));
    let again = summary(&["--out", shown]);
    assert_eq!((&again["run"], &again["verified"]["different"]), (&"2".into(), &Value::Array(Vec::new())));
}

/// Ctrl-C while the simulator waits for a lease that is left in the queue: no worker lives any more, and the
/// undisturbed run has not begun.
#[test]
fn a_simulator_that_looks_at_the_queue_can_be_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let (days, out) = (folder.path().join("days"), folder.path().join("out"));
    write_days(&days);
    let shown = out.to_str().unwrap();
    let mut command = Command::new(SIM);
    command.args([
        "run",
        "--preempt",
        "none",
        "--workers",
        "1",
        "--lease",
        "60s",
        "--verify",
        "--out",
        shown,
    ]);
    let mut child =
        command.args(["--datasets", days.to_str().unwrap()]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    // The queue is there; an item of no dataset is claimed in it, and never acknowledged.
    assert!(lines.any(|line| line.starts_with("run 1 in ")));
    let queue = Sqlite::open(&out.join("sim/1/queue.sqlite"), "1").unwrap();
    block_on(hold(&queue, evaluate(999)));
    let all_done =
        |line: String| line.split_once(" of ").is_some_and(|(n, rest)| rest == format!("{n} commits"));
    assert!(lines.any(all_done), "not everything was committed");
    while processes_of(shown).len() > 1 {}
    // No worker lives: only the simulator takes this item, when it looks at the queue.
    block_on(async {
        queue.add(&[FOLD]).await.unwrap();
        while queue.counts().await.unwrap().pending > 0 {}
    });
    interrupt(&child);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    assert!(rest.iter().any(|line| line.starts_with("run 1 interrupted")), "{rest:?}");
    assert!(!out.join("sim/1/undisturbed").exists(), "the undisturbed run was begun");
}

/// Claims an item for an hour, though the run's worker may be quicker and release it.
async fn hold(queue: &Sqlite, item: Item) {
    loop {
        queue.add(&[item]).await.unwrap();
        let claim = queue.claim("test", 1, Duration::from_secs(3_600), &[item]).await.unwrap();
        match claim {
            Some(claim) if claim.item == item => return,
            Some(other) => drop(queue.release(&other, Duration::ZERO, Release::Preempted).await.unwrap()),
            None => {}
        }
    }
}

fn interrupt(child: &Child) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
}

/// Command lines of living processes that name a folder.
fn processes_of(folder: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap();
    let lines = entries.filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(folder)).collect()
}
