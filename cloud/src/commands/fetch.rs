//! `cloud fetch`

use std::path::PathBuf;

use clap::Args;

use super::batch;
use super::site::Site;
use super::terminal::print;
use crate::error::Result;
use crate::gke::connect::Connect;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where the results go.
    #[arg(long, default_value = "out")]
    out: PathBuf,
}

pub(super) async fn run<C: Connect>(arguments: Arguments, mut site: Site, connect: &C) -> Result<()> {
    let cluster = site.cluster(connect).await?;
    let clock = &**site.google.clock();
    for file in batch::fetch(&cluster, clock, &site.name, &mut site.memory, &arguments.out).await? {
        print(&arguments.out.join(&file.path).display().to_string())?;
    }
    Ok(())
}
