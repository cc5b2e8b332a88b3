//! `cloud destroy`

use clap::Args;

use super::show::loss_text;
use super::site::Site;
use super::terminal::{Question, Terminal, print};
use crate::error::Result;
use crate::gke::connect::Connect;
use crate::gke::destroy::{Destroyer, Loss};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Approve without asking, also the loss of results that were not fetched.
    #[arg(long)]
    yes: bool,
}

impl Question for Loss {
    const ASKS: &str = "Delete it all?";

    fn text(&self) -> String {
        loss_text(self)
    }
}

pub(super) async fn run<C: Connect>(arguments: Arguments, mut site: Site, connect: &C) -> Result<()> {
    destroy(arguments.yes, &mut site, connect).await
}

/// Everything down, and the proof that nothing is left.
pub(super) async fn destroy<C: Connect>(yes: bool, site: &mut Site, connect: &C) -> Result<()> {
    let destroyer = Destroyer { google: &site.google, connect, deployment: &site.name };
    let mut terminal = Terminal::new(yes);
    let proof = destroyer.destroy(&mut site.memory, &mut terminal).await?;
    for foreign in &proof.foreign {
        let (noun, name, location) = (foreign.resource.noun(), &foreign.name, &foreign.location);
        print(&format!("not touched, for it is not this deployment's: {noun} {name} in {location}"))?;
    }
    for unlisted in &proof.unlisted {
        let (noun, why) = (unlisted.resource.noun(), &unlisted.why);
        print(&format!("no {noun} was looked for, for this machine made none and may not list them: {why}"))?;
    }
    for (kept, until) in &proof.kept {
        let (noun, name, location) = (kept.resource.noun(), &kept.name, &kept.location);
        print(&format!(
            "deleted, but a soft delete policy keeps it until {until}, and bills it: {noun} {name} in {location}"
        ))?;
    }
    let nothing = if proof.kept.is_empty() { "nothing" } else { "nothing else" };
    let buckets = if proof.unlisted.is_empty() { "buckets, " } else { "" };
    print(&format!(
        "{nothing} is left: clusters, Filestore, {buckets}disks and image repositories were listed in all locations"
    ))
}
