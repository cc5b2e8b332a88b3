//! The commands of `cloud`, one file each, and what they share.

mod batch;
mod cost;
mod credentials;
mod datasets;
mod deploy;
mod destroy;
mod fetch;
mod image;
mod logs;
pub mod manifests;
mod plan;
mod preempt;
pub mod render;
mod run;
mod show;
mod status;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, CommandFactory, Parser, Subcommand};
use google_cloud_auth::credentials::Credentials;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{fmt, registry};
use worker::cli::shell::ShellCommand;
use worker::contract::Exit;
use worker::failure::Failure;

use crate::clock::SystemClock;
use crate::error::{Error, Kind, Result};
use crate::gke::connect::{Connect, GoogleConnect};
use crate::gke::cost::Prices;
use crate::gke::deploy::{Deployer, Person, access, calmly};
use crate::gke::gcp::{self, Google, Query, Scope, Settings};
use crate::gke::money::Money;
use crate::gke::plan::{ClusterSeen, Desired, Mode, Observed, State, Tier, Work, is_ours};
use crate::gke::reason::explain;
use crate::gke::state::Memory;
use crate::k8s::cluster::{Cluster, Datasets, Objects, datasets_digest};
use crate::tls;

pub use show::{loss_text, plan_json, plan_text};

/// Deploys a batch workload to Google Cloud, and takes it down again without leaving anything that bills.
#[derive(Debug, Parser)]
#[command(name = "cloud", version = worker::VERSION, propagate_version = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

/// Which deployment.
#[derive(Clone, Debug, Args)]
struct Target {
    /// The Google Cloud project.
    #[arg(long, global = true, env = "CLOUDSDK_CORE_PROJECT")]
    project: Option<String>,
    /// The deployment's name; two of different names live side by side.
    #[arg(long, global = true, default_value = "batch-aiml")]
    name: String,
    /// Where names of operations are kept between commands.
    #[arg(long, global = true, env = "CLOUD_STATE_DIR")]
    state_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what exists, what would be made, changed or refused, and what it costs. Only reads.
    Plan(plan::Arguments),
    /// Bring everything up, run the batch, and fetch its results.
    Deploy(deploy::Arguments),
    /// Show what is there, how the batch stands, and what it has cost so far.
    Status(status::Arguments),
    /// Show the workers' log.
    Logs(logs::Arguments),
    /// Fetch the report and the checkpoints.
    Fetch(fetch::Arguments),
    /// Show what the deployment costs, and what the last run did.
    Cost(cost::Arguments),
    /// Delete everything, then list it all again to prove that nothing is left.
    Destroy(destroy::Arguments),
    /// Add the cluster to kubeconfig, for people who want kubectl. Needs neither gcloud nor its plugin.
    GetCredentials(credentials::Arguments),
    /// Print a token for kubectl.
    #[command(hide = true)]
    Credential,
    /// Build the worker's image with Docker and push it to a repository of the deployment's.
    Image(image::Arguments),
    /// Run a batch in a cluster that you already have.
    Run(run::Arguments),
    /// Write the Kubernetes manifests, for use with kubectl alone.
    Render(render::Render),
    /// Have Compute Engine preempt one of the deployment's Spot machines.
    Preempt(preempt::Arguments),
    #[command(flatten)]
    Shell(ShellCommand),
}

/// What the deployment looks like; the defaults are the tutorial's.
#[derive(Clone, Debug, Args)]
struct Shape {
    #[arg(long, default_value = "us-central1")]
    region: String,
    /// For Filestore, and for a Standard cluster. [default: the region's zone b, unless the tier is regional]
    #[arg(long)]
    zone: Option<String>,
    #[arg(long, default_value = "default")]
    network: String,
    /// Who runs the machines: Google (autopilot), or you (standard).
    #[arg(long, value_enum, default_value = "autopilot")]
    mode: ModeName,
    /// Of a Standard cluster.
    #[arg(long, default_value = "e2-standard-2")]
    machine_type: String,
    /// Spot machines of a Standard cluster.
    #[arg(long, default_value_t = 1)]
    nodes: u32,
    /// Filestore's service tier.
    #[arg(long, default_value_t = Tier::BasicHdd)]
    tier: Tier,
    /// Filestore's size in GiB.
    #[arg(long, default_value_t = 1024)]
    capacity: u64,
    /// Workers at once.
    #[arg(long, default_value_t = 1)]
    workers: u32,
    /// A folder with training/ and testing/; without it, only the places for a batch are made.
    #[arg(long, requires = "image")]
    datasets: Option<PathBuf>,
    /// The worker's image, as `cloud image` prints it.
    #[arg(long)]
    image: Option<String>,
    /// Give the Job up after this long, as in 90m or 6h. [default: never]
    #[arg(long, value_parser = deadline)]
    deadline: Option<u64>,
    /// Refuse what may cost more than this many dollars an hour.
    #[arg(long, value_name = "DOLLARS")]
    max_cost: Option<Money>,
    /// Further arguments for the worker.
    #[arg(last = true)]
    worker_args: Vec<String>,
}

