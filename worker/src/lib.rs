//! The worker: the engine with its queues, stores and workloads, and the command line over them.

pub use engine::{
    abandon, audit, contract, ending, events, hash, item, manifest, mutant, name_on, order, path, pipeline,
    plan, reader, record, report, run, system,
};
#[cfg(feature = "conformance")]
pub use engine::{conformance, queue_conformance, store_conformance};
pub use workloads::{duration, guard, input};

pub mod cli;
pub mod explained;
pub mod failure;
pub mod page;

/// The queue's ports and their arms.
pub mod queue {
    pub use engine::queue::*;
    pub use queues::{any, memory, redis, sqlite};
}

/// The store's port and its arms.
pub mod store {
    pub use engine::store::*;
    #[cfg(feature = "bucket")]
    pub use stores::bucket;
    pub use stores::{any, calls, location};
}

/// The trait of workloads, and the workloads that this program knows.
pub mod workload {
    pub use engine::registry::Registry;
    pub use engine::workload::*;
    #[cfg(feature = "conformance")]
    pub use engine::{conformance, queue_conformance, store_conformance};
    pub use workloads::{days, exec, fraud, longer, registry};
}

/// The version that programs show: the commit too, where a release was built from a checkout (`build.rs`).
pub const VERSION: &str = env!("SHOWN_VERSION");
