//! Large contents block by block, so that no worker holds one whole: the contents of datasets, and of the files that
//! results refer to.
//!
//! A result may be a small record that names blocks by their hashes. Each block is put before the record that names
//! it, and is durable before, under its own hash (rule 22): a commit that can be read has all of its content, equal
//! blocks are stored once, and a duplicate of another worker's block is no conflict. A block that no commit names is no
//! part of the run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::attempt::Attempt;
use crate::context::{Context, Ports};
use crate::contract::RunPaths;
use crate::hash::Hash;
use crate::item_error::ItemError;
use crate::manifest::Dataset;
use crate::mutant::Mutant;
use crate::pipeline::Stage;
use crate::store::{Keep, Kind, Put, Store, StoreError};
use crate::system::System;
use crate::view::RunView;

/// Between tries to put a block.
const TRY_AGAIN: Duration = Duration::from_millis(50);

pub(crate) struct Blocks<'a, P: Ports> {
    ctx: &'a Context<'a, P>,
    view: &'a RunView<'a, P>,
    /// When blocks were first missed that a commit names.
    missed: RefCell<BTreeMap<Hash, Duration>>,
}

/// Reads a block of a dataset of `bytes` bytes. Of the last one a byte more than it has is asked for: a file may have grown
/// that filled it.
pub(crate) async fn read_block<P: Ports>(
    ctx: &Context<'_, P>,
    path: &str,
    bytes: u64,
    number: u64,
) -> Result<Vec<u8>, ItemError> {
    let size = ctx.system.block_bytes();
    let last = bytes.div_ceil(size).max(1) - 1;
    let asked = size + u64::from(number == last);
    ctx.store.get_range(path, number * size, asked).await.map_err(ItemError::with_dataset)
}

impl<'a, P: Ports> Blocks<'a, P> {
    pub fn new(ctx: &'a Context<'a, P>, view: &'a RunView<'a, P>) -> Self {
        Self { ctx, view, missed: RefCell::default() }
    }

    /// A block of a dataset, checked against the manifest (rule 9).
    pub async fn of_dataset(&self, dataset: &Dataset, number: u32) -> Result<Vec<u8>, ItemError> {
        let Some(expected) = dataset.blocks.get(number as usize) else {
            return Err(ItemError::Defect(format!("{} has no block {number}", dataset.path)));
        };
        let block = read_block(self.ctx, &dataset.path, dataset.bytes, number.into()).await?;
        self.ctx.tick();
        let (found, block) = self.ctx.hashed(block).await?;
        let trusts = number > 0 && self.ctx.breaks(Mutant::CheckOneBlock);
        if found != *expected && !trusts && !self.ctx.breaks(Mutant::UncheckedInput) {
            return Err(ItemError::Input(format!(
                "{} is not what it was when the run began: block {number} has hash {}, the manifest says {}",
                dataset.path,
                found.short(),
                expected.short()
            )));
        }
        Ok(block)
    }

    /// Puts a block where the results of this run refer to it. Idempotent. A volume that fails for a moment is tried
    /// again: the work that made the block would be lost.
    pub async fn put(&self, attempt: &Attempt, bytes: Vec<u8>) -> Result<(), ItemError> {
        let (hash, bytes) = self.ctx.hashed(bytes).await?;
        let path = self.ctx.paths.block(hash);
        let since = self.ctx.system.elapsed();
        loop {
            let Err(error) = self.put_once(attempt, &path, &bytes).await else { return Ok(()) };
            let cannot = error.kind != Kind::NotFound && error.hint().is_some();
            // Without progress the lease is lost in the end.
            let is_late = self.ctx.system.elapsed().saturating_sub(since) > self.ctx.config.stall / 2;
            if cannot || is_late {
                return Err(error.into());
            }
            if self.ctx.is_stopping() {
                return Err(ItemError::Stop);
            }
            self.ctx.system.sleep(self.ctx.jittered(TRY_AGAIN)).await;
        }
    }

    async fn put_once(&self, attempt: &Attempt, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let name = attempt.private_name();
        let staged = self.ctx.store.stage(&name, bytes, self.keep()).await?;
        let put = self.ctx.store.put_if_absent(&staged, path).await;
        self.ctx.tick();
        match put? {
            Put::Ours { .. } => self.ctx.store.unstage(&name).await,
            // The name is a hash: other bytes there are damage.
            Put::Theirs(_) => {
                let staged = self.ctx.store.stage(&attempt.private_name(), bytes, self.keep()).await?;
                self.ctx.store.replace(&staged, path).await?;
            }
        }
        Ok(())
    }

    /// Durable before the commit, which then has all of its content whenever it can be read (rule 22).
    fn keep(&self) -> Keep {
        if self.ctx.breaks(Mutant::BlocksUnsynced) { Keep::Reproducible } else { Keep::Durable }
    }

    /// A block that the result of a stage of a dataset refers to, checked.
    pub async fn of_result(&self, stage: Stage, index: u32, hash: Hash) -> Result<Vec<u8>, ItemError> {
        let mut torn = None;
        for path in self.places(hash)? {
            match self.ctx.store.get(&path).await {
                Ok(block) => {
                    self.ctx.tick();
                    let (found, block) = self.ctx.hashed(block).await?;
                    if found == hash {
                        self.missed.borrow_mut().remove(&hash);
                        return Ok(block);
                    }
                    torn = Some(path);
                }
                Err(error) if error.kind == Kind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        // What made it makes it again.
        Err(match torn {
            Some(path) => ItemError::Torn(stage, index, path),
            None if self.is_lost(hash) => ItemError::Torn(stage, index, self.ctx.paths.block(hash)),
            None => ItemError::Absent(self.ctx.paths.block(hash)),
        })
    }

    /// Where a block may lie: in this run, or in one that it continues.
    fn places(&self, hash: Hash) -> Result<Vec<String>, ItemError> {
        let mut places = vec![self.ctx.paths.block(hash)];
        for run in self.view.opened()?.manifest.continued() {
            places.push(RunPaths::new(run).block(hash));
        }
        Ok(places)
    }

    /// Absence is never a fact (rule 8); after a whole lease without it, making it again costs less than waiting.
    fn is_lost(&self, hash: Hash) -> bool {
        let now = self.ctx.system.elapsed();
        let since = *self.missed.borrow_mut().entry(hash).or_insert(now);
        let lost = now.saturating_sub(since) >= self.ctx.config.lease;
        if lost {
            self.missed.borrow_mut().remove(&hash);
        }
        lost
    }
}
