//! `sim run`: datasets to a volume, workers as processes, a schedule of preemptions, and afterwards
//! the checks, the comparison with an undisturbed run, and a report.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use worker::contract::Exit;
use worker::failure::Failure;
use worker::manifest::Role;
use worker::store::any::AnyStore;
use worker::store::location::Location;
use worker::workload::Workload;
use worker::workload::registry::{self, WorkloadArgs};

use crate::backend::process::redis::Server;
use crate::backend::process::{self, Plan, child};
use crate::datasets::{Datasets, put};
use crate::out::Out;
use crate::report::Phase;
use crate::report::terminal::{Mode, Terminal};
use crate::schedule::{Draw, Rule, Schedule};
use crate::signals::Signals;
use crate::story::Story;
use crate::units::{Span, positive, share};

mod afterwards;
mod calibrate;
mod earlier;
#[cfg(feature = "kind")]
mod kind;
mod place;
mod queue;
mod results;
mod tail;
mod volume;

pub use queue::QueueChoice;

use earlier::Earlier;
use place::{Backend, PlaceArgs};
use tail::Tail;

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Workers, each on a machine of its own.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=256))]
    workers: u32,
    /// A folder of datasets, with days in their names [default: 8 generated days and a test day]
    #[arg(long, value_name = "DIR")]
    datasets: Option<PathBuf>,
    /// A dataset to test with [default: those with `test` in their name]
    #[arg(long, value_name = "FILE", requires = "datasets")]
    test: Vec<PathBuf>,
    /// `sqlite`, `redis` (a server of the simulator's own), or `redis://HOST[:PORT][/DB]`
    /// [default: sqlite; on kind the cluster's Redis]
    #[arg(long, value_name = "QUEUE")]
    queue: Option<QueueChoice>,
    /// When machines are preempted: `progress` (by the work done), `none`, `poisson:<mean>` or `every:<time>`
    /// (each for each worker), or `schedule:<file>` (as a run recorded it)
    #[arg(long, value_name = "RULE", default_value = "progress")]
    preempt: Rule,
    /// Time from SIGTERM to SIGKILL [default: 250ms; fixed at 15s on kind, as on GKE]
    #[arg(long, value_name = "TIME")]
    grace: Option<Span>,
    /// The time without a heartbeat after which an item is redelivered to another worker [default: 1s; on kind 5s]
    #[arg(long, value_name = "TIME", value_parser = positive)]
    lease: Option<Span>,
    /// Share of the preemptions by time that come as SIGKILL, without notice.
    #[arg(long, value_name = "SHARE", default_value = "0.3", value_parser = share)]
    silent: f64,
    /// Share of the preemptions by time that stop a machine past its lease and let it return.
    #[arg(long, value_name = "SHARE", default_value = "0.2", value_parser = share)]
    pause: f64,
    /// Computing time added to the preparation of each dataset [default: 400ms without
    /// --datasets (on kind 8s), else nothing]
    #[arg(long, value_name = "TIME")]
    work: Option<Span>,
    /// The seed of the schedule; the results do not depend on it.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..1 << 63))]
    seed: u64,
    /// Where the volume, the report and the page go [default: out/<name of the datasets' folder>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A bucket in place of that volume, `s3://BUCKET/PREFIX` or `gs://BUCKET/PREFIX`. What the run leaves there is copied
    /// to --out, and checked
    #[arg(long, value_name = "URL", value_parser = worker::cli::location(), conflicts_with = "resume")]
    volume: Option<Location>,
    /// Continue a complete run in the same --out: begin with its last state, and with its datasets as history.
    /// Datasets that are part of it already are left out
    #[arg(long, value_name = "RUN", requires = "datasets", conflicts_with_all = ["continues", "work"])]
    after: Option<String>,
    /// Continue the newest complete run in the same --out; where there is none, begin from nothing
    #[arg(long = "continue", requires = "datasets", conflicts_with = "work")]
    continues: bool,
    /// Resume the newest run in --out, which was interrupted. Give the other options as before
    #[arg(long, conflicts_with = "work")]
    resume: bool,
    /// Exit with 9 where a dataset was rejected, though the others were trained on. If none could be, it exits with 9
    /// in any case.
    #[arg(long)]
    fail_on_rejected: bool,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// Run undisturbed as well, and compare byte for byte [default: true without --datasets]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    verify: Option<bool>,
    #[command(flatten)]
    workload: WorkloadArgs,
}

