//! The arm of [`Cluster`] that is real: a cluster behind its API server, whoever made it.

use std::path::Path;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use worker::contract::RunPaths;

use super::client;
use super::cluster::{
    Batch, Cluster, Follow, JobSeen, JobState, Objects, PodSize, PodUse, ResultFile, StagedFile, WORKER,
};
use super::exec::Inside;
use super::follow::{Follower, Next};
use super::forward::{Forward, forward};
use super::log::{self, Line};
use super::objects::{Config, DATASETS, DEPLOYMENT_LABEL, MOUNT, PART_LABEL, PROGRAM, WORKLOAD};
use super::stage::Local;
use super::{apply, attend, stage, version, watch};
use crate::clock::{Clock as _, SystemClock};
use crate::error::{Error, Kind, Result};

/// Stands between two files of events; no line of JSON is this.
const FILE_END: &str = "==";

/// How long the log of an ended Job is waited for; that of a pod on a lost machine never ends.
const LAST_LINES: Duration = Duration::from_secs(10);

/// A cluster behind its API server, in the namespace of its context.
#[derive(Clone)]
pub struct LiveCluster {
    client: Client,
    /// What a batch does not say.
    base: Config,
    /// The cluster is a user's, where several deployments may share a namespace.
    shared: bool,
}

impl std::fmt::Debug for LiveCluster {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LiveCluster").finish_non_exhaustive()
    }
}

impl LiveCluster {
    /// A cluster that is there for one deployment. What a batch does not say is as in `base`.
    pub fn new(client: Client, base: Config) -> Self {
        Self { client, base, shared: false }
    }

    /// A cluster that the user already has: the one in the kubeconfig at `path`; None: in the usual places.
    ///
    /// # Errors
    /// Where kubeconfig cannot be read, or has no such context.
    pub async fn by_kubeconfig(path: Option<&Path>, context: Option<String>) -> Result<Self> {
        let client = client::by_kubeconfig(path, context).await?;
        Ok(Self { client, base: Config::tutorial(), shared: true })
    }

    fn config(&self, deployment: &str) -> Config {
        let (namespace, suffix) = self.place(deployment);
        Config { deployment: deployment.to_owned(), namespace, suffix, ..self.base.clone() }
    }

    /// What decides the objects of `batch`.
    pub fn batch_config(&self, batch: &Batch) -> Config {
        let (namespace, suffix) = self.place(&batch.deployment);
        let digest = batch.digest();
        let list = Some(list_path(&digest));
        Config { namespace, suffix, list, digest: Some(digest), ..self.base.with(batch) }
    }

    /// The namespace, and what names of objects in it end with. The deployment that bears the tutorial's name
    /// has the tutorial's names.
    fn place(&self, deployment: &str) -> (String, Option<String>) {
        let other = self.shared && deployment != self.base.deployment;
        (self.client.default_namespace().to_owned(), other.then(|| deployment.to_owned()))
    }

