//! The port to Kubernetes: what the deployer asks of a cluster, however that cluster came to be.
//!
//! Deploying, resuming and destroying are decided above this line from what [`Cluster::observe`]
//! reports, so they can be tested with no cluster at all.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::pod::PodChoice;
pub use super::pod::PodSize;
use crate::error::Result;

/// An NFS export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nfs {
    pub server: String,
    /// Absolute, `/NFSVol`.
    pub path: String,
    pub capacity_gib: u64,
}

impl Nfs {
    /// As `mount` takes it.
    pub fn address(&self) -> String {
        format!("{}:{}", self.server, self.path)
    }
}

/// What holds a batch's datasets and results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Volume {
    /// Mounted by every pod.
    Nfs(Nfs),
    /// Spoken to by every worker, at this URL: nothing is mounted, and files come to it and from it by other ways than
    /// the cluster.
    Bucket(String),
}

impl Volume {
    /// What tells it from another.
    pub fn address(&self) -> String {
        match self {
            Self::Nfs(nfs) => nfs.address(),
            Self::Bucket(url) => url.clone(),
        }
    }
}

/// The worker's requests.
pub const WORKER: PodSize = PodSize { milli_cpu: 1000, mib: 2048 };
/// The Job, and the service account that its pods run under where a bucket is the volume.
pub const WORKLOAD: &str = "workload";
/// What a Spot machine leaves to its pods between notice and end, where it is not asked for more.
pub const GRACE_SECONDS: u32 = 15;
/// What Redis and the staging pod request together. Neither runs on machines that may vanish.
pub const SUPPORT: PodSize = PodSize { milli_cpu: 500, mib: 1024 };
/// What Redis requests alone, where no staging pod is needed.
pub const REDIS: PodSize = PodSize { milli_cpu: 250, mib: 512 };

/// On which machines worker pods run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// On those with this label, set to `"true"`. Workers tolerate the taint of the same key.
    Labelled(&'static str),
    /// Wherever the scheduler puts them.
    Anywhere,
}

/// What must be in the cluster for a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The deployment's name; every object carries it as a label.
    pub deployment: String,
    pub volume: Volume,
    /// How an export is mounted; empty for the default.
    pub mount_options: Vec<String>,
    /// How long the Job may take, in seconds; None: as long as it takes.
    pub deadline_s: Option<u64>,
    /// The worker's image; None where nothing is to be run yet.
    pub image: Option<String>,
    /// The Job's parallelism.
    pub workers: u32,
    pub placement: Placement,
    /// The datasets of the run, staged before it starts.
    pub files: Vec<StagedFile>,
    /// Arguments for the worker, added to the manifests' own.
    pub worker_args: Vec<String>,
    /// What of the workers' pods was chosen.
    pub pod: PodChoice,
}

/// Datasets on this machine, to be staged.
#[derive(Clone, Debug)]
pub struct Datasets {
    /// The folder here that is `datasets` on the volume.
    pub from: PathBuf,
    /// All of them lie in that folder itself, whatever folder of the volume they are for.
    pub is_flat: bool,
    pub files: Vec<StagedFile>,
}

/// A file to be staged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StagedFile {
    /// Relative to the volume, `datasets/training/2018-04-01.pkl`.
    pub path: String,
    pub bytes: u64,
    /// Lower-case hex.
    pub sha256: String,
}

impl Batch {
    /// One hash for all of its datasets, see [`datasets_digest`].
    pub fn digest(&self) -> String {
        datasets_digest(&self.files)
    }

    /// One hash for what its workers are, see [`program_digest`].
    pub fn program(&self) -> String {
        program_digest(self.image.as_deref().unwrap_or_default(), &self.pod, &self.worker_args)
    }
}

/// A Job that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSeen {
    pub state: JobState,
    /// The digest of the datasets it was started for, kept as an annotation on it.
    pub digest: String,
    /// That of its workers' images and arguments, kept likewise.
    pub program: String,
    /// What its pods are, by [`shape_digest`], kept likewise.
    pub shape: String,
    /// How many workers it has at once.
    pub workers: u32,
    /// After how many seconds Kubernetes stops it.
    pub deadline_s: Option<u64>,
}

impl JobSeen {
    /// How its results may differ from those of `program` on the datasets of `digest`. None: in nothing,
    /// however many workers it has.
    pub fn difference(&self, digest: &str, program: &str) -> Option<&'static str> {
        if self.digest != digest {
            return Some("on other datasets");
        }
        (self.program != program).then_some("with another image or other arguments")
    }

    /// Why it cannot go on as what is asked for, while it runs.
    pub fn conflict(&self, digest: &str, program: &str, pod: &PodChoice) -> Option<&'static str> {
        let shape = (self.shape != shape_digest(pod)).then_some("with pods of another kind");
        self.difference(digest, program).or(shape)
    }
}

/// How the Job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Some worker may still do something.
    Running,
    /// The run is sealed and its report committed.
    Succeeded,
    /// Kubernetes gave up, and why.
    Failed(String),
}

/// What of a deployment's objects is in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// What the volume is, by [`Volume::address`].
    pub volume: Option<String>,
    /// Redis is ready, and the staging pod where there is to be one.
    pub redis_ready: bool,
    /// The digest ([`datasets_digest`]) of the files staged last, kept as an annotation on the claim.
    pub staged: Option<String>,
    pub job: Option<JobSeen>,
}

