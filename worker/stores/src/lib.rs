//! Arms of the engine's store: a bucket of an object store, and the choice between it and a directory by what
//! `--volume` names.

pub mod any;
pub mod bucket;
pub mod location;
