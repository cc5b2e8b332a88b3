//! What a run consists of: immutable chapters of datasets, ended by a seal.

use serde::{Deserialize, Serialize};

use crate::hash::Hash;

/// What a dataset is used for. Every role's rows are history for the datasets after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Train,
    /// Features only.
    History,
    Test,
}

/// A dataset as the manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// Place in the run's order; chapters number on.
    pub index: u32,
    /// Normalised, relative to the volume.
    pub path: String,
    pub role: Role,
    pub bytes: u64,
    /// Hashes of its blocks of [`crate::contract::BLOCK_BYTES`], the last one shorter.
    pub blocks: Vec<Hash>,
}
