//! The committed manifests are what the objects in `cloud/src/k8s/objects` say.

#![expect(clippy::unwrap_used)]

use std::path::Path;

use clap::Parser;
use cloud::commands::manifests::{Target, files};
use cloud::commands::render::Render;
use cloud::k8s::objects::job::job;
use k8s_openapi::api::batch::v1::{Job, JobSpec, PodFailurePolicyRule};
use worker::contract::Exit;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    render: Render,
}

/// `cloud render` with these options.
fn rendering(target: Target, options: &[&str], out: &Path) -> Render {
    let out = out.to_str().unwrap();
    let words = [&["render", "--target", target.folder(), "--out", out], options].concat();
    Cli::try_parse_from(words).unwrap().render
}

fn render(target: Target, check: bool, out: &Path) -> cloud::error::Result<Vec<std::path::PathBuf>> {
    let options: &[&str] = if check { &["--check"] } else { &[] };
    rendering(target, options, out).run()
}

/// `UPDATE_MANIFESTS=1 cargo test --workspace --test manifests` rewrites them.
#[test]
fn the_committed_manifests_are_what_is_rendered() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests");
    let check = std::env::var_os("UPDATE_MANIFESTS").is_none();
    for target in [Target::Kind, Target::Gke] {
        let written = render(target, check, &committed).unwrap();
        let mut there: Vec<_> = walk(&committed.join(target.folder()));
        there.retain(|path| path.extension().is_some_and(|ending| ending == "yaml"));
        assert_eq!(there.len(), written.len(), "manifests that nothing renders: {there:?}");
    }
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn a_changed_manifest_is_found() {
    let out = tempfile::tempdir().unwrap();
    render(Target::Gke, false, out.path()).unwrap();
    render(Target::Gke, true, out.path()).unwrap();
    let job = out.path().join("gke/job.yaml");
    let text = std::fs::read_to_string(&job).unwrap();
    std::fs::write(&job, text.replace("parallelism: 1", "parallelism: 2")).unwrap();
    let error = render(Target::Gke, true, out.path()).unwrap_err();
    assert!(error.to_string().contains("job.yaml"), "{error}");
    assert!(error.hint.as_deref().unwrap().contains("cloud render"), "{error}");
}

/// No password, and nothing of this machine, in what is committed.
#[test]
fn nothing_rendered_is_a_secret() {
    for target in [Target::Kind, Target::Gke] {
        for file in files(target, &target.config()).unwrap() {
            assert!(!file.text.contains("kind: Secret"), "{}", file.path);
        }
    }
}

