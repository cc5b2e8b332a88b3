//! The shared worker: a queue hands out items, a volume holds the truth, commits take effect once.

pub mod contract;
pub mod hash;
pub mod input;
pub mod manifest;
pub mod queue;
pub mod system;
pub mod volume;
pub mod workload;
