//! `worker events`: what happened in a run, from the event files on the volume.

use std::io::Write;
use std::time::Duration;

use clap::Args;

use super::tail::Tail;
use super::{Failure, VolumeArgs, existing_run, named_or_newest};
use crate::contract::Exit;
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

/// Prints each event as the line of JSON that its worker wrote; one worker's lines keep their order.
pub(crate) async fn events(args: EventsArgs) -> Result<Exit, Failure> {
    let store = args.on.store().await?;
    let look_again = if store.is_bucket() { LOOK_AGAIN_IN_BUCKET } else { LOOK_AGAIN };
    let machine = Machine::new(args.follow).map_err(Failure::when(Exit::Failed, "listen for signals"))?;
    // Who follows may have come before the run.
    let run = match args.follow {
        true => named_or_newest(&store, args.run).await?,
        false => existing_run(&store, args.run).await?,
    };
    let mut tail = Tail::default();
    loop {
        let doing = || format!("read the events of run {run}");
        let news = tail.news(&store, &run).await;
        let news = news.map_err(|error| Failure::new(Exit::Volume, doing(), error))?;
        let news: Vec<u8> = news.into_iter().flat_map(|(_, lines)| lines).collect();
        // The reader has gone, so no more events are printed.
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

fn tell(news: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(news)?;
    out.flush()
}
