//! Kubernetes: a batch's objects in a cluster, its files onto the volume and from it, and what happens.
//!
//! [`cluster::Cluster`] is the port, [`live::LiveCluster`] the arm behind it for a cluster that is there. Nothing
//! here knows how a cluster came to be; that is [`crate::gke`]'s and [`crate::kind`]'s.

pub mod cluster;

#[cfg(feature = "cluster")]
pub(crate) mod apply;
#[cfg(feature = "cluster")]
mod attend;
#[cfg(feature = "cluster")]
pub(crate) mod client;
#[cfg(feature = "cluster")]
pub mod exec;
#[cfg(feature = "cluster")]
mod follow;
#[cfg(feature = "cluster")]
pub mod forward;
#[cfg(feature = "cluster")]
mod kubeconfig;
#[cfg(feature = "cluster")]
pub mod live;
#[cfg(feature = "cluster")]
mod log;
#[cfg(feature = "cluster")]
pub mod objects;
#[cfg(feature = "cluster")]
mod obstacle;
#[cfg(feature = "cluster")]
pub(crate) mod proxy;
#[cfg(feature = "cluster")]
pub mod stage;
#[cfg(feature = "cluster")]
pub(crate) mod version;
#[cfg(feature = "cluster")]
pub(crate) mod wait;
#[cfg(feature = "cluster")]
pub mod watch;
