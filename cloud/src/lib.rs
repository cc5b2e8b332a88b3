//! The deployer: GKE and Filestore up, the batch run, and back down.

pub mod clock;
pub mod cluster;
pub mod error;

#[cfg(feature = "cluster")]
pub mod apply;
#[cfg(feature = "cluster")]
pub mod commands;
#[cfg(feature = "cluster")]
pub mod exec;
#[cfg(feature = "cluster")]
pub mod forward;
#[cfg(feature = "cluster")]
pub mod manifest;
#[cfg(feature = "cluster")]
pub mod stage;
#[cfg(feature = "cluster")]
pub mod tls;
#[cfg(feature = "cluster")]
pub mod wait;
#[cfg(feature = "cluster")]
pub mod watch;
