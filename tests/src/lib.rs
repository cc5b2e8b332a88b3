//! What the tests share: bodies that run on every arm of a port, the servers under them, and the
//! programs as a person runs them.

pub mod batch;
pub mod browser;
pub mod bucket;
pub mod chaos;
pub mod command;
pub mod docker;
pub mod protocol;
pub mod queue;
pub mod server;
pub mod small_disk;
pub mod standin;
pub mod volume;
