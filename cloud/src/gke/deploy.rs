//! Up: observe, plan, do the next step, again, until the plan has nothing left to do.
//!
//! The loop is idempotent: after any interruption, the next run goes on from what is there.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::gke::SPOT;
use crate::gke::connect::{Access, Connect};
use crate::gke::cost::{Estimate, Prices};
use crate::gke::gcp::{Google, Query, RetryBudget, Scope, from_operation};
use crate::gke::money::Money;
use crate::gke::plan::{
    ClusterSeen, Desired, Observed, OperationSeen, Plan, Resource, State, Step, Storage, Verb, export,
    own_bucket, plan, target_cluster, target_filestore,
};
use crate::gke::reason::Reason;
use crate::gke::state::{Kept, Memory};
use crate::gke::volume::{BucketVolume, Deployed};
use crate::k8s::cluster::{Batch, Cluster, Datasets, Placement, Volume};

/// Between two looks at what Google is doing.
pub(crate) const POLL: Duration = Duration::from_secs(5);
/// A cluster takes about five minutes and an instance about three. After this, something is wrong.
pub(crate) const STUCK_AFTER_S: u64 = 40 * 60;
/// More steps than any deployment takes; one that takes more turns in circles.
const STEPS_MAX: usize = 2000;
/// Shown when a deploy fails and something was begun.
pub const STAYS: &str = "what was made until now stays and is billed: `cloud status` shows it, `cloud destroy` \
                         removes it";

/// How a command asks about a plan or a loss, and shows its progress.
#[expect(async_fn_in_trait, reason = "called from one thread; no bound on the futures is needed")]
pub trait Prompt<Q> {
    /// Shows what is asked about, and asks. Ctrl-C works while it waits.
    async fn confirm(&mut self, question: &Q) -> bool;
    /// Shows a line about what is being done.
    fn show(&mut self, line: &str);
}

/// What `deploy` works with.
#[derive(Debug)]
pub struct Deployer<'a, C: Connect> {
    pub google: &'a Google,
    pub connect: &'a C,
    pub prices: &'a Prices,
    pub desired: &'a Desired,
    /// None: only the places for a batch are made.
    pub datasets: Option<&'a Datasets>,
    /// The most that an hour may cost.
    pub max_cost: Option<Money>,
}

