//! The blocks that results refer to, in a folder of their own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use worker::hash::Hash;

pub(super) struct Kept(PathBuf);

impl Kept {
    /// Makes the folder.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn new(folder: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&folder).context("failed to make a folder for blocks")?;
        Ok(Self(folder))
    }

    pub fn put(&self, block: &[u8]) -> Result<(), String> {
        let path = self.0.join(Hash::of(block).to_string());
        std::fs::write(&path, block).map_err(|error| format!("write {}: {error}", path.display()))
    }

    pub fn get(&self, hash: Hash) -> Result<Vec<u8>, String> {
        let path = self.0.join(hash.to_string());
        std::fs::read(&path).map_err(|error| format!("read {}: {error}", path.display()))
    }

    /// Those of the hashes that can be read.
    pub fn all(&self, hashes: Vec<Hash>) -> BTreeMap<Hash, Vec<u8>> {
        hashes.into_iter().filter_map(|hash| Some((hash, self.get(hash).ok()?))).collect()
    }
}
