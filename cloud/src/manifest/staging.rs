//! The pod through which files come to the volume and from it.

use k8s_openapi::api::core::v1::{Capabilities, Container, Pod, PodSpec, SecurityContext};

use super::{
    Config, FILESERVER, MOUNT, USER, claim_mount, claim_volume, container_security, pod_security, resources,
};
use crate::cluster::PodSize;

const SIZE: PodSize = PodSize { milli_cpu: 250, mib: 512 };

/// What a worker writes into; on a fresh export these belong to root, as Filestore makes them.
const FOLDERS: [&str; 5] = ["datasets", "datasets/training", "datasets/testing", "runs", "output"];

/// The pod `fileserver`: the worker's image with nothing running in it, off the Spot machines. Its
/// first container, the only one that is ever root, hands the folders to the workers' user.
pub fn pod(config: &Config) -> Pod {
    Pod {
        metadata: config.lasting(FILESERVER, FILESERVER),
        spec: Some(PodSpec {
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            security_context: Some(pod_security()),
            restart_policy: Some("Always".to_owned()),
            // `sleep` does not listen to SIGTERM, and nothing is lost with it.
            termination_grace_period_seconds: Some(1),
            init_containers: Some(vec![owner(config)]),
            containers: vec![Container {
                name: FILESERVER.to_owned(),
                command: Some(["sleep", "infinity"].map(str::to_owned).to_vec()),
                security_context: Some(container_security()),
                ..base(config)
            }],
            volumes: Some(vec![claim_volume()]),
            ..PodSpec::default()
        }),
        ..Pod::default()
    }
}

fn owner(config: &Config) -> Container {
    let folders: Vec<_> = FOLDERS.iter().map(|folder| format!("{MOUNT}/{folder}")).collect();
    let script = format!("set -e; mkdir -p {0}; chown {USER}:{USER} {MOUNT} {0}", folders.join(" "));
    let closed = container_security();
    Container {
        name: "owner".to_owned(),
        command: Some(vec!["sh".to_owned(), "-c".to_owned(), script]),
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
        ..base(config)
    }
}

fn base(config: &Config) -> Container {
    Container {
        image: Some(config.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        resources: Some(resources(SIZE, SIZE)),
        volume_mounts: Some(vec![claim_mount()]),
        ..Container::default()
    }
}
