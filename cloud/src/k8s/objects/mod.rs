//! The Kubernetes objects of a batch: pure functions from a small configuration to typed objects.
//!
//! `cloud render` writes them into `manifests/`; the deployer and the simulator apply them. The names are the
//! tutorial's.

pub mod access;
pub mod job;
pub mod redis;
pub mod staging;
pub mod volume;
pub mod worker;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, LocalObjectReference, PodSecurityContext, ResourceRequirements, SeccompProfile,
    SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use crate::k8s::cluster::WORKLOAD;
use crate::k8s::cluster::{
    Batch, Nfs, Placement, PodSize, Volume as Storage, WORKER, program_digest, shape_digest,
};
use crate::k8s::pod::PodChoice;

/// The PersistentVolume, and the pod through which files are copied.
pub const FILESERVER: &str = "fileserver";
/// The claim.
pub const CLAIM: &str = "fileserver-claim";
/// The service, the Secret with its `password`, and the NetworkPolicy.
pub const REDIS: &str = "redis";
/// The pod that runs Redis.
pub const REDIS_LEADER: &str = "redis-leader";
/// The worker's container in the Job's pods.
pub const WORKER_CONTAINER: &str = "worker";
/// Where the volume is mounted.
pub const MOUNT: &str = "/mnt/fileserver";
/// The key of the password in the Secret.
pub const PASSWORD_KEY: &str = "password";

/// The annotation on the claim that says which datasets were staged last, by their digest; on the Job,
/// which it runs on.
pub const DATASETS: &str = "batch/datasets";
/// The annotation on the Job that says what its workers are, by [`program_digest`].
pub const PROGRAM: &str = "batch/program";
/// The annotation on the Job that says what its pods are, by [`shape_digest`].
pub const SHAPE: &str = "batch/pods";

/// The annotation that keeps a pod where it is while an autoscaler makes room.
const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";

/// Says which part an object is.
pub const PART_LABEL: &str = "app.kubernetes.io/name";
/// Says whose it is: nothing without the deployment's is ever touched.
pub const DEPLOYMENT_LABEL: &str = "app.kubernetes.io/instance";

/// The user that containers run as and that owns the folders on the volume. Not root, and no user of the images.
const USER: i64 = 65532;
/// The name of the volume in a pod's specification.
const VOLUME: &str = "volume";

/// What decides the objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The deployment's name, on every object as a label.
    pub deployment: String,
    pub namespace: String,
    pub volume: Storage,
    /// The worker's image; the staging pod runs it, too.
    pub image: String,
    pub redis_image: String,
    /// How many workers run at once.
    pub workers: u32,
    /// On which machines workers run.
    pub placement: Placement,
    /// What a worker requests.
    pub worker: PodSize,
    /// What a worker may use at most.
    pub worker_limit: PodSize,
    /// The run's name; None: the Job's uid.
    pub run: Option<String>,
    /// A file on the volume that lists the datasets; None: they are pushed to Redis, as in the tutorial.
    pub list: Option<String>,
    /// The lease of a claim: without a heartbeat within this time, the item is redelivered to another worker.
    pub lease_ms: u64,
    /// Further arguments of the worker.
    pub worker_args: Vec<String>,
    /// What of the workers' pods was chosen.
    pub pod: PodChoice,
    /// On the Job, as the annotation [`DATASETS`]: the digest of the datasets that it runs on. None: nobody
    /// asks what it ran.
    pub digest: Option<String>,
    /// How an export is mounted, see [`volume::mount_options`].
    pub mount_options: Vec<String>,
    /// How long the Job may take, in seconds; None: as long as it takes.
    pub deadline_s: Option<u64>,
    /// What the names of objects end with, where a namespace holds several deployments. None: the tutorial's
    /// names.
    pub suffix: Option<String>,
}

