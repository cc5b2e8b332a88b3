//! The plan: a pure function from what is asked for and what is there to what has to be done.
//!
//! `deploy` is a reconciliation loop: observe, plan, do the plan's next step, repeat. Resuming after Ctrl-C,
//! repairing what is half destroyed and waiting for what another run began need no code of their own.

pub(crate) mod bucket;
pub(crate) mod desired;
pub(crate) mod observed;
mod teardown;

pub use bucket::{ROLE, identity_pool, own_bucket, target_bucket};
pub use desired::{
    APIS, Desired, Mode, SHARE, Storage, Tier, VOLUME_FOLDER, Work, bucket_url, check_name, is_bucket,
};
pub use observed::{
    BucketSeen, ClusterSeen, DEPLOYMENT, DiskSeen, FilestoreSeen, Labels, MANAGED_BY, Observed,
    OperationSeen, QuotaSeen, RegionSeen, RepositorySeen, Resource, State, Unasked, Verb, is_ours, labels,
};
pub use teardown::{Doomed, Teardown, teardown};

use crate::error::Error;
use crate::gke::cost::{Estimate, Prices, Stop};
use crate::gke::reason::Reason;
use crate::k8s::cluster::{JobSeen, JobState, Nfs};

/// The boot disk that GKE gives a machine: of the kind pd-balanced, which counts as SSD.
const BOOT_DISK_GB: u64 = 100;

/// What is to be done about one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// As asked for, or good enough; why, if that is not plain.
    Keep(Option<String>),
    /// Not there. Carries why an earlier attempt failed.
    Make(Option<String>),
    /// There, and can be changed in place.
    Change(String),
    /// Ours and of no use: delete it, then make it.
    Replace(String),
    /// On its way.
    Wait(String),
    /// Can't be had; nothing is done at all.
    Refuse(Error),
}

/// A row of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub resource: Resource,
    /// Name and place.
    pub name: String,
    pub action: Action,
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    EnableApis(Vec<String>),
    Make(Resource),
    Change(Resource),
    Delete(Resource),
    Wait,
    Apply,
    Stage,
    Start,
    Done,
    Stop(Error),
}

/// What exists, what would be made, changed or refused, and what that costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub items: Vec<Item>,
    pub cost: Estimate,
    /// When the Job is stopped.
    pub stop: Option<Stop>,
}

impl Plan {
    /// The first thing to do: refusals before anything, then Google's resources side by side, then
    /// what lies in the cluster, in order.
    pub fn next(&self) -> Step {
        if let Some(error) = self.refusal() {
            return Step::Stop(error.clone());
        }
        for item in &self.items {
            match (item.resource, &item.action) {
                (Resource::Apis, Action::Wait(_)) => return Step::Wait,
                (Resource::Apis, Action::Make(_)) => {
                    return Step::EnableApis(item.name.split(", ").map(str::to_owned).collect());
                }
                (Resource::Cluster | Resource::Filestore | Resource::Bucket, Action::Make(_)) => {
                    return Step::Make(item.resource);
                }
                (Resource::Cluster | Resource::Filestore | Resource::Bucket, Action::Change(_)) => {
                    return Step::Change(item.resource);
                }
                (Resource::Cluster | Resource::Filestore, Action::Replace(_)) => {
                    return Step::Delete(item.resource);
                }
                _ => {}
            }
        }
        if self.items.iter().any(|item| matches!(item.action, Action::Wait(_))) {
            return Step::Wait;
        }
        let open = |item: &&Item| matches!(item.action, Action::Make(_) | Action::Change(_));
        match self.items.iter().find(open).map(|item| item.resource) {
            Some(Resource::Access) => Step::Make(Resource::Access),
            Some(Resource::Volume | Resource::Redis) => Step::Apply,
            Some(Resource::Datasets) => Step::Stage,
            Some(Resource::Job) => Step::Start,
            _ => Step::Done,
        }
    }

    /// Why nothing at all can be done.
    pub fn refusal(&self) -> Option<&Error> {
        self.items.iter().find_map(|item| match &item.action {
            Action::Refuse(error) => Some(error),
            _ => None,
        })
    }

    /// What Google is at work on, and why that is waited for.
    pub fn waits_for(&self) -> impl Iterator<Item = (String, &str)> {
        self.items.iter().filter_map(|item| match &item.action {
            Action::Wait(why) => Some((format!("{} {}", item.resource.noun(), item.name), why.as_str())),
            _ => None,
        })
    }

