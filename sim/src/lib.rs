//! The local-first simulator: the batch under preemptions, on a laptop.

pub mod backend;
mod bucket;
pub mod check;
pub mod commands;
pub mod datasets;
pub mod out;
pub mod report;
pub mod schedule;
pub mod settle;
pub mod signals;
pub mod story;
pub mod units;
pub mod view;
pub mod world;

pub use commands::main;
