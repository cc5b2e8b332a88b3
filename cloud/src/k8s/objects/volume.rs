//! The volume and the claim on it.

use k8s_openapi::api::core::v1::{
    NFSVolumeSource, ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec,
    PersistentVolumeSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{CLAIM, Config, FILESERVER};
use crate::k8s::cluster::Nfs;

/// `hard`: calls wait for a server that is away, for `soft` can corrupt in silence. `lookupcache=pos`:
/// a commit that another machine made must not stay unseen. `nolock`: nothing locks; commits are links.
pub const MOUNT_OPTIONS: [&str; 5] = ["hard", "nfsvers=3", "lookupcache=pos", "nolock", "noatime"];

/// Returns the options of the mount, comma-separated as for `mount`: [`MOUNT_OPTIONS`], where a `given` option
/// replaces the default options about the same thing.
///
/// # Errors
/// For `soft`, under which a write can be lost in silence, and for `ro`.
pub fn mount_options(given: &str) -> Result<Vec<String>, String> {
    let given: Vec<_> = given.split(',').map(str::trim).filter(|option| !option.is_empty()).collect();
    if let Some(unfit) = given.iter().find(|option| ["soft", "softerr", "softreval", "ro"].contains(*option))
    {
        return Err(format!(
            "`{unfit}` does not fit: results would be lost; the volume is mounted hard and is written to"
        ));
    }
    let topic = |option: &str| -> String {
        let name = option.split('=').next().unwrap_or(option);
        match name {
            "vers" | "v3" | "v4" | "v4.0" | "v4.1" | "v4.2" | "minorversion" => "nfsvers".to_owned(),
            "atime" | "relatime" => "noatime".to_owned(),
            "lock" => "nolock".to_owned(),
            name => name.to_owned(),
        }
    };
    let version = given.iter().find(|option| topic(option) == "nfsvers");
    let is_four = version.is_some_and(|option| {
        option.trim_start_matches(char::is_alphabetic).trim_start_matches('=').starts_with('4')
    });
    let kept = MOUNT_OPTIONS.into_iter().filter(|option| {
        let replaced = given.iter().any(|other| topic(other) == topic(option));
        // NFSv4 has no locks of its own beside it that could be left out.
        !(replaced || is_four && *option == "nolock")
    });
    Ok(kept.chain(given.iter().copied()).map(str::to_owned).collect())
}

/// The NFS export as a PersistentVolume. The `claimRef` binds it at once and to no other claim;
/// deleting it deletes nothing on the export.
pub fn persistent_volume(config: &Config, nfs: &Nfs) -> PersistentVolume {
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(config.volume_name()),
            labels: Some(config.labels(FILESERVER)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            capacity: Some([("storage".to_owned(), capacity(nfs))].into()),
            access_modes: Some(vec!["ReadWriteMany".to_owned()]),
            persistent_volume_reclaim_policy: Some("Retain".to_owned()),
            storage_class_name: Some(String::new()),
            mount_options: Some(config.mount_options.clone()),
            claim_ref: Some(ObjectReference {
                namespace: Some(config.namespace.clone()),
                name: Some(config.claim()),
                ..ObjectReference::default()
            }),
            nfs: Some(NFSVolumeSource {
                server: nfs.server.clone(),
                path: nfs.path.clone(),
                read_only: None,
            }),
            ..PersistentVolumeSpec::default()
        }),
        ..PersistentVolume::default()
    }
}

/// `fileserver-claim`.
pub fn claim(config: &Config, nfs: &Nfs) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: config.meta(CLAIM, FILESERVER),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteMany".to_owned()]),
            // No class: none may make a disk of its own for this claim.
            storage_class_name: Some(String::new()),
            volume_name: Some(config.volume_name()),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), capacity(nfs))].into()),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

fn capacity(nfs: &Nfs) -> Quantity {
    Quantity(format!("{}Gi", nfs.capacity_gib))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_is_given_replaces_what_speaks_of_the_same() {
        let options = |given: &str| mount_options(given).map(|options| options.join(","));
        let table = [
            ("", Ok("hard,nfsvers=3,lookupcache=pos,nolock,noatime")),
            ("nfsvers=4.1", Ok("hard,lookupcache=pos,noatime,nfsvers=4.1")),
            ("vers=4", Ok("hard,lookupcache=pos,noatime,vers=4")),
            ("v4.2", Ok("hard,lookupcache=pos,noatime,v4.2")),
            ("proto=udp, lookupcache=none", Ok("hard,nfsvers=3,nolock,noatime,proto=udp,lookupcache=none")),
            ("rsize=1048576,relatime", Ok("hard,nfsvers=3,lookupcache=pos,nolock,rsize=1048576,relatime")),
        ];
        for (given, expected) in table {
            assert_eq!(options(given), expected.map(str::to_owned), "{given}");
        }
        assert!(options("nfsvers=4.1,soft").unwrap_err().contains("`soft`"));
        assert!(options("ro").unwrap_err().contains("`ro`"));
    }
}
