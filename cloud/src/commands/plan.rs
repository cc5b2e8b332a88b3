//! `cloud plan`

use clap::Args;

use super::{Shape, Site, datasets, plan_json, plan_text, print};
use crate::cluster::Connect;
use crate::deploy::Deployer;
use crate::error::Result;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    shape: Shape,
    /// For programs.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run<C: Connect>(arguments: Arguments, site: &Site, connect: &C) -> Result<()> {
    let datasets = arguments.shape.datasets.as_deref().map(datasets::read).transpose()?;
    let desired = arguments.shape.desired(site.google.project(), &site.name, datasets.as_ref());
    let deployer = Deployer {
        google: &site.google,
        connect,
        prices: &site.prices,
        desired: &desired,
        datasets: datasets.as_ref(),
        worker_args: &[],
        max_cost: None,
    };
    let plan = deployer.plan(&site.memory).await?;
    match arguments.json {
        true => print(&format!("{:#}", plan_json(&plan)))?,
        false => print(&plan_text(&plan))?,
    }
    if let Some(error) = plan.refusal() {
        return Err(error.clone());
    }
    arguments.shape.max_cost.map_or(Ok(()), |most| plan.cost.check(most))
}