    /// What would be deleted on the way, which wants consent of its own.
    pub fn replaced(&self) -> Vec<Resource> {
        let replaced = self.items.iter().filter(|item| matches!(item.action, Action::Replace(_)));
        replaced.map(|item| item.resource).collect()
    }

    /// Whether all is as asked for.
    pub fn is_done(&self) -> bool {
        self.next() == Step::Done
    }
}

/// Compares what is asked for with what is there.
pub fn plan(desired: &Desired, observed: &Observed, prices: &Prices) -> Plan {
    let cluster = Item {
        resource: Resource::Cluster,
        name: format!("{} ({}) in {}", desired.cluster_name(), desired.mode, desired.cluster_location()),
        action: cluster_action(desired, observed),
    };
    let storage = storage_item(desired, observed);
    let mut items = vec![apis_item(observed)];
    items.extend(match desired.storage {
        // Its making takes longer, so it begins first.
        Storage::Filestore => [cluster, storage],
        // A bucket is there at once. Whether its name is free is known before anything else is paid for.
        Storage::Gcs => [storage, cluster],
    });
    let cost = prices.estimate(&billed(desired, observed));
    let stop = desired.work.as_ref().map_or(Ok(None), |work| Stop::of(work, &cost));
    items.extend(object_items(desired, observed, stop.as_ref()));
    Plan { items, cost, stop: stop.ok().flatten() }
}

/// What is paid for: a larger instance than was asked for stays as large as it is.
fn billed(desired: &Desired, observed: &Observed) -> Desired {
    let ours = target_filestore(desired, observed).filter(|seen| is_ours(&seen.labels, &desired.deployment));
    let there_gib = ours.map_or(0, |seen| seen.capacity_gib);
    Desired { capacity_gib: desired.capacity_gib.max(there_gib), ..desired.clone() }
}

/// The deployment's cluster where it is asked for, ours or not.
pub fn target_cluster<'a>(desired: &Desired, observed: &'a Observed) -> Option<&'a ClusterSeen> {
    let at = |seen: &&ClusterSeen| {
        seen.name == desired.cluster_name() && seen.location == desired.cluster_location()
    };
    observed.clusters.iter().find(at)
}

/// The deployment's instance where it is asked for, ours or not.
pub fn target_filestore<'a>(desired: &Desired, observed: &'a Observed) -> Option<&'a FilestoreSeen> {
    let at = |seen: &&FilestoreSeen| {
        seen.name == desired.filestore_name() && seen.location == desired.filestore_location()
    };
    observed.filestores.iter().find(at)
}

/// The export of an instance that is ready.
pub fn export(filestore: &FilestoreSeen) -> Option<Nfs> {
    let ready = matches!(filestore.state, State::Ready | State::Busy);
    let server = filestore.address.clone().filter(|_| ready)?;
    Some(Nfs { server, path: format!("/{}", filestore.share), capacity_gib: filestore.capacity_gib })
}

fn apis_item(observed: &Observed) -> Item {
    let missing: Vec<_> =
        observed.apis.iter().filter(|(_, enabled)| !**enabled).map(|(api, _)| api.as_str()).collect();
    let (name, action) = match (missing.is_empty(), observed.running(Resource::Apis)) {
        (true, _) => (format!("{} enabled", observed.apis.len()), Action::Keep(None)),
        (false, Some(_)) => (missing.join(", "), Action::Wait("being enabled".into())),
        (false, None) => (missing.join(", "), Action::Make(None)),
    };
    Item { resource: Resource::Apis, name, action }
}

fn refuse(resource: Resource, why: String, reason: Reason) -> Action {
    Action::Refuse(Error::new(format!("plan the {}", resource.noun()), why, reason))
}

/// What clusters and instances have in common.
trait Placed: PartialEq {
    const RESOURCE: Resource;
    const NOUN: &str;
    /// Name, location, labels.
    fn placed(&self) -> (&str, &str, &Labels);
}

impl Placed for ClusterSeen {
    const RESOURCE: Resource = Resource::Cluster;
    const NOUN: &str = "cluster";

    fn placed(&self) -> (&str, &str, &Labels) {
        (&self.name, &self.location, &self.labels)
    }
}

