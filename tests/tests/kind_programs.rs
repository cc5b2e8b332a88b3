//! A program of the user's, in an image of the user's, on real Kubernetes whose nodes are preempted: as many schedules as
//! `KIND_SEEDS` says, at most five, each with the bytes of a run that nobody disturbed. A seed takes about a minute:
//! `KIND_SEEDS=5 cargo test --workspace --test kind_programs`, after a build of the worker.

#![expect(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tests::command::{files, run, transcript};
use tests::docker::{left, seeds, tell};

const SIM: &str = env!("CARGO_BIN_EXE_sim-under-test");
/// No cluster of a person's.
const CLUSTER: &str = "batch-programs";
/// The image, with the label by which `sim down` removes what was built here.
const IMAGE: &str = "batch-programs:test";
const LABEL: &str = "batch.image=built";

const DAYS: u32 = 6;
const SEEDS_MAX: u64 = 5;

/// A user's image: Python, and a script in the folder that the image names.
const DOCKERFILE: &str = "\
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY train.py .
";

/// Counts days and keeps what they hold, and saves on its way: two of a day's four steps take a second each.
const SCRIPT: &str = r#"
import json, os, pathlib, sys, time

data, output, checkpoint = (pathlib.Path(path) for path in sys.argv[1:4])
state = {"days": 0, "seen": []}
if len(sys.argv) > 4:
    state = json.loads((pathlib.Path(sys.argv[4]) / "state.json").read_text())
steps = checkpoint / "steps"
done = int(steps.read_text()) if steps.exists() else 0
for step in range(done, 4):
    time.sleep(1 if step % 2 else 0)
    (checkpoint / "steps.tmp").write_text(str(step + 1))
    os.replace(checkpoint / "steps.tmp", steps)
state["days"] += 1
state["seen"].append(data.read_text())
(output / "state.json").write_text(json.dumps(state))
print(f"{data.name}: {state['days']} days, begun at step {done}", flush=True)
"#;

#[test]
fn a_program_in_its_own_image_survives_preempted_nodes() {
    let seeds = match seeds() {
        Ok(seeds) => seeds.min(SEEDS_MAX),
        Err(why) => {
            assert!(std::env::var_os("TESTS_REQUIRE_DOCKER").is_none(), "{why}");
            return tell(&format!("NOT RUN, a program on real Kubernetes: {why}"));
        }
    };
    let guard = Down;
    let folder = tempfile::tempdir().unwrap();
    build_image(IMAGE, &folder.path().join("image"), DOCKERFILE);
    let days = folder.path().join("days");
    write_days(&days);
    let calm = folder.path().join("calm");
    let lines = transcript(&run_on_kind(&days, &calm, &["--preempt", "none"], &COMMAND));
    let printed = lines.find("train/0 | 2018-04-01.txt: 1 days, begun at step 0");
    assert!(printed.is_some() && printed < lines.rfind(" commits\n"), "while the run goes on: {lines}");
    let expected = files(&calm.join("output"));
    assert_eq!(days_in(&calm), u64::from(DAYS), "each day counts once");
    assert!(expected.len() >= DAYS as usize, "{:?}", expected.keys());

    let mut interrupted = 0;
    for seed in 1..=seeds {
        let out = folder.path().join(seed.to_string());
        // Odd seeds preempt by time, the servers too; even ones by progress.
        let rule = if seed % 2 == 1 { "poisson:8s" } else { "progress" };
        let summary = on_kind(&days, &out, &["--preempt", rule, "--seed", &seed.to_string()], &COMMAND);
        tell(&format!("seed {seed}: {} s, {}", summary["seconds"], summary["preemptions"]));
        let found = files(&out.join("output"));
        let differ: Vec<_> =
            expected.iter().filter(|(name, bytes)| found.get(*name) != Some(*bytes)).collect();
        assert!(differ.is_empty() && found.len() == expected.len(), "seed {seed}: {:?}", found.keys());
        assert_eq!(days_in(&out), u64::from(DAYS), "seed {seed}: each day counts once");
        interrupted += summary["preemptions"]["interrupted"].as_object().unwrap().len();
    }
    assert!(interrupted > 0, "nothing was interrupted");
    a_static_worker_starts_where_there_is_no_c_library(folder.path(), &days);
    drop(guard);
    assert_eq!(left(CLUSTER), BTreeSet::new());
}

