//! What the tests share: bodies that run on every arm of a port, and the servers under them.

pub mod queue;
