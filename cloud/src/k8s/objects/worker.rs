//! The pod of a worker. A program of the user's runs in the user's image, which stays as it is: the worker's program
//! is copied into the pod from the worker's image, and started there.

use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, ObjectFieldSelector, PodSpec,
    ResourceRequirements, SecretKeySelector, Toleration, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{
    Config, Placement, WORKER_CONTAINER, WORKLOAD, access, claim_mount, claim_volume, container_security,
    pod_security, pull_secrets, redis, resources,
};
use crate::k8s::cluster::GRACE_SECONDS;

/// How long a worker's pod outlives the news that its node is gone. For the default of five minutes nothing would
/// replace it.
const GONE_SECONDS: i64 = 2;

/// Where the worker's image has its program, and where a user's image gets it.
const PROGRAM: &str = "/usr/local/bin/worker";
const COPY: &str = "/opt/batch/worker";
const COPIES: &str = "/opt/batch";

/// Temporary files of a worker that runs no program, and what attempts of a program are given beside it: the writable
/// layer and logs.
const TMP: &str = "256Mi";
const BESIDE_SCRATCH_GIB: u64 = 1;
/// GiB that the attempts of a program have where nothing is said.
const SCRATCH_GIB: u64 = 8;

/// The resource that a device plugin offers GPUs as.
const GPU: &str = "nvidia.com/gpu";

