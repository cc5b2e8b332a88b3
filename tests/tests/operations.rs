//! What an operator does beside running workers: list runs, leave one, free the space of old ones.

#![expect(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tests::browser;
use tests::command::{FILTERS, run, transcript, without, write_volume};
use tests::queue::server::{Server, connect};
use worker::contract::Exit;
use worker::events::{Event, What};

const SIM: &str = env!("CARGO_BIN_EXE_sim-under-test");
const DAYS: [&str; 4] = [
    "datasets/training/2018-04-01.parquet",
    "datasets/training/2018-04-02.parquet",
    "datasets/training/2018-04-03.parquet",
    "datasets/training/2018-04-04.parquet",
];

fn worker(volume: &Path, command: &str, more: &[&str]) -> Output {
    run(SIM, &[&["worker", command, "--volume", volume.to_str().unwrap()], more].concat())
}

fn works(volume: &Path, command: &str, more: &[&str]) -> String {
    let output = worker(volume, command, more);
    assert!(output.status.success(), "{command}: {}", transcript(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn ends(volume: &Path, command: &str, more: &[&str], exit: Exit) -> String {
    let output = worker(volume, command, more);
    assert_eq!(output.status.code(), Some(i32::from(exit.code())), "{command}: {}", transcript(&output));
    transcript(&output)
}

/// One complete run of each day.
fn daily(volume: &Path, days: &[&str], more: &[&str]) {
    for day in days {
        works(volume, "push", &[day]);
        works(volume, "run", more);
    }
}

/// A worker that takes in what is pushed, and is killed while it prepares.
fn begin_and_die(volume: &Path) {
    let mut command = Command::new(SIM);
    let work = ["--work-rounds", "20000000", "--lease", "100ms", "--log", "events", "--name", "w1"];
    command.args(["worker", "run", "--volume"]).arg(volume).args(work);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut events = lines.map(|line| serde_json::from_str::<Event>(&line.unwrap()).unwrap());
    // By then the claim is in the event file too.
    assert!(events.any(|event| matches!(event.what, What::Saved { item, .. } if item.step() == "prepare")));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Compares with a snapshot, without what differs from run to run.
fn see(name: &str, folder: &Path, text: &str) {
    let more = [
        (r"\d{4}-\d\d-\d\d \d\d:\d\d", "YYYY-MM-DD HH:MM"),
        (r"\d+\.\d [kMGT]B", "SIZE"),
        (r"\d+(\.\d)? (s|min|h)\b", "TIME"),
        (r"(?m)^\d\d:\d\d:\d\d", "HH:MM:SS"),
        (r"prepare/(\d) \d+/\d+", "prepare/$1 DONE/ALL"),
        (r"\d+\.\d % o", "SHARE o"),
        (r"[\d.]+/s", "RATE/s"),
        (r"SQLite [\d.]+", "SQLite VERSION"),
        (r"(Redis|Valkey) [\d.]+", "Redis VERSION"),
        // Columns are as wide as what differs.
        (r" {2,}", "  "),
        (r"(?m) +$", ""),
    ];
    let filters: Vec<_> = FILTERS.iter().chain(&more).copied().collect();
    insta::with_settings!({filters => filters}, { insta::assert_snapshot!(name, without(folder, text)) });
}

#[test]
fn a_run_that_nobody_can_finish_is_left_and_swallows_no_push() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path();
    write_volume(volume);
    works(volume, "push", &[DAYS[0]]);
    begin_and_die(volume);
    fs::remove_file(volume.join(DAYS[0])).unwrap();
    works(volume, "push", &[DAYS[1]]);

    let mut printed = works(volume, "abandon", &["1", "--reason", "its dataset is gone"]);
    printed += &works(volume, "abandon", &["1"]);
    printed += &works(volume, "runs", &[]);
    // A worker that is started with the run's name finds that it was left.
    printed += &ends(volume, "run", &["--run", "1"], Exit::Left);
    // The push that came before is the next run's.
    works(volume, "run", &[]);
    printed += &works(volume, "runs", &[]);
    printed += &works(volume, "status", &["--run", "1"]);
    printed += &ends(volume, "abandon", &["2"], Exit::Failed);
    printed += &ends(volume, "abandon", &["3"], Exit::NoDatasets);
    printed += &ends(volume, "abandon", &["../1"], Exit::Usage);
    // It is continued by nobody.
    works(volume, "push", &[DAYS[2]]);
    printed += &ends(volume, "run", &["--after", "1"], Exit::NoDatasets);
    works(volume, "run", &["--continue"]);
    printed += &works(volume, "runs", &[]);
    see("abandoned", volume, &printed);
}

/// Who works while the run is abandoned finishes what it holds, and learns of it.
#[test]
fn a_worker_of_a_run_that_is_abandoned_ends() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path();
    write_volume(volume);
    works(volume, "push", &DAYS);
    let mut command = Command::new(SIM);
    command.args(["worker", "run", "--log", "events", "--work-rounds", "400000", "--volume"]).arg(volume);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut events = lines.by_ref().map(|line| serde_json::from_str::<Event>(&line.unwrap()).unwrap());
    assert!(
        events.any(|event| matches!(event.what, What::Committed { item, .. } if item.step() == "prepare"))
    );
    works(volume, "abandon", &["1"]);
    let last = events.last().unwrap();
    let What::Exited { code, reason } = last.what else { panic!("the last event is {last:?}") };
    assert_eq!((code, reason.as_str()), (Exit::Left.code(), "run 1 was abandoned"));
    assert_eq!(child.wait().unwrap().code(), Some(i32::from(Exit::Left.code())));
    assert!(!volume.join("output/report.txt").exists());
}

#[test]
fn what_nobody_needs_is_pruned_and_said_first() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path();
    write_volume(volume);
    assert_eq!(works(volume, "runs", &[]), "no runs yet: `worker run` begins one\n");
    daily(volume, &DAYS[..3], &[]);
    fs::write(volume.join("list.txt"), DAYS[3]).unwrap();
    works(volume, "run", &["--run", "mine", "--list", "list.txt"]);
    daily(volume, &DAYS[3..], &["--after", "2"]);
    let mut printed = works(volume, "runs", &[]);
    printed += &works(volume, "prune", &["--keep", "1", "--dry-run"]);
    assert!(volume.join("runs/1/prepared").exists() && volume.join("runs/3/prepared").exists());
    printed += &works(volume, "prune", &["--keep", "1"]);
    printed += &works(volume, "prune", &["--keep", "1"]);
    printed += &works(volume, "runs", &[]);
    let names = |run: &str| {
        let names = fs::read_dir(volume.join("runs").join(run)).unwrap();
        let mut names: Vec<_> = names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names("1"), ["manifest", "projected", "report"]);
    assert!(names("2").contains(&"prepared".to_owned()), "run 4 reads run 2");
    let shown = fs::read(volume.join("output/report.txt")).unwrap();
    // A pod that comes late for a pruned run does nothing.
    printed += &ends(volume, "run", &["--run", "1"], Exit::Left);
    assert!(fs::read(volume.join("output/report.txt")).unwrap() == shown);
    for run in ["2", "4", "7"] {
        let output = worker(volume, "prune", &[run]);
        assert!(!output.status.success());
        printed += &transcript(&output);
    }
    printed += &works(volume, "prune", &["mine"]);
    printed += &ends(volume, "prune", &["--keep", "0"], Exit::Usage);
    see("pruned", volume, &printed);
}

/// What is open is never pruned, however many newer runs there are.
#[test]
fn an_open_run_stays() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path();
    write_volume(volume);
    works(volume, "push", &[DAYS[0]]);
    begin_and_die(volume);
    // Of two runs of one day within one second `output/` would show both.
    for day in &DAYS[1..3] {
        fs::write(volume.join("list.txt"), day).unwrap();
        works(volume, "run", &["--list", "list.txt"]);
    }
    let printed = works(volume, "prune", &["--keep", "1"]) + &ends(volume, "prune", &["1"], Exit::Failed);
    see("open_stays", volume, &printed);
    assert!(volume.join("runs/1/attempts").exists());
}