impl Placed for FilestoreSeen {
    const RESOURCE: Resource = Resource::Filestore;
    const NOUN: &str = "Filestore instance";

    fn placed(&self) -> (&str, &str, &Labels) {
        (&self.name, &self.location, &self.labels)
    }
}

/// The deployment's own where it is asked for, of `all` that were seen; else what follows from its not being
/// there.
fn own<'a, T: Placed>(
    all: &'a [T],
    target: Option<&'a T>,
    location: &str,
    desired: &Desired,
    observed: &Observed,
) -> std::result::Result<&'a T, Action> {
    let ours = |seen: &T| is_ours(seen.placed().2, &desired.deployment);
    if let Some(other) = all.iter().find(|seen| ours(seen) && target != Some(seen)) {
        let (name, location, _) = other.placed();
        let why = format!("this deployment's {} {name} is in {location}", T::NOUN);
        return Err(refuse(T::RESOURCE, why, Reason::Elsewhere));
    }
    match target {
        Some(seen) if ours(seen) => Ok(seen),
        Some(seen) => {
            let (name, location, _) = seen.placed();
            let why = format!("a {} {name} that is not this deployment's is in {location}", T::NOUN);
            Err(refuse(T::RESOURCE, why, Reason::NameTaken))
        }
        None => Err(match observed.running(T::RESOURCE) {
            Some(operation) => Action::Wait(format!("operation {} is running", operation.name)),
            None => silence(T::RESOURCE, location, observed).unwrap_or_else(|| making(T::RESOURCE, observed)),
        }),
    }
}

fn cluster_action(desired: &Desired, observed: &Observed) -> Action {
    let resource = Resource::Cluster;
    let target = target_cluster(desired, observed);
    let seen = match own(&observed.clusters, target, desired.cluster_location(), desired, observed) {
        Ok(seen) => seen,
        Err(make @ Action::Make(_)) => {
            let refusal = grace_refusal(desired, observed).or_else(|| region_refusal(desired, observed));
            return refusal.unwrap_or(make);
        }
        Err(action) => return action,
    };
    match &seen.state {
        State::Going => Action::Wait("an earlier one is being deleted".into()),
        // The operation says how it ended, and is read before its effect.
        State::Broken(_) if observed.running(resource).is_some() => Action::Wait("being made".into()),
        State::Broken(why) => Action::Replace(why.clone()),
        State::Odd(state) => refuse(resource, format!("it is in the state {state}"), Reason::Differs),
        _ if !seen.mode.serves(&desired.mode) => {
            let why = format!("{} is {}, {} was asked for", seen.name, seen.mode, desired.mode);
            refuse(resource, why, Reason::Differs)
        }
        _ if seen.network != desired.network => {
            refuse(resource, networks(&seen.network, desired), Reason::Differs)
        }
        _ if desired.storage == Storage::Gcs && !seen.has_identities => {
            let why = format!(
                "the pods of {} have no identities (Workload Identity), which a bucket takes",
                seen.name
            );
            refuse(resource, why, Reason::Differs)
        }
        State::Making => Action::Wait("being made".into()),
        State::Ready => Action::Keep(None),
        State::Busy => Action::Keep(Some("Google is at work on it".into())),
    }
}

fn making(resource: Resource, observed: &Observed) -> Action {
    Action::Make(observed.failure(resource, Verb::Create).map(str::to_owned))
}

/// Nothing is made where it is unknown what is there.
fn silence(resource: Resource, location: &str, observed: &Observed) -> Option<Action> {
    let unasked = observed.silence(resource, location)?;
    let why = format!("what is in {} can't be known: {}", unasked.place, unasked.why);
    Some(refuse(resource, why, Reason::Transient))
}

fn networks(found: &str, desired: &Desired) -> String {
    format!("it is in network {found}, {} was asked for", desired.network)
}

fn storage_item(desired: &Desired, observed: &Observed) -> Item {
    let item = match desired.storage {
        Storage::Filestore => filestore_item(desired, observed),
        Storage::Gcs => bucket::item(desired, observed),
    };
    Item { action: bucket::other_storage(desired, observed).unwrap_or(item.action), ..item }
}

fn filestore_item(desired: &Desired, observed: &Observed) -> Item {
    let (name, location) = (desired.filestore_name(), desired.filestore_location());
    let name = format!("{name} ({}, {} GiB) in {location}", desired.tier, desired.capacity_gib);
    Item { resource: Resource::Filestore, name, action: filestore_action(desired, observed) }
}

