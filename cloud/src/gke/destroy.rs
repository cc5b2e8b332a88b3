//! Down: delete what carries the deployment's labels, then list everything again, everywhere, and say
//! so only if nothing is left and everything could be asked.

use std::collections::BTreeSet;

use crate::clock::within;
use crate::error::{Cause, Error, Kind, Result};
use crate::gke::connect::Connect;
use crate::gke::deploy::{
    POLL, Prompt, Waiting, access, bucket_volume, fail_if_ended_badly, retry_transient, wait_for_operations,
};
use crate::gke::gcp::{Google, Query, RetryBudget, Scope};
use crate::gke::plan::{
    ClusterSeen, Doomed, Observed, Resource, State, Teardown, Unasked, Verb, is_bucket, is_ours, teardown,
};
use crate::gke::reason::Reason;
use crate::gke::state::{Kept, Memory};
use crate::gke::volume::staged_mark;
use crate::k8s::cluster::{Cluster, ResultFile, VOLUME_LIMIT};
use crate::k8s::with_bucket::BucketFiles as _;

/// More steps than any teardown takes.
const STEPS_MAX: usize = 2000;

/// What will be lost, for consent.
#[derive(Clone, Debug)]
pub struct Loss {
    pub teardown: Teardown,
    /// Or why it could not be looked at.
    pub unfetched: std::result::Result<Vec<ResultFile>, String>,
}

/// What `destroy` works with.
#[derive(Debug)]
pub struct Destroyer<'a, C: Connect> {
    pub google: &'a Google,
    pub connect: &'a C,
    pub deployment: &'a str,
}

/// Everything was asked, and nothing is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Things that bear a name of the deployment's without its labels; they were not touched.
    pub foreign: Vec<Doomed>,
    /// Not asked about, for want of a right: this machine never made any.
    pub unlisted: Vec<Unasked>,
    /// Deleted; a policy keeps it, and it is billed, until then.
    pub kept: Vec<(Doomed, String)>,
}