#[test]
fn status_and_watch_show_who_holds_what_and_what_is_not_known() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path();
    write_volume(volume);
    fs::write(volume.join("datasets/training/2018-04-05.csv"), "TRANSACTION_ID\n1\n").unwrap();
    works(volume, "push", &[&DAYS[..2], &["datasets/training/2018-04-05.csv"]].concat());
    begin_and_die(volume);
    // How long ago and how fast differ from run to run: only what is sure is compared.
    let open = works(volume, "status", &[]) + &works(volume, "watch", &["--once"]);
    assert!(open.contains("run 1: open") && open.contains("prepare/0"), "{open}");
    works(volume, "run", &["--work-rounds", "20000000", "--lease", "100ms", "--name", "w2"]);
    let complete = works(volume, "status", &["--all"]) + &works(volume, "watch", &[]);
    assert!(complete.contains("run 1: complete, but 1 dataset rejected"), "{complete}");
    assert!(complete.contains("missing columns TX_DATETIME"), "{complete}");

    let json: serde_json::Value = serde_json::from_str(&works(volume, "status", &["--json"])).unwrap();
    assert_eq!((json["reported"].as_bool(), json["void"].as_bool()), (Some(true), Some(false)));
    assert_eq!(json["datasets"][2]["state"], "rejected");
    assert_eq!(json["workers"][0]["state"], "lost");
    assert_eq!(json["sums"]["vanished"], 1);
    assert_eq!(json["datasets"][0]["attempts"], 2);
}

