//! The examples as a user runs them: the same bytes under preemptions as without, on both queues.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use fixtures::{Config, Format};
use tests::command::{run, transcript};
use tests::queue::server::Server;

use super::{SIM, simulate, text};

/// Set where a machine must have Python and reach a package index: their absence then fails the tests.
const REQUIRED_ENV: &str = "TESTS_REQUIRE_PYTHON";
/// Schedules for the example of scikit-learn on each queue; more of them elsewhere.
const SCHEDULES_ENV: &str = "EXAMPLE_SCHEDULES";

/// A file of this repository.
fn file(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join(path).to_str().unwrap().to_owned()
}

/// `None`, said aloud, unless it is required.
fn skip<T>(why: &str) -> Option<T> {
    assert!(std::env::var_os(REQUIRED_ENV).is_none(), "{why}, and {REQUIRED_ENV} is set");
    // Past the capture of tests' output: a skipped test must be seen.
    let _ = writeln!(std::io::stderr(), "SKIPPED, {why}");
    None
}

/// The machine's own Python.
fn plain_python() -> Option<String> {
    let version = Command::new("python3").arg("--version").output();
    match version {
        Ok(output) if output.status.success() => Some("python3".to_owned()),
        _ => skip("there is no python3"),
    }
}

/// A Python with the packages of the examples, made once for all runs of the tests.
fn python() -> Option<String> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    plain_python()?;
    let requirements = file("examples/requirements.txt");
    let name = worker::hash::Hash::of(&fs::read(&requirements).unwrap()).short();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{name}"));
    let (program, whole) = (folder.join("bin/python"), folder.join("whole"));
    if !whole.exists() {
        let _ = fs::remove_dir_all(&folder);
        let succeeds = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
        if !succeeds(Command::new("python3").args(["-m", "venv"]).arg(&folder)) {
            return skip("python3 -m venv failed");
        }
        let install = ["-m", "pip", "install", "--quiet", "--only-binary", ":all:", "-r", &requirements];
        if !succeeds(Command::new(&program).args(install)) {
            return skip("pip could not install examples/requirements.txt");
        }
        fs::write(whole, "").unwrap();
    }
    Some(text(&program).to_owned())
}

/// Days of transactions: four to train on, one to test with.
fn write_csv(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for day in fixtures::generate(&Config::sample()).unwrap() {
        let name = day.file_name(Format::Csv);
        let name = if day.number < 4 { name } else { format!("test-{name}") };
        fs::write(folder.join(name), Format::Csv.write(&day)).unwrap();
    }
}

/// The same as the tutorial has them: pickles of pandas.
fn write_pickles(folder: &Path, python: &str) -> PathBuf {
    let (from, to) = (folder.join("csv"), folder.join("days"));
    write_csv(&from);
    fs::create_dir_all(&to).unwrap();
    let script = "import pandas, pathlib, sys
for path in pathlib.Path(sys.argv[1]).iterdir():
    day = pandas.read_csv(path, parse_dates=['TX_DATETIME'])
    day.to_pickle(pathlib.Path(sys.argv[2]) / (path.stem + '.pkl'))";
    let output = Command::new(python).args(["-c", script]).arg(&from).arg(&to).output().unwrap();
    assert!(output.status.success(), "{}", transcript(&output));
    to
}

fn interrupted(summary: &serde_json::Value) -> usize {
    summary["preemptions"]["interrupted"].as_object().unwrap().len()
}

#[test]
fn scikit_learn_survives_schedules_on_both_queues() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let days = write_pickles(folder.path(), &python);
    let train = file("examples/scikit-learn/train.py");
    let command = ["--", &python, &train, "--data", "{input}", "--init", "{previous}", "--out", "{output}"];
    let check = ["check", "--datasets", text(&days), "--apart", "1100ms"];
    let checked = run(SIM, &[&check[..], &command].concat());
    assert_eq!(checked.status.code(), Some(0), "{}", transcript(&checked));
    let evaluate =
        format!("{python} {} {{input}} {{tests}} {{output}}", file("examples/scikit-learn/evaluate.py"));
    let schedules: u32 = std::env::var(SCHEDULES_ENV).map_or(1, |number| number.parse().unwrap());
    let queues = ["sqlite"].into_iter().chain(Server::shared().map(|_| "redis"));
    for queue in queues {
        for seed in 1..=schedules {
            let (out, seed) = (folder.path().join(format!("{queue}-{seed}")), seed.to_string());
            let options = ["--queue", queue, "--seed", &seed, "--deterministic", "--evaluate", &evaluate];
            let summary = simulate(&days, &out, &[&options[..], &command].concat());
            assert!(interrupted(&summary) > 0, "{queue}, seed {seed}: nothing was interrupted");
            counts_each_day_once(&python, &out);
        }
    }
}

