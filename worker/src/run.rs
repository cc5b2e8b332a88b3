//! The worker's loop, generic over the ports: claim an item, do it, commit, acknowledge; with
//! nothing to claim, look at the volume again. One future, no spawn (rule 19).

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use crate::breakage::Breakage;
use crate::commit::Attempt;
use crate::contract::{Exit, RunPaths};
use crate::events::{EventLog, Tap, What};
use crate::item::{Item, Name};
use crate::listing::Listing;
use crate::manifest::{Manifest, Spec};
use crate::offer::Offers;
use crate::pipeline::{Pipeline, Stage, Step};
use crate::plan::{CommitIndex, Plan};
use crate::progress::Saving;
use crate::queue::{Claim, Ownership, Queue, QueueError, Release};
use crate::stage::Cache;
use crate::system::System;
use crate::trouble::Trouble;
use crate::volume::Volume;
use crate::workload::Workload;

/// Where chapter 0's datasets come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Exactly these; the run is born sealed.
    Listed(Vec<String>),
    /// What was pushed to the queue, with everything in `datasets/testing` and
    /// `datasets/history`; more may be pushed until the seal.
    Pushed,
}

/// What a worker is told by its launcher.
#[derive(Debug, Clone)]
pub struct Config {
    /// The worker's name in events and in the queue; need not be unique.
    pub worker: String,
    pub run: String,
    pub source: Source,
    /// The date that the report shows, where the launcher decides it; else the time of begin.
    pub created: Option<String>,
    /// What to do, if this worker is the one that begins the run.
    pub spec: Spec,
    pub lease: Duration,
    /// Without progress for so long, the lease is no longer renewed.
    pub stall: Duration,
    /// How often work that saves its progress does so at least: hashing, a fold of more than 16,384 rows, extra
    /// work. Of all else a preemption loses the item's whole work.
    pub progress_every: Duration,
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
    /// How often an idle worker asks the queue.
    pub idle: Duration,
    /// Failed attempts at one item, by input or by a defect, before the worker gives up loudly.
    pub retries: u32,
    /// Whether a complete run that left something out is a failure.
    pub fail_on_rejected: bool,
    /// Most bytes of commits kept in memory for the windows of later datasets.
    pub cache_bytes: usize,
}

/// Makes the workload that a manifest names; refuses with a reason.
pub type Factory<'a> = &'a dyn Fn(&Spec) -> Result<Arc<dyn Workload>, String>;

/// How a worker ended, and the one line that says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub exit: Exit,
    pub reason: String,
}

/// The manifest and the workload that it names. Every item takes a copy, so that a copy of a long
/// manifest must cost nothing.
#[derive(Clone)]
pub(crate) struct Opened {
    pub manifest: Arc<Manifest>,
    pub workload: Arc<dyn Workload>,
}

impl Opened {
    pub fn pipeline(&self) -> Pipeline {
        self.workload.pipeline()
    }

    pub fn window(&self, index: u32) -> Vec<u32> {
        self.workload.window(&self.manifest.datasets, index)
    }

    /// Where a stage of a dataset is committed.
    pub fn commit_path(&self, paths: &RunPaths, stage: Stage, index: u32) -> String {
        paths.commit(self.pipeline().folder(stage), index)
    }

    /// Plans by this manifest.
    pub fn plan<T>(&self, with: impl FnOnce(Plan<'_>) -> T) -> T {
        with(Plan {
            pipeline: self.pipeline(),
            manifest: &self.manifest,
            window: &|index| self.window(index),
        })
    }
}

/// One incarnation of a worker.
pub struct Worker<'a, Q, V: Volume, S> {
    pub(crate) config: &'a Config,
    pub(crate) queue: &'a Q,
    pub(crate) volume: &'a V,
    pub(crate) system: &'a S,
    pub(crate) paths: RunPaths,
    factory: Factory<'a>,
    events: EventLog<'a, V::File>,
    /// Grows with every piece of progress: what the renewal looks at.
    ticks: Cell<u64>,
    pub(crate) opened: RefCell<Option<Opened>>,
    pub(crate) known: RefCell<CommitIndex>,
    pub(crate) cache: RefCell<Cache>,
    pub(crate) offers: Offers,
    /// How often in a row an attempt failed by what the volume did, or lacked.
    failed_in_a_row: Cell<u32>,
    pub(crate) listing: Listing,
    pub(crate) saving: Saving,
    pub(crate) jitter: Cell<u64>,
}

impl<Q, V: Volume, S> std::fmt::Debug for Worker<'_, Q, V, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Worker({}, run {})", self.config.worker, self.config.run)
    }
}

