//! What is there, as read; nothing in here has an opinion.

use std::collections::{BTreeMap, BTreeSet};

use super::Mode;
use crate::k8s::cluster::Objects;

/// The label that names the tool. Every resource is made with both labels in the request that makes
/// it, so there is no moment at which one of ours lacks them.
pub const MANAGED_BY: (&str, &str) = ("managed-by", "batch-cloud");
/// The label whose value names the deployment.
pub const DEPLOYMENT: &str = "batch-deployment";

/// Labels by key.
pub type Labels = BTreeMap<String, String>;

/// The labels of everything a deployment makes.
pub fn labels(deployment: &str) -> Labels {
    let pairs = [MANAGED_BY, (DEPLOYMENT, deployment)];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Whether something with these labels is the deployment's.
pub fn is_ours(found: &Labels, deployment: &str) -> bool {
    labels(deployment).iter().all(|(key, value)| found.get(key) == Some(value))
}

/// How a cluster or an instance stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Being made.
    Making,
    Ready,
    /// Ready, and Google is at work on it.
    Busy,
    /// Being deleted.
    Going,
    /// In error, with Google's words.
    Broken(String),
    /// A state that this version does not know, or can do nothing about.
    Odd(String),
}

/// A GKE cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSeen {
    pub name: String,
    pub location: String,
    pub labels: Labels,
    pub state: State,
    pub mode: Mode,
    pub network: String,
    /// Host, or host and port.
    pub endpoint: String,
    /// Base64 of PEM.
    pub ca: String,
    /// Its pods have identities of their own at Google (Workload Identity).
    pub has_identities: bool,
    /// Seconds since 1970.
    pub created_s: Option<u64>,
}

/// A Filestore instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilestoreSeen {
    pub name: String,
    pub location: String,
    pub labels: Labels,
    pub state: State,
    pub tier: String,
    pub share: String,
    pub capacity_gib: u64,
    pub network: String,
    pub address: Option<String>,
    pub created_s: Option<u64>,
}

/// A bucket of Cloud Storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketSeen {
    pub name: String,
    /// In lower case, as regions are written elsewhere.
    pub location: String,
    pub labels: Labels,
    pub created_s: Option<u64>,
    /// Of the project that it belongs to; principals are named by it.
    pub project_number: String,
    /// Access is given by the bucket's policy alone.
    pub uniform_access: bool,
    /// Whatever its policy says, the public has none.
    pub public_prevented: bool,
    /// How long what is deleted is kept, and billed.
    pub soft_delete_s: u64,
    /// What is overwritten is kept, and billed.
    pub versioned: bool,
    /// When what was deleted is gone, in Google's words; empty for what is there.
    pub kept_until: String,
    /// Who may read and write its objects by its policy; None: not asked.
    pub users: Option<BTreeSet<String>>,
}

/// An Artifact Registry repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositorySeen {
    pub name: String,
    pub location: String,
    pub labels: Labels,
}

/// A Compute Engine disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSeen {
    pub name: String,
    pub zone: String,
    pub labels: Labels,
    /// Attached to a machine.
    pub in_use: bool,
}

/// What a long operation works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    Apis,
    Cluster,
    Filestore,
    Bucket,
    Repository,
    Disk,
    /// What pods may do with the bucket.
    Access,
    Volume,
    Redis,
    Datasets,
    Job,
}

impl Resource {
    /// As tables show it.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Apis => "APIs",
            Self::Cluster => "cluster",
            Self::Filestore => "Filestore",
            Self::Bucket => "bucket",
            Self::Repository => "image repository",
            Self::Disk => "disk",
            Self::Access => "access",
            Self::Volume => "volume",
            Self::Redis => "Redis",
            Self::Datasets => "datasets",
            Self::Job => "Job",
        }
    }
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    Create,
    Update,
    Delete,
}

impl Verb {
    pub const ALL: [Self; 3] = [Self::Create, Self::Update, Self::Delete];
}

/// A long operation of Google's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationSeen {
    pub resource: Resource,
    pub verb: Verb,
    /// Full, `projects/…/operations/…`.
    pub name: String,
    pub done: bool,
    pub error: Option<String>,
}

impl OperationSeen {
    /// The region or zone that it works in; enabling APIs has none.
    pub fn place(&self) -> Option<&str> {
        let mut parts = self.name.split('/').skip_while(|part| *part != "locations");
        parts.nth(1)
    }
}

/// A quota of the region's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaSeen {
    pub metric: String,
    pub limit: u64,
    pub usage: u64,
}

/// What Compute Engine says about the region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegionSeen {
    /// Could not be asked yet (its API is not enabled).
    Unknown,
    Missing,
    There {
        zones: BTreeSet<String>,
        quotas: Vec<QuotaSeen>,
    },
}

/// Something that could not be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unasked {
    pub resource: Resource,
    /// A zone, a region, or `all locations`.
    pub place: String,
    pub why: String,
}

/// Everything read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Those asked about, and whether they are enabled.
    pub apis: BTreeMap<String, bool>,
    /// Artifact Registry, which a deployment needs only for an image of its own.
    pub artifacts_enabled: bool,
    pub region: RegionSeen,
    /// The Kubernetes that a new cluster would get, where that was asked.
    pub default_version: Option<String>,
    /// All of the project's that carry the deployment's labels or one of its names.
    pub clusters: Vec<ClusterSeen>,
    pub filestores: Vec<FilestoreSeen>,
    pub buckets: Vec<BucketSeen>,
    /// Deleted, and kept and billed for a while.
    pub deleted_buckets: Vec<BucketSeen>,
    pub repositories: Vec<RepositorySeen>,
    pub disks: Vec<DiskSeen>,
    /// For each resource the newest first.
    pub operations: Vec<OperationSeen>,
    /// In the cluster; None if there is none to ask.
    pub objects: Option<Objects>,
    pub unasked: Vec<Unasked>,
    /// Could not be asked for want of a right, and was never asked for by this machine either.
    pub unlisted: Vec<Unasked>,
}

impl Observed {
    /// Nothing asked, nothing there.
    pub fn nothing() -> Self {
        Self {
            apis: BTreeMap::new(),
            artifacts_enabled: false,
            region: RegionSeen::Unknown,
            default_version: None,
            clusters: Vec::new(),
            filestores: Vec::new(),
            buckets: Vec::new(),
            deleted_buckets: Vec::new(),
            repositories: Vec::new(),
            disks: Vec::new(),
            operations: Vec::new(),
            objects: None,
            unasked: Vec::new(),
            unlisted: Vec::new(),
        }
    }

    /// The operation on `resource` that still runs, if any.
    pub fn running(&self, resource: Resource) -> Option<&OperationSeen> {
        self.operations.iter().find(|operation| operation.resource == resource && !operation.done)
    }

    /// Why the newest `verb` on `resource` failed, if it did. An older failure says nothing about what
    /// is there now.
    pub fn failure(&self, resource: Resource, verb: Verb) -> Option<&str> {
        let of_it = |operation: &&OperationSeen| operation.resource == resource && operation.verb == verb;
        self.operations.iter().find(of_it).and_then(|operation| operation.error.as_deref())
    }

    /// Whether it is unknown if `resource` is in `location`, and why.
    pub fn silence(&self, resource: Resource, location: &str) -> Option<&Unasked> {
        let covers = |place: &str| place.starts_with(location) || location.starts_with(place);
        self.unasked.iter().find(|unasked| unasked.resource == resource && covers(&unasked.place))
    }
}
