//! The Job `workload`.
//!
//! One index is one machine's term of service. A worker that is preempted fails its index for good
//! and the next index starts in its place. That is not how Indexed Jobs are usually read, and it has
//! a reason: a pod that is replaced within its index, or in a Job without indexes, waits out the
//! Job controller's backoff, 10 s after the first and doubling to 10 minutes, and a rule `Ignore`
//! for preemptions keeps them off the limit but not off the backoff (kubernetes#130881). A new
//! index has no failure behind it and starts at once: 1 s instead of 10, 40, 160 s (measured on
//! kind). What fails for another reason stays in its index and waits as Kubernetes means it to.

use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule, SuccessPolicy, SuccessPolicyRule,
};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use worker::contract::Exit;

use super::{Config, WORKER_CONTAINER, WORKLOAD, worker::pod};

/// How many machines may come and go in one run. Kubernetes takes at most 100,000 indexes.
const MACHINES: i32 = 100_000;

/// Exit codes that every new worker would repeat, so the Job fails. A volume or a
/// queue that could not be used is not among them: it may have been restarting.
const HOPELESS: [Exit; 9] = [
    Exit::Usage,
    Exit::NoDatasets,
    Exit::Input,
    Exit::Version,
    Exit::Damaged,
    Exit::LeftOut,
    Exit::Deliveries,
    Exit::Left,
    Exit::Violation,
];

/// The label by which Kueue takes a Job into a queue (<https://kueue.sigs.k8s.io/docs/tasks/run/jobs>).
pub const KUEUE_QUEUE: &str = "kueue.x-k8s.io/queue-name";

/// What the container runtime reports of a container whose end it did not see: the node restarted and the container
/// was gone.
const UNSEEN: i32 = 255;

/// The Job: as many workers at a time as asked for, done when one of them has sealed the run.
pub fn job(config: &Config) -> Job {
    Job {
        metadata: metadata(config),
        spec: Some(JobSpec {
            // Kueue lets it run once its queue has room.
            suspend: config.pod.kueue_queue.is_some().then_some(true),
            parallelism: Some(i32::try_from(config.workers).unwrap_or(i32::MAX)),
            active_deadline_seconds: config.deadline_s.and_then(|seconds| seconds.try_into().ok()),
            completion_mode: Some("Indexed".to_owned()),
            completions: Some(MACHINES),
            // A worker exits with 0 only once the run is sealed and its report committed.
            success_policy: Some(SuccessPolicy {
                rules: vec![SuccessPolicyRule { succeeded_count: Some(1), ..SuccessPolicyRule::default() }],
            }),
            backoff_limit_per_index: Some(i32::MAX),
            pod_failure_policy: Some(PodFailurePolicy { rules: rules(config) }),
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

fn metadata(config: &Config) -> ObjectMeta {
    let mut metadata = ObjectMeta { annotations: config.notes(), ..config.meta(WORKLOAD, WORKLOAD) };
    let queue = config.pod.kueue_queue.clone().map(|queue| (KUEUE_QUEUE.to_owned(), queue));
    metadata.labels.get_or_insert_default().extend(queue);
    metadata
}

/// In this order: a hopeless exit code fails the Job, even if the machine was going away; a preemption, known by
/// Kubernetes' condition or the worker's exit code, costs its index only; a program that failed as often as it may
/// fails the Job, since it fails on every machine; all else is retried on the same index, with Kubernetes' backoff.
fn rules(config: &Config) -> Vec<PodFailurePolicyRule> {
    let hopeless = HOPELESS.map(|exit| i32::from(exit.code())).to_vec();
    let runs_a_program = config.pod.program_image.is_some();
    let failed = runs_a_program.then(|| exit_codes("FailJob", vec![i32::from(Exit::Failed.code())]));
    let disrupted = PodFailurePolicyOnPodConditionsPattern {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
    };
    let rules = [
        exit_codes("FailJob", hopeless),
        PodFailurePolicyRule {
            action: "FailIndex".to_owned(),
            on_pod_conditions: Some(vec![disrupted]),
            ..PodFailurePolicyRule::default()
        },
        exit_codes("FailIndex", vec![i32::from(Exit::Preempted.code()), UNSEEN]),
    ];
    rules.into_iter().chain(failed).collect()
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
