//! The worker's command line: the same `main` in the binary `worker`, and in `sim`, which executes
//! itself again as the worker.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::contract::{Exit, RUNS, RunPaths};
use crate::failure::Failure;
use crate::guard;
use crate::queue::QueueError;
use crate::queue::any::AnyQueue;
use crate::store::any::{self, AnyStore};
use crate::store::identity::identify;
use crate::store::location::Location;
use crate::store::{Kind, Store, StoreError};
use crate::system::random_nonce;

mod abandon;
pub mod batch;
mod check;
pub mod command_line;
pub mod common;
mod doctor;
mod events;
mod explain;
mod kept_logs;
mod log;
mod logs;
mod look;
mod prune;
mod push;
mod report;
mod run;
mod runs;
mod score;
mod serve;
mod shown;
mod status;
mod table;
mod tail;
mod watch;
mod watched;

pub use log::levels;

/// Leases datasets from a queue, trains on them, and commits each exactly once, on machines that
/// may vanish at any moment.
#[derive(Debug, Parser)]
#[command(name = "worker", version = crate::VERSION, after_help = exit_codes())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Work on a run until it is finished.
    #[command(args_override_self = true)]
    Run(Box<run::RunArgs>),
    /// Push paths of datasets, relative to the volume: they become part of the open run, or of the next.
    Push(push::PushArgs),
    /// Remove pushed paths that no run has taken in yet.
    Unpush(push::PushArgs),
    /// Say of files whether they would be read as datasets, and what is in them.
    Check(check::CheckArgs),
    /// Apply a checkpoint to a day's transactions and write a score for each.
    Score(score::ScoreArgs),
    /// List the runs on a volume: state, datasets done, when each began and ended.
    Runs(runs::RunsArgs),
    /// Show a run: its datasets, what is committed, what the queue holds.
    Status(status::StatusArgs),
    /// Show a run while it goes on: workers, what each holds, progress, preemptions, rate, time left.
    Watch(watch::WatchArgs),
    /// Serve a run as a page, and as metrics for Prometheus.
    Serve(serve::ServeArgs),
    /// Write a page about a run, or a trace of it.
    Report(report::ReportArgs),
    /// Print a run's events as lines of JSON.
    Events(events::EventsArgs),
    /// Print what the programs of a run printed, attempt by attempt.
    Logs(logs::LogsArgs),
    /// Try what workers need of the volume and the queue, and say what is wrong.
    Doctor(doctor::DoctorArgs),
    /// End a run that nobody wants to finish, or nobody can: it takes in no more pushes.
    Abandon(abandon::AbandonArgs),
    /// Remove the results of runs that nobody needs any more; say first what that frees.
    Prune(prune::PruneArgs),
    #[command(flatten)]
    Common(common::CommonCommand),
}

fn exit_codes() -> String {
    format!("{}\n\n`worker explain CODE` says more of one", Exit::table())
}

/// Reads a folder, or the URL of a bucket.
pub fn location() -> impl TypedValueParser<Value = Location> {
    OsStringValueParser::new().try_map(Location::parse)
}

/// Which volume.
#[derive(Debug, Clone, Args)]
pub(crate) struct VolumeArgs {
    /// The shared volume: a folder that every worker sees, or a bucket: `s3://BUCKET/PREFIX` or `gs://BUCKET/PREFIX`.
    #[arg(long, env = "WORKER_VOLUME", value_name = "DIR", value_parser = location())]
    pub volume: Location,
}

/// Which volume and queue.
#[derive(Debug, Clone, Args)]
pub(crate) struct QueueArgs {
    #[command(flatten)]
    pub on: VolumeArgs,
    /// `sqlite` (a file on the volume, where that is a folder), `sqlite:PATH`, or `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]`
    /// of Redis or Valkey; `rediss://` for TLS, `redis+sentinel://HOST[,HOST…]/NAME` for Sentinels. The password may also
    /// be in REDISCLI_AUTH. Every run on the same database takes in what is pushed: give each volume its own.
    #[arg(long, env = "WORKER_QUEUE", value_name = "URL", default_value = "sqlite")]
    pub queue: String,
}

/// How often a queue that is away is tried at the start, and how long between.
const OPEN_TRIES: u32 = 100;
const OPEN_AGAIN: Duration = Duration::from_millis(50);

impl VolumeArgs {
    /// The store that `--volume` names, once it lets us in.
    pub(crate) async fn store(&self) -> Result<AnyStore, Failure> {
        let doing = || format!("open the volume {}", self.volume);
        let store = any::open(&self.volume).map_err(|error| match &self.volume {
            Location::Folder(_) => {
                Failure::new(Exit::Volume, doing(), "it is no folder").hint("create or mount it first")
            }
            Location::Bucket(_) => unfit(doing(), &error),
        })?;
        store.reach().await.map_err(|error| unfit(doing(), &error))?;
        Ok(store)
    }
}

/// How often a program tries what the volume failed to do where nothing else tries it later, and how long between.
const VOLUME_TRIES: u32 = 10;
const VOLUME_AGAIN: Duration = Duration::from_millis(200);

