//! `worker status`: what is true, read from the volume; what is under way, from the queue.

use clap::Args;
use serde::Serialize;

use super::{Failure, QueueArgs, named_or_newest, print};
use crate::contract::{Exit, OUTPUT, RunPaths, is_later};
use crate::manifest::{Manifest, Refusal};
use crate::queue::{Counts, Inbox, WorkQueue};
use crate::reader::ManifestReader;
use crate::record::Record;
use crate::report::{Report, Tally};
use crate::store::any::AnyStore;
use crate::store::{Kind, Store};
use crate::workload::registry;

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    queue: QueueArgs,
    /// The run's name [default: the newest number]
    #[arg(long, env = "WORKER_RUN", value_name = "NAME")]
    run: Option<String>,
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
    /// What a run that is reported came to.
    tally: Option<Tally>,
    /// Pushed paths that are no part of the run.
    refused: Vec<Refusal>,
    queue: Counts,
    pushed: u64,
}

pub(crate) async fn status(args: StatusArgs) -> Result<Exit, Failure> {
    let store = args.queue.store().await?;
    let run = named_or_newest(&store, args.run).await?;
    let paths = RunPaths::new(&run);
    if store.list(paths.root()).await.is_ok_and(|names| names.is_empty()) {
        let failure = Failure::new(Exit::NoDatasets, format!("show run {run}"), "it is not on the volume");
        return Err(failure.hint("`worker run` begins one"));
    }
    let pages = count(&store, &paths.manifest()).await?;
    let queue = args.queue.open(&store, &run).await?;
    let manifest = manifest(&store, &run).await?;
    let committed = match &manifest {
        Some(manifest) => committed(&store, manifest, &paths).await?,
        None => Vec::new(),
    };
    let status = Status {
        pages,
        committed,
        tally: tally(&store, &paths.report()).await,
        refused: manifest.map_or_else(Vec::new, |manifest| manifest.refused),
        reported: store.size(&paths.report()).await.is_ok(),
        void: store.size(&paths.violation()).await.is_ok(),
        queue: queue.counts().await?,
        pushed: queue.pushed_count().await?,
        run,
    };
    if args.json {
        print(&(serde_json::to_string_pretty(&status).unwrap_or_default() + "\n"))?;
        return Ok(Exit::Finished);
    }
    let state = match (status.void, status.reported, status.tally) {
        (true, ..) => "void: two results of one item differ".to_owned(),
        (_, true, Some(tally)) => tally.state(),
        (_, true, None) => "complete".to_owned(),
        _ => "open".to_owned(),
    };
    let mut committed = format!("{} pages of the manifest", status.pages);
    for (stage, count) in &status.committed {
        committed.push_str(&format!(", {count} {stage}"));
    }
    let Counts { pending, claimed } = status.queue;
    let mut text = format!(
        "run {}: {state}\n\
         committed: {committed}\n\
         queue: {pending} pending, {claimed} claimed, {} pushed\n",
        status.run, status.pushed
    );
    if let Some(tally) = status.tally.filter(|tally| tally.rejected > 0) {
        text += &format!("rejected: {}, see {OUTPUT}/report.txt\n", tally.rejected);
    }
    for Refusal { path, reason } in &status.refused {
        text += &format!("refused: {}: {reason}\n", path.escape_debug());
    }
    print(&text)?;
    Ok(Exit::Finished)
}

/// The manifest, as far as its pages are there.
async fn manifest(store: &AnyStore, run: &str) -> Result<Option<Manifest>, Failure> {
    let mut reader = ManifestReader::new(run);
    let unreadable = |why: &dyn std::fmt::Display| Failure::of(Exit::Volume, why);
    while let Some(page) = reader.next_page() {
        match store.get(&page).await {
            Ok(bytes) => reader.take(bytes).map_err(|why| unreadable(&why))?,
            Err(error) if error.kind == Kind::NotFound => break,
            Err(error) => return Err(unreadable(&error)),
        }
    }
    Ok(reader.manifest().cloned())
}

/// What the report says that the run came to, where it is there and intact.
async fn tally(store: &AnyStore, report: &str) -> Option<Tally> {
    let record = Record::decode(store.get(report).await.ok()?).ok()?;
    Some(Report::of(&record).ok()?.tally)
}

/// How many commits each stage of the run's workload has.
async fn committed(
    store: &AnyStore,
    manifest: &Manifest,
    paths: &RunPaths,
) -> Result<Vec<(String, usize)>, Failure> {
    let workload = registry::standard().of(&manifest.spec).map_err(|why| Failure::of(Exit::Version, why))?;
    let pipeline = workload.pipeline();
    let mut committed = Vec::new();
    for stage in pipeline.stages() {
        let folder = pipeline.folder(stage);
        committed.push((folder.to_owned(), count(store, &paths.stage(folder)).await?));
    }
    Ok(committed)
}

/// How many pages or commits lie in a folder and in its folders of later ones; none where it is not made yet.
async fn count(store: &AnyStore, folder: &str) -> Result<usize, Failure> {
    let mut folders = vec![folder.to_owned()];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        let names = store.list(&folder).await.map_err(|error| Failure::of(Exit::Volume, error))?;
        count += names.iter().filter(|name| name.parse::<u32>().is_ok()).count();
        let later = names.iter().filter(|name| is_later(name));
        folders.extend(later.map(|name| format!("{folder}/{name}")));
    }
    Ok(count)
}
