//! Workers as pods on the nodes of a kind cluster: real Kubernetes, a real NFS server, and machines that
//! go as GKE's Spot machines do. The cluster, its NFS server and its volume are the simulator's own: each
//! run begins with an empty volume, and what it left there is fetched afterwards.

use std::path::{Path, PathBuf};
use std::time::Instant;

use cloud::error::{Error, Result};
use cloud::k8s::cluster::{Batch, Cluster as _, Datasets, Nfs, Volume};
use cloud::k8s::exec::PodExec;
use cloud::k8s::forward::Forward;
use cloud::k8s::live::LiveCluster;
use cloud::k8s::objects::Config;
use cloud::k8s::pod::PodChoice;
use cloud::k8s::stage;
use cloud::kind::{self, Came, KindCluster, STATIC_HINT, Spec, build_fileserver, worker_image};
use worker::contract::{OUTPUT, RUNS, RunPaths};
use worker::failure::Failure;

use super::process::Plan;
use super::supervisor::{Policy, judge_all, supervise};
use super::{Ended, Observer};
use crate::report::Phase;
use crate::schedule::Schedule;
use crate::story::Story;
use crate::view;

mod feed;
mod nodes;

use self::nodes::Nodes;

/// Pods may fail, otherwise than by preemption, this many times before somebody must look.
const FAILURES_MAX: u32 = 20;
/// Scratch space of a program: all nodes share this machine's disk.
const SCRATCH_GIB: u64 = 1;
/// The folder of all datasets on a volume.
const DATASETS: &str = "datasets";

/// Where a run takes place.
#[derive(Debug, Clone)]
pub struct Place {
    pub cluster: Spec,
    /// The worker's program, for Linux.
    pub binary: PathBuf,
    /// The image that a program of the user's runs in; None: the worker's.
    pub image: Option<String>,
}

/// A cluster in which everything waits for the Job.
pub struct Stand {
    cluster: KindCluster,
    /// The same cluster, behind the port that the deployer uses too.
    port: LiveCluster,
    batch: Batch,
    pub phases: Vec<Phase>,
}

impl std::fmt::Debug for Stand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stand({})", self.cluster.name())
    }
}

/// Runs one part and notes how long it took.
#[expect(clippy::disallowed_methods, reason = "an adapter: real machines take real time")]
async fn timed<T, E>(
    phases: &mut Vec<Phase>,
    name: &'static str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let began = Instant::now();
    let done = work.await?;
    phases.push(Phase { name, seconds: began.elapsed().as_secs_f64() });
    Ok(done)
}

impl Stand {
    /// Makes the cluster, or takes the one that is there, and everything in it; copies the datasets of a
    /// plan from its local volume.
    ///
    /// # Errors
    /// No Docker or kind, too little memory, or whatever the cluster says.
    pub async fn up(place: &Place, plan: &Plan, tell: &mut dyn FnMut(&str)) -> Result<Self> {
        let mut phases = Vec::new();
        let cluster = async {
            let (cluster, image, _) = tokio::try_join!(
                KindCluster::up(&place.cluster, tell),
                worker_image(&place.binary),
                build_fileserver()
            )?;
            Ok::<_, Error>((cluster, image))
        };
        let ((cluster, came), image) = timed(&mut phases, "cluster", cluster).await?;
        let config = config_of(&cluster, plan);
        let program = place.image.as_deref().filter(|_| plan.workload.is_program());
        if let Some(program) = program.filter(|_| !image.is_static) {
            tell(&format!(
                "this worker starts in {program} only with the C library of Debian 12 or newer; {STATIC_HINT}"
            ));
        }
        tell(&format!(
            "load the images ({} MB the worker's) and start Redis and NFS",
            image.bytes / 1_000_000
        ));
        let load = async {
            cluster.load(&image.tag, &config.redis_image).await?;
            match program {
                Some(program) => cluster.load_program(program).await,
                None => Ok(()),
            }
        };
        let (_, nfs, ()) = timed(&mut phases, "images", async {
            tokio::try_join!(load, cluster.fileserver(), cluster.ready())
        })
        .await?;
        let batch = batch_of(plan, &config, nfs, image.tag, program)?;
        let port = cluster.connect(config).await?;
        let mut stand = Self { cluster, port, batch, phases };
        let mut phases = std::mem::take(&mut stand.phases);
        timed(&mut phases, "objects", stand.objects(came)).await?;
        tell("copy the datasets to the volume");
        timed(&mut phases, "staging", stand.stage(plan)).await?;
        stand.phases = phases;
        Ok(stand)
    }

    async fn objects(&self, came: Came) -> Result<()> {
        if came == Came::Reused {
            self.port.delete(&self.batch.deployment, &mut |line| tracing::warn!("{line}")).await?;
            self.cluster.wipe_fileserver().await?;
        }
        self.port.apply(&self.batch, &mut |line| tracing::warn!("{line}")).await
    }

    async fn stage(&self, plan: &Plan) -> Result<()> {
        let datasets =
            Datasets { from: plan.volume.join(DATASETS), is_flat: false, files: self.batch.files.clone() };
        self.port.stage(&self.batch, &datasets, &mut |_| {}).await
    }