/// Damaged commits that lead to each other, at most: beyond that the volume is past saving.
const DAMAGED_MAX: usize = 16;
/// A queue that is away when a worker starts is waited for so long: it may be misnamed.
pub const PATIENCE_AT_START: Duration = Duration::from_secs(60);
/// The queue's failures are waited out with a back-off between these.
const QUEUE_BACKOFF_MS: std::ops::Range<u64> = 20..2_000;

/// Runs a worker until the run is finished, or it is told to stop, or there is no point in going on.
pub async fn run<Q: Queue, V: Volume, S: System>(
    config: &Config,
    queue: &Q,
    volume: &V,
    system: &S,
    factory: Factory<'_>,
    tap: Tap<'_>,
) -> Ended {
    let worker = Worker::new(config, queue, volume, system, factory, tap);
    let ended = match worker.start().await {
        Ok(()) => worker.work().await,
        Err(ended) => ended,
    };
    worker.note(What::Exited { code: ended.exit.code(), reason: ended.reason.clone() });
    worker.flush().await;
    ended
}

impl<'a, Q: Queue, V: Volume, S: System> Worker<'a, Q, V, S> {
    fn new(
        config: &'a Config,
        queue: &'a Q,
        volume: &'a V,
        system: &'a S,
        factory: Factory<'a>,
        tap: Tap<'a>,
    ) -> Self {
        let nonce = system.nonce();
        Self {
            config,
            queue,
            volume,
            system,
            paths: RunPaths::new(&config.run),
            factory,
            events: EventLog::new(&config.worker, nonce, tap),
            ticks: Cell::new(0),
            opened: RefCell::new(None),
            known: RefCell::default(),
            cache: RefCell::new(Cache::new(config.cache_bytes)),
            offers: Offers::default(),
            failed_in_a_row: Cell::new(0),
            listing: Listing::default(),
            saving: Saving::default(),
            jitter: Cell::new(nonce as u64),
        }
    }

    pub(crate) fn breaks(&self, breakage: Breakage) -> bool {
        self.system.breaks(breakage)
    }

    pub(crate) fn note(&self, what: What) {
        self.events.note(self.system.wall_ms(), what);
    }

    pub(crate) async fn flush(&self) {
        self.events.flush(self.volume, &self.paths).await;
    }

    /// Something moved: the lease deserves to be renewed.
    pub(crate) fn tick(&self) {
        self.ticks.set(self.ticks.get() + 1);
    }

    pub(crate) fn manifest(&self) -> Option<Opened> {
        self.opened.borrow().clone()
    }

    /// The volume first: what is told afterwards has a place there.
    async fn start(&self) -> Result<(), Ended> {
        self.open_volume().await?;
        let since = self.system.elapsed();
        let mut away = None;
        let queue_empty = loop {
            match self.queue_is_empty().await {
                Ok(empty) => break empty,
                Err(QueueError::Refused(why)) => {
                    return Err(Ended { exit: Exit::Queue, reason: why });
                }
                Err(QueueError::Away(_)) if self.system.stopping_for().is_some() => return Err(stopped()),
                Err(QueueError::Away(error)) => {
                    if self.system.elapsed().saturating_sub(since) > PATIENCE_AT_START {
                        return Err(Ended { exit: Exit::Queue, reason: unreachable(&error) });
                    }
                    let tries = self.queue_is(&mut away, Some(error));
                    self.flush().await;
                    self.system.sleep(self.about(queue_backoff(tries))).await;
                }
            }
        };
        self.note(What::Started { pid: self.system.pid(), run: self.config.run.clone(), queue_empty });
        Ok(())
    }

    async fn queue_is_empty(&self) -> Result<bool, QueueError> {
        Ok(self.queue.counts().await?.is_empty() && self.queue.pushed_count().await? == 0)
    }

    /// A duration of between half and all of `span`, so that workers do not move in step.
    pub(crate) fn about(&self, span: Duration) -> Duration {
        // An xorshift generator: it decides no result, only when to ask again.
        let mut state = self.jitter.get() | 1;
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.jitter.set(state);
        span / 2 + span.mul_f64((state % 1024) as f64 / 2048.0)
    }