/// The part of the bound on a run's end that depends on nothing.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a dataset may take beside its `--work`, on a slow machine.
const PATIENCE_PER_DATASET: Duration = Duration::from_secs(3);
/// What the calls of a bucket may take in all, while its server is away for a while.
const PATIENCE_OF_BUCKET: Duration = Duration::from_secs(60);
/// How often an idle worker looks at a bucket. Outside of the simulator it looks more seldom.
const IDLE_ON_BUCKET: Span = Span::ms(200);
/// What a program of the user's may take for a dataset, all stages together: how long it takes is not known.
const PATIENCE_PER_PROGRAM: Duration = Duration::from_secs(1_800);
/// The file that lists a run's datasets, in its own folder.
const LIST: &str = "datasets.txt";

/// Everything decided before the first process starts.
struct Prepared {
    args: RunArgs,
    workload: Arc<dyn Workload>,
    datasets: Datasets,
    out: Out,
    queue: QueueChoice,
    schedule: Schedule,
    plan: Plan,
    /// Of a volume that is a bucket.
    bucket: Option<AnyStore>,
    mode: Mode,
    /// What went before the run, on a cluster.
    phases: Vec<Phase>,
}

/// Runs it, to an exit code.
///
/// # Errors
/// With what was wrong, where there was nothing to run.
pub fn main(args: RunArgs) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::when(Exit::Failed, "start the runtime"))?;
    let answer = runtime.block_on(run(args));
    runtime.shutdown_timeout(Duration::from_millis(100));
    answer
}

async fn run(args: RunArgs) -> Result<u8, Failure> {
    let mut prepared = prepare(args)?;
    if prepared.args.place.backend == Backend::Kind {
        return on_kind(prepared).await;
    }
    prepared.stage_in_bucket().await?;
    let mut server = prepared.start_queue().await?;
    let mut terminal = Terminal::new(prepared.mode, prepared.plan.workers, prepared.commits());
    for line in prepared.headline(server.as_ref()) {
        terminal.say(&line);
    }
    let mut tail = Tail::new(&prepared.plan.errors);
    let mut watch = |story: &Story, update| {
        terminal.update(story, update);
        tail.read(&mut |line| terminal.say(line));
    };
    let mut signals = Signals::new()?;
    let (plan, schedule) = (&prepared.plan, &prepared.schedule);
    let ran = process::run(plan, schedule, server.as_mut(), &mut signals, &mut watch).await;
    terminal.end(ran.as_ref().ok().map(|(story, _)| story));
    let ran = match prepared.fetch_from_bucket().await {
        Ok(()) => ran,
        Err(failure) => ran.and(Err(failure)),
    };
    let answer = match ran {
        Ok((story, ended)) => afterwards::conclude(&prepared, &story, ended, &mut signals).await,
        Err(failure) => Err(failure),
    };
    if let Some(server) = &mut server {
        server.stop().await;
    }
    answer
}

#[cfg(feature = "kind")]
async fn on_kind(prepared: Prepared) -> Result<u8, Failure> {
    kind::run(prepared).await
}

#[cfg(not(feature = "kind"))]
async fn on_kind(_: Prepared) -> Result<u8, Failure> {
    let failure = Failure::new(Exit::Usage, "use --backend kind", "this program was built without it");
    Err(failure.hint("cargo run --release -p sim --features kind -- run --backend kind"))
}

fn prepare(args: RunArgs) -> Result<Prepared, Failure> {
    args.place.check(args.grace)?;
    volume::check(&args)?;
    check_program(&args)?;
    let is_program = args.workload.exec.is_program();
    let defaults = args.place.backend.defaults();
    let takes_longer = args.datasets.is_none() && !is_program;
    let work = args.work.unwrap_or(if takes_longer { defaults.work } else { Span::ms(0) });
    let root = args.out.clone().unwrap_or_else(|| default_out(args.datasets.as_deref()));
    let earlier = earlier(&args, &root)?;
    let resumed = args.resume.then(|| Out::resume(&root)).transpose()?;
    let begun = match &resumed {
        Some(out) => Earlier::begun(&out.root, &out.run)?,
        None => None,
    };
    let known = begun.as_ref().or(earlier.as_ref());
    let rounds = known.map_or_else(|| calibrate::rounds(work), Earlier::rounds);
    let workload = workload(&args.workload, rounds).map_err(|why| Failure::of(Exit::Usage, why))?;
    let all = match (&resumed, &args.datasets) {
        (Some(out), _) => Datasets::staged(&out.root, &listed(out)?, workload.as_ref()),
        (None, Some(folder)) => Datasets::find(folder, &args.test, workload.as_ref())?,
        (None, None) => Datasets::generated(workload.as_ref())?,
    };
    let datasets = match &resumed {
        Some(_) => all.clone(),
        None => fresh(&all, earlier.as_ref(), workload.as_ref())?,
    };
    let lease = args.lease.unwrap_or(defaults.lease);
    let queue = args.place.queue(args.queue.as_ref())?;
    let schedule = schedule_of(&args, &datasets, work, lease, &queue)?;
    let out = resumed.map_or_else(|| Out::open(&root), Ok)?;
    all.stage(&out.root)?;
    let list = out.relative(LIST);
    let lines = datasets.paths.join("\n") + "\n";
    put(&out.root.join(&list), lines.as_bytes())?;
    put(&out.folder().join("schedule.toml"), schedule.to_toml().as_bytes())?;
    let location = args.volume.clone().unwrap_or_else(|| out.root.as_path().into());
    let is_bucket = args.volume.is_some();
    let plan = Plan {
        exe: child::own_program()?,
        volume: out.root.clone(),
        location,
        run: out.run.clone(),
        queue: String::new(),
        list,
        after: earlier.map(|earlier| earlier.run),
        created: datasets.created.clone(),
        workers: args.workers,
        lease,
        grace: args.grace.unwrap_or(defaults.grace),
        progress_every: Span::ms((work.ms / 10).clamp(20, 1_000)),
        idle: if is_bucket { IDLE_ON_BUCKET } else { defaults.idle },
        rounds,
        workload: args.workload.clone(),
        errors: out.folder().join("workers.log"),
        patience: patience(&datasets, work, lease, is_program)
            + defaults.patience
            + if is_bucket { PATIENCE_OF_BUCKET } else { Duration::ZERO },
    };
    let mode = match (args.json, std::io::stdout().is_terminal() && std::io::stderr().is_terminal()) {
        (true, _) => Mode::Silent,
        (false, true) => Mode::Bars,
        (false, false) => Mode::Lines,
    };
    Ok(Prepared {
        args,
        workload,
        datasets,
        out,
        queue,
        schedule,
        plan,
        bucket: None,
        mode,
        phases: Vec::new(),
    })
}

