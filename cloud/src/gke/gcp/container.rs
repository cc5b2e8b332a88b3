//! GKE.

use google_cloud_container_v1::model::{Cluster, NodePool, Operation, cluster, operation};

use super::rest::last_part;
use super::{Google, requests::cluster_request};
use crate::error::{Kind, Result};
use crate::gke::plan::{ClusterSeen, Desired, Mode, OperationSeen, Resource, State, Verb};
use crate::k8s::cluster::GRACE_SECONDS;

const SERVICE: &str = "container.googleapis.com";

impl Google {
    /// All clusters of the project, and the places that did not answer.
    pub(super) async fn clusters(&self) -> Result<(Vec<ClusterSeen>, Vec<String>)> {
        let doing = "list clusters in all locations";
        let list =
            || self.send(doing, SERVICE, self.container.list_clusters().set_parent(self.place("-")).send());
        let answer = self.read(async || list().await).await?;
        Ok((answer.clusters.into_iter().map(seen).collect(), answer.missing_zones))
    }

    /// The Kubernetes that a new cluster gets in `location`.
    pub(super) async fn default_version(&self, location: &str) -> Result<String> {
        let doing = format!("ask for the versions of Kubernetes in {location}");
        let name = self.place(location);
        let request = || self.container.get_server_config().set_name(name.clone()).send();
        let answer = self.read(async || self.send(&doing, SERVICE, request()).await).await?;
        Ok(answer.default_cluster_version)
    }

    /// Asks for the cluster. Returns the operation's name.
    pub async fn create_cluster(&self, desired: &Desired) -> Result<String> {
        let location = desired.cluster_location();
        let doing = format!("create cluster {} in {location}", desired.cluster_name());
        let request = self.container.create_cluster().set_parent(self.place(location));
        let sent = request.set_cluster(cluster_request(desired)).send();
        Ok(self.operation_name(&self.send(&doing, SERVICE, sent).await?, location))
    }

    /// Asks for the cluster to be deleted. Returns the operation's name, or None if there is none to delete.
    pub async fn delete_cluster(&self, name: &str, location: &str) -> Result<Option<String>> {
        let doing = format!("delete cluster {name} in {location}");
        let request =
            self.container.delete_cluster().set_name(format!("{}/clusters/{name}", self.place(location)));
        match self.send(&doing, SERVICE, request.send()).await {
            Ok(operation) => Ok(Some(self.operation_name(&operation, location))),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn cluster_operation(&self, name: &str) -> Result<Option<OperationSeen>> {
        let doing = format!("look at the cluster's operation {}", last_part(name));
        let get = || self.send(&doing, SERVICE, self.container.get_operation().set_name(name).send());
        match self.read(async || get().await).await {
            Ok(operation) => Ok(operation_seen(&operation, name.to_owned())),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The operations on a cluster, for when their names were not kept: made on another machine, or the
    /// process died between the response and the disk.
    pub(super) async fn cluster_operations(&self, name: &str, location: &str) -> Result<Vec<OperationSeen>> {
        let doing = format!("list operations in {location}");
        let request = || self.container.list_operations().set_parent(self.place(location)).send();
        let answer = self.read(async || self.send(&doing, SERVICE, request()).await).await?;
        let target = format!("/clusters/{name}");
        let mut on_it: Vec<_> = answer
            .operations
            .into_iter()
            .filter(|operation| operation.target_link.ends_with(&target))
            .collect();
        on_it.sort_by(|a, b| b.start_time.cmp(&a.start_time));
        let full = |operation: &Operation| self.operation_name(operation, location);
        Ok(on_it.iter().filter_map(|operation| operation_seen(operation, full(operation))).collect())
    }

    /// Google's replies carry the short name.
    fn operation_name(&self, operation: &Operation, location: &str) -> String {
        format!("{}/operations/{}", self.place(location), last_part(&operation.name))
    }
}

fn seen(found: Cluster) -> ClusterSeen {
    let conditions = found.conditions.iter().map(|condition| condition.message.as_str());
    let conditions = conditions.collect::<Vec<_>>().join("; ");
    let state = match &found.status {
        cluster::Status::Provisioning => State::Making,
        cluster::Status::Running => State::Ready,
        // Degraded clusters still answer; what is wrong with them shows in what is asked of them.
        cluster::Status::Reconciling | cluster::Status::Degraded => State::Busy,
        cluster::Status::Stopping => State::Going,
        cluster::Status::Error => State::Broken(conditions),
        other => State::Odd(other.name().unwrap_or("unknown").to_owned()),
    };
    let pool = found.workload_identity_config.as_ref().map_or("", |config| config.workload_pool.as_str());
    let mode = mode(&found);
    ClusterSeen {
        state,
        has_identities: mode == Mode::Autopilot || !pool.is_empty(),
        mode,
        network: if found.network.is_empty() { "default".into() } else { last_part(&found.network) },
        labels: found.resource_labels.into_iter().collect(),
        ca: found.master_auth.map(|auth| auth.cluster_ca_certificate).unwrap_or_default(),
        created_s: super::observe::seconds(&found.create_time),
        name: found.name,
        location: found.location,
        endpoint: found.endpoint,
    }
}

/// A Standard cluster is known by its Spot pool; one without, which we did not make, by its first.
fn mode(found: &Cluster) -> Mode {
    if found.autopilot.as_ref().is_some_and(|autopilot| autopilot.enabled) {
        return Mode::Autopilot;
    }
    let is_spot = |pool: &&NodePool| pool.config.as_ref().is_some_and(|config| config.spot);
    let pool = found.node_pools.iter().find(is_spot).or(found.node_pools.first());
    let machine_type = pool.and_then(|pool| pool.config.as_ref()).map(|config| config.machine_type.clone());
    let nodes = pool.and_then(|pool| u32::try_from(pool.initial_node_count).ok());
    let kubelet = pool.and_then(|pool| pool.config.as_ref()?.kubelet_config.as_ref());
    let seconds = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
    let asked = kubelet.and_then(|kubelet| {
        let total = seconds(kubelet.shutdown_grace_period_seconds)?;
        Some(total.saturating_sub(seconds(kubelet.shutdown_grace_period_critical_pods_seconds).unwrap_or(0)))
    });
    Mode::Standard {
        machine_type: machine_type.unwrap_or_default(),
        nodes: nodes.unwrap_or(0),
        grace_s: asked.unwrap_or(GRACE_SECONDS),
    }
}

/// None: of a kind that says nothing about there being a cluster.
fn operation_seen(found: &Operation, name: String) -> Option<OperationSeen> {
    let verb = match &found.operation_type {
        operation::Type::CreateCluster => Verb::Create,
        operation::Type::DeleteCluster => Verb::Delete,
        _ => return None,
    };
    let done = found.status == operation::Status::Done;
    let error = found.error.as_ref().map(|error| error.message.clone()).filter(|_| done);
    Some(OperationSeen { resource: Resource::Cluster, verb, name, done, error })
}
