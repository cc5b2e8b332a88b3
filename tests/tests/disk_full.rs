//! A disk that is full in the middle of a run: the worker waits, and goes on when space returns.

#![expect(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tests::command::{run, transcript, write_volume};
use tests::small_disk::SmallDisk;
use worker::events::{Event, What};

const SIM: &str = env!("CARGO_BIN_EXE_sim-under-test");

/// Takes all the space that is left.
fn fill(volume: &Path) -> PathBuf {
    let path = volume.join("ballast");
    let mut file = File::create(&path).unwrap();
    for size in [65_536, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    path
}

fn is_full(event: &Event) -> bool {
    let text = match &event.what {
        What::GaveBack { reason, .. } => reason,
        What::QueueAway { error } => error,
        _ => return false,
    };
    let text = text.to_lowercase();
    text.contains("no space") || text.contains("full") || text.contains("i/o")
}

fn models(volume: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(volume.join("output")).unwrap().map(|entry| entry.unwrap().path());
    let models = entries.filter(|path| path.extension().is_some_and(|ending| ending == "ftrl"));
    let mut models: Vec<_> = models
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap()))
        .collect();
    models.sort();
    models
}

#[test]
fn a_full_disk_delays_and_loses_nothing() {
    let Some(small) = SmallDisk::mount() else { return };
    let (full, roomy) = (small.path(), tempfile::tempdir().unwrap());
    let paths = ["1", "2", "3", "4"].map(|day| format!("datasets/training/2018-04-0{day}.parquet"));
    for volume in [full, roomy.path()] {
        write_volume(volume);
        let push = ["worker", "push", "--volume", volume.to_str().unwrap()];
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        assert!(run(SIM, &[&push[..], &paths].concat()).status.success());
    }
    let work = ["worker", "run", "--work-rounds", "400000", "--volume"];
    let undisturbed = run(SIM, &[&work[..], &[roomy.path().to_str().unwrap()]].concat());
    assert!(undisturbed.status.success(), "{}", transcript(&undisturbed));

    let mut worker = Command::new(SIM);
    worker.args(work).arg(full).args(["--log", "events"]).stdout(Stdio::piped());
    let mut worker = worker.spawn().unwrap();
    let (mut ballast, mut was_full) = (None, false);
    for line in BufReader::new(worker.stdout.take().unwrap()).lines() {
        let event: Event = serde_json::from_str(&line.unwrap()).unwrap();
        match &event.what {
            What::Committed { path, .. } if path.contains("prepared") && !was_full && ballast.is_none() => {
                ballast = Some(fill(full));
            }
            _ if is_full(&event) => {
                was_full = true;
                ballast.take().map(fs::remove_file).transpose().unwrap();
            }
            _ => {}
        }
    }
    assert!(worker.wait().unwrap().success());
    assert!(was_full, "the full disk was not met");
    assert_eq!(models(full).len(), 4);
    assert!(models(full) == models(roomy.path()));
}