/// What differs between kind and GKE is the machines and the volume, and nothing else.
#[test]
fn kind_and_gke_differ_in_size_and_address_alone() {
    let lines = |target: Target| {
        let files =
            files(target, &target.config()).unwrap().into_iter().filter(|file| !file.path.contains('/'));
        files.flat_map(|file| file.text.lines().map(str::to_owned).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let (kind, gke) = (lines(Target::Kind), lines(Target::Gke));
    assert_eq!(kind.len(), gke.len());
    let different: Vec<_> = kind.iter().zip(&gke).filter(|(kind, gke)| kind != gke).collect();
    for (kind, _) in &different {
        let names = ["parallelism:", "cpu:", "memory:", "server:"];
        assert!(names.iter().any(|name| kind.trim_start().starts_with(name)), "{different:?}");
    }
}

/// Exit code of a container that was killed.
const KILLED: i32 = 128 + 9;

/// What Kubernetes does about a pod that ended so: the first rule that fits
/// (https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy).
fn action(spec: &JobSpec, code: i32, disrupted: bool) -> &str {
    let fits = |rule: &&PodFailurePolicyRule| {
        let codes = rule.on_exit_codes.as_ref().is_some_and(|codes| codes.values.contains(&code));
        let conditions = rule.on_pod_conditions.iter().flatten();
        codes || disrupted && conditions.into_iter().any(|condition| condition.type_ == "DisruptionTarget")
    };
    let rules = spec.pod_failure_policy.iter().flat_map(|policy| &policy.rules);
    rules.into_iter().find(fits).map_or("Count", |rule| &rule.action)
}

/// Returns the promises of rule 17 that a Job breaks: a preemption, however it shows, never counts against the
/// failures that a run may have, and a fault that no machine can repair ends the run at once.
fn breaks(spec: &JobSpec) -> Vec<&'static str> {
    let preempted = i32::from(Exit::Preempted.code());
    let costs_a_machine = |code, disrupted| action(spec, code, disrupted) == "FailIndex";
    let ends = |exit: Exit| {
        [false, true].iter().all(|disrupted| action(spec, i32::from(exit.code()), *disrupted) == "FailJob")
    };
    let pod = spec.template.spec.as_ref().unwrap();
    let promises = [
        ("a notice that was heard costs a machine", costs_a_machine(preempted, false)),
        ("a disruption costs a machine", costs_a_machine(KILLED, true) && costs_a_machine(1, true)),
        ("a node back from the dead costs a machine", costs_a_machine(255, false)),
        ("a violation ends the run", ends(Exit::Violation)),
        ("bad input ends the run", ends(Exit::Input) && ends(Exit::NoDatasets)),
        ("a run that trained on nothing is over", ends(Exit::LeftOut)),
        ("workers that die at one item again and again end the run", ends(Exit::Deliveries)),
        ("a run that was left is over", ends(Exit::Left)),
        ("a queue or a volume that is away does not", !ends(Exit::Queue) && !ends(Exit::Volume)),
        ("failures are counted by us", spec.backoff_limit_per_index == Some(i32::MAX)),
        ("no failed index fails the run", spec.max_failed_indexes.is_none() && spec.backoff_limit.is_none()),
        ("machines do not run out", spec.completions == Some(100_000)),
        ("one exit 0 is the end", spec.success_policy.is_some()),
        ("a preempted pod is not started again in place", pod.restart_policy.as_deref() == Some("Never")),
        ("the grace is Spot's", pod.termination_grace_period_seconds == Some(15)),
    ];
    promises.into_iter().filter(|(_, kept)| !kept).map(|(promise, _)| promise).collect()
}

/// Options of a program in a container of its own, with all that can be said of it.
const PROGRAM: [&str; 28] = [
    "--image",
    "mine:1",
    "--worker-image",
    "worker:1",
    "--cpu",
    "4",
    "--memory",
    "16Gi",
    "--gpu",
    "1",
    "--gpu-type",
    "nvidia-l4",
    "--scratch-size",
    "20Gi",
    "--node-selector",
    "pool=big",
    "--secret-env",
    "TOKEN=hub:key",
    "--pull-secret",
    "registry",
    "--grace",
    "90s",
    "--env",
    "MODE=fast",
    "--",
    "sh",
    "-c",
    "echo $(date) $$ {input}",
];

/// The Job that `cloud render` writes.
fn rendered(options: &[&str]) -> String {
    let out = tempfile::tempdir().unwrap();
    rendering(Target::Gke, options, out.path()).run().unwrap();
    std::fs::read_to_string(out.path().join("gke/job.yaml")).unwrap()
}

/// No export, no claim and no staging pod: a service account, and a URL.
#[test]
fn manifests_for_a_bucket() {
    let out = tempfile::tempdir().unwrap();
    let options = ["--storage", "gs://data/team", "--image", "worker:1"];
    rendering(Target::Gke, &options, out.path()).run().unwrap();
    let mut text = String::new();
    for path in walk(&out.path().join("gke")).into_iter().collect::<std::collections::BTreeSet<_>>() {
        let name = path.file_name().unwrap().to_str().unwrap();
        text += &format!("== {name}\n");
        // The queue is the same for any volume.
        if name != "redis.yaml" {
            text += &std::fs::read_to_string(&path).unwrap();
        }
    }
    insta::assert_snapshot!(text);
}

/// The keys of a bucket of S3 are named, and in no manifest.
#[test]
fn a_job_on_s3_takes_its_keys_from_a_secret() {
    let place = ["--storage", "s3://data/team", "--storage-secret", "bucket-keys"];
    let options = [&place[..], &["--storage-endpoint", "http://s3.storage:7070", "--image", "worker:1"]];
    let (on_gcs, on_s3) =
        (rendered(&["--storage", "gs://data/team", "--image", "worker:1"]), rendered(&options.concat()));
    let new: Vec<&str> = on_s3.lines().filter(|line| !on_gcs.lines().any(|one| one == *line)).collect();
    insta::assert_snapshot!(new.join("\n"));
}

#[test]
fn a_programs_job_runs_in_the_users_image() {
    insta::assert_snapshot!(rendered(&PROGRAM));
}

/// Whatever is chosen of its pods, a Job keeps rule 17.
#[test]
fn a_programs_job_keeps_the_rule_for_preemptions() {
    let mut spec = job(&Target::Gke.config()).spec.unwrap();
    let mut config = Target::Gke.config();
    config.pod.program_image = Some("mine:1".to_owned());
    config.pod.kueue_queue = Some("team-a".to_owned());
    let program = job(&config).spec.unwrap();
    assert_eq!(breaks(&program), [""; 0]);
    assert_eq!((spec.suspend.take(), program.suspend), (None, Some(true)), "Kueue lets it run");
    // What failed as often as it may is over; of the fraud model, no machine is known to be at fault.
    let failed = i32::from(Exit::Failed.code());
    assert_eq!((action(&program, failed, false), action(&spec, failed, false)), ("FailJob", "Count"));
}

#[test]
fn a_job_for_kueue_waits_in_its_queue() {
    let (plain, queued) = (rendered(&[]), rendered(&["--kueue-queue", "team-a"]));
    let new: Vec<&str> = queued.lines().filter(|line| !plain.contains(line)).map(str::trim).collect();
    assert_eq!(new, ["kueue.x-k8s.io/queue-name: team-a", "suspend: true"]);
}

type Forget = fn(&mut JobSpec);

/// Rule 17 forgotten on purpose, and the promise that must see it.
const FORGOTTEN: [(&str, Forget); 15] = [
    ("a notice that was heard costs a machine", |spec| drop(rules(spec).pop())),
    ("a disruption costs a machine", |spec| drop(rules(spec).remove(1))),
    ("a node back from the dead costs a machine", |spec| codes(spec, 2).retain(|code| *code != 255)),
    ("a violation ends the run", |spec| rules(spec).rotate_left(1)),
    ("bad input ends the run", |spec| codes(spec, 0).retain(|code| *code != i32::from(Exit::Input.code()))),
    ("a run that trained on nothing is over", |spec| {
        codes(spec, 0).retain(|code| *code != i32::from(Exit::LeftOut.code()));
    }),
    ("workers that die at one item again and again end the run", |spec| {
        codes(spec, 0).retain(|code| *code != i32::from(Exit::Deliveries.code()));
    }),
    ("a run that was left is over", |spec| {
        codes(spec, 0).retain(|code| *code != i32::from(Exit::Left.code()));
    }),
    ("a queue or a volume that is away does not", |spec| {
        codes(spec, 0).extend([Exit::Queue, Exit::Volume].map(|exit| i32::from(exit.code())));
    }),
    ("failures are counted by us", |spec| spec.backoff_limit_per_index = Some(6)),
    ("no failed index fails the run", |spec| spec.max_failed_indexes = Some(100)),
    ("machines do not run out", |spec| spec.completions = spec.parallelism),
    ("one exit 0 is the end", |spec| spec.success_policy = None),
    ("a preempted pod is not started again in place", |spec| {
        spec.template.spec.as_mut().unwrap().restart_policy = Some("OnFailure".to_owned());
    }),
    ("the grace is Spot's", |spec| {
        spec.template.spec.as_mut().unwrap().termination_grace_period_seconds = Some(30);
    }),
];

fn rules(spec: &mut JobSpec) -> &mut Vec<PodFailurePolicyRule> {
    &mut spec.pod_failure_policy.as_mut().unwrap().rules
}

fn codes(spec: &mut JobSpec, rule: usize) -> &mut Vec<i32> {
    &mut rules(spec)[rule].on_exit_codes.as_mut().unwrap().values
}

#[test]
fn a_preemption_never_uses_up_what_a_run_may_fail() {
    for target in [Target::Kind, Target::Gke] {
        let spec = |job: Job| job.spec.unwrap();
        let rendered = spec(job(&target.config()));
        assert_eq!(breaks(&rendered), [""; 0]);
        for (promise, forget) in FORGOTTEN {
            let mut spec = rendered.clone();
            forget(&mut spec);
            assert!(breaks(&spec).contains(&promise), "not seen: {promise}");
        }
    }
}
