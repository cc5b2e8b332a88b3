//! Progress inside long work: immutable files in an attempt's folder, from which the next attempt
//! goes on. Pure in what the work was made from; anything else is ignored (rule 14).

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::attempt::{Attempt, block_path, is_block};
use crate::committer::Committer;
use crate::context::{Context, Ports};
use crate::events::What;
use crate::hash::Hash;
use crate::mutant::Mutant;
use crate::record::Record;
use crate::store::{Keep, Store};
use crate::system::System;
use crate::workload::{Outcome, Task};

/// A state from which work goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Saved {
    /// Hash of everything that the work is made from: another's state is never taken up.
    pub parent: Hash,
    pub done: u64,
    pub total: u64,
    /// Blocks that the state refers to, with their numbers in the attempt's folder.
    pub blocks: BTreeMap<Hash, u32>,
    pub state: Vec<u8>,
}

/// Where an earlier attempt left the blocks of the state that was resumed.
#[derive(Debug)]
pub(crate) struct Resumed {
    folder: String,
    blocks: BTreeMap<Hash, u32>,
}

/// Progress is never public: no commit has this place.
const PLACE: &str = "progress";
/// The same of states that refer to blocks.
const PLACE_OF_BLOCKS: &str = "progress-blocks";
/// A hash and a number.
const BLOCK_BYTES: usize = 36;

impl Saved {
    fn encode(&self) -> Vec<u8> {
        let mut content = Vec::with_capacity(16 + self.state.len());
        content.extend(self.done.to_le_bytes());
        content.extend(self.total.to_le_bytes());
        if self.blocks.is_empty() {
            content.extend(&self.state);
            return Record::part(self.parent, content).encode(PLACE);
        }
        content.extend((self.blocks.len() as u64).to_le_bytes());
        for (hash, number) in &self.blocks {
            content.extend(hash.0);
            content.extend(number.to_le_bytes());
        }
        content.extend(&self.state);
        Record::part(self.parent, content).encode(PLACE_OF_BLOCKS)
    }

    fn decode(bytes: Vec<u8>) -> Option<Self> {
        let has_blocks = Record::is_of(&bytes, PLACE_OF_BLOCKS);
        let record = Record::decode_at(bytes, if has_blocks { PLACE_OF_BLOCKS } else { PLACE }).ok()?;
        let Outcome::Part(content) = record.outcome else {
            return None;
        };
        let mut rest = &content[..];
        let (done, total) = (word(&mut rest)?, word(&mut rest)?);
        let mut blocks = BTreeMap::new();
        if has_blocks {
            let count = usize::try_from(word(&mut rest)?).ok()?;
            let (listed, state) = rest.split_at_checked(count.checked_mul(BLOCK_BYTES)?)?;
            for block in listed.chunks_exact(BLOCK_BYTES) {
                let (hash, number) = block.split_at(BLOCK_BYTES - 4);
                blocks.insert(Hash(hash.try_into().ok()?), u32::from_le_bytes(number.try_into().ok()?));
            }
            rest = state;
        }
        Some(Self { parent: record.parent, done, total, blocks, state: rest.to_vec() })
    }
}

/// Takes eight bytes off the beginning, as a little-endian number.
fn word(rest: &mut &[u8]) -> Option<u64> {
    let (word, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some(u64::from_le_bytes(*word))
}

/// Saving may cost this share of a work's time: 1 in `SHARE`.
const SHARE: u32 = 50;
/// No sooner than this share of what the attempt has done: work of hours is not saved many times a second.
const SHARE_OF_WORK: u32 = 20;

/// What saving a state cost last.
#[derive(Debug)]
struct Cost(Cell<Duration>);

impl Default for Cost {
    /// Until one was saved: as on a local disk.
    fn default() -> Self {
        Self(Cell::new(Duration::from_millis(2)))
    }
}

impl Cost {
    /// How long after the last saving, or the beginning, work that has run for `spent` is saved: so seldom
    /// that it costs little, and at most `at_most` later, which bounds what a preemption loses.
    fn rest(&self, spent: Duration, at_most: Duration) -> Duration {
        (self.0.get() * SHARE).max(spent / SHARE_OF_WORK).min(at_most)
    }
}

pub(crate) struct Progress<'a, P: Ports> {
    ctx: &'a Context<'a, P>,
    committer: &'a Committer<'a, P>,
    cost: Cost,
}

impl<'a, P: Ports> Progress<'a, P> {
    pub fn new(ctx: &'a Context<'a, P>, committer: &'a Committer<'a, P>) -> Self {
        Self { ctx, committer, cost: Cost::default() }
    }

    /// How long after the last saving work that has run for `spent` is saved again.
    pub fn rest(&self, spent: Duration) -> Duration {
        let seldom = self.ctx.breaks(Mutant::SaveSeldom);
        self.cost.rest(spent, if seldom { Duration::MAX } else { self.ctx.config.progress_every })
    }

    /// Saves a state, and returns its name. A failure costs no more than the state.
    pub async fn save(&self, attempt: &Attempt, saved: Saved) -> Option<String> {
        let began = self.ctx.system.elapsed();
        let name = attempt.saved_name();
        // Reproducible: without it, the work is recomputed from its beginning.
        let put = match self.ctx.breaks(Mutant::SaveUnwritten) {
            true => Ok(()),
            false => self.ctx.store.put(&name, &saved.encode(), Keep::Reproducible).await,
        };
        self.ctx.tick();
        self.cost.0.set(self.ctx.system.elapsed().saturating_sub(began));
        put.ok()?;
        self.ctx.made_progress(attempt).await;
        self.ctx.note(What::Saved { item: attempt.item, done: saved.done, total: saved.total });
        if !saved.blocks.is_empty() {
            self.drop_superseded(attempt, &saved.blocks).await;
        }
        Some(name)
    }

