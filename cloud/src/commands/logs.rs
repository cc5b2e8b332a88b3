//! `cloud logs`

use clap::Args;

use super::batch;
use super::site::Site;
use crate::error::Result;
use crate::gke::connect::Connect;
use crate::k8s::cluster::Follow;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Go on until the batch ends.
    #[arg(long, short)]
    follow: bool,
}

pub(super) async fn run<C: Connect>(arguments: Arguments, site: &Site, connect: &C) -> Result<()> {
    let cluster = site.cluster(connect).await?;
    let follow = if arguments.follow { Follow::UntilDone } else { Follow::Now };
    batch::logs(&cluster, &site.name, follow).await
}