/// Removes the cluster however the test ends, and the images with it.
struct Down;

impl Drop for Down {
    fn drop(&mut self) {
        let output = run(SIM, &["down", "--cluster", CLUSTER]);
        tell(&format!("sim down: {}", transcript(&output)));
    }
}

/// The variable that names a worker which is linked statically, as `just worker` builds it.
const STATIC: &str = "TESTS_STATIC_WORKER";

/// A shell, and nothing else: no C library, no loader.
const BARE: &str = "\
FROM debian:bookworm-slim AS parts
RUN apt-get update && apt-get install -y --no-install-recommends busybox-static
FROM scratch
COPY --from=parts /bin/busybox /bin/sh
";
const BARE_IMAGE: &str = "batch-programs:bare";

fn a_static_worker_starts_where_there_is_no_c_library(folder: &Path, days: &Path) {
    let Ok(worker) = std::env::var(STATIC) else {
        return tell(&format!("NOT RUN, a program in an image without a C library: {STATIC} is not set"));
    };
    build_image(BARE_IMAGE, &folder.join("bare-image"), BARE);
    let out = folder.join("bare");
    let script = "read day < {input}; if [ -n \"${BATCH_PREVIOUS-}\" ]; then read seen < $BATCH_PREVIOUS/seen; fi; \
                  echo \"${seen-} $day\" > {output}/seen";
    let image = ["--image", BARE_IMAGE, "--worker", &worker, "--preempt", "progress"];
    on_kind(days, &out, &image, &["sh", "-c", script]);
    let seen = fs::read_to_string(out.join("output/latest/seen")).unwrap();
    assert_eq!(seen, " day 1 day 2 day 3 day 4 day 5 day 6\n");
}

fn build_image(tag: &str, context: &Path, dockerfile: &str) {
    fs::create_dir(context).unwrap();
    fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    fs::write(context.join("train.py"), SCRIPT).unwrap();
    let built =
        run("docker", &["build", "--quiet", "--label", LABEL, "--tag", tag, context.to_str().unwrap()]);
    assert!(built.status.success(), "{}", transcript(&built));
}

fn write_days(folder: &Path) {
    fs::create_dir(folder).unwrap();
    for day in 1..=DAYS {
        fs::write(folder.join(format!("2018-04-0{day}.txt")), format!("day {day}\n")).unwrap();
    }
}

/// What the script is given.
const COMMAND: [&str; 6] = ["python3", "train.py", "{input}", "{output}", "{checkpoint}", "{previous}"];

/// Runs a program on the kept cluster; its summary.
fn on_kind(days: &Path, out: &Path, options: &[&str], command: &[&str]) -> Value {
    let output = run_on_kind(days, out, &[options, &["--json"]].concat(), command);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["checked"]["violations"], Value::Array(Vec::new()));
    summary
}

fn run_on_kind(days: &Path, out: &Path, options: &[&str], command: &[&str]) -> Output {
    let place = ["run", "--backend", "kind", "--cluster", CLUSTER, "--keep", "--workers", "2"];
    let what = ["--datasets", days.to_str().unwrap(), "--out", out.to_str().unwrap(), "--image", IMAGE];
    let arguments = [&place[..], &what, options, &["--deterministic", "--"], command].concat();
    let output = run(SIM, &arguments);
    assert!(output.status.success(), "sim {}: {}", arguments.join(" "), transcript(&output));
    output
}

/// The counter in the last state.
fn days_in(out: &Path) -> u64 {
    let state = fs::read(out.join("output/latest/state.json")).unwrap();
    serde_json::from_slice::<Value>(&state).unwrap()["days"].as_u64().unwrap()
}
