//! The deployer: GKE and Filestore up, the batch run, and back down.
//!
//! [`plan`] decides, purely; [`deploy`] and [`destroy`] carry out; [`gcp`] speaks to Google and
//! [`cluster`] is the port to Kubernetes.

pub mod clock;
pub mod cluster;
pub mod cost;
pub mod error;
pub mod money;
pub mod plan;
pub mod state;

#[cfg(feature = "gcp")]
pub mod commands;
#[cfg(feature = "gcp")]
pub mod deploy;
#[cfg(feature = "gcp")]
pub mod destroy;
#[cfg(feature = "gcp")]
pub mod gcp;
#[cfg(feature = "gcp")]
pub mod image;
