//! One project's resources.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use cloud::k8s::cluster::{JobSeen, JobState, Objects, ResultFile};
use serde_json::Value;
use tokio::sync::Notify;

use super::bucket::Bucket;
use super::clock::VirtualClock;
use super::faults::{Fault, Rule, Schedule};

/// How often one must look until an operation is over.
const LOOKS: usize = 2;

/// More requests than anything sane makes of one project.
const REQUESTS_MAX: usize = 20_000;

/// Which API a request went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    Container,
    Filestore,
    Services,
    Compute,
    Artifacts,
    Storage,
    Billing,
}

impl Api {
    pub fn host(self) -> &'static str {
        match self {
            Self::Container => "container.googleapis.com",
            Self::Filestore => "file.googleapis.com",
            Self::Services => "serviceusage.googleapis.com",
            Self::Compute => "compute.googleapis.com",
            Self::Artifacts => "artifactregistry.googleapis.com",
            Self::Storage => "storage.googleapis.com",
            Self::Billing => "cloudbilling.googleapis.com",
        }
    }
}

/// A request as it came in.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub method: String,
    /// With the query, without what only says how to encode the answer.
    pub target: String,
    /// Enums by name; null if there was none.
    pub body: Value,
}

/// How an operation ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Failed(String),
}

/// What an operation does to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Create,
    Update,
    Delete,
    Enable,
}

#[derive(Clone, Debug)]
pub struct Operation {
    pub api: Api,
    pub act: Act,
    /// Location and name; for APIs, their names.
    pub target: (String, String),
    pub looks_left: usize,
    pub outcome: Outcome,
    /// Orders operations.
    pub number: usize,
}

impl Operation {
    pub fn is_done(&self) -> bool {
        self.looks_left == 0
    }
}

/// What a cluster that is being handed out is reached by.
#[derive(Clone, Debug)]
pub struct Handout {
    /// Host and port.
    pub endpoint: String,
    /// Base64 of PEM.
    pub ca: String,
    /// The NFS server that instances have as their address.
    pub nfs: String,
}

/// Resources by location and name.
pub type Resources = BTreeMap<(String, String), Value>;

/// A project's state.
#[derive(Debug)]
pub struct Project {
    pub id: String,
    pub apis: BTreeSet<String>,
    pub clusters: Resources,
    pub filestores: Resources,
    pub repositories: Resources,
    pub buckets: BTreeMap<String, Bucket>,
    /// The billing catalogue, as it is to everybody.
    pub skus: Vec<Value>,
    /// Deleted under a soft delete policy.
    pub deleted_buckets: Vec<Value>,
    /// Names of other projects' buckets.
    pub taken_names: BTreeSet<String>,
    /// By zone and name.
    pub disks: Resources,
    pub machines: Resources,
    pub operations: BTreeMap<String, Operation>,
    pub quotas: Vec<(String, f64, f64)>,
    /// The Kubernetes that new clusters get.
    pub kubernetes: String,
    /// Locations that do not answer lists.
    pub silent: Vec<String>,
    pub recorded: Vec<Recorded>,
    /// The projects that requests said they count against; empty for one that said none.
    pub counted_against: BTreeSet<String>,
    pub schedule: Schedule,
    pub rules: Vec<Rule>,
    /// Outcomes of the next operations; then all succeed.
    pub outcomes: VecDeque<Outcome>,
    /// Leaves a disk behind when a cluster is deleted.
    pub leaves_disk: bool,
    pub looks: usize,
    pub handout: Option<Handout>,
    pub clock: Arc<VirtualClock>,
    pub interrupted: Arc<Notify>,
    /// Told when there are more requests than `REQUESTS_MAX`.
    pub overrun: Arc<Notify>,
    /// What lies in the cluster, while there is one.
    pub objects: Objects,
    pub staged: BTreeMap<String, String>,
    pub results: Vec<ResultFile>,
    /// Calls that read the volume get no reply: its NFS server is gone, and the mount is hard.
    pub volume_hangs: bool,
    /// Sizes of what is being pushed, by number; of what was, by digest; and the images that name it.
    pub uploads: Vec<usize>,
    pub blobs: BTreeMap<String, usize>,
    pub images: Vec<String>,
    pub requests: usize,
    pub jobs_started: usize,
    /// How often what lay in the cluster was deleted, with it or alone.
    pub forgotten: usize,
}

