//! The arm of [`Cluster`] that is real: a cluster behind its API server.

use std::path::Path;

use futures::stream::BoxStream;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use worker::contract::RunPaths;

use super::cluster::{
    Batch, Cluster, Datasets, Follow, JobSeen, JobState, Objects, PodUse, Ran, ResultFile, Volume, list,
    list_path,
};
use super::exec::PodExec;
use super::forward::{Forward, forward};
use super::object::{Object, failed, find};
use super::objects::{Config, DATASETS, MOUNT, PROGRAM, SHAPE};
use super::stage::Local;
use super::{apply, client, delete, logs, stage, usage, version, watch};
use crate::error::{Error, Kind, Result};

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

    /// What a worker's pod writes, as it comes, until its container ends.
    pub fn written_by(&self, pod: &str) -> BoxStream<'static, String> {
        logs::written_by(&self.client, pod)
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
        K: Object + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::default_namespaced(self.client.clone())
    }

    /// Everything that happens to the deployment's objects and to the nodes, from now on.
    pub fn watch(&self, deployment: &str) -> BoxStream<'static, Result<watch::Event>> {
        watch::watch(&self.client, &self.config(deployment))
    }

    /// Lists the files under `folder` on the volume, sorted by path, with their hashes.
    pub async fn files(&self, deployment: &str, folder: &str) -> Result<Vec<ResultFile>> {
        stage::results(&self.staging_pod(deployment), folder).await
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
    pub fn staging_pod(&self, deployment: &str) -> PodExec {
        PodExec::new(self.namespaced(), &self.config(deployment).fileserver())
    }

    async fn job(&self, deployment: &str) -> Result<Option<Job>> {
        let config = self.config(deployment);
        find(&self.namespaced(), &config, &config.workload()).await
    }

    /// Gives a Job that runs the number of workers asked for, and its deadline. These can be changed in place.
    async fn keep_running(&self, running: &JobSeen, batch: &Batch) -> Result<()> {
        if let Some(how) = running.conflict(&batch.digest(), &batch.program(), &batch.pod) {
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
        changed.map(|_| ()).map_err(|error| failed(doing(), &error))
    }

    /// Keeps the digest of the datasets that are all there; none while they change.
    async fn note_staged(&self, deployment: &str, digest: Option<String>) -> Result<()> {
        let claims: Api<PersistentVolumeClaim> = self.namespaced();
        let note = json!({"metadata": {"annotations": {DATASETS: digest}}});
        let claim = self.config(deployment).claim();
        let noted = claims.patch(&claim, &PatchParams::default(), &Patch::Merge(note)).await;
        noted.map(|_| ()).map_err(|error| failed("note what was staged".into(), &error))
    }
}

impl Cluster for LiveCluster {
    async fn fit(&self) -> Result<()> {
        version::new_enough(&self.client, "upgrade the cluster, or use another").await
    }

    async fn observe(&self, deployment: &str) -> Result<Objects> {
        let config = self.config(deployment);
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let volume = find(&volumes, &config, &config.volume_name()).await?;
        let volume = volume.as_ref().and_then(apply::export);
        let bucket = if volume.is_none() { apply::bucket(&self.client, &config).await? } else { None };
        let claim: Option<PersistentVolumeClaim> = find(&self.namespaced(), &config, &config.claim()).await?;
        let (redis, staging) = apply::pods_ready(&self.client, &config).await?;
        Ok(Objects {
            redis_ready: redis && (staging || bucket.is_some()),
            volume: volume.or(bucket),
            staged: claim.and_then(|claim| claim.annotations().get(DATASETS).cloned()),
            job: self.job(deployment).await?.map(|job| job_seen(&job)),
        })
    }

    async fn apply(&self, batch: &Batch, tell: &mut dyn FnMut(&str)) -> Result<()> {
        apply::up(&self.client, &self.batch_config(batch), tell).await
    }

    async fn stage(&self, batch: &Batch, datasets: &Datasets, tell: &mut dyn FnMut(&str)) -> Result<()> {
        // Before the first of them changes: a set that is cut short must not be taken for the one before it.
        self.note_staged(&batch.deployment, None).await?;
        let mut last = String::new();
        let mut progress = |progress: stage::Progress<'_>| {
            if progress.path != last {
                progress.path.clone_into(&mut last);
                tell(progress.path);
            }
        };
        let from = Local { folder: &datasets.from, is_flat: datasets.is_flat };
        stage::put_from(&self.staging_pod(&batch.deployment), from, &batch.files, &mut progress).await?;
        self.note_staged(&batch.deployment, Some(batch.digest())).await
    }

    async fn start(&self, batch: &Batch) -> Result<()> {
        let found = self.job(&batch.deployment).await?.map(|job| job_seen(&job));
        if let Some(running) = found.filter(|job| job.state == JobState::Running) {
            return self.keep_running(&running, batch).await;
        }
        if let Volume::Nfs(_) = batch.volume {
            let path = list_path(&batch.digest());
            // Aside, then renamed: a worker reads all of it or none.
            let script = format!("cd {MOUNT} && cat > {path}.new && mv -f {path}.new {path}");
            let doing = "write the list of datasets";
            self.staging_pod(&batch.deployment).sh(&script, list(&batch.files).as_bytes(), doing).await?;
        }
        apply::start(&self.client, &self.batch_config(batch)).await.map(|_| ())
    }

    async fn logs(&self, deployment: &str, follow: Follow, tell: &mut dyn FnMut(&str)) -> Result<()> {
        match follow {
            Follow::UntilDone => logs::follow(&self.client, &self.config(deployment), tell).await,
            Follow::Now => logs::show(&self.client, deployment, tell).await,
        }
    }

    async fn results(&self, deployment: &str) -> Result<Vec<ResultFile>> {
        self.files(deployment, worker::contract::OUTPUT).await
    }

    async fn fetch(&self, deployment: &str, files: &[ResultFile], into: &Path) -> Result<()> {
        stage::get(&self.staging_pod(deployment), files, into).await
    }

    async fn ran(&self, deployment: &str) -> Result<Option<Ran>> {
        let job = self.job(deployment).await?;
        Ok(job.map(|job| Ran {
            run: job.uid().unwrap_or_default(),
            size: usage::worker_size(&job),
            spot: usage::is_placed(&job),
        }))
    }

    async fn usage(&self, deployment: &str) -> Result<Vec<PodUse>> {
        let Some(ran) = self.ran(deployment).await? else { return Ok(Vec::new()) };
        let events = RunPaths::new(&ran.run).events();
        // A torn last line is left out; the one before it says nearly the same.
        let script = format!(
            "cd {MOUNT}/{events} 2>/dev/null || exit 0; for file in *.jsonl; do head -n 1 \"$file\"; tail -n 2 \"$file\"; echo; echo {}; done",
            usage::FILE_END
        );
        let printed = self.staging_pod(deployment).sh(&script, &[], "read the run's events").await?;
        let printed = String::from_utf8_lossy(&printed);
        Ok(usage::usage(printed.split(&format!("\n{}\n", usage::FILE_END)).map(str::as_bytes), &ran))
    }

    async fn delete(&self, deployment: &str, tell: &mut dyn FnMut(&str)) -> Result<()> {
        delete::delete(&self.client, &self.config(deployment), tell).await
    }
}

