//! Waiting for Kubernetes while listening to it: its own words about an obstacle are shown within seconds, a hopeless
//! obstacle ends the wait, and pods that hang on a dead machine are released.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use serde_json::json;

use crate::clock::{Clock as _, SystemClock};
use crate::error::{Error, Result};
use crate::k8s::objects::{Config, WORKLOAD};
use crate::k8s::obstacle::{self, Obstacle, Outlook, Report};
use crate::k8s::watch::{self, Event, PodState};

/// How long a pod may outlive its grace before it is said to hang.
const HANGS_S: u64 = 10;
/// After this time a pod that still starts is reported, even if Kubernetes reports nothing: a mount from a server
/// that does not answer fails only after minutes.
const QUIET_S: u64 = 10;
/// Reports that are kept until their pod is heard of.
const EARLY_MAX: usize = 100;
/// Between two looks at what is overdue.
pub(crate) const TICK: Duration = Duration::from_secs(2);

/// The state of the deployment's objects, as heard so far. It decides what to show, and shows nothing twice.
#[derive(Debug, Default)]
pub struct Reporter {
    /// Pods that are waited for, with their uid: an obstacle of theirs that no waiting helps is the end.
    needed: BTreeMap<String, String>,
    /// Words that were shown.
    said: BTreeSet<String>,
    /// The last obstacle of each object.
    last: BTreeMap<String, Obstacle>,
    /// By name: their uid, and whether they are `Pending`.
    pods: BTreeMap<String, (String, bool)>,
    /// Pods that are no worker's.
    support: BTreeSet<String>,
    /// The uid of the deployment's Job.
    job: Option<String>,
    early: Vec<Report>,
    leaving: BTreeMap<String, Leaving>,
    /// Pods that have a node and are `Pending`: since when, and that node.
    starting: BTreeMap<String, (u64, String)>,
}

/// A pod that was asked to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    pub pod: String,
    pub uid: String,
    pub node: Option<String>,
    until_s: u64,
    /// What was shown of it, and whether it was released.
    reported: String,
    released: bool,
}

impl Reporter {
    /// Reports on a wait for the pods `needed`, by name and uid.
    pub fn new(needed: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { needed: needed.into_iter().collect(), ..Self::default() }
    }

    /// Takes in an event, and gives the obstacle that it means with the name of its object.
    pub fn hear(&mut self, event: &Event, now_s: u64) -> Option<(String, Obstacle)> {
        let found = match event {
            Event::Pod(pod) => self.pod(pod, now_s),
            Event::PodGone(name) => {
                self.leaving.remove(name);
                self.starting.remove(name);
                self.pods.remove(name);
                None
            }
            Event::Job(job) => {
                self.job = Some(job.uid.clone());
                None
            }
            Event::Report(report) => self.report(report),
            _ => None,
        };
        let (name, obstacle) = found?;
        self.last.insert(name.clone(), obstacle.clone());
        Some((name, obstacle))
    }

    fn pod(&mut self, pod: &PodState, now_s: u64) -> Option<(String, Obstacle)> {
        let over = matches!(pod.phase.as_str(), "Succeeded" | "Failed");
        let PodState { name, uid, node, .. } = pod;
        match (pod.deleting, over) {
            (true, false) => {
                let until_s = now_s.saturating_add(pod.grace_s.unwrap_or(30)).saturating_add(HANGS_S);
                let leaving = Leaving {
                    pod: name.clone(),
                    uid: uid.clone(),
                    node: node.clone(),
                    until_s,
                    reported: String::new(),
                    released: false,
                };
                let known = self.leaving.entry(name.clone()).or_insert_with(|| leaving.clone());
                if known.uid != *uid {
                    *known = leaving;
                }
            }
            _ => drop(self.leaving.remove(name)),
        }
        if pod.part != WORKLOAD {
            self.support.insert(name.clone());
        }
        let pending = pod.phase == "Pending";
        if let Some(node) = node.as_ref().filter(|_| pending && !pod.deleting) {
            self.starting.entry(name.clone()).or_insert_with(|| (now_s, node.clone()));
        } else {
            self.starting.remove(name);
        }
        self.pods.insert(name.clone(), (uid.clone(), pending));
        if !pending {
            self.last.remove(name);
        }
        let early = std::mem::take(&mut self.early);
        let (of_it, others): (Vec<_>, Vec<_>) = early.into_iter().partition(|report| report.name == *name);
        self.early = others;
        let reported = of_it.iter().filter_map(|report| self.report(report)).last();
        pod.obstacle.clone().map(|obstacle| (name.clone(), obstacle)).or(reported)
    }

