//! A stateful stand-in of the Google Cloud APIs that the deployer uses: GKE, Filestore, Cloud Storage, Service Usage,
//! Artifact Registry, Compute Engine, the billing catalogue and the token endpoint, on loopback.
//!
//! It takes what gcloud and what Google's crates send (enums by name or by number), lets operations take
//! time (counted in looks at them), and answers as a [`Fault`] tells it to, request by request. Each
//! project is a world of its own, so one server serves a thousand schedules.

mod artifacts;
mod billing;
mod bucket;
mod clock;
mod compute;
mod container;
mod enums;
mod faults;
mod filestore;
mod kubernetes;
mod project;
mod registry;
mod reply;
mod serve;
mod services;
mod storage;

pub use billing::skus;
pub use bucket::{Bucket, Stored};
pub use clock::VirtualClock;
pub use faults::{Fault, Rule, Schedule};
pub use kubernetes::{FakeCluster, FakeConnect};
pub use project::{Handout, Outcome, Project, Recorded};
pub use serve::Standin;
