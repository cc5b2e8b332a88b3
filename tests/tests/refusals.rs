//! Bad input: each a clear error with its exit code, and nothing lost.

#![expect(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use fixtures::scenarios;
use tests::command::{FILTERS, run, transcript, without, write_days, write_volume};
use tests::queue::server::Server;
use worker::contract::{BLOCK_BYTES, RunPaths};
use worker::events::{Event, What};
use worker::hash::Hash;
use worker::manifest::{Page, Spec};
use worker::record::Record;

const SIM: &str = env!("CARGO_BIN_EXE_sim-under-test");

/// Compares with a snapshot, the folder's own name left out.
fn see(name: &str, folder: &Path, text: &str) {
    insta::with_settings!({filters => FILTERS.to_vec()}, { insta::assert_snapshot!(name, without(folder, text)) });
}

#[test]
fn wrong_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_str().unwrap();
    for (name, arguments) in [
        ("no_command", vec![]),
        ("workers_0", vec!["run", "--workers", "0"]),
        ("time_without_unit", vec!["run", "--lease", "5"]),
        ("mean_without_unit", vec!["run", "--preempt", "poisson:300"]),
        ("lease_of_nothing", vec!["run", "--lease", "0s"]),
        ("share_above_one", vec!["run", "--silent", "1.5"]),
        ("queue_of_another_kind", vec!["run", "--queue", "kafka://host"]),
        (
            "queue_with_a_password",
            vec!["worker", "unpush", "--volume", empty, "--queue", "Redis://:hunter2@h", "a"],
        ),
        ("schedule_missing", vec!["run", "--preempt", "schedule:/nowhere/schedule.toml"]),
        ("seeds_past_the_last", vec!["explore", "--from", "18446744073709551610", "--seeds", "10"]),
        ("grace_on_kind", vec!["run", "--backend", "kind", "--grace", "1s"]),
        ("cluster_of_processes", vec!["run", "--cluster", "mine"]),
        ("keep_of_processes", vec!["run", "--keep"]),
        ("world_and_faults", vec!["replay", "--world", "file", "--faults", "kill"]),
        ("no_datasets", vec!["run", "--datasets", empty]),
        ("datasets_missing", vec!["run", "--datasets", "/nowhere"]),
        ("worker_volume_missing", vec!["worker", "run", "--volume", "/nowhere"]),
        ("worker_without_datasets", vec!["worker", "run", "--volume", empty, "--run", "1"]),
        ("worker_lease_of_nothing", vec!["worker", "run", "--volume", empty, "--lease", "0s"]),
        ("worker_idle_of_ages", vec!["worker", "run", "--volume", empty, "--idle", "99999999999y"]),
        ("push_of_a_path_outside", vec!["worker", "push", "--volume", empty, "../outside.parquet"]),
    ] {
        see(name, folder.path(), &transcript(&run(SIM, &arguments)));
    }
}

