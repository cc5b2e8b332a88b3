//! What goes on in the cluster, as a stream of typed events from watches: nothing is polled.

use std::collections::BTreeMap;
use std::pin::pin;

use futures::stream::{BoxStream, StreamExt, select_all};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event as CoreEvent, Node, Pod};
use kube::runtime::watcher::{self, Event as Change};
use kube::runtime::{WatchStreamExt, watcher as watch_all};
use kube::{Api, Client, ResourceExt};

use crate::error::{Error, Kind, Result};
use crate::k8s::object::{self, Object};
use crate::k8s::objects::job::KUEUE_QUEUE;
use crate::k8s::objects::{Config, DEPLOYMENT_LABEL, PART_LABEL, WORKER_CONTAINER, WORKLOAD};
use crate::k8s::obstacle::{self, Obstacle, Report};

/// Something changed. An event carries the whole object, and comes once for each state that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Pod(PodState),
    PodGone(String),
    Node(NodeState),
    NodeGone(String),
    Job(JobState),
    JobGone,
    /// A Warning of Kubernetes' about a pod or a Job of the namespace, maybe another deployment's.
    Report(Report),
}

/// A pod of the deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodState {
    pub name: String,
    pub uid: String,
    /// `workload`, `redis` or `fileserver`.
    pub part: String,
    /// None: not scheduled yet.
    pub node: Option<String>,
    /// `Pending`, `Running`, `Succeeded` or `Failed`; on a node that died in silence it stays `Running`.
    pub phase: String,
    pub ready: bool,
    /// Whether its deletion has begun.
    pub deleting: bool,
    /// The grace that it was given then, in seconds.
    pub grace_s: Option<u64>,
    /// Who disrupted it: the reason of its condition `DisruptionTarget`.
    pub disruption: Option<String>,
    /// The worker's exit code.
    pub exit_code: Option<i32>,
    /// What is in the way of its start.
    pub obstacle: Option<Obstacle>,
    /// How it ended, where no preemption explains it: killed for its memory, evicted.
    pub end: Option<String>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState {
    pub name: String,
    pub ready: bool,
    /// The keys of its taints, sorted.
    pub taints: Vec<String>,
}

/// The Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobState {
    pub uid: String,
    pub ready: i32,
    pub succeeded: i32,
    pub failed: i32,
    /// Set once it is over and all of its pods have ended: whether it is complete, and why.
    pub finished: Option<(bool, String)>,
    /// The queue of Kueue's that it is in, and whether it is kept from running.
    pub queue: Option<String>,
    pub suspended: bool,
    /// Set once its end is decided. Pods may still be terminating then, on a dead machine forever.
    pub outcome: Option<(bool, String)>,
}

/// All events of a deployment from now on, beginning with what is there. It never ends: it reconnects by itself, and
/// yields the errors.
pub fn watch(client: &Client, config: &Config) -> BoxStream<'static, Result<Event>> {
    let nodes: Api<Node> = Api::all(client.clone());
    let nodes =
        events(nodes, watcher::Config::default(), |node| Event::Node(node_state(node)), Event::NodeGone);
    news(select_all([objects(client, config), nodes])).boxed()
}

/// The same without nodes, which users of a single namespace may not read; with what Kubernetes reports.
pub fn batch(client: &Client, config: &Config) -> BoxStream<'static, Result<Event>> {
    news(select_all([objects(client, config), reports(client, config)])).boxed()
}

/// Warnings about pods and Jobs. A user who may not read events hears none, and all else goes on.
fn reports(client: &Client, config: &Config) -> BoxStream<'static, Result<Event>> {
    let events: Api<CoreEvent> = Api::namespaced(client.clone(), &config.namespace);
    watch_all(events, watcher::Config::default().fields("type=Warning"))
        .default_backoff()
        .filter_map(|change| async move {
            match change {
                Ok(Change::Apply(event)) => report(&event, true).map(|report| Ok(Event::Report(report))),
                Ok(Change::InitApply(event)) => report(&event, false).map(|report| Ok(Event::Report(report))),
                Ok(_) => None,
                Err(error) => {
                    tracing::debug!(%error, "watch events");
                    None
                }
            }
        })
        .boxed()
}

fn report(event: &CoreEvent, fresh: bool) -> Option<Report> {
    let of = &event.involved_object;
    let kind = of.kind.clone().filter(|kind| kind == "Pod" || kind == "Job")?;
    let in_series = event.series.as_ref().and_then(|series| series.count);
    Some(Report {
        id: event.name_any(),
        kind,
        name: of.name.clone()?,
        uid: of.uid.clone().unwrap_or_default(),
        reason: event.reason.clone().unwrap_or_default(),
        message: event.message.clone().unwrap_or_default(),
        count: in_series.or(event.count).unwrap_or(1),
        fresh,
    })
}

