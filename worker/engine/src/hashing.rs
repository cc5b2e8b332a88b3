//! Datasets hashed for the manifest, block by block, with progress saved: terabytes are hashed by
//! workers that are preempted on the way, and no block twice (rule 14).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::attempt::Attempt;
use crate::blocks::read_block;
use crate::context::{Context, Ports};
use crate::contract::{BLOCK_BYTES, FORMAT_VERSION};
use crate::events::What;
use crate::hash::Hash;
use crate::item_error::ItemError;
use crate::manifest::{Dataset, Role};
use crate::mutant::Mutant;
use crate::progress::{Progress, Saved};
use crate::store::Store;
use crate::system::System;

/// What one claim of a chapter has hashed, by itself or by those before it.
#[derive(Debug)]
pub(crate) struct Hashing {
    files: BTreeMap<String, Blocks>,
    saved_at: Duration,
    saved_as: Option<String>,
}

/// The hashes of a file's first blocks, and the size that it had.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Blocks {
    bytes: u64,
    hashes: Vec<Hash>,
}

impl Hashing {
    /// Nothing hashed yet.
    pub(crate) fn begun_at(now: Duration) -> Self {
        Self { files: BTreeMap::new(), saved_at: now, saved_as: None }
    }

    fn blocks(&self) -> u64 {
        self.files.values().map(|file| file.hashes.len() as u64).sum()
    }

    /// The blocks of a file that are hashed already; none if its size has changed since.
    fn file(&mut self, path: &str, bytes: u64) -> &mut Blocks {
        let file = self.files.entry(path.to_owned()).or_default();
        if file.bytes != bytes {
            *file = Blocks { bytes, hashes: Vec::new() };
        }
        file
    }
}

/// States are of hashing and of nothing else, in this version of the formats.
fn parent() -> Hash {
    Hash::of_fields([b"hashing".as_slice(), &FORMAT_VERSION.to_le_bytes(), &BLOCK_BYTES.to_le_bytes()])
}

pub(crate) struct Hasher<'a, P: Ports> {
    ctx: &'a Context<'a, P>,
    progress: &'a Progress<'a, P>,
}

impl<'a, P: Ports> Hasher<'a, P> {
    pub fn new(ctx: &'a Context<'a, P>, progress: &'a Progress<'a, P>) -> Self {
        Self { ctx, progress }
    }

    /// Hashes nothing that earlier attempts at the same item have hashed. A file that changes afterwards without
    /// changing its size is found out when it is prepared, by the hash that is the manifest's.
    pub async fn resume(&self, attempt: &Attempt) -> Hashing {
        let mut hashing = Hashing::begun_at(self.ctx.system.elapsed());
        if let Some((from, saved)) = self.progress.furthest(attempt, parent()).await
            && let Ok(files) = serde_json::from_slice(&saved.state)
        {
            hashing.files = files;
            self.ctx.note(What::Resumed { item: attempt.item, done: saved.done, total: saved.total, from });
        }
        hashing
    }

    /// Hashes a dataset whatever was hashed of its path before.
    pub async fn hash_again(
        &self,
        attempt: &Attempt,
        path: String,
        index: u32,
    ) -> Result<Dataset, ItemError> {
        let mut hashing = Hashing::begun_at(self.ctx.system.elapsed());
        self.hash(attempt, &mut hashing, path, index).await
    }

    /// Reads a dataset once, block by block, and saves what is hashed from time to time.
    pub async fn hash(
        &self,
        attempt: &Attempt,
        hashing: &mut Hashing,
        path: String,
        index: u32,
    ) -> Result<Dataset, ItemError> {
        let bytes = self.ctx.store.size(&path).await.map_err(ItemError::with_dataset)?;
        let done = hashing.file(&path, bytes).hashes.len() as u64;
        let size = self.ctx.system.block_bytes();
        let blocks = if self.ctx.breaks(Mutant::HashOneBlock) { 1 } else { bytes.div_ceil(size).max(1) };
        for number in done..blocks {
            let block = read_block(self.ctx, &path, bytes, number).await?;
            // The manifest would hold the beginning of a file that is being written.
            if block.len() as u64 != size.min(bytes - number * size) {
                return Err(ItemError::Input(format!(
                    "dataset {path} had {bytes} bytes when its hashing began, and has others now\n\
                     hint: push or list files that are copied whole"
                )));
            }
            let (hash, _) = self.ctx.hashed(block).await?;
            hashing.file(&path, bytes).hashes.push(hash);
            self.ctx.tick();
            self.save(attempt, hashing).await?;
        }
        let blocks = hashing.file(&path, bytes).hashes.clone();
        Ok(Dataset { index, role: Role::of(&path), path, bytes, blocks })
    }

    /// Saves the hashes where that is due, and stops where a stop is requested.
    async fn save(&self, attempt: &Attempt, hashing: &mut Hashing) -> Result<(), ItemError> {
        let stop = self.ctx.is_stopping();
        let now = self.ctx.system.elapsed();
        if stop || now.saturating_sub(hashing.saved_at) >= self.ctx.config.progress_every {
            hashing.saved_at = now;
            let done = hashing.blocks();
            // Hashes by path: writing them as JSON cannot fail.
            let state = serde_json::to_vec(&hashing.files).unwrap_or_default();
            let saved = self
                .progress
                .save(attempt, Saved { parent: parent(), done, total: 0, blocks: BTreeMap::new(), state })
                .await;
            // All of the one before is in this one.
            if let Some(before) = saved.and_then(|name| hashing.saved_as.replace(name)) {
                let _ = self.ctx.store.delete(&before).await;
            }
            self.ctx.flush().await;
        }
        if stop { Err(ItemError::Stop) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_a_file_of_another_size_are_not_taken_up() {
        let blocks = Blocks { bytes: 10, hashes: vec![Hash::of(b"block")] };
        let hashing = || Hashing {
            files: BTreeMap::from([("a".to_owned(), blocks.clone())]),
            saved_at: Duration::ZERO,
            saved_as: None,
        };
        assert_eq!(*hashing().file("a", 10), blocks);
        assert_eq!(*hashing().file("a", 11), Blocks { bytes: 11, hashes: Vec::new() });
        assert_eq!(*hashing().file("b", 10), Blocks { bytes: 10, hashes: Vec::new() });
    }
}
