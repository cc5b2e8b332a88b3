//! `cloud deploy`

use std::path::PathBuf;

use clap::Args;

use super::{Shape, Site, Teller, agrees, batch, datasets, plan_text};
use crate::cluster::Connect;
use crate::deploy::{Deployer, Person};
use crate::error::Result;
use crate::plan::Plan;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    shape: Shape,
    /// Agree to the plan beforehand.
    #[arg(long)]
    yes: bool,
    /// Where the results go.
    #[arg(long, default_value = "out")]
    out: PathBuf,
    /// Start the batch and leave; `cloud status`, `logs` and `fetch` come back to it.
    #[arg(long)]
    detach: bool,
    /// Further arguments for the worker.
    #[arg(last = true)]
    worker_args: Vec<String>,
}

struct Terminal {
    yes: bool,
    teller: Teller,
}

impl Person for Terminal {
    fn approves(&mut self, plan: &Plan) -> bool {
        eprintln!("{}\n", plan_text(plan));
        agrees("Go ahead?", self.yes)
    }

    fn tell(&mut self, line: &str) {
        self.teller.tell(line);
    }
}

pub(super) async fn run<C: Connect>(arguments: Arguments, mut site: Site, connect: &C) -> Result<()> {
    let datasets = arguments.shape.datasets.as_deref().map(datasets::read).transpose()?;
    let desired = arguments.shape.desired(site.google.project(), &site.name, datasets.as_ref());
    let deployer = Deployer {
        google: &site.google,
        connect,
        prices: &site.prices,
        desired: &desired,
        datasets: datasets.as_ref(),
        worker_args: &arguments.worker_args,
        max_cost: arguments.shape.max_cost,
    };
    let mut terminal = Terminal { yes: arguments.yes, teller: Teller::default() };
    let cluster = deployer.deploy(&mut site.memory, &mut terminal).await?;
    if desired.work.is_none() {
        eprintln!("ready; `cloud deploy --datasets DIR --image IMAGE` runs a batch in it");
    } else if arguments.detach {
        eprintln!("running; `cloud status`, `cloud logs --follow` and `cloud fetch` come back to it");
    } else {
        batch::follow(&cluster, &site.name).await?;
        batch::fetch(&cluster, &site.name, &mut site.memory, &arguments.out).await?;
        batch::tell_cost(&cluster, &desired, &site.prices).await?;
    }
    eprintln!("it bills {} an hour until `cloud destroy`", site.prices.estimate(&desired).idle_hour);
    Ok(())
}