#[test]
fn a_doctor_tries_what_workers_need() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path();
    write_volume(volume);
    let names = || -> BTreeSet<OsString> {
        fs::read_dir(volume).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    let before = names();
    let mut printed = works(volume, "doctor", &[]);
    let mut left = &names() - &before;
    // Files of SQLite's own, each of which its last connection may leave.
    for own in ["queue.sqlite-wal", "queue.sqlite-shm"] {
        left.remove(OsStr::new(own));
    }
    // The queue's file, and the folder with the volume's id.
    assert_eq!(left, ["queue.sqlite", "runs"].map(OsString::from).into());
    let names = fs::read_dir(volume.join("runs")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["volume-id"]);
    printed += &ends(volume, "doctor", &["--queue", "redis://127.0.0.1:1"], Exit::Queue);
    fs::remove_dir_all(volume.join("datasets")).unwrap();
    fs::write(volume.join("output"), "a file in the way").unwrap();
    printed += &ends(volume, "doctor", &[], Exit::Volume);
    see("doctor", volume, &printed);
    let absent = volume.join("absent");
    ends(&absent, "doctor", &[], Exit::Volume);
}

#[test]
fn a_doctor_names_the_right_that_a_user_of_redis_lacks() {
    let Some(server) = Server::start(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path();
    write_volume(volume);
    let mut printed = works(volume, "doctor", &["--queue", &server.url()]);
    for (user, rights) in [("pusher", "-rpush"), ("worker", "-evalsha")] {
        let mut set = redis::cmd("ACL");
        set.arg("SETUSER")
            .arg(user)
            .arg(["on", ">secret", "~datasets", "~datasets:*", "+@all", rights].as_slice());
        set.query::<()>(&mut connect(&server.url())).unwrap();
        let url = format!("redis://{user}:secret@127.0.0.1:{}", server.port());
        printed += &ends(volume, "doctor", &["--queue", &url], Exit::Queue);
    }
    see("doctor_redis", volume, &printed);
}

#[test]
fn codes_are_explained() {
    let explain = |code: &[&str]| run(SIM, &[&["worker", "explain"], code].concat());
    let mut printed = String::new();
    for code in [&[][..], &["11"], &["Volume"], &["no-space"], &["b303"], &["12"], &["B999"]] {
        printed += &transcript(&explain(code));
    }
    assert_eq!(run(SIM, &["explain", "B303"]).stdout, explain(&["no-space"]).stdout);
    insta::assert_snapshot!("explain", printed);
    assert!(printed.lines().all(|line| line.chars().count() <= 150), "{printed}");
}

/// A page about a run that no simulator started, and its attempts as a trace.
#[test]
fn any_run_has_a_page_and_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path();
    write_volume(volume);
    fs::write(volume.join("datasets/training/2018-04-05<b>.csv"), "<b>\n1\n").unwrap();
    works(volume, "push", &[&DAYS[..2], &["datasets/training/2018-04-05<b>.csv"]].concat());
    begin_and_die(volume);
    let open = works(volume, "report", &["--html", "-"]);
    assert!(
        open.contains("<rect class=\"prepare\"") && open.contains("not ended, as far as is known"),
        "{open}"
    );
    works(volume, "run", &["--work-rounds", "20000000", "--lease", "100ms", "--name", "w2"]);

    let (page, trace) = (volume.join("page.html"), volume.join("trace.json"));
    works(volume, "report", &["--html", page.to_str().unwrap(), "--trace", trace.to_str().unwrap()]);
    browser::look(&page);
    let page = fs::read_to_string(page).unwrap();
    for shown in [
        "complete, but 1 dataset rejected",
        "2018-04-01.parquet",
        "vanished, or its last events are lost",
        "after a machine vanished",
        "report.txt",
        "2018-04-05&#60;b&#62;.csv",
        "Average precision on the testing data",
        "<title>recall 100 %: precision ",
        "<h3>Calibration of the last checkpoint",
    ] {
        assert!(page.contains(shown), "the page lacks {shown}:\n{page}");
    }
    assert!(!page.contains("<b>.csv") && !page.contains("src=") && !page.contains("http"), "{page}");
    // Claims of both workers, one of which died.
    assert!(
        page.matches("<rect class=\"interrupted\"").count() == 1
            && page.matches("<rect class=\"alive\"").count() == 2
    );
    let trace: serde_json::Value = serde_json::from_slice(&fs::read(trace).unwrap()).unwrap();
    let spans = trace.as_array().unwrap().iter().filter(|span| span["ph"] == "X");
    assert!(spans.clone().any(|span| span["args"]["ended"] == "died") && spans.count() > 8);
    ends(volume, "report", &[], Exit::Usage);
}
