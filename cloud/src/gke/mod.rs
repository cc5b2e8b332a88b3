//! Google alone: what a deployment costs, the plan, and the loops that bring GKE and Filestore up and down.
//!
//! [`plan`] decides, purely; [`deploy`] and [`destroy`] carry out; [`gcp`] speaks to Google.

pub mod cost;
pub mod money;
pub mod plan;
pub mod state;

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
