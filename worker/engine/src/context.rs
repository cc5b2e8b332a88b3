//! What every part of a worker is handed: its configuration, the ports, its event log and its heartbeat counter.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use crate::attempt::Attempt;
use crate::audit::Share;
use crate::contract::{Exit, RUNS, RunPaths};
use crate::events::{EventLog, EventSink, What};
use crate::hash::Hash;
use crate::item_error::ItemError;
use crate::manifest::Spec;
use crate::mutant::Mutant;
use crate::queue::{Queue, WorkQueue};
use crate::store::{Store, StoreError};
use crate::system::System;
use crate::workload::Workload;

/// The share of a block, 1 in `IN_PLACE`, that is hashed at once: 16 KiB.
const IN_PLACE: u64 = 512;

/// Where chapter 0's datasets come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Exactly these; the run is born sealed.
    Listed(Vec<String>),
    /// What was pushed to the queue, with everything in `datasets/testing` and
    /// `datasets/history`; more may be pushed until the seal.
    Pushed,
}

/// The run that a new one continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// The run of this name.
    Run(String),
    /// The newest numbered run that is complete; without one, the run begins from nothing.
    Newest,
}

/// How a launcher configures a worker.
#[derive(Debug, Clone)]
pub struct Config {
    /// The worker's name in events and in the queue; need not be unique.
    pub worker: String,
    /// The run's name.
    pub run: String,
    /// Where its datasets come from.
    pub source: Source,
    /// What the run continues, if this worker is the one that begins it.
    pub after: Option<After>,
    /// The date that the report shows, where the launcher decides it; else the time of begin.
    pub created: Option<String>,
    /// What to do, if this worker is the one that begins the run.
    pub spec: Spec,
    /// Whether a run that was begun with another is refused. Else the run's own counts.
    pub insists_on_spec: bool,
    /// An item is redelivered when its owner has sent no heartbeat for this long.
    pub lease: Duration,
    /// A worker stops its heartbeats after this time without progress.
    pub stall: Duration,
    /// The longest time between two saves of progress, of work that has any: hashing, a join or fold of more than 16,384
    /// rows, a user's program, extra work. Of other work a preemption loses the whole item.
    pub progress_every: Duration,
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
    /// How often an idle worker asks the queue.
    pub idle: Duration,
    /// Failed attempts at one item, by input or by a defect, before the worker gives up loudly.
    pub retries: u32,
    /// How many workers in a row may die at one item, none of them making progress, before the run stops loudly.
    pub max_deliveries: u32,
    /// The share of the items that are done twice and compared before they are committed.
    pub audit: Share,
    /// Whether a complete run that left something out is a failure.
    pub fail_on_rejected: bool,
    /// Most bytes of commits kept in memory for the windows of later datasets.
    pub cache_bytes: usize,
}

impl Config {
    /// With defaults for all but what has none: leases of 5 s, a grace of 15 s.
    pub fn new(worker: &str, run: &str, source: Source, spec: Spec) -> Self {
        Self {
            worker: worker.to_owned(),
            run: run.to_owned(),
            source,
            after: None,
            created: None,
            spec,
            insists_on_spec: false,
            lease: Duration::from_secs(5),
            stall: Duration::from_secs(60),
            progress_every: Duration::from_secs(1),
            grace: Duration::from_secs(15),
            idle: Duration::from_millis(50),
            retries: 5,
            max_deliveries: 20,
            audit: Share::NONE,
            fail_on_rejected: false,
            cache_bytes: 64 << 20,
        }
    }
}

/// Makes the workload that a manifest names; refuses with a reason.
pub type Factory<'a> = &'a dyn Fn(&Spec) -> Result<Arc<dyn Workload>, String>;

/// How a worker ended, and the one line that says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub exit: Exit,
    /// Why, with a hint on a line of its own where there is one.
    pub reason: String,
}

/// The ports of a worker under one name.
pub(crate) trait Ports {
    type Queue: Queue;
    type Store: Store;
    type System: System;
}

impl<Q: Queue, S: Store, Y: System> Ports for (Q, S, Y) {
    type Queue = Q;
    type Store = S;
    type System = Y;
}

