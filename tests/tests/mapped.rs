//! Data of one's own, with other names of columns.

#![expect(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Output;

use fixtures::{Config, Format};
use tests::command::{run, transcript};
use worker::contract::Exit;

const SIM: &str = env!("CARGO_BIN_EXE_sim-under-test");
const MAPPING: &str = "time=created_at,customer=user,amount=total";

/// Days as CSV, with other names where `own`.
fn write_days(volume: &Path, own: bool) {
    let folder = volume.join("datasets/training");
    fs::create_dir_all(&folder).unwrap();
    for day in fixtures::generate(&Config::sample()).unwrap() {
        let text = String::from_utf8(Format::Csv.write(&day)).unwrap();
        let names = [("TX_DATETIME", "created_at"), ("CUSTOMER_ID", "user"), ("TX_AMOUNT", "total")];
        let text = names.iter().filter(|_| own).fold(text, |text, (ours, theirs)| text.replace(ours, theirs));
        fs::write(folder.join(day.file_name(Format::Csv)), text).unwrap();
    }
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| format!("datasets/training/{}", entry.unwrap().file_name().to_str().unwrap()))
        .collect();
    names.sort();
    fs::write(volume.join("list"), names.join("\n")).unwrap();
}

fn work(volume: &Path, more: &[&str]) -> Output {
    let fixed = ["worker", "run", "--volume", volume.to_str().unwrap(), "--name", "w", "--list", "list"];
    run(SIM, &[&fixed[..], more].concat())
}

#[test]
fn mapped_columns_give_the_same_model() {
    let (own, plain) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_days(own.path(), true);
    write_days(plain.path(), false);
    let unmapped = work(own.path(), &["--run", "unmapped"]);
    assert_eq!(unmapped.status.code(), Some(i32::from(Exit::LeftOut.code())), "{}", transcript(&unmapped));
    let report = fs::read_to_string(own.path().join("output/report.txt")).unwrap();
    assert!(report.contains("hint: --map-columns"), "{report}");
    let mapped = work(own.path(), &["--run", "mapped", "--map-columns", MAPPING]);
    assert_eq!(mapped.status.code(), Some(0), "{}", transcript(&mapped));
    assert_eq!(work(plain.path(), &["--run", "1"]).status.code(), Some(0));
    // A model carries a hash over its datasets' bytes, which differ: what it learned is the same.
    let learned = |volume: &Path| {
        let json = fs::read(volume.join("output/report.json")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&json).unwrap()["trained"].clone()
    };
    assert!(!learned(plain.path()).as_array().unwrap().is_empty());
    assert_eq!(learned(own.path()), learned(plain.path()));
}

#[test]
fn files_are_checked_without_a_run() {
    let own = tempfile::tempdir().unwrap();
    write_days(own.path(), true);
    fs::write(own.path().join("broken.csv"), "created_at,user\n1,2\n").unwrap();
    let day = own.path().join("datasets/training/2018-04-01.csv");
    // Its rows are of another day than its name says.
    fs::copy(&day, own.path().join("2018-05-07.csv")).unwrap();
    let files = [day.to_str().unwrap(), "broken.csv", "2018-05-07.csv"];
    let check = |more: &[&str]| {
        let mut command = std::process::Command::new(SIM);
        command.current_dir(own.path()).args(["worker", "check"]).args(more).args(files);
        transcript(&command.output().unwrap()).replace(own.path().to_str().unwrap(), "VOLUME")
    };
    insta::assert_snapshot!("checked", check(&["--map-columns", MAPPING]));
    insta::assert_snapshot!("check_refuses_a_mapping", check(&["--map-columns", "price=total"]));
    insta::assert_snapshot!("check_cannot_open", check(&["--map-columns", MAPPING, "nowhere.csv"]));
}