fn objects(client: &Client, config: &Config) -> BoxStream<'static, Result<Event>> {
    let ours = watcher::Config::default().labels(&format!("{DEPLOYMENT_LABEL}={}", config.deployment));
    let pods: Api<Pod> = Api::namespaced(client.clone(), &config.namespace);
    let jobs: Api<Job> = Api::namespaced(client.clone(), &config.namespace);
    let objects = [
        events(pods, ours.clone(), |pod| Event::Pod(pod_state(pod)), Event::PodGone),
        events(jobs, ours, |job| Event::Job(job_state(job)), |_| Event::JobGone),
    ];
    select_all(objects).boxed()
}

fn events<K>(
    api: Api<K>,
    which: watcher::Config,
    there: fn(&K) -> Event,
    gone: fn(String) -> Event,
) -> BoxStream<'static, Result<Event>>
where
    K: Object,
{
    watch_all(api, which)
        .default_backoff()
        .filter_map(move |change| async move {
            match change {
                Ok(Change::Apply(object) | Change::InitApply(object)) => Some(Ok(there(&object))),
                Ok(Change::Delete(object)) => Some(Ok(gone(object.name_any()))),
                Ok(Change::Init | Change::InitDone) => None,
                Err(error) => Some(Err(failed(error))),
            }
        })
        .boxed()
}

fn failed(error: watcher::Error) -> Error {
    use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
    let doing = "watch the cluster".to_owned();
    match error {
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => {
            object::failed(doing, &error)
        }
        WatchError(_) | NoResourceVersion => Error::new(doing, error.to_string(), Kind::Transient),
    }
}

/// Leaves out events that say nothing new: heartbeats of nodes, and repetitions after a reconnection.
fn news(events: impl futures::Stream<Item = Result<Event>>) -> impl futures::Stream<Item = Result<Event>> {
    let mut last: BTreeMap<(u8, String), Event> = BTreeMap::new();
    events.filter(move |event| {
        let new = event
            .as_ref()
            .map_or(true, |event| last.insert(key(event), event.clone()).as_ref() != Some(event));
        async move { new }
    })
}

fn key(event: &Event) -> (u8, String) {
    match event {
        Event::Pod(PodState { name, .. }) | Event::PodGone(name) => (0, name.clone()),
        Event::Node(NodeState { name, .. }) | Event::NodeGone(name) => (1, name.clone()),
        Event::Job(_) | Event::JobGone => (2, String::new()),
        Event::Report(Report { id, .. }) => (3, id.clone()),
    }
}

/// What a pod's object says.
pub fn pod_state(pod: &Pod) -> PodState {
    let status = pod.status.clone().unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let is_true = |kind: &str| conditions.iter().find(|one| one.type_ == kind && one.status == "True");
    let containers = status.container_statuses.unwrap_or_default();
    let worker = containers.iter().find(|container| container.name == WORKER_CONTAINER);
    let phase = status.phase.unwrap_or_default();
    PodState {
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        part: pod.labels().get(PART_LABEL).cloned().unwrap_or_default(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        obstacle: obstacle::of_pod(pod),
        end: obstacle::of_end(pod, WORKER_CONTAINER).filter(|_| phase == "Failed"),
        phase,
        ready: is_true("Ready").is_some(),
        deleting: pod.metadata.deletion_timestamp.is_some(),
        grace_s: pod.metadata.deletion_grace_period_seconds.and_then(|seconds| seconds.try_into().ok()),
        disruption: is_true("DisruptionTarget").and_then(|one| one.reason.clone()),
        exit_code: worker.and_then(|worker| Some(worker.state.as_ref()?.terminated.as_ref()?.exit_code)),
    }
}

fn node_state(node: &Node) -> NodeState {
    let spec = node.spec.clone().unwrap_or_default();
    let mut taints: Vec<_> = spec.taints.unwrap_or_default().into_iter().map(|taint| taint.key).collect();
    taints.sort();
    taints.dedup();
    NodeState { name: node.name_any(), ready: is_ready(node), taints }
}

/// Whether a node's condition `Ready` is true.
pub fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

fn job_state(job: &Job) -> JobState {
    let status = job.status.clone().unwrap_or_default();
    JobState {
        uid: job.uid().unwrap_or_default(),
        ready: status.ready.unwrap_or(0),
        succeeded: status.succeeded.unwrap_or(0),
        failed: status.failed.unwrap_or(0),
        finished: finished(job),
        queue: job.labels().get(KUEUE_QUEUE).cloned(),
        suspended: job.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or(false),
        outcome: outcome(job),
    }
}

/// Why a Job is over, with all of its pods: its condition `Complete` or `Failed`, with reason and message.
pub fn finished(job: &Job) -> Option<(bool, String)> {
    condition(job, &[("Complete", true), ("Failed", false)])
}

/// How a Job ends, once that is decided. `SuccessCriteriaMet` and `FailureTarget` come before `Complete` and
/// `Failed`, which wait until every pod has ended: forever, on a machine that died and whose Node object stays.
pub fn outcome(job: &Job) -> Option<(bool, String)> {
    finished(job).or_else(|| condition(job, &[("SuccessCriteriaMet", true), ("FailureTarget", false)]))
}

fn condition(job: &Job, wanted: &[(&str, bool)]) -> Option<(bool, String)> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().filter(|one| one.status == "True").find_map(|one| {
        let (_, good) = wanted.iter().find(|(kind, _)| *kind == one.type_)?;
        let parts = [&one.reason, &one.message].into_iter().flatten().cloned();
        Some((*good, parts.collect::<Vec<_>>().join(": ")))
    })
}

