//! A batch inside this process: `worker::run` itself, several of it on one thread, on a real
//! directory and a real queue; and the crash of a worker at any of its I/Os.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sim::story::{Incarnation, Story};
use sim::view::{View, public_names};
use worker::audit::Share;
use worker::contract::{Exit, TESTING, TRAINING};
use worker::manifest::Spec;
use worker::path::name_of;
use worker::queue::{Inbox, Queue};
use worker::run::{Config, Ended, Source};
use worker::store::posix::Posix;
use worker::store::posix::dir::Directory;
use worker::system::{System, random_nonce};
use worker::workload::registry;

use crate::queue::{block_on, memory_in_real_time};

mod line;

pub use self::line::{Crash, FailedCall};
use self::line::{Line, Meter, WiredQueue, WiredVolume};

pub const RUN: &str = "1";

/// For a run of a few small datasets, however slow the machine: beyond it, it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// The datasets of a batch, by their paths on the volume.
#[derive(Debug, Clone)]
pub struct Batch {
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Batch {
    /// `trainings` days of some forty rows each, and the day after them to test with.
    pub fn small(trainings: u32) -> Self {
        let config = fixtures::Config { days: trainings + 1, ..fixtures::Config::small() };
        let days = fixtures::generate(&config).expect("the small configuration with other days");
        let path = |day: &fixtures::Day| {
            let folder = if day.number < trainings { TRAINING } else { TESTING };
            format!("{folder}/{}", day.file_name(fixtures::Format::Parquet))
        };
        Self { files: days.iter().map(|day| (path(day), fixtures::write_parquet(day))).collect() }
    }

    pub fn trainings(&self) -> Vec<String> {
        self.files.keys().filter(|path| path.starts_with(TRAINING)).cloned().collect()
    }

    /// The test day's name in a folder of all days: see [`Batch::lay_out`].
    pub const TEST_FILE: &str = "test.parquet";

    /// Puts all days into one folder, as a person has them.
    pub fn lay_out(&self, folder: &Path) {
        std::fs::create_dir_all(folder).expect("a folder");
        for (path, bytes) in &self.files {
            let name = if path.starts_with(TRAINING) { name_of(path) } else { Self::TEST_FILE };
            std::fs::write(folder.join(name), bytes).expect("a day is written");
        }
    }

    /// Copies the datasets to a volume.
    pub fn stage(&self, volume: &Path) {
        for (path, bytes) in &self.files {
            let to = volume.join(path);
            std::fs::create_dir_all(to.parent().expect("a path with folders")).expect("folders");
            std::fs::write(to, bytes).expect("a dataset is copied");
        }
    }
}

/// A machine without signals: its clock is this process's.
#[derive(Debug)]
struct Here(Instant);

impl Here {
    #[expect(clippy::disallowed_methods, reason = "an adapter: the runs are real ones")]
    fn new() -> Self {
        Self(Instant::now())
    }
}

impl System for Here {
    /// Events alone show it.
    fn wall_ms(&self) -> u64 {
        0
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    async fn stop_requested(&self) {
        std::future::pending().await
    }

    fn stopping_for(&self) -> Option<Duration> {
        None
    }

    fn nonce(&self) -> u128 {
        random_nonce()
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> std::result::Result<T, String> {
        Ok(work())
    }
}

/// How a batch's run went.
#[derive(Debug)]
pub struct Ran {
    /// Why each worker ended that did not crash for good, in the order of their numbers.
    pub ended: Vec<Ended>,
    /// The calls at which a fault was injected. A fault beyond the run's end is not among them.
    pub faulted: Vec<&'static str>,
    pub calls: u64,
    /// The workers' own events, as the simulator's checks read them.
    pub story: Story,
}

/// A run on a volume: its workers, and the faults injected into it.
#[derive(Debug, Clone, Copy)]
pub struct Play<'a> {
    pub volume: &'a Path,
    pub workers: u32,
    pub lease: Duration,
    pub crashes: &'a [Crash],
    pub failed: &'a [FailedCall],
    /// A worker that crashed is started again at once.
    pub comes_back: bool,
}

impl<'a> Play<'a> {
    /// One worker that nothing disturbs.
    pub fn quiet(volume: &'a Path) -> Self {
        Self {
            volume,
            workers: 1,
            lease: Duration::from_secs(3600),
            crashes: &[],
            failed: &[],
            comes_back: false,
        }
    }

