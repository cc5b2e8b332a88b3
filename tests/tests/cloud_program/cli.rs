//! What each command prints, and its exit code.

use serde_json::{Value, json};
use tests::command::transcript;
use tests::standin::{Project, Standin};

use crate::program::Cloud;

/// Runs the program on a project after `prepare`, and gives what it printed and what is then in the project.
fn ran<T>(
    prepare: impl FnOnce(&mut Project),
    arguments: &[&str],
    look: impl FnOnce(&mut Project) -> T,
) -> (String, T) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let standin = Standin::start().await.unwrap();
        let mut project = Project::new("my-project");
        prepare(&mut project);
        standin.add(project);
        let folder = tempfile::tempdir().unwrap();
        let cloud = Cloud::new(&standin, "token", folder.path().to_owned());
        let output = cloud.output(arguments).await;
        let printed = transcript(&output).replace(&folder.path().to_string_lossy().into_owned(), "[folder]");
        (printed, standin.with("my-project", look))
    })
}

fn printed(arguments: &[&str]) -> String {
    ran(|_| {}, arguments, |_| {}).0
}

/// The writes that a command made.
fn writes(project: &mut Project) -> usize {
    project.writes().len()
}

#[test]
fn plan_of_an_empty_project_reads_and_writes_nothing() {
    let (printed, writes) = ran(|_| {}, &["plan"], writes);
    assert_eq!(writes, 0);
    insta::assert_snapshot!(printed);
}

#[test]
fn plan_for_programs() {
    insta::assert_snapshot!(printed(&["plan", "--json", "--mode", "standard", "--nodes", "3"]));
}

#[test]
fn plan_refuses_what_costs_too_much() {
    insta::assert_snapshot!(printed(&["plan", "--workers", "50", "--max-cost", "1.00"]));
}

#[test]
fn deploy_without_a_terminal_and_without_yes_makes_nothing() {
    let (printed, writes) = ran(|_| {}, &["deploy"], writes);
    assert_eq!(writes, 0);
    insta::assert_snapshot!(printed);
}

#[test]
fn deploy_prints_its_plan_for_programs_too() {
    let (printed, writes) = ran(|_| {}, &["deploy", "--json"], writes);
    assert_eq!(writes, 0);
    insta::assert_snapshot!(printed);
}

#[test]
fn a_project_must_be_chosen() {
    insta::assert_snapshot!(printed(&["status", "--project", ""]));
}

#[test]
fn status_of_nothing() {
    insta::assert_snapshot!(printed(&["status"]));
}

/// The table has no prices there, and there is no cluster to say where it is.
fn elsewhere(project: &mut Project) {
    half_deployed(project);
    let (_, mut instance) = project.filestores.pop_first().unwrap();
    instance["name"] = json!("projects/my-project/locations/europe-west1-b/instances/batch-aiml-filestore");
    project.filestores.insert(("europe-west1-b".into(), "batch-aiml-filestore".into()), instance);
}

#[test]
fn status_of_what_has_no_price() {
    insta::assert_snapshot!(ran(elsewhere, &["status"], |_| {}).0);
}

#[test]
fn cost_of_what_has_no_price() {
    insta::assert_snapshot!(ran(elsewhere, &["cost"], |_| {}).0);
}

#[test]
fn logs_of_nothing() {
    insta::assert_snapshot!(printed(&["logs"]));
}

#[test]
fn cost_of_what_is_not_there_yet() {
    insta::assert_snapshot!(printed(&["cost", "--workers", "4"]));
}

#[test]
fn destroy_of_nothing() {
    let (printed, writes) = ran(|_| {}, &["destroy"], writes);
    assert_eq!(writes, 0);
    insta::assert_snapshot!(printed);
}

/// A Filestore instance that a deploy left when it was interrupted, with nobody's cluster beside it.
fn half_deployed(project: &mut Project) {
    project.apis.extend(cloud::plan::APIS.map(str::to_owned));
    let labels = json!({"managed-by": "batch-cloud", "batch-deployment": "batch-aiml"});
    let instance = json!({
        "name": "projects/my-project/locations/us-central1-b/instances/batch-aiml-filestore",
        "state": "READY", "tier": "BASIC_HDD", "labels": labels, "createTime": "2026-11-24T00:00:00Z",
        "fileShares": [{"name": "NFSVol", "capacityGb": "1024"}],
        "networks": [{"network": "default", "ipAddresses": ["10.0.0.2"]}],
    });
    project.filestores.insert(("us-central1-b".into(), "batch-aiml-filestore".into()), instance);
    project.clusters.insert(("us-central1".into(), "batch-aiml".into()), cluster(json!({})));
}

fn cluster(labels: Value) -> Value {
    json!({
        "name": "batch-aiml", "location": "us-central1", "status": "RUNNING", "resourceLabels": labels,
        "autopilot": {"enabled": true}, "network": "default", "endpoint": "34.1.2.3",
        "masterAuth": {"clusterCaCertificate": "Y2E="},
    })
}

#[test]
fn destroy_names_what_is_lost_and_what_is_not_touched() {
    let (printed, writes) = ran(half_deployed, &["destroy"], writes);
    assert_eq!(writes, 0, "nobody agreed");
    insta::assert_snapshot!(printed);
}

#[test]
fn destroy_goes_on_where_it_may() {
    let (printed, left) = ran(half_deployed, &["destroy", "--yes"], |project| project.labelled("batch-aiml"));
    assert_eq!(left, Vec::<String>::new());
    insta::assert_snapshot!(printed);
}

#[test]
fn get_credentials_writes_gclouds_names() {
    let ours = |project: &mut Project| {
        half_deployed(project);
        let labels = json!({"managed-by": "batch-cloud", "batch-deployment": "batch-aiml"});
        project.clusters.insert(("us-central1".into(), "batch-aiml".into()), cluster(labels));
    };
    insta::assert_snapshot!(ran(ours, &["get-credentials", "--kubeconfig", "kubeconfig"], |_| {}).0);
}

#[test]
fn a_token_for_kubectl() {
    insta::assert_snapshot!(printed(&["credential"]));
}

#[test]
fn run_needs_an_export_that_is_one() {
    insta::assert_snapshot!(printed(&["run", "--nfs", "10.0.0.2", "--image", "worker:1", "--datasets", "."]));
}

#[test]
fn datasets_are_looked_for_where_they_are_said_to_be() {
    insta::assert_snapshot!(printed(&["plan", "--datasets", ".", "--image", "worker:1"]));
}

#[test]
fn image_needs_a_worker() {
    insta::assert_snapshot!(printed(&["image", "--binary", "no-such-worker"]));
}
