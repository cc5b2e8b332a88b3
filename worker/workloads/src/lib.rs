//! Workloads for the engine: the fraud model, any program, and extra work around another; with the readers of
//! datasets, and the registry that a command line fills.

pub mod days;
pub mod duration;
pub mod exec;
pub mod fraud;
pub mod guard;
pub mod input;
pub mod longer;
mod prefetch;
pub mod registry;
