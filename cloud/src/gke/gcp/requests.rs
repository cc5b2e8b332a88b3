//! What is sent to make things: the same fields as `gcloud` 528 sends for the tutorial's commands, and
//! our labels.

use google_cloud_container_v1::model as gke;
use google_cloud_filestore_v1::model as file;
use serde_json::{Value, json};

use crate::gke::plan::{Desired, Mode, SHARE, Storage, Tier, identity_pool, labels};

/// What gcloud gives the nodes of a new cluster.
const OAUTH_SCOPES: [&str; 6] = [
    "https://www.googleapis.com/auth/devstorage.read_only",
    "https://www.googleapis.com/auth/logging.write",
    "https://www.googleapis.com/auth/monitoring",
    "https://www.googleapis.com/auth/service.management.readonly",
    "https://www.googleapis.com/auth/servicecontrol",
    "https://www.googleapis.com/auth/trace.append",
];

/// The label and taint by which GKE and its pods know Spot machines.
const SPOT: &str = "cloud.google.com/gke-spot";

/// The cluster to be made.
pub fn cluster_request(desired: &Desired) -> gke::Cluster {
    let cluster =
        gke::Cluster::new().set_name(desired.cluster_name()).set_resource_labels(labels(&desired.deployment));
    let cluster = match desired.network.as_str() {
        "default" => cluster,
        network => cluster.set_network(network),
    };
    match &desired.mode {
        Mode::Autopilot => {
            let pool = gke::NodePool::new()
                .set_name("default-pool")
                .set_initial_node_count(1)
                .set_config(gke::NodeConfig::new().set_oauth_scopes(OAUTH_SCOPES));
            cluster
                .set_autopilot(gke::Autopilot::new().set_enabled(true))
                .set_ip_allocation_policy(
                    gke::IPAllocationPolicy::new().set_use_ip_aliases(true).set_create_subnetwork(false),
                )
                .set_node_pools([pool])
        }
        Mode::Standard { machine_type, nodes, .. } => with_identities(desired, cluster).set_node_pools([
            standard_pool(desired, "default-pool", machine_type, 1, false),
            standard_pool(
                desired,
                "spot-pool",
                machine_type,
                i32::try_from(*nodes).unwrap_or(i32::MAX),
                true,
            ),
        ]),
    }
}

/// Autopilot's pods have identities in any case, others where they are asked for.
fn with_identities(desired: &Desired, cluster: gke::Cluster) -> gke::Cluster {
    match desired.storage {
        Storage::Filestore => cluster,
        Storage::Gcs => cluster.set_workload_identity_config(
            gke::WorkloadIdentityConfig::new().set_workload_pool(identity_pool(&desired.project)),
        ),
    }
}

fn standard_pool(desired: &Desired, name: &str, machine_type: &str, nodes: i32, spot: bool) -> gke::NodePool {
    let mut config = gke::NodeConfig::new()
        .set_machine_type(machine_type)
        .set_oauth_scopes(OAUTH_SCOPES)
        .set_resource_labels(labels(&desired.deployment))
        .set_spot(spot);
    if spot {
        let taint = gke::NodeTaint::new()
            .set_key(SPOT)
            .set_value("true")
            .set_effect(gke::node_taint::Effect::NoSchedule);
        config = config.set_taints([taint]);
    }
    if desired.storage == Storage::Gcs {
        let mode = gke::workload_metadata_config::Mode::GkeMetadata;
        config = config.set_workload_metadata_config(gke::WorkloadMetadataConfig::new().set_mode(mode));
    }
    if let Some((all, system)) = desired.mode.shutdown_grace().filter(|_| spot) {
        let seconds = |seconds: u32| i32::try_from(seconds).unwrap_or(i32::MAX);
        let kubelet = gke::NodeKubeletConfig::new()
            .set_shutdown_grace_period_seconds(seconds(all))
            .set_shutdown_grace_period_critical_pods_seconds(seconds(system));
        config = config.set_kubelet_config(kubelet);
    }
    gke::NodePool::new()
        .set_name(name)
        .set_initial_node_count(nodes)
        .set_config(config)
        .set_management(gke::NodeManagement::new().set_auto_repair(true).set_auto_upgrade(true))
        .set_upgrade_settings(gke::node_pool::UpgradeSettings::new().set_max_surge(1))
}

/// The Filestore instance to be made.
pub fn filestore_request(desired: &Desired) -> file::Instance {
    let network = file::NetworkConfig::new()
        .set_network(desired.network.clone())
        .set_connect_mode(file::network_config::ConnectMode::DirectPeering);
    file::Instance::new()
        .set_tier(tier(desired.tier))
        .set_protocol(file::instance::FileProtocol::NfsV3)
        .set_file_shares([share(desired.capacity_gib)])
        .set_networks([network])
        .set_labels(labels(&desired.deployment))
}

/// The share with its size; the API calls GiB "gb".
pub(super) fn share(capacity_gib: u64) -> file::FileShareConfig {
    let capacity = i64::try_from(capacity_gib).unwrap_or(i64::MAX);
    file::FileShareConfig::new().set_name(SHARE).set_capacity_gb(capacity)
}

/// The bucket to be made. An upload in parts that a worker's end cut off goes after a day.
pub fn bucket_request(desired: &Desired) -> Value {
    let mut request = bucket_settings();
    request["name"] = json!(desired.bucket_name());
    request["location"] = json!(desired.region);
    request["storageClass"] = json!("STANDARD");
    request["labels"] = json!(labels(&desired.deployment));
    let abort = json!({"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 1}});
    request["lifecycle"] = json!({"rule": [abort]});
    request
}

/// Access by the bucket's policy alone and never to the public; what is deleted is gone, and billed no longer.
pub(super) fn bucket_settings() -> Value {
    json!({
        "iamConfiguration": {
            "uniformBucketLevelAccess": {"enabled": true},
            "publicAccessPrevention": "enforced",
        },
        "softDeletePolicy": {"retentionDurationSeconds": "0"},
    })
}

fn tier(tier: Tier) -> file::instance::Tier {
    match tier {
        Tier::BasicHdd => file::instance::Tier::BasicHdd,
        Tier::BasicSsd => file::instance::Tier::BasicSsd,
        Tier::Zonal => file::instance::Tier::Zonal,
        Tier::Regional => file::instance::Tier::Regional,
        Tier::Enterprise => file::instance::Tier::Enterprise,
    }
}