impl Objects {
    /// Whether nothing of the deployment is there.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A file of results on the volume.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResultFile {
    /// Relative to the volume, `output/report.txt`.
    pub path: String,
    pub bytes: u64,
    /// What no other content has: its SHA-256 in lower-case hex, or the generation that a bucket gave it.
    pub content: String,
}

/// A Job that was started, for the bill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its uid, which is the run's name.
    pub run: String,
    /// What each worker requests.
    pub size: PodSize,
    pub spot: bool,
}

/// How long a pod ran, for the bill; from the run's events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodUse {
    pub pod: String,
    pub seconds: u64,
    pub size: PodSize,
    pub spot: bool,
}

/// Time limit for listing what is on the volume. It is mounted hard: with its NFS server gone, a read never returns.
pub const VOLUME_LIMIT: Duration = Duration::from_secs(180);

/// Which lines [`Cluster::logs`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// The lines that exist now.
    Now,
    /// These, and all later lines, until the Job ends.
    UntilDone,
}

/// A cluster that a batch runs in.
///
/// Every method is idempotent and may be dropped at any await: called again, it goes on from what is there. Objects without the deployment's label are never touched.
#[expect(async_fn_in_trait, reason = "called from one thread; no bound on the futures is needed")]
pub trait Cluster {
    /// Refuses a cluster whose Kubernetes is older than what the Job needs.
    async fn fit(&self) -> Result<()>;

    /// Reads what is there. Writes nothing.
    async fn observe(&self, deployment: &str) -> Result<Objects>;

    /// Makes the volume and the claim, or the service account for a bucket, Redis with its secret, service and network
    /// policy, and waits until the claim is bound and Redis is ready. A volume that points elsewhere is replaced (its
    /// source can't be changed), which deletes nothing on the export. `tell` gets what Kubernetes says is in the way.
    async fn apply(&self, batch: &Batch, tell: &mut dyn FnMut(&str)) -> Result<()>;

    /// Copies the batch's files from the local datasets to the volume, checks them there, and notes the batch's digest
    /// once all have arrived. A file that the volume has with the same hash is skipped. `tell` gets each path as it
    /// arrives.
    async fn stage(&self, batch: &Batch, datasets: &Datasets, tell: &mut dyn FnMut(&str)) -> Result<()>;

    /// Makes the Job; an earlier one that has ended is replaced. One that runs is left alone but for its
    /// number of workers, and refused if it is not the batch's. The batch's digests go with it.
    async fn start(&self, batch: &Batch) -> Result<()>;

    /// Gives the workers' log lines to `tell`. With [`Follow::UntilDone`] it ends when the Job's end is decided,
    /// across preemptions and pods, and `tell` also gets what is in the way of workers and how they were killed.
    async fn logs(&self, deployment: &str, follow: Follow, tell: &mut dyn FnMut(&str)) -> Result<()>;

    /// Lists the results on the volume (`output/`), sorted by path.
    async fn results(&self, deployment: &str) -> Result<Vec<ResultFile>>;

    /// Copies the given results into `into`, keeping their paths, checked against their hashes.
    async fn fetch(&self, deployment: &str, files: &[ResultFile], into: &Path) -> Result<()>;

    /// The deployment's last run.
    async fn ran(&self, deployment: &str) -> Result<Option<Ran>>;

    /// What each worker pod of the deployment's last run used.
    async fn usage(&self, deployment: &str) -> Result<Vec<PodUse>>;

    /// Deletes the deployment's objects and waits until they are gone. Nothing there is success. `tell` gets
    /// what holds one up.
    async fn delete(&self, deployment: &str, tell: &mut dyn FnMut(&str)) -> Result<()>;
}

/// One hash for a set of files: SHA-256 over `sha256, two spaces, path, newline` in order of path, as
/// `sha256sum` prints them.
pub fn datasets_digest(files: &[StagedFile]) -> String {
    use sha2::{Digest, Sha256};
    let mut sorted: Vec<_> = files.iter().collect();
    sorted.sort();
    let mut hash = Sha256::new();
    for file in sorted {
        hash.update(format!("{}  {}\n", file.sha256, file.path));
    }
    hex::encode(hash.finalize())
}

/// Where the list of a run's datasets lies on the volume. Its name is its content's.
pub fn list_path(digest: &str) -> String {
    format!("datasets/list-{}.txt", digest.get(..16).unwrap_or(digest))
}

/// The datasets of a run, one path a line. The test days, too: a run that is given a list looks for no more.
pub fn list(files: &[StagedFile]) -> String {
    files.iter().map(|file| format!("{}\n", file.path)).collect()
}

/// One hash for what decides the results, apart from the datasets: the images, and the arguments that were added.
pub fn program_digest(image: &str, pod: &PodChoice, args: &[String]) -> String {
    let images = [image, pod.program_image.as_deref().unwrap_or_default()];
    digest_of(images.into_iter().chain(args.iter().map(String::as_str)))
}

/// One hash for what else a pod is. No result depends on it, and a Job that runs cannot be given other pods.
pub fn shape_digest(pod: &PodChoice) -> String {
    let shape = PodChoice { program_image: None, ..pod.clone() };
    digest_of([format!("{shape:?}").as_str()])
}

fn digest_of<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    // Each with its end, which no argument can hold: `a b` is not `a`, `b`.
    texts.into_iter().for_each(|text| hash.update([text.as_bytes(), b"\0"].concat()));
    hex::encode(hash.finalize())
}