fn filestore_action(desired: &Desired, observed: &Observed) -> Action {
    let resource = Resource::Filestore;
    let target = target_filestore(desired, observed);
    let seen = match own(&observed.filestores, target, desired.filestore_location(), desired, observed) {
        Ok(seen) => seen,
        Err(action) => return action,
    };
    match &seen.state {
        State::Going => Action::Wait("an earlier one is being deleted".into()),
        State::Broken(_) if observed.running(resource).is_some() => Action::Wait("being made".into()),
        // An instance whose own making failed never held a file; any other may.
        State::Broken(_) => match observed.failure(resource, Verb::Create) {
            Some(why) => Action::Replace(format!("making it failed: {why}")),
            None => refuse(resource, broken_words(&seen.state), Reason::MayHoldData),
        },
        State::Odd(_) => refuse(resource, broken_words(&seen.state), Reason::MayHoldData),
        _ => filestore_difference(desired, seen).unwrap_or_else(|| match seen.state {
            State::Making => Action::Wait("being made".into()),
            State::Busy => Action::Wait("Google is at work on it".into()),
            _ if seen.capacity_gib > desired.capacity_gib => {
                Action::Keep(Some(format!("has {} GiB; it can only grow", seen.capacity_gib)))
            }
            _ => Action::Keep(None),
        }),
    }
}

fn broken_words(state: &State) -> String {
    match state {
        State::Broken(why) if why.is_empty() => {
            "the instance is in error, and Google says no more".to_owned()
        }
        State::Broken(why) => format!("the instance is in error: {why}"),
        State::Odd(state) => format!("the instance is in the state {state}"),
        _ => String::new(),
    }
}

/// What can't stay as it is. None: nothing.
fn filestore_difference(desired: &Desired, seen: &FilestoreSeen) -> Option<Action> {
    let differs = |why: String| Some(refuse(Resource::Filestore, why, Reason::Differs));
    if seen.tier != desired.tier.name() {
        return differs(format!("its tier is {}, {} was asked for", seen.tier, desired.tier));
    }
    if seen.share != SHARE {
        return differs(format!("its share is named {}, {SHARE} was asked for", seen.share));
    }
    if seen.network != desired.network {
        return differs(networks(&seen.network, desired));
    }
    let grows = seen.capacity_gib < desired.capacity_gib && seen.state == State::Ready;
    grows.then(|| Action::Change(format!("{} to {} GiB", seen.capacity_gib, desired.capacity_gib)))
}

/// The first Kubernetes of GKE's whose Spot machines can be asked to leave pods more than usual.
const GRACE_SINCE: (u32, u32) = (1, 35);

/// Why a cluster that is made now would not leave its pods what is asked for.
fn grace_refusal(desired: &Desired, observed: &Observed) -> Option<Action> {
    desired.mode.shutdown_grace()?;
    let version = observed.default_version.as_deref()?;
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    let version_read = numbers.next().flatten().zip(numbers.next().flatten());
    if version_read.is_none_or(|version| version >= GRACE_SINCE) {
        return None;
    }
    let (major, minor) = GRACE_SINCE;
    let why = format!(
        "GKE makes clusters of Kubernetes {version} in {}, whose Spot machines leave pods 15s; more than that takes \
         {major}.{minor}",
        desired.cluster_location()
    );
    Some(refuse(Resource::Cluster, why, Reason::Grace))
}

