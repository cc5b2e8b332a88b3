//! Reads everything a plan needs. Writes nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::Google;
use crate::error::{Error, Kind, Result};
use crate::gke::plan::{
    APIS, BucketSeen, ClusterSeen, FilestoreSeen, Observed, OperationSeen, RegionSeen, RepositorySeen,
    Resource, State, Storage, Unasked, is_ours,
};
use crate::gke::reason::STORAGE_API;
use crate::gke::state::Kept;

const ARTIFACTS: &str = "artifactregistry.googleapis.com";
/// Every place there is.
const ALL: &str = "all locations";

/// How far to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What a deployment needs, with the region's quotas.
    Deployment,
    /// What `cloud image` needs: the region's image repositories.
    Image,
    /// Everything that could still bill: also disks, and image repositories in all locations. A location
    /// that can't be read is noted, so that `cloud destroy` deletes the rest.
    Everything,
}

/// What to ask about.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    pub deployment: &'a str,
    /// The region deployed to; None when it is not known, on the way down.
    pub region: Option<&'a str>,
    pub scope: Scope,
    /// Operations whose names were kept.
    pub kept: &'a [Kept],
    /// The bucket that is asked for: one of that name is shown also if it is somebody else's.
    pub bucket: Option<&'a str>,
    /// Where to ask which Kubernetes a new cluster gets.
    pub version_in: Option<&'a str>,
    /// What holds the volume of what is asked for; None: it is not known.
    pub storage: Option<Storage>,
    /// What the deployment may have made: an API that is not enabled then means that it can't be asked, not that
    /// nothing is there.
    pub made: BTreeSet<Resource>,
}

impl<'a> Query<'a> {
    /// About a deployment of which nothing more is known.
    pub fn of(deployment: &'a str, scope: Scope) -> Self {
        Self {
            deployment,
            region: None,
            scope,
            kept: &[],
            bucket: None,
            version_in: None,
            storage: None,
            made: BTreeSet::new(),
        }
    }
}

impl Google {
    /// Reads what is there.
    pub async fn observe(&self, query: &Query<'_>) -> Result<Observed> {
        let mut observed = Observed::nothing();
        // Before what they work on: one that ends in between must not be seen as over with its effect
        // not yet there, which would be asked for again.
        for kept in query.kept {
            if let Some(operation) = self.operation(kept).await? {
                observed.operations.push(operation);
            }
        }
        let mut enabled = self.apis(&[APIS[0], APIS[1], APIS[2], STORAGE_API, ARTIFACTS]).await?;
        observed.artifacts_enabled = enabled.remove(ARTIFACTS).unwrap_or(false);
        observed.unasked.extend(cannot_be_asked(&enabled, &query.made));
        let asks = |api: &str| query.scope != Scope::Image && enabled.get(api).copied().unwrap_or(false);
        if asks("container.googleapis.com") {
            self.observe_clusters(query, &mut observed).await?;
        }
        if asks("file.googleapis.com") {
            self.observe_filestores(query, &mut observed).await?;
        }
        if asks(STORAGE_API) {
            self.observe_buckets(query, &mut observed).await?;
        }
        if asks("compute.googleapis.com") {
            self.observe_compute(query, &mut observed).await?;
        }
        if observed.artifacts_enabled {
            self.observe_repositories(query, &mut observed).await?;
        }
        self.find_lost_operations(&mut observed).await?;
        let needed = query.storage.unwrap_or(Storage::Filestore).apis();
        enabled.retain(|api, _| needed.contains(&api.as_str()));
        observed.apis = enabled;
        Ok(observed)
    }

    /// An operation whose name was kept; None once Google has forgotten it.
    pub async fn operation(&self, kept: &Kept) -> Result<Option<OperationSeen>> {
        match kept.resource {
            Resource::Cluster => self.cluster_operation(&kept.name).await,
            Resource::Filestore => self.filestore_operation(&kept.name, kept.verb).await,
            Resource::Repository => self.repository_operation(&kept.name, kept.verb).await,
            _ => self.apis_operation(&kept.name).await,
        }
    }