    async fn work(&self) -> Ended {
        let mut away = None;
        let mut waits = false;
        loop {
            if self.system.stopping_for().is_some() && !self.breaks(Breakage::ClaimAfterNotice) {
                return stopped();
            }
            match self.claim().await {
                Ok(Some(claim)) => {
                    self.queue_is(&mut away, None);
                    self.listing.was_not_in_vain();
                    if let Some(ended) = self.hold(claim).await {
                        return ended;
                    }
                }
                Ok(None) => {
                    self.queue_is(&mut away, None);
                    match self.idle().await {
                        Ok(added) => {
                            waits = false;
                            if !added {
                                self.pause(self.config.idle).await;
                            }
                        }
                        Err(Trouble::End(exit, reason)) => return Ended { exit, reason },
                        Err(trouble) => {
                            if !std::mem::replace(&mut waits, true) {
                                self.note(What::Waits { reason: trouble.to_string() });
                            }
                            self.pause(self.config.idle * 4).await;
                        }
                    }
                }
                Err(QueueError::Refused(why)) => {
                    return Ended { exit: Exit::Queue, reason: why };
                }
                Err(QueueError::Away(error)) => {
                    let tries = self.queue_is(&mut away, Some(error));
                    if let Err(Trouble::End(exit, reason)) = self.refresh().await {
                        return Ended { exit, reason };
                    }
                    self.pause(queue_backoff(tries)).await;
                }
            }
        }
    }

    /// Tells, once each, that the queue went away and that it is back; answers for how many tries.
    fn queue_is(&self, away: &mut Option<u32>, error: Option<String>) -> u32 {
        match (error, *away) {
            (Some(error), None) => self.note(What::QueueAway { error }),
            (None, Some(_)) => self.note(What::QueueBack),
            (Some(_), Some(tries)) => {
                *away = Some(tries + 1);
                return tries + 1;
            }
            (None, None) => return 0,
        }
        *away = if away.is_some() { None } else { Some(0) };
        0
    }

    /// Waits for about `span`, or until told to stop.
    async fn pause(&self, span: Duration) {
        self.flush().await;
        tokio::select! {
            biased;
            () = self.system.stop_requested() => {}
            () = self.system.sleep(self.about(span)) => {}
        }
    }

    /// Nothing to claim: what does the volume say? Answers whether the queue was given anything.
    async fn idle(&self) -> Result<bool, Trouble> {
        let listed_before = self.listing.at();
        self.refresh().await?;
        // What was offered before may be lost: a queue may forget (rule 5). Only by a new listing can
        // that be told from what others have done since.
        let listed = self.listing.at() != listed_before;
        if listed && !self.breaks(Breakage::OfferOnce) {
            self.offers.begin_anew();
        }
        let items = if self.opened.borrow().is_none() {
            vec![Item::BEGIN]
        } else if !self.is_sealed() && self.queue.pushed_count().await? > 0 {
            [self.items_of(&[Step::Intake]), self.claimable()].concat()
        } else {
            self.claimable()
        };
        let items = self.news(items);
        let added = self.queue.add(&items).await?;
        if added > 0 {
            self.note(What::Requeued { items: added as u64 });
        } else if listed {
            self.listing.was_in_vain();
        }
        Ok(added > 0)
    }

    fn is_sealed(&self) -> bool {
        self.opened.borrow().as_ref().is_some_and(|opened| opened.manifest.sealed)
    }

    /// Reads what others have committed; ends the worker where the run has ended.
    pub(crate) async fn refresh(&self) -> Result<(), Trouble> {
        self.read_manifest().await?;
        if self.opened.borrow().is_none() {
            return Ok(());
        }
        self.list_if_idle().await?;
        self.check_end().await
    }

    /// Does a claimed item, its lease renewed beside; answers where the worker must end.
    async fn hold(&self, claim: Claim) -> Option<Ended> {
        let name = claim.item.name;
        let attempt = Attempt::new(name, self.paths.attempt(name, claim.token, claim.nonce));
        if self.breaks(Breakage::AcknowledgeBeforeCommit) {
            let _ = self.queue.ack(&claim, &[]).await;
        }
        let result = tokio::select! {
            biased;
            result = self.perform(&claim, &attempt) => result,
            () = self.out_of_grace() => Err(Trouble::Stop),
            () = self.keep_lease(&claim) => Err(Trouble::Stop),
        };
        let ended = match result {
            Ok(()) => {
                self.failed_in_a_row.set(0);
                self.acknowledge(&claim, &attempt).await;
                None
            }
            // Others have finished the run: nobody need claim the item again.
            Err(Trouble::End(exit @ (Exit::Finished | Exit::LeftOut), reason)) => {
                self.acknowledge(&claim, &attempt).await;
                Some(Ended { exit, reason })
            }
            Err(trouble) => self.let_go(&claim, &attempt, trouble).await,
        };
        self.flush().await;
        ended
    }

    fn dataset_of(&self, item: Name) -> Option<String> {
        let Some(Step::Each(_, index)) = self.step_of(item) else { return None };
        let opened = self.opened.borrow();
        opened.as_ref()?.manifest.datasets.get(index as usize).map(|dataset| dataset.path.clone())
    }