/// A number of seconds, written with its unit.
fn deadline(text: &str) -> Result<u64, String> {
    let example = "write a number with its unit: 90m, 6h";
    let span = humantime::parse_duration(text).map_err(|error| format!("{error}; {example}"))?;
    match span.as_secs() {
        0 => Err("it must be at least one second".to_owned()),
        seconds => Ok(seconds),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ModeName {
    Autopilot,
    Standard,
}

impl Shape {
    fn desired(&self, project: &str, name: &str, datasets: Option<&Datasets>) -> Desired {
        let zone =
            self.zone.clone().or_else(|| (!self.tier.is_regional()).then(|| format!("{}-b", self.region)));
        let mode = match self.mode {
            ModeName::Autopilot => Mode::Autopilot,
            ModeName::Standard => {
                Mode::Standard { machine_type: self.machine_type.clone(), nodes: self.nodes }
            }
        };
        let work = datasets.zip(self.image.as_ref()).map(|(datasets, image)| Work {
            image: image.clone(),
            worker_args: self.worker_args.clone(),
            digest: datasets_digest(&datasets.files),
            files: datasets.files.len(),
            bytes: datasets.files.iter().map(|file| file.bytes).sum(),
            deadline_s: self.deadline,
        });
        Desired {
            deployment: name.to_owned(),
            project: project.to_owned(),
            region: self.region.clone(),
            zone,
            network: self.network.clone(),
            mode,
            tier: self.tier,
            capacity_gib: self.capacity,
            workers: self.workers,
            work,
        }
    }
}

/// What is asked for, with the datasets read.
struct Asked {
    desired: Desired,
    datasets: Option<Datasets>,
    max_cost: Option<Money>,
}

impl Asked {
    async fn of(shape: &Shape, site: &Site) -> Result<Self> {
        let datasets = match &shape.datasets {
            Some(folder) => Some(datasets::read(folder).await?),
            None => None,
        };
        let desired = shape.desired(site.google.project(), &site.name, datasets.as_ref());
        Ok(Self { desired, datasets, max_cost: shape.max_cost })
    }

    fn deployer<'a, C: Connect>(
        &'a self,
        google: &'a Google,
        prices: &'a Prices,
        connect: &'a C,
    ) -> Deployer<'a, C> {
        let Self { desired, datasets, max_cost } = self;
        let (datasets, max_cost) = (datasets.as_ref(), *max_cost);
        Deployer { google, connect, prices, desired, datasets, max_cost }
    }
}

/// What every command on a project needs.
struct Site {
    google: Google,
    credentials: Credentials,
    memory: Memory,
    prices: Prices,
    name: String,
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Target {
    fn state_folder(&self) -> Result<PathBuf> {
        self.state_dir.clone().map_or_else(|| Memory::default_folder(variable), Ok)
    }

    async fn open(self) -> Result<Site> {
        let folder = self.state_folder()?;
        let project = self.project.filter(|project| !project.is_empty()).ok_or_else(|| {
            let hint = "give --project, or set CLOUDSDK_CORE_PROJECT; `gcloud projects list` shows yours";
            Error::with_hint("choose a project", "none was given", hint)
        })?;
        let credentials = gcp::credentials(variable, &project)?;
        let clock = Arc::new(SystemClock);
        let google = Google::new(&project, &Settings::read(variable), credentials.clone(), clock).await?;
        let memory = Memory::open(&folder, &project, &self.name);
        Ok(Site { google, credentials, memory, prices: Prices::built_in()?, name: self.name })
    }
}

impl Site {
    /// Everything of the deployment's, wherever it is, with what is in its cluster.
    async fn everything<C: Connect>(&self, connect: &C) -> Result<(Observed, Option<C::Cluster>)> {
        let query = Query {
            deployment: &self.name,
            region: None,
            scope: Scope::Everything,
            kept: self.memory.operations(),
            made: self.memory.made(),
        };
        let mut observed = self.google.observe(&query).await?;
        let Some(seen) = ready_cluster(&observed, &self.name) else { return Ok((observed, None)) };
        let cluster = connect.connect(&access(seen)).await?;
        observed.objects = Some(self.objects(&cluster).await?);
        Ok((observed, Some(cluster)))
    }

    async fn objects<C: Cluster>(&self, cluster: &C) -> Result<Objects> {
        calmly(&self.google, async || cluster.observe(&self.name).await).await
    }

    /// The deployment's cluster, which must be up.
    async fn cluster<C: Connect>(&self, connect: &C) -> Result<C::Cluster> {
        let (_, cluster) = self.everything(connect).await?;
        cluster.ok_or_else(|| {
            let doing = format!("reach the cluster of deployment {}", self.name);
            Error::new(doing, "there is none that is ready", Kind::NotFound)
        })
    }
}

fn ready_cluster<'a>(observed: &'a Observed, name: &str) -> Option<&'a ClusterSeen> {
    let ready =
        |seen: &&ClusterSeen| is_ours(&seen.labels, name) && matches!(seen.state, State::Ready | State::Busy);
    observed.clusters.iter().find(ready)
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed, with the reason and a hint on standard error; 2 wrong \
                          command line; 130 interrupted";

