//! `worker serve`: its page and its metrics, and the dashboard and alerts that use them.

#![expect(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tests::command::{run, transcript, write_volume};
use worker::events::{Event, What};

const SIM: &str = env!("CARGO_BIN_EXE_sim-under-test");
const DAY: &str = "datasets/training/2018-04-01.parquet";

/// A server that ends with the test.
struct Serving {
    child: Child,
    address: String,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(volume: &Path) -> Serving {
    let mut command = Command::new(SIM);
    command.args(["worker", "serve", "--listen", "127.0.0.1:0", "--price", "0.05", "--volume"]).arg(volume);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    Serving { child, address }
}

impl Serving {
    /// The status and the body of a request.
    fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn metrics(&self) -> Samples {
        let (status, text) = self.ask("GET", "/metrics");
        assert_eq!(status, 200, "{text}");
        samples(&text)
    }
}

/// Samples by name and labels.
type Samples = BTreeMap<String, f64>;

/// Reads the text format of Prometheus, strictly: each sample follows the head of its family, and comes once.
fn samples(text: &str) -> Samples {
    let mut samples = Samples::new();
    let (mut family, mut kind) = (String::new(), String::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap().to_owned();
            assert!(rest.len() > family.len() + 5, "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, of) = rest.split_once(' ').unwrap();
            assert!(name == family && ["gauge", "counter", "summary"].contains(&of), "{line}");
            assert_eq!(of == "counter", name.ends_with("_total"), "{line}");
            kind = of.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let base = name.strip_suffix("_sum").or(name.strip_suffix("_count"));
            assert!(
                name == family || kind == "summary" && base == Some(&family),
                "{line} is none of {family}"
            );
            assert!(series.ends_with('}') && series.contains("{run=\""), "{line}");
            assert!(
                samples.insert(series.to_owned(), value.parse().unwrap()).is_none(),
                "{line} comes twice"
            );
        }
    }
    samples
}

fn names(samples: &Samples) -> BTreeSet<String> {
    samples.keys().map(|series| series.split('{').next().unwrap().to_owned()).collect()
}

fn worker(volume: &Path, arguments: &[&str]) {
    let output = run(
        SIM,
        &[&["worker", arguments[0], "--volume", volume.to_str().unwrap()], &arguments[1..]].concat(),
    );
    assert!(output.status.success(), "{}", transcript(&output));
}

/// A run that is open: its worker was killed while it prepared.
fn open_run(volume: &Path) {
    worker(volume, &["push", DAY]);
    let mut command = Command::new(SIM);
    command.args(["worker", "run", "--work-rounds", "20000000", "--lease", "100ms", "--log", "events"]);
    let mut child =
        command.args(["--name", "w1", "--volume"]).arg(volume).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut events = lines.map(|line| serde_json::from_str::<Event>(&line.unwrap()).unwrap());
    // By then the claim is in the event file too.
    assert!(events.any(|event| matches!(event.what, What::Saved { item, .. } if item.step() == "prepare")));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_run_is_served_while_it_goes_on_and_when_it_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path();
    write_volume(volume);
    let serving = serve(volume);
    assert_eq!(serving.ask("GET", "/healthz"), (200, "ok\n".to_owned()));
    let (status, text) = serving.ask("GET", "/metrics");
    assert!(status == 503 && text.contains("there is none on the volume"), "{status} {text}");

    open_run(volume);
    let open = serving.metrics();
    assert_eq!(open["batch_run_state{run=\"1\",state=\"open\"}"], 1.0);
    assert_eq!(open["batch_datasets{run=\"1\",state=\"under-way\"}"], 2.0);
    assert_eq!(open["batch_workers{run=\"1\",state=\"working\"}"], 1.0);
    let (status, page) = serving.ask("GET", "/");
    assert!(
        status == 200 && page.contains("2018-04-01.parquet") && page.contains("http-equiv=\"refresh\""),
        "{page}"
    );
    assert!(!page.contains("src=") && !page.contains("href="), "nothing comes from elsewhere");
    assert_eq!(serving.ask("POST", "/").0, 405);
    assert_eq!(serving.ask("GET", "/elsewhere").0, 404);

    worker(volume, &["run", "--name", "w2", "--lease", "100ms"]);
    let ended = loop {
        let ended = serving.metrics();
        // A look may be a second old.
        if ended["batch_run_state{run=\"1\",state=\"complete\"}"] == 1.0 {
            break ended;
        }
    };
    assert_eq!(ended["batch_progress_ratio{run=\"1\"}"], 1.0);
    assert_eq!(ended["batch_datasets{run=\"1\",state=\"done\"}"], 2.0);
    assert_eq!(ended["batch_preemptions_total{run=\"1\",kind=\"vanished\"}"], 1.0);
    assert_eq!(ended["batch_lease_expiries_total{run=\"1\"}"], 1.0);
    assert!(ended["batch_item_duration_seconds_count{run=\"1\",step=\"prepare\"}"] >= 2.0);
    assert!(ended["batch_cost_dollars{run=\"1\"}"] > 0.0);
    let json: serde_json::Value = serde_json::from_str(&serving.ask("GET", "/run.json").1).unwrap();
    assert_eq!(json["state"]["complete"]["trained"], 1);

    let exported: BTreeSet<String> = names(&open).into_iter().chain(names(&ended)).collect();
    let monitoring = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/monitoring");
    for file in ["alerts.yaml", "dashboard.json"].map(|file| monitoring.join(file)) {
        uses_what_is_exported(&file, &exported);
    }
}

fn uses_what_is_exported(file: &PathBuf, exported: &BTreeSet<String>) {
    let text = fs::read_to_string(file).unwrap();
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let used: BTreeSet<&str> = text.split(word).filter(|word| word.starts_with("batch_")).collect();
    assert!(used.len() >= 8, "{file:?} uses {used:?}");
    let unknown: Vec<_> = used.iter().filter(|name| !exported.contains(**name)).collect();
    assert!(unknown.is_empty(), "{file:?} uses what is not exported: {unknown:?}");
}

#[test]
fn the_dashboard_and_the_alerts_are_whole() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/monitoring");
    let dashboard = fs::read(folder.join("dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_slice(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty() && panel["title"].as_str().is_some(), "{panel}");
        for target in targets {
            is_balanced(target["expr"].as_str().unwrap());
        }
    }
    let alerts = fs::read_to_string(folder.join("alerts.yaml")).unwrap();
    let alerts: serde_json::Value = serde_saphyr::from_str(&alerts).unwrap();
    let rules = alerts["groups"][0]["rules"].as_array().unwrap();
    let names: BTreeSet<&str> = rules.iter().map(|rule| rule["alert"].as_str().unwrap()).collect();
    assert!(names.len() == rules.len() && rules.len() >= 6, "{names:?}");
    for rule in rules {
        is_balanced(rule["expr"].as_str().unwrap());
        assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{rule}");
        assert!(rule["annotations"]["summary"].as_str().is_some(), "{rule}");
    }
}

/// Brackets and quotes of an expression close.
fn is_balanced(expression: &str) {
    let mut open = Vec::new();
    for c in expression.chars() {
        match c {
            '(' | '[' | '{' => open.push(c),
            ')' => assert_eq!(open.pop(), Some('('), "{expression}"),
            ']' => assert_eq!(open.pop(), Some('['), "{expression}"),
            '}' => assert_eq!(open.pop(), Some('{'), "{expression}"),
            _ => {}
        }
    }
    assert!(open.is_empty() && expression.matches('"').count().is_multiple_of(2), "{expression}");
}