impl<C: Connect> Destroyer<'_, C> {
    /// Takes everything down. Calling it again goes on from what is left.
    ///
    /// # Errors
    /// What is still there, or could not be asked, by name.
    pub async fn destroy(&self, memory: &mut Memory, prompt: &mut impl Prompt<Loss>) -> Result<Proof> {
        let mut budget = RetryBudget::default();
        let mut waited_for = BTreeSet::new();
        let (mut approved, mut objects_gone) = (false, false);
        let (mut waiting, mut busy) = (Waiting::default(), None);
        for _ in 0..STEPS_MAX {
            let observed = self.look(memory).await?;
            memory.learn(&observed.operations)?;
            let down = teardown(self.deployment, &observed);
            // How the making of what is about to go ended does not matter.
            fail_if_ended_badly(&observed, &waited_for, &[Verb::Delete])
                .map_err(|error| left(&down, &error))?;
            if down.is_clean() {
                memory.clear()?;
                let Teardown { foreign, unlisted, kept, .. } = down;
                return Ok(Proof { foreign, unlisted, kept });
            }
            if !approved {
                self.approve(&down, &observed, memory, prompt).await?;
                approved = true;
            }
            if down.left().is_empty() {
                budget.wait(self.google.clock(), unasked(&down)).await?;
                continue;
            }
            let waits = busy.take().or_else(|| down.delete.is_empty().then(|| waits_for(&down).to_owned()));
            waiting.check(waits, self.google, "cloud destroy").map_err(|error| left(&down, &error))?;
            if !objects_gone {
                self.delete_objects(&observed, prompt).await;
                objects_gone = true;
            }
            let stepped = match down.delete.is_empty() {
                true => wait_for_operations(self.google, memory, &mut waited_for).await,
                false => self.delete(&down.delete, memory, &mut waited_for, prompt).await,
            };
            match stepped {
                Ok(()) => budget.reset(),
                // Google upgrades or repairs it, which takes longer than the retries last.
                Err(error) if error.kind == Kind::Busy => {
                    prompt.show(&format!("waiting for Google Cloud: {error}"));
                    busy = Some(format!("Google Cloud ({error})"));
                    self.google.clock().sleep(POLL).await;
                }
                Err(error) if error.is_transient() => {
                    budget.wait(self.google.clock(), error).await.map_err(|error| left(&down, &error))?;
                }
                Err(error) => return Err(left(&down, &error)),
            }
        }
        Err(Error::other("destroy", format!("still something to do after {STEPS_MAX} steps")))
    }

    async fn look(&self, memory: &Memory) -> Result<Observed> {
        let query = Query {
            kept: memory.operations(),
            made: memory.asked(),
            ..Query::of(self.deployment, Scope::Everything)
        };
        self.google.observe(&query).await
    }

    async fn approve(
        &self,
        down: &Teardown,
        observed: &Observed,
        memory: &mut Memory,
        prompt: &mut impl Prompt<Loss>,
    ) -> Result<()> {
        // Without a limit, this would wait forever for a volume that is gone, even with --yes.
        let look = self.unfetched(observed, memory);
        let look = within(&**self.google.clock(), VOLUME_LIMIT, "look for results", look).await;
        let unfetched = look.map_err(|error| error.to_string());
        let loss = Loss { teardown: down.clone(), unfetched };
        if prompt.confirm(&loss).await {
            return Ok(());
        }
        Err(Error::new("destroy", "it was not agreed to", Reason::Declined))
    }

    /// Results on the volume whose content was never fetched to this machine.
    async fn unfetched(&self, observed: &Observed, memory: &mut Memory) -> Result<Vec<ResultFile>> {
        let results = match bucket_volume(self.google, self.deployment, observed) {
            Some(bucket) => bucket.results().await?,
            None => self.mounted_results(observed, memory).await?,
        };
        let unfetched = |file: &ResultFile| !memory.is_fetched(&file.path, &file.content);
        Ok(results.into_iter().filter(unfetched).collect())
    }

    /// The results on a volume that is looked at through the cluster.
    async fn mounted_results(&self, observed: &Observed, memory: &mut Memory) -> Result<Vec<ResultFile>> {
        let Some(seen) = self.reachable(observed) else {
            if observed.filestores.iter().any(|seen| is_ours(&seen.labels, self.deployment)) {
                return Err(Error::other(
                    "look for results",
                    "there is no cluster to look at the volume through",
                ));
            }
            return Ok(Vec::new());
        };
        let cluster = self.connect.connect(&access(seen)).await?;
        let volume = async || Ok(cluster.observe(self.deployment).await?.volume);
        match retry_transient(self.google, volume).await? {
            // Another machine made it, and it was not listed: that is to be proved, too.
            Some(url) if is_bucket(&url) => {
                memory.ask_for(Resource::Bucket)?;
                Err(Error::other(
                    "look for results",
                    format!("{url} is not among the buckets that were listed"),
                ))
            }
            Some(_) => retry_transient(self.google, async || cluster.results(self.deployment).await).await,
            None => Ok(Vec::new()),
        }
    }

    fn reachable<'a>(&self, observed: &'a Observed) -> Option<&'a ClusterSeen> {
        let ours = |seen: &&ClusterSeen| is_ours(&seen.labels, self.deployment);
        let ready = |seen: &&ClusterSeen| matches!(seen.state, State::Ready | State::Busy);
        observed.clusters.iter().filter(ours).find(ready)
    }

    /// Best effort, so that the export is unmounted in good order: the cluster takes its objects with it.
    async fn delete_objects(&self, observed: &Observed, prompt: &mut impl Prompt<Loss>) {
        let Some(seen) = self.reachable(observed) else { return };
        prompt.show("deleting what is in the cluster");
        let deleted = async {
            let cluster = self.connect.connect(&access(seen)).await?;
            let mut budget = RetryBudget::default();
            loop {
                let tell = &mut |line: &str| prompt.show(line);
                match cluster.delete(self.deployment, tell).await {
                    Err(error) if error.is_transient() => budget.wait(self.google.clock(), error).await?,
                    done => return done,
                }
            }
        };
        let deleted: Result<()> = deleted.await;
        if let Err(error) = deleted {
            prompt.show(&format!("failed to {error}; the cluster's own deletion takes it along"));
        }
    }

    /// Asks for everything to be deleted, side by side, keeping each operation's name.
    async fn delete(
        &self,
        doomed: &[Doomed],
        memory: &mut Memory,
        waited_for: &mut BTreeSet<String>,
        prompt: &mut impl Prompt<Loss>,
    ) -> Result<()> {
        let mut failures = Vec::new();
        for Doomed { resource, name, location } in doomed {
            prompt.show(&format!("deleting {} {name} in {location}", resource.noun()));
            let sent = match resource {
                Resource::Cluster => self.google.delete_cluster(name, location).await,
                Resource::Filestore => self.google.delete_filestore(name, location).await,
                Resource::Bucket => {
                    let tell = &mut |line: &str| prompt.show(line);
                    let mark = staged_mark();
                    self.google.delete_bucket(name, self.deployment, &mark, tell).await.map(|()| None)
                }
                Resource::Repository => self.google.delete_repository(name, location).await,
                _ => self.google.delete_disk(name, location).await.map(|()| None),
            };
            match sent {
                Ok(Some(name)) => {
                    waited_for.insert(name.clone());
                    memory.keep(Kept { resource: *resource, verb: Verb::Delete, name })?;
                }
                Ok(None) => {}
                // The others are asked for all the same: each costs by the hour.
                Err(error) => failures.push(error),
            }
        }
        // The first to report is the one that no waiting helps, the last the one that is merely busy.
        let passes_by_itself = |error: &Error| (error.is_transient(), error.kind == Kind::Busy);
        failures.into_iter().min_by_key(passes_by_itself).map_or(Ok(()), Err)
    }
}

/// A disk that nothing else holds back waits for somebody who uses it.
fn waits_for(down: &Teardown) -> &'static str {
    match down.wait.iter().all(|doomed| doomed.resource == Resource::Disk) {
        true => "disks to be detached from the machines that use them",
        false => "Google Cloud",
    }
}

/// Names what is left, with the reason.
fn left(down: &Teardown, error: &Error) -> Error {
    let names =
        |doomed: &&Doomed| format!("{} {} in {}", doomed.resource.noun(), doomed.name, doomed.location);
    let left = down.left().iter().map(names).collect::<Vec<_>>().join("; ");
    let mut why = format!("{error}; this may still be there and be billed: {left}");
    if !down.unasked.is_empty() || !down.unlisted.is_empty() {
        why = format!("{why}; this could not be asked: {}", unasked_names(down));
    }
    let cause = match error.kind {
        // Its own hint says what to do about the reason.
        Kind::Credentials | Kind::Permission | Kind::Disabled => {
            Cause { kind: error.kind, hint: error.hint.clone(), page: error.page }
        }
        _ => Reason::Left.into(),
    };
    Error::new("destroy everything", why, cause)
}

fn unasked(down: &Teardown) -> Error {
    let why = format!("nothing more was found, but this could not be asked: {}", unasked_names(down));
    Error::new("prove that nothing is left", why, Reason::Left)
}

fn unasked_names(down: &Teardown) -> String {
    let name =
        |unasked: &Unasked| format!("{} in {} ({})", unasked.resource.noun(), unasked.place, unasked.why);
    down.unasked.iter().chain(&down.unlisted).map(name).collect::<Vec<_>>().join("; ")
}
