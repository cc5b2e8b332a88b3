//! What a worker says while it works: the tutorial's lines among structured ones, or every event.

use std::io::Write;

use clap::ValueEnum;
use tracing::{debug, error, info, warn};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt, registry};

use crate::contract::Exit;
use crate::events::{Event, What};
use crate::explained;
use crate::failure::Failure;

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    Text,
    Json,
    /// Every event as a line of JSON on standard output: what the simulator reads.
    Events,
}

/// From this many lost deliveries on, each is logged.
const LOST_LOUD: u32 = 3;

/// The levels that RUST_LOG names, of all modules or of some (`debug`, `engine::run=debug,info`), or else the default. Not
/// tracing's `EnvFilter`, which also filters by the fields of spans: it compiles regular expressions, and they are a
/// thirtieth of a cold build.
pub fn levels(default: &str) -> Targets {
    let chosen = std::env::var("RUST_LOG").ok().and_then(|levels| levels.parse().ok());
    chosen.unwrap_or_else(|| default.parse().unwrap_or_default())
}

/// Begins logging on standard error; RUST_LOG chooses the level.
pub(crate) fn start(form: Form) {
    let log = fmt::layer().with_target(false).with_writer(std::io::stderr);
    // It would say on standard error that it cannot write there, and panic where nobody reads that any more.
    let log = log.log_internal_errors(false);
    let log = match form {
        Form::Text | Form::Events => log.with_ansi(false).boxed(),
        Form::Json => log.json().flatten_event(true).boxed(),
    };
    // Requests to a bucket that are repeated: a person who waits for it wants to see them.
    let default = if form == Form::Events { "info,object_store=warn" } else { "info" };
    // A second start in one process keeps the first one's form.
    let _ = registry().with(log).with(levels(default)).try_init();
}

/// Tells one event; `session` is the tutorial's name for an incarnation of a worker.
pub(crate) fn tell(form: Form, session: &str, event: &Event) {
    if form == Form::Events {
        if let Ok(mut line) = serde_json::to_string(event) {
            line.push('\n');
            // One write a line: a reader never sees half of one unless we are killed.
            let _ = std::io::stdout().write_all(line.as_bytes());
        }
        return;
    }
    say(form, session, &event.what);
}

fn say(form: Form, session: &str, what: &What) {
    match what {
        What::Started { queue_empty, run, .. } => {
            info!(run, "Worker with sessionID: {session}");
            let empty = if *queue_empty { "True" } else { "False" };
            info!("Initial queue state: empty={empty}");
        }
        What::Claimed { item, dataset, lost, .. } if *lost >= LOST_LOUD => {
            let what = dataset.as_deref().unwrap_or("no dataset of its own");
            warn!(%item, lost, "redelivered: {lost} workers in a row died at it and made no progress: {what}");
        }
        What::Claimed { dataset: Some(path), token, .. } if what.begins() => {
            info!(token, "Processing dataset: {path}");
        }
        What::Began { dataset, .. } => info!("Processing dataset: {dataset}"),
        What::Claimed { item, token, taken_over_from, .. } => {
            debug!(%item, token, taken_over_from, "claimed");
        }
        What::Resumed { item, done, total, from } => {
            info!(%item, done, total, from, "going on from saved progress");
        }
        What::Committed { item, path, hash, won, .. } => {
            debug!(%item, path, hash = hash.short(), won, "committed");
        }
        What::GaveBack { item, why, reason, .. } => {
            // The hint is for the end, should it come to that.
            let reason = reason.lines().next().unwrap_or_default();
            warn!(%item, ?why, "released: {reason}");
        }
        What::Foreign { item } => warn!(%item, "removed from the queue: not an item of this run"),
        What::Refused { path, reason } => {
            warn!(explain = %explained::REFUSED, "refused {}: {reason}", path.escape_debug())
        }
        What::Continues { run, datasets } => info!("continuing run {run}, with {datasets} datasets"),
        What::BeganFromNothing { earlier } => {
            warn!("this run starts without a model: it does not continue run {earlier} or any other");
        }
        What::LeftOut { tally } => warn!("{}: the report says why", tally.left_out()),
        What::LeaseLost { item, token } => {
            warn!(%item, token, explain = %explained::LEASE_LOST, "the lease is lost; the first commit wins")
        }
        What::Stalled { item, token } => {
            warn!(%item, token, explain = %explained::STALLED, "no progress: the lease is no longer extended");
        }
        What::QueueAway { error } => {
            warn!(explain = %explained::QUEUE_AWAY, "waiting for the queue: {error}")
        }
        What::QueueBack => info!("the queue is back"),
        What::Waits { reason } => warn!("waiting: {reason}"),
        What::Repaired { path, .. } => warn!(path, explain = %explained::TORN, "replaced a torn file"),
        What::Sealed { datasets } => info!(datasets, "sealed"),
        What::Audited { path, equal: true, by_digest: false, .. } => {
            info!(path, "audited: two results are equal")
        }
        What::Audited { path, equal: true, .. } => info!(path, "audited: two results have the same digest"),
        What::Violation { path, attempts } => error!(path, ?attempts, "two results of one item differ"),
        What::Exited { code, reason } if *code == Exit::Finished.code() => {
            info!("{reason}");
            info!("Queue empty, exiting");
        }
        What::Exited { code, reason } if *code == Exit::Preempted.code() => info!(code, "{reason}"),
        // In text the program's own last line says it, with its hint.
        What::Exited { code, reason } if form == Form::Json => {
            let failure = Failure { exit: *code, ..Failure::of(Exit::Failed, reason) };
            let explain = failure.code().map(|code| code.to_string());
            error!(code, hint = failure.hint, explain, "{}", failure.why);
        }
        What::Exited { .. } => {}
        other => debug!(?other, "event"),
    }
}