/// The pods of the Job.
pub(super) fn pod(config: &Config) -> PodSpec {
    let mut volumes: Vec<_> = claim_volume(config).into_iter().collect();
    volumes.push(empty_dir("tmp", &tmp_size(config)));
    volumes.extend(is_copied(config).then(|| empty_dir("program", TMP)));
    PodSpec {
        automount_service_account_token: Some(false),
        service_account_name: access::account_name(config),
        enable_service_links: Some(false),
        image_pull_secrets: pull_secrets(config),
        security_context: Some(pod_security()),
        restart_policy: Some("Never".to_owned()),
        termination_grace_period_seconds: Some(grace_s(config).into()),
        node_selector: node_selector(config),
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
        init_containers: is_copied(config).then(|| vec![copier(config)]),
        containers: vec![container(config)],
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

/// Whether the worker's program is to be copied into another image.
fn is_copied(config: &Config) -> bool {
    config.pod.program_image.as_ref().is_some_and(|image| *image != config.image)
}

fn grace_s(config: &Config) -> u32 {
    config.pod.grace_s.unwrap_or(GRACE_SECONDS)
}

fn empty_dir(name: &str, size: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(size.to_owned())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

/// GiB of the folder for temporary files, in which a program's attempts are. None: no program runs.
fn scratch_gib(config: &Config) -> Option<u64> {
    let runs_program = config.pod.program_image.is_some();
    config.pod.scratch_gib.or(runs_program.then_some(SCRATCH_GIB))
}

fn tmp_size(config: &Config) -> String {
    scratch_gib(config).map_or_else(|| TMP.to_owned(), |gib| format!("{gib}Gi"))
}

/// The labels that a machine must have.
fn node_selector(config: &Config) -> Option<std::collections::BTreeMap<String, String>> {
    let mut selector = config.pod.node_selector.clone();
    selector.extend(label(config).map(|label| (label.to_owned(), "true".to_owned())));
    Some(selector).filter(|selector| !selector.is_empty())
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
    // Machines with GPUs are kept from pods that ask for none.
    let gpu = (config.pod.gpus > 0).then(|| Toleration {
        key: Some(GPU.to_owned()),
        operator: Some("Exists".to_owned()),
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
    labelled.into_iter().chain(gpu).chain(gone).collect()
}

/// Copies the worker's program to where the user's image finds it.
fn copier(config: &Config) -> Container {
    Container {
        name: "program".to_owned(),
        image: Some(config.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(["cp", PROGRAM, COPY].map(str::to_owned).to_vec()),
        // No more than the worker's own, so that the pod requests no more with it.
        resources: Some(resources(config.pod.size(config.worker), config.pod.size(config.worker_limit))),
        security_context: Some(container_security()),
        volume_mounts: Some(vec![mount("program", COPIES)]),
        ..Container::default()
    }
}

fn container(config: &Config) -> Container {
    let mut mounts: Vec<_> = claim_mount(config).into_iter().collect();
    mounts.push(mount("tmp", "/tmp"));
    mounts
        .extend(is_copied(config).then(|| VolumeMount { read_only: Some(true), ..mount("program", COPIES) }));
    Container {
        name: WORKER_CONTAINER.to_owned(),
        image: Some(config.pod.program_image.clone().unwrap_or_else(|| config.image.clone())),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: is_copied(config).then(|| vec![COPY.to_owned()]),
        args: Some(args(config)),
        env: Some(environment(config)),
        resources: Some(worker_resources(config)),
        security_context: Some(container_security()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

fn worker_resources(config: &Config) -> ResourceRequirements {
    let mut resources = resources(config.pod.size(config.worker), config.pod.size(config.worker_limit));
    let disk =
        requested_disk_gib(config).map(|gib| ("ephemeral-storage".to_owned(), Quantity(format!("{gib}Gi"))));
    let gpus = (config.pod.gpus > 0).then(|| (GPU.to_owned(), Quantity(config.pod.gpus.to_string())));
    for list in [&mut resources.requests, &mut resources.limits] {
        list.get_or_insert_default().extend(disk.clone().into_iter().chain(gpus.clone()));
    }
    resources
}

/// GiB of the machine's disk that a worker asks for. A queue of Kueue's takes no Job that asks for what it has no quota
/// of, so there this is only what the user asked for.
fn requested_disk_gib(config: &Config) -> Option<u64> {
    let asked = config.pod.scratch_gib;
    let gib = if config.pod.kueue_queue.is_some() { asked } else { scratch_gib(config) };
    gib.map(|gib| gib + BESIDE_SCRATCH_GIB)
}

fn args(config: &Config) -> Vec<String> {
    let queue = format!("redis://{}:6379/0", config.redis());
    let (lease, grace) = (format!("{}ms", config.lease_ms), format!("{}s", grace_s(config)));
    let fixed = [
        "run",
        "--volume",
        config.volume_argument(),
        "--queue",
        &queue,
        "--run",
        "$(RUN)",
        "--lease",
        &lease,
        "--grace",
        &grace,
        "--log",
        "json",
    ];
    let list = config.list.iter().flat_map(|path| ["--list", path]);
    let mut args: Vec<String> = fixed.into_iter().chain(list).map(str::to_owned).collect();
    args.extend(config.worker_args.iter().map(|argument| verbatim(argument)));
    args
}

/// Kubernetes replaces `$(NAME)` in arguments and takes `$$` for `$`: this is what it makes `argument` of.
fn verbatim(argument: &str) -> String {
    argument.replace('$', "$$")
}

fn environment(config: &Config) -> Vec<EnvVar> {
    let mut variables = vec![redis::password_env(config), run_env(config), name_env()];
    // The user that the pod runs as has no folder in any image.
    let home = || plain("HOME", "/tmp");
    variables.extend(config.pod.program_image.is_some().then(home));
    variables.extend(config.pod.variables.iter().map(|(name, value)| plain(name, &verbatim(value))));
    variables.extend(config.pod.secrets.iter().map(|secret| EnvVar {
        name: secret.name.clone(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.secret.clone(),
                key: secret.key.clone(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }));
    variables
}

fn plain(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What Kubernetes makes of an argument
    /// (<https://github.com/kubernetes/kubernetes/blob/master/third_party/forked/golang/expansion/expand.go>).
    fn expanded(argument: &str) -> String {
        let mut out = String::new();
        let mut rest = argument;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')'))
            {
                out.push_str(if name == "RUN" { "the run" } else { "unknown" });
                rest = after;
            } else {
                out.push('$');
            }
        }
        out + rest
    }

    proptest! {
        #[test]
        fn a_programs_arguments_arrive_as_they_were_given(argument in r"[$()RUNx ]{0,20}|\PC{0,20}") {
            prop_assert_eq!(expanded(&verbatim(&argument)), argument);
        }
    }
}
