//! Real Kubernetes: as many schedules as `KIND_SEEDS` says on one cluster of kind's, the committed
//! manifests before a real API server, and nothing left behind. A seed takes a minute or two, so nothing
//! runs where nobody asks: `KIND_SEEDS=10 cargo test --workspace --test kind`, after a build of the worker.

#![expect(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use cloud::k8s::cluster::Cluster as _;
use cloud::kind::{KindCluster, batch_config};
use serde_json::Value;
use tests::command::{run, transcript};
use tests::docker::{left, seeds, tell};

const SIM: &str = env!("CARGO_BIN_EXE_sim-under-test");
/// No cluster of a person's.
const CLUSTER: &str = "batch-tests";

#[test]
fn real_kubernetes() {
    let seeds = match seeds() {
        Ok(seeds) => seeds,
        Err(why) => {
            assert!(std::env::var_os("TESTS_REQUIRE_DOCKER").is_none(), "{why}");
            return tell(&format!("NOT RUN, real Kubernetes: {why}"));
        }
    };
    let guard = Down;
    let folder = tempfile::tempdir().unwrap();
    let expected = undisturbed(&folder.path().join("processes"));
    assert_eq!(expected.len(), 10, "eight models and two reports");

    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for seed in 1..=seeds {
        let out = folder.path().join(seed.to_string());
        let summary = seed_on_kind(seed, &out);
        let _ =
            writeln!(std::io::stderr(), "seed {seed}: {} s, {}", summary["seconds"], summary["preemptions"]);
        assert!(
            results(&out) == expected,
            "seed {seed}: other results; sim run --backend kind --seed {seed}"
        );
        for (kind, count) in summary["preemptions"]["interrupted"].as_object().unwrap() {
            *kinds.entry(kind.clone()).or_default() += count.as_u64().unwrap();
        }
        if seed == 1 {
            the_api_server_takes_the_committed_manifests();
        }
    }
    // Chance decides what a preemption interrupts: a few seeds need only one that interrupted held work.
    let (kinds_min, interrupted_min) = if seeds >= 10 { (3, seeds) } else { (1, 1) };
    assert!(kinds.len() >= kinds_min && kinds.values().sum::<u64>() >= interrupted_min, "{kinds:?}");

    drop(guard);
    assert_eq!(left(CLUSTER), BTreeSet::new());
    interrupted_while_the_cluster_is_made();
    assert_eq!(left(CLUSTER), BTreeSet::new());
}

/// Removes the cluster however the test ends.
struct Down;

impl Drop for Down {
    fn drop(&mut self) {
        let output = run(SIM, &["down", "--cluster", CLUSTER]);
        tell(&format!("sim down: {}", transcript(&output)));
    }
}

fn undisturbed(out: &Path) -> BTreeSet<(String, Vec<u8>)> {
    let shown = out.to_str().unwrap();
    let output = run(SIM, &["run", "--preempt", "none", "--work", "0s", "--verify=false", "--out", shown]);
    assert!(output.status.success(), "{}", transcript(&output));
    results(out)
}

/// Odd seeds preempt by time, the servers too; even ones by progress, on a fast machine as on a slow one.
fn seed_on_kind(seed: u64, out: &Path) -> Value {
    let rule = if seed % 2 == 1 { "poisson:10s" } else { "progress" };
    let seed = seed.to_string();
    let arguments = [
        "run",
        "--backend",
        "kind",
        "--cluster",
        CLUSTER,
        "--keep",
        "--json",
        "--verify=false",
        "--workers",
        "3",
        "--preempt",
        rule,
        "--work",
        "4s",
        "--seed",
        &seed,
        "--out",
        out.to_str().unwrap(),
    ];
    let output = run(SIM, &arguments);
    assert!(output.status.success(), "sim {}: {}", arguments.join(" "), transcript(&output));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["checked"]["violations"], Value::Array(Vec::new()));
    summary
}

fn results(out: &Path) -> BTreeSet<(String, Vec<u8>)> {
    let entries = fs::read_dir(out.join("output")).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

/// Server-side, strictly: an unknown field or a value that is not allowed is an error.
fn the_api_server_takes_the_committed_manifests() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cluster = KindCluster::open(CLUSTER).await.unwrap().unwrap();
        // What is there already would be compared with, and most of it cannot be changed.
        // A node that was away when the run ended still is, and holds the pods that it had.
        cluster.nodes().await.unwrap().restore().await.unwrap();
        let config = batch_config(CLUSTER);
        let deployment = config.deployment.clone();
        let objects = cluster.connect(config).await.unwrap();
        objects.delete(&deployment, &mut |line| tell(line)).await.unwrap();
    });
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests");
    for target in ["kind", "gke"] {
        for file in ["volume.yaml", "redis.yaml", "staging.yaml", "job.yaml"] {
            let path = manifests.join(target).join(file);
            let output = dry_run(&path);
            assert!(output.status.success(), "{}: {}", path.display(), transcript(&output));
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.lines().all(|line| line.ends_with("created (server dry run)")), "{said}");
        }
    }
}

fn dry_run(path: &PathBuf) -> Output {
    let control_plane = format!("{CLUSTER}-control-plane");
    let mut child = Command::new("docker")
        .args(["exec", "-i", &control_plane, "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf"])
        .args(["apply", "--dry-run=server", "--validate=strict", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(path).unwrap()).unwrap();
    child.wait_with_output().unwrap()
}

/// Ctrl-C while kind is at work: no cluster made by half, no context in a kubeconfig.
fn interrupted_while_the_cluster_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    let out = folder.path().join("out");
    let mut child = Command::new(SIM)
        .args(["run", "--backend", "kind", "--cluster", CLUSTER, "--workers", "1", "--out"])
        .arg(&out)
        .env("KUBECONFIG", &kubeconfig)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("create cluster")), "no cluster was made");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!kubeconfig.exists());
    let output = run(SIM, &["down", "--cluster", CLUSTER]);
    assert!(output.status.success(), "{}", transcript(&output));
}
