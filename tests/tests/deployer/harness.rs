//! A project in the stand-in, and deploying to it as the command does.

use std::sync::Arc;
use std::time::Duration;

use cloud::error::Result;
use cloud::gke::cost::{Estimate, Prices};
use cloud::gke::deploy::{Deployer, Prompt};
use cloud::gke::destroy::{Destroyer, Loss, Proof};
use cloud::gke::gcp::{Google, credentials};
use cloud::gke::plan::{Desired, Plan, Storage, Work};
use cloud::gke::state::Memory;
use cloud::gke::volume::Deployed;
use cloud::k8s::cluster::{Datasets, datasets_digest};
use cloud::k8s::pod::PodChoice;
use tests::standin::{FakeCluster, FakeConnect, Project, Standin};

/// The server and clients for it, made once: a client reads the system's certificates.
pub(crate) struct World {
    pub(crate) standin: Standin,
    google: Google,
}

impl World {
    pub(crate) async fn start() -> Self {
        let standin = Standin::start().await.unwrap();
        let token = |name: &str| (name == "CLOUDSDK_AUTH_ACCESS_TOKEN").then(|| "token".to_owned());
        let credentials = credentials(token, "none").unwrap();
        let clock = Arc::new(cloud::clock::SystemClock);
        let google = Google::new("none", standin.settings(), credentials, clock).await.unwrap();
        Self { standin, google }
    }

    /// Adds the project and returns what deploys to it.
    pub(crate) fn project(&self, project: Project) -> Site {
        let id = project.id.clone();
        let google = self.google.for_project(&id, project.clock.clone());
        self.standin.add(project);
        let connect = FakeConnect { standin: self.standin.clone(), project: id.clone() };
        let folder = tempfile::tempdir().unwrap();
        Site {
            standin: self.standin.clone(),
            desired: Desired::tutorial(&id),
            id,
            google,
            connect,
            folder,
            datasets: None,
        }
    }
}

/// One project and a place for its state.
pub(crate) struct Site {
    pub(crate) standin: Standin,
    pub(crate) id: String,
    pub(crate) google: Google,
    connect: FakeConnect,
    folder: tempfile::TempDir,
    pub(crate) desired: Desired,
    datasets: Option<Datasets>,
}

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum Ended<T> {
    Interrupted,
    With(Result<T>),
    /// It never would have.
    Stuck(&'static str),
}

/// If the stand-in gets no request within this time, a wait never ends. All waits of the deployer's are virtual
/// here, so between two requests there are milliseconds; nothing is measured by this.
const SILENCE: Duration = Duration::from_secs(60);

impl Site {
    /// Asks for the tutorial's datasets to be run, too.
    pub(crate) fn with_work(mut self) -> Self {
        let days = [
            ("training/2018-04-01.pkl", "1"),
            ("training/2018-04-02.pkl", ""),
            ("testing/2018-04-09.pkl", "9"),
        ];
        for (name, text) in days {
            let path = self.folder.path().join("here").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        self.read_datasets();
        self
    }

    /// Asks for the same with other content in one dataset.
    pub(crate) fn change_a_dataset(&mut self) {
        self.write_a_dataset("changed");
    }

    /// Asks for the same with this in one dataset.
    pub(crate) fn write_a_dataset(&mut self, content: &str) {
        std::fs::write(self.folder.path().join("here/training/2018-04-01.pkl"), content).unwrap();
        self.read_datasets();
    }

    fn read_datasets(&mut self) {
        let from = self.folder.path().join("here");
        let mut files = cloud::k8s::stage::list(&from).unwrap();
        files.iter_mut().for_each(|file| file.path.insert_str(0, "datasets/"));
        self.desired.work = Some(Work {
            image: "worker:1".into(),
            worker_args: Vec::new(),
            pod: PodChoice::default(),
            digest: datasets_digest(&files),
            files: files.len(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            deadline_s: None,
            max_run_cost: None,
        });
        self.datasets = Some(Datasets { from, is_flat: false, files });
    }

    /// Asks for a bucket to hold the volume.
    pub(crate) fn with_bucket(mut self) -> Self {
        self.desired.storage = Storage::Gcs;
        self
    }

    pub(crate) fn memory(&self) -> Memory {
        Memory::open(self.folder.path(), &self.id, &self.desired.deployment)
    }

    /// As on another machine.
    pub(crate) fn lose_memory(&self) {
        let _ = std::fs::remove_dir_all(self.folder.path().join(&self.id));
    }

    pub(crate) fn remembers_anything(&self) -> bool {
        self.folder.path().join(&self.id).join(format!("{}.json", self.desired.deployment)).exists()
    }

    fn deployer<'a>(&'a self, prices: &'a Prices) -> Deployer<'a, FakeConnect> {
        Deployer {
            google: &self.google,
            connect: &self.connect,
            prices,
            desired: &self.desired,
            datasets: self.datasets.as_ref(),
            max_cost: None,
        }
    }

    pub(crate) async fn plan(&self) -> Ended<Plan> {
        let prices = Prices::built_in().unwrap();
        let memory = self.memory();
        self.until_interrupted(self.deployer(&prices).plan(&memory)).await
    }

    /// Deploys, agreeing to everything, until it ends or the schedule presses Ctrl-C.
    pub(crate) async fn deploy(&self) -> Ended<(Deployed<FakeCluster>, Estimate)> {
        self.deploy_asking(&mut Agrees).await
    }

    pub(crate) async fn deploy_asking(
        &self,
        prompt: &mut impl Prompt<Plan>,
    ) -> Ended<(Deployed<FakeCluster>, Estimate)> {
        let prices = Prices::built_in().unwrap();
        let (deployer, mut memory) = (self.deployer(&prices), self.memory());
        self.until_interrupted(deployer.deploy(&mut memory, prompt)).await
    }

    pub(crate) async fn destroy(&self) -> Ended<Proof> {
        self.destroy_asking(&mut Agrees).await
    }

    pub(crate) async fn destroy_asking(&self, prompt: &mut impl Prompt<Loss>) -> Ended<Proof> {
        let destroyer =
            Destroyer { google: &self.google, connect: &self.connect, deployment: &self.desired.deployment };
        let mut memory = self.memory();
        self.until_interrupted(destroyer.destroy(&mut memory, prompt)).await
    }

    async fn until_interrupted<T>(&self, command: impl Future<Output = Result<T>>) -> Ended<T> {
        let interrupted = self.standin.with(&self.id, |project| project.interrupted.clone());
        tokio::select! {
            biased;
            () = interrupted.notified() => Ended::Interrupted,
            ended = command => Ended::With(ended),
            why = self.stuck() => Ended::Stuck(why),
        }
    }

    /// Ends when the command under way won't.
    async fn stuck(&self) -> &'static str {
        let overrun = self.with(|project| project.overrun.clone());
        let silence = async {
            let mut asked = None;
            while asked != Some(self.with(|project| project.requests)) {
                asked = Some(self.with(|project| project.requests));
                tokio::time::sleep(SILENCE).await;
            }
        };
        tokio::select! {
            () = overrun.notified() => "it asks and asks, and nothing comes of it",
            () = silence => "nobody asks for anything any more: somebody waits for what never comes",
        }
    }

    pub(crate) fn with<T>(&self, what: impl FnOnce(&mut Project) -> T) -> T {
        self.standin.with(&self.id, what)
    }
}

/// Agrees, and ignores every line.
pub(crate) struct Agrees;

impl<Q> Prompt<Q> for Agrees {
    async fn confirm(&mut self, _question: &Q) -> bool {
        true
    }

    fn show(&mut self, _line: &str) {}
}

/// One thread, as the command has.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
