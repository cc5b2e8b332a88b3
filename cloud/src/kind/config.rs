//! What kind is asked for: one control plane, and Spot workers that vanish.

use serde_json::{Value, json};

use crate::gke::SPOT;

/// Where a mount in each node's container marks a cluster as ours: it is there from the first moment
/// on, and can be seen when the cluster is broken or was made only by half.
pub(super) const MARK: &str = "/kind/batch-workers";

/// kind's configuration of a cluster with `workers` Spot machines; `ours` marks them as the simulator's.
///
/// A node that dies in silence is taken for dead after 8 s (Kubernetes' default is 50 s; its kubelet
/// reports every 2 s instead of 10), so that a run on a laptop does not wait for minutes. Kubernetes
/// asks that the grace be several reports long; it is four.
pub fn config(workers: u32, ours: bool) -> Value {
    let mut nodes = vec![control_plane()];
    nodes.extend((0..workers).map(|_| worker()));
    if ours {
        for node in &mut nodes {
            node["extraMounts"] = json!([mark(workers)]);
        }
    }
    json!({
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "kubeadmConfigPatches": [
            patch(&json!({
                "kind": "ClusterConfiguration",
                "controllerManager": { "extraArgs": {
                    "node-monitor-period": "1s",
                    "node-monitor-grace-period": "8s",
                }},
            })),
            patch(&json!({
                "kind": "KubeletConfiguration",
                "nodeStatusUpdateFrequency": "2s",
                "nodeLeaseDurationSeconds": 8,
            })),
        ],
        "nodes": nodes,
    })
}

/// Redis and the staging pod run here: the only machine that stays.
fn control_plane() -> Value {
    json!({
        "role": "control-plane",
        "kubeadmConfigPatches": [patch(&json!({
            "kind": "InitConfiguration",
            "nodeRegistration": { "taints": [] },
        }))],
    })
}

/// Label and taint are given to the kubelet, not to the node's object, so a machine that comes back
/// as a new one registers with them.
fn worker() -> Value {
    json!({
        "role": "worker",
        "labels": { SPOT: "true" },
        "kubeadmConfigPatches": [patch(&json!({
            "kind": "JoinConfiguration",
            "nodeRegistration": { "taints": [{ "key": SPOT, "value": "true", "effect": "NoSchedule" }] },
        }))],
    })
}

fn mark(workers: u32) -> Value {
    json!({ "hostPath": "/dev/null", "containerPath": format!("{MARK}-{workers}"), "readOnly": true })
}

/// Patches are texts in YAML.
fn patch(patch: &Value) -> Value {
    // Should it not be written as people write it: JSON is YAML, too.
    Value::String(serde_saphyr::to_string(patch).unwrap_or_else(|_| patch.to_string()))
}