    fn namespaced<K>(&self) -> Api<K>
    where
        K: apply::Object + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::default_namespaced(self.client.clone())
    }

    /// Everything that happens to the deployment's objects and to the nodes, from now on.
    pub fn watch(&self, deployment: &str) -> stream::BoxStream<'static, Result<watch::Event>> {
        watch::watch(&self.client, &self.config(deployment))
    }

    /// Lists the files under `folder` on the volume, sorted by path, with their hashes.
    pub async fn files(&self, deployment: &str, folder: &str) -> Result<Vec<ResultFile>> {
        stage::results(&self.inside(deployment), folder).await
    }

    /// A way to the deployment's Redis from this machine, for as long as the [`Forward`] lives: the queue's
    /// address as the worker's `--queue` takes it.
    ///
    /// # Errors
    /// Where the password cannot be read, or no port is free.
    pub async fn queue(&self, deployment: &str) -> Result<(Forward, String)> {
        let config = self.config(deployment);
        let password = apply::password(&self.client, &config).await?;
        let forward = forward(self.namespaced(), &config.redis_leader(), 6379).await?;
        let url = format!("redis://:{password}@{}/0", forward.address);
        Ok((forward, url))
    }

    /// The staging pod.
    pub fn inside(&self, deployment: &str) -> Inside {
        Inside::new(self.namespaced(), &self.config(deployment).fileserver())
    }

    async fn job(&self, deployment: &str) -> Result<Option<Job>> {
        let config = self.config(deployment);
        apply::find(&self.namespaced(), &config, &config.workload()).await
    }

    /// Gives a Job that runs the number of workers asked for, and its deadline. These can be changed in place.
    async fn keep_running(&self, running: &JobSeen, batch: &Batch) -> Result<()> {
        if let Some(how) = running.difference(&batch.digest(), &batch.program()) {
            return Err(Error::new("start the Job", format!("one is running {how}"), Kind::Differs));
        }
        let jobs: Api<Job> = self.namespaced();
        let mut change = json!({"spec": {"parallelism": batch.workers}});
        if let Some(deadline_s) = batch.deadline_s {
            change["spec"]["activeDeadlineSeconds"] = json!(deadline_s);
        }
        let name = self.config(&batch.deployment).workload();
        let changed = jobs.patch(&name, &PatchParams::default(), &Patch::Merge(change)).await;
        let doing = || format!("give the Job {} workers", batch.workers);
        changed.map(|_| ()).map_err(|error| apply::failed(doing(), &error))
    }

    /// The pods of the Job, oldest first.
    async fn worker_pods(&self, deployment: &str) -> Result<Vec<Pod>> {
        let selector = format!("{DEPLOYMENT_LABEL}={deployment},{PART_LABEL}={WORKLOAD}");
        let pods: Api<Pod> = self.namespaced();
        let listed = pods.list(&ListParams::default().labels(&selector)).await;
        let mut pods = listed.map_err(|error| apply::failed("list the workers' pods".into(), &error))?.items;
        pods.sort_by_key(|pod| (pod.creation_timestamp(), pod.name_any()));
        Ok(pods)
    }

    /// The log of a pod, with the pod's name.
    fn lines(&self, pod: String, follow: bool) -> stream::BoxStream<'static, (String, Line)> {
        log::lines(self.namespaced(), pod.clone(), follow).map(move |line| (pod.clone(), line)).boxed()
    }

    /// The workers' lines as they come, from every pod that comes, until the Job is over.
    async fn follow(&self, deployment: &str, tell: &mut dyn FnMut(&str)) -> Result<()> {
        let config = self.config(deployment);
        let mut events = watch::batch(&self.client, &config);
        let mut logs: stream::SelectAll<stream::BoxStream<'static, (String, Line)>> =
            stream::SelectAll::new();
        let mut follower = Follower::default();
        let mut tick = tokio::time::interval(attend::TICK);
        'followed: loop {
            tokio::select! {
                biased;
                Some((pod, line)) = logs.next() => tell_line(&pod, line, &mut follower, tell),
                Some(event) = events.next() => for next in follower.hear(event, SystemClock.now_s())? {
                    match next {
                        Next::Tell(line) => tell(&line),
                        Next::Open(pod) => logs.push(self.lines(pod, true)),
                        Next::Over => break 'followed,
                    }
                },
                _ = tick.tick() => {
                    follower.quiet(SystemClock.now_s()).iter().for_each(|line| tell(line));
                    attend::release_overdue(&self.client, &config, follower.reporter(), tell).await;
                }
            }
        }
        let rest = async {
            // Of pods that came and went between two events, or before the first.
            for pod in self.worker_pods(deployment).await? {
                if follower.begins(&pod.name_any()) {
                    logs.push(self.lines(pod.name_any(), false));
                }
            }
            while let Some((pod, line)) = logs.next().await {
                tell_line(&pod, line, &mut follower, tell);
            }
            Ok(())
        };
        // Beyond the limit nothing is missed but the last words of machines that are gone.
        tokio::time::timeout(LAST_LINES, rest).await.unwrap_or(Ok(()))
    }
}

