//! The deployer as a person runs it, with a kind cluster as the one that the stand-in of Google's APIs
//! hands out: `cloud image`, `deploy`, `destroy`; then `cloud run` on the same cluster, which knows no
//! Google.
//!
//! Takes Docker, kind and some minutes: `cargo test --workspace --test cloud_program -- --ignored`.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use cloud::cluster::kind::{KindCluster, Spec, down, local_node_image};
use cloud::manifest::Config;
use tests::command;
use tests::standin::{Handout, Project, Standin};
use tokio::process::Command;

use crate::program::Cloud;

/// Its own, so that nobody's cluster is touched.
const CLUSTER: &str = "gcp-test";
/// The report's date, so that two runs can be compared.
const CREATED: &str = "2026-11-24";

impl Cloud {
    /// Runs it to its end, which must be good, and gives its standard output.
    async fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments).await;
        println!("$ cloud {}\n{}", arguments.join(" "), command::transcript(&output));
        assert!(output.status.success(), "cloud {}", arguments.join(" "));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Files under `folder` by their path in it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(folder).unwrap().to_owned();
                    found.insert(name, std::fs::read(&path).unwrap());
                }
            }
        }
    }
    found
}

/// The worker, which is what the image holds.
const WORKER: &str = env!("CARGO_BIN_EXE_worker-under-test");

/// What an undisturbed worker makes of the same datasets on this machine.
fn undisturbed(volume: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let training = files(&volume.join("datasets/training"));
    let list: String =
        training.keys().map(|name| format!("datasets/training/{}\n", name.display())).collect();
    std::fs::write(volume.join("list.txt"), list).unwrap();
    let volume_name = volume.to_string_lossy();
    let arguments = ["run", "--volume", &volume_name, "--list", "list.txt", "--created", CREATED];
    let output = command::run(WORKER, &arguments);
    assert!(output.status.success(), "{}", command::transcript(&output));
    files(&volume.join("output"))
}

/// A token of an account that may do everything, as the owner of a Google project may.
async fn token(cluster: &KindCluster) -> String {
    kubectl(cluster, &["create", "serviceaccount", "owner"]).await;
    let bind = [
        "create",
        "clusterrolebinding",
        "owner",
        "--clusterrole=cluster-admin",
        "--serviceaccount=default:owner",
    ];
    kubectl(cluster, &bind).await;
    kubectl(cluster, &["create", "token", "owner", "--duration=2h"]).await
}

/// A field of a kubeconfig, which is read here as lines to need no parser of YAML.
fn field<'a>(kubeconfig: &'a str, name: &str) -> &'a str {
    let line = kubeconfig.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
    line.unwrap()
}

#[test]
#[ignore = "takes Docker, kind and minutes"]
fn deploy_runs_the_batch_destroy_leaves_nothing_and_run_needs_no_google() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    cloud::tls::install();
    // However the story ends, no cluster is left.
    let ended = std::panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let node_image = local_node_image().await.unwrap();
            let spec = Spec { name: CLUSTER.into(), workers: 1, node_image };
            let (cluster, _) = KindCluster::up(&spec, &mut |line| println!("{line}")).await.unwrap();
            story(&cluster).await;
        });
    }));
    runtime.block_on(down(CLUSTER)).unwrap();
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

async fn story(cluster: &KindCluster) {
    let nfs = cluster.fileserver().await.unwrap();
    let kubeconfig = cluster.kubeconfig().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    command::write_volume(&folder.path().join("volume"));
    let datasets = folder.path().join("volume/datasets");
    let expected = undisturbed(&folder.path().join("volume"));
    assert!(expected.contains_key(Path::new("report.txt")));

    let standin = Standin::start().await.unwrap();
    let mut project = Project::new("my-project");
    project.handout = Some(Handout {
        endpoint: field(&kubeconfig, "server").trim_start_matches("https://").to_owned(),
        ca: field(&kubeconfig, "certificate-authority-data").to_owned(),
        nfs: nfs.server.clone(),
    });
    standin.add(project);
    let cloud = Cloud::new(&standin, &token(cluster).await, folder.path().to_owned());
    let datasets = datasets.to_string_lossy();

    let image = cloud.run(&["image", "--binary", WORKER]).await;
    let image = image.trim();
    let pushed = standin.with("my-project", |project| project.images.clone());
    assert_eq!(pushed, [image.split_once('/').unwrap().1], "the image is in the deployment's repository");
    // The cluster's nodes can't reach the stand-in's registry: they are given the image as it is here.
    let local = image.rsplit('/').next().unwrap();
    cluster.load(local, &Config::gke().redis_image).await.unwrap();

    let shape = ["--datasets", &datasets, "--image", local, "--out", "deployed"];
    cloud.run(&[&["deploy", "--yes"], &shape[..], &["--", "--created", CREATED]].concat()).await;
    assert_eq!(files(&folder.path().join("deployed/output")), expected, "byte for byte an undisturbed run's");
    let status = cloud.run(&["status"]).await;
    assert!(status.contains("done"), "{status}");
    assert!(cloud.run(&["logs"]).await.contains("Queue empty, exiting"));
    cloud.run(&["cost"]).await;
    assert!(cloud.run(&["fetch", "--out", "again"]).await.contains("again/output/report.txt"));

    cloud.run(&["destroy", "--yes"]).await;
    let left = standin.with("my-project", |project| (project.labelled("batch-aiml"), project.images.clone()));
    assert_eq!(left, (vec![], vec![]), "nothing is left in the project");
    assert_eq!(objects(cluster).await, "", "nothing is left in the cluster");

    std::fs::write(folder.path().join("kubeconfig"), &kubeconfig).unwrap();
    cluster.wipe_fileserver().await.unwrap();
    let export = format!("{}:{}", nfs.server, nfs.path);
    let where_ = ["--kubeconfig", "kubeconfig", "--nfs", &export, "--spot"];
    let what = ["--datasets", &datasets, "--image", local, "--out", "ran"];
    cloud.run(&[&["run"], &where_[..], &what, &["--", "--created", CREATED]].concat()).await;
    assert_eq!(files(&folder.path().join("ran/output")), expected, "byte for byte an undisturbed run's");
    assert_eq!(objects(cluster).await, "", "the run's objects are deleted at its end");
}

/// The names of all objects of any deployment.
async fn objects(cluster: &KindCluster) -> String {
    let kinds = "pv,pvc,pods,services,jobs,secrets,networkpolicies";
    kubectl(cluster, &["get", kinds, "--selector", "app.kubernetes.io/instance", "--output", "name"]).await
}

async fn kubectl(cluster: &KindCluster, arguments: &[&str]) -> String {
    let mut command = Command::new("docker");
    command.args(["exec", &cluster.control_plane(), "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf"]);
    let output = command.args(arguments).output().await.unwrap();
    assert!(output.status.success(), "{}", command::transcript(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
