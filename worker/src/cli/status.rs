//! `worker status`: what is true, read from the volume; what is under way, from the queue.

use clap::Args;
use serde::Serialize;

use super::{Failure, QueueArgs, print};
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
    let status = Status {
        chapters,
        prepared: count(&volume, &paths.stage(Stage::Prepare)).await?,
        joined: count(&volume, &paths.stage(Stage::Join)).await?,
        checkpoints: count(&volume, &paths.stage(Stage::Fold)).await?,
        evals: count(&volume, &paths.stage(Stage::Evaluate)).await?,
        reported: volume.meta(&paths.report()).await.is_ok(),
        void: volume.meta(&paths.violation()).await.is_ok(),
        queue: args.queue.open(&args.run).await?.counts().await?,
        run: args.run,
    };
    if args.json {
        print(&(serde_json::to_string_pretty(&status).unwrap_or_default() + "\n"))?;
        return Ok(Exit::Finished);
    }
    let state = match (status.void, status.reported) {
        (true, _) => "void: two results of one item differ",
        (_, true) => "complete",
        _ => "open",
    };
    let text = format!(
        "run {}: {state}\n\
         committed: {} pages of the manifest, {} prepared, {} joined, {} checkpoints, {} evaluations\n\
         queue: {} pending, {} claimed, {} pushed\n",
        status.run,
        status.chapters,
        status.prepared,
        status.joined,
        status.checkpoints,
        status.evals,
        status.queue.pending,
        status.queue.claimed,
        status.queue.pushed
    );
    print(&text)?;
    Ok(Exit::Finished)
}

/// How many pages or commits lie in a folder and in its folders of later ones.
async fn count(volume: &DirVolume, folder: &str) -> Result<usize, Failure> {
    let mut folders = vec![folder.to_owned()];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        let names = volume.list(&folder).await.map_err(|error| {
            Failure::new(Exit::NoDatasets, format!("no such run: {error}\nhint: `worker run` begins one"))
        })?;
        count += names.iter().filter(|name| name.parse::<u32>().is_ok()).count();
        let later = names.iter().filter(|name| is_later(name));
        folders.extend(later.map(|name| format!("{folder}/{name}")));
    }
    Ok(count)
}