/// Why a cluster can't be made in that region.
fn region_refusal(desired: &Desired, observed: &Observed) -> Option<Action> {
    let refuse = |why: String, kind| Some(refuse(Resource::Cluster, why, kind));
    let RegionSeen::There { zones, quotas } = &observed.region else {
        let missing = observed.region == RegionSeen::Missing;
        let why = format!("the project knows no region {}", desired.region);
        return missing.then(|| refuse(why, Reason::Location)).flatten();
    };
    if let Some(zone) = desired.zone.as_ref().filter(|zone| !zones.contains(*zone)) {
        return refuse(format!("region {} has no zone {zone}", desired.region), Reason::Location);
    }
    let quota = |metric: &str| quotas.iter().find(|quota| quota.metric == metric);
    // Without a quota of its own, Spot draws on the one for all machines.
    let spot_quota = quota("PREEMPTIBLE_CPUS").filter(|quota| quota.limit > 0);
    let (spot, other) = desired.vcpus();
    let mut needs = match spot_quota {
        Some(preemptible) => vec![(Some(preemptible), spot), (quota("CPUS"), other)],
        None => vec![(quota("CPUS"), spot + other)],
    };
    if let Mode::Standard { nodes, .. } = &desired.mode {
        // Each machine has a boot disk and, as GKE makes them, an address of its own.
        let machines = u64::from(*nodes) + 1;
        needs.push((quota("SSD_TOTAL_GB"), machines * BOOT_DISK_GB));
        needs.push((quota("IN_USE_ADDRESSES"), machines));
    }
    needs.into_iter().find_map(|(quota, needed)| {
        let quota = quota?;
        let free = quota.limit.saturating_sub(quota.usage);
        let why = format!(
            "region {} has {free} of {} {} left, {needed} are needed",
            desired.region, quota.limit, quota.metric
        );
        (needed > free).then(|| refuse(why, Reason::Quota)).flatten()
    })
}

fn object_items(desired: &Desired, observed: &Observed, stop: Result<&Option<Stop>, &Error>) -> Vec<Item> {
    let objects = observed.objects.clone().unwrap_or_default();
    let address = match desired.storage {
        Storage::Filestore => target_filestore(desired, observed).and_then(export).map(|nfs| nfs.address()),
        Storage::Gcs => Some(desired.bucket_url()),
    };
    let volume = match (&objects.volume, &address) {
        (None, _) => Action::Make(None),
        (Some(points_at), Some(address)) if points_at == address => Action::Keep(None),
        (Some(points_at), _) => Action::Change(format!("points at {points_at}")),
    };
    let settled = volume == Action::Keep(None);
    let redis = if objects.redis_ready { Action::Keep(None) } else { Action::Make(None) };
    let item = |resource, name: String, action| Item { resource, name, action };
    let at = address.unwrap_or("Filestore's address".into());
    let mut items = match desired.storage {
        Storage::Filestore => vec![item(Resource::Volume, format!("fileserver at {at}"), volume)],
        Storage::Gcs => vec![bucket::access_item(desired, observed), item(Resource::Volume, at, volume)],
    };
    items.push(item(Resource::Redis, "redis-leader".into(), redis));
    if let Some(work) = &desired.work {
        let staged = settled && objects.staged.as_deref() == Some(work.digest.as_str());
        let datasets = if staged { Action::Keep(None) } else { Action::Make(None) };
        items.push(item(Resource::Datasets, format!("{} files, {} bytes", work.files, work.bytes), datasets));
        let image = work.pod.program_image.as_ref().unwrap_or(&work.image);
        let name = format!("workload, {} workers, {image}", desired.workers);
        let job = match stop {
            Ok(stop) => job_action(objects.job.as_ref(), work, desired.workers, *stop),
            Err(error) => Action::Refuse(error.clone()),
        };
        items.push(item(Resource::Job, name, job));
    }
    items
}

fn job_action(found: Option<&JobSeen>, work: &Work, workers: u32, stop: Option<Stop>) -> Action {
    let Some(seen) = found else { return Action::Make(None) };
    let conflict = seen.conflict(&work.digest, &work.program(), &work.pod);
    if let Some(how) = conflict.filter(|_| seen.state == JobState::Running) {
        return refuse(Resource::Job, format!("a Job is running {how}"), Reason::Differs);
    }
    match (&seen.state, seen.difference(&work.digest, &work.program())) {
        (JobState::Running, _) if seen.workers != workers => {
            Action::Change(format!("{} to {workers} workers", seen.workers))
        }
        (JobState::Running, _) => match stop.filter(|stop| seen.deadline_s != Some(stop.after_s)) {
            Some(stop) => Action::Change(format!("to stop after {stop}")),
            None => Action::Keep(Some("running".into())),
        },
        // However many workers there were, the results are the same.
        (JobState::Succeeded, None) => Action::Keep(Some("done".into())),
        (JobState::Succeeded, Some(how)) => Action::Make(Some(format!("the last one ran {how}"))),
        (JobState::Failed(why), _) => Action::Make(Some(why.clone())),
    }
}

#[cfg(test)]
mod tests;
