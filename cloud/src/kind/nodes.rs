//! Fault injection on machines: what Google does to Spot machines, done to kind's.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::timeout;

use super::KindCluster;
use super::program::docker;
use crate::error::{Error, Result};
use crate::gke::NOTICE;
use crate::k8s::objects::{Config, REDIS_LEADER, redis};
use crate::k8s::wait::until;
use crate::k8s::watch::{is_ready, pods_ended};
use crate::k8s::{apply, delete};

/// What pods have between the notice and the end of the machine.
const GRACE: Duration = Duration::from_secs(15);

/// How long a node may take to be ready, or to be missed.
const NODE_LIMIT: Duration = Duration::from_secs(120);

/// What a network cut keeps a node from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cut {
    Redis,
    Fileserver,
    Both,
}

impl Cut {
    fn ports(self) -> &'static [u16] {
        match self {
            Self::Redis => &[6379],
            Self::Fileserver => &[2049, 20048, 111],
            Self::Both => &[6379, 2049, 20048, 111],
        }
    }
}

/// A fault to be injected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// GKE's sequence: notice as a taint, SIGTERM to the pods, 15 s at most, the machine stopped, and
    /// back as a new one.
    Preempt { node: String },
    /// Gone without notice. The pods read as Running until the node controller has missed the node, and
    /// only then does the machine come back as a new one.
    Vanish { node: String },
    /// Paused with all that runs on it, and resumed.
    Freeze { node: String },
    /// The node runs on, and cannot reach Redis, the NFS server, or both.
    Cut { node: String, from: Cut },
    /// The NFS server is killed and comes back with its data.
    Fileserver,
    /// Redis is killed and comes back with nothing.
    Redis,
}

/// What happened, as it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The node has the taint.
    Notice,
    /// All the workers on the node have ended, or their time was up.
    PodsEnded,
    /// The machine, the server or Redis is gone, or the network is cut.
    Gone,
    /// The node controller has noticed.
    Missed,
    /// All is as before.
    Back,
}

/// The Spot nodes of a cluster, and what can be done to them. Clones act on the same cluster, so
/// several faults can be injected at once.
#[derive(Clone)]
pub struct Nodes {
    cluster: KindCluster,
    client: Client,
}

