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
mod prices;
pub mod render;
mod run;
mod shape;
mod show;
mod site;
mod status;
mod storage;
mod terminal;
pub mod workers;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{fmt, registry};
use worker::cli::command_line;
use worker::cli::common::CommonCommand;
use worker::contract::Exit;
use worker::failure::{Failure, INTERRUPTED};

use crate::error::Result;
use crate::gke::connect::GoogleConnect;
use crate::gke::reason::explain;
use crate::gke::state::Memory;
use site::Target;

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

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what exists, what would be made, changed or refused, and what it costs. Only reads.
    #[command(args_override_self = true)]
    Plan(plan::Arguments),
    /// Bring everything up, run the batch, and fetch its results.
    #[command(args_override_self = true)]
    Deploy(deploy::Arguments),
    /// Show what is there, how the batch stands, and what it has cost so far.
    Status(status::Arguments),
    /// Show the workers' log.
    Logs(logs::Arguments),
    /// Fetch the report and the checkpoints.
    Fetch(fetch::Arguments),
    /// Show what the deployment costs, and what the last run did.
    Cost(cost::Arguments),
    /// Read Google's list prices of a region, as a table for --prices.
    Prices(prices::Arguments),
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
    #[command(args_override_self = true)]
    Run(run::Arguments),
    /// Write the Kubernetes manifests, for use with kubectl alone.
    #[command(args_override_self = true)]
    Render(render::Render),
    /// Have Compute Engine preempt one of the deployment's Spot machines.
    Preempt(preempt::Arguments),
    #[command(flatten)]
    Common(CommonCommand),
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed, with the reason and a hint on standard error; 2 wrong \
                          command line; 124 the run was stopped by --deadline or --max-run-cost; 130 interrupted. \
                          `cloud explain CODE` says more of one";

/// Runs the command line; the first argument is the program's name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let log = fmt::layer().with_writer(io::stderr).without_time();
    registry().with(log).with(worker::cli::levels("cloud=warn")).init();
    let cli: Cli = match command_line::read(arguments.into_iter().collect()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    if let Command::Common(command) = &cli.command {
        return match command.run(Cli::command()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(),
        };
    }
    let interrupted = match cli.command {
        Command::Run(_) => run::INTERRUPTED,
        _ => {
            "interrupted: what was begun continues and may be billed; the same command resumes it, `cloud \
             status` shows it, `cloud destroy` removes it"
        }
    };
    // The first press belongs to the command where it cleans up after itself.
    let presses = match &cli.command {
        Command::Deploy(arguments) if arguments.then_destroy => 2,
        _ => 1,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::new(Exit::Failed, "start the runtime", error).report(),
    };
    let code = runtime.block_on(async {
        tokio::select! {
            // First, so that it is heard from the beginning.
            biased;
            () = pressed(presses) => {
                eprintln!("{interrupted}");
                ExitCode::from(INTERRUPTED)
            }
            ended = run(cli) => match ended {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => Failure::from(error).report(),
            },
        }
    });
    // Without waiting for a thread that reads the terminal or datasets.
    runtime.shutdown_background();
    code
}

/// Returns when Ctrl-C was pressed that often. Where it cannot be heard, nobody waits for it.
async fn pressed(times: usize) {
    for _ in 0..times {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Render(arguments) => render::run(&arguments),
        Command::Plan(arguments) if arguments.offline => plan::offline(arguments, &cli.target).await,
        Command::Run(arguments) => {
            let memory = Memory::open(&cli.target.state_folder()?, run::NO_PROJECT, &cli.target.name);
            run::run(arguments, &cli.target.name, memory).await
        }
        command => at_google(command, cli.target).await.map_err(explain),
    }
}

async fn at_google(command: Command, target: Target) -> Result<()> {
    if let Command::Prices(arguments) = command {
        return prices::run(arguments, target).await;
    }
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
        Command::Render(_) | Command::Run(_) | Command::Prices(_) | Command::Common(_) => Ok(()),
    }
}