/// The worker's line of JSON as a person reads it: the message, the level if it is a warning or worse, and
/// whatever else it carries; with the message alone. Any other line as it is.
fn readable(line: &str) -> (String, Option<String>) {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(line) else { return (line.to_owned(), None) };
    let mut take = |name: &str| fields.remove(name).and_then(|value| value.as_str().map(str::to_owned));
    let (Some(message), level, _) = (take("message"), take("level"), take("timestamp")) else {
        return (line.to_owned(), None);
    };
    let mut text = level.filter(|level| level != "INFO").map(|level| format!("{level} ")).unwrap_or_default();
    text.push_str(&message);
    for (name, value) in &fields {
        text.push_str(&format!("  {name}={value}"));
    }
    (text, Some(message))
}

fn tell_line(pod: &str, line: Line, follower: &mut Follower, tell: &mut dyn FnMut(&str)) {
    match line {
        Line::Worker(line) => {
            let (text, message) = readable(&line);
            if let Some(message) = message {
                follower.said(pod, &message);
            }
            tell(&format!("{pod}  {text}"));
        }
        Line::Kubelet(said) => tell(&format!("{pod}  the kubelet can't give the log: {said}")),
        Line::Seen => {}
    }
}

/// Where the list of a run's datasets lies on the volume. Its name is its content's.
fn list_path(digest: &str) -> String {
    format!("datasets/list-{}.txt", digest.get(..16).unwrap_or(digest))
}

impl Cluster for LiveCluster {
    async fn fit(&self) -> Result<()> {
        version::new_enough(&self.client, "upgrade the cluster, or use another").await
    }

    async fn observe(&self, deployment: &str) -> Result<Objects> {
        let config = self.config(deployment);
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let volume = apply::find(&volumes, &config, &config.volume_name()).await?;
        let claim: Option<PersistentVolumeClaim> =
            apply::find(&self.namespaced(), &config, &config.claim()).await?;
        let (redis, staging) = apply::pods_ready(&self.client, &config).await?;
        Ok(Objects {
            volume: volume.as_ref().and_then(apply::export),
            redis_ready: redis && staging,
            staged: claim.and_then(|claim| claim.annotations().get(DATASETS).cloned()),
            job: self.job(deployment).await?.map(|job| job_seen(&job)),
        })
    }

    async fn apply(&self, batch: &Batch, tell: &mut dyn FnMut(&str)) -> Result<()> {
        apply::up(&self.client, &self.batch_config(batch), tell).await
    }

