//! Arms of the engine's store: a bucket of an object store, and the choice between it and a directory by what
//! `--volume` names.

pub mod any;
#[cfg(feature = "bucket")]
pub mod bucket;
pub mod calls;
pub mod location;
