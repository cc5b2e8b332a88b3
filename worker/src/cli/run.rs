//! `worker run`.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;

use super::batch::BatchArgs;
use super::kept_logs::{self, Uploads};
use super::{Failure, QueueArgs, check_name, log, newest_run, patiently};
use crate::contract::{Exit, RunPaths};
use crate::duration::{parse_duration, parse_positive};
use crate::manifest::{Page, Spec, normalise};
use crate::queue::Inbox;
use crate::record::Record;
use crate::run::{Config, Source};
use crate::store::any::AnyStore;
use crate::store::calls::Calls;
use crate::store::{Kind, Store};
use crate::system::{Machine, System};
use crate::workload::Outcome;

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    queue: QueueArgs,
    /// The run's name, the same for all its workers [default: the newest number until its report is
    /// there, then the next; another --list begins another]
    #[arg(long, env = "WORKER_RUN", value_name = "NAME")]
    run: Option<String>,
    /// A file on the volume that lists the run's datasets, one path a line; nothing can be pushed
    /// to such a run. Without it, the run consists of what is pushed.
    #[arg(long, env = "WORKER_LIST", value_name = "PATH")]
    list: Option<String>,
    /// This worker's name in events and in the queue [default: the host's]
    #[arg(long, env = "WORKER_NAME", value_name = "NAME")]
    name: Option<String>,
    /// The time without a heartbeat after which an item is redelivered to another worker.
    #[arg(long, env = "WORKER_LEASE", value_name = "TIME", default_value = "5s", value_parser = parse_positive)]
    lease: Duration,
    /// The time between SIGTERM and SIGKILL.
    #[arg(long, env = "WORKER_GRACE", value_name = "TIME", default_value = "15s", value_parser = parse_duration)]
    grace: Duration,
    /// How often an idle worker asks for work [default: 50ms; on a bucket, where each poll costs money, 1s]
    #[arg(long, env = "WORKER_IDLE", value_name = "TIME", value_parser = parse_positive)]
    idle: Option<Duration>,
    #[command(flatten)]
    batch: BatchArgs,
    /// Stop as on SIGTERM when standard input ends: a launcher that dies takes its workers along.
    #[arg(long)]
    stop_with_stdin: bool,
    /// The form of the log.
    #[arg(long, env = "WORKER_LOG", value_name = "FORM", default_value = "text")]
    log: log::Form,
}

/// Bytes of an attempt's output that a launcher is shown.
const SHOWN_MAX: u64 = 1 << 20;

/// How often an idle worker looks at a folder.
const IDLE: Duration = Duration::from_millis(50);
/// How often it looks at a bucket: two or three requests a look, at about a dollar for two million.
const IDLE_ON_BUCKET: Duration = Duration::from_secs(1);
/// Memory for commits that later datasets read again.
const CACHE_BYTES: usize = 64 << 20;

pub(crate) async fn run(args: RunArgs) -> Result<Exit, Failure> {
    log::start(args.log);
    let store = args.queue.store().await?;
    let machine =
        Machine::new(args.stop_with_stdin).map_err(Failure::when(Exit::Failed, "listen for signals"))?;
    let source = source_of(&args, &store).await?;
    let name = match &args.run {
        Some(name) => check_name("--run", name)?.clone(),
        None => choose_run(&args, &source, &store).await?,
    };
    let logs = kept_logs::place(&args.queue.on.volume, &name);
    // A launcher keeps it in a file.
    let shown_max = if args.log == log::Form::Events { SHOWN_MAX } else { u64::MAX };
    let batch = &args.batch;
    let registry = batch.workload.registry(shown_max, Some(logs.clone()));
    let named = batch.workload.named(batch.work_rounds);
    let workload = named
        .and_then(|(name, params)| registry.make(name, &params))
        .map_err(|reason| Failure::of(Exit::Usage, reason))?;
    let config = Config {
        worker: check_name("--name", &args.name.clone().unwrap_or_else(host_name))?.clone(),
        run: name.clone(),
        source,
        after: batch.after(),
        created: batch.created.clone(),
        spec: Spec::of(workload.as_ref()),
        // Another command must not replace the user's without notice.
        insists_on_spec: batch.is_program(),
        lease: args.lease,
        stall: batch.stall,
        progress_every: batch.progress_every,
        grace: args.grace,
        idle: args.idle.unwrap_or(if store.is_bucket() { IDLE_ON_BUCKET } else { IDLE }),
        retries: batch.retries,
        max_deliveries: batch.max_deliveries,
        audit: batch.workload.audit,
        fail_on_rejected: batch.fail_on_rejected,
        cache_bytes: CACHE_BYTES,
    };
    let queue = args.queue.open(&store, &name).await?;
    let session = session_id(machine.nonce());
    let tap = |event: &_| log::tell(args.log, &session, event);
    let factory = |spec: &Spec| registry.of(spec);
    let uploads = Uploads { logs: &logs, store: &store, machine: &machine, run: &name, grace: config.grace };
    let ended = uploads.beside(crate::run::run(&config, &queue, &store, &machine, &factory, &tap)).await;
    if let Some(Calls { writes, lists, reads, deletes }) = store.calls()
        && args.log != log::Form::Events
    {
        tracing::info!(writes, lists, reads, deletes, "calls to {}", args.queue.on.volume);
    }
    // A preemption is no error, and a log of JSON holds nothing else.
    let is_said = matches!(ended.exit, Exit::Finished | Exit::Preempted) || args.log != log::Form::Text;
    if !is_said {
        let failure = Failure::of(ended.exit, ended.reason);
        let is_program = ended.exit == Exit::Failed && batch.is_program() && failure.hint.is_none();
        let hint = || {
            format!(
                "correct the program and start workers again; for another command first `worker abandon {name}`"
            )
        };
        return Err(if is_program { failure.hint(hint()) } else { failure });
    }
    Ok(ended.exit)
}

