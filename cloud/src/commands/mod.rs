//! The commands of `cloud`.

pub mod render;
