//! `worker events`: what happened in a run, from the event files on the volume.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use clap::Args;

use super::{Failure, VolumeArgs, named_or_newest};
use crate::contract::{Exit, RunPaths};
use crate::store::any::AnyStore;
use crate::store::{Store, StoreError};
use crate::system::{Machine, System};

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    on: VolumeArgs,
    /// The run's name [default: the newest number]
    #[arg(long, env = "WORKER_RUN", value_name = "NAME")]
    run: Option<String>,
    /// Go on with what is still to happen, until standard input ends or SIGTERM.
    #[arg(long)]
    follow: bool,
}

/// Between two looks at the files: no file system on a network tells of changes.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// The same of a bucket, whose workers write their events every few seconds.
const LOOK_AGAIN_IN_BUCKET: Duration = Duration::from_secs(2);
/// Most bytes taken from a file at once; what is left comes with the next look.
const READ_BYTES: u64 = 1 << 20;

/// Prints each event as the line of JSON that its worker wrote; one worker's lines keep their order.
pub(crate) async fn events(args: EventsArgs) -> Result<Exit, Failure> {
    let store = args.on.store().await?;
    let look_again = if store.is_bucket() { LOOK_AGAIN_IN_BUCKET } else { LOOK_AGAIN };
    let machine = Machine::new(args.follow).map_err(Failure::when(Exit::Failed, "listen for signals"))?;
    let run = named_or_newest(&store, args.run).await?;
    let folder = RunPaths::new(&run).events();
    let mut read: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let doing = || format!("read the events of run {run}");
        let news = look(&store, &folder, &mut read).await;
        let news = news.map_err(|error| Failure::new(Exit::Volume, doing(), error))?;
        // Whoever listened has gone: nothing more is to be told.
        if tell(&news).is_err() || (!args.follow && news.is_empty()) {
            return Ok(Exit::Finished);
        }
        if !news.is_empty() {
            continue;
        }
        tokio::select! {
            biased;
            () = machine.stop_requested() => return Ok(Exit::Finished),
            () = machine.sleep(look_again) => {}
        }
    }
}

/// The whole lines that have been added to the files of a folder; where each file is read up to is
/// kept in `read`.
async fn look(
    store: &AnyStore,
    folder: &str,
    read: &mut BTreeMap<String, u64>,
) -> Result<Vec<u8>, StoreError> {
    let names = store.list(folder).await?;
    let mut news = Vec::new();
    for name in names.into_iter().filter(|name| name.ends_with(".jsonl")) {
        let from = read.entry(name.clone()).or_default();
        let added = whole_lines(store, &format!("{folder}/{name}"), *from).await?;
        *from += added.len() as u64;
        news.extend(added);
    }
    Ok(news)
}

/// The whole lines of a file from a place on: those of the bytes that are taken at once, or a longer one.
async fn whole_lines(store: &AnyStore, path: &str, from: u64) -> Result<Vec<u8>, StoreError> {
    let mut length = READ_BYTES;
    loop {
        let mut added = store.get_range(path, from, length).await?;
        let whole = added.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        if whole > 0 || (added.len() as u64) < length {
            added.truncate(whole);
            return Ok(added);
        }
        length *= 2;
    }
}

fn tell(news: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(news)?;
    out.flush()
}
