//! The engine: items from a queue, truth in a store, commits that take effect exactly once.
//!
//! A program hands in the ports ([`queue::Queue`], [`store::Store`], [`system::System`]) and a
//! [`registry::Registry`] of workloads, and calls [`run::run`]; `examples/words.rs` of the crate `worker` does so in
//! sixty lines.

#![warn(missing_docs)]

pub mod abandon;
mod admission;
mod artifacts;
mod aside;
mod attempt;
pub mod audit;
mod blocks;
mod closing;
mod committer;
#[cfg(feature = "conformance")]
pub mod conformance;
mod context;
pub mod contract;
pub mod ending;
pub mod events;
mod executor;
pub mod hash;
mod hashing;
pub mod item;
mod item_error;
mod listing;
pub mod manifest;
pub mod mutant;
mod offer;
pub mod order;
mod output;
pub mod path;
pub mod pipeline;
pub mod plan;
mod progress;
pub mod queue;
pub mod reader;
pub mod record;
pub mod registry;
pub mod report;
pub mod run;
mod runner;
pub mod store;
pub mod system;
mod view;
pub mod workload;

pub use admission::name_on;
