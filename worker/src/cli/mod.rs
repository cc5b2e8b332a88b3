//! The worker's command line: the same `main` in the binary `worker`, and in `sim`, which executes
//! itself again as the worker.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::contract::{Exit, RUNS};
use crate::guard;
use crate::queue::QueueError;
use crate::queue::any::AnyQueue;
use crate::store::Store;
use crate::store::any::{self, AnyStore};
use crate::store::identity::identify;
use crate::system::random_nonce;

mod check;
mod events;
mod log;
mod push;
mod run;
mod score;
pub mod shell;
mod status;

pub use log::levels;

/// Leases datasets from a queue, trains on them, and commits each exactly once, on machines that
/// may vanish at any moment.
#[derive(Debug, Parser)]
#[command(name = "worker", version = crate::VERSION, after_help = Exit::table())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Work on a run until it is finished.
    Run(Box<run::RunArgs>),
    /// Push paths of datasets, relative to the volume: they become part of the open run, or of the next.
    Push(push::PushArgs),
    /// Take pushed paths back that no run has taken in yet.
    Unpush(push::PushArgs),
    /// Say of files whether they would be read as datasets, and what is in them.
    Check(check::CheckArgs),
    /// Apply a checkpoint to a day's transactions and write a score for each.
    Score(score::ScoreArgs),
    /// Show a run: its datasets, what is committed, what the queue holds.
    Status(status::StatusArgs),
    /// Print a run's events as lines of JSON.
    Events(events::EventsArgs),
    #[command(flatten)]
    Shell(shell::ShellCommand),
}

/// Which queue.
#[derive(Debug, Clone, Args)]
pub(crate) struct QueueArgs {
    /// The shared volume: a folder that every worker sees.
    #[arg(long, env = "WORKER_VOLUME", value_name = "DIR")]
    pub volume: PathBuf,
    /// `sqlite` (a file on the volume), `sqlite:PATH`, or `redis://[:PASSWORD@]HOST[:PORT][/DB]`.
    /// The password may also be in REDISCLI_AUTH. What is pushed is taken in by whoever uses the
    /// same database: give each volume its own.
    #[arg(long, env = "WORKER_QUEUE", value_name = "URL", default_value = "sqlite")]
    pub queue: String,
}

/// How often a queue that is away is tried at the start, and how long between.
const OPEN_TRIES: u32 = 100;
const OPEN_AGAIN: Duration = Duration::from_millis(50);

impl QueueArgs {
    pub(crate) fn store(&self) -> Result<AnyStore, Failure> {
        open_store(&self.volume)
    }

    pub(crate) async fn open(&self, run: &str) -> Result<AnyQueue, Failure> {
        let id = identify(&self.store()?, random_nonce())
            .await
            .map_err(|error| Failure::new(Exit::Volume, error.with_hint()))?;
        // Workers that start together find the file locked while one of them makes it.
        for _ in 0..OPEN_TRIES {
            match AnyQueue::open(&self.queue, &self.volume, &id, run) {
                Err(QueueError::Away(_)) => tokio::time::sleep(OPEN_AGAIN).await,
                opened => return Ok(opened?),
            }
        }
        Ok(AnyQueue::open(&self.queue, &self.volume, &id, run)?)
    }
}

/// The store that `--volume` names.
pub(crate) fn open_store(volume: &Path) -> Result<AnyStore, Failure> {
    any::open(volume).map_err(|_| {
        let shown = volume.display();
        let reason = format!("the volume {shown} is no folder\nhint: create or mount it first");
        Failure::new(Exit::Volume, reason)
    })
}

/// The newest numbered run on a store.
pub(crate) async fn newest_run(store: &AnyStore) -> Result<Option<u32>, Failure> {
    let runs = store.list(RUNS).await.map_err(|error| Failure::new(Exit::Volume, error))?;
    Ok(runs.iter().filter_map(|name| name.parse().ok()).max())
}

/// The run that a command is about: the one named, or the newest.
pub(crate) async fn named_or_newest(store: &AnyStore, named: Option<String>) -> Result<String, Failure> {
    if let Some(name) = named {
        return Ok(name);
    }
    match newest_run(store).await? {
        Some(newest) => Ok(newest.to_string()),
        None => {
            let reason = "there is no run on the volume\nhint: `worker run` begins one";
            Err(Failure::new(Exit::NoDatasets, reason))
        }
    }
}

/// Why a command failed: an exit code and what to tell.
#[derive(Debug)]
pub(crate) struct Failure {
    pub exit: Exit,
    pub reason: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, reason: impl fmt::Display) -> Self {
        Self { exit, reason: reason.to_string() }
    }
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        Self::new(Exit::Queue, error)
    }
}

/// Runs the command line; the first argument is the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(code) = guard::main(&args) {
        return code;
    }
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Where the terminal is gone there is nobody to tell.
            let _ = error.print();
            let code = if error.use_stderr() { Exit::Usage.code() } else { 0 };
            return ExitCode::from(code);
        }
    };
    match dispatch(cli.command) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(failure) => {
            // Where the terminal is gone there is nobody to tell.
            let _ = writeln!(io::stderr(), "error: {}", failure.reason);
            ExitCode::from(failure.exit.code())
        }
    }
}

fn dispatch(command: Command) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("failed to start the runtime: {error}")))?;
    let result = runtime.block_on(async {
        match command {
            Command::Run(args) => run::run(*args).await,
            Command::Push(args) => push::push(args).await,
            Command::Unpush(args) => push::unpush(args).await,
            Command::Check(args) => check::check(&args),
            Command::Score(args) => score::score(&args),
            Command::Status(args) => status::status(args).await,
            Command::Events(args) => events::events(args).await,
            Command::Shell(command) => command
                .run(Cli::command())
                .map(|()| Exit::Finished)
                .map_err(|why| Failure::new(Exit::Failed, why)),
        }
    });
    // A look-up of a name that hangs must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

fn print(text: &str) -> Result<(), Failure> {
    write_out(text).map_err(|why| Failure::new(Exit::Failed, why))
}

/// Writes to standard output; a reader that went away (`| head`) is no failure.
///
/// # Errors
/// In words, where the output goes to a file that cannot take it.
pub fn write_out(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!(
            "failed to write to standard output: {error}\nhint: free space there, or send it elsewhere"
        )),
        _ => Ok(()),
    }
}
