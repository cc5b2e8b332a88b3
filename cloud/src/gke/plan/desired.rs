//! What the user asks for, and what of it can be refused before the first request.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::gke::money::Money;
use crate::gke::reason::{Reason, STORAGE_API};
use crate::gke::{REDIS_RAISED, SUPPORT_RAISED};
use crate::k8s::cluster::{GRACE_SECONDS, PodSize, REDIS, SUPPORT, WORKER, program_digest};
use crate::k8s::pod::PodChoice;

/// The APIs that a deployment with Filestore needs enabled.
pub const APIS: [&str; 3] = ["compute.googleapis.com", "container.googleapis.com", "file.googleapis.com"];

/// The export's name, as in the tutorial.
pub const SHARE: &str = "NFSVol";

/// The kind of cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Google runs the nodes; pods are billed. Regional.
    Autopilot,
    /// Nodes of ours: one for Redis, and a pool of Spot machines, which leave their pods `grace_s` seconds. Zonal.
    Standard { machine_type: String, nodes: u32, grace_s: u32 },
}

/// What a machine that is going leaves to the system's own pods, where there is that much.
const SYSTEM_GRACE_S: u32 = 15;
/// The most that a Spot machine can be asked to leave, to all of its pods.
const GRACE_MAX_S: u32 = 120;

impl Mode {
    /// What machines leave their pods where `asked_s` are asked for: they know two levels alone.
    pub fn leaves(asked_s: u32) -> u32 {
        match asked_s {
            0..=GRACE_SECONDS => GRACE_SECONDS,
            _ => asked_s.max(GRACE_MAX_S - SYSTEM_GRACE_S),
        }
    }

    /// The kubelet's grace for all pods, and that of the system's own at its end. None: as by default.
    pub fn shutdown_grace(&self) -> Option<(u32, u32)> {
        match self {
            Self::Standard { grace_s, .. } if *grace_s > GRACE_SECONDS => {
                Some((GRACE_MAX_S, GRACE_MAX_S.saturating_sub(*grace_s)))
            }
            _ => None,
        }
    }

    /// Whether a cluster of this kind does what `wanted` asks for.
    pub fn serves(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (
                Self::Standard { machine_type, nodes, grace_s },
                Self::Standard { machine_type: wanted_type, nodes: wanted_nodes, grace_s: wanted_grace_s },
            ) => (machine_type, nodes) == (wanted_type, wanted_nodes) && grace_s >= wanted_grace_s,
            _ => self == wanted,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Autopilot => f.write_str("Autopilot"),
            Self::Standard { machine_type, nodes, grace_s } => {
                write!(f, "Standard, {nodes} Spot {machine_type}")?;
                let is_usual = *grace_s <= GRACE_SECONDS;
                if is_usual { Ok(()) } else { write!(f, " that leave pods {grace_s}s") }
            }
        }
    }
}

/// What holds the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Storage {
    /// A Filestore instance, which every pod mounts.
    Filestore,
    /// A bucket of Cloud Storage, which workers speak to.
    Gcs,
}

impl Storage {
    /// The APIs that a deployment with it needs enabled.
    pub fn apis(self) -> [&'static str; 3] {
        match self {
            Self::Filestore => APIS,
            Self::Gcs => [APIS[0], APIS[1], STORAGE_API],
        }
    }

    /// What pods beside the workers request, as it is asked for and as Autopilot may raise it.
    pub fn support(self) -> [PodSize; 2] {
        match self {
            Self::Filestore => [SUPPORT, SUPPORT_RAISED],
            Self::Gcs => [REDIS, REDIS_RAISED],
        }
    }
}

/// A Filestore service tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    BasicHdd,
    BasicSsd,
    Zonal,
    Regional,
    Enterprise,
}

impl Tier {
    pub const ALL: [Self; 5] =
        [Self::BasicHdd, Self::BasicSsd, Self::Zonal, Self::Regional, Self::Enterprise];

    /// As the API and gcloud spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::BasicHdd => "BASIC_HDD",
            Self::BasicSsd => "BASIC_SSD",
            Self::Zonal => "ZONAL",
            Self::Regional => "REGIONAL",
            Self::Enterprise => "ENTERPRISE",
        }
    }

    /// Regional tiers take no zone.
    pub fn is_regional(self) -> bool {
        matches!(self, Self::Regional | Self::Enterprise)
    }

    /// Least and most GiB (<https://cloud.google.com/filestore/docs/service-tiers>).
    pub fn capacity_gib(self) -> (u64, u64) {
        match self {
            Self::BasicHdd => (1024, 65_433),
            Self::BasicSsd => (2560, 65_433),
            Self::Zonal | Self::Regional => (1024, 102_400),
            Self::Enterprise => (1024, 10_240),
        }
    }
}

