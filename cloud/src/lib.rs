//! The deployer: GKE and Filestore up, the batch run, and back down.
//!
//! [`k8s`] runs a batch in any cluster: the port [`k8s::cluster::Cluster`], the objects,
//! staging and watching. [`gke`] makes clusters and volumes at Google, [`kind`] on this machine; both stand
//! on `k8s`, which knows neither. [`commands`] wires them.

pub mod clock;
pub mod error;
pub mod gke;
pub mod k8s;
#[cfg(feature = "cluster")]
pub mod kind;
#[cfg(feature = "cluster")]
mod tls;

#[cfg(feature = "gcp")]
pub mod commands;
