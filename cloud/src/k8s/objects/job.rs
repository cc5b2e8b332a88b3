//! The Job `workload`.
//!
//! One index is one machine's term of service. A worker that is preempted fails its index for good
//! and the next index starts in its place. That is not how Indexed Jobs are usually read, and it has
//! a reason: a pod that is replaced within its index, or in a Job without indexes, waits out the
//! Job controller's backoff, 10 s after the first and doubling to 10 minutes, and a rule `Ignore`
//! for preemptions keeps them off the limit but not off the back-off (kubernetes#130881). A new
//! index has no failure behind it and starts at once: 1 s instead of 10, 40, 160 s (measured on
//! kind). What fails for another reason stays in its index and waits as Kubernetes means it to.

use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule, SuccessPolicy, SuccessPolicyRule,
};
use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, ObjectFieldSelector, PodSpec, PodTemplateSpec,
    Toleration, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use worker::contract::Exit;

use super::{
    Config, MOUNT, Placement, WORKER_CONTAINER, WORKLOAD, claim_mount, claim_volume, container_security,
    pod_security, redis, resources,
};

/// How many machines may come and go in one run. Kubernetes takes at most 100,000 indexes.
const MACHINES: i32 = 100_000;

/// What a Spot machine leaves to its pods between notice and end.
const GRACE_SECONDS: i64 = 15;

/// How long a worker's pod outlives the news that its node is gone. For the default of five minutes nothing would
/// replace it.
const GONE_SECONDS: i64 = 2;

/// Exit codes that every new worker would repeat, so the Job fails. A volume or a
/// queue that could not be used is not among them: it may have been restarting.
const HOPELESS: [Exit; 8] = [
    Exit::Usage,
    Exit::NoDatasets,
    Exit::Input,
    Exit::Version,
    Exit::Damaged,
    Exit::LeftOut,
    Exit::Deliveries,
    Exit::Violation,
];

/// What the container runtime reports of a container whose end it did not see: the node restarted and the container
/// was gone.
const UNSEEN: i32 = 255;

/// The Job: as many workers at a time as asked for, done when one of them has sealed the run.
pub fn job(config: &Config) -> Job {
    Job {
        metadata: ObjectMeta { annotations: config.notes(), ..config.meta(WORKLOAD, WORKLOAD) },
        spec: Some(JobSpec {
            parallelism: Some(i32::try_from(config.workers).unwrap_or(i32::MAX)),
            active_deadline_seconds: config.deadline_s.and_then(|seconds| seconds.try_into().ok()),
            completion_mode: Some("Indexed".to_owned()),
            completions: Some(MACHINES),
            // A worker exits with 0 only once the run is sealed and its report committed.
            success_policy: Some(SuccessPolicy {
                rules: vec![SuccessPolicyRule { succeeded_count: Some(1), ..SuccessPolicyRule::default() }],
            }),
            backoff_limit_per_index: Some(i32::MAX),
            pod_failure_policy: Some(PodFailurePolicy { rules: rules() }),
            // No second worker while a terminating one may still release its claim.
            pod_replacement_policy: Some("Failed".to_owned()),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(config.labels(WORKLOAD)), ..ObjectMeta::default() }),
                spec: Some(pod(config)),
            },
            ..JobSpec::default()
        }),
        ..Job::default()
    }
}

/// In this order: a hopeless exit code fails the Job, even if the machine was going away; a preemption, known by
/// Kubernetes' condition or the worker's exit code, costs its index only; all else is retried on the same index, with
/// Kubernetes' backoff.
fn rules() -> Vec<PodFailurePolicyRule> {
    let disrupted = PodFailurePolicyOnPodConditionsPattern {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
    };
    vec![
        exit_codes("FailJob", HOPELESS.map(|exit| i32::from(exit.code())).to_vec()),
        PodFailurePolicyRule {
            action: "FailIndex".to_owned(),
            on_pod_conditions: Some(vec![disrupted]),
            ..PodFailurePolicyRule::default()
        },
        exit_codes("FailIndex", vec![i32::from(Exit::Preempted.code()), UNSEEN]),
    ]
}

