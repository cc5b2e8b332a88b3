//! The shared worker: a queue hands out items, a volume holds the truth, commits take effect once.

mod aside;
mod begin;
pub mod breakage;
pub mod cli;
mod commit;
pub mod contract;
pub mod events;
mod finish;
pub mod hash;
mod hashing;
pub mod input;
mod listing;
pub mod manifest;
mod offer;
pub mod plan;
mod prefetch;
mod progress;
pub mod queue;
pub mod record;
pub mod run;
mod stage;
pub mod system;
mod trouble;
pub mod volume;
pub mod workload;
