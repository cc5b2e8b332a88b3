//! `worker logs`: what the programs of a run printed.

use std::path::Path;

use clap::Args;

use super::{Failure, VolumeArgs, named_or_newest, print};
use crate::contract::Exit;
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
    let Some(volume) = args.on.volume.folder() else {
        let failure =
            Failure::new(Exit::Usage, format!("read logs in {}", args.on.volume), "a bucket holds none");
        return Err(failure.hint("each worker's own log shows what its programs print"));
    };
    let run = named_or_newest(&args.on.store().await?, args.run).await?;
    let folder = volume.join(logs::folder(&run));
    let item = args.item.as_deref().unwrap_or_default();
    let kept = logs::of_item(&folder, item);
    if kept.is_empty() {
        let of = if item.is_empty() { String::new() } else { format!(" of {item}") };
        let reason = format!(
            "there is no output{of} in {}\nhint: only programs of your own that print something have logs; `worker logs` without an item shows all",
            folder.display()
        );
        return Err(Failure::of(Exit::NoDatasets, reason));
    }
    for path in kept {
        show(&path)?;
    }
    Ok(Exit::Finished)
}

fn show(path: &Path) -> Result<(), Failure> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let read = std::fs::read(path);
    let text = read.map_err(Failure::when(Exit::Volume, format!("read {}", path.display())))?;
    print(&format!("== {name}\n{}", String::from_utf8_lossy(&text)))
}
