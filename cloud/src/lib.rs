//! The deployer: GKE and Filestore up, the batch run, and back down.
//!
//! [`plan`] decides, purely; [`deploy`] and [`destroy`] carry out; [`gcp`] speaks to Google and
//! [`cluster`] is the port to Kubernetes, whose objects are [`manifest`]'s.

pub mod clock;
pub mod cluster;
pub mod cost;
pub mod error;
pub mod money;
pub mod plan;
pub mod state;

#[cfg(feature = "cluster")]
pub mod apply;
#[cfg(feature = "cluster")]
pub mod attend;
#[cfg(feature = "cluster")]
pub mod exec;
#[cfg(feature = "cluster")]
pub mod forward;
#[cfg(feature = "cluster")]
pub mod kubeconfig;
#[cfg(feature = "cluster")]
pub mod manifest;
#[cfg(feature = "cluster")]
pub mod obstacle;
#[cfg(feature = "cluster")]
pub mod proxy;
#[cfg(feature = "cluster")]
pub mod stage;
#[cfg(feature = "cluster")]
pub mod tls;
#[cfg(feature = "cluster")]
pub mod wait;
#[cfg(feature = "cluster")]
pub mod watch;

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
