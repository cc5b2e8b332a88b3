//! The worker's loop, generic over the ports: claim an item, do it, commit, acknowledge; with
//! nothing to claim, look at the store again. One future, no spawn (rule 19).

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::admission::Admission;
use crate::artifacts::Artifacts;
use crate::attempt::Attempt;
use crate::blocks::Blocks;
use crate::closing::Closing;
use crate::committer::Committer;
pub use crate::context::{After, Config, Ended, Factory, Source};
use crate::context::{Context, Ports};
use crate::contract::Exit;
use crate::events::{EventSink, What};
use crate::executor::Executor;
use crate::hashing::Hasher;
use crate::item::Item;
use crate::item_error::ItemError;
use crate::listing::Lister;
use crate::mutant::Mutant;
use crate::offer::Offers;
use crate::output::Output;
use crate::pipeline::{Stage, Step};
use crate::progress::Progress;
use crate::queue::{Claim, Inbox, Ownership, Queue, QueueError, Release, WorkQueue};
use crate::runner::Runner;
use crate::store::Store;
use crate::system::System;
use crate::view::{OpenRun, RunView};

/// Damaged commits that lead to each other, at most: beyond that the volume is past saving.
const DAMAGED_MAX: usize = 16;
/// How long a worker waits at its start for a queue that is away: it may be misnamed.
pub const PATIENCE_AT_START: Duration = Duration::from_secs(60);
/// Bounds of the backoff while the queue is away.
const QUEUE_BACKOFF_MS: std::ops::Range<u64> = 20..2_000;

/// The loop, and the components of a worker that it drives.
struct Worker<'a, P: Ports> {
    ctx: &'a Context<'a, P>,
    committer: &'a Committer<'a, P>,
    view: &'a RunView<'a, P>,
    lister: &'a Lister<'a, P>,
    offers: &'a Offers<'a, P>,
    admission: Admission<'a, P>,
    executor: Executor<'a, P>,
    closing: Closing<'a, P>,
    /// How many attempts in a row failed by what the store did, or lacked.
    failed_in_a_row: Cell<u32>,
    /// When the commits had been listed, as this worker last checked whether the run was abandoned.
    looked_with: Cell<Option<Duration>>,
}

/// Runs a worker until the run is finished, a stop is requested, or there is no point in going on.
pub async fn run<Q: Queue, S: Store, Y: System>(
    config: &Config,
    queue: &Q,
    store: &S,
    system: &Y,
    factory: Factory<'_>,
    sink: EventSink<'_>,
) -> Ended {
    let ctx = &Context::<(Q, S, Y)>::new(config, queue, store, system, sink);
    let committer = &Committer::new(ctx);
    let view = &RunView::new(ctx, committer, factory);
    let lister = &Lister::new(ctx, view);
    let offers = &Offers::new(ctx, view, lister);
    let progress = &Progress::new(ctx, committer);
    let artifacts = &Artifacts::new(ctx, committer, view);
    let blocks = &Blocks::new(ctx, view);
    let worker = Worker {
        ctx,
        committer,
        view,
        lister,
        offers,
        admission: Admission { ctx, view, hasher: Hasher::new(ctx, progress) },
        executor: Executor {
            ctx,
            committer,
            view,
            lister,
            offers,
            artifacts,
            blocks,
            runner: Runner::new(ctx, progress, blocks, artifacts),
        },
        closing: Closing {
            ctx,
            committer,
            view,
            lister,
            artifacts,
            output: Output { ctx, committer, artifacts, blocks },
        },
        failed_in_a_row: Cell::new(0),
        looked_with: Cell::new(None),
    };
    let ended = match worker.start().await {
        Ok(()) => worker.work().await,
        Err(ended) => ended,
    };
    ctx.note(What::Exited { code: ended.exit.code(), reason: ended.reason.clone() });
    ctx.end().await;
    ended
}