fn job_seen(job: &Job) -> JobSeen {
    let state = match watch::outcome(job) {
        None => JobState::Running,
        Some((true, _)) => JobState::Succeeded,
        Some((false, why)) => JobState::Failed(why),
    };
    let noted = |name: &str| job.annotations().get(name).cloned().unwrap_or_default();
    let workers =
        job.spec.as_ref().and_then(|spec| spec.parallelism).and_then(|workers| workers.try_into().ok());
    let deadline_s = job.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
    JobSeen {
        state,
        deadline_s: deadline_s.and_then(|seconds| seconds.try_into().ok()),
        digest: noted(DATASETS),
        program: noted(PROGRAM),
        shape: noted(SHAPE),
        workers: workers.unwrap_or(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::cluster::{Placement, StagedFile};
    use crate::k8s::pod::PodChoice;

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
            volume: Config::tutorial().volume,
            mount_options: Vec::new(),
            deadline_s: None,
            image: Some("worker:1".into()),
            workers: 3,
            placement: Placement::Labelled("spot"),
            files: Vec::new(),
            worker_args: vec!["--param".into(), "features=rich".into()],
            pod: PodChoice::default(),
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
        let pod = PodChoice { mib: Some(4096), ..PodChoice::default() };
        assert_eq!(differs(&Batch { pod: pod.clone(), ..batch.clone() }), None, "no result depends on it");
        let conflict = |pod| seen.conflict(&batch.digest(), &batch.program(), pod);
        assert_eq!((conflict(&batch.pod), conflict(&pod)), (None, Some("with pods of another kind")));
        let pod = PodChoice { program_image: Some("mine:1".into()), ..PodChoice::default() };
        assert_eq!(differs(&Batch { pod, ..batch.clone() }), program);
        let files = vec![StagedFile { path: "datasets/training/a".into(), bytes: 1, sha256: "00".into() }];
        assert_eq!(differs(&Batch { files, ..batch }), Some("on other datasets"));
    }
}
