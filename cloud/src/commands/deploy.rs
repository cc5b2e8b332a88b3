//! `cloud deploy`

use std::path::{Path, PathBuf};

use clap::Args;

use super::batch;
use super::shape::{Asked, Shape};
use super::show::{plan_json, plan_text};
use super::site::Site;
use super::terminal::{Question, Terminal, print};
use crate::error::Result;
use crate::gke::connect::Connect;
use crate::gke::plan::{Desired, Plan};
use crate::k8s::cluster::Cluster;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    shape: Shape,
    /// Agree to the plan beforehand.
    #[arg(long)]
    yes: bool,
    /// Before anything else, print the plan for programs, as `cloud plan --json` does.
    #[arg(long)]
    json: bool,
    /// Where the results go.
    #[arg(long, default_value = "out")]
    out: PathBuf,
    /// Start the batch and leave; `cloud status`, `logs` and `fetch` come back to it.
    #[arg(long)]
    detach: bool,
}

impl Question for Plan {
    const ASKS: &str = "Go ahead?";

    fn text(&self) -> String {
        plan_text(self)
    }
}

pub(super) async fn run<C: Connect>(arguments: Arguments, mut site: Site, connect: &C) -> Result<()> {
    let asked = Asked::of(&arguments.shape, &site).await?;
    let desired = &asked.desired;
    let deployer = asked.deployer(&site.google, &site.prices, connect);
    if arguments.json {
        print(&format!("{:#}", plan_json(&deployer.plan(&site.memory).await?)))?;
    }
    let mut terminal = Terminal::new(arguments.yes);
    let (cluster, cost) = deployer.deploy(&mut site.memory, &mut terminal).await?;
    if desired.work.is_none() {
        eprintln!("ready; `cloud deploy --datasets DIR --image IMAGE` runs a batch in it");
    } else if arguments.detach {
        eprintln!("running; `cloud status`, `cloud logs --follow` and `cloud fetch` come back to it");
    }
    let ended = match desired.work.is_some() && !arguments.detach {
        true => see_through(&cluster, &mut site, desired, &arguments.out).await,
        false => Ok(()),
    };
    eprintln!("until `cloud destroy` it bills {}", cost.idle_text());
    ended
}

/// The batch to its end, and what it left.
async fn see_through(cluster: &impl Cluster, site: &mut Site, desired: &Desired, out: &Path) -> Result<()> {
    let clock = &**site.google.clock();
    let hint = "`cloud logs` shows what the workers said; `cloud deploy` again starts a new Job";
    batch::follow(cluster, &site.name, hint).await?;
    batch::fetch(cluster, clock, &site.name, &mut site.memory, out).await?;
    batch::tell_cost(cluster, clock, desired, &site.prices).await
}
