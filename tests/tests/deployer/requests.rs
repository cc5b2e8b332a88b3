//! What is sent, field by field what gcloud sends.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use cloud::gke::plan::Mode;
use serde_json::{Value, json};
use tests::standin::{Project, Recorded};

use crate::harness::{Ended, World, runtime};

/// Recorded from gcloud 528 against a server on loopback, with `CLOUDSDK_API_ENDPOINT_OVERRIDES_*`:
/// the command, the request's method and target, its body.
const AUTOPILOT: &str = include_str!("../data/gcloud-528.json");
/// The same for a Standard cluster with a pool of Spot machines, which takes gcloud two commands. All else is
/// as above.
const STANDARD: &str = include_str!("../data/gcloud-528-standard.json");

/// A newcomer's page, whose tables are of what is sent.
const PAGE: &str = include_str!("../../../docs/gcp-requests.md");

/// Leaves out what the comparison sets aside: `parent` (Google's crates put it into the path alone), our
/// labels, and fields that say what leaving them out says (proto3's defaults: `createSubnetwork: false`).
fn comparable(mut body: Value) -> Value {
    strip(&mut body);
    body
}

fn strip(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|name, value| {
            strip(value);
            let aside = ["parent", "labels", "resourceLabels"].contains(&name.as_str());
            let default = *value == Value::Bool(false) || *value == Value::Null;
            !aside && !default
        });
    } else if let Value::Array(values) = value {
        values.iter_mut().for_each(strip);
    }
}

/// The writes of a deploy and a destroy, with the project's name as in gcloud's recording.
fn sent(mode: Mode) -> Vec<Recorded> {
    runtime().block_on(async {
        let world = World::start().await;
        let mut site = world.project(Project::new("p"));
        site.desired.mode = mode;
        assert!(matches!(site.deploy().await, Ended::With(Ok(_))));
        assert!(matches!(site.destroy().await, Ended::With(Ok(_))));
        site.with(|project| project.writes().into_iter().cloned().collect())
    })
}

fn by_target(requests: impl IntoIterator<Item = Recorded>) -> BTreeMap<String, Value> {
    // `force=False` is what leaving it out says.
    let target = |target: &str| target.to_lowercase().replace("?force=false", "");
    let key = |request: &Recorded| format!("{} {}", request.method, target(&request.target));
    requests.into_iter().map(|request| (key(&request), comparable(request.body))).collect()
}

/// A command of gcloud's with its request.
#[derive(serde::Deserialize)]
struct Command {
    command: String,
    method: String,
    target: String,
    body: Value,
}

impl Command {
    fn request(&self) -> Recorded {
        Recorded { method: self.method.clone(), target: self.target.clone(), body: self.body.clone() }
    }
}

fn autopilot() -> Vec<Command> {
    serde_json::from_str(AUTOPILOT).unwrap()
}

/// The pool's request goes into the cluster's, where the API takes it too: nobody can be interrupted between
/// the two.
fn standard() -> Vec<Command> {
    let mut commands = autopilot();
    commands.retain(|command| !command.target.contains("/clusters"));
    let mut clusters: Vec<Command> = serde_json::from_str(STANDARD).unwrap();
    let pool = clusters.remove(1);
    clusters[0].command.push_str(&format!("` and `{}", pool.command));
    clusters[0].body["cluster"]["nodePools"].as_array_mut().unwrap().push(pool.body["nodePool"].clone());
    commands.extend(clusters);
    commands
}

fn of_spot_machines() -> Mode {
    Mode::Standard { machine_type: "e2-standard-2".into(), nodes: 3, grace_s: 15 }
}

#[test]
fn the_tutorials_requests_equal_gclouds() {
    let gcloud = autopilot();
    assert_eq!(by_target(sent(Mode::Autopilot)), by_target(gcloud.iter().map(Command::request)));
}

#[test]
fn a_standard_clusters_requests_equal_gclouds() {
    assert_eq!(by_target(sent(of_spot_machines())), by_target(standard().iter().map(Command::request)));
}

#[test]
fn the_tutorials_requests() {
    insta::assert_snapshot!(shown(&sent(Mode::Autopilot)));
}