impl Config {
    /// The tutorial's deployment, with an NFS address to be filled in.
    pub fn tutorial() -> Self {
        Self {
            deployment: "batch-aiml".to_owned(),
            namespace: "default".to_owned(),
            volume: Storage::Nfs(Nfs {
                server: "10.0.0.2".to_owned(),
                path: "/NFSVol".to_owned(),
                capacity_gib: 1024,
            }),
            image: "worker:dev".to_owned(),
            redis_image: "redis:7-bookworm".to_owned(),
            workers: 1,
            placement: Placement::Anywhere,
            worker: WORKER,
            worker_limit: WORKER,
            run: None,
            list: None,
            lease_ms: 5_000,
            worker_args: Vec::new(),
            pod: PodChoice::default(),
            digest: None,
            mount_options: volume::MOUNT_OPTIONS.map(str::to_owned).to_vec(),
            deadline_s: None,
            suffix: None,
        }
    }

    /// The same with what `batch` asks for.
    pub fn with(&self, batch: &Batch) -> Self {
        Self {
            deployment: batch.deployment.clone(),
            volume: batch.volume.clone(),
            // The staging pod needs no worker, only a shell and tar.
            image: batch.image.clone().unwrap_or_else(|| self.redis_image.clone()),
            workers: batch.workers,
            placement: batch.placement,
            worker_args: batch.worker_args.clone(),
            pod: batch.pod.clone(),
            mount_options: match batch.mount_options.is_empty() {
                true => self.mount_options.clone(),
                false => batch.mount_options.clone(),
            },
            deadline_s: batch.deadline_s,
            ..self.clone()
        }
    }

    /// The export; None: the volume is a bucket.
    pub fn nfs(&self) -> Option<&Nfs> {
        match &self.volume {
            Storage::Nfs(nfs) => Some(nfs),
            Storage::Bucket(_) => None,
        }
    }

    /// What the worker's `--volume` is.
    fn volume_argument(&self) -> &str {
        match &self.volume {
            Storage::Nfs(_) => MOUNT,
            Storage::Bucket(url) => url,
        }
    }

    /// The name of the PersistentVolume, which no namespace keeps apart from others.
    pub fn volume_name(&self) -> String {
        let name = match self.namespace.as_str() {
            "default" => FILESERVER.to_owned(),
            namespace => format!("{FILESERVER}-{namespace}"),
        };
        // A dot is in no namespace's name.
        self.suffix.as_ref().map_or_else(|| name.clone(), |suffix| format!("{name}.{suffix}"))
    }

    /// The Job's name.
    pub fn workload(&self) -> String {
        self.named(WORKLOAD)
    }

    /// The staging pod's name.
    pub fn fileserver(&self) -> String {
        self.named(FILESERVER)
    }

    /// The name of the pod that runs Redis.
    pub fn redis_leader(&self) -> String {
        self.named(REDIS_LEADER)
    }

    /// The name of Redis's service and Secret.
    pub fn redis(&self) -> String {
        self.named(REDIS)
    }

    /// The claim's name.
    pub fn claim(&self) -> String {
        self.named(CLAIM)
    }

    fn named(&self, name: &str) -> String {
        self.suffix.as_ref().map_or_else(|| name.to_owned(), |suffix| format!("{name}-{suffix}"))
    }

    /// What a later deployer compares the Job with.
    fn notes(&self) -> Option<BTreeMap<String, String>> {
        let notes = |digest: &String| {
            let program = program_digest(&self.image, &self.pod, &self.worker_args);
            [(DATASETS, digest.clone()), (PROGRAM, program), (SHAPE, shape_digest(&self.pod))]
        };
        let digest = self.digest.as_ref()?;
        Some(notes(digest).map(|(name, note)| (name.to_owned(), note)).into())
    }