    /// What an item stands for, once the run's pipeline is known.
    pub(crate) fn step_of(&self, item: Name) -> Option<Step> {
        if item == Item::BEGIN.name {
            return Some(Step::Begin);
        }
        self.opened.borrow().as_ref()?.pipeline().step(item)
    }

    /// The items of steps; none before the run has begun.
    pub(crate) fn items_of(&self, steps: &[Step]) -> Vec<Item> {
        let opened = self.opened.borrow();
        let Some(opened) = opened.as_ref() else { return Vec::new() };
        steps.iter().map(|step| opened.pipeline().item(*step)).collect()
    }

    /// Resolves when the grace is nearly over: what still runs then would be killed in the middle.
    async fn out_of_grace(&self) {
        self.system.stop_requested().await;
        let spent = self.system.stopping_for().unwrap_or_default();
        self.system.sleep((self.config.grace * 4 / 5).saturating_sub(spent)).await;
    }

    /// Renews the lease every third of it, for as long as there is progress. Never resolves: a
    /// worker that lost its lease may finish, its commit finds out who was first.
    async fn keep_lease(&self, claim: &Claim) {
        let (mut ticks, mut moved_at) = (self.ticks.get(), self.system.elapsed());
        loop {
            self.system.sleep(self.config.lease / 3).await;
            if self.breaks(Breakage::NeverRenew) {
                break;
            }
            if self.breaks(Breakage::RenewalWaitsForVolume) {
                let _ = self.volume.meta(&self.paths.manifest()).await;
            }
            let now = self.system.elapsed();
            if self.ticks.get() != ticks {
                (ticks, moved_at) = (self.ticks.get(), now);
            }
            let stalled = now.saturating_sub(moved_at) > self.config.stall;
            if stalled && !self.breaks(Breakage::RenewWithoutProgress) {
                self.note(What::Stalled { item: claim.item.name, token: claim.token });
                break;
            }
            if let Ok(Ownership::Lost) = self.queue.heartbeat(claim, self.config.lease, ticks).await {
                self.note(What::LeaseLost { item: claim.item.name, token: claim.token });
                break;
            }
        }
        std::future::pending().await
    }

    async fn acknowledge(&self, claim: &Claim, attempt: &Attempt) {
        let next = self.next_items().await;
        // If the queue is away, the lease expires and the next claimant finds the commit.
        let held = matches!(self.queue.ack(claim, &next).await, Ok(Ownership::Held));
        self.note(What::Acked { item: claim.item.name, token: claim.token, held });
        self.sweep(attempt).await;
    }

    async fn let_go(&self, claim: &Claim, attempt: &Attempt, trouble: Trouble) -> Option<Ended> {
        let reason = trouble.to_string();
        // Items that wait for what was lost must not keep this worker from the one that makes it again.
        let waits = matches!(trouble, Trouble::Absent(_) | Trouble::Torn(..) | Trouble::NotReady(_))
            && !self.breaks(Breakage::Insist);
        let by_volume = waits || matches!(trouble, Trouble::Volume(_));
        let in_a_row = if by_volume { self.failed_in_a_row.get() + 1 } else { 0 };
        self.failed_in_a_row.set(in_a_row);
        let later = self.about(self.config.idle * (1 << claim.failures.max(in_a_row).min(6)));
        let (why, delay) = match &trouble {
            Trouble::Stop if self.breaks(Breakage::PreemptionIsAFailure) => (Release::Failed, Duration::ZERO),
            Trouble::Stop => (Release::Preempted, Duration::ZERO),
            // The surroundings never use up an item's retries.
            Trouble::Volume(_)
            | Trouble::Absent(_)
            | Trouble::Torn(..)
            | Trouble::NotReady(_)
            | Trouble::Queue(_) => (Release::NotReady, later),
            Trouble::Input(_) | Trouble::NoDatasets(_) | Trouble::Defect(_) => (Release::Failed, later),
            // The worker's end, and none of the item's doing.
            Trouble::End(..) => (Release::NotReady, Duration::ZERO),
        };
        if trouble != Trouble::Stop || !self.breaks(Breakage::KeepLeaseWhenPreempted) {
            let _ = self.queue.release(claim, delay, why).await;
        }
        self.note(What::GaveBack { item: claim.item.name, token: claim.token, why, reason: reason.clone() });
        self.sweep_private(attempt).await;
        let tried_enough = claim.failures + 1 >= self.config.retries;
        match trouble {
            Trouble::Stop => Some(stopped()),
            Trouble::End(exit, reason) => Some(Ended { exit, reason }),
            // Once is not enough: absence is never a fact (rule 8).
            Trouble::NoDatasets(_) if tried_enough => Some(Ended { exit: Exit::NoDatasets, reason }),
            Trouble::Input(_) if tried_enough => Some(Ended { exit: Exit::Input, reason }),
            Trouble::Defect(_) if tried_enough => Some(Ended { exit: Exit::Failed, reason }),
            Trouble::Volume(_) => {
                self.pause(later).await;
                None
            }
            _ => None,
        }
    }

