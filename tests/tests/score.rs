//! `worker score`: a run's checkpoint applied to a day, read back by polars, a reader that is not ours,
//! and held against what the run itself says of that day.

#![expect(clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::Path;

use polars::prelude::*;
use tests::command::{run, transcript, write_volume};

const SIM: &str = env!("CARGO_BIN_EXE_sim-under-test");
const CHECKPOINT: &str = "output/model_cpt_2018-04-04.ftrl";
const DAY: &str = "datasets/testing/2018-04-05.parquet";
const SCORES: [&str; 4] = ["TRANSACTION_ID", "TX_AMOUNT", "FRAUD_LOG_ODDS", "FRAUD_PROBABILITY"];

/// A finished run of the sample: four days trained on, one tested with.
fn finished() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_volume(folder.path());
    let list = (1..=4).map(|day| format!("datasets/training/2018-04-0{day}.parquet\n")).collect::<String>();
    fs::write(folder.path().join("list.txt"), list + DAY).unwrap();
    let volume = folder.path().to_str().unwrap();
    let output = run(SIM, &["worker", "run", "--volume", volume, "--list", "list.txt", "--created", "today"]);
    assert!(output.status.success(), "{}", transcript(&output));
    folder
}

fn score(volume: &Path, checkpoint: &str, day: &str, out: &str) -> String {
    score_after(volume, "datasets/training", [checkpoint, day, out])
}

fn score_after(volume: &Path, history: &str, [checkpoint, day, out]: [&str; 3]) -> String {
    let path = |name: &str| volume.join(name).to_str().unwrap().to_owned();
    let (checkpoint, history, out, day) = (path(checkpoint), path(history), path(out), path(day));
    let arguments =
        ["worker", "score", "--checkpoint", &checkpoint, "--history", &history, "--out", &out, &day];
    transcript(&run(SIM, &arguments)).replace(volume.to_str().unwrap(), "VOLUME")
}

fn parquet(path: &Path) -> DataFrame {
    let columns = SCORES.map(ToOwned::to_owned).to_vec();
    ParquetReader::new(File::open(path).unwrap()).with_columns(Some(columns)).finish().unwrap()
}

fn csv(path: &Path) -> DataFrame {
    let read = CsvReadOptions::default().try_into_reader_with_file_path(Some(path.into())).unwrap();
    read.finish().unwrap().select(SCORES).unwrap()
}

fn floats(frame: &DataFrame, column: &str) -> Vec<f64> {
    frame.column(column).unwrap().f64().unwrap().into_no_null_iter().collect()
}

/// Labels of the day by transaction.
fn labels(path: &Path) -> Vec<(i64, bool)> {
    let read = worker::input::read("day.parquet", &fs::read(path).unwrap()).unwrap();
    read.id.into_iter().zip(read.fraud).collect()
}

#[test]
fn scores_are_the_ones_that_the_run_was_measured_by() {
    let folder = finished();
    let volume = folder.path();
    insta::assert_snapshot!("parquet", score(volume, CHECKPOINT, DAY, "scores.parquet"));
    let scored = parquet(&volume.join("scores.parquet"));
    let labels = labels(&volume.join(DAY));
    let ids: Vec<i64> = scored.column("TRANSACTION_ID").unwrap().i64().unwrap().into_no_null_iter().collect();
    assert_eq!(ids, labels.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    let scores = floats(&scored, "FRAUD_LOG_ODDS");
    // The area under the curve, pair by pair: not as the program reckons it.
    let of = |label: bool| {
        let rows = scores.iter().zip(&labels).filter(move |(_, (_, fraud))| *fraud == label);
        rows.map(|(score, _)| *score).collect::<Vec<f64>>()
    };
    let (frauds, genuine) = (of(true), of(false));
    let won = |fraud: &f64, other: &f64| f64::from(fraud > other) + f64::from(fraud == other) / 2.0;
    let wins: f64 = frauds.iter().flat_map(|fraud| genuine.iter().map(move |other| won(fraud, other))).sum();
    let area = wins / (frauds.len() * genuine.len()) as f64;
    let report = fs::read_to_string(volume.join("output/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let last = report["trained"].as_array().unwrap().last().unwrap();
    let expected = last["testing"]["auc_roc"].as_f64().unwrap();
    assert!((area - expected).abs() < 1e-12, "{area} by the scores, {expected} in the report");
}

#[test]
fn csv_says_what_parquet_says_and_labels_are_not_needed() {
    let folder = finished();
    let volume = folder.path();
    score(volume, CHECKPOINT, DAY, "scores.parquet");
    // The day without its labels, as CSV.
    let read = worker::input::read(DAY, &fs::read(volume.join(DAY)).unwrap()).unwrap();
    let mut day = "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT\n".to_owned();
    for row in 0..read.id.len() {
        let (whole, cents) = (read.cents[row] / 100, read.cents[row] % 100);
        let [id, time, customer, terminal] =
            [read.id[row], read.time[row], read.customer[row], read.terminal[row]];
        day += &format!("{id},{time},{customer},{terminal},{whole}.{cents:02}\n");
    }
    fs::write(volume.join("day.csv"), day).unwrap();
    insta::assert_snapshot!("csv", score(volume, CHECKPOINT, "day.csv", "scores.csv"));
    let (parquet, csv) = (parquet(&volume.join("scores.parquet")), csv(&volume.join("scores.csv")));
    for column in ["TX_AMOUNT", "FRAUD_LOG_ODDS", "FRAUD_PROBABILITY"] {
        assert_eq!(floats(&parquet, column), floats(&csv, column), "{column}");
    }
}

#[test]
fn what_is_no_checkpoint_or_no_dataset_is_refused() {
    let folder = finished();
    let volume = folder.path();
    fs::write(volume.join("cut.ftrl"), &fs::read(volume.join(CHECKPOINT)).unwrap()[..100]).unwrap();
    let printed = [
        score(volume, "output/report.txt", DAY, "scores.csv"),
        score(volume, "cut.ftrl", DAY, "scores.csv"),
        score(volume, "output/missing.ftrl", DAY, "scores.csv"),
        score(volume, CHECKPOINT, "output/report.txt", "scores.csv"),
        score(volume, CHECKPOINT, DAY, "missing/scores.csv"),
    ];
    insta::assert_snapshot!(printed.join("\n"));
    assert!(!volume.join("scores.csv").exists());
}

/// A named history is read, or the output says why not; a folder may hold other files too.
#[test]
fn history_is_read_or_its_absence_is_reported() {
    let folder = finished();
    let volume = folder.path();
    let args = [CHECKPOINT, DAY, "scores.csv"];
    let missing = score_after(volume, "datasets/trainnig", args);
    assert!(!volume.join("scores.csv").exists());
    for other in [".2018-04-01.parquet.part", ".2018-04-02.csv", "README.md"] {
        fs::write(volume.join("datasets/training").join(other), "no dataset").unwrap();
    }
    let mut printed = vec![missing, score(volume, CHECKPOINT, DAY, "scores.csv")];
    printed.push(score_after(volume, "datasets/training/README.md", args));
    let day = "datasets/training/2018-04-01.parquet";
    printed.push(score_after(volume, "datasets/../datasets/training/2018-04-01.parquet", args));
    let before = [CHECKPOINT, DAY, day].map(|path| fs::read(volume.join(path)).unwrap());
    printed.extend([CHECKPOINT, DAY, day].map(|input| score(volume, CHECKPOINT, DAY, input)));
    insta::assert_snapshot!(printed.join("\n"));
    assert!([CHECKPOINT, DAY, day].map(|path| fs::read(volume.join(path)).unwrap()) == before);
}