impl FromStr for Tier {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|tier| tier.name().eq_ignore_ascii_case(text));
        known.ok_or_else(|| format!("no such tier; there are {}", Self::ALL.map(Self::name).join(", ")))
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The batch that is to run in a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    pub image: String,
    /// Arguments for the worker, added to the manifests' own.
    pub worker_args: Vec<String>,
    /// What of the workers' pods was chosen.
    pub pod: PodChoice,
    /// Of all files, see [`crate::k8s::cluster::datasets_digest`].
    pub digest: String,
    pub files: usize,
    pub bytes: u64,
    /// How long the Job may take, in seconds; no result depends on it.
    pub deadline_s: Option<u64>,
    /// The most that it may cost while its Job runs; no result depends on it.
    pub max_run_cost: Option<Money>,
}

impl Work {
    /// One hash for what its workers are, see [`program_digest`].
    pub fn program(&self) -> String {
        program_digest(&self.image, &self.pod, &self.worker_args)
    }
}

/// A deployment as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Names the cluster, and with `-filestore` the Filestore instance.
    pub deployment: String,
    pub project: String,
    pub region: String,
    /// None with a regional tier.
    pub zone: Option<String>,
    pub network: String,
    pub mode: Mode,
    pub storage: Storage,
    /// Of Filestore, as is the capacity.
    pub tier: Tier,
    pub capacity_gib: u64,
    /// The bucket's name; None: made of the project's and the deployment's.
    pub bucket: Option<String>,
    pub workers: u32,
    /// Repository of images to be there, too.
    pub work: Option<Work>,
}

impl Desired {
    /// The tutorial's configuration.
    pub fn tutorial(project: &str) -> Self {
        Self {
            deployment: "batch-aiml".into(),
            project: project.into(),
            region: "us-central1".into(),
            zone: Some("us-central1-b".into()),
            network: "default".into(),
            mode: Mode::Autopilot,
            storage: Storage::Filestore,
            tier: Tier::BasicHdd,
            capacity_gib: 1024,
            bucket: None,
            workers: 1,
            work: None,
        }
    }

    pub fn cluster_name(&self) -> &str {
        &self.deployment
    }

    pub fn filestore_name(&self) -> String {
        format!("{}-filestore", self.deployment)
    }

    /// No two buckets of all projects have the same name. That of a project is in no other's.
    pub fn bucket_name(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let made = || format!("{}-{}", self.project, self.deployment).chars().map(plain).collect();
        self.bucket.clone().unwrap_or_else(made)
    }

    /// What is reckoned to lie in the bucket: the datasets, and a GiB of results.
    pub fn bucket_gib(&self) -> u64 {
        self.work.as_ref().map_or(0, |work| work.bytes.div_ceil(1 << 30)) + 1
    }

    /// The volume in the bucket, as the worker's `--volume` takes it.
    pub fn bucket_url(&self) -> String {
        bucket_url(&self.bucket_name())
    }

    /// A region for Autopilot, a zone for Standard.
    pub fn cluster_location(&self) -> &str {
        match (&self.mode, &self.zone) {
            (Mode::Standard { .. }, Some(zone)) => zone,
            _ => &self.region,
        }
    }

    /// A zone, or the region for a regional tier.
    pub fn filestore_location(&self) -> &str {
        match (&self.zone, self.tier.is_regional()) {
            (Some(zone), false) => zone,
            _ => &self.region,
        }
    }

    /// What a worker requests.
    pub fn worker_size(&self) -> PodSize {
        self.work.as_ref().map_or(WORKER, |work| work.pod.size(WORKER))
    }

    /// GPUs that all workers take together.
    pub fn gpus(&self) -> u64 {
        self.work.as_ref().map_or(0, |work| u64::from(work.pod.gpus) * u64::from(self.workers))
    }

    /// vCPUs that the workers and what supports them need of the region's quota: of Spot machines, and
    /// of all others.
    pub fn vcpus(&self) -> (u64, u64) {
        match &self.mode {
            Mode::Autopilot => {
                let spot = (self.worker_size().milli_cpu * u64::from(self.workers)).div_ceil(1000);
                let [_, support] = self.storage.support();
                (spot, support.milli_cpu.div_ceil(1000))
            }
            Mode::Standard { machine_type, nodes, .. } => {
                let vcpus = machine_type.rsplit('-').next().and_then(|vcpus| vcpus.parse().ok()).unwrap_or(1);
                (vcpus * u64::from(*nodes), vcpus)
            }
        }
    }