#[test]
fn a_standard_cluster_with_a_spot_pool() {
    insta::assert_snapshot!(shown(&sent(of_spot_machines())));
}

#[test]
fn spot_machines_that_leave_their_pods_longer() {
    let kubelet = |grace_s| {
        let mode = Mode::Standard { machine_type: "e2-standard-2".into(), nodes: 3, grace_s };
        let cluster = sent(mode).into_iter().find(|request| request.target.ends_with("/clusters")).unwrap();
        let pools = cluster.body["cluster"]["nodePools"].as_array().unwrap().clone();
        pools.into_iter().map(|pool| pool["config"]["kubeletConfig"].clone()).collect::<Vec<_>>()
    };
    let asked = |all: u32, system: u32| json!({"shutdownGracePeriodSeconds": all, "shutdownGracePeriodCriticalPodsSeconds": system});
    assert_eq!(kubelet(15), [Value::Null, Value::Null]);
    assert_eq!(kubelet(105), [Value::Null, asked(120, 15)]);
    assert_eq!(kubelet(120), [Value::Null, asked(120, 0)]);
}

/// What the comparison sets aside is in them as well.
#[test]
fn the_pages_tables_are_of_what_is_sent() {
    let standard = standard();
    let clusters = standard.iter().filter(|command| command.target.contains("/clusters"));
    for table in
        [table(autopilot().iter(), &sent(Mode::Autopilot)), table(clusters, &sent(of_spot_machines()))]
    {
        assert!(PAGE.contains(&table), "docs/gcp-requests.md lacks this table:\n\n{table}");
    }
}

fn table<'a>(gcloud: impl Iterator<Item = &'a Command>, ours: &[Recorded]) -> String {
    let mut table = "| field | gcloud sends | `cloud` sends |\n|---|---|---|\n".to_owned();
    let path = |target: &str| target.split('?').next().unwrap().to_owned();
    for command in gcloud {
        let same =
            |ours: &&Recorded| ours.method == command.method && path(&ours.target) == path(&command.target);
        let ours = ours.iter().find(same).expect("a request for each of gcloud's");
        let (theirs, ours) = (fields(&command.request()), fields(ours));
        writeln!(table, "| **{}** | `{}` | |", command.method, command.command).unwrap();
        for field in theirs.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
            let cell = |value: Option<&String>| value.map_or("-".to_owned(), |value| format!("`{value}`"));
            let same = theirs.get(field) == ours.get(field);
            let our_cell = if same { "same".to_owned() } else { cell(ours.get(field)) };
            writeln!(table, "| `{field}` | {} | {our_cell} |", cell(theirs.get(field))).unwrap();
        }
    }
    table
}

/// Each value by its path; the last parts of scopes' URLs alone.
fn fields(request: &Recorded) -> BTreeMap<String, String> {
    let mut found = BTreeMap::from([("URL".to_owned(), request.target.clone())]);
    flatten("", &request.body, &mut found);
    found
}

fn flatten(path: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    let text = |value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.rsplit_once("/auth/").map_or(text.clone(), |(_, scope)| scope.to_owned())
    };
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                let dot = if path.is_empty() { "" } else { "." };
                flatten(&format!("{path}{dot}{name}"), value, found);
            }
        }
        Value::Array(values) if values.iter().any(Value::is_object) => {
            for (number, value) in values.iter().enumerate() {
                flatten(&format!("{path}[{number}]"), value, found);
            }
        }
        Value::Array(values) => {
            found.insert(path.to_owned(), values.iter().map(text).collect::<Vec<_>>().join(", "));
        }
        Value::Null => {}
        value => {
            found.insert(path.to_owned(), text(value));
        }
    }
}

fn shown(requests: &[Recorded]) -> String {
    let one = |request: &Recorded| {
        let body = match &request.body {
            Value::Null => String::new(),
            body => format!("\n{}", serde_json::to_string_pretty(body).unwrap()),
        };
        format!("{} {}{body}", request.method, request.target)
    };
    requests.iter().map(one).collect::<Vec<_>>().join("\n\n")
}