    fn config(&self, worker: u32) -> Config {
        let workload = registry::standard().make("fraud", &BTreeMap::new()).expect("the workload's defaults");
        Config {
            worker: format!("w{worker}"),
            run: RUN.to_owned(),
            source: Source::Pushed,
            created: Some("2018-04-04 00:00:00".to_owned()),
            spec: Spec::of(workload.as_ref()),
            insists_on_spec: false,
            lease: self.lease,
            stall: PATIENCE,
            progress_every: Duration::from_secs(1),
            grace: Duration::from_secs(1),
            idle: Duration::from_millis(5),
            retries: 5,
            max_deliveries: 20,
            audit: Share::NONE,
            after: None,
            fail_on_rejected: false,
            cache_bytes: 1 << 20,
        }
    }

    /// Runs the workers until each has ended. One that crashes and comes back has a new client of
    /// the queue and its old name.
    ///
    /// # Panics
    /// Where the run does not end.
    pub async fn run<Q: Queue>(&self, client: impl Fn() -> Q) -> Ran {
        let meter = Rc::new(Meter::new(self.crashes, self.failed));
        let story = RefCell::new(Story { run: RUN.to_owned(), machines: self.workers, ..Story::default() });
        let live = |machine: u32| {
            let (meter, client, story) = (&meter, &client, &story);
            async move {
                loop {
                    let ended = self.incarnation(machine, client(), meter, story).await;
                    if ended.is_some() || !self.comes_back {
                        return ended;
                    }
                }
            }
        };
        let workers: Vec<_> = (0..self.workers).map(|machine| Box::pin(live(machine))).collect();
        let ended = tokio::time::timeout(PATIENCE, worker::conformance::all(workers)).await;
        let ended = ended.unwrap_or_else(|_| panic!("the run does not end: {self:?}"));
        let ended = ended.into_iter().flatten().collect();
        Ran { ended, faulted: meter.faulted(), calls: meter.calls(), story: story.into_inner() }
    }

    /// `None` where it crashed.
    async fn incarnation<Q: Queue>(
        &self,
        machine: u32,
        queue: Q,
        meter: &Rc<Meter>,
        story: &RefCell<Story>,
    ) -> Option<Ended> {
        let line = Line::new(meter);
        let (config, system) = (self.config(machine), Here::new());
        let store = Posix::new(WiredVolume(Directory::new(self.volume), line.clone()));
        let queue = WiredQueue(queue, line.clone());
        let registry = registry::standard();
        let factory = |spec: &Spec| registry.of(spec);
        let life = story.borrow().incarnations.len();
        story.borrow_mut().incarnations.push(Incarnation {
            machine,
            name: config.worker.clone(),
            pid: 0,
            started_ms: 0,
            ended_ms: None,
            exit: None,
            events: Vec::new(),
        });
        let tap = |event: &worker::events::Event| {
            story.borrow_mut().incarnations[life].events.push(event.clone());
        };
        let ended = tokio::select! {
            biased;
            () = line.is_cut() => None,
            ended = worker::run::run(&config, &queue, &store, &system, &factory, &tap) => Some(ended),
        };
        let mut story = story.borrow_mut();
        (story.incarnations[life].ended_ms, story.drained_ms) = (Some(0), Some(0));
        // 128 + SIGKILL, as shells have it, where it was cut off.
        story.incarnations[life].exit =
            Some(ended.as_ref().map_or(137, |ended| i32::from(ended.exit.code())));
        if ended.as_ref().is_some_and(|ended| Exit::is_complete(ended.exit.code().into()))
            && story.at_first_exit.is_none()
        {
            story.at_first_exit = Some(public_names(self.volume, RUN));
        }
        ended
    }
}

/// The public files that an undisturbed run of a batch leaves: its manifest, commits, report and
/// `output/`.
///
/// # Panics
/// Where that run fails.
pub fn undisturbed(batch: &Batch) -> View {
    let queue = memory_in_real_time();
    let folder = tempfile::tempdir().expect("a temporary folder");
    batch.stage(folder.path());
    let play = Play::quiet(folder.path());
    let ran = block_on(async {
        queue.push(&batch.trainings()).await.expect("pushed");
        play.run(|| queue.clone()).await
    });
    assert!(ran.ended.iter().all(|ended| Exit::is_complete(ended.exit.code().into())), "{:?}", ran.ended);
    View::read(folder.path(), RUN).expect("the run's files can be read")
}

/// The paths of which two views differ.
pub fn different(one: &View, other: &View) -> Vec<String> {
    let paths: BTreeSet<&String> = one.files.keys().chain(other.files.keys()).collect();
    paths.into_iter().filter(|&path| one.files.get(path) != other.files.get(path)).cloned().collect()
}