impl std::fmt::Debug for Nodes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Nodes").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl Nodes {
    pub(super) fn new(cluster: KindCluster, client: Client) -> Self {
        Self { cluster, client }
    }

    /// Injects `fault`, and returns once what it took away is back, `away` later. `tell` gets each step.
    pub async fn inject(
        &self,
        fault: &Fault,
        away: Duration,
        config: &Config,
        tell: &mut dyn FnMut(Step),
    ) -> Result<()> {
        match fault {
            Fault::Preempt { node } => {
                self.notice(node).await?;
                tell(Step::Notice);
                // Both ends are good: the pods ended, or the machine does not wait for them.
                let _ = timeout(GRACE, pods_ended(&self.client, &config.namespace, node)).await;
                tell(Step::PodsEnded);
                self.kill(node).await?;
                tell(Step::Gone);
                tokio::time::sleep(away).await;
                self.revive(node).await?;
            }
            Fault::Vanish { node } => {
                self.kill(node).await?;
                tell(Step::Gone);
                let (missed, ()) = tokio::join!(self.until_ready_is(node, false), tokio::time::sleep(away));
                missed?;
                tell(Step::Missed);
                self.revive(node).await?;
            }
            Fault::Freeze { node } => {
                self.freeze(node).await?;
                tell(Step::Gone);
                tokio::time::sleep(away).await;
                self.thaw(node).await?;
            }
            Fault::Cut { node, from } => {
                self.cut(node, *from).await?;
                tell(Step::Gone);
                tokio::time::sleep(away).await;
                self.heal(node).await?;
            }
            Fault::Fileserver => {
                tell(Step::Gone);
                self.cluster.restart_fileserver(away).await?;
            }
            Fault::Redis => {
                self.kill_redis(config).await?;
                tell(Step::Gone);
                tokio::time::sleep(away).await;
                apply::apply_new(&self.client, config, &redis::pod(config)).await?;
                apply::ready(&self.client, config, REDIS_LEADER).await?;
            }
        }
        tell(Step::Back);
        Ok(())
    }

    /// Gives notice to a node, with GKE's taint. Here its effect is `NoExecute`: kind's nodes have no logind from
    /// which a kubelet could hear of a shutdown, so the taint manager deletes the pods and sets their condition
    /// `DisruptionTarget`.
    pub async fn notice(&self, node: &str) -> Result<()> {
        let notice = Taint { key: NOTICE.to_owned(), effect: "NoExecute".to_owned(), ..Taint::default() };
        self.change_taints(node, |taints| {
            taints.retain(|taint| taint.key != NOTICE);
            taints.push(notice.clone());
        })
        .await
    }

    /// Stops a node's container at once, and all that runs in it.
    pub async fn kill(&self, node: &str) -> Result<()> {
        docker(&["kill", node], &format!("kill node {node}")).await.map(|_| ())
    }

    /// Stops every process of a node.
    pub async fn freeze(&self, node: &str) -> Result<()> {
        docker(&["pause", node], &format!("freeze node {node}")).await.map(|_| ())
    }

    /// Lets a frozen node go on.
    pub async fn thaw(&self, node: &str) -> Result<()> {
        docker(&["unpause", node], &format!("thaw node {node}")).await.map(|_| ())
    }

    /// Brings a node back as a new machine. The object of the old one is deleted first, as the cloud's
    /// controller does once a machine is no more; the kubelet registers itself again.
    pub async fn revive(&self, node: &str) -> Result<()> {
        let doing = format!("delete the object of node {node}");
        match self.nodes().delete(node, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            other => {
                other.map_err(|error| Error::other(doing, error))?;
            }
        }
        docker(&["start", node], &format!("start node {node}")).await?;
        self.until_ready_is(node, true).await
    }

    /// Cuts a node off. What is sent is dropped, not refused: connections hang, as they do on a network
    /// that is gone.
    pub async fn cut(&self, node: &str, from: Cut) -> Result<()> {
        let drops: Vec<_> = from
            .ports()
            .iter()
            .map(|port| {
                format!(
                    "$t -w -A CUT -p tcp --dport {port} -j DROP; $t -w -A CUT -p tcp --sport {port} -j DROP"
                )
            })
            .collect();
        let hook = "if $t -w -N CUT 2>/dev/null; then for c in INPUT OUTPUT FORWARD; do $t -w -I $c 1 -j CUT; done; fi";
        let script =
            format!("for t in iptables ip6tables; do {hook}; $t -w -F CUT; {}; done", drops.join("; "));
        docker(&["exec", node, "sh", "-e", "-c", &script], &format!("cut node {node} off")).await.map(|_| ())
    }

    /// Undoes a cut, if there is one.
    pub async fn heal(&self, node: &str) -> Result<()> {
        let script = "for t in iptables ip6tables; do $t -w -F CUT 2>/dev/null || true; done";
        docker(&["exec", node, "sh", "-c", script], &format!("heal node {node}")).await.map(|_| ())
    }

    /// Kills Redis as a crash does, and removes its pod: the kubelet would start it again, and after
    /// some kills only with minutes of backoff.
    async fn kill_redis(&self, config: &Config) -> Result<()> {
        let doing = "kill Redis";
        let script = "pkill -KILL -x redis-server || true";
        docker(&["exec", &self.cluster.control_plane(), "sh", "-c", script], doing).await?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &config.namespace);
        delete::delete_now(&pods, REDIS_LEADER).await
    }

    /// Undoes everything: every node runs, is new if it was stopped or marked, hears everyone and is ready.
    pub async fn restore(&self) -> Result<()> {
        for node in self.cluster.node_names() {
            let look = ["inspect", "--format", "{{.State.Status}}", &node];
            let state = docker(&look, "look at the nodes").await?;
            if state == "paused" {
                self.thaw(&node).await?;
            }
            if state == "running" || state == "paused" {
                self.heal(&node).await?;
                self.change_taints(&node, |taints| taints.retain(|taint| taint.key != NOTICE)).await?;
            } else {
                self.revive(&node).await?;
            }
        }
        for node in self.cluster.node_names().iter().chain([&self.cluster.control_plane()]) {
            self.until_ready_is(node, true).await?;
        }
        Ok(())
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    async fn change_taints(&self, node: &str, change: impl Fn(&mut Vec<Taint>)) -> Result<()> {
        let doing = format!("change the taints of node {node}");
        loop {
            let Some(found) =
                self.nodes().get_opt(node).await.map_err(|error| Error::other(&doing, error))?
            else {
                return Ok(());
            };
            let before = found.spec.and_then(|spec| spec.taints).unwrap_or_default();
            let mut taints = before.clone();
            change(&mut taints);
            if taints == before {
                return Ok(());
            }
            // The list is replaced as a whole, so only on top of what was read.
            let patch = json!({
                "metadata": { "resourceVersion": found.metadata.resource_version },
                "spec": { "taints": taints },
            });
            match self.nodes().patch(node, &PatchParams::default(), &Patch::Merge(patch)).await {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(Error::other(doing, error)),
            }
        }
    }

    async fn until_ready_is(&self, node: &str, wanted: bool) -> Result<()> {
        let (doing, state) = (format!("wait for node {node}"), if wanted { "ready" } else { "missed" });
        let stands = |found: Option<&Node>| found.is_some_and(is_ready) == wanted;
        match until(&self.nodes(), node, NODE_LIMIT, stands).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let hint = format!("`docker logs {node}` shows its start");
                Err(Error::with_hint(doing, format!("it is not {state}: {error}"), hint))
            }
        }
    }
}
