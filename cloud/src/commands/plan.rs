//! `cloud plan`

use clap::Args;
use serde_json::json;

use super::shape::{Asked, Shape};
use super::show::{cost_json, cost_text, plan_json, plan_text, stop_text};
use super::site::{Site, Target};
use super::terminal::print;
use crate::error::Result;
use crate::gke::connect::Connect;
use crate::gke::cost::Stop;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    shape: Shape,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Estimate from the table of prices alone: without a log-in, a project or a network.
    #[arg(long)]
    pub(super) offline: bool,
}

/// What is asked for, priced; nothing is asked of Google.
pub(super) async fn offline(arguments: Arguments, target: &Target) -> Result<()> {
    // No price depends on it, but a bucket's name is made of it, and must be one.
    let project = target.project.as_deref().filter(|project| !project.is_empty()).unwrap_or("project");
    let asked = Asked::of(&arguments.shape, project, &target.name).await?;
    asked.desired.check()?;
    let cost = target.prices()?.estimate(&asked.desired);
    let stop = asked.desired.work.as_ref().map_or(Ok(None), |work| Stop::of(work, &cost))?;
    match arguments.json {
        true => print(&format!("{:#}", json!({"offline": true, "cost": cost_json(&cost)})))?,
        false => {
            let heading =
                "from the table of prices alone: what is there, quotas and rights were not asked for";
            print(&format!("{heading}\n\n{}{}", cost_text(&cost), stop_text(stop)))?;
        }
    }
    asked.max_cost.map_or(Ok(()), |most| cost.check(most))
}

pub(super) async fn run<C: Connect>(arguments: Arguments, site: &Site, connect: &C) -> Result<()> {
    let asked = Asked::of(&arguments.shape, site.google.project(), &site.name).await?;
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