    pub(crate) fn labels(&self, part: &str) -> BTreeMap<String, String> {
        [(PART_LABEL, part), (DEPLOYMENT_LABEL, &self.deployment)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    /// For a pod that nothing replaces once it is gone.
    fn lasting(&self, name: &str, part: &str) -> ObjectMeta {
        let annotations = Some([(SAFE_TO_EVICT.to_owned(), "false".to_owned())].into());
        ObjectMeta { annotations, ..self.meta(name, part) }
    }

    fn meta(&self, name: &str, part: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(self.named(name)),
            namespace: Some(self.namespace.clone()),
            labels: Some(self.labels(part)),
            ..ObjectMeta::default()
        }
    }
}

fn quantities(size: PodSize) -> BTreeMap<String, Quantity> {
    [("cpu", format!("{}m", size.milli_cpu)), ("memory", format!("{}Mi", size.mib))]
        .map(|(name, value)| (name.to_owned(), Quantity(value)))
        .into()
}

fn resources(requests: PodSize, limits: PodSize) -> ResourceRequirements {
    ResourceRequirements {
        requests: Some(quantities(requests)),
        limits: Some(quantities(limits)),
        ..ResourceRequirements::default()
    }
}

/// For every pod: no root, the runtime's system call filter.
fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..PodSecurityContext::default()
    }
}

/// For every container: no privilege to be had, and nothing to write but what is mounted.
fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
        ..SecurityContext::default()
    }
}

/// The Secret by which the worker's image, and a program's, are pulled.
fn pull_secrets(config: &Config) -> Option<Vec<LocalObjectReference>> {
    config.pod.pull_secret.clone().map(|name| vec![LocalObjectReference { name }])
}

/// The volume of every pod that mounts it. None: it is a bucket.
fn claim_volume(config: &Config) -> Option<Volume> {
    use k8s_openapi::api::core::v1::PersistentVolumeClaimVolumeSource;
    config.nfs()?;
    Some(Volume {
        name: VOLUME.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: config.claim(),
            read_only: None,
        }),
        ..Volume::default()
    })
}

fn claim_mount(config: &Config) -> Option<VolumeMount> {
    config.nfs()?;
    Some(VolumeMount { name: VOLUME.to_owned(), mount_path: MOUNT.to_owned(), ..VolumeMount::default() })
}

#[cfg(test)]
mod tests {
    use serde_json::to_value;

    use super::*;

    /// Two deployments in one namespace, and one that bears the tutorial's names.
    #[test]
    fn objects_of_another_name_refer_to_each_other_by_it() {
        let config = Config { suffix: Some("mine".into()), namespace: "n".into(), ..Config::tutorial() };
        let text = |config: &Config| {
            let pod = to_value(staging::pod(config)).unwrap();
            let job = to_value(job::job(config)).unwrap();
            let nfs = config.nfs().unwrap();
            let volume = to_value(volume::persistent_volume(config, nfs)).unwrap();
            let worker = &job["spec"]["template"]["spec"];
            [
                pod["metadata"]["name"].clone(),
                pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"].clone(),
                to_value(volume::claim(config, nfs)).unwrap()["metadata"]["name"].clone(),
                volume["metadata"]["name"].clone(),
                volume["spec"]["claimRef"]["name"].clone(),
                to_value(redis::service(config)).unwrap()["metadata"]["name"].clone(),
                to_value(redis::pod(config)).unwrap()["metadata"]["name"].clone(),
                job["metadata"]["name"].clone(),
                worker["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]["name"].clone(),
                worker["containers"][0]["args"][4].clone(),
            ]
            .map(|name| name.as_str().unwrap_or_default().to_owned())
        };
        let claim = "fileserver-claim-mine";
        assert_eq!(
            text(&config),
            [
                "fileserver-mine",
                claim,
                claim,
                "fileserver-n.mine",
                claim,
                "redis-mine",
                "redis-leader-mine",
                "workload-mine",
                "redis-mine",
                "redis://redis-mine:6379/0",
            ]
        );
        assert_eq!(text(&Config::tutorial())[3..5], ["fileserver", "fileserver-claim"]);
    }

    #[test]
    fn a_deadline_is_the_jobs() {
        let deadline = |deadline_s| {
            let job = job::job(&Config { deadline_s, ..Config::tutorial() });
            job.spec.and_then(|spec| spec.active_deadline_seconds)
        };
        assert_eq!((deadline(Some(5400)), deadline(None)), (Some(5400), None));
    }
}