    /// Puts a block of the state that is saved next; returns whether it is there.
    pub async fn save_block(&self, attempt: &Attempt, block: Vec<u8>) -> bool {
        let Ok((hash, block)) = self.ctx.hashed(block).await else {
            return false;
        };
        if attempt.has_block(hash) {
            return true;
        }
        let (number, path) = attempt.block_name();
        let put = self.ctx.store.put(&path, &block, Keep::Durable).await;
        self.ctx.tick();
        if put.is_ok() {
            attempt.put_block(hash, number);
        }
        put.is_ok()
    }

    /// States with blocks may be large: only the newest is kept. An attempt that resumes an older one in this moment
    /// starts over.
    async fn drop_superseded(&self, attempt: &Attempt, newest: &BTreeMap<Hash, u32>) {
        for path in attempt.drop_other_blocks(newest) {
            let _ = self.ctx.store.delete(&path).await;
            self.ctx.tick();
        }
        for folder in attempt.take_earlier() {
            self.ctx.store.delete_all(&folder).await;
            self.ctx.tick();
        }
    }

    /// A block of the state that was resumed; `None` where it is lost.
    pub async fn saved_block(&self, resumed: Option<&Resumed>, hash: Hash) -> Option<Vec<u8>> {
        let Resumed { folder, blocks } = resumed?;
        let block = self.ctx.store.get(&block_path(folder, *blocks.get(&hash)?)).await.ok()?;
        self.ctx.tick();
        let (found, block) = self.ctx.hashed(block).await.ok()?;
        (found == hash).then_some(block)
    }

    /// Takes up the furthest state that any attempt at the item saved.
    pub async fn resume(&self, attempt: &Attempt, task: &mut Box<dyn Task>, parent: Hash) -> Option<Resumed> {
        if self.ctx.breaks(Mutant::SweepTooEarly) {
            self.committer.sweep_all().await;
        }
        let (from, saved) = self.furthest(attempt, parent).await?;
        if self.ctx.breaks(Mutant::NeverResume) {
            return None;
        }
        task.resume(&saved.state);
        let (done, total) = task.progress();
        self.ctx.note(What::Resumed { item: attempt.item, done, total, from: from.clone() });
        Some(Resumed { folder: from, blocks: saved.blocks })
    }

    /// The furthest valid state among an item's attempts, and the attempt that saved it.
    pub async fn furthest(&self, attempt: &Attempt, parent: Hash) -> Option<(String, Saved)> {
        let (store, attempts) = (self.ctx.store, self.ctx.paths.attempts());
        let prefix = format!("{}-", attempt.item.file_name());
        let mut best: Option<(String, Saved)> = None;
        for name in store.list(&attempts).await.ok()? {
            if !name.starts_with(&prefix) {
                continue;
            }
            // Or a private file, which holds no state.
            let folder = format!("{attempts}/{name}");
            attempt.follows(&folder);
            let files = store.list(&folder).await.unwrap_or_default();
            for file in files.into_iter().filter(|file| !is_block(file)) {
                let Ok(bytes) = store.get(&format!("{folder}/{file}")).await else {
                    continue;
                };
                let is_ours =
                    |saved: &Saved| saved.parent == parent || self.ctx.breaks(Mutant::ResumeAnothers);
                if let Some(saved) = Saved::decode(bytes).filter(is_ours)
                    && best.as_ref().is_none_or(|(_, before)| {
                        (before.done < saved.done) != self.ctx.breaks(Mutant::ResumeTheFirst)
                    })
                {
                    best = Some((folder.clone(), saved));
                }
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn saving_is_as_often_as_it_is_cheap() {
        let (ms, cost) = (Duration::from_millis, Cost::default());
        assert_eq!(cost.rest(ms(0), ms(1_000)), ms(100), "nothing saved yet");
        assert_eq!(cost.rest(ms(10_000), ms(1_000)), ms(500), "long work");
        assert_eq!(cost.rest(ms(3_600_000), ms(1_000)), ms(1_000), "at least as often as was asked for");
        cost.0.set(ms(10));
        assert_eq!(cost.rest(ms(0), ms(1_000)), ms(500), "a slow volume");
        assert_eq!(cost.rest(ms(0), ms(20)), ms(20));
    }

    proptest! {
        #[test]
        fn a_state_reads_back_and_damage_is_ignored(
            done in any::<u64>(),
            blocks in prop::collection::btree_map(any::<[u8; 32]>().prop_map(Hash), any::<u32>(), 0..4),
            state in prop::collection::vec(any::<u8>(), 0..50),
            cut in any::<prop::sample::Index>(),
        ) {
            let saved = Saved { parent: Hash::of(b"parent"), done, total: 9, blocks, state };
            let bytes = saved.encode();
            prop_assert_eq!(Saved::decode(bytes[..cut.index(bytes.len())].to_vec()), None);
            prop_assert_eq!(Saved::decode(bytes), Some(saved));
        }
    }
}
