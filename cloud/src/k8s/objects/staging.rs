//! The pod through which files come to the volume and from it.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, Pod, PodSpec, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{
    Config, FILESERVER, MOUNT, USER, claim_mount, claim_volume, container_security, pod_security,
    pull_secrets, resources,
};
use crate::k8s::cluster::PodSize;
use crate::k8s::obstacle::NO_PERMISSION;

const SIZE: PodSize = PodSize { milli_cpu: 250, mib: 512 };

/// What a worker writes into; on a fresh export these belong to root.
const FOLDERS: [&str; 5] = ["datasets", "datasets/training", "datasets/testing", "runs", "output"];

/// Where the init containers leave word for each other.
const STATE: &str = "/state";

/// The pod `fileserver`: the worker's image with nothing running in it, off the Spot machines. Its init
/// containers see to it that the workers' user can write to the volume: `probe` tries, as that user; where it
/// can't, `owner`, the only container that is ever root, hands the folders over. An export that maps root to
/// another user (root_squash) works where the workers' user may write to it.
pub fn pod(config: &Config) -> Pod {
    Pod {
        metadata: config.lasting(FILESERVER, FILESERVER),
        spec: Some(PodSpec {
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            image_pull_secrets: pull_secrets(config),
            security_context: Some(pod_security()),
            restart_policy: Some("Always".to_owned()),
            // `sleep` does not listen to SIGTERM, and nothing is lost with it.
            termination_grace_period_seconds: Some(1),
            init_containers: Some(vec![probe(config), owner(config)]),
            containers: vec![Container {
                name: FILESERVER.to_owned(),
                command: Some(["sleep", "infinity"].map(str::to_owned).to_vec()),
                security_context: Some(container_security()),
                ..base(config)
            }],
            volumes: Some(claim_volume(config).into_iter().chain([state()]).collect()),
            ..PodSpec::default()
        }),
        ..Pod::default()
    }
}

/// Tries to write into every folder. That it can't is no failure yet.
fn probe(config: &Config) -> Container {
    let folders = FOLDERS.join(" ");
    let script = format!(
        "{{ cd {MOUNT} && for folder in . {folders}; do file=$folder/.probe-$HOSTNAME; \
         mkdir -p $folder && touch $file && rm -f $file || exit 0; done && touch {STATE}/writable; }} \
         2> {STATE}/as-user; exit 0"
    );
    Container { security_context: Some(container_security()), ..init(config, "probe", script) }
}

fn owner(config: &Config) -> Container {
    let folders: Vec<_> = FOLDERS.iter().map(|folder| format!("{MOUNT}/{folder}")).collect();
    let script = format!(
        "test ! -e {STATE}/writable || exit 0; \
         {{ mkdir -p {folders} && chown {USER}:{USER} {MOUNT} {folders} && exit 0; }} 2> {STATE}/as-root; \
         echo \"user {USER} can't write to the export, which belongs to $(stat -c '%u:%g with mode %a' {MOUNT}); \
         as {USER}: $(tail -n 1 {STATE}/as-user); as root: $(tail -n 1 {STATE}/as-root)\" >&2; exit {NO_PERMISSION}",
        folders = folders.join(" "),
    );
    let closed = container_security();
    Container {
        security_context: Some(SecurityContext {
            run_as_user: Some(0),
            run_as_group: Some(0),
            run_as_non_root: Some(false),
            capabilities: Some(Capabilities {
                add: Some(["CHOWN", "DAC_OVERRIDE", "FOWNER"].map(str::to_owned).to_vec()),
                drop: Some(vec!["ALL".to_owned()]),
            }),
            ..closed
        }),
        ..init(config, "owner", script)
    }
}

fn init(config: &Config, name: &str, script: String) -> Container {
    let state =
        VolumeMount { name: "state".to_owned(), mount_path: STATE.to_owned(), ..VolumeMount::default() };
    Container {
        name: name.to_owned(),
        command: Some(vec!["sh".to_owned(), "-c".to_owned(), script]),
        volume_mounts: Some(claim_mount(config).into_iter().chain([state]).collect()),
        // What it says last is in the pod's status, where a deployer reads it.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..base(config)
    }
}

fn state() -> Volume {
    Volume {
        name: "state".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity("1Mi".to_owned())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn base(config: &Config) -> Container {
    Container {
        image: Some(config.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        resources: Some(resources(SIZE, SIZE)),
        volume_mounts: Some(claim_mount(config).into_iter().collect()),
        ..Container::default()
    }
}