async fn source_of(args: &RunArgs, store: &AnyStore) -> Result<Source, Failure> {
    let Some(list) = &args.list else { return Ok(Source::Pushed) };
    let bytes = patiently(async || store.get(list).await).await.map_err(|error| {
        // Of a volume that fails, another worker may read it.
        let missing = matches!(error.kind, Kind::NotFound | Kind::Permission | Kind::NoFile);
        let exit = if missing { Exit::Input } else { Exit::Volume };
        Failure::new(exit, format!("read --list {list}"), error)
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::new(Exit::Input, format!("read --list {list}"), "it is no text"))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(Source::Listed(lines.map(|line| store.inside(line).unwrap_or_else(|| line.to_owned())).collect()))
}

/// The newest numbered run until its report is there, or while nothing waits for another; else the next.
/// A worker that is started again with the same list continues the run of that list.
async fn choose_run(args: &RunArgs, source: &Source, store: &AnyStore) -> Result<String, Failure> {
    let Some(newest) = newest_run(store).await? else {
        return Ok("1".to_owned());
    };
    let name = newest.to_string();
    let paths = RunPaths::new(&name);
    let reported = patiently(async || store.exists(&paths.report()).await).await;
    let ended = reported.map_err(|error| Failure::of(Exit::Volume, error))?;
    let for_the_next = match source {
        Source::Listed(list) => ended || is_of_another_list(store, &paths, list).await?,
        Source::Pushed => ended && args.queue.open(store, &name).await?.pushed_count().await? > 0,
    };
    Ok(if for_the_next { (newest + 1).to_string() } else { name })
}

/// Whether a run has begun, and not from this list.
async fn is_of_another_list(store: &AnyStore, paths: &RunPaths, list: &[String]) -> Result<bool, Failure> {
    let bytes = match patiently(async || store.get(&paths.chapter(0)).await).await {
        Err(error) if error.kind == Kind::NotFound => return Ok(false),
        read => read.map_err(|error| Failure::of(Exit::Volume, error))?,
    };
    // The worker that continues the run reports a record that cannot be read.
    let Ok(Record { outcome: Outcome::Part(content), .. }) = Record::decode(bytes) else { return Ok(false) };
    let Ok(Page::First { last, inherited, datasets, .. }) = Page::decode(&content) else { return Ok(false) };
    let inherited: BTreeSet<String> = inherited.into_iter().map(|one| one.dataset.path).collect();
    let held: BTreeSet<String> = datasets.into_iter().map(|dataset| dataset.path).collect();
    let listed: BTreeSet<String> = list
        .iter()
        .filter_map(|path| normalise(path).ok())
        .filter(|path| !inherited.contains(path))
        .collect();
    Ok(!last || held != listed)
}

fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.unwrap_or_else(|| "worker".to_owned())
}

/// A random 128-bit number in the form of a UUID (version 4, RFC 9562), as the tutorial shows it.
fn session_id(nonce: u128) -> String {
    let bits = nonce & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