    async fn stage(&self, batch: &Batch, from: &Path, tell: &mut dyn FnMut(&str)) -> Result<()> {
        let mut last = String::new();
        let mut progress = |progress: stage::Progress<'_>| {
            if progress.path != last {
                progress.path.clone_into(&mut last);
                tell(progress.path);
            }
        };
        let from = Local { folder: from, prefix: "datasets/" };
        stage::put_from(&self.inside(&batch.deployment), from, &batch.files, &mut progress).await?;
        let claims: Api<PersistentVolumeClaim> = self.namespaced();
        let note = json!({"metadata": {"annotations": {DATASETS: batch.digest()}}});
        let claim = self.config(&batch.deployment).claim();
        let noted = claims.patch(&claim, &PatchParams::default(), &Patch::Merge(note)).await;
        noted.map(|_| ()).map_err(|error| apply::failed("note what was staged".into(), &error))
    }

    async fn start(&self, batch: &Batch) -> Result<()> {
        let found = self.job(&batch.deployment).await?.map(|job| job_seen(&job));
        if let Some(running) = found.filter(|job| job.state == JobState::Running) {
            return self.keep_running(&running, batch).await;
        }
        let path = list_path(&batch.digest());
        // Aside, then renamed: a worker reads all of it or none.
        let script = format!("cd {MOUNT} && cat > {path}.new && mv -f {path}.new {path}");
        self.inside(&batch.deployment)
            .sh(&script, list(&batch.files).as_bytes(), "write the list of datasets")
            .await?;
        apply::start(&self.client, &self.batch_config(batch)).await.map(|_| ())
    }

    async fn logs(&self, deployment: &str, follow: Follow, tell: &mut dyn FnMut(&str)) -> Result<()> {
        if follow == Follow::UntilDone {
            return self.follow(deployment, tell).await;
        }
        let mut follower = Follower::default();
        for pod in self.worker_pods(deployment).await? {
            let mut lines = self.lines(pod.name_any(), false);
            while let Some((pod, line)) = lines.next().await {
                tell_line(&pod, line, &mut follower, tell);
            }
        }
        Ok(())
    }

    async fn results(&self, deployment: &str) -> Result<Vec<ResultFile>> {
        self.files(deployment, worker::contract::OUTPUT).await
    }

    async fn fetch(&self, deployment: &str, files: &[ResultFile], into: &Path) -> Result<()> {
        stage::get(&self.inside(deployment), files, into).await
    }

    async fn usage(&self, deployment: &str) -> Result<Vec<PodUse>> {
        let Some(job) = self.job(deployment).await? else { return Ok(Vec::new()) };
        let events = RunPaths::new(&job.uid().unwrap_or_default()).events();
        // A torn last line is left out; the one before it says nearly the same.
        let script = format!(
            "cd {MOUNT}/{events} 2>/dev/null || exit 0; for file in *.jsonl; do head -n 1 \"$file\"; tail -n 2 \"$file\"; echo; echo {FILE_END}; done"
        );
        let printed = self.inside(deployment).sh(&script, &[], "read the run's events").await?;
        Ok(usage(&String::from_utf8_lossy(&printed), worker_size(&job), is_placed(&job)))
    }

    async fn delete(&self, deployment: &str, tell: &mut dyn FnMut(&str)) -> Result<()> {
        apply::delete(&self.client, &self.config(deployment), tell).await
    }
}

/// The datasets of a run, one path a line. The test days, too: a run that is given a list looks for no more.
fn list(files: &[StagedFile]) -> String {
    files.iter().map(|file| format!("{}\n", file.path)).collect()
}

fn job_seen(job: &Job) -> JobSeen {
    let state = match apply::outcome(job) {
        None => JobState::Running,
        Some((true, _)) => JobState::Succeeded,
        Some((false, why)) => JobState::Failed(why),
    };
    let noted = |name: &str| job.annotations().get(name).cloned().unwrap_or_default();
    let workers =
        job.spec.as_ref().and_then(|spec| spec.parallelism).and_then(|workers| workers.try_into().ok());
    JobSeen { state, digest: noted(DATASETS), program: noted(PROGRAM), workers: workers.unwrap_or(1) }
}

/// One file of events after another, each with [`FILE_END`] behind it: from an incarnation's first event
/// to its last. What a machine that vanished did after its last event nobody knows; it is billed, too.
fn usage(events: &str, size: PodSize, spot: bool) -> Vec<PodUse> {
    let of_incarnation = |file: &str| {
        let (events, _) = worker::events::parse(file.as_bytes());
        let (first, last) = (events.first()?, events.last()?);
        let seconds = last.at_ms.saturating_sub(first.at_ms).div_ceil(1000);
        Some(PodUse { pod: first.worker.clone(), seconds, size, spot })
    };
    events.split(&format!("\n{FILE_END}\n")).filter_map(of_incarnation).collect()
}

/// What the Job's workers request.
fn worker_size(job: &Job) -> PodSize {
    let pod = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let requests = pod.and_then(|pod| pod.containers.first()?.resources.as_ref()?.requests.as_ref());
    let number = |name: &str, unit: &str| requests?.get(name)?.0.strip_suffix(unit)?.parse().ok();
    PodSize {
        milli_cpu: number("cpu", "m").unwrap_or(WORKER.milli_cpu),
        mib: number("memory", "Mi").unwrap_or(WORKER.mib),
    }
}

/// Whether the Job's workers are tied to machines with a label, which only those that may vanish have.
fn is_placed(job: &Job) -> bool {
    let pod = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    pod.and_then(|pod| pod.node_selector.as_ref()).is_some_and(|selector| !selector.is_empty())
}

