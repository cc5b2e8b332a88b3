//! A Kubernetes cluster on this machine: kind's nodes are Docker containers, so machines can be
//! removed and returned.
//!
//! Everything of a cluster carries its name: the node containers as kind names them, the container of
//! the NFS server `<name>-fileserver`, the network `<name>-network`. A mark in each node's container
//! tells ours from a cluster that somebody else made; those are never touched.

mod config;
mod fileserver;
mod image;
mod nodes;
pub(crate) mod program;
mod room;

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::config::Kubeconfig;
use kube::{Api, Client};

pub use config::config;
pub use fileserver::build_fileserver;
pub use image::{STATIC_HINT, WorkerImage, remove_images, worker_image};
pub use nodes::{Cut, Fault, Nodes, Step};

use crate::error::{Error, Result};
use crate::gke;
use crate::k8s::client;
use crate::k8s::cluster::{Nfs, PodSize, Volume};
use crate::k8s::live::LiveCluster;
use crate::k8s::objects::{Config, FILESERVER};
use crate::k8s::version;
use program::{docker, run, run_in, run_with};

/// The cluster's name when none is given: the tutorial's.
pub const DEFAULT_NAME: &str = "batch-aiml";

/// A file in the control plane that says that the cluster was made to the end.
const WHOLE: &str = "/kind/batch-whole";

/// What to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    pub name: String,
    /// How many Spot machines.
    pub workers: u32,
    /// The nodes' image; None: kind's own choice.
    pub node_image: Option<String>,
}

/// The tutorial's batch on the cluster `cluster`, whose NFS server is a container. Requests are small: all nodes
/// share one machine.
pub fn batch_config(cluster: &str) -> Config {
    let base = gke::batch_config();
    Config {
        volume: Volume::Nfs(export(cluster)),
        workers: 3,
        worker: PodSize { milli_cpu: 200, mib: 256 },
        worker_limit: PodSize { milli_cpu: 2000, mib: 2048 },
        ..base
    }
}

/// What the NFS server of the cluster `cluster` exports.
fn export(cluster: &str) -> Nfs {
    Nfs { server: format!("{cluster}-{FILESERVER}"), path: "/NFSVol".to_owned(), capacity_gib: 1024 }
}

/// How a cluster came to be ours to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    Created,
    Reused,
}

/// A cluster of ours that runs.
#[derive(Clone, Debug)]
pub struct KindCluster {
    name: String,
    workers: u32,
}

/// What the containers of a cluster say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Foreign,
    /// Ours, with the number of workers that it was asked for. It may be broken.
    Ours {
        workers: u32,
    },
}

impl KindCluster {
    /// Gives a cluster as asked for: one of ours that is healthy and of the same size is put in order
    /// and used again, any other of ours is replaced. The nodes of a new one take images, but need not be
    /// [`KindCluster::ready`]. `tell` gets a line for each step.
    ///
    /// # Errors
    /// No Docker or kind, too little memory, a foreign cluster of that name, a Kubernetes too old.
    pub async fn up(spec: &Spec, tell: &mut dyn FnMut(&str)) -> Result<(Self, Came)> {
        let cluster = Self { name: spec.name.clone(), workers: spec.workers };
        match find(&spec.name).await? {
            Found::Foreign => return Err(foreign(&spec.name)),
            Found::Ours { workers } if workers == spec.workers => {
                tell(&format!("look whether cluster {} is healthy", spec.name));
                match cluster.put_in_order().await {
                    Ok(()) => return Ok((cluster, Came::Reused)),
                    Err(error) => tell(&format!("cluster {} is replaced: {error}", spec.name)),
                }
                down(&spec.name).await?;
            }
            Found::Ours { .. } => {
                down(&spec.name).await?;
            }
            Found::Nothing => {}
        }
        room::enough(spec).await?;
        tell(&format!("create cluster {} with {} Spot nodes", spec.name, spec.workers));
        cluster.create(spec).await?;
        Ok((cluster, Came::Created))
    }