/// Whether a pod's containers have all ended, or never will begin.
fn has_ended(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"))
}

/// Waits until no worker on `node` runs any more.
pub async fn pods_ended(client: &Client, namespace: &str, node: &str) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let which = watcher::Config::default()
        .labels(&format!("{PART_LABEL}={WORKLOAD}"))
        .fields(&format!("spec.nodeName={node}"));
    let mut changes = pin!(watch_all(pods, which).default_backoff());
    let (mut running, mut listed) = (BTreeMap::new(), false);
    while let Some(change) = changes.next().await {
        match change {
            Ok(Change::Init) => running.clear(),
            Ok(Change::InitDone) => listed = true,
            Ok(Change::Apply(pod) | Change::InitApply(pod)) => {
                running.insert(pod.name_any(), !has_ended(&pod));
            }
            Ok(Change::Delete(pod)) => {
                running.remove(&pod.name_any());
            }
            // The stream reconnects by itself and lists again.
            Err(error) => tracing::debug!(%error, "watch pods"),
        }
        if listed && !running.values().any(|running| *running) {
            return Ok(());
        }
    }
    Err(Error::other(format!("wait for the pods on {node}"), "the watch ended"))
}

#[cfg(test)]
mod tests {
    use futures::stream::{StreamExt, iter};
    use serde_json::json;

    use super::{Event, Job, NodeState, finished, news, outcome, pod_state};

    #[test]
    fn a_preempted_pod_is_reported_with_who_did_it_and_how_the_worker_ended() {
        let pod = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "workload-0-x", "labels": { "app.kubernetes.io/name": "workload" },
                "deletionTimestamp": "2026-11-23T23:54:53Z",
            },
            "spec": { "nodeName": "w2", "containers": [{ "name": "worker" }] },
            "status": {
                "phase": "Failed",
                "conditions": [{ "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager" }],
                "containerStatuses": [{
                    "name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": { "terminated": { "exitCode": 75 } },
                }],
            },
        }))
        .unwrap();
        let state = pod_state(&pod);
        assert_eq!(state.disruption.as_deref(), Some("DeletionByTaintManager"));
        assert_eq!((state.exit_code, state.deleting, state.ready), (Some(75), true, false));
        assert_eq!((state.node.as_deref(), state.part.as_str()), (Some("w2"), "workload"));
    }

    #[test]
    fn a_pod_that_waits_says_for_what() {
        let mut pod = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "workload-0-x" },
            "status": {
                "phase": "Pending",
                "conditions": [
                    {
                        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                        "message": "0/1 nodes are available.",
                    },
                ],
            },
        }))
        .unwrap();
        let words = |pod: &_| pod_state(pod).obstacle.map(|obstacle| obstacle.words);
        assert_eq!(words(&pod).as_deref(), Some("Unschedulable: 0/1 nodes are available."));
        pod.status.as_mut().unwrap().container_statuses = serde_json::from_value(json!([{
            "name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "waiting": { "reason": "ImagePullBackOff", "message": "Back-off pulling image" } },
        }]))
        .unwrap();
        assert_eq!(words(&pod).as_deref(), Some("ImagePullBackOff: Back-off pulling image"));
        pod.status.as_mut().unwrap().phase = Some("Failed".into());
        assert_eq!(words(&pod), None);
    }

    #[tokio::test]
    async fn a_heartbeat_is_no_news_and_a_return_is() {
        let node = |ready| Event::Node(NodeState { name: "w".to_owned(), ready, taints: Vec::new() });
        let gone = || Event::NodeGone("w".to_owned());
        let events = [node(true), node(true), node(false), gone(), gone(), node(false)];
        let heard: Vec<_> = news(iter(events.map(Ok))).map(|event| event.unwrap()).collect().await;
        assert_eq!(heard, [node(true), node(false), gone(), node(false)]);
    }

    #[test]
    fn the_end_is_decided_before_every_pod_has_ended() {
        let job = |kind: &str, status: &str| -> Job {
            let condition = json!({"type": kind, "status": status, "reason": "R", "message": "m"});
            serde_json::from_value(json!({
                "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "workload"},
                "status": {"conditions": [condition]},
            }))
            .unwrap()
        };
        let why = "R: m".to_owned();
        let table = [
            ("SuccessCriteriaMet", None, Some((true, why.clone()))),
            ("FailureTarget", None, Some((false, why.clone()))),
            ("Complete", Some((true, why.clone())), Some((true, why.clone()))),
            ("Failed", Some((false, why.clone())), Some((false, why))),
            ("Suspended", None, None),
        ];
        for (kind, over, decided) in table {
            assert_eq!(
                (finished(&job(kind, "True")), outcome(&job(kind, "True"))),
                (over, decided),
                "{kind}"
            );
            assert_eq!(outcome(&job(kind, "False")), None, "{kind}");
        }
    }
}