/// The exit code after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// Runs the command line; the first argument is the program's name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    tls::install();
    let log = fmt::layer().with_writer(io::stderr).without_time();
    registry().with(log).with(worker::cli::levels("cloud=warn")).init();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Where the terminal is gone there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    if let Command::Shell(command) = &cli.command {
        return match command.run(Cli::command()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(),
        };
    }
    let interrupted = match cli.command {
        Command::Run(_) => run::INTERRUPTED,
        _ => {
            "interrupted: what was begun goes on and may be billed; the same command again goes on from it, `cloud \
             status` shows it, `cloud destroy` removes it"
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::new(Exit::Failed, "start the runtime", error).report(),
    };
    let code = runtime.block_on(async {
        tokio::select! {
            // First, so that it is heard from the beginning.
            biased;
            _ = tokio::signal::ctrl_c() => {
                eprintln!("{interrupted}");
                ExitCode::from(INTERRUPTED)
            }
            ended = run(cli) => match ended {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => Failure::from(error).report(),
            },
        }
    });
    // Not waiting for a thread that still waits for an answer, or reads datasets.
    runtime.shutdown_background();
    code
}

async fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Render(arguments) => render::run(&arguments),
        Command::Run(arguments) => {
            let memory = Memory::open(&cli.target.state_folder()?, run::NO_PROJECT, &cli.target.name);
            run::run(arguments, &cli.target.name, memory).await
        }
        command => at_google(command, cli.target).await.map_err(explain),
    }
}

async fn at_google(command: Command, target: Target) -> Result<()> {
    let site = target.open().await?;
    let connect = GoogleConnect { credentials: site.credentials.clone() };
    match command {
        Command::Plan(arguments) => plan::run(arguments, &site, &connect).await,
        Command::Deploy(arguments) => deploy::run(arguments, site, &connect).await,
        Command::Status(arguments) => status::run(arguments, &site, &connect).await,
        Command::Logs(arguments) => logs::run(arguments, &site, &connect).await,
        Command::Fetch(arguments) => fetch::run(arguments, site, &connect).await,
        Command::Cost(arguments) => cost::run(arguments, &site, &connect).await,
        Command::Destroy(arguments) => destroy::run(arguments, site, &connect).await,
        Command::GetCredentials(arguments) => credentials::run(arguments, &site).await,
        Command::Credential => credentials::token(&site).await,
        Command::Image(arguments) => image::run(arguments, site).await,
        Command::Preempt(arguments) => preempt::run(arguments, &site).await,
        Command::Render(_) | Command::Run(_) | Command::Shell(_) => Ok(()),
    }
}

/// Writes a line to standard output. A reader that went away (`| head`) is no error.
fn print(text: &str) -> Result<()> {
    Ok(worker::cli::print(&format!("{text}\n"))?)
}

/// Tells what is being done, on standard error; the same line once.
#[derive(Debug, Default)]
struct Teller {
    told: BTreeSet<String>,
}

impl Teller {
    fn tell(&mut self, line: &str) {
        if self.told.insert(line.to_owned()) {
            eprintln!("{line}");
        }
    }
}

/// What is shown before its question is asked.
trait Question {
    const ASKS: &str;
    fn text(&self) -> String;
}

/// The person at the terminal.
struct Terminal {
    /// Agrees beforehand.
    yes: bool,
    teller: Teller,
}

impl Terminal {
    fn new(yes: bool) -> Self {
        Self { yes, teller: Teller::default() }
    }
}

impl<Q: Question> Person<Q> for Terminal {
    async fn approves(&mut self, question: &Q) -> bool {
        eprintln!("{}\n", question.text());
        agrees(Q::ASKS, self.yes).await
    }

    fn tell(&mut self, line: &str) {
        self.teller.tell(line);
    }
}

/// Asks on the terminal; without one, the answer is no.
async fn agrees(question: &str, yes: bool) -> bool {
    if yes {
        return true;
    }
    if !io::stdin().is_terminal() {
        eprintln!("{question} There is no terminal to ask on: --yes agrees beforehand.");
        return false;
    }
    eprint!("{question} [y/N] ");
    let read = || {
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map(|_| answer)
    };
    // On a thread of its own, for this one hears Ctrl-C.
    let answer = tokio::task::spawn_blocking(read).await;
    matches!(answer, Ok(Ok(answer)) if matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::deadline;

    #[test]
    fn a_deadline_has_a_unit() {
        assert_eq!((deadline("90m"), deadline("6h"), deadline("1s")), (Ok(5400), Ok(21_600), Ok(1)));
        for wrong in ["", "90", "-1h", "10ms"] {
            assert!(deadline(wrong).is_err(), "{wrong}");
        }
    }
}
