//! The tutorial's own way: days on the volume, their paths pushed to the Redis list `datasets`, and
//! workers started by hand.

#![expect(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use tests::command::{run, transcript, write_volume};
use tests::queue::server::{Server, connect};

const SIM: &str = env!("CARGO_BIN_EXE_sim-under-test");
const PATHS: [&str; 4] = [
    "datasets/training/2018-04-01.parquet",
    "datasets/training/2018-04-02.parquet",
    "datasets/training/2018-04-03.parquet",
    "datasets/training/2018-04-04.parquet",
];

fn worker(volume: &Path, queue: &str) -> String {
    let output =
        run(SIM, &["worker", "run", "--volume", volume.to_str().unwrap(), "--queue", queue, "--name", "w"]);
    assert!(output.status.success(), "{}", transcript(&output));
    transcript(&output)
}

/// The files of `output/` by name, with their content.
fn outputs(volume: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(volume.join("output"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

/// The lines that the tutorial's reader looks for, in the order in which they come.
fn tutorial_lines(log: &str) -> String {
    let known =
        ["Worker with sessionID", "Initial queue state", "Processing dataset", "Queue empty, exiting"];
    let lines = log.lines().filter_map(|line| {
        let at = known.iter().find_map(|known| line.find(known))?;
        Some(line[at..].split(" run=").next().unwrap_or_default().split(" token=").next().unwrap_or_default())
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn paths_pushed_by_any_client_are_trained_on_oldest_first() {
    let Some(server) = Server::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    write_volume(folder.path());
    let url = server.fresh_database();
    // Newest first, one twice, one as a list from Windows names it: what a person does, workers put in order.
    let absolute = format!("{}/{}\r", folder.path().display(), PATHS[0]);
    for path in [PATHS[3], PATHS[2], PATHS[1], &absolute, PATHS[2]] {
        redis::cmd("RPUSH").arg("datasets").arg(path).query::<()>(&mut connect(&url)).unwrap();
    }
    let log = worker(folder.path(), &url);
    insta::with_settings!({filters => [(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "SESSION")]}, {
        insta::assert_snapshot!("log", tutorial_lines(&log));
    });
    let names: Vec<String> = outputs(folder.path()).into_iter().map(|(name, _)| name).collect();
    insta::assert_snapshot!("outputs", names.join("\n"));
    let report = fs::read_to_string(folder.path().join("output/report.txt")).unwrap();
    let report = undated(&report);
    insta::assert_snapshot!("report", report);
    let left = redis::cmd("LLEN").arg("datasets").query::<u32>(&mut connect(&url)).unwrap();
    assert_eq!(left, 0);
}

/// The report with the day of its making left out.
fn undated(report: &str) -> String {
    let lines = report.lines().map(|line| match line.split_once("Report generated on: ") {
        Some(_) => "Report generated on: DATE",
        None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// `worker push` to SQLite and RPUSH to Redis lead to the same bytes, but for the report's date.
#[test]
fn both_queues_give_the_same_models() {
    let Some(server) = Server::shared() else { return };
    let (redis, sqlite) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = server.fresh_database();
    for (volume, queue) in [(redis.path(), url.as_str()), (sqlite.path(), "sqlite")] {
        write_volume(volume);
        let push = ["worker", "push", "--volume", volume.to_str().unwrap(), "--queue", queue];
        let output = run(SIM, &[&push[..], &PATHS[..]].concat());
        assert!(output.status.success(), "{}", transcript(&output));
        worker(volume, queue);
    }
    let models = |volume: &Path| -> Vec<_> {
        outputs(volume).into_iter().filter(|(name, _)| name.starts_with("model_cpt_")).collect()
    };
    assert_eq!(models(redis.path()).len(), 4);
    assert_eq!(models(redis.path()), models(sqlite.path()));
}

/// A push after the end belongs to the next run, which begins where no run is open.
#[test]
fn a_push_after_the_end_begins_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    write_volume(folder.path());
    let push = ["worker", "push", "--volume", folder.path().to_str().unwrap()];
    for (run_number, path) in [("1", PATHS[0]), ("2", PATHS[1])] {
        assert!(run(SIM, &[&push[..], &[path]].concat()).status.success());
        let log = worker(folder.path(), "sqlite");
        assert!(log.contains(&format!("run {run_number} is complete")), "{log}");
    }
    // Nothing was pushed since: the last run is looked at, and it is complete.
    let log = worker(folder.path(), "sqlite");
    assert!(log.contains("run 2 is complete"), "{log}");
}