    /// A report on a pod counts while that very pod is `Pending`: events outlive what they tell of by an hour.
    fn report(&mut self, report: &Report) -> Option<(String, Obstacle)> {
        if report.kind == "Pod" {
            let Some((uid, pending)) = self.pods.get(&report.name) else {
                if self.early.len() < EARLY_MAX {
                    self.early.push(report.clone());
                }
                return None;
            };
            if !*pending || *uid != report.uid {
                return None;
            }
        } else if !report.fresh || self.job.as_ref() != Some(&report.uid) {
            return None;
        }
        obstacle::of_report(report).map(|obstacle| (report.name.clone(), obstacle))
    }

    /// The line about an obstacle. None: the same was shown, of this object or of another.
    pub fn line(&mut self, name: &str, obstacle: &Obstacle) -> Option<String> {
        let line = format!("{name}  waits: {}", obstacle.words);
        self.said.insert(impersonal(&obstacle.words)).then_some(line)
    }

    /// Whether a pod is one that the deployment has alone: nothing replaces it.
    pub fn is_support(&self, name: &str) -> bool {
        self.support.contains(name)
    }

    /// Something has changed: what was shown may be shown again.
    pub fn forget(&mut self) {
        self.said.clear();
    }

    /// Whether it is this very pod of that name that is waited for.
    fn needs(&self, name: &str) -> bool {
        self.needed.get(name).is_some_and(|needed| self.pods.get(name).is_some_and(|(uid, _)| uid == needed))
    }

    /// Why the wait for `name` is over, where it is.
    fn end(&self, name: &str, obstacle: &Obstacle) -> Result<()> {
        match &obstacle.outlook {
            Outlook::Hopeless(hint) if self.needs(name) => Err(refused(name, obstacle, hint)),
            _ => Ok(()),
        }
    }

    /// Adds the last words of Kubernetes to an error that lacks them.
    fn explain(&self, error: Error) -> Error {
        let of_needed = |entry: &(&String, &Obstacle)| self.needs(entry.0);
        let words =
            self.last.iter().filter(of_needed).map(|(name, obstacle)| format!("{name}: {}", obstacle.words));
        let why = words
            .filter(|words| !error.why.contains(words.as_str()))
            .fold(error.why.clone(), |why, words| format!("{why}; {words}"));
        Error { why, ..error }
    }

    /// Returns a line, once per pod, for each pod that has been starting for long with nothing reported: the pods
    /// that we wait for, or all pods.
    pub fn quiet(&mut self, now_s: u64, all: bool) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, (since_s, node)) in &self.starting {
            let counts = all || self.needs(name);
            let is_quiet = now_s >= since_s.saturating_add(QUIET_S) && !self.last.contains_key(name);
            let line = format!(
                "{name}  is still starting on node {node}, and Kubernetes reports nothing yet: an image that is \
                 being pulled looks like this, and an NFS server that does not answer"
            );
            if counts && is_quiet && !self.said.contains(&line) {
                lines.push(line);
            }
        }
        self.said.extend(lines.iter().cloned());
        lines
    }

    /// Pods that should be gone by now, until they are released. A node that died reads as Ready for a while yet.
    pub fn overdue(&self, now_s: u64) -> Vec<Leaving> {
        let overdue = self.leaving.values().filter(|leaving| !leaving.released && now_s >= leaving.until_s);
        overdue.cloned().collect()
    }

    /// Notes what was found of a pod that is overdue, and gives what is new of it to tell.
    pub fn note(&mut self, pod: &str, line: String, released: bool) -> Option<String> {
        let leaving = self.leaving.get_mut(pod)?;
        leaving.released = released;
        (leaving.reported != line).then(|| leaving.reported.clone_from(&line)).map(|()| line)
    }
}

/// The error for what no waiting helps.
pub(crate) fn refused(name: &str, obstacle: &Obstacle, hint: &str) -> Error {
    Error::with_hint(format!("start {name}"), &obstacle.words, hint)
}

/// Words without what differs from one pod to the next: `pods "workload-0-x7k2p" is forbidden`.
fn impersonal(words: &str) -> String {
    match words.split_once("pods \"").and_then(|(before, rest)| Some((before, rest.split_once('"')?.1))) {
        Some((before, after)) => format!("{before}pods{after}"),
        None => words.to_owned(),
    }
}