    async fn observe_clusters(&self, query: &Query<'_>, observed: &mut Observed) -> Result<()> {
        let (clusters, silent) = self.clusters().await?;
        observed.unasked.extend(no_answer(Resource::Cluster, silent));
        let related =
            |seen: &ClusterSeen| is_ours(&seen.labels, query.deployment) || seen.name == query.deployment;
        observed.clusters = clusters.into_iter().filter(related).collect();
        if let Some(location) = query.version_in {
            observed.default_version = Some(self.default_version(location).await?);
        }
        Ok(())
    }

    async fn observe_filestores(&self, query: &Query<'_>, observed: &mut Observed) -> Result<()> {
        let (filestores, silent) = self.filestores().await?;
        observed.unasked.extend(no_answer(Resource::Filestore, silent));
        let name = format!("{}-filestore", query.deployment);
        let related = |seen: &FilestoreSeen| is_ours(&seen.labels, query.deployment) || seen.name == name;
        observed.filestores = filestores.into_iter().filter(related).collect();
        Ok(())
    }

    async fn observe_buckets(&self, query: &Query<'_>, observed: &mut Observed) -> Result<()> {
        let buckets = match (query.scope, query.storage) {
            (Scope::Everything, _) => match self.buckets().await {
                // A deployment with Filestore takes no right to list buckets.
                Err(error) if error.kind == Kind::Permission && !query.made.contains(&Resource::Bucket) => {
                    observed.unlisted.push(unasked(Resource::Bucket, ALL, error));
                    Vec::new()
                }
                Ok(buckets) => {
                    let deleted = self.deleted_buckets().await;
                    let deleted = asked(deleted, Resource::Bucket, ALL, &mut observed.unasked)?;
                    let ours = |seen: &BucketSeen| is_ours(&seen.labels, query.deployment);
                    observed.deleted_buckets = deleted.into_iter().flatten().filter(ours).collect();
                    buckets
                }
                buckets => asked(buckets, Resource::Bucket, ALL, &mut observed.unasked)?.unwrap_or_default(),
            },
            (_, Some(Storage::Gcs)) => self.buckets().await?,
            // Where it is not the volume, only to find that it was: without the right to, go on.
            _ => match self.buckets().await {
                Err(error) if error.kind == Kind::Permission => Vec::new(),
                buckets => buckets?,
            },
        };
        for mut seen in buckets {
            let ours = is_ours(&seen.labels, query.deployment);
            if ours && query.storage == Some(Storage::Gcs) {
                seen.users = Some(self.users(&seen.name).await?);
            }
            if ours || query.bucket.is_some_and(|name| name == seen.name) {
                observed.buckets.push(seen);
            }
        }
        Ok(())
    }

    async fn observe_compute(&self, query: &Query<'_>, observed: &mut Observed) -> Result<()> {
        match (query.scope, query.region) {
            (Scope::Deployment, Some(region)) => {
                let no_right = |kind: &Kind| *kind == Kind::Permission;
                observed.region = match self.region(region).await {
                    // Reading quotas only spares a later surprise: without the right to, go on.
                    Err(error) if no_right(&error.kind) => RegionSeen::Unknown,
                    region => region?,
                };
            }
            (Scope::Everything, _) => {
                let disks = self.disks(query.deployment).await;
                let disks = asked(disks, Resource::Disk, ALL, &mut observed.unasked)?;
                let (disks, silent) = disks.unwrap_or_default();
                observed.disks = disks;
                observed.unasked.extend(no_answer(Resource::Disk, silent));
            }
            _ => {}
        }
        Ok(())
    }

