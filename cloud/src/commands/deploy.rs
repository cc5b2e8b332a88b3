//! `cloud deploy`

use std::path::{Path, PathBuf};

use clap::Args;

use super::batch;
use super::destroy::destroy;
use super::shape::{Asked, Shape};
use super::show::{plan_json, plan_text};
use super::site::Site;
use super::terminal::{Question, Terminal, print};
use crate::error::{Error, Kind, Result};
use crate::gke::connect::Connect;
use crate::gke::plan::{Desired, Plan};
use crate::k8s::cluster::Cluster;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    shape: Shape,
    /// Approve the plan without asking.
    #[arg(long)]
    yes: bool,
    /// Before anything else, print the plan for programs, as `cloud plan --json` does.
    #[arg(long)]
    json: bool,
    /// Where the results go.
    #[arg(long, default_value = "out")]
    out: PathBuf,
    /// Start the batch and exit; `cloud status`, `cloud logs` and `cloud fetch` find it later.
    #[arg(long)]
    detach: bool,
    /// Destroy everything once the results are here, and also when the run fails or Ctrl-C is pressed once.
    #[arg(long, requires = "datasets", conflicts_with = "detach")]
    pub(super) then_destroy: bool,
}

impl Question for Plan {
    const ASKS: &str = "Go ahead?";

    fn text(&self) -> String {
        plan_text(self)
    }
}

/// How far a deployment came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    /// Nothing has run.
    Before,
    /// The Job is done, and its results lie on the volume alone.
    Results,
    /// The results are here.
    Fetched,
}

pub(super) async fn run<C: Connect>(arguments: Arguments, mut site: Site, connect: &C) -> Result<()> {
    let asked = tokio::select! {
        biased;
        interrupted = interrupted() => return Err(interrupted),
        asked = Asked::of(&arguments.shape, site.google.project(), &site.name) => asked?,
    };
    let (mut terminal, mut reached) = (Terminal::new(arguments.yes), Reached::Before);
    if !arguments.then_destroy {
        return deploy(&arguments, &asked, &mut site, connect, &mut terminal, &mut reached).await;
    }
    terminal = terminal.then_destroying();
    let ended = tokio::select! {
        biased;
        interrupted = interrupted() => Err(interrupted),
        ended = deploy(&arguments, &asked, &mut site, connect, &mut terminal, &mut reached) => ended,
    };
    match (&ended, reached) {
        // Nothing was begun here: what is there is an earlier command's.
        (Err(_), Reached::Before) if !terminal.agreed() => return ended,
        (Err(_), Reached::Results) => {
            eprintln!("nothing is destroyed: the results are on the volume alone. {}", bills(&asked, &site));
            return ended;
        }
        _ => eprintln!("destroying what was made"),
    }
    let destroyed = destroy(arguments.yes || terminal.agreed(), &mut site, connect).await;
    if destroyed.is_err() {
        eprintln!("{}", bills(&asked, &site));
    }
    match (ended, destroyed) {
        (ended, Ok(())) => ended,
        (Ok(()), Err(left)) => Err(left),
        // What may still bill is the last word.
        (Err(error), Err(left)) => {
            eprintln!("failed to {error}");
            Err(left)
        }
    }
}

/// Ctrl-C, as the first press of it ends a command that then cleans up.
async fn interrupted() -> Error {
    super::pressed(1).await;
    Error::new("see the batch through", "interrupted", Kind::Interrupted)
}

fn bills(asked: &Asked, site: &Site) -> String {
    let idle = site.prices.estimate(&asked.desired).idle_text();
    format!("`cloud fetch` gets results, `cloud destroy` removes everything; until then it bills {idle}")
}

/// Everything up, and the batch to its end.
async fn deploy<C: Connect>(
    arguments: &Arguments,
    asked: &Asked,
    site: &mut Site,
    connect: &C,
    terminal: &mut Terminal,
    reached: &mut Reached,
) -> Result<()> {
    let desired = &asked.desired;
    let deployer = asked.deployer(&site.google, &site.prices, connect);
    if arguments.json {
        print(&format!("{:#}", plan_json(&deployer.plan(&site.memory).await?)))?;
    }
    let (cluster, cost) = deployer.deploy(&mut site.memory, terminal).await?;
    if desired.work.is_none() {
        eprintln!("ready; `cloud deploy --datasets DIR --image IMAGE` runs a batch in it");
    } else if arguments.detach {
        eprintln!("running; see it by `cloud status`, `cloud logs --follow` and `cloud fetch`");
    }
    let ended = match desired.work.is_some() && !arguments.detach {
        true => see_through(&cluster, site, desired, &arguments.out, reached).await,
        false => Ok(()),
    };
    if !arguments.then_destroy {
        eprintln!("until `cloud destroy` it bills {}", cost.idle_text());
    }
    ended
}

/// The batch to its end, and what it left.
async fn see_through(
    cluster: &impl Cluster,
    site: &mut Site,
    desired: &Desired,
    out: &Path,
    reached: &mut Reached,
) -> Result<()> {
    let clock = &**site.google.clock();
    let hint = "`cloud logs` shows what the workers said; `cloud deploy` again starts a new Job";
    let more = "a longer --deadline or a higher --max-run-cost, whichever stopped it, gives it more time";
    batch::follow(cluster, &site.name, hint, more).await?;
    *reached = Reached::Results;
    batch::fetch(cluster, clock, &site.name, &mut site.memory, out).await?;
    *reached = Reached::Fetched;
    batch::tell_cost(cluster, clock, desired, &site.prices).await
}
