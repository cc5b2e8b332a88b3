//! The deployer as a person runs it, with a kind cluster as the one that the stand-in of Google's APIs
//! hands out: `cloud image`, `deploy`, `status`, `logs`, `cost`, `fetch`, `destroy`; then `cloud run` on the
//! same cluster, which knows no Google. Takes Docker, kind and some minutes; without them it says so.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use cloud::k8s::objects::Config;
use cloud::kind::{KindCluster, Spec, down, local_node_image, remove_images};
use tests::bucket::server::versitygw;
use tests::command::{self, files};
use tests::docker::{left, missing};
use tests::standin::{Handout, Project, Standin};
use tokio::process::Command;

use crate::program::Cloud;

/// Its own, so that nobody's cluster is touched.
const CLUSTER: &str = "gcp-test";
/// The container of the S3 server.
const S3: &str = "gcp-test-s3";
/// The report's date, which the simulator takes from the last day that it trains on.
const CREATED: &str = "2018-04-08 00:00:00";

impl Cloud {
    /// Runs it to its end, which must be good, and gives its standard output.
    async fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments).await;
        println!("$ cloud {}\n{}", arguments.join(" "), command::transcript(&output));
        assert!(output.status.success(), "cloud {}", arguments.join(" "));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Byte for byte; what differs is named, not shown.
fn assert_same(folder: &Path, expected: &BTreeMap<PathBuf, Vec<u8>>) {
    let found = files(folder);
    let names = found.keys().chain(expected.keys()).collect::<BTreeSet<_>>();
    let differ = names.into_iter().filter(|name| found.get(*name) != expected.get(*name)).collect::<Vec<_>>();
    assert!(differ.is_empty(), "not the process backend's: {differ:?} in {}", folder.display());
}

/// The worker, which is what the image holds.
const WORKER: &str = env!("CARGO_BIN_EXE_worker-under-test");

const SIM: &str = env!("CARGO_BIN_EXE_sim-under-test");

/// What the process backend makes of the simulator's batch, preempted and compared with an undisturbed run;
/// the datasets then lie in the folder, too.
fn on_processes(out: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let output = command::run(SIM, &["run", "--work", "50ms", "--out", &out.to_string_lossy()]);
    assert!(output.status.success(), "{}", command::transcript(&output));
    files(&out.join("output"))
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
fn deploy_runs_the_batch_destroy_leaves_nothing_and_run_needs_no_google() {
    if let Some(why) = missing() {
        assert!(std::env::var_os("TESTS_REQUIRE_DOCKER").is_none(), "{why}");
        // Past the harness, which hides what a test prints that passes.
        let _ = writeln!(std::io::stderr(), "NOT RUN, cloud deploy with a kind cluster: {why}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // However the story ends, no cluster is left.
    let ended = std::panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let node_image = local_node_image().await.unwrap();
            let spec = Spec { name: CLUSTER.into(), workers: 1, node_image };
            let (cluster, _) = KindCluster::up(&spec, &mut |line| println!("{line}")).await.unwrap();
            story(&cluster).await;
        });
    }));
    // It keeps the network.
    command::run("docker", &["rm", "--force", "--volumes", S3]);
    runtime.block_on(async {
        down(CLUSTER).await.unwrap();
        remove_images().await.unwrap();
    });
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
    assert_eq!(left(CLUSTER), BTreeSet::new());
}

async fn story(cluster: &KindCluster) {
    let (nfs, ()) = tokio::try_join!(cluster.fileserver(), cluster.ready()).unwrap();
    let kubeconfig = cluster.kubeconfig().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let datasets = folder.path().join("processes/datasets");
    let expected = on_processes(&folder.path().join("processes"));
    assert_eq!(expected.len(), 10, "eight models and two reports");

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
    cluster.load(local, &Config::tutorial().redis_image).await.unwrap();

    let shape = ["--datasets", &datasets, "--image", local, "--out", "deployed"];
    cloud.run(&[&["deploy", "--yes"], &shape[..], &["--created", CREATED]].concat()).await;
    assert_same(&folder.path().join("deployed/output"), &expected);
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
    let wrong = format!("{}:/Wrong", nfs.server);
    let what = ["--datasets", &datasets, "--image", local];
    let refused = [&["run", "--kubeconfig", "kubeconfig", "--nfs", &wrong], &what[..]].concat();
    let refused = command::transcript(&cloud.output(&refused).await);
    assert!(refused.contains("FailedMount: MountVolume.SetUp failed"), "in Kubernetes' words: {refused}");
    assert!(refused.contains("showmount") && refused.contains("`cloud run --down`"), "{refused}");
    cloud.run(&["run", "--down", "--kubeconfig", "kubeconfig"]).await;
    assert_eq!(objects(cluster).await, "", "what it left is removed");

    let export = format!("{}:{}", nfs.server, nfs.path);
    let where_ = ["--kubeconfig", "kubeconfig", "--nfs", &export, "--spot"];
    let what = ["--datasets", &datasets, "--image", local, "--out", "ran"];
    cloud.run(&[&["run"], &where_[..], &what, &["--created", CREATED]].concat()).await;
    assert_same(&folder.path().join("ran/output"), &expected);
    assert_eq!(objects(cluster).await, "", "the run's objects are deleted at its end");
    a_program_in_anybodys_image(cluster, &cloud, &where_, local, folder.path()).await;
    a_bucket_in_place_of_the_export(cluster, &cloud, local, &datasets).await;
    assert_same(&folder.path().join("on-bucket/output"), &expected);
}