/// Waits for `what`, which may take long. Until then `tell` gets what Kubernetes says is in the way of the pods
/// `needed` (by name and uid), and which pods hang.
///
/// # Errors
/// Its own, or what keeps one of the pods `needed` from starting where no waiting helps.
pub(crate) async fn attended<T>(
    client: &Client,
    config: &Config,
    needed: &[(String, String)],
    tell: &mut dyn FnMut(&str),
    what: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut events = watch::batch(client, config);
    let mut reporter = Reporter::new(needed.iter().cloned());
    let mut tick = tokio::time::interval(TICK);
    let mut what = pin!(what);
    loop {
        tokio::select! {
            biased;
            done = &mut what => return done.map_err(|error| reporter.explain(error)),
            Some(event) = events.next() => {
                let heard = event.ok().and_then(|event| reporter.hear(&event, SystemClock.now_s()));
                if let Some((name, obstacle)) = heard.filter(|(name, _)| reporter.needs(name)) {
                    if let Some(line) = reporter.line(&name, &obstacle) {
                        tell(&line);
                    }
                    reporter.end(&name, &obstacle)?;
                }
            }
            _ = tick.tick() => {
                reporter.quiet(SystemClock.now_s(), false).iter().for_each(|line| tell(line));
                release_overdue(client, config, &mut reporter, tell).await;
            }
        }
    }
}

/// How the node of a pod that hangs stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeIs {
    Ready,
    NotReady,
    Gone,
    /// It may not be asked.
    Unknown,
}

/// The line about a pod that hangs in Terminating, and whether to release it. Without that a Job never replaces a pod
/// whose kubelet is dead. If the machine still works, it does no harm: commits are idempotent.
pub fn hanging(pod: &str, node: &str, is: NodeIs) -> (String, bool) {
    let what = format!("{pod}  hangs in Terminating on node {node}");
    match is {
        NodeIs::NotReady => (
            format!(
                "{what}, which is NotReady: the pod is marked as failed and deleted by force, so that it holds up \
                 nothing; if that machine is gone for good, `kubectl delete node {node}` removes its object"
            ),
            true,
        ),
        NodeIs::Gone => {
            (format!("{what}, which is gone: the pod is marked as failed and deleted by force"), true)
        }
        NodeIs::Ready => (
            format!(
                "{what}, which is Ready: a process there does not end, as with an NFS server that is away; \
                 `kubectl describe pod {pod}` says more"
            ),
            false,
        ),
        NodeIs::Unknown => (
            format!(
                "{what}, and how that node stands may not be read: if its machine is gone, `kubectl delete node \
                 {node}` lets Kubernetes replace the pod"
            ),
            false,
        ),
    }
}

/// Releases the pods that should be gone by now where their nodes are no more, and tells what is new of them.
pub(crate) async fn release_overdue(
    client: &Client,
    config: &Config,
    reporter: &mut Reporter,
    tell: &mut dyn FnMut(&str),
) {
    for leaving in reporter.overdue(SystemClock.now_s()) {
        let (line, released) = release(client, config, &leaving).await;
        if let Some(line) = reporter.note(&leaving.pod, line, released) {
            tell(&line);
        }
    }
}

/// Releases a pod that hangs where its node is no more, and gives what to tell, and whether it is released.
async fn release(client: &Client, config: &Config, leaving: &Leaving) -> (String, bool) {
    let nodes: Api<Node> = Api::all(client.clone());
    let node = leaving.node.as_deref().unwrap_or("none");
    let is = match nodes.get_opt(node).await {
        Ok(None) => NodeIs::Gone,
        Ok(Some(found)) if watch::is_ready(&found) => NodeIs::Ready,
        Ok(Some(_)) => NodeIs::NotReady,
        Err(error) => {
            tracing::debug!(%error, node, "read a node");
            NodeIs::Unknown
        }
    };
    let (line, released) = hanging(&leaving.pod, node, is);
    if !released {
        return (line, false);
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), &config.namespace);
    match bury(&pods, leaving).await {
        Ok(()) => (line, true),
        // It has ended after all.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => (line, true),
        Err(error) => {
            let instead = format!("`kubectl delete node {node}` lets Kubernetes replace the pod");
            (format!("{line}; that failed: {error}; if its machine is gone, {instead}"), false)
        }
    }
}

/// Does what Kubernetes' own collector does with pods of nodes that are gone. By a deletion alone, even by force,
/// a Job's pod stays: a finalizer holds it until it counts as failed, which its phase decides.
async fn bury(pods: &Api<Pod>, leaving: &Leaving) -> Result<(), kube::Error> {
    let failed = json!({
        "metadata": {"uid": leaving.uid},
        "status": {"phase": "Failed", "reason": "NodeLost", "message": "its node does not answer"},
    });
    pods.patch_status(&leaving.pod, &PatchParams::default(), &Patch::Merge(failed)).await?;
    let preconditions = Preconditions { uid: Some(leaving.uid.clone()), resource_version: None };
    let now = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default().grace_period(0) };
    pods.delete(&leaving.pod, &now).await.map(|_| ())
}

#[cfg(test)]
mod tests;