impl<P: Ports> Worker<'_, P> {
    /// The store first: events have their place there.
    async fn start(&self) -> Result<(), Ended> {
        self.open_store().await?;
        self.check_left().await?;
        let since = self.ctx.system.elapsed();
        let mut away = None;
        let queue_empty = loop {
            match self.queue_is_empty().await {
                Ok(empty) => break empty,
                Err(QueueError::Refused(why)) => {
                    return Err(Ended { exit: Exit::Queue, reason: why });
                }
                Err(QueueError::Away(_)) if self.ctx.is_stopping() => return Err(stopped()),
                Err(QueueError::Away(error)) => {
                    if self.ctx.system.elapsed().saturating_sub(since) > PATIENCE_AT_START {
                        return Err(Ended { exit: Exit::Queue, reason: unreachable(&error) });
                    }
                    let tries = self.queue_is(&mut away, Some(error));
                    self.ctx.flush().await;
                    self.ctx.system.sleep(self.ctx.jittered(queue_backoff(tries))).await;
                }
            }
        };
        let (pid, run) = (self.ctx.system.pid(), self.ctx.config.run.clone());
        self.ctx.note(What::Started { pid, run, queue_empty });
        Ok(())
    }

    /// Tries what every commit needs, until that works (rule 8).
    async fn open_store(&self) -> Result<(), Ended> {
        let mut waits = false;
        loop {
            let nonce = self.ctx.system.nonce();
            let private = format!("{}/probe-{nonce:032x}", self.ctx.paths.attempts());
            // Beside the commits, not among them: a crash leaves it for good.
            let public = format!("{}/probe-{nonce:032x}", self.ctx.paths.root());
            let Err(error) = self.ctx.store.probe(&private, &public).await else {
                return Ok(());
            };
            if error.hint().is_some() {
                return Err(Ended { exit: Exit::Volume, reason: error.with_hint() });
            }
            if self.ctx.is_stopping() {
                return Err(Ended { exit: Exit::Preempted, reason: error.to_string() });
            }
            if !std::mem::replace(&mut waits, true) {
                self.ctx.note(What::Waits { reason: error.to_string() });
            }
            self.ctx.system.sleep(self.ctx.jittered(self.ctx.config.idle * 8)).await;
        }
    }

    /// Ends where the run was left by its operator. What cannot be read is looked for again.
    async fn check_left(&self) -> Result<(), Ended> {
        match self.closing.check_left().await {
            Err(ItemError::End(exit, reason)) => Err(Ended { exit, reason }),
            _ => Ok(()),
        }
    }

    /// The same for a busy worker, as often as it lists commits.
    async fn check_left_with_listing(&self) -> Result<(), Ended> {
        let listed = self.lister.listed_at();
        if self.looked_with.replace(listed) == listed { Ok(()) } else { self.check_left().await }
    }

    async fn queue_is_empty(&self) -> Result<bool, QueueError> {
        Ok(self.ctx.queue.counts().await?.is_empty() && self.ctx.queue.pushed_count().await? == 0)
    }

    async fn work(&self) -> Ended {
        let mut away = None;
        let mut waits = false;
        loop {
            if self.ctx.is_stopping() && !self.ctx.breaks(Mutant::ClaimAfterNotice) {
                return stopped();
            }
            match self.offers.claim().await {
                Ok(Some(claim)) => {
                    self.queue_is(&mut away, None);
                    self.lister.reset_backoff();
                    if let Some(ended) = self.execute(claim).await {
                        return ended;
                    }
                    if let Err(ended) = self.check_left_with_listing().await {
                        return ended;
                    }
                    if self.ctx.breaks(Mutant::PauseAfterEach) {
                        self.ctx.pause(self.ctx.config.idle).await;
                    }
                }
                Ok(None) => {
                    self.queue_is(&mut away, None);
                    match self.idle().await {
                        Ok(added) => {
                            waits = false;
                            if !added {
                                self.ctx.wait_for_items(self.ctx.config.idle).await;
                            }
                        }
                        Err(ItemError::End(exit, reason)) => return Ended { exit, reason },
                        Err(error) => {
                            if !std::mem::replace(&mut waits, true) {
                                self.ctx.note(What::Waits { reason: error.to_string() });
                            }
                            self.ctx.pause(self.ctx.config.idle * 4).await;
                        }
                    }
                }
                Err(QueueError::Refused(why)) => {
                    return Ended { exit: Exit::Queue, reason: why };
                }
                Err(QueueError::Away(error)) => {
                    let tries = self.queue_is(&mut away, Some(error));
                    if let Err(ItemError::End(exit, reason)) = self.closing.refresh().await {
                        return Ended { exit, reason };
                    }
                    self.ctx.pause(queue_backoff(tries)).await;
                }
            }
        }
    }

    /// Tells, once each, that the queue went away and that it is back; returns for how many tries.
    fn queue_is(&self, away: &mut Option<u32>, error: Option<String>) -> u32 {
        match (error, *away) {
            (Some(error), None) => self.ctx.note(What::QueueAway { error }),
            (None, Some(_)) => self.ctx.note(What::QueueBack),
            (Some(_), Some(tries)) => {
                *away = Some(tries + 1);
                return tries + 1;
            }
            (None, None) => return 0,
        }
        *away = if away.is_some() { None } else { Some(0) };
        0
    }

    /// Nothing to claim: what does the volume say? Returns whether the queue was given anything.
    async fn idle(&self) -> Result<bool, ItemError> {
        let listed_before = self.lister.listed_at();
        self.closing.refresh().await?;
        // What was offered before may be lost: a queue may forget (rule 5). Only a new
        // listing distinguishes that from what others have done since.
        let listed = self.lister.listed_at() != listed_before;
        if listed && !self.ctx.breaks(Mutant::OfferOnce) {
            self.offers.reset();
        }
        let items = if !self.view.has_begun() {
            vec![Item::BEGIN]
        } else if !self.view.is_sealed() && self.ctx.queue.pushed_count().await? > 0 {
            [self.view.items_of(&[Step::Intake]), self.offers.claimable()].concat()
        } else {
            self.offers.claimable()
        };
        let items = self.offers.not_yet_offered(items);
        let added = self.ctx.queue.add(&items).await?;
        if added > 0 {
            self.ctx.note(What::Requeued { items: added as u64 });
        } else if listed {
            self.lister.record_empty_listing();
        }
        Ok(added > 0)
    }

    /// Does a claimed item, and sends heartbeats for it. Returns the ending where the worker must end.
    async fn execute(&self, claim: Claim) -> Option<Ended> {
        let name = claim.item.name;
        let attempt = Attempt::new(&claim, self.ctx.paths.attempt(name, claim.token, claim.nonce));
        self.ctx.begin_claim();
        if self.ctx.breaks(Mutant::AcknowledgeBeforeCommit) {
            let _ = self.ctx.queue.ack(&claim, &[]).await;
        }
        let result = tokio::select! {
            biased;
            result = self.perform(&claim, &attempt) => result,
            () = self.out_of_grace() => Err(ItemError::Stop),
            () = self.keep_lease(&claim, &attempt) => Err(ItemError::Stop),
        };
        let ended = match result {
            Ok(()) => {
                if !self.ctx.breaks(Mutant::NeverResetDelay) {
                    self.failed_in_a_row.set(0);
                }
                self.acknowledge(&claim, &attempt).await;
                None
            }
            // Others have finished the run: nobody need claim the item again.
            Err(ItemError::End(exit @ (Exit::Finished | Exit::LeftOut), reason)) => {
                self.acknowledge(&claim, &attempt).await;
                Some(Ended { exit, reason })
            }
            Err(error) => self.release(&claim, &attempt, error).await,
        };
        self.ctx.flush().await;
        ended
    }

    /// Resolves when the grace is nearly over: what still runs then would be killed in the middle.
    async fn out_of_grace(&self) {
        self.ctx.system.stop_requested().await;
        self.ctx.note(What::Stopping);
        let spent = self.ctx.system.stopping_for().unwrap_or_default();
        let fifths = if self.ctx.breaks(Mutant::WaitOutTheGrace) { 5 } else { 4 };
        self.ctx.system.sleep((self.ctx.config.grace * fifths / 5).saturating_sub(spent)).await;
    }

    /// Extends the lease with a heartbeat every third of it, for as long as there is progress. Never resolves: a
    /// worker that lost its lease may finish, and the first commit wins.
    async fn keep_lease(&self, claim: &Claim, attempt: &Attempt) {
        let (mut ticks, mut moved_at) = (self.ctx.ticks(), self.ctx.system.elapsed());
        loop {
            self.ctx.system.sleep(self.ctx.config.lease / 3).await;
            if self.ctx.breaks(Mutant::NeverRenew) {
                break;
            }
            if self.ctx.breaks(Mutant::RenewalWaitsForVolume) {
                let _ = self.ctx.store.size(&self.ctx.paths.manifest()).await;
            }
            let now = self.ctx.system.elapsed();
            if self.ctx.ticks() != ticks {
                (ticks, moved_at) = (self.ctx.ticks(), now);
            }
            let stalled = now.saturating_sub(moved_at) > self.ctx.config.stall;
            if stalled && !self.ctx.breaks(Mutant::RenewWithoutProgress) {
                self.ctx.note(What::Stalled { item: claim.item.name, token: claim.token });
                break;
            }
            let claim = attempt.claim_now(claim);
            match self.ctx.queue.heartbeat(&claim, self.ctx.config.lease, self.ctx.progress()).await {
                Ok(Ownership::Lost) => {
                    self.ctx.note(What::LeaseLost { item: claim.item.name, token: claim.token });
                    break;
                }
                Err(_) if self.ctx.breaks(Mutant::OneFailedHeartbeat) => break,
                Ok(Ownership::Held) | Err(_) => {}
            }
        }
        // Nor does first progress extend it.
        drop(attempt.take_unproven());
        std::future::pending().await
    }

    async fn acknowledge(&self, claim: &Claim, attempt: &Attempt) {
        let mut next = self.offers.next_items().await;
        next.retain(|_| !self.ctx.breaks(Mutant::OfferNothing));
        if self.ctx.breaks(Mutant::OfferOne) {
            next.truncate(1);
        }
        // If the queue is away, the lease expires and the next claimant finds the commit.
        let held = matches!(self.ctx.queue.ack(claim, &next).await, Ok(Ownership::Held));
        self.ctx.note(What::Acked { item: claim.item.name, token: claim.token, held });
        self.committer.sweep(attempt).await;
        if claim.taken_over_from.is_some() && !self.ctx.breaks(Mutant::LeaveTheDead) {
            self.committer.sweep_left(claim, |item| self.view.is_committed(item)).await;
        }
    }

    async fn release(&self, claim: &Claim, attempt: &Attempt, error: ItemError) -> Option<Ended> {
        let (claim, reason) = (&attempt.claim_now(claim), error.to_string());
        // Items that wait for what was lost must not keep this worker from the one that recomputes it.
        let waits = matches!(error, ItemError::Absent(_) | ItemError::Torn(..) | ItemError::NotReady(_))
            && !self.ctx.breaks(Mutant::Insist);
        let by_volume = waits || matches!(error, ItemError::Store(_));
        let in_a_row = if by_volume { self.failed_in_a_row.get() + 1 } else { 0 };
        self.failed_in_a_row.set(in_a_row);
        let doublings = if self.ctx.breaks(Mutant::UncappedDelay) { 20 } else { 6 };
        let later =
            self.ctx.jittered(self.ctx.config.idle * (1 << claim.failures.max(in_a_row).min(doublings)));
        let (why, delay) = match &error {
            ItemError::Stop if self.ctx.breaks(Mutant::PreemptionIsAFailure) => {
                (Release::Failed, Duration::ZERO)
            }
            ItemError::Stop if self.ctx.breaks(Mutant::DelayPreempted) => (Release::Preempted, later),
            ItemError::Stop => (Release::Preempted, Duration::ZERO),
            // Faults of the environment never use up an item's retries.
            ItemError::Store(_)
            | ItemError::Absent(_)
            | ItemError::Torn(..)
            | ItemError::NotReady(_)
            | ItemError::Queue(_) => (Release::NotReady, later),
            ItemError::Input(_) | ItemError::NoDatasets(_) | ItemError::Defect(_) => (Release::Failed, later),
            // The worker's end, and none of the item's doing.
            ItemError::End(..) => (Release::NotReady, Duration::ZERO),
        };
        // The others must meet the count too: a release would end it.
        let keeps = matches!(error, ItemError::End(Exit::Deliveries, _))
            || error == ItemError::Stop && self.ctx.breaks(Mutant::KeepLeaseWhenPreempted);
        if !keeps {
            let _ = self.ctx.queue.release(claim, delay, why).await;
        }
        if !matches!(error, ItemError::End(Exit::Deliveries, _)) {
            let (item, reason) = (claim.item.name, reason.clone());
            self.ctx.note(What::GaveBack { item, token: claim.token, why, reason });
        }
        self.committer.sweep_private(attempt).await;
        let tried_enough = claim.failures + 1 >= self.ctx.config.retries;
        match error {
            ItemError::Stop => Some(stopped()),
            ItemError::End(exit, reason) => Some(Ended { exit, reason }),
            // Once is not enough: absence is never a fact (rule 8).
            ItemError::NoDatasets(_) if tried_enough => Some(Ended { exit: Exit::NoDatasets, reason }),
            ItemError::Input(_) if tried_enough => Some(Ended { exit: Exit::Input, reason }),
            ItemError::Defect(_) if tried_enough => Some(Ended { exit: Exit::Failed, reason }),
            ItemError::Store(_) => {
                self.ctx.pause(later).await;
                None
            }
            _ => None,
        }
    }

    /// Does the item. It recomputes the damaged commits that it meets, each before what needs it: a worker that
    /// finds one can repair it, and nobody else need have noticed (rule 10).
    async fn perform(&self, claim: &Claim, attempt: &Attempt) -> Result<(), ItemError> {
        let name = claim.item.name;
        let read = if self.view.is_known(name) { Ok(()) } else { self.view.read_manifest().await };
        self.ctx.note(What::Claimed {
            item: name,
            token: claim.token,
            attempt: attempt.folder.clone(),
            dataset: self.view.dataset_of(name),
            taken_over_from: claim.taken_over_from.clone(),
            lost: claim.lost,
        });
        self.ctx.flush().await;
        if claim.lost >= self.ctx.config.max_deliveries {
            // A worker that claims at once knows of no commit yet, and would name a dataset that is done.
            let _ = self.lister.list_if_due().await;
            return Err(ItemError::End(Exit::Deliveries, self.too_many_deliveries(claim)));
        }
        read?;
        let mut damaged = Vec::new();
        let mut recomputed = BTreeSet::new();
        loop {
            let result = match damaged.last() {
                None => self.perform_once(claim, attempt).await,
                Some((stage, index)) => self.executor.recompute(attempt, *stage, *index).await,
            };
            match result {
                Ok(()) if damaged.pop().is_some_and(|one| recomputed.insert(one)) => {}
                Err(ItemError::Torn(stage, index, path)) if recomputed.contains(&(stage, index)) => {
                    return Err(self.damaged_again(stage, index, path));
                }
                Err(ItemError::Torn(stage, index, _))
                    if damaged.len() < DAMAGED_MAX && !self.ctx.breaks(Mutant::TornIsLeft) =>
                {
                    damaged.push((stage, index));
                }
                result => return result,
            }
        }
    }

    /// What this attempt has recomputed is damaged once more. As a rule by chance: then it is recomputed later. But where
    /// results vary, the commit that stands may refer to blocks that no program can recompute.
    fn damaged_again(&self, stage: Stage, index: u32, path: String) -> ItemError {
        let is_commit = |open: OpenRun| open.commit_path(&self.ctx.paths, stage, index) == path;
        if self.view.is_deterministic() || self.view.opened().is_ok_and(is_commit) {
            return ItemError::Torn(stage, index, path);
        }
        ItemError::Defect(format!(
            "{path} is lost, and the result that refers to it was not recomputed\nhint: restore the file from a copy, \
             or begin a new run under another name"
        ))
    }

    fn too_many_deliveries(&self, claim: &Claim) -> String {
        let (item, lost) = (claim.item.name, claim.lost);
        let what = self.view.next_dataset_of(item).unwrap_or_else(|| format!("item {item}"));
        format!(
            "{what}: {lost} workers in a row died or stood still at {item}, and none made progress\n\
             hint: exit code 137 or OOMKilled means memory: give the workers more, or begin a run without the \
             dataset; --max-deliveries raises the limit of this one"
        )
    }

    async fn perform_once(&self, claim: &Claim, attempt: &Attempt) -> Result<(), ItemError> {
        let name = claim.item.name;
        let Some(step) = self.view.step_of(name) else {
            if !self.view.has_begun() {
                return Err(ItemError::Absent(self.ctx.paths.manifest()));
            }
            self.ctx.note(What::Foreign { item: name });
            return Ok(());
        };
        if !self.view.is_known(name) {
            // Of a run that has ended, it is an item of a queue that remembers too much.
            return if self.view.is_sealed() {
                Ok(())
            } else {
                Err(ItemError::Absent(self.ctx.paths.manifest()))
            };
        }
        match step {
            Step::Begin => self.admission.begin(attempt).await,
            Step::Intake => self.admission.intake(attempt).await,
            Step::Each(stage, index) => self.executor.each(attempt, stage, index).await,
            Step::Chain(stage) => self.executor.chain(attempt, stage).await,
            Step::Report => self.closing.report(attempt, &self.executor).await,
        }
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
    Ended { exit: Exit::Preempted, reason: "told to stop; the held item was released".to_owned() }
}