impl Project {
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            apis: BTreeSet::new(),
            clusters: Resources::new(),
            filestores: Resources::new(),
            repositories: Resources::new(),
            buckets: BTreeMap::new(),
            skus: Vec::new(),
            deleted_buckets: Vec::new(),
            taken_names: BTreeSet::new(),
            disks: Resources::new(),
            machines: Resources::new(),
            operations: BTreeMap::new(),
            quotas: vec![("CPUS".into(), 24.0, 0.0), ("PREEMPTIBLE_CPUS".into(), 0.0, 0.0)],
            kubernetes: "1.35.2-gke.1500000".into(),
            silent: Vec::new(),
            recorded: Vec::new(),
            counted_against: BTreeSet::new(),
            schedule: Schedule::new(),
            rules: Vec::new(),
            outcomes: VecDeque::new(),
            leaves_disk: false,
            looks: LOOKS,
            handout: None,
            clock: Arc::new(VirtualClock::default()),
            interrupted: Arc::new(Notify::new()),
            overrun: Arc::new(Notify::new()),
            objects: Objects::default(),
            staged: BTreeMap::new(),
            results: Vec::new(),
            volume_hangs: false,
            uploads: Vec::new(),
            blobs: BTreeMap::new(),
            images: Vec::new(),
            requests: 0,
            jobs_started: 0,
            forgotten: 0,
        }
    }

    /// Takes the fault of this request, counting it.
    pub fn fault(&mut self) -> Option<Fault> {
        let number = self.requests;
        self.requests += 1;
        if self.requests > REQUESTS_MAX {
            self.overrun.notify_one();
        }
        let fault = self.schedule.remove(&number);
        if fault == Some(Fault::FailedOperation) {
            self.outcomes.push_back(Outcome::Failed("the operation was made to fail".into()));
        }
        fault
    }

    /// Begins an operation and names it.
    pub fn begin(&mut self, api: Api, act: Act, location: &str, name: &str) -> String {
        let number = self.operations.len() + 1;
        // Service Usage's are asked for outside of any project's path, so they are unique among all.
        let id = match api {
            Api::Services => format!("operation-{number}.{}", self.id),
            _ => format!("operation-{number}"),
        };
        let outcome = self.outcomes.pop_front().unwrap_or(Outcome::Done);
        let target = (location.to_owned(), name.to_owned());
        let operation = Operation { api, act, target, looks_left: self.looks, outcome, number };
        self.operations.insert(id.clone(), operation);
        id
    }

    /// The operation that runs on something, if any.
    pub fn running(&self, api: Api, location: &str, name: &str) -> Option<&Operation> {
        self.operations.values().find(|operation| {
            let same = operation.target.0 == location && operation.target.1 == name;
            operation.api == api && same && !operation.is_done()
        })
    }

    /// One look at an API: its operations get on.
    pub fn look(&mut self, api: Api) {
        let mut over = Vec::new();
        for operation in self.operations.values_mut().filter(|operation| operation.api == api) {
            if operation.looks_left > 0 {
                operation.looks_left -= 1;
                if operation.looks_left == 0 {
                    over.push(operation.clone());
                }
            }
        }
        for operation in over {
            self.finish(&operation);
        }
    }

    fn finish(&mut self, operation: &Operation) {
        match operation.api {
            Api::Container => self.finish_cluster(operation),
            Api::Filestore => self.finish_filestore(operation),
            Api::Services => {
                if operation.outcome == Outcome::Done {
                    self.apis.extend(operation.target.1.split(',').map(str::to_owned));
                }
            }
            Api::Artifacts => self.finish_repository(operation),
            Api::Compute | Api::Storage | Api::Billing => {}
        }
    }

    /// The cluster is gone, and what was in it.
    pub fn forget_objects(&mut self) {
        self.objects = Objects::default();
        self.forgotten += 1;
    }

    /// The Job runs to its end and leaves results.
    pub fn finish_job(&mut self) {
        if let Some(JobSeen { state, .. }) = &mut self.objects.job {
            *state = JobState::Succeeded;
        }
    }

    /// Everything that carries a deployment's label, by kind and name.
    pub fn labelled(&self, deployment: &str) -> Vec<String> {
        let of = |kind: &str, resources: &Resources, field: &str| {
            let ours = resources.iter().filter(|(_, value)| value[field]["batch-deployment"] == deployment);
            ours.map(|((location, name), _)| format!("{kind} {name} in {location}")).collect::<Vec<_>>()
        };
        let mut all = of("cluster", &self.clusters, "resourceLabels");
        all.extend(of("Filestore", &self.filestores, "labels"));
        let buckets = self
            .buckets
            .iter()
            .filter(|(_, bucket)| bucket.resource["labels"]["batch-deployment"] == deployment);
        all.extend(buckets.map(|(name, bucket)| {
            let location = bucket.resource["location"].as_str().unwrap_or_default().to_lowercase();
            format!("bucket {name} in {location}")
        }));
        all.extend(of("image repository", &self.repositories, "labels"));
        all.extend(of("disk", &self.disks, "labels"));
        all
    }

    /// The requests that change something.
    pub fn writes(&self) -> Vec<&Recorded> {
        self.recorded.iter().filter(|recorded| recorded.method != "GET").collect()
    }
}
