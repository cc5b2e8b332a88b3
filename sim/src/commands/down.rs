//! `sim down`: everything that runs in a cluster of kind's have left on this machine.

use clap::Args;
use cloud::kind::{down, remove_images};
use worker::contract::Exit;
use worker::failure::Failure;

use crate::report::terminal::print;

#[derive(Debug, Args)]
pub struct DownArgs {
    /// The cluster's name.
    #[arg(long, value_name = "NAME", default_value = "batch-aiml")]
    cluster: String,
    /// Leave the images that were built here: the next run starts sooner.
    #[arg(long)]
    keep_images: bool,
}

/// Removes it, and reports what it was.
///
/// # Errors
/// Where Docker or kind cannot, or the cluster is somebody else's.
pub fn main(args: DownArgs) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::when(Exit::Failed, "start the runtime"))?;
    runtime.block_on(async {
        let removed = down(&args.cluster).await?;
        let images = if args.keep_images { 0 } else { remove_images().await? };
        let mut names: Vec<String> =
            removed.containers.into_iter().map(|name| format!("container {name}")).collect();
        names.extend(removed.network.then(|| format!("network {}-network", args.cluster)));
        names.extend((images > 0).then(|| format!("{images} images built here")));
        let text = match names.is_empty() {
            true => format!("nothing of cluster {} is here\n", args.cluster),
            false => format!("removed {}\n", names.join(", ")),
        };
        print(&text)?;
        Ok(0)
    })
}
