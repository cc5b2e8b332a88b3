//! The simulator's command line: the same `main` in the binary `sim` and in the tests.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use worker::cli::command_line;
use worker::cli::common::CommonCommand;
use worker::contract::Exit;
use worker::failure::INTERRUPTED;

use crate::backend::process::child;

pub mod check;
#[cfg(feature = "kind")]
mod down;
pub mod explore;
pub mod init;
pub mod mutants;
pub mod replay;
pub mod run;
pub mod scale;

/// Runs a batch of datasets on workers whose machines vanish, and checks that it made no difference.
#[derive(Debug, Parser)]
#[command(name = "sim", version = worker::VERSION, after_help = exit_codes())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a batch with scheduled preemptions: in processes on this machine, or on a kind cluster.
    #[command(after_help = exit_codes(), args_override_self = true)]
    Run(Box<run::RunArgs>),
    /// Run a program of your own twice on one or two datasets, and say whether its results are equal.
    #[command(after_help = exit_codes(), args_override_self = true)]
    Check(Box<check::CheckArgs>),
    /// Write a scenario file, batch.toml, from what a folder holds.
    Init(init::InitArgs),
    /// Remove what runs in a cluster have left: nodes, NFS server, network, images.
    #[cfg(feature = "kind")]
    Down(down::DownArgs),
    /// Explore simulated schedules of faults, in virtual time.
    Explore(explore::ExploreArgs),
    /// Run one large simulated batch, and show the calls per result over time.
    Scale(scale::ScaleArgs),
    /// Run every mutant (a worker that breaks one rule): each must be caught.
    Mutants(mutants::MutantsArgs),
    /// Tell the story of one simulated schedule.
    Replay(replay::ReplayArgs),
    /// Run as a worker (same arguments as `worker`).
    #[command(disable_help_flag = true)]
    Worker {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    #[command(flatten)]
    Common(CommonCommand),
}

/// The workers' exit codes, which are this program's too, and the one that only it has.
fn exit_codes() -> String {
    format!(
        "{}\n  {INTERRUPTED:>3}  interrupted by Ctrl-C, SIGTERM or SIGHUP\n\n`sim explain CODE` says more of one",
        Exit::table()
    )
}

/// Runs the command line; the first argument is the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(code) = worker::guard::main(&args).or_else(|| child::main(&args)) {
        return code;
    }
    let cli: Cli = match command_line::read(args) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let answer = match cli.command {
        Command::Run(args) => run::main(*args),
        Command::Check(args) => check::main(&args),
        Command::Init(args) => init::main(&args),
        #[cfg(feature = "kind")]
        Command::Down(args) => down::main(args),
        Command::Explore(args) => explore::main(&args),
        Command::Scale(args) => scale::main(&args),
        Command::Mutants(args) => mutants::main(&args),
        Command::Replay(args) => replay::main(&args),
        Command::Worker { args } => {
            return worker::cli::main([OsString::from("worker")].into_iter().chain(args));
        }
        Command::Common(command) => command.run(Cli::command()).map(|()| 0),
    };
    match answer {
        Ok(exit) => ExitCode::from(exit),
        Err(failure) => failure.report(),
    }
}
