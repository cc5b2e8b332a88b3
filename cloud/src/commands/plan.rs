//! `cloud plan`

use clap::Args;

use super::shape::{Asked, Shape};
use super::show::{plan_json, plan_text};
use super::site::Site;
use super::terminal::print;
use crate::error::Result;
use crate::gke::connect::Connect;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    shape: Shape,
    /// For programs.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run<C: Connect>(arguments: Arguments, site: &Site, connect: &C) -> Result<()> {
    let asked = Asked::of(&arguments.shape, site).await?;
    let deployer = asked.deployer(&site.google, &site.prices, connect);
    let plan = deployer.plan(&site.memory).await?;
    match arguments.json {
        true => print(&format!("{:#}", plan_json(&plan)))?,
        false => print(&plan_text(&plan))?,
    }
    if let Some(error) = plan.refusal() {
        return Err(error.clone());
    }
    asked.max_cost.map_or(Ok(()), |most| plan.cost.check(most))
}
