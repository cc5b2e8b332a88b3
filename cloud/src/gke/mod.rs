//! Google alone: what a deployment costs, the plan, and the loops that bring GKE and what holds the volume up and down.
//!
//! [`plan`] decides, purely; [`deploy`] and [`destroy`] carry out; [`gcp`] speaks to Google, [`connect`] to its
//! clusters.

pub mod cost;
pub mod money;
pub mod plan;
pub mod reason;
pub mod state;

#[cfg(feature = "gcp")]
pub mod catalog;
#[cfg(feature = "gcp")]
pub mod connect;
#[cfg(feature = "gcp")]
pub mod deploy;
#[cfg(feature = "gcp")]
pub mod destroy;
#[cfg(feature = "gcp")]
pub mod gcp;
#[cfg(feature = "gcp")]
pub mod image;
#[cfg(feature = "gcp")]
pub mod volume;

use crate::k8s::cluster::PodSize;

/// The label, and the taint, of Spot machines.
pub const SPOT: &str = "cloud.google.com/gke-spot";

/// The label of machines with GPUs: which.
pub const ACCELERATOR: &str = "cloud.google.com/gke-accelerator";

/// The taint of a Spot machine that is about to go.
pub const NOTICE: &str = "cloud.google.com/impending-node-termination";

/// What Autopilot may make of [`SUPPORT`](crate::k8s::cluster::SUPPORT): it has higher minimums, of half a vCPU as far
/// as is known, for a pod that is not to be evicted.
pub const SUPPORT_RAISED: PodSize = PodSize { milli_cpu: 1000, mib: 1024 };

/// What Autopilot may make of [`REDIS`](crate::k8s::cluster::REDIS), likewise.
pub const REDIS_RAISED: PodSize = PodSize { milli_cpu: 500, mib: 512 };

/// The tutorial's batch on GKE, with a Filestore address to be filled in.
#[cfg(feature = "cluster")]
pub fn batch_config() -> crate::k8s::objects::Config {
    use crate::k8s::{cluster::Placement, objects::Config};
    // Autopilot adds the toleration by itself; a Standard cluster does not.
    Config { placement: Placement::Labelled(SPOT), ..Config::tutorial() }
}
