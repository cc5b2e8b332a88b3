//! `worker status`: what is true, read from the volume; what is under way, from the queue.

use clap::Args;
use serde::Serialize;

use super::{Failure, QueueArgs, print};
use crate::contract::{Exit, RunPaths, is_later};
use crate::queue::{Counts, Inbox, WorkQueue};
use crate::reader::ManifestReader;
use crate::volume::dir::DirVolume;
use crate::volume::{Kind, Volume};
use crate::workload::registry::Registry;

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
    /// Pages of the manifest.
    pages: usize,
    /// Commits of each stage, by its folder.
    committed: Vec<(String, usize)>,
    reported: bool,
    void: bool,
    queue: Counts,
    pushed: u64,
}

pub(crate) async fn status(args: StatusArgs) -> Result<Exit, Failure> {
    let volume = args.queue.volume()?;
    let paths = RunPaths::new(&args.run);
    if volume.meta(paths.root()).await.is_err() {
        let reason = format!("there is no run {}\nhint: `worker run` begins one", args.run);
        return Err(Failure::new(Exit::NoDatasets, reason));
    }
    let pages = count(&volume, &paths.manifest()).await?;
    let queue = args.queue.open(&args.run).await?;
    let status = Status {
        pages,
        committed: committed(&volume, &args.run, &paths).await?,
        reported: volume.meta(&paths.report()).await.is_ok(),
        void: volume.meta(&paths.violation()).await.is_ok(),
        queue: queue.counts().await?,
        pushed: queue.pushed_count().await?,
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
    let mut committed = format!("{} pages of the manifest", status.pages);
    for (stage, count) in &status.committed {
        committed.push_str(&format!(", {count} {stage}"));
    }
    let Counts { pending, claimed } = status.queue;
    let text = format!(
        "run {}: {state}\n\
         committed: {committed}\n\
         queue: {pending} pending, {claimed} claimed, {} pushed\n",
        status.run, status.pushed
    );
    print(&text)?;
    Ok(Exit::Finished)
}

/// How many commits each stage of the run's workload has.
async fn committed(volume: &DirVolume, run: &str, paths: &RunPaths) -> Result<Vec<(String, usize)>, Failure> {
    let mut reader = ManifestReader::new(run);
    let unreadable = |why: &dyn std::fmt::Display| Failure::new(Exit::Volume, why);
    while let Some(page) = reader.next_page() {
        match volume.read(&page).await {
            Ok(bytes) => reader.take(bytes).map_err(|why| unreadable(&why))?,
            Err(error) if error.kind == Kind::NotFound => break,
            Err(error) => return Err(unreadable(&error)),
        }
    }
    let Some(manifest) = reader.manifest() else { return Ok(Vec::new()) };
    let workload = Registry::standard().of(&manifest.spec).map_err(|why| Failure::new(Exit::Version, why))?;
    let pipeline = workload.pipeline();
    let mut committed = Vec::new();
    for stage in pipeline.stages() {
        let folder = pipeline.folder(stage);
        committed.push((folder.to_owned(), count(volume, &paths.stage(folder)).await?));
    }
    Ok(committed)
}

/// How many pages or commits lie in a folder and in its folders of later ones; none where it is not made yet.
async fn count(volume: &DirVolume, folder: &str) -> Result<usize, Failure> {
    let mut folders = vec![folder.to_owned()];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        let names = match volume.list(&folder).await {
            Err(error) if error.kind == Kind::NotFound => continue,
            names => names.map_err(|error| Failure::new(Exit::Volume, error))?,
        };
        count += names.iter().filter(|name| name.parse::<u32>().is_ok()).count();
        let later = names.iter().filter(|name| is_later(name));
        folders.extend(later.map(|name| format!("{folder}/{name}")));
    }
    Ok(count)
}