    /// The cluster of that name, if it is ours.
    pub async fn open(name: &str) -> Result<Option<Self>> {
        match find(name).await? {
            Found::Nothing => Ok(None),
            Found::Foreign => Err(foreign(name)),
            Found::Ours { workers } => Ok(Some(Self { name: name.to_owned(), workers })),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names of the Spot nodes, which are those of their containers.
    pub fn node_names(&self) -> Vec<String> {
        (1..=self.workers)
            .map(|number| match number {
                1 => format!("{}-worker", self.name),
                number => format!("{}-worker{number}", self.name),
            })
            .collect()
    }

    /// The container of the only node that stays.
    pub fn control_plane(&self) -> String {
        format!("{}-control-plane", self.name)
    }

    fn network(&self) -> String {
        network(&self.name)
    }

    /// The cluster's kubeconfig. It is kept in no file, so none is left behind.
    pub async fn kubeconfig(&self) -> Result<String> {
        let doing = format!("get the credentials of cluster {}", self.name);
        run("kind", &["get", "kubeconfig", "--name", &self.name], &doing).await
    }

    /// A client of the cluster's API server.
    async fn client(&self) -> Result<Client> {
        let doing = format!("connect to cluster {}", self.name);
        let text = self.kubeconfig().await?;
        let kubeconfig = Kubeconfig::from_yaml(&text).map_err(|error| Error::other(&doing, error))?;
        client::open(kubeconfig, None).await.map_err(|why| Error::other(&doing, why))
    }

    /// The cluster behind the port. What a batch does not say is as in `base`.
    pub async fn connect(&self, base: Config) -> Result<LiveCluster> {
        Ok(LiveCluster::new(self.client().await?, base))
    }

    /// The machines, which can be removed and returned.
    pub async fn nodes(&self) -> Result<Nodes> {
        Ok(Nodes::new(self.clone(), self.client().await?))
    }

    async fn create(&self, spec: &Spec) -> Result<()> {
        let doing = format!("create kind cluster {}", self.name);
        let folder = tempfile::tempdir().map_err(|error| Error::other(&doing, error))?;
        let yaml = serde_saphyr::to_string(&config(spec.workers, true))
            .map_err(|error| Error::other(&doing, error))?;
        let (config, kubeconfig) = (folder.path().join("kind.yaml"), folder.path().join("kubeconfig"));
        std::fs::write(&config, yaml).map_err(|error| Error::other(&doing, error))?;
        let (config, kubeconfig) = (config.to_string_lossy(), kubeconfig.to_string_lossy());
        let mut args = vec!["create", "cluster", "--name", &self.name, "--config", &config];
        args.extend(["--kubeconfig", &kubeconfig]);
        if let Some(image) = &spec.node_image {
            args.extend(["--image", image]);
        }
        let network = self.network();
        let env = [("KIND_EXPERIMENTAL_DOCKER_NETWORK", network.as_str())];
        run_in("kind", &args, None, &env, &doing).await?;
        let hint = "choose a newer node image with --node-image or SIM_NODE_IMAGE";
        version::new_enough(&self.client().await?, hint).await?;
        docker(&["exec", &self.control_plane(), "touch", WHOLE], &doing).await.map(|_| ())
    }

    /// Waits until all nodes are ready.
    pub async fn ready(&self) -> Result<()> {
        self.nodes().await?.restore().await
    }

    /// Undoes what an earlier run did to the nodes, and waits until all are ready.
    async fn put_in_order(&self) -> Result<()> {
        let containers = containers(&self.name).await?;
        let mut expected: BTreeSet<String> = self.node_names().into_iter().collect();
        expected.insert(self.control_plane());
        if containers != expected {
            let doing = format!("use cluster {} again", self.name);
            return Err(Error::other(doing, format!("its containers are {containers:?}")));
        }
        let doing = format!("start the control plane of cluster {}", self.name);
        docker(&["start", &self.control_plane()], &doing).await?;
        // A cluster that was only half made may wait for a node that never comes.
        let look = ["exec", &self.control_plane(), "test", "-e", WHOLE];
        docker(&look, &doing)
            .await
            .map_err(|error| Error::other(error.doing, "its creation did not finish"))?;
        let client = self.client().await?;
        reachable(&client, &self.name).await?;
        Nodes::new(self.clone(), client).restore().await
    }

    /// Copies the worker's image from this machine's Docker to every node, and Redis's to the one that it
    /// runs on.
    ///
    /// # Errors
    /// If Docker has no such image and cannot pull it.
    pub async fn load(&self, worker: &str, redis: &str) -> Result<()> {
        image::have(redis).await?;
        let stays = self.control_plane();
        let all = self.node_names().join(",") + "," + &stays;
        tokio::try_join!(self.load_into(worker, &all), self.load_into(redis, &stays)).map(|_| ())
    }

    /// Copies the image of a program from this machine's Docker to the nodes that workers run on.
    ///
    /// # Errors
    /// If Docker has no such image and cannot pull it.
    pub async fn load_program(&self, image: &str) -> Result<()> {
        image::have(image).await?;
        self.load_into(image, &self.node_names().join(",")).await
    }

    async fn load_into(&self, image: &str, nodes: &str) -> Result<()> {
        let doing = format!("load {image} into cluster {}", self.name);
        let args = ["load", "docker-image", "--name", &self.name, "--nodes", nodes, image];
        match run("kind", &args, &doing).await {
            Err(error) if lacks_content(&error.why) => self.load_archive(image, nodes, &doing).await,
            loaded => loaded.map(|_| ()),
        }
    }

    /// Loads what `kind` can't: with Docker's containerd image store, an image names platforms whose content is
    /// not there, and `kind` asks for all of them. Without that, a node takes its own platform's.
    async fn load_archive(&self, image: &str, nodes: &str, doing: &str) -> Result<()> {
        let archive = tempfile::NamedTempFile::new().map_err(|error| Error::other(doing, error))?;
        docker(&["save", "--output", &archive.path().to_string_lossy(), image], doing).await?;
        for node in nodes.split(',') {
            let input = archive.reopen().map_err(|error| Error::other(doing, error))?;
            let import =
                ["exec", "--interactive", node, "ctr", "--namespace=k8s.io", "images", "import", "-"];
            run_with("docker", &import, None, &[], input.into(), doing).await?;
        }
        Ok(())
    }
}

/// Whether `kind load` failed for content that Docker never pulled.
fn lacks_content(said: &str) -> bool {
    said.contains("content digest") && said.contains("not found")
}

/// What [`down`] took away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub containers: BTreeSet<String>,
    pub network: bool,
}

/// The clusters that were made here and are still there, running or not.
pub async fn clusters() -> Result<BTreeSet<String>> {
    let args = [
        "ps",
        "--all",
        "--filter",
        "label=io.x-k8s.kind.cluster",
        "--format",
        "{{.Label \"io.x-k8s.kind.cluster\"}}",
    ];
    let names = docker(&args, "look for kind clusters").await?;
    let mut ours = BTreeSet::new();
    for name in names.lines().map(str::to_owned).collect::<BTreeSet<_>>() {
        if matches!(find(&name).await?, Found::Ours { .. }) {
            ours.insert(name);
        }
    }
    Ok(ours)
}

/// Removes everything of the cluster `name`: nodes, NFS server with its data, network; also what is left
/// of one that was made only by half. Nothing there is success.
///
/// # Errors
/// If the cluster is somebody else's, or something remains.
pub async fn down(name: &str) -> Result<Removed> {
    let found = find(name).await?;
    if found == Found::Foreign {
        return Err(foreign(name));
    }
    let mut removed = Removed { containers: containers(name).await?, network: false };
    if found != Found::Nothing {
        let doing = format!("delete kind cluster {name}");
        let folder = tempfile::tempdir().map_err(|error| Error::other(&doing, error))?;
        let kubeconfig = folder.path().join("kubeconfig");
        let args = ["delete", "cluster", "--name", name, "--kubeconfig", &kubeconfig.to_string_lossy()];
        run("kind", &args, &doing).await?;
    }
    removed.containers.extend(fileserver::remove(name).await?);
    removed.network = remove_network(name).await?;
    let left = containers(name).await?;
    if left.is_empty() {
        return Ok(removed);
    }
    let hint = "`docker ps --all` shows them; `docker rm --force NAME` removes one";
    Err(Error::with_hint(format!("remove cluster {name}"), format!("{left:?} are still there"), hint))
}

fn network(cluster: &str) -> String {
    format!("{cluster}-network")
}

async fn remove_network(cluster: &str) -> Result<bool> {
    let network = network(cluster);
    let doing = format!("remove network {network}");
    let filter = format!("name=^{network}$");
    if docker(&["network", "ls", "--quiet", "--filter", &filter], &doing).await?.is_empty() {
        return Ok(false);
    }
    docker(&["network", "rm", &network], &doing).await?;
    Ok(true)
}

/// The node containers of a cluster, running or not.
async fn containers(cluster: &str) -> Result<BTreeSet<String>> {
    let filter = format!("label=io.x-k8s.kind.cluster={cluster}");
    let args = ["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"];
    let names = docker(&args, &format!("look for cluster {cluster}")).await?;
    Ok(names.lines().map(str::to_owned).collect())
}

async fn find(cluster: &str) -> Result<Found> {
    let mut found = Found::Nothing;
    for container in containers(cluster).await? {
        let doing = format!("look whose cluster {cluster} is");
        let format = "{{range .Mounts}}{{println .Destination}}{{end}}";
        let mounts = docker(&["inspect", "--format", format, &container], &doing).await?;
        let mark = mounts.lines().find_map(|mount| mount.strip_prefix(config::MARK)?.strip_prefix('-'));
        match mark.and_then(|workers| workers.parse().ok()) {
            Some(workers) => found = Found::Ours { workers },
            None => return Ok(Found::Foreign),
        }
    }
    Ok(found)
}

fn foreign(name: &str) -> Error {
    Error::with_hint(
        format!("use kind cluster {name}"),
        "there is one of that name that was not made here",
        format!("choose another name, or remove it: `kind delete cluster --name {name}`"),
    )
}

/// Waits until the API server of a control plane that was just started is reachable.
#[expect(clippy::disallowed_methods, reason = "an adapter: real machines take real time")]
async fn reachable(client: &Client, name: &str) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let doing = format!("reach the API server of cluster {name}");
    let limit = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        match tokio::time::timeout(Duration::from_secs(10), nodes.list(&ListParams::default().limit(1))).await
        {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) if tokio::time::Instant::now() > limit => return Err(Error::other(&doing, error)),
            Err(_) if tokio::time::Instant::now() > limit => return Err(Error::other(&doing, "no answer")),
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// Finds the program `kind`.
///
/// # Errors
/// Where there is none, with where to get it.
pub async fn installed() -> Result<()> {
    run("kind", &["version"], "ask for kind's version").await.map(|_| ())
}

/// The newest node image that this machine's Docker has; for machines that cannot pull one.
pub async fn local_node_image() -> Result<Option<String>> {
    let args = ["images", "kindest/node", "--format", "{{.Tag}}"];
    let tags = docker(&args, "look for node images").await?;
    let version = |tag: &str| -> Option<Vec<u32>> {
        tag.strip_prefix('v')?.split('.').map(|part| part.parse().ok()).collect()
    };
    let newest = tags.lines().filter_map(|tag| Some((version(tag)?, tag))).max();
    Ok(newest.map(|(_, tag)| format!("kindest/node:{tag}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_docker_never_pulled_is_known_by_what_ctr_says() {
        let said = "kind failed: ERROR: failed to load image: command \"docker exec --privileged -i c ctr images import\" \
                    failed with error: exit status 1; Command Output: ctr: content digest sha256:aa: not found";
        assert!(lacks_content(said));
        assert!(!lacks_content("kind failed: ERROR: image: \"worker:1\" not present locally"));
    }
}
