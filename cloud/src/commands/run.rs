//! `cloud run`: the batch alone, in a cluster that the user already has.

use std::path::PathBuf;

use clap::Args;

use super::{Teller, batch, datasets};
use crate::clock::SystemClock;
use crate::cluster::{Access, Batch, Cluster as _, Connect, JobState, Nfs, Nodes, Objects};
use crate::error::{Error, Result};
use crate::state::Memory;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Kubeconfig of the cluster. [default: the usual places]
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Its context. [default: the current one]
    #[arg(long)]
    context: Option<String>,
    /// The NFS export for the volume, SERVER:/PATH.
    #[arg(long, value_parser = nfs)]
    nfs: Nfs,
    /// The worker's image, which the cluster's nodes must be able to pull or already have.
    #[arg(long)]
    image: String,
    /// A folder with training/ and testing/.
    #[arg(long)]
    datasets: PathBuf,
    /// Workers at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    workers: u32,
    /// Run on GKE Spot machines.
    #[arg(long)]
    spot: bool,
    /// Where the results go.
    #[arg(long, default_value = "out")]
    out: PathBuf,
    /// Leave the objects in the cluster.
    #[arg(long)]
    keep: bool,
    /// Further arguments for the worker.
    #[arg(last = true)]
    worker_args: Vec<String>,
}

fn nfs(text: &str) -> Result<Nfs, String> {
    let parts = text.split_once(':').filter(|(server, path)| !server.is_empty() && path.starts_with('/'));
    let (server, path) = parts.ok_or("give SERVER:/PATH, as in 10.0.0.2:/NFSVol")?;
    Ok(Nfs { server: server.to_owned(), path: path.to_owned(), capacity_gib: 1024 })
}

/// Stands for a project where what was fetched is noted; no project has such a name.
pub(super) const NO_PROJECT: &str = "no_project";

pub(super) async fn run<C: Connect>(
    arguments: Arguments,
    name: &str,
    mut memory: Memory,
    connect: &C,
) -> Result<()> {
    let datasets = datasets::read(&arguments.datasets).await?;
    let access = Access::Kubeconfig { path: arguments.kubeconfig, context: arguments.context };
    let cluster = connect.connect(&access).await?;
    let batch = Batch {
        deployment: name.to_owned(),
        nfs: arguments.nfs,
        image: Some(arguments.image),
        workers: arguments.workers,
        nodes: if arguments.spot { Nodes::GkeSpot } else { Nodes::Any },
        files: datasets.files,
        worker_args: arguments.worker_args,
    };
    let mut teller = Teller::default();
    let found = cluster.observe(name).await?;
    refuse_another_run(&found, &batch)?;
    teller.tell("making the volume and Redis");
    cluster.apply(&batch).await?;
    cluster.stage(&batch, &datasets.from, &mut |path| teller.tell(&format!("staged {path}"))).await?;
    teller.tell(&format!("running the Job with {} workers", batch.workers));
    cluster.start(&batch).await?;
    batch::follow(&cluster, name).await?;
    batch::fetch(&cluster, &SystemClock, name, &mut memory, &arguments.out).await?;
    if !arguments.keep {
        teller.tell("deleting what was made in the cluster; the export keeps its files");
        cluster.delete(name).await?;
    }
    Ok(())
}

/// A Job that does something else is somebody's work.
fn refuse_another_run(found: &Objects, batch: &Batch) -> Result<()> {
    let Some(job) = &found.job else { return Ok(()) };
    let running = job.state == JobState::Running;
    let difference = job.difference(&batch.digest(), &batch.program()).filter(|_| running);
    let Some(how) = difference else { return Ok(()) };
    let hint = "wait for it, or choose another name with --name";
    Err(Error::with_hint("start the Job", format!("one is running {how}"), hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::JobSeen;

    #[test]
    fn a_job_that_does_something_else_is_left_alone() {
        let batch = Batch {
            deployment: "batch-aiml".into(),
            nfs: nfs("10.0.0.2:/NFSVol").unwrap(),
            image: Some("worker:1".into()),
            workers: 1,
            nodes: Nodes::Any,
            files: Vec::new(),
            worker_args: Vec::new(),
        };
        let job = JobSeen {
            state: JobState::Running,
            digest: batch.digest(),
            program: batch.program(),
            workers: 3,
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
