//! The volume and the claim on it.

use k8s_openapi::api::core::v1::{
    NFSVolumeSource, ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec,
    PersistentVolumeSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{CLAIM, Config, FILESERVER};

/// `hard`: calls wait for a server that is away, for `soft` can corrupt in silence. `lookupcache=pos`:
/// a commit that another machine made must not stay unseen. `nolock`: nothing locks; commits are links.
const MOUNT_OPTIONS: [&str; 5] = ["hard", "nfsvers=3", "lookupcache=pos", "nolock", "noatime"];

/// The NFS export as a PersistentVolume. The `claimRef` binds it at once and to no other claim;
/// deleting it deletes nothing on the export.
pub fn persistent_volume(config: &Config) -> PersistentVolume {
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(config.volume_name()),
            labels: Some(config.labels(FILESERVER)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            capacity: Some([("storage".to_owned(), capacity(config))].into()),
            access_modes: Some(vec!["ReadWriteMany".to_owned()]),
            persistent_volume_reclaim_policy: Some("Retain".to_owned()),
            storage_class_name: Some(String::new()),
            mount_options: Some(MOUNT_OPTIONS.map(str::to_owned).to_vec()),
            claim_ref: Some(ObjectReference {
                namespace: Some(config.namespace.clone()),
                name: Some(CLAIM.to_owned()),
                ..ObjectReference::default()
            }),
            nfs: Some(NFSVolumeSource {
                server: config.nfs.server.clone(),
                path: config.nfs.path.clone(),
                read_only: None,
            }),
            ..PersistentVolumeSpec::default()
        }),
        ..PersistentVolume::default()
    }
}

/// `fileserver-claim`.
pub fn claim(config: &Config) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: config.meta(CLAIM, FILESERVER),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteMany".to_owned()]),
            // No class: none may make a disk of its own for this claim.
            storage_class_name: Some(String::new()),
            volume_name: Some(config.volume_name()),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), capacity(config))].into()),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

fn capacity(config: &Config) -> Quantity {
    Quantity(format!("{}Gi", config.nfs.capacity_gib))
}