/// The model says which days it learned from, and the report how well it does.
fn counts_each_day_once(python: &str, out: &Path) {
    let script = "import joblib, sys; print(*joblib.load(sys.argv[1])['days'])";
    let model = out.join("output/latest/model.joblib");
    let output = Command::new(python).args(["-c", script]).arg(model).output().unwrap();
    let days = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(days, "2018-04-01 2018-04-02 2018-04-03 2018-04-04\n", "{}", transcript(&output));
    let report = fs::read_to_string(out.join("output/report.txt")).unwrap();
    assert_eq!(report.matches("auc_roc: 0.").count(), 4, "{report}");
}

#[test]
fn xgboost_continues_day_by_day() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (days, out) = (folder.path().join("days"), folder.path().join("out"));
    write_csv(&days);
    let train = file("examples/xgboost/train.py");
    let command = [
        "--deterministic",
        "--",
        &python,
        &train,
        "--data",
        "{input}",
        "--init",
        "{previous}/model.ubj",
        "--out",
        "{output}/model.ubj",
        "--seed",
        "{seed}",
    ];
    assert!(interrupted(&simulate(&days, &out, &command)) > 0);
    let log = transcript(&run(SIM, &["worker", "logs", "--volume", text(&out), "train/3"]));
    assert!(log.contains("12 trees after 2018-04-04.csv"), "{log}");
}

#[test]
fn a_shell_script_is_a_program() {
    let folder = tempfile::tempdir().unwrap();
    let (days, out) = (folder.path().join("days"), folder.path().join("out"));
    write_csv(&days);
    simulate(&days, &out, &["--deterministic", "--", "sh", &file("examples/shell/count.sh")]);
    let lines = |path: PathBuf| fs::read_to_string(path).unwrap().lines().count();
    let all: usize = (1..=4).map(|day| lines(days.join(format!("2018-04-0{day}.csv")))).sum();
    let total = fs::read_to_string(out.join("output/latest/total")).unwrap();
    assert_eq!(total.trim(), all.to_string());
}

#[test]
fn a_map_has_its_numbers_in_the_report() {
    let Some(python) = plain_python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (days, out) = (folder.path().join("days"), folder.path().join("out"));
    write_csv(&days);
    fs::write(days.join("2018-03-31.csv"), "A,B\n1,2\n").unwrap();
    let total = format!("{python} {}", file("examples/map/total.py"));
    let options = ["--deterministic", "--map", "--report", &total];
    simulate(&days, &out, &[&options[..], &["--", &python, &file("examples/map/summary.py")]].concat());
    let report = fs::read_to_string(out.join("output/report.txt")).unwrap();
    let rows = |line: &str| line.strip_prefix("rows: ")?.parse::<u64>().ok();
    let rows: Vec<u64> = report.lines().filter_map(rows).collect();
    assert_eq!((rows.len(), rows[..4].iter().sum()), (5, rows[4]), "{report}");
    assert!(
        report
            .contains("Rejected: the program rejected it (exit 65); its last lines:\n  there are no labels"),
        "{report}"
    );
}

#[test]
fn a_loop_goes_on_from_its_checkpoint() {
    let Some(python) = plain_python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let days = folder.path().join("days");
    write_csv(&days);
    let script = file("examples/checkpoints/train.py");
    // Where the machine is slow, all preemptions of a schedule may fall between items.
    let goes_on = ["1", "2", "3", "4"].into_iter().any(|seed| {
        let out = folder.path().join(seed);
        let options = ["--deterministic", "--grace", "2s", "--seed", seed, "--", &python, &script];
        simulate(&days, &out, &options);
        let logs = transcript(&run(SIM, &["worker", "logs", "--volume", text(&out)]));
        logs.contains("goes on from step ")
    });
    assert!(goes_on, "in none of four schedules was a loop interrupted after it had saved");
}

#[test]
fn the_python_helper_keeps_its_word() {
    let Some(python) = plain_python() else { return };
    let mut tests = Command::new(python);
    tests
        .args(["-m", "unittest", "discover", &file("worker/python/tests")])
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let output = tests.output().unwrap();
    assert!(output.status.success(), "{}", transcript(&output));
}