/// What a newcomer gets wrong: commands and options of other names, values of other kinds, paths that are not there.
const WRONG: &str = "
    rnu
    explain B999
    completions cmd
    manual HERE/file
    init HERE/nowhere
    init HERE/file
    explore --seeds many
    explore --mutant nosuch
    explore --faults meteor
    replay five
    replay --world HERE/nowhere
    replay --world HERE/file
    scale --workers 0
    check
    check --datasets HERE/nowhere -- x
    run --wrokers 3
    run --workers
    run --workers three
    run --datasets HERE/nowhere
    run --datasets HERE/file
    run --datasets HERE/empty
    run --out HERE/file
    run --out HERE/file/below
    run --out HERE/volume
    run --resume --out HERE/empty
    run --continue
    run --preempt often
    run --preempt schedule:HERE/nowhere
    run --preempt schedule:HERE/file
    run --queue amqp://host
    run --queue redis://127.0.0.1:1 --out HERE/away
    run --backend docker
    run --scenario
    run --scenario HERE/nowhere
    run --scenario HERE/file
    run --scenario HERE/empty
    run --verify maybe
    run --map-columns price=total --out HERE/mapped
    worker rnu
    worker run
    worker run --volume HERE/nowhere
    worker run --volume HERE/file
    worker run --volume ftp://host/folder
    worker run --volume s3://
    worker run --volume HERE/volume extra
    worker run --volume HERE/volume --run a/b
    worker run --volume HERE/volume --name a/b
    worker run --volume HERE/volume --list nowhere
    worker run --volume HERE/volume --queue nosuch
    worker run --volume HERE/volume --queue sqlite:HERE/no/such/file
    worker run --volume HERE/volume --queue sqlite:HERE/file
    worker run --volume HERE/volume --map-columns amount
    worker push --volume HERE/volume
    worker push --volume HERE/volume nowhere.csv
    worker push --volume HERE/volume datasets
    worker push --volume HERE/volume datasets/training/2018-04-01.parquet --queue redis://127.0.0.1:1
    worker score --checkpoint HERE/nowhere HERE/file
    worker score --checkpoint HERE/file HERE/file --out HERE/scores.csv
    worker runs --volume HERE/file
    worker status --volume HERE/volume
    worker status --volume HERE/volume --run 7
    worker status --volume HERE/volume --run .
    worker report --volume HERE/volume --run 7 --html -
    worker events --volume HERE/volume --run 7
    worker logs --volume HERE/volume --run 7
    worker watch --volume HERE/volume
    worker watch --volume HERE/volume --run 7 --once
    worker serve --volume HERE/volume --listen nowhere
    worker serve --volume HERE/volume --listen 203.0.113.1:1
    worker doctor --volume HERE/nowhere
    worker abandon 7 --volume HERE/volume
    worker abandon .. --volume HERE/volume
    worker prune --volume HERE/volume
    worker prune --volume HERE/volume 7
    worker explain nosuch
";

#[test]
fn every_refusal_says_why_once_with_a_code_and_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    write_volume(&folder.path().join("volume"));
    fs::create_dir(folder.path().join("empty")).unwrap();
    fs::write(folder.path().join("file"), "x\n").unwrap();
    let here = folder.path().to_str().unwrap();
    for line in WRONG.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let line = line.replace("HERE", here);
        let output = run(SIM, &line.split(' ').collect::<Vec<_>>());
        let said = String::from_utf8_lossy(&output.stderr);
        let count = |begin: &str| said.lines().filter(|line| line.starts_with(begin)).count();
        assert!(matches!(output.status.code(), Some(1..=6)), "{line}: {}", transcript(&output));
        assert_eq!([count("error"), count("error[B"), count("hint: ")], [1; 3], "{line}: {said}");
        assert!(output.stdout.is_empty(), "{line}: {}", transcript(&output));
    }
}

/// A recorded schedule that somebody has edited.
#[test]
fn schedules_of_worlds_that_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("schedule.json");
    let replay = ["replay", "--world", file.to_str().unwrap()];
    let recorded = run(SIM, &["replay", "5", "--json"]).stdout;
    fs::write(&file, &recorded).unwrap();
    assert!(run(SIM, &replay).status.success(), "as it was recorded it can be replayed");
    let schedule: serde_json::Value = serde_json::from_slice(&recorded).unwrap();
    let mut printed = String::new();
    for (name, value) in [
        ("steps", 0.into()),
        ("step_us", [0, 0].into()),
        ("volume_us", [500, 499].into()),
        ("queue_us", [1, u64::MAX].into()),
        ("workers", 0.into()),
        ("lease_ms", u64::MAX.into()),
        ("tests", "two".into()),
    ] as [(&str, serde_json::Value); 7]
    {
        let mut edited = schedule.clone();
        edited["params"][name] = value;
        fs::write(&file, edited.to_string()).unwrap();
        printed += &transcript(&run(SIM, &replay));
    }
    let mut edited = schedule.clone();
    edited["faults"] = serde_json::json!([{ "at": 1, "what": { "pause": { "ms": u64::MAX } } }]);
    fs::write(&file, edited.to_string()).unwrap();
    printed += &transcript(&run(SIM, &replay));
    see("schedules_of_worlds_that_cannot_be", folder.path(), &printed);
}

#[test]
fn a_folder_of_something_else_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "precious").unwrap();
    let output = run(SIM, &["run", "--out", folder.path().to_str().unwrap()]);
    see("out_of_another", folder.path(), &transcript(&output));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn two_simulators_do_not_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let _first = sim::out::Out::open(folder.path()).unwrap();
    let output = run(SIM, &["run", "--out", folder.path().to_str().unwrap()]);
    see("two_simulators", folder.path(), &transcript(&output));
}