/// See the module.
pub(crate) struct Context<'a, P: Ports> {
    pub config: &'a Config,
    pub queue: &'a P::Queue,
    pub store: &'a P::Store,
    pub system: &'a P::System,
    pub paths: RunPaths,
    events: EventLog<'a, <P::Store as Store>::Log>,
    /// Grows with every piece of progress. The heartbeat is sent only while it grows.
    ticks: Cell<u64>,
    /// What the present claim has made durable.
    progress: Cell<u64>,
    jitter: Cell<u64>,
}

impl<'a, P: Ports> Context<'a, P> {
    pub fn new(
        config: &'a Config,
        queue: &'a P::Queue,
        store: &'a P::Store,
        system: &'a P::System,
        sink: EventSink<'a>,
    ) -> Self {
        let nonce = system.nonce();
        Self {
            config,
            queue,
            store,
            system,
            paths: RunPaths::new(&config.run),
            events: EventLog::new(&config.worker, nonce, sink),
            ticks: Cell::new(0),
            progress: Cell::new(0),
            jitter: Cell::new(nonce as u64),
        }
    }

    pub fn breaks(&self, mutant: Mutant) -> bool {
        self.system.breaks(mutant)
    }

    /// Notes an event; [`Context::flush`] writes it.
    pub fn note(&self, what: What) {
        self.events.note(self.system.wall_ms(), what);
    }

    pub async fn flush(&self) {
        self.events.flush(self.store, &self.paths).await;
    }

    /// Writes the last events.
    pub async fn end(&self) {
        self.events.end(self.store, &self.paths).await;
    }

    /// The volume's other runs, by name.
    pub async fn other_runs(&self) -> Result<Vec<String>, StoreError> {
        let mut runs = self.store.list(RUNS).await?;
        runs.retain(|run| *run != self.config.run);
        Ok(runs)
    }

    /// Records progress, so that heartbeats go on.
    pub fn tick(&self) {
        self.ticks.set(self.ticks.get() + 1);
    }

    pub fn ticks(&self) -> u64 {
        self.ticks.get()
    }

    /// A new claim has made nothing durable yet.
    pub fn begin_claim(&self) {
        self.progress.set(0);
    }

    /// Counts what the present claim has made durable.
    pub fn progress(&self) -> u64 {
        self.progress.get()
    }

    /// Records that the claim made something durable, from which the next attempt can go on. Where workers died at
    /// the item before, the queue learns of it at once: this worker may be the next.
    pub async fn made_progress(&self, attempt: &Attempt) {
        self.progress.set(self.progress.get() + 1);
        if let Some(claim) = attempt.take_unproven() {
            let _ = self.queue.heartbeat(&claim, self.config.lease, self.progress.get()).await;
        }
    }

    /// A number that differs between workers, for shares of work.
    pub fn jitter(&self) -> u64 {
        self.jitter.get()
    }

    /// A duration between half and all of `span`, so that workers do not move in step.
    pub fn jittered(&self, span: Duration) -> Duration {
        // An xorshift generator: it decides no result, only when to ask again.
        let mut state = self.jitter.get() | 1;
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.jitter.set(state);
        span / 2 + span.mul_f64((state % 1024) as f64 / 2048.0)
    }

    /// Waits for about `span`, or until a stop is requested.
    pub async fn pause(&self, span: Duration) {
        self.flush().await;
        tokio::select! {
            biased;
            () = self.system.stop_requested() => {}
            () = self.system.sleep(self.jittered(span)) => {}
        }
    }

    /// Waits for about `span`, until the queue hints that something is claimable, or until a stop is requested.
    pub async fn wait_for_items(&self, span: Duration) {
        self.flush().await;
        tokio::select! {
            biased;
            () = self.system.stop_requested() => {}
            () = self.queue.changed() => {}
            // A hint may be lost.
            () = self.system.sleep(self.jittered(span)), if !self.breaks(Mutant::TrustHints) => {}
        }
    }

    pub fn is_stopping(&self) -> bool {
        self.system.stopping_for().is_some()
    }

    /// The hash of some bytes, which are handed back with it.
    pub async fn hashed(&self, bytes: Vec<u8>) -> Result<(Hash, Vec<u8>), ItemError> {
        // That takes less time than to hand them over.
        if (bytes.len() as u64) < self.system.block_bytes() / IN_PLACE {
            return Ok((Hash::of(&bytes), bytes));
        }
        self.compute(move || (Hash::of(&bytes), bytes)).await
    }

    /// Runs `work` where it does not block heartbeats.
    pub async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ItemError> {
        self.system.compute(work).await.map_err(ItemError::Defect)
    }
}
