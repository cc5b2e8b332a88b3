//! `cloud logs`

use clap::Args;

use super::{Site, print};
use crate::cluster::{Cluster as _, Connect, Follow};
use crate::error::Result;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Go on until the batch ends.
    #[arg(long, short)]
    follow: bool,
}

pub(super) async fn run<C: Connect>(arguments: Arguments, site: &Site, connect: &C) -> Result<()> {
    let cluster = site.cluster(connect).await?;
    let follow = if arguments.follow { Follow::UntilDone } else { Follow::Now };
    let mut failed = Ok(());
    let mut tell = |line: &str| {
        if failed.is_ok() {
            failed = print(line);
        }
    };
    cluster.logs(&site.name, follow, &mut tell).await?;
    failed
}
