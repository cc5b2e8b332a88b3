//! Kubernetes: a batch's objects in a cluster, its files onto the volume and from it, and what happens.
//!
//! Nothing here knows how a cluster came to be; that is [`crate::gke`]'s and [`crate::kind`]'s.

pub mod cluster;

#[cfg(feature = "cluster")]
pub mod apply;
#[cfg(feature = "cluster")]
pub mod attend;
#[cfg(feature = "cluster")]
pub mod exec;
#[cfg(feature = "gcp")]
mod follow;
#[cfg(feature = "cluster")]
pub mod forward;
#[cfg(feature = "cluster")]
pub mod kubeconfig;
#[cfg(feature = "gcp")]
pub mod live;
#[cfg(feature = "gcp")]
mod log;
#[cfg(feature = "cluster")]
pub mod objects;
#[cfg(feature = "cluster")]
pub mod obstacle;
#[cfg(feature = "cluster")]
pub mod proxy;
#[cfg(feature = "cluster")]
pub mod stage;
#[cfg(feature = "cluster")]
pub(crate) mod version;
#[cfg(feature = "cluster")]
pub mod wait;
#[cfg(feature = "cluster")]
pub mod watch;
