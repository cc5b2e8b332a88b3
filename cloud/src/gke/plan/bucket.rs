//! The bucket that holds a deployment's volume, and what its pods may do with it.

use super::observed::{BucketSeen, Observed, Resource, is_ours};
use super::{Action, Desired, Item, Labels, Placed, Storage, own, refuse};
use crate::gke::reason::Reason;
use crate::k8s::cluster::WORKLOAD;

/// What a deployment's pods may do with its bucket: read, write, list and delete objects, and upload them in parts.
pub const ROLE: &str = "roles/storage.objectUser";

impl Placed for BucketSeen {
    const RESOURCE: Resource = Resource::Bucket;
    const NOUN: &str = "bucket";

    fn placed(&self) -> (&str, &str, &Labels) {
        (&self.name, &self.location, &self.labels)
    }
}

impl BucketSeen {
    /// What of its settings is not as it was made. They decide who sees what is in it, and what is billed once it is
    /// deleted.
    pub fn differences(&self) -> Vec<&'static str> {
        let settings = [
            (!self.uniform_access, "access is not uniform"),
            (!self.public_prevented, "public access is not prevented"),
            (self.soft_delete_s > 0, "what is deleted is kept for a while, and billed"),
            (self.versioned, "what is overwritten is kept, and billed"),
        ];
        settings.into_iter().filter_map(|(differs, how)| differs.then_some(how)).collect()
    }

    /// Google's name for pods that run under the workers' service account of Kubernetes: no key is needed
    /// (<https://cloud.google.com/kubernetes-engine/docs/concepts/workload-identity#principal-id-examples>). It means
    /// that service account in every cluster of the project.
    pub fn pods(&self, project: &str) -> String {
        format!(
            "principal://iam.googleapis.com/projects/{}/locations/global/workloadIdentityPools/{}/subject/ns/default/sa/\
             {WORKLOAD}",
            self.project_number,
            identity_pool(project)
        )
    }
}

/// Where the identities of a project's pods are.
pub fn identity_pool(project: &str) -> String {
    format!("{project}.svc.id.goog")
}

/// The deployment's bucket, ours or not.
pub fn target_bucket<'a>(desired: &Desired, observed: &'a Observed) -> Option<&'a BucketSeen> {
    observed.buckets.iter().find(|seen| seen.name == desired.bucket_name())
}

/// The deployment's own bucket.
pub fn own_bucket<'a>(deployment: &str, observed: &'a Observed) -> Option<&'a BucketSeen> {
    observed.buckets.iter().find(|seen| is_ours(&seen.labels, deployment))
}

pub(super) fn item(desired: &Desired, observed: &Observed) -> Item {
    let name = format!("{} in {}", desired.bucket_name(), desired.region);
    Item { resource: Resource::Bucket, name, action: action(desired, observed) }
}

fn action(desired: &Desired, observed: &Observed) -> Action {
    let target = target_bucket(desired, observed);
    if let Some(seen) = own_bucket(&desired.deployment, observed).filter(|seen| target != Some(seen)) {
        let why = format!("this deployment's is {}, {} was asked for", seen.name, desired.bucket_name());
        return refuse(Resource::Bucket, why, Reason::Differs);
    }
    let seen = match own(&observed.buckets, target, &desired.region, desired, observed) {
        Ok(seen) => seen,
        Err(action) => return action,
    };
    if seen.location != desired.region {
        let why = format!("this deployment's bucket {} is in {}", seen.name, seen.location);
        return refuse(Resource::Bucket, why, Reason::Elsewhere);
    }
    match seen.differences()[..] {
        [] => Action::Keep(None),
        ref differences => Action::Change(differences.join(", ")),
    }
}

/// Given once the cluster is there: the first one with identities makes their pool.
pub(super) fn access_item(desired: &Desired, observed: &Observed) -> Item {
    let may = target_bucket(desired, observed).is_some_and(|seen| {
        seen.users.as_ref().is_some_and(|users| users.contains(&seen.pods(&desired.project)))
    });
    let name = "the workers' pods to the bucket, by Workload Identity".to_owned();
    Item {
        resource: Resource::Access,
        name,
        action: if may { Action::Keep(None) } else { Action::Make(None) },
    }
}

/// Why what is asked for can't be had beside the volume of another kind that the deployment has.
pub(super) fn other_storage(desired: &Desired, observed: &Observed) -> Option<Action> {
    let (resource, why) = match desired.storage {
        Storage::Filestore => {
            let bucket = own_bucket(&desired.deployment, observed)?;
            (
                Resource::Filestore,
                format!("this deployment's volume is bucket {}: --storage gcs", bucket.name),
            )
        }
        Storage::Gcs => {
            let seen = observed.filestores.iter().find(|seen| is_ours(&seen.labels, &desired.deployment))?;
            (
                Resource::Bucket,
                format!("this deployment's volume is Filestore {}: --storage filestore", seen.name),
            )
        }
    };
    Some(refuse(resource, why, Reason::Differs))
}
