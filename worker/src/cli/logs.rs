//! `worker logs`: what the programs of a run printed.

use clap::Args;

use super::{Failure, VolumeArgs, look, named_or_newest, print};
use crate::contract::Exit;
use crate::store::Store;
use crate::workload::exec::logs;

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    on: VolumeArgs,
    /// The run's name [default: the newest number]
    #[arg(long, env = "WORKER_RUN", value_name = "NAME")]
    run: Option<String>,
    /// An item, as the log and the errors name it: `train/3` [default: all]
    #[arg(value_name = "ITEM")]
    item: Option<String>,
}

pub(crate) async fn logs(args: LogsArgs) -> Result<Exit, Failure> {
    let store = args.on.store().await?;
    let run = named_or_newest(&store, args.run).await?;
    let item = args.item.as_deref();
    let kept = logs::kept(&store, &run, item).await.map_err(look::unreadable)?;
    if kept.is_empty() {
        let of = item.map_or_else(String::new, |item| format!(" of {item}"));
        let reason = format!(
            "there is no output{of} in {}/{}\nhint: only programs of your own that print something have logs; `worker logs` without an item shows all",
            args.on.volume,
            logs::folder(&run)
        );
        return Err(Failure::of(Exit::NoDatasets, reason));
    }
    for path in kept {
        let text = store.get(&path).await.map_err(look::unreadable)?;
        print(&format!("== {}\n{}", title(&path), String::from_utf8_lossy(&text)))?;
    }
    Ok(Exit::Finished)
}

/// The item and the attempt.
fn title(path: &str) -> String {
    let mut parts = path.trim_end_matches(".log").rsplit('/');
    let (attempt, item) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!("{item}.{attempt}")
}