    fn staging_pod(&self) -> PodExec {
        self.port.staging_pod(&self.batch.deployment)
    }

    /// What decides the objects.
    fn config(&self) -> Config {
        self.port.batch_config(&self.batch)
    }

    /// Starts the Job, preempts as scheduled until it is over, and copies what is on the volume then into
    /// the plan's local one. `show` is given each line that a program prints.
    ///
    /// # Errors
    /// Where the cluster cannot be spoken to, or a node does not come back.
    pub async fn run(
        &mut self,
        plan: &Plan,
        schedule: &Schedule,
        watch: Observer<'_>,
        show: &mut dyn FnMut(&str),
    ) -> Result<(Story, Ended), Failure> {
        let mut phases = std::mem::take(&mut self.phases);
        let policy = Policy {
            run: plan.run.clone(),
            machines: plan.workers,
            patience: plan.patience,
            failures_max: FAILURES_MAX,
            crashes_max: None,
            machine_is_worker: false,
        };
        let mut nodes = Nodes::new(self, plan, show).await?;
        let run = supervise(&mut nodes, policy, schedule, std::future::pending(), watch);
        let (mut story, ended) = timed(&mut phases, "run", run).await?;
        drop(nodes);
        timed(&mut phases, "fetch", self.fetch(plan)).await?;
        self.phases = phases;
        tell_all(&mut story, plan);
        judge_all(&mut story);
        Ok((story, ended))
    }

    async fn fetch(&self, plan: &Plan) -> Result<()> {
        let deployment = &self.batch.deployment;
        for folder in [RUNS, OUTPUT] {
            let files = self.port.files(deployment, folder).await?;
            self.port.fetch(deployment, &files, &plan.volume).await?;
        }
        Ok(())
    }

    /// The public files of a run, as its server has them.
    async fn public_names(&self, run: &str) -> Result<Vec<String>> {
        let paths = RunPaths::new(run);
        let names = self.cluster.names(paths.root()).await?;
        let single = [paths.report(), paths.violation()];
        let private = [paths.attempts(), paths.events()].map(|folder| format!("{folder}/"));
        let is_public = |name: &String| {
            let inside = paths.place(name);
            single.contains(name)
                || inside != name
                    && inside.contains('/')
                    && !private.iter().any(|folder| name.starts_with(folder))
        };
        Ok(names.into_iter().filter(is_public).collect())
    }

    /// A way to the cluster's Redis from this machine, for as long as the [`Forward`] lives: the queue's
    /// address as the worker's `--queue` takes it.
    ///
    /// # Errors
    /// Where the password cannot be read, or no port is free.
    pub async fn queue(&self) -> Result<(Forward, String)> {
        self.port.queue(&self.batch.deployment).await
    }
}

/// What the batch itself does not say.
fn config_of(cluster: &KindCluster, plan: &Plan) -> Config {
    let base = kind::batch_config(cluster.name());
    Config { run: Some(plan.run.clone()), lease_ms: plan.lease.ms, ..base }
}

fn batch_of(plan: &Plan, config: &Config, nfs: Nfs, image: String, program: Option<&str>) -> Result<Batch> {
    let option = |name: &str, value: String| [name.to_owned(), value];
    let list = std::fs::read_to_string(plan.volume.join(&plan.list))
        .map_err(|error| Error::other(format!("read {}", plan.list), error))?;
    let files: Result<_> = list.lines().map(|path| stage::measure(&plan.volume, Path::new(path))).collect();
    let options = [
        option("--created", plan.created.clone()),
        option("--progress-every", plan.progress_every.to_string()),
        option("--idle", plan.idle.to_string()),
        option("--work-rounds", plan.rounds.to_string()),
    ];
    let workload = plan.workload.to_arguments().into_iter().filter_map(|word| word.into_string().ok());
    let is_program = plan.workload.is_program();
    let program_image = program.map(str::to_owned).or_else(|| is_program.then(|| image.clone()));
    Ok(Batch {
        deployment: config.deployment.clone(),
        volume: Volume::Nfs(nfs),
        mount_options: Vec::new(),
        deadline_s: None,
        image: Some(image),
        workers: plan.workers,
        placement: config.placement,
        files: files?,
        worker_args: options.into_iter().flatten().chain(workload).collect(),
        pod: PodChoice {
            program_image,
            scratch_gib: is_program.then_some(SCRATCH_GIB),
            ..PodChoice::default()
        },
    })
}

/// Gives each incarnation all the events that its worker wrote: some may have come too late to be heard, and a pod may
/// have come and gone unseen.
fn tell_all(story: &mut Story, plan: &Plan) {
    let written = view::events_of(&plan.volume, &plan.run);
    for events in &written {
        let Some(first) = events.first() else { continue };
        if let Some(one) = story.incarnations.iter_mut().find(|one| one.name == first.worker) {
            one.events.clone_from(events);
        }
    }
    *story = story.with_unseen(written);
}