impl<C: Connect> Deployer<'_, C> {
    /// Reads what is there and compares. Writes nothing.
    pub async fn plan(&self, memory: &Memory) -> Result<Plan> {
        self.desired.check()?;
        let (_, plan, _) = self.look(memory).await?;
        Ok(plan)
    }

    /// Brings everything up. Returns the cluster, with the Job started if there is one to start, and
    /// what everything costs.
    ///
    /// # Errors
    /// What can't be had, what was declined, and what went wrong for longer than the retries last. Calling
    /// it again goes on from what is there.
    pub async fn deploy(
        &self,
        memory: &mut Memory,
        prompt: &mut impl Prompt<Plan>,
    ) -> Result<(Deployed<C::Cluster>, Estimate)> {
        self.desired.check()?;
        let ended = self.bring_up(memory, prompt).await;
        // The reason may be Filestore's, while the cluster that was begun before it is billed.
        if ended.is_err() && memory.made() {
            prompt.show(STAYS);
        }
        ended
    }

    async fn bring_up(
        &self,
        memory: &mut Memory,
        prompt: &mut impl Prompt<Plan>,
    ) -> Result<(Deployed<C::Cluster>, Estimate)> {
        let mut budget = RetryBudget::default();
        let mut approved: Option<Vec<Resource>> = None;
        let mut waited_for = BTreeSet::new();
        let mut waiting = Waiting::default();
        for _ in 0..STEPS_MAX {
            let (observed, plan, cluster) = self.look(memory).await?;
            memory.learn(&observed.operations)?;
            fail_if_ended_badly(&observed, &waited_for, &Verb::ALL)?;
            self.approve(&plan, &mut approved, prompt).await?;
            let step = plan.next();
            let names = || plan.waits_for().map(|(what, _)| what).collect::<Vec<_>>().join(" and ");
            let waits = (step == Step::Wait).then(names);
            waiting.check(waits, self.google, "cloud deploy")?;
            let done = match (&step, cluster) {
                (Step::Stop(error), _) => return Err(error.clone()),
                (Step::Done, Some(cluster)) => return Ok((cluster, plan.cost)),
                (Step::Wait, _) => self.wait(&plan, memory, &mut waited_for, prompt).await,
                (Step::Apply | Step::Stage | Step::Start, Some(cluster)) => {
                    self.inside(&step, &observed, &plan, &cluster, prompt).await
                }
                (step, _) => self.begin(step, &observed, memory, &mut waited_for, prompt).await,
            };
            match done {
                Ok(()) => budget.reset(),
                // Where what was read is behind: look, compare, adopt or refuse.
                Err(error) if error.is_transient() || error.is_stale() => {
                    budget.wait(self.google.clock(), error).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::other("deploy", format!("still something to do after {STEPS_MAX} steps")))
    }

    /// Observes, in the cluster too if there is one, and plans.
    async fn look(&self, memory: &Memory) -> Result<(Observed, Plan, Option<Deployed<C::Cluster>>)> {
        let bucket = self.desired.bucket_name();
        let query = Query {
            region: Some(&self.desired.region),
            kept: memory.operations(),
            version_in: self.desired.mode.shutdown_grace().map(|_| self.desired.cluster_location()),
            storage: Some(self.desired.storage),
            bucket: Some(&bucket),
            ..Query::of(&self.desired.deployment, Scope::Deployment)
        };
        let mut observed = self.google.observe(&query).await?;
        let ready = |seen: &&ClusterSeen| {
            let ours = crate::gke::plan::is_ours(&seen.labels, &self.desired.deployment);
            ours && matches!(seen.state, State::Ready | State::Busy)
        };
        let cluster = match target_cluster(self.desired, &observed).filter(ready) {
            Some(seen) => {
                let cluster = self.connect.connect(&access(seen)).await?;
                Some(Deployed {
                    cluster,
                    bucket: bucket_volume(self.google, &self.desired.deployment, &observed),
                })
            }
            None => None,
        };
        if let Some(cluster) = &cluster {
            let objects =
                retry_transient(self.google, async || cluster.observe(&self.desired.deployment).await)
                    .await?;
            observed.objects = Some(objects);
        }
        let plan = plan(self.desired, &observed, self.prices);
        Ok((observed, plan, cluster))
    }

    /// Asks before the first write, and again before anything is deleted that was not asked about.
    async fn approve(
        &self,
        plan: &Plan,
        approved: &mut Option<Vec<Resource>>,
        prompt: &mut impl Prompt<Plan>,
    ) -> Result<()> {
        let replaced = plan.replaced();
        let covered = |approved: &Vec<Resource>| replaced.iter().all(|resource| approved.contains(resource));
        if plan.refusal().is_some() || plan.is_done() || approved.as_ref().is_some_and(covered) {
            return Ok(());
        }
        if let Some(most) = self.max_cost {
            plan.cost.check(most)?;
        }
        if !prompt.confirm(plan).await {
            let Some(_) = approved else {
                return Err(Error::new("deploy", "the plan was not agreed to", Reason::Declined));
            };
            let hint = "`cloud deploy` asks again";
            return Err(Error::with_hint("deploy", "deleting what is broken was not agreed to", hint));
        }
        *approved = Some(replaced);
        Ok(())
    }

    /// Sends a write and keeps the name of its operation, before anything waits for it.
    async fn begin(
        &self,
        step: &Step,
        observed: &Observed,
        memory: &mut Memory,
        waited_for: &mut BTreeSet<String>,
        prompt: &mut impl Prompt<Plan>,
    ) -> Result<()> {
        let desired = self.desired;
        let (resource, verb, name) = match step {
            Step::EnableApis(apis) => {
                prompt.show(&format!("enabling {}", apis.join(", ")));
                (Resource::Apis, Verb::Update, Some(self.google.enable_apis(apis).await?))
            }
            Step::Make(Resource::Cluster) => {
                memory.ask_for(Resource::Cluster)?;
                prompt.show(&format!("making cluster {}, about five minutes", desired.cluster_name()));
                (Resource::Cluster, Verb::Create, Some(self.google.create_cluster(desired).await?))
            }
            Step::Make(Resource::Bucket) => {
                memory.ask_for(Resource::Bucket)?;
                prompt.show(&format!("making bucket {}", desired.bucket_name()));
                self.google.create_bucket(desired).await?;
                return memory.note_made();
            }
            Step::Make(Resource::Access) => {
                let Some(seen) = own_bucket(&desired.deployment, observed) else { return Ok(()) };
                prompt.show(&format!("letting the pods use bucket {}", seen.name));
                return self.google.admit(&seen.name, &seen.pods(&desired.project)).await;
            }
            Step::Make(_) => {
                memory.ask_for(Resource::Filestore)?;
                prompt.show(&format!("making Filestore {}, about three minutes", desired.filestore_name()));
                (Resource::Filestore, Verb::Create, Some(self.google.create_filestore(desired).await?))
            }
            Step::Change(Resource::Bucket) => {
                prompt.show(&format!("changing the settings of bucket {}", desired.bucket_name()));
                return self.google.repair_bucket(&desired.bucket_name()).await;
            }
            Step::Change(_) => {
                prompt.show(&format!("growing Filestore to {} GiB", desired.capacity_gib));
                (Resource::Filestore, Verb::Update, Some(self.google.grow_filestore(desired).await?))
            }
            Step::Delete(Resource::Cluster) => {
                let Some(seen) = target_cluster(desired, observed) else { return Ok(()) };
                prompt.show(&format!("deleting the broken cluster {}", seen.name));
                let operation = self.google.delete_cluster(&seen.name, &seen.location).await?;
                (Resource::Cluster, Verb::Delete, operation)
            }
            Step::Delete(_) => {
                let Some(seen) = target_filestore(desired, observed) else { return Ok(()) };
                prompt.show(&format!("deleting the broken Filestore {}", seen.name));
                let operation = self.google.delete_filestore(&seen.name, &seen.location).await?;
                (Resource::Filestore, Verb::Delete, operation)
            }
            // What lies in a cluster can't be reached: it went away since it was looked at.
            _ => return Ok(()),
        };
        if let Some(name) = name {
            waited_for.insert(name.clone());
            memory.keep(Kept { resource, verb, name })?;
        }
        Ok(())
    }

    /// Waits until an operation ends, or for a while if there is none to watch.
    async fn wait(
        &self,
        plan: &Plan,
        memory: &Memory,
        waited_for: &mut BTreeSet<String>,
        prompt: &mut impl Prompt<Plan>,
    ) -> Result<()> {
        for (what, why) in plan.waits_for() {
            prompt.show(&format!("waiting for {what}: {why}"));
        }
        wait_for_operations(self.google, memory, waited_for).await
    }

    /// A step inside the cluster.
    async fn inside(
        &self,
        step: &Step,
        observed: &Observed,
        plan: &Plan,
        cluster: &Deployed<C::Cluster>,
        prompt: &mut impl Prompt<Plan>,
    ) -> Result<()> {
        let export = || target_filestore(self.desired, observed).and_then(export);
        let volume = match self.desired.storage {
            Storage::Filestore => export().map(Volume::Nfs),
            Storage::Gcs => Some(Volume::Bucket(self.desired.bucket_url())),
        };
        let Some(volume) = volume else {
            let why = "Filestore gave no address";
            return Err(Error::new("prepare the cluster", why, Reason::Transient));
        };
        let batch = Batch {
            deployment: self.desired.deployment.clone(),
            volume,
            mount_options: Vec::new(),
            deadline_s: plan.stop.map(|stop| stop.after_s),
            image: self.desired.work.as_ref().map(|work| work.image.clone()),
            pod: self.desired.work.as_ref().map(|work| work.pod.clone()).unwrap_or_default(),
            workers: self.desired.workers,
            placement: Placement::Labelled(SPOT),
            files: self.datasets.map(|datasets| datasets.files.clone()).unwrap_or_default(),
            worker_args: self.desired.work.as_ref().map(|work| work.worker_args.clone()).unwrap_or_default(),
        };
        match (step, self.datasets) {
            (Step::Apply, _) => {
                prompt.show(match self.desired.storage {
                    Storage::Filestore => "making the volume and Redis",
                    Storage::Gcs => "making the workers' service account and Redis",
                });
                cluster.fit().await?;
                cluster.apply(&batch, &mut |line| prompt.show(line)).await
            }
            (Step::Stage, Some(datasets)) => {
                let tell = &mut |path: &str| prompt.show(&format!("staged {path}"));
                cluster.stage(&batch, datasets, tell).await
            }
            (Step::Start, _) => {
                prompt.show(&format!("running the Job with {} workers", batch.workers));
                cluster.start(&batch).await
            }
            _ => Ok(()),
        }
    }
}

/// Stops on an operation that this process waited for and that ended in an error: the user has to deal with the
/// reason. A later deploy finds what failed and replaces it.
pub(crate) fn fail_if_ended_badly(
    observed: &Observed,
    waited_for: &BTreeSet<String>,
    verbs: &[Verb],
) -> Result<()> {
    let ours = |operation: &&OperationSeen| {
        operation.done && verbs.contains(&operation.verb) && waited_for.contains(&operation.name)
    };
    let failed = observed.operations.iter().filter(ours).find_map(|operation| {
        let verb = match operation.verb {
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Delete => "delete",
        };
        let why = operation.error.as_deref()?;
        let place = operation.place().map(|place| format!(" in {place}")).unwrap_or_default();
        Some(from_operation(&format!("{verb} {}{place}", operation.resource.noun()), why))
    });
    failed.map_or(Ok(()), Err)
}

/// How long nothing but waiting has been done.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    since_s: Option<u64>,
}