#[test]
fn other_content_under_one_name() {
    let folder = tempfile::tempdir().unwrap();
    let (days, out) = (folder.path().join("days"), folder.path().join("out"));
    write_days(&days);
    let arguments =
        ["run", "--preempt", "none", "--datasets", days.to_str().unwrap(), "--out", out.to_str().unwrap()];
    assert!(run(SIM, &arguments).status.success());
    fs::copy(days.join("2018-04-02.parquet"), days.join("2018-04-01.parquet")).unwrap();
    see("other_content", folder.path(), &transcript(&run(SIM, &arguments)));
}

/// Whatever is wrong inside one dataset, the others are trained on, and the report names it.
#[test]
fn bad_datasets_are_rejected_by_name_and_cost_nothing_else() {
    let mut printed = String::new();
    for scenario in scenarios::all() {
        let folder = tempfile::tempdir().unwrap();
        let (days, out) = (folder.path().join("days"), folder.path().join("out"));
        write_days(&days);
        // It is the day after the sample's last, which is the test: the test is the day before then.
        fs::write(days.join(scenario.file_name), &scenario.bytes).unwrap();
        let arguments = [
            "run",
            "--preempt",
            "none",
            "--workers",
            "2",
            "--json",
            "--datasets",
            days.to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
        ];
        let output = run(SIM, &arguments);
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(output.status.success(), "{}: {}", scenario.name, transcript(&output));
        assert_eq!(summary["datasets"]["rejected"], 1, "{}: {summary}", scenario.name);
        printed += &format!("{}: {}\n", scenario.name, summary["rejected"]);
        let report = fs::read_to_string(out.join("output/report.txt")).unwrap();
        assert!(report.contains(scenario.file_name), "{}: the report does not name it", scenario.name);
        assert_eq!(report.matches("Training dataset: ").count(), 4, "{}", scenario.name);
    }
    insta::assert_snapshot!("bad_datasets", printed);
}

#[test]
fn a_missing_dataset_stops_the_run_loudly() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path().to_str().unwrap();
    write_volume(folder.path());
    let (there, gone) = ("datasets/training/2018-04-01.parquet", "datasets/training/nowhere.parquet");
    fs::write(folder.path().join(gone), "").unwrap();
    assert!(run(SIM, &["worker", "push", "--volume", volume, there, gone]).status.success());
    fs::remove_file(folder.path().join(gone)).unwrap();
    let output = run(SIM, &["worker", "run", "--volume", volume, "--retries", "2", "--idle", "1ms"]);
    assert_eq!(output.status.code(), Some(4), "{}", transcript(&output));
    let last = String::from_utf8_lossy(&output.stderr);
    see("missing_dataset", folder.path(), last.lines().rev().take(2).collect::<Vec<_>>().join("\n").as_str());
}

/// What no worker can ever read stops the run as what is missing does; so does what is still being written.
#[test]
fn a_path_that_is_no_whole_file_stops_the_run_loudly() {
    let too_long = format!("datasets/training/{}", "x".repeat(300));
    let mut printed = String::new();
    for path in ["datasets/training", &too_long, "datasets/training/growing"] {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path().to_str().unwrap();
        write_volume(folder.path());
        // Says that it holds nothing, and holds more when it is read.
        std::os::unix::fs::symlink("/proc/version", folder.path().join("datasets/training/growing")).unwrap();
        fs::write(folder.path().join("list.txt"), format!("datasets/training/2018-04-01.parquet\n{path}\n"))
            .unwrap();
        let listed = ["--list", "list.txt", "--retries", "2", "--idle", "1ms"];
        let output = run(SIM, &[&["worker", "run", "--volume", volume], &listed[..]].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = errors.lines().filter(|line| !line.contains("TIME")).collect();
        let last = last[last.len() - 2..].join("\n");
        printed += &format!("{:?}: {}\n", output.status.code(), last.replace(volume, "FOLDER"));
    }
    insta::assert_snapshot!("no_whole_file", printed.replace(&"x".repeat(300), "XXX"));
}

/// The rows that it has by then are no dataset; a whole block says nothing of what follows it.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_grows_while_it_is_hashed_stops_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let (volume, mountpoint) = (folder.path().join("volume"), folder.path().join("mount"));
    write_volume(&volume);
    fs::create_dir(&mountpoint).unwrap();
    let Some(_mounted) = tests::volume::fuse::mount(&mountpoint) else { return };
    let path = "datasets/training/2018-04-05.csv";
    std::os::unix::fs::symlink(mountpoint.join("growing"), volume.join(path)).unwrap();
    fs::write(volume.join("list.txt"), path).unwrap();
    let options = ["--list", "list.txt", "--retries", "1", "--idle", "1ms"];
    let output = run(SIM, &[&["worker", "run", "--volume", volume.to_str().unwrap()], &options[..]].concat());
    assert_eq!(output.status.code(), Some(4), "{}", transcript(&output));
    let said = format!("dataset {path} had {BLOCK_BYTES} bytes when its hashing began, and has others now");
    assert!(transcript(&output).contains(&said), "{}", transcript(&output));
}

