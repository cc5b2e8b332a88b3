//! `cloud run`: the batch alone, in a cluster that the user already has.

use std::path::PathBuf;

use clap::Args;
use worker::store::bucket::Settings;

use super::batch;
use super::shape::deadline;
use super::storage::{StorageArgs, variable};
use super::terminal::Teller;
use super::workers::{Workers, WorkersArgs};
use crate::clock::SystemClock;
use crate::error::{Error, Kind, Result};
use crate::gke::SPOT;
use crate::gke::plan::check_name;
use crate::gke::state::Memory;
use crate::k8s::bucket::BucketVolume;
use crate::k8s::cluster::{Batch, Cluster, Datasets, JobState, Nfs, Objects, Placement, Volume};
use crate::k8s::live::LiveCluster;
use crate::k8s::objects::volume;
use crate::k8s::with_bucket::WithBucket;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Kubeconfig of the cluster. [default: the usual places]
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Its context. [default: the current one]
    #[arg(long)]
    context: Option<String>,
    /// Remove what an earlier run left in the cluster, and run nothing. The export or the bucket keeps its files.
    #[arg(long, conflicts_with_all = ["nfs", "storage", "image", "datasets", "keep", "command"])]
    down: bool,
    #[command(flatten)]
    what: What,
    /// Where the results go.
    #[arg(long, default_value = "out")]
    out: PathBuf,
    /// Leave the objects in the cluster.
    #[arg(long)]
    keep: bool,
}

/// What is run; clap asks for what is needed unless `--down` is given.
#[derive(Debug, Args)]
struct What {
    /// The NFS export for the volume, SERVER:/PATH.
    #[arg(long, value_parser = nfs, required_unless_present_any = ["down", "storage"])]
    nfs: Option<Nfs>,
    #[command(flatten)]
    storage: StorageArgs,
    /// Mount options; each replaces the default for the same setting: `nfsvers=4.1`.
    /// [default: hard,nfsvers=3,lookupcache=pos,nolock,noatime]
    #[arg(long, value_name = "OPTIONS", value_parser = mount_options)]
    mount_options: Option<String>,
    /// A folder with training/ and testing/; with a program, any folder of files.
    #[arg(long, required_unless_present = "down")]
    datasets: Option<PathBuf>,
    /// Workers at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    workers: u32,
    /// Run on GKE Spot machines.
    #[arg(long)]
    spot: bool,
    /// Stop the Job after this time, such as 90m or 6h [default: never]
    #[arg(long, value_parser = deadline)]
    deadline: Option<u64>,
    #[command(flatten)]
    workers_args: WorkersArgs,
}

fn nfs(text: &str) -> Result<Nfs, String> {
    let parts = text.split_once(":/").filter(|(server, _)| !server.is_empty());
    let (server, path) = parts.ok_or("give SERVER:/PATH, as in 10.0.0.2:/NFSVol")?;
    Ok(Nfs { server: server.to_owned(), path: format!("/{path}"), capacity_gib: 1024 })
}

fn mount_options(text: &str) -> Result<String, String> {
    volume::mount_options(text).map(|_| text.to_owned())
}

/// Stands for the project in the state's path; no project has such a name.
pub(super) const NO_PROJECT: &str = "no_project";

/// Shown after Ctrl-C.
pub(super) const INTERRUPTED: &str = "interrupted: the run continues in the cluster; the same command \
                                      resumes watching it, `cloud run --down` removes it";

pub(super) async fn run(arguments: Arguments, name: &str, memory: Memory) -> Result<()> {
    check_name(name)?;
    ran(arguments, name, memory).await.map_err(|error| error.or_hint(usual))
}

async fn ran(arguments: Arguments, name: &str, mut memory: Memory) -> Result<()> {
    let Arguments { kubeconfig, context, down, what, out, keep } = arguments;
    // Before anything is asked of the cluster.
    let workers = if down { None } else { Some(what.workers()?) };
    let cluster = LiveCluster::by_kubeconfig(kubeconfig.as_deref(), context).await?;
    let mut teller = Teller::default();
    let (Some(volume), Some(folder), Some(workers)) = (what.volume(), &what.datasets, workers) else {
        return remove(&cluster, name, &mut teller).await;
    };
    let url = what.storage.storage.as_ref();
    let bucket = url.map(|url| BucketVolume::open(url, &Settings::of_environment())).transpose()?;
    let with_volume = WithBucket { cluster: cluster.clone(), bucket };
    with_volume.fit().await?;
    let datasets = what.workers_args.datasets(folder).await?;
    let batch = what.batch(name, volume, workers, &datasets);
    refuse_another_run(&with_volume.observe(name).await?, &batch)?;
    if let Err(error) = see_through(&with_volume, &batch, &datasets, &mut teller).await {
        teller.tell(&format!(
            "what was made stays in the cluster: the same command again goes on from it, {} removes it",
            down_command(name)
        ));
        return Err(error);
    }
    batch::fetch(&with_volume, &SystemClock, name, &mut memory, &out).await?;
    if keep { Ok(()) } else { remove(&cluster, name, &mut teller).await }
}

impl What {
    /// What is run, with what reaches the volume.
    fn workers(&self) -> Result<Workers> {
        let mut workers = self.workers_args.workers()?;
        workers.image()?;
        self.storage.give(&mut workers, variable)?;
        Ok(workers)
    }

    fn volume(&self) -> Option<Volume> {
        self.storage.volume().or_else(|| self.nfs.clone().map(Volume::Nfs))
    }