    async fn observe_repositories(&self, query: &Query<'_>, observed: &mut Observed) -> Result<()> {
        let of_deployment = |seen: &RepositorySeen| is_ours(&seen.labels, query.deployment);
        match (query.scope, query.region) {
            (Scope::Image, Some(region)) => {
                let found = self.repositories(region).await?;
                observed.repositories.extend(found.into_iter().filter(of_deployment));
            }
            (Scope::Everything, _) => {
                let places = self.repository_locations().await;
                let places = asked(places, Resource::Repository, ALL, &mut observed.unasked)?;
                for place in places.unwrap_or_default() {
                    let found = self.repositories(&place).await;
                    let found = asked(found, Resource::Repository, &place, &mut observed.unasked)?;
                    observed.repositories.extend(found.into_iter().flatten().filter(of_deployment));
                }
            }
            // A deployment needs none, nor the right to list them.
            _ => {}
        }
        Ok(())
    }

    /// For what is on its way or broken and has no kept operation, looks for one. That is how a second
    /// machine, or a first one that died at the wrong moment, learns what is going on.
    ///
    /// Of a broken Filestore instance, what was kept here counts for nothing: another machine may have
    /// replaced it since, and what it holds depends on how its own creation ended.
    async fn find_lost_operations(&self, observed: &mut Observed) -> Result<()> {
        let unsettled = |state: &State| matches!(state, State::Making | State::Going | State::Broken(_));
        let clusters = observed.clusters.iter().filter(|seen| unsettled(&seen.state));
        let clusters: Vec<_> = clusters.map(|seen| (seen.name.clone(), seen.location.clone())).collect();
        if !observed.operations.iter().any(|seen| seen.resource == Resource::Cluster) {
            for (name, location) in clusters {
                observed.operations.extend(self.cluster_operations(&name, &location).await?);
            }
        }
        for seen in observed.filestores.clone().iter().filter(|seen| unsettled(&seen.state)) {
            let of_it = |operation: &OperationSeen| operation.resource == Resource::Filestore;
            if matches!(seen.state, State::Broken(_)) {
                observed.operations.retain(|operation| !of_it(operation));
            }
            if !observed.operations.iter().any(of_it) {
                observed.operations.extend(self.filestore_operations(&seen.name, &seen.location).await?);
            }
        }
        Ok(())
    }
}

/// What was answered; None where that can't be had, which is noted. Without credentials nothing can.
fn asked<T>(
    answer: Result<T>,
    resource: Resource,
    place: &str,
    noted: &mut Vec<Unasked>,
) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.kind == Kind::Credentials => Err(error),
        Err(error) => {
            noted.push(unasked(resource, place, error));
            Ok(None)
        }
    }
}

fn unasked(resource: Resource, place: &str, error: Error) -> Unasked {
    let role = error.hint.filter(|_| error.kind == Kind::Permission);
    let why = [Some(error.why), role].into_iter().flatten().collect::<Vec<_>>().join("; ");
    Unasked { resource, place: place.to_owned(), why }
}

fn no_answer(resource: Resource, places: Vec<String>) -> impl Iterator<Item = Unasked> {
    let why = || "no answer from there".to_owned();
    places.into_iter().map(move |place| Unasked { resource, place, why: why() })
}

/// What only APIs that are not enabled could show.
fn cannot_be_asked(enabled: &BTreeMap<String, bool>, made: &BTreeSet<Resource>) -> Vec<Unasked> {
    let unasked = |api: &str, resource| {
        let why = format!("{api} is not enabled");
        let asked = enabled.get(api).copied().unwrap_or(false);
        // A cluster's machines have disks.
        let maker = if resource == Resource::Disk { Resource::Cluster } else { resource };
        (!asked && made.contains(&maker)).then(|| Unasked { resource, place: ALL.into(), why })
    };
    let by_api = [
        unasked("container.googleapis.com", Resource::Cluster),
        unasked("file.googleapis.com", Resource::Filestore),
        unasked(STORAGE_API, Resource::Bucket),
        unasked("compute.googleapis.com", Resource::Disk),
    ];
    by_api.into_iter().flatten().collect()
}

/// Seconds since 1970 of an RFC 3339 time.
pub(super) fn seconds(time: &str) -> Option<u64> {
    let timestamp: jiff::Timestamp = time.parse().ok()?;
    timestamp.as_second().try_into().ok()
}
