//! What is sent for the tutorial's configuration, field by field what gcloud sends.

use std::collections::BTreeMap;

use cloud::plan::Mode;
use serde_json::Value;
use tests::standin::{Project, Recorded};

use crate::harness::{Ended, World, runtime};

/// Recorded from gcloud 528 against a server on loopback, with `CLOUDSDK_API_ENDPOINT_OVERRIDES_*`:
/// the command, the request's method and target, its body.
const GCLOUD: &str = include_str!("../data/gcloud-528.json");

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

#[test]
fn the_tutorials_requests_equal_gclouds() {
    let gcloud: Vec<BTreeMap<String, Value>> = serde_json::from_str(GCLOUD).unwrap();
    let text =
        |entry: &BTreeMap<String, Value>, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let gcloud = gcloud.iter().map(|entry| Recorded {
        method: text(entry, "method"),
        target: text(entry, "target"),
        body: entry["body"].clone(),
    });
    assert_eq!(by_target(sent(Mode::Autopilot)), by_target(gcloud));
}

#[test]
fn the_tutorials_requests() {
    insta::assert_snapshot!(shown(&sent(Mode::Autopilot)));
}

#[test]
fn a_standard_cluster_with_a_spot_pool() {
    insta::assert_snapshot!(shown(&sent(Mode::Standard { machine_type: "e2-standard-2".into(), nodes: 3 })));
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
