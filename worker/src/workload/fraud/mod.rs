//! The fraud workload.