impl Waiting {
    /// `waits` is what is waited for, if anything is.
    ///
    /// # Errors
    /// After [`STUCK_AFTER_S`] of waiting without a break.
    pub(crate) fn check(&mut self, waits: Option<String>, google: &Google, command: &str) -> Result<()> {
        let now_s = google.clock().now_s();
        self.since_s = waits.as_ref().map(|_| self.since_s.unwrap_or(now_s));
        let waited_s = self.since_s.map_or(0, |since_s| now_s.saturating_sub(since_s));
        let Some(what) = waits.filter(|_| waited_s > STUCK_AFTER_S) else { return Ok(()) };
        let why = format!("not done after {} minutes", waited_s / 60);
        Err(Error::new(format!("wait for {what}"), why, Reason::Stuck { command: command.to_owned() }))
    }
}

/// Polls the operations that were kept until one ends, or for a few polls. Without any, waits for one:
/// what is there is then looked at again.
pub(crate) async fn wait_for_operations(
    google: &Google,
    memory: &Memory,
    waited_for: &mut BTreeSet<String>,
) -> Result<()> {
    const POLLS: usize = 12;
    waited_for.extend(memory.operations().iter().map(|kept| kept.name.clone()));
    for _ in 0..POLLS {
        google.clock().sleep(POLL).await;
        for kept in memory.operations() {
            if google.operation(kept).await?.is_none_or(|operation| operation.done) {
                return Ok(());
            }
        }
        if memory.operations().is_empty() {
            return Ok(());
        }
    }
    Ok(())
}

/// Retries while the error is transient, with backoff. For reads, and for what is idempotent.
pub(crate) async fn retry_transient<T>(google: &Google, call: impl AsyncFn() -> Result<T>) -> Result<T> {
    let mut budget = RetryBudget::default();
    loop {
        match call().await {
            Err(error) if error.is_transient() => budget.wait(google.clock(), error).await?,
            done => return done,
        }
    }
}

/// The volume of a deployment that has a bucket for it.
pub fn bucket_volume(google: &Google, deployment: &str, observed: &Observed) -> Option<BucketVolume> {
    own_bucket(deployment, observed).map(|seen| BucketVolume::new(google, &seen.name))
}

/// How to reach the API server of a cluster that is ready.
pub fn access(seen: &ClusterSeen) -> Access {
    Access { server: format!("https://{}", seen.endpoint), ca: seen.ca.clone() }
}