/// The workload that the command line names.
fn workload(args: &WorkloadArgs, rounds: u64) -> Result<Arc<dyn Workload>, String> {
    let (name, params) = args.named(rounds)?;
    registry::standard().make(name, &params)
}

/// The datasets of a run, as its list has them.
fn listed(out: &Out) -> Result<Vec<String>, Failure> {
    let path = out.folder().join(LIST);
    let text = std::fs::read_to_string(&path)
        .map_err(Failure::when(Exit::Volume, format!("resume run {}: read {}", out.run, path.display())))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// The run to be continued, if one is.
fn earlier(args: &RunArgs, volume: &Path) -> Result<Option<Earlier>, Failure> {
    let options =
        [("--resume", args.resume), ("--continue", args.continues), ("--after", args.after.is_some())];
    let given = options.iter().find(|(_, is_given)| *is_given);
    if let Some((option, _)) = given.filter(|_| args.place.backend == Backend::Kind) {
        let why = "with --backend kind each run begins with an empty volume";
        return Err(Failure::new(Exit::Usage, format!("use {option}"), why).hint("leave it out"));
    }
    match &args.after {
        Some(run) => Earlier::named(volume, run).map(Some),
        None if args.continues => Earlier::newest(volume),
        None => Ok(None),
    }
}

/// The datasets that are not part of the run that is continued.
fn fresh(all: &Datasets, earlier: Option<&Earlier>, workload: &dyn Workload) -> Result<Datasets, Failure> {
    let Some(earlier) = earlier else { return Ok(all.clone()) };
    let fresh = all.clone().without(&earlier.held(), workload);
    if fresh.trainings() > 0 {
        return Ok(fresh);
    }
    let why = format!("all {} datasets to train on are part of it", all.trainings());
    let failure = Failure::new(Exit::NoDatasets, format!("continue run {}", earlier.run), why);
    Err(failure.hint("add a later one to --datasets"))
}

/// What cannot be asked of a program.
fn check_program(args: &RunArgs) -> Result<(), Failure> {
    if !args.workload.is_program() {
        if args.place.image.is_none() {
            return Ok(());
        }
        let failure =
            Failure::new(Exit::Usage, "use --image", "it is the image of a program, and none is given");
        return Err(failure.hint("give the program's command after `--`"));
    }
    if args.work.is_some() {
        let failure = Failure::new(
            Exit::Usage,
            "use --work",
            "it makes the fraud model's datasets take longer, not a program's",
        );
        return Err(failure.hint("let the program itself take longer"));
    }
    Ok(())
}

fn schedule_of(
    args: &RunArgs,
    datasets: &Datasets,
    work: Span,
    lease: Span,
    queue: &QueueChoice,
) -> Result<Schedule, Failure> {
    let cluster = args.place.backend == Backend::Kind;
    let schedule = match &args.preempt {
        Rule::File(file) => {
            let doing = || format!("read schedule {file}");
            let text = std::fs::read_to_string(file).map_err(|error| error.to_string());
            let hint = "each `sim run` writes its own, OUT/sim/RUN/schedule.toml";
            let schedule = text.and_then(|text| Schedule::parse(&text).map_err(|error| error.to_string()));
            schedule.map_err(|why| Failure::new(Exit::Usage, doing(), why.trim_end()).hint(hint))?
        }
        rule => Schedule::draw(
            rule,
            &Draw {
                seed: args.seed,
                workers: args.workers,
                datasets: datasets.trainings() + datasets.tests(),
                lease,
                silent: args.silent,
                pause: args.pause,
                long: work.ms >= 100,
                cluster,
            },
        ),
    };
    if schedule.needs_cluster() && !cluster {
        let why = "it cuts networks or restarts the volume's server, which processes do not have";
        return Err(Failure::new(Exit::Usage, "use the schedule", why).hint("use --backend kind"));
    }
    if schedule.has_queue_faults() && !matches!(queue, QueueChoice::OwnRedis | QueueChoice::Cluster) {
        let why = format!("it restarts or wipes Redis, and --queue is {queue}");
        let failure = Failure::new(Exit::Usage, "use the schedule", why);
        return Err(failure.hint("use --queue redis, a server of the simulator's own"));
    }
    Ok(schedule)
}

fn default_out(datasets: Option<&Path>) -> PathBuf {
    let name = datasets.map(|folder| folder.canonicalize().unwrap_or_else(|_| folder.to_owned()));
    let name = name.as_deref().and_then(Path::file_name).map_or("generated".into(), |name| name.to_owned());
    Path::new("out").join(name)
}

fn patience(datasets: &Datasets, work: Span, lease: Span, is_program: bool) -> Duration {
    let count = datasets.trainings() + datasets.tests();
    let each = if is_program { PATIENCE_PER_PROGRAM } else { PATIENCE_PER_DATASET };
    PATIENCE + lease.duration() * 4 + (work.duration() * 3 + each) * count
}

impl Prepared {
    /// How many commits the run will have: a list's manifest is one page.
    fn commits(&self) -> u64 {
        let (trainings, tests) = (u64::from(self.datasets.trainings()), u64::from(self.datasets.tests()));
        let pipeline = self.workload.pipeline();
        let of = |role| pipeline.stages_of(role).count() as u64;
        let stages = of(Role::Train) * trainings + of(Role::Test) * tests;
        // With the manifest, the report, what `output/` has held, and what a command makes at the end.
        stages + 3 + u64::from(pipeline.end().is_some())
    }

    fn headline(&self, server: Option<&Server>) -> Vec<String> {
        let queue = server.map_or_else(|| self.queue.to_string(), Server::what);
        let mut lines = vec![
            self.what_will_happen(),
            format!(
                "queue {queue}; lease {}, grace {}; preemptions {}, seed {}",
                self.plan.lease, self.plan.grace, self.schedule.rule, self.schedule.seed
            ),
            format!("run {} in {}", self.out.run, self.shown(&self.out.root)),
        ];
        if self.bucket.is_some() {
            lines.push(format!("volume {}", self.plan.location));
        }
        if !self.datasets.skipped.is_empty() {
            lines.push(format!("skipped, being no datasets: {}", self.datasets.skipped.join(", ")));
        }
        lines
    }

    /// The whole of it in one line.
    fn what_will_happen(&self) -> String {
        let (trainings, tests) = (self.datasets.trainings(), self.datasets.tests());
        let datasets = if trainings == 1 { "dataset" } else { "datasets" };
        let begin = match &self.plan.after {
            _ if self.args.resume => format!("resume run {}: ", self.plan.run),
            Some(run) => format!("continue run {run}: "),
            None => String::new(),
        };
        let workers = if self.args.workers == 1 { "worker" } else { "workers" };
        let preempted = match (&self.args.preempt, self.schedule.preemptions.len()) {
            (_, 0) => "never preempted".to_owned(),
            (Rule::Poisson(mean), _) => format!("each preempted every {mean} on average"),
            (Rule::Every(gap), _) => format!("each preempted every {gap}"),
            (_, 1) => "preempted once".to_owned(),
            (_, times) => format!("preempted {times} times"),
        };
        let then = if self.verifies() { "; then again undisturbed, to compare" } else { "" };
        format!(
            "{begin}train on {trainings} {datasets}, test on {tests}; {} {workers}, {preempted}{then}",
            self.args.workers
        )
    }

    /// Whether the run is compared with an undisturbed one.
    fn verifies(&self) -> bool {
        self.args.verify.unwrap_or(self.args.datasets.is_none())
    }

    /// A path as a person would type it from here.
    fn shown(&self, path: &Path) -> String {
        let here = std::env::current_dir().unwrap_or_default();
        path.strip_prefix(here).unwrap_or(path).display().to_string()
    }
}
