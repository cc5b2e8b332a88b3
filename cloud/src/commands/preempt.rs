//! `cloud preempt`

use clap::Args;

use super::site::Site;
use super::terminal::{agrees, print};
use crate::error::{Error, Result};
use crate::gke::gcp::MachineSeen;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Which machine. [default: the first Spot machine by name]
    #[arg(long)]
    machine: Option<String>,
    /// Approve without asking.
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(arguments: Arguments, site: &Site) -> Result<()> {
    let machines = site.google.machines(&site.name).await?;
    let chosen = |machine: &&MachineSeen| match &arguments.machine {
        Some(name) => machine.name == *name,
        None => machine.spot,
    };
    let Some(machine) = machines.iter().find(chosen) else {
        let doing = format!("find a Spot machine of deployment {}", site.name);
        let hint = "Google shows the machines of Standard clusters only (--mode standard); on Autopilot, \
                    `kubectl drain` a node instead, or rehearse with `sim run --backend kind --preempt poisson:10s`";
        return Err(Error::with_hint(doing, "there is none", hint));
    };
    if !machine.spot {
        let doing = format!("preempt machine {}", machine.name);
        let hint = "only Spot machines can be preempted; this one runs Redis and the staging pod";
        return Err(Error::with_hint(doing, "it is not a Spot machine", hint));
    }
    let question = format!("Preempt machine {} in {}?", machine.name, machine.zone);
    if !agrees(&question, arguments.yes).await {
        return Err(Error::new(
            "preempt the machine",
            "it was not agreed to",
            crate::gke::reason::Reason::Declined,
        ));
    }
    site.google.preempt(machine).await?;
    print(&format!("Compute Engine will preempt {} in {} now", machine.name, machine.zone))
}