/// Asks something of a volume, again where it failed: a server that restarts cuts answers off.
///
/// # Errors
/// The last failure, or one that trying again does not change.
pub async fn patiently<T>(mut call: impl AsyncFnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    for _ in 1..VOLUME_TRIES {
        match call().await {
            Err(error) if error.kind == Kind::Io => tokio::time::sleep(VOLUME_AGAIN).await,
            done => return done,
        }
    }
    call().await
}

fn unfit(doing: String, error: &StoreError) -> Failure {
    let failure = Failure::new(Exit::Volume, doing, &error.detail);
    Failure { hint: error.hint().map(str::to_owned), ..failure }
}

impl QueueArgs {
    pub(crate) async fn store(&self) -> Result<AnyStore, Failure> {
        self.on.store().await
    }

    pub(crate) async fn open(&self, store: &AnyStore, run: &str) -> Result<AnyQueue, Failure> {
        let id = patiently(async || identify(store, random_nonce()).await)
            .await
            .map_err(|error| Failure::of(Exit::Volume, error.with_hint()))?;
        let folder = self.on.volume.folder();
        // Workers that start together find the file locked while one of them makes it.
        for _ in 0..OPEN_TRIES {
            match AnyQueue::open(&self.queue, folder, &id, run) {
                Err(QueueError::Away(_)) => tokio::time::sleep(OPEN_AGAIN).await,
                opened => return Ok(opened?),
            }
        }
        Ok(AnyQueue::open(&self.queue, folder, &id, run)?)
    }
}

/// The newest numbered run on a store.
pub(crate) async fn newest_run(store: &AnyStore) -> Result<Option<u32>, Failure> {
    let runs =
        patiently(async || store.list(RUNS).await).await.map_err(|error| Failure::of(Exit::Volume, error))?;
    Ok(runs.iter().filter_map(|name| name.parse().ok()).max())
}

/// The run that a command is about: the one named, or the newest.
pub(crate) async fn named_or_newest(store: &AnyStore, named: Option<String>) -> Result<String, Failure> {
    if let Some(name) = named {
        return check_name("--run", &name).cloned();
    }
    match newest_run(store).await? {
        Some(newest) => Ok(newest.to_string()),
        None => {
            let failure =
                Failure::new(Exit::NoDatasets, "find the newest run", "there is none on the volume");
            Err(failure.hint("`worker run` begins one"))
        }
    }
}

/// The same of what must be on the volume by now.
pub(crate) async fn existing_run(store: &AnyStore, named: Option<String>) -> Result<String, Failure> {
    let run = named_or_newest(store, named).await?;
    if store.list(RunPaths::new(&run).root()).await.is_ok_and(|names| names.is_empty()) {
        let failure = Failure::new(Exit::NoDatasets, format!("find run {run}"), "it is not on the volume");
        return Err(failure.hint("`worker runs` lists the runs"));
    }
    Ok(run)
}

/// Names become parts of file names and keys.
pub(crate) fn check_name<'a>(what: &str, name: &'a String) -> Result<&'a String, Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.chars().all(plain) {
        let why = "a name has 1 to 100 letters, digits, `-`, `_` and `.`, and begins with no `.`";
        let failure = Failure::new(Exit::Usage, format!("use {what} `{name}`"), why);
        return Err(failure.hint("choose another, as in `w1` or `2018-04`"));
    }
    Ok(name)
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        let failure = Self::of(Exit::Queue, &error);
        match error {
            QueueError::Away(_) if failure.hint.is_none() => {
                failure.hint("start it, or name another with --queue: `sqlite` needs no server")
            }
            _ => failure,
        }
    }
}

/// Runs the command line; the first argument is the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(code) = guard::main(&args) {
        return code;
    }
    let cli: Cli = match command_line::read(args) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match dispatch(cli.command) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(failure) => failure.report(),
    }
}

fn dispatch(command: Command) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::when(Exit::Failed, "start the runtime"))?;
    let result = runtime.block_on(async {
        match command {
            Command::Run(args) => run::run(*args).await,
            Command::Push(args) => push::push(args).await,
            Command::Unpush(args) => push::unpush(args).await,
            Command::Check(args) => check::check(&args).await,
            Command::Score(args) => score::score(&args),
            Command::Runs(args) => runs::runs(args).await,
            Command::Status(args) => status::status(args).await,
            Command::Watch(args) => watch::watch(args).await,
            Command::Serve(args) => serve::serve(args).await,
            Command::Report(args) => report::report(args).await,
            Command::Events(args) => events::events(args).await,
            Command::Logs(args) => logs::logs(args).await,
            Command::Doctor(args) => doctor::doctor(args).await,
            Command::Abandon(args) => abandon::abandon(args).await,
            Command::Prune(args) => prune::prune(args).await,
            Command::Common(command) => command.run(Cli::command()).map(|()| Exit::Finished),
        }
    });
    // A look-up of a name that hangs must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

/// Writes to standard output; a reader that went away (`| head`) is no failure.
///
/// # Errors
/// Where the output goes to a file that cannot take it.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let failure = Failure::new(Exit::Failed, "write to standard output", error);
            Err(failure.hint("free space there, or send it elsewhere"))
        }
        _ => Ok(()),
    }
}