/// An S3 server in the cluster's network, which this machine reaches as the pods do.
async fn a_bucket_in_place_of_the_export(cluster: &KindCluster, cloud: &Cloud, local: &str, datasets: &str) {
    let program = match versitygw() {
        Ok(program) => program,
        Err(why) => return tests::docker::tell(&format!("NOT RUN, cloud run on a bucket: {why}")),
    };
    let run = |program: &str, arguments: &[&str]| {
        let output = command::run(program, arguments);
        assert!(output.status.success(), "{}", command::transcript(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let program = run("sh", &["-c", &format!("command -v {program}")]);
    let (network, mount) = (format!("{CLUSTER}-network"), format!("{program}:/s3:ro"));
    let server = ["run", "--detach", "--name", S3, "--network", &network, "--volume", &mount];
    let serve = "mkdir -p /data/bucket && exec /s3 --access tester --secret sesame --region r --port 0.0.0.0:7070 posix /data";
    run("docker", &[&server[..], &["debian:bookworm-slim", "sh", "-c", serve]].concat());
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = run("docker", &["inspect", "--format", format, S3]);
    let keys = ["--from-literal=AWS_ACCESS_KEY_ID=tester", "--from-literal=AWS_SECRET_ACCESS_KEY=sesame"];
    kubectl(cluster, &[&["create", "secret", "generic", "bucket-keys"], &keys[..]].concat()).await;
    let where_ =
        ["--kubeconfig", "kubeconfig", "--storage", "s3://bucket/team", "--storage-secret", "bucket-keys"];
    let what =
        ["--datasets", datasets, "--image", local, "--spot", "--out", "on-bucket", "--created", CREATED];
    let mut command = cloud.command(&[&["run"], &where_[..], &what].concat());
    command.env("AWS_ENDPOINT_URL", format!("http://{address}:7070")).env("AWS_REGION", "r");
    command.env("AWS_ACCESS_KEY_ID", "tester").env("AWS_SECRET_ACCESS_KEY", "sesame");
    let said = command::transcript(&command.output().await.unwrap());
    println!("{said}");
    assert!(said.starts_with("exit code: 0\n") && !said.contains("sesame"), "{said}");
    assert_eq!(objects(cluster).await, "", "the run's objects are deleted at its end");
}

/// Goes on from the state before, and writes what it was given: a variable, a Secret, and nothing of the queue's.
const PROGRAM: &str = r#"
set -eu
if [ -n "${BATCH_PREVIOUS-}" ]; then cp "$BATCH_PREVIOUS/seen" "$BATCH_OUTPUT/seen"; fi
cat "$1" >> "$BATCH_OUTPUT/seen"
case $$ in [1-9]*) dollars=kept ;; *) dollars=lost ;; esac
echo "$MODE $TOKEN ${REDISCLI_AUTH-nothing} $HOME $dollars" > "$BATCH_OUTPUT/given"
"#;

/// Debian's own image, into which nothing is built.
async fn a_program_in_anybodys_image(
    cluster: &KindCluster,
    cloud: &Cloud,
    where_: &[&str],
    worker: &str,
    folder: &Path,
) {
    const IMAGE: &str = "debian:bookworm-slim";
    cluster.load_program(IMAGE).await.unwrap();
    cluster.wipe_fileserver().await.unwrap();
    kubectl(cluster, &["create", "secret", "generic", "hub", "--from-literal=token=sesame"]).await;
    let days = folder.join("days");
    std::fs::create_dir(&days).unwrap();
    for day in 1..=3 {
        std::fs::write(days.join(format!("2018-04-0{day}.txt")), format!("day {day}\n")).unwrap();
    }
    let what = ["--datasets", "days", "--image", IMAGE, "--worker-image", worker, "--cpu", "100m"];
    let given =
        ["--env", "MODE=fast", "--secret-env", "TOKEN=hub:token", "--memory", "128Mi", "--out", "program"];
    let command = ["--", "sh", "-c", PROGRAM, "-", "{input}"];
    let arguments = [&["run"], where_, &what, &given, &command].concat();
    cloud.run(&arguments).await;
    let latest =
        |name: &str| std::fs::read_to_string(folder.join("program/output/latest").join(name)).unwrap();
    assert_eq!(latest("seen"), "day 1\nday 2\nday 3\n");
    assert_eq!(latest("given"), "fast sesame nothing /tmp kept\n");

    let hungry =
        ["--memory", "128Mi", "--retries", "1", "--", "sh", "-c", "head -c 400000000 /dev/zero | tail"];
    let killed = command::transcript(&cloud.output(&[&["run"], where_, &what, &hungry[..]].concat()).await);
    println!("{killed}");
    assert!(killed.contains("OOMKilled") && killed.contains("2018-04-01.txt"), "{killed}");
    cloud.run(&["run", "--down", "--kubeconfig", "kubeconfig"]).await;
}

/// The names of all objects of any deployment.
async fn objects(cluster: &KindCluster) -> String {
    let kinds = "pv,pvc,pods,services,jobs,secrets,networkpolicies,serviceaccounts";
    kubectl(cluster, &["get", kinds, "--selector", "app.kubernetes.io/instance", "--output", "name"]).await
}

async fn kubectl(cluster: &KindCluster, arguments: &[&str]) -> String {
    let mut command = Command::new("docker");
    command.args(["exec", &cluster.control_plane(), "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf"]);
    let output = command.args(arguments).output().await.unwrap();
    assert!(output.status.success(), "{}", command::transcript(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