    fn batch(&self, name: &str, volume: Volume, workers: Workers, datasets: &Datasets) -> Batch {
        let options = self.mount_options.as_deref().map(volume::mount_options);
        Batch {
            deployment: name.to_owned(),
            volume,
            mount_options: options.and_then(Result::ok).unwrap_or_default(),
            deadline_s: self.deadline,
            image: workers.image,
            workers: self.workers,
            placement: if self.spot { Placement::Labelled(SPOT) } else { Placement::Anywhere },
            files: datasets.files.clone(),
            worker_args: workers.args,
            pod: workers.pod,
        }
    }
}

/// The objects, the datasets, and the Job to its end.
async fn see_through(
    cluster: &impl Cluster,
    batch: &Batch,
    datasets: &Datasets,
    teller: &mut Teller,
) -> Result<()> {
    teller.tell("making the volume and Redis");
    cluster.apply(batch, &mut |line| teller.tell(line)).await?;
    cluster.stage(batch, datasets, &mut |path| teller.tell(&format!("staged {path}"))).await?;
    teller.tell(&format!("running the Job with {} workers", batch.workers));
    cluster.start(batch).await?;
    let hint = "what the workers said is above; the same command again starts a new Job";
    let more = "a longer --deadline gives it more time";
    batch::follow(cluster, &batch.deployment, hint, more).await
}

async fn remove(cluster: &impl Cluster, name: &str, teller: &mut Teller) -> Result<()> {
    teller.tell("deleting what was made in the cluster; the export or the bucket keeps its files");
    cluster.delete(name, &mut |line| teller.tell(line)).await
}

fn down_command(name: &str) -> String {
    match name {
        "batch-aiml" => "`cloud run --down`".to_owned(),
        name => format!("`cloud run --down --name {name}`"),
    }
}

/// What to do next with the user's own cluster, where the error does not say it.
fn usual(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Credentials => {
            "the cluster refuses what kubeconfig gives it (`kubectl auth whoami`): log in to it again, then run the \
             same command again"
        }
        Kind::Permission => {
            "a run makes a PersistentVolume, or a service account with --storage, and in its namespace a claim, a \
             Secret, a Service, NetworkPolicies, pods and a Job: ask the cluster's administrator (`kubectl auth can-i --list`)"
        }
        Kind::Differs => {
            "wait for it, choose another name with --name, or remove what is there with `cloud run --down` first"
        }
        Kind::NotFound => "run the same command again: it makes what is missing",
        Kind::Transient => {
            "the cluster or the network is in trouble; run the same command again in a while, it goes on from what \
             is there"
        }
        _ => return None,
    })
}

/// A Job that does something else is somebody's work.
fn refuse_another_run(found: &Objects, batch: &Batch) -> Result<()> {
    let Some(job) = &found.job else { return Ok(()) };
    let running = job.state == JobState::Running;
    let difference = job.conflict(&batch.digest(), &batch.program(), &batch.pod).filter(|_| running);
    let Some(how) = difference else { return Ok(()) };
    let hint = "wait for it, or choose another name with --name";
    Err(Error::with_hint("start the Job", format!("one is running {how}"), hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::cluster::{JobSeen, shape_digest};
    use crate::k8s::pod::PodChoice;

    #[test]
    fn hints_name_commands_that_work_without_google() {
        let kinds = [Kind::Credentials, Kind::Permission, Kind::Differs, Kind::NotFound, Kind::Transient];
        for kind in kinds {
            let hint = usual(kind).unwrap();
            let of_google = ["gcloud", "cloud deploy", "cloud destroy", "cloud status", "Google"];
            assert!(!of_google.iter().any(|word| hint.contains(word)), "{kind:?}: {hint}");
        }
    }

    #[test]
    fn a_server_may_have_an_address_with_colons() {
        let read = |text: &str| nfs(text).map(|nfs| (nfs.server, nfs.path));
        let both = |server: &str, path: &str| Ok((server.to_owned(), path.to_owned()));
        assert_eq!(read("10.0.0.2:/NFSVol"), both("10.0.0.2", "/NFSVol"));
        assert_eq!(read("[fd00::2]:/a/b"), both("[fd00::2]", "/a/b"));
        assert!(read("10.0.0.2").is_err() && read(":/a").is_err() && read("10.0.0.2:a").is_err());
    }

    #[test]
    fn a_job_that_does_something_else_is_left_alone() {
        let batch = Batch {
            deployment: "batch-aiml".into(),
            volume: Volume::Nfs(nfs("10.0.0.2:/NFSVol").unwrap()),
            mount_options: Vec::new(),
            deadline_s: None,
            image: Some("worker:1".into()),
            workers: 1,
            placement: Placement::Anywhere,
            files: Vec::new(),
            worker_args: Vec::new(),
            pod: PodChoice::default(),
        };
        let job = JobSeen {
            state: JobState::Running,
            digest: batch.digest(),
            program: batch.program(),
            shape: shape_digest(&batch.pod),
            workers: 3,
            deadline_s: None,
        };
        let refused = |job: JobSeen| {
            let found = Objects { job: Some(job), ..Objects::default() };
            refuse_another_run(&found, &batch).map_err(|error| error.why)
        };
        assert_eq!(refused(job.clone()), Ok(()));
        let other = JobSeen { program: String::new(), ..job };
        assert_eq!(
            refused(other.clone()),
            Err("one is running with another image or other arguments".into())
        );
        assert_eq!(refused(JobSeen { state: JobState::Succeeded, ..other }), Ok(()));
    }
}
