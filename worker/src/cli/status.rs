//! `worker status`: what is true, read from the volume; what is under way, from the queue.

use clap::Args;
use serde::Serialize;

use super::{Failure, QueueArgs};
use crate::contract::{Exit, RunPaths, Stage, is_later};
use crate::queue::{Counts, Queue};
use crate::volume::Volume;
use crate::volume::dir::DirVolume;

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    queue: QueueArgs,
    /// The run's name.
    #[arg(long, env = "WORKER_RUN", value_name = "NAME", default_value = "1")]
    run: String,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Status {
    run: String,
    chapters: usize,
    prepared: usize,
    joined: usize,
    checkpoints: usize,
    evals: usize,
    reported: bool,
    void: bool,
    queue: Counts,
}

pub(crate) async fn status(args: StatusArgs) -> Result<Exit, Failure> {
    let volume = args.queue.volume()?;
    let paths = RunPaths::new(&args.run);
    let chapters = count(&volume, &paths.manifest()).await?;
    let committed = async |stage| {
        let folder = paths.stage(stage);
        let names = names(&volume, &folder).await?;
        let mut all = count(&volume, &folder).await?;
        for name in names.iter().filter(|name| is_later(name)) {
            all += count(&volume, &format!("{folder}/{name}")).await?;
        }
        Ok::<_, Failure>(all)
    };
    let status = Status {
        chapters,
        prepared: committed(Stage::Prepare).await?,
        joined: committed(Stage::Join).await?,
        checkpoints: committed(Stage::Fold).await?,
        evals: committed(Stage::Evaluate).await?,
        reported: volume.meta(&paths.report()).await.is_ok(),
        void: volume.meta(&paths.violation()).await.is_ok(),
        queue: args.queue.open(&args.run).await?.counts().await?,
        run: args.run,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&status).unwrap_or_default());
        return Ok(Exit::Finished);
    }
    let state = match (status.void, status.reported) {
        (true, _) => "void: two results of one item differ",
        (_, true) => "complete",
        _ => "open",
    };
    println!("run {}: {state}", status.run);
    println!(
        "committed: {} pages of the manifest, {} prepared, {} joined, {} checkpoints, {} evaluations",
        status.chapters, status.prepared, status.joined, status.checkpoints, status.evals
    );
    println!(
        "queue: {} pending, {} claimed, {} pushed",
        status.queue.pending, status.queue.claimed, status.queue.pushed
    );
    Ok(Exit::Finished)
}

async fn names(volume: &DirVolume, folder: &str) -> Result<Vec<String>, Failure> {
    volume.list(folder).await.map_err(|error| {
        Failure::new(Exit::NoDatasets, format!("no such run: {error}\nhint: `worker run` begins one"))
    })
}

async fn count(volume: &DirVolume, folder: &str) -> Result<usize, Failure> {
    let names = names(volume, folder).await?;
    Ok(names.iter().filter(|name| name.parse::<u32>().is_ok()).count())
}