    /// Does the item; damaged commits that it meets are made again on the way, each before what
    /// needs it: whoever finds one has what it takes, and nobody else need have noticed (rule 10).
    async fn perform(&self, claim: &Claim, attempt: &Attempt) -> Result<(), Trouble> {
        let name = claim.item.name;
        let read = if self.is_known(name) { Ok(()) } else { self.read_manifest().await };
        self.note(What::Claimed {
            item: name,
            token: claim.token,
            attempt: attempt.folder.clone(),
            dataset: self.dataset_of(name),
            taken_over_from: claim.taken_over_from.clone(),
        });
        self.flush().await;
        read?;
        let mut damaged = Vec::new();
        loop {
            let result = match damaged.last() {
                None => self.perform_once(claim, attempt).await,
                Some((stage, index)) => self.remake(attempt, *stage, *index).await,
            };
            match result {
                Ok(()) if damaged.pop().is_some() => {}
                Err(Trouble::Torn(stage, index, _))
                    if damaged.len() < DAMAGED_MAX && !self.breaks(Breakage::TornIsLeft) =>
                {
                    damaged.push((stage, index));
                }
                result => return result,
            }
        }
    }

    async fn perform_once(&self, claim: &Claim, attempt: &Attempt) -> Result<(), Trouble> {
        let name = claim.item.name;
        let Some(step) = self.step_of(name) else {
            if self.opened.borrow().is_none() {
                return Err(Trouble::Absent(self.paths.manifest()));
            }
            self.note(What::Foreign { item: name });
            return Ok(());
        };
        if !self.is_known(name) {
            // Of a run that has ended, it is an item of a queue that remembers too much.
            return if self.is_sealed() { Ok(()) } else { Err(Trouble::Absent(self.paths.manifest())) };
        }
        match step {
            Step::Begin => self.begin(attempt).await,
            Step::Intake => self.intake(attempt).await,
            Step::Each(stage, index) => self.each(attempt, stage, index).await,
            Step::Chain(stage) => self.chain(attempt, stage).await,
            Step::Report => self.report(attempt).await,
        }
    }

    /// Whether the manifest, as read so far, has the dataset that the item is of.
    fn is_known(&self, item: Name) -> bool {
        let opened = self.opened.borrow();
        match (self.step_of(item), opened.as_ref()) {
            (Some(Step::Begin), _) => true,
            (_, None) | (None, _) => false,
            (Some(Step::Each(_, index)), Some(opened)) => index < opened.manifest.len(),
            (Some(_), Some(_)) => true,
        }
    }

    /// Makes the manifest's workload, once its first page has been read.
    pub(crate) fn make_workload(&self, spec: &Spec) -> Result<Arc<dyn Workload>, Trouble> {
        (self.factory)(spec).map_err(|reason| Trouble::End(Exit::Version, reason))
    }

    /// Whether the rest of the work, at the rate so far, fits in what is left of the grace.
    pub(crate) fn fits_in_grace(&self, began: Duration, done_before: u64, done: u64, total: u64) -> bool {
        let Some(stopping) = self.system.stopping_for() else {
            return true;
        };
        let left = (self.config.grace * 3 / 5).saturating_sub(stopping);
        let spent = self.system.elapsed().saturating_sub(began);
        let (did, rest) = (done.saturating_sub(done_before), total.saturating_sub(done));
        did > 0 && spent.mul_f64(rest as f64 / did as f64) < left
    }
}

/// How long to wait after some tries in a row at a queue that is away.
fn queue_backoff(tries: u32) -> Duration {
    Duration::from_millis((QUEUE_BACKOFF_MS.start << tries.min(10)).min(QUEUE_BACKOFF_MS.end))
}

fn unreachable(error: &str) -> String {
    let s = PATIENCE_AT_START.as_secs();
    format!("the queue did not answer for {s} s: {error}\nhint: start it, or name another with --queue")
}

fn stopped() -> Ended {
    Ended { exit: Exit::Preempted, reason: "told to stop; what was held has been given back".to_owned() }
}