fn exit_codes(action: &str, values: Vec<i32>) -> PodFailurePolicyRule {
    PodFailurePolicyRule {
        action: action.to_owned(),
        on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
            container_name: Some(WORKER_CONTAINER.to_owned()),
            operator: "In".to_owned(),
            values,
        }),
        ..PodFailurePolicyRule::default()
    }
}

fn pod(config: &Config) -> PodSpec {
    PodSpec {
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(pod_security()),
        restart_policy: Some("Never".to_owned()),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        node_selector: label(config).map(|label| [(label.to_owned(), "true".to_owned())].into()),
        tolerations: Some(tolerations(config)),
        topology_spread_constraints: Some(vec![TopologySpreadConstraint {
            max_skew: 1,
            topology_key: "kubernetes.io/hostname".to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(LabelSelector {
                match_labels: Some(config.labels(WORKLOAD)),
                ..LabelSelector::default()
            }),
            ..TopologySpreadConstraint::default()
        }]),
        containers: vec![container(config)],
        volumes: Some(vec![
            claim_volume(config),
            Volume {
                name: "tmp".to_owned(),
                empty_dir: Some(EmptyDirVolumeSource {
                    size_limit: Some(Quantity("256Mi".to_owned())),
                    ..EmptyDirVolumeSource::default()
                }),
                ..Volume::default()
            },
        ]),
        ..PodSpec::default()
    }
}

/// The label of the machines that workers are tied to.
fn label(config: &Config) -> Option<&'static str> {
    match config.placement {
        Placement::Labelled(label) => Some(label),
        Placement::Anywhere => None,
    }
}

fn tolerations(config: &Config) -> Vec<Toleration> {
    let labelled = label(config).map(|label| Toleration {
        key: Some(label.to_owned()),
        operator: Some("Equal".to_owned()),
        value: Some("true".to_owned()),
        effect: Some("NoSchedule".to_owned()),
        ..Toleration::default()
    });
    let gone = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"].map(|key| Toleration {
        key: Some(key.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        toleration_seconds: Some(GONE_SECONDS),
        ..Toleration::default()
    });
    labelled.into_iter().chain(gone).collect()
}

fn container(config: &Config) -> Container {
    Container {
        name: WORKER_CONTAINER.to_owned(),
        image: Some(config.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(args(config)),
        env: Some(vec![redis::password_env(config), run_env(config), name_env()]),
        resources: Some(resources(config.worker, config.worker_limit)),
        security_context: Some(container_security()),
        volume_mounts: Some(vec![
            claim_mount(),
            VolumeMount { name: "tmp".to_owned(), mount_path: "/tmp".to_owned(), ..VolumeMount::default() },
        ]),
        ..Container::default()
    }
}

fn args(config: &Config) -> Vec<String> {
    let queue = format!("redis://{}:6379/0", config.redis());
    let (lease, grace) = (format!("{}ms", config.lease_ms), format!("{GRACE_SECONDS}s"));
    let fixed = [
        "run", "--volume", MOUNT, "--queue", &queue, "--run", "$(RUN)", "--lease", &lease, "--grace", &grace,
        "--log", "json",
    ];
    let list = config.list.iter().flat_map(|path| ["--list", path]);
    let mut args: Vec<String> = fixed.into_iter().chain(list).map(str::to_owned).collect();
    args.extend(config.worker_args.iter().cloned());
    args
}

/// The worker's name: its pod's. That of its host is the index's, which many lives share.
fn name_env() -> EnvVar {
    EnvVar { name: "WORKER_NAME".to_owned(), value_from: Some(field("metadata.name")), ..EnvVar::default() }
}

/// The run's name. By default the Job's uid, which every pod of it carries as a label: a new Job
/// begins a new run.
fn run_env(config: &Config) -> EnvVar {
    let uid = || field("metadata.labels['batch.kubernetes.io/controller-uid']");
    EnvVar { name: "RUN".to_owned(), value: config.run.clone(), value_from: config.run.is_none().then(uid) }
}

/// A field of the pod's own object.
fn field(path: &str) -> EnvVarSource {
    let field_ref = ObjectFieldSelector { api_version: None, field_path: path.to_owned() };
    EnvVarSource { field_ref: Some(field_ref), ..EnvVarSource::default() }
}