/// Rounds of work that take longer than the test needs, and still end: a worker that goes on where it should stop fails it.
const LONG: &str = "100000000";

/// A worker that begins a run with two datasets is killed while it prepares; they change; the next worker stops the run.
fn stops_where_datasets_change(volume: &Path, paths: [&str; 2], change: impl Fn(&mut Vec<u8>)) -> String {
    let shown = volume.to_str().unwrap();
    run(SIM, &["worker", "push", "--volume", shown, paths[0], paths[1]]);
    let begun = ["worker", "run", "--volume", shown, "--lease", "100ms", "--idle", "1ms", "--work-rounds"];
    let mut first = Command::new(SIM);
    first.args(begun).args([LONG, "--log", "events"]).stdout(Stdio::piped());
    let mut first = first.spawn().unwrap();
    let lines = BufReader::new(first.stdout.take().unwrap()).lines();
    let preparing = lines.map(|line| serde_json::from_str::<Event>(&line.unwrap()).unwrap());
    let mut claims = preparing
        .filter(|event| matches!(event.what, What::Claimed { item, .. } if item.step() == "prepare"));
    assert!(claims.next().is_some(), "it ended before it prepared anything");
    first.kill().unwrap();
    first.wait().unwrap();
    for path in paths {
        let mut bytes = fs::read(volume.join(path)).unwrap();
        change(&mut bytes);
        fs::write(volume.join(path), bytes).unwrap();
    }
    let output = run(SIM, &[&begun[..], &[LONG, "--retries", "2"]].concat());
    assert_eq!(output.status.code(), Some(4), "{}", transcript(&output));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_dataset_that_changes_after_the_run_began_stops_it() {
    let folder = tempfile::tempdir().unwrap();
    write_volume(folder.path());
    // Only these two: a third, unchanged, would be worked on for hours.
    fs::remove_dir_all(folder.path().join("datasets/testing")).unwrap();
    let paths = ["datasets/training/2018-04-01.parquet", "datasets/training/2018-04-02.parquet"];
    let said = stops_where_datasets_change(folder.path(), paths, |bytes| bytes[100] ^= 1);
    assert!(said.contains("is not what it was when the run began: block 0 has hash"), "{said}");
}

/// A dataset that filled its last block and has more now: all of its blocks are as they were.
#[test]
fn a_dataset_that_grows_after_the_run_began_stops_it() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["datasets/training/2018-04-01.csv", "datasets/training/2018-04-02.csv"];
    fs::create_dir_all(folder.path().join("datasets/training")).unwrap();
    for (day, path) in [1, 2].into_iter().zip(paths) {
        let header = "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD";
        let mut text = format!("{header}\n{day},2018-04-0{day} 10:00:00,2,3,4.50,0\n").into_bytes();
        text.resize(usize::try_from(BLOCK_BYTES).unwrap(), b'\n');
        fs::write(folder.path().join(path), text).unwrap();
    }
    let said = stops_where_datasets_change(folder.path(), paths, |bytes| {
        bytes.extend(b"9,2018-04-01 10:00:00,2,3,4.50,0\n");
    });
    assert!(said.contains("is not what it was when the run began: block 0 has hash"), "{said}");
}