#[cfg(test)]
mod tests {
    use worker::contract::FORMAT_VERSION;
    use worker::events::{Event, What};

    use super::*;
    use crate::k8s::cluster::Placement;

    fn line(worker: &str, seq: u64, at_ms: u64) -> String {
        let event = Event { v: FORMAT_VERSION, at_ms, worker: worker.into(), seq, what: What::Stopping };
        serde_json::to_string(&event).unwrap()
    }

    #[test]
    fn pod_seconds_are_from_the_first_event_to_the_last_whole_one() {
        let printed = format!(
            "{}\n{}\n{{\"torn\n==\n{}\n\n{}\n\n==\n",
            line("workload-0", 0, 1_000),
            line("workload-0", 7, 91_500),
            line("workload-1", 0, 5_000),
            line("workload-1", 0, 5_000),
        );
        let used = usage(&printed, WORKER, true);
        let seconds: Vec<_> = used.iter().map(|used| (used.pod.as_str(), used.seconds)).collect();
        assert_eq!(seconds, [("workload-0", 91), ("workload-1", 0)]);
        assert_eq!(usage("", WORKER, true), []);
    }

    #[test]
    fn a_line_of_the_log_is_told_for_people() {
        let lines = [
            r#"{"timestamp":"2026-11-24T07:20:18Z","level":"INFO","message":"Processing dataset: a","token":2}"#,
            r#"{"timestamp":"2026-11-24T07:20:18Z","level":"ERROR","message":"no space left"}"#,
            r#"{"level":"INFO"}"#,
            "Killed",
        ];
        let read = lines.map(|line| readable(line).0);
        assert_eq!(read, ["Processing dataset: a  token=2", "ERROR no space left", lines[2], "Killed"]);
    }

    #[test]
    fn the_list_holds_the_test_days() {
        let file = |path: &str| StagedFile { path: path.into(), bytes: 1, sha256: "00".into() };
        let files = ["datasets/history/a", "datasets/testing/b", "datasets/training/c"].map(file).to_vec();
        assert_eq!(list(&files), "datasets/history/a\ndatasets/testing/b\ndatasets/training/c\n");
    }

    #[test]
    fn a_job_tells_what_it_was_started_for() {
        let batch = Batch {
            deployment: "batch-aiml".into(),
            nfs: Config::tutorial().nfs,
            mount_options: Vec::new(),
            deadline_s: None,
            image: Some("worker:1".into()),
            workers: 3,
            placement: Placement::Labelled("spot"),
            files: Vec::new(),
            worker_args: vec!["--param".into(), "features=rich".into()],
        };
        let config = Config { digest: Some(batch.digest()), ..Config::tutorial().with(&batch) };
        let seen = job_seen(&crate::k8s::objects::job::job(&config));
        assert_eq!((&seen.state, seen.workers), (&JobState::Running, 3));
        let differs = |other: &Batch| seen.difference(&other.digest(), &other.program());
        assert_eq!(differs(&Batch { workers: 5, ..batch.clone() }), None);
        let program = Some("with another image or other arguments");
        assert_eq!(differs(&Batch { image: Some("worker:2".into()), ..batch.clone() }), program);
        assert_eq!(
            differs(&Batch { worker_args: vec!["--param features=rich".into()], ..batch.clone() }),
            program
        );
        let files = vec![StagedFile { path: "datasets/training/a".into(), bytes: 1, sha256: "00".into() }];
        assert_eq!(differs(&Batch { files, ..batch }), Some("on other datasets"));
    }

    #[test]
    fn what_workers_request_is_read_from_the_job() {
        let config = Config { worker: PodSize { milli_cpu: 250, mib: 300 }, ..Config::tutorial() };
        let job = crate::k8s::objects::job::job(&config);
        assert_eq!((worker_size(&job), is_placed(&job)), (config.worker, false));
        let placed = Config { placement: Placement::Labelled("spot"), ..config };
        assert!(is_placed(&crate::k8s::objects::job::job(&placed)));
    }
}
