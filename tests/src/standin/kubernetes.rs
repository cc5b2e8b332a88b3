//! The cluster behind the port, in memory: objects live in the project's cluster and go with it.

use std::path::Path;

use cloud::error::{Error, Kind, Result};
use cloud::gke::connect::{Access, Connect};
use cloud::k8s::cluster::{
    Batch, Cluster, Datasets, Follow, JobSeen, JobState, Objects, PodUse, Ran, ResultFile, WORKER,
    shape_digest,
};

use super::faults::Fault;
use super::project::Project;
use super::serve::Standin;

/// Hands out the clusters of one project.
#[derive(Clone, Debug)]
pub struct FakeConnect {
    pub standin: Standin,
    pub project: String,
}

/// A cluster of a project.
#[derive(Clone, Debug)]
pub struct FakeCluster {
    standin: Standin,
    project: String,
    server: String,
}

impl Connect for FakeConnect {
    type Cluster = FakeCluster;

    async fn connect(&self, access: &Access) -> Result<FakeCluster> {
        Ok(FakeCluster {
            standin: self.standin.clone(),
            project: self.project.clone(),
            server: access.server.clone(),
        })
    }
}

impl FakeCluster {
    /// One request: the schedule's fault, and the effect before or without it.
    async fn call<T>(&self, doing: &str, effect: impl FnOnce(&mut Project) -> T) -> Result<T> {
        let (fault, done) = self.standin.with(&self.project, |project| {
            let there = project.clusters.values().any(|cluster| {
                let endpoint = cluster["endpoint"].as_str().unwrap_or("none");
                self.server == format!("https://{endpoint}") && cluster["status"] == "RUNNING"
            });
            if !there {
                return (None, Err(Error::new(doing, "connection refused", Kind::Transient)));
            }
            // No operation begins here, so none can be made to fail.
            let fault = project.fault().filter(|fault| *fault != Fault::FailedOperation);
            let done = fault.is_none_or(Fault::takes_effect).then(|| effect(project));
            (fault, Ok(done))
        });
        let failed = |why: &str, kind| Err(Error::new(doing, why, kind));
        match (fault, done?) {
            (None, Some(done)) => Ok(done),
            (Some(Fault::Unauthorized), _) => failed("Unauthorized", Kind::Credentials),
            (Some(Fault::Forbidden), _) => failed("forbidden", Kind::Permission),
            (Some(Fault::Interrupt { .. }), _) => {
                self.standin.with(&self.project, |project| project.interrupted.notify_one());
                std::future::pending().await
            }
            _ => failed("the API server is not available", Kind::Transient),
        }
    }
}

impl Cluster for FakeCluster {
    async fn fit(&self) -> Result<()> {
        Ok(())
    }

    async fn observe(&self, _deployment: &str) -> Result<Objects> {
        self.call("look at the cluster", |project| project.objects.clone()).await
    }

    async fn apply(&self, batch: &Batch, _tell: &mut dyn FnMut(&str)) -> Result<()> {
        let volume = batch.volume.address();
        let point = |project: &mut Project| {
            // With one that points elsewhere go its pods, its Job, and the claim that notes what was staged.
            if project.objects.volume.as_ref().is_some_and(|there| *there != volume) {
                project.forget_objects();
            }
            project.objects.volume = Some(volume);
        };
        self.call("make the volume", point).await?;
        self.call("make Redis", |project| project.objects.redis_ready = true).await
    }

    async fn stage(&self, batch: &Batch, _datasets: &Datasets, tell: &mut dyn FnMut(&str)) -> Result<()> {
        self.call("forget what was noted", |project| project.objects.staged = None).await?;
        for file in &batch.files {
            let stage = |project: &mut Project| project.staged.insert(file.path.clone(), file.sha256.clone());
            self.call("stage a dataset", stage).await?;
            tell(&file.path);
        }
        let digest = batch.digest();
        self.call("note the datasets", |project| project.objects.staged = Some(digest)).await
    }

    async fn start(&self, batch: &Batch) -> Result<()> {
        let (digest, program, workers) = (batch.digest(), batch.program(), batch.workers);
        let (pod, shape) = (batch.pod.clone(), shape_digest(&batch.pod));
        let deadline_s = batch.deadline_s;
        let start = |project: &mut Project| {
            let found = project.objects.job.as_mut();
            if let Some(job) = found.filter(|job| job.state == JobState::Running) {
                if job.conflict(&digest, &program, &pod).is_some() {
                    return Err(Error::new("start the Job", "another is running", Kind::Differs));
                }
                job.workers = workers;
                job.deadline_s = deadline_s.or(job.deadline_s);
                return Ok(());
            }
            project.jobs_started += 1;
            let state = JobState::Running;
            project.objects.job = Some(JobSeen { state, digest, program, shape, workers, deadline_s });
            Ok(())
        };
        self.call("start the Job", start).await?
    }

    async fn logs(&self, _deployment: &str, _follow: Follow, tell: &mut dyn FnMut(&str)) -> Result<()> {
        self.call("read the logs", Project::finish_job).await?;
        tell("Queue empty, exiting");
        Ok(())
    }

    async fn results(&self, _deployment: &str) -> Result<Vec<ResultFile>> {
        if self.standin.with(&self.project, |project| project.volume_hangs) {
            self.standin.with(&self.project, |project| project.clock.expire_limits());
            return std::future::pending().await;
        }
        self.call("list the results", |project| project.results.clone()).await
    }

    async fn fetch(&self, _deployment: &str, files: &[ResultFile], into: &Path) -> Result<()> {
        for file in files {
            self.call("fetch a result", |_| ()).await?;
            let path = into.join(&file.path);
            let written = std::fs::create_dir_all(path.parent().unwrap_or(into))
                .and_then(|()| std::fs::write(&path, vec![b'x'; file.bytes as usize]));
            written.map_err(|error| Error::other("write a result", error))?;
        }
        Ok(())
    }

    async fn ran(&self, _deployment: &str) -> Result<Option<Ran>> {
        let ran = |project: &mut Project| {
            let run = "run".to_owned();
            project.objects.job.as_ref().map(|_| Ran { run, size: WORKER, spot: true })
        };
        self.call("look at the Job", ran).await
    }

    async fn usage(&self, _deployment: &str) -> Result<Vec<PodUse>> {
        let used = |_: &mut Project| {
            vec![PodUse { pod: "workload-0".into(), seconds: 90, size: WORKER, spot: true }]
        };
        self.call("read the run's events", used).await
    }

    async fn delete(&self, _deployment: &str, _tell: &mut dyn FnMut(&str)) -> Result<()> {
        self.call("delete the objects", Project::forget_objects).await
    }
}
