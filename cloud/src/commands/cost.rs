//! `cloud cost`

use clap::Args;

use super::batch;
use super::shape::Shape;
use super::show::{cost_json, cost_text};
use super::site::Site;
use super::status::as_deployed;
use super::terminal::print;
use crate::error::Result;
use crate::gke::connect::Connect;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The deployment to estimate, if nothing is deployed yet.
    #[command(flatten)]
    shape: Shape,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run<C: Connect>(arguments: Arguments, site: &Site, connect: &C) -> Result<()> {
    let (observed, cluster) = site.everything(connect).await?;
    let desired = match as_deployed(site, &observed) {
        Some(desired) => desired,
        None => arguments.shape.desired(site.google.project(), &site.name, None)?,
    };
    let estimate = site.prices.estimate(&desired);
    match arguments.json {
        true => print(&format!("{:#}", cost_json(&estimate)))?,
        false => print(&cost_text(&estimate))?,
    }
    let ran = observed.objects.as_ref().is_some_and(|objects| objects.job.is_some());
    match cluster.filter(|_| ran) {
        Some(cluster) => batch::tell_cost(&cluster, &**site.google.clock(), &desired, &site.prices).await,
        None => Ok(()),
    }
}