    /// Refuses what no project could be given.
    pub fn check(&self) -> Result<()> {
        self.check_names()?;
        self.check_place()?;
        match (self.storage, &self.bucket) {
            (Storage::Filestore, None) => self.check_capacity()?,
            (Storage::Filestore, Some(name)) => {
                let why = "the volume that was asked for is a Filestore instance";
                let hint = "give --storage gcs too, or leave --bucket out";
                return Err(Error::with_hint(format!("take bucket {name} for the volume"), why, hint));
            }
            (Storage::Gcs, _) => check_bucket_name(&self.bucket_name())?,
        }
        if !(1..=1000).contains(&self.workers) {
            return Err(Error::other("choose a number of workers", "1 to 1000 workers can be asked for"));
        }
        match self.mode {
            Mode::Standard { nodes, .. } if !(1..=1000).contains(&nodes) => {
                let why = format!("1 to 1000 can be asked for, not {nodes}");
                let hint = "workers run on these machines alone; --nodes says how many";
                Err(Error::with_hint("choose a number of Spot machines", why, hint))
            }
            _ => Ok(()),
        }
    }

    fn check_capacity(&self) -> Result<()> {
        let (least, most) = self.tier.capacity_gib();
        if (least..=most).contains(&self.capacity_gib) {
            return Ok(());
        }
        let why = format!("{} takes {least} to {most} GiB, not {}", self.tier, self.capacity_gib);
        Err(Error::new("choose a capacity for Filestore", why, Reason::Capacity))
    }

    fn check_names(&self) -> Result<()> {
        check_name(&self.deployment)
    }

    fn check_place(&self) -> Result<()> {
        let doing = "choose a place";
        if !is_region(&self.region) {
            let why = format!("`{}` is not the name of a region", self.region);
            return Err(Error::new(doing, why, Reason::Location));
        }
        match &self.zone {
            _ if self.storage == Storage::Gcs => {}
            Some(zone) if self.tier.is_regional() => {
                let why = format!("{} is a regional tier, and zone {zone} was asked for", self.tier);
                return Err(Error::new(doing, why, Reason::TierPlace));
            }
            None if !self.tier.is_regional() => {
                let why = format!("{} lives in a zone, and none was asked for", self.tier);
                return Err(Error::new(doing, why, Reason::TierPlace));
            }
            _ => {}
        }
        match &self.zone {
            Some(zone) if region_of(zone) != Some(self.region.as_str()) => {
                let why = format!("zone {zone} does not lie in region {}", self.region);
                Err(Error::new(doing, why, Reason::Location))
            }
            None if matches!(self.mode, Mode::Standard { .. }) => {
                Err(Error::new(doing, "a Standard cluster needs a zone", Reason::Location))
            }
            _ => Ok(()),
        }
    }
}

/// Refuses a name that no deployment can have: it is also a label's value, and the end of objects' names.
pub fn check_name(name: &str) -> Result<()> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fits = name.len() <= 30
        && name.bytes().all(letters)
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-');
    if fits {
        return Ok(());
    }
    let why = "a name is 1 to 30 lower-case letters, digits and hyphens, begins with a letter and does not \
               end with a hyphen";
    Err(Error::with_hint(
        format!("name a deployment `{name}`"),
        why,
        "choose another --name, as in `batch-2`",
    ))
}

/// The folder of a deployment's bucket that is its volume.
pub const VOLUME_FOLDER: &str = "volume";

/// The volume in a deployment's bucket, as the worker's `--volume` takes it.
pub fn bucket_url(bucket: &str) -> String {
    format!("gs://{bucket}/{VOLUME_FOLDER}")
}

/// Whether the address of a volume is a bucket's.
pub fn is_bucket(volume: &str) -> bool {
    volume.starts_with("gs://")
}

/// Refuses what Cloud Storage takes for no name (<https://cloud.google.com/storage/docs/buckets#naming>). Names with
/// dots belong to who owns the domain, and are left out.
fn check_bucket_name(name: &str) -> Result<()> {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = (3..=63).contains(&name.len())
        && name.chars().all(|c| alphanumeric(c) || matches!(c, '-' | '_'))
        && name.starts_with(alphanumeric)
        && name.ends_with(alphanumeric);
    if fits {
        return Ok(());
    }
    let why = "a bucket's name is 3 to 63 lower-case letters, digits, hyphens and underscores, and begins and ends with a \
               letter or digit";
    Err(Error::with_hint(format!("name a bucket `{name}`"), why, "choose a name with --bucket"))
}

/// `us-central1`: words and a digit at the end.
fn is_region(text: &str) -> bool {
    let mut words = text.split('-');
    let ends_in_digit = text.ends_with(|last: char| last.is_ascii_digit());
    let plain =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    ends_in_digit && words.clone().count() >= 2 && words.all(plain)
}

/// The region of a zone; None of what is no zone.
fn region_of(zone: &str) -> Option<&str> {
    let (region, letter) = zone.rsplit_once('-')?;
    let is_letter = letter.len() == 1 && letter.bytes().all(|byte| byte.is_ascii_lowercase());
    (is_letter && is_region(region)).then_some(region)
}
