//! The way down: what of a deployment is still there, and what to do about it next.

use super::{Observed, Resource, State, Unasked, is_ours};

/// Something of the deployment's that has to go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Doomed {
    pub resource: Resource,
    pub name: String,
    pub location: String,
}

/// What is left of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Teardown {
    /// Can be deleted now.
    pub delete: Vec<Doomed>,
    /// Being made or deleted, or held by something that is: look again later.
    pub wait: Vec<Doomed>,
    /// What could not be asked, and why; while there is any, nothing is proved.
    pub unasked: Vec<Unasked>,
    /// Could not be asked and was never asked for: of these, nothing is said.
    pub unlisted: Vec<Unasked>,
    /// Has a name of the deployment's without its labels: shown, and never touched.
    pub foreign: Vec<Doomed>,
    /// Deleted, and kept by a policy until then.
    pub kept: Vec<(Doomed, String)>,
}

impl Teardown {
    /// Nothing is left, and everything could be asked.
    pub fn is_clean(&self) -> bool {
        self.delete.is_empty() && self.wait.is_empty() && self.unasked.is_empty()
    }

    /// Everything that is still there.
    pub fn left(&self) -> Vec<&Doomed> {
        self.delete.iter().chain(&self.wait).collect()
    }
}

/// Sorts what is there by what can be done about it.
pub fn teardown(deployment: &str, observed: &Observed) -> Teardown {
    let (unasked, unlisted) = (observed.unasked.clone(), observed.unlisted.clone());
    let mut down = Teardown { unasked, unlisted, ..Teardown::default() };
    for seen in &observed.clusters {
        let doomed = doomed(Resource::Cluster, &seen.name, &seen.location);
        let busy = is_moving(&seen.state) || observed.running(Resource::Cluster).is_some();
        down.sort_in(doomed, is_ours(&seen.labels, deployment), busy);
    }
    for seen in &observed.filestores {
        let doomed = doomed(Resource::Filestore, &seen.name, &seen.location);
        let busy = is_moving(&seen.state) || observed.running(Resource::Filestore).is_some();
        down.sort_in(doomed, is_ours(&seen.labels, deployment), busy);
    }
    for seen in &observed.repositories {
        let busy = observed.running(Resource::Repository).is_some();
        down.sort_in(
            doomed(Resource::Repository, &seen.name, &seen.location),
            is_ours(&seen.labels, deployment),
            busy,
        );
    }
    // A cluster's disks go with it; what outlives it is ours to delete. One that is still being made is not seen yet.
    let clusters_gone = observed.running(Resource::Cluster).is_none()
        && !down.left().iter().any(|left| left.resource == Resource::Cluster);
    for seen in observed.disks.iter().filter(|seen| is_ours(&seen.labels, deployment)) {
        let busy = seen.in_use || !clusters_gone;
        down.sort_in(doomed(Resource::Disk, &seen.name, &seen.zone), true, busy);
    }
    // Its workers write to it as long as there is one.
    for seen in &observed.buckets {
        let ours = is_ours(&seen.labels, deployment);
        down.sort_in(doomed(Resource::Bucket, &seen.name, &seen.location), ours, !clusters_gone);
    }
    let kept = observed.deleted_buckets.iter();
    down.kept = kept
        .map(|seen| (doomed(Resource::Bucket, &seen.name, &seen.location), seen.kept_until.clone()))
        .collect();
    for operation in observed.operations.iter().filter(|operation| !operation.done) {
        let known = down.left().iter().any(|left| left.resource == operation.resource);
        if !known
            && matches!(operation.resource, Resource::Cluster | Resource::Filestore | Resource::Repository)
        {
            down.wait.push(doomed(operation.resource, &operation.name, "an operation that still runs"));
        }
    }
    down
}

fn doomed(resource: Resource, name: &str, location: &str) -> Doomed {
    Doomed { resource, name: name.to_owned(), location: location.to_owned() }
}

/// Google refuses to delete what is being made.
fn is_moving(state: &State) -> bool {
    matches!(state, State::Making | State::Going)
}

impl Teardown {
    fn sort_in(&mut self, doomed: Doomed, ours: bool, busy: bool) {
        let place = match (ours, busy) {
            (false, _) => &mut self.foreign,
            (true, true) => &mut self.wait,
            (true, false) => &mut self.delete,
        };
        place.push(doomed);
    }
}