#[test]
fn a_path_pushed_twice_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path().to_str().unwrap();
    write_volume(folder.path());
    let path = "datasets/training/2018-04-01.parquet";
    for pushed in [path, "datasets//training/./2018-04-01.parquet", path] {
        assert!(run(SIM, &["worker", "push", "--volume", volume, pushed]).status.success());
    }
    let output = run(SIM, &["worker", "run", "--volume", volume]);
    assert!(output.status.success(), "{}", transcript(&output));
    let report = fs::read_to_string(folder.path().join("output/report.txt")).unwrap();
    assert_eq!(report.matches("Training dataset: ").count(), 1);
}

#[test]
fn another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path().to_str().unwrap();
    write_volume(folder.path());
    let page = |results_version| {
        let spec = Spec { workload: "fraud".to_owned(), results_version, params: [].into() };
        let page = Page::First {
            inherited: Vec::new(),
            spec,
            created: String::new(),
            last: false,
            datasets: Vec::new(),
            refused: Vec::new(),
        };
        Record::part(Hash::default(), page.encode()).encode("manifest/0")
    };
    let path = folder.path().join(RunPaths::new("1").chapter(0));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, page(999)).unwrap();
    let mut printed = transcript(&run(SIM, &["worker", "run", "--volume", volume, "--run", "1"]));
    let mut later = page(999);
    // The format's version follows the eight bytes of the magic.
    later[8] = later[8].wrapping_add(1);
    fs::write(&path, later).unwrap();
    printed += &transcript(&run(SIM, &["worker", "run", "--volume", volume, "--run", "1"]));
    see("another_version", folder.path(), &printed);
}

#[test]
fn redis_that_is_not_there_or_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path().to_str().unwrap();
    let out = folder.path().join("out");
    write_volume(folder.path());
    // A port that nobody listens on: bound, and not listening.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("redis://127.0.0.1:{}", taken.local_addr().unwrap().port());
    drop(taken);
    let output = run(SIM, &["run", "--queue", &nobody, "--out", out.to_str().unwrap()]);
    see("redis_refused", folder.path(), &transcript(&output));
    let Some(server) = Server::start(&["--requirepass", "secret"]) else { return };
    for (name, url) in [
        ("redis_without_password", server.url()),
        ("redis_wrong_password", server.url().replace("redis://", "redis://:wrong@")),
        ("redis_wrong_database", server.url().replace("redis://", "redis://:secret@") + "/9999"),
    ] {
        see(
            name,
            folder.path(),
            &transcript(&run(SIM, &["worker", "run", "--volume", volume, "--queue", &url])),
        );
    }
}

/// A line of any length: all that one push took in is on one line.
#[test]
fn events_longer_than_what_is_read_at_once_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path().to_str().unwrap();
    let events = folder.path().join(RunPaths::new("1").events());
    fs::create_dir_all(&events).unwrap();
    let text = format!("{{\"a\":\"{}\"}}\n{{}}\n", "x".repeat(3 << 20));
    fs::write(events.join("w.jsonl"), format!("{{}}\n{text}half")).unwrap();
    let output = run(SIM, &["worker", "events", "--volume", volume, "--run", "1"]);
    assert!(output.status.success() && output.stdout == format!("{{}}\n{text}").as_bytes());
}

/// `| head`: the reader goes away, and that changes no exit code.
#[test]
fn a_reader_that_went_away_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (volume, out) = (folder.path().join("volume"), folder.path().join("out"));
    let (volume, out) = (volume.to_str().unwrap(), out.to_str().unwrap());
    write_volume(Path::new(volume));
    let dataset = "datasets/training/2018-04-01.parquet";
    for arguments in [
        vec!["replay", "5"],
        vec!["replay", "5", "--json"],
        vec!["explore", "--kinds"],
        vec!["explore", "--seeds", "1"],
        vec!["scale", "--workers", "1", "--datasets", "1"],
        vec!["completions", "bash"],
        vec!["run", "--preempt", "none", "--work", "0", "--verify=false", "--out", out],
        vec!["worker", "push", "--volume", volume, dataset],
        vec!["worker", "run", "--volume", volume],
        vec!["worker", "status", "--volume", volume],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(SIM).args(&arguments).stdout(writer).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", transcript(&output));
    }
    let mut nobody = Command::new(SIM);
    let output =
        nobody.args(["replay", "5"]).stdout(fs::File::create("/dev/full").unwrap()).output().unwrap();
    see("output_that_cannot_be_written", folder.path(), &transcript(&output));
}
