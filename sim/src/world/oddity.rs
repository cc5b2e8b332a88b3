//! What a world holds beside one run of datasets that never change: an earlier run's output, hidden files, names that
//! collide, blocks smaller than a dataset, a dataset whose content changes.

use serde::{Deserialize, Serialize};
use worker::contract::BLOCK_BYTES;

use super::dice::Dice;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oddities {
    /// Bytes of a dataset's block.
    pub block_bytes: u64,
    /// A run that ended before has left its report and its `output/`, beside a file of the user's own.
    #[serde(default)]
    pub earlier_run: bool,
    /// Hidden files and an editor's copies lie among the tests and in the history.
    #[serde(default)]
    pub hidden_files: bool,
    /// A second training dataset has the first one's stem.
    #[serde(default)]
    pub same_stem: bool,
    #[serde(default)]
    pub change: Option<Change>,
    /// The operator abandons the run at this call, counted from 0 over the calls of all workers.
    #[serde(default)]
    pub abandon: Option<u64>,
}

/// Somebody replaces a dataset by another of the same name, and pushes it again where datasets are pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// At this call, counted from 0 over the calls of all workers.
    pub at: u64,
    /// The number of the training dataset.
    pub number: u32,
}

impl Default for Oddities {
    fn default() -> Self {
        Self {
            block_bytes: BLOCK_BYTES,
            earlier_run: false,
            hidden_files: false,
            same_stem: false,
            change: None,
            abandon: None,
        }
    }
}

impl Oddities {
    /// By chance, for a run of `train` training datasets and about `calls` calls.
    pub fn of_seed(dice: &mut Dice, train: u32, calls: u64) -> Self {
        // Mostly the oldest, which is prepared first: then the run goes on with what it was.
        let last = if dice.chance(1, 4) { u64::from(train) - 1 } else { 0 };
        let change = dice
            .chance(1, 12)
            .then(|| Change { at: dice.between(0, calls), number: dice.between(0, last) as u32 });
        Self {
            block_bytes: if dice.chance(1, 6) { 16 } else { BLOCK_BYTES },
            earlier_run: dice.chance(1, 6),
            hidden_files: dice.chance(1, 6),
            same_stem: dice.chance(1, 8),
            change,
            abandon: None,
        }
    }

    /// When the operator abandons a run of about `calls` calls, with pushes at the calls `pushes`. Often shortly after
    /// a push: then an intake is on its way. By chance of its own, so that the rest of a seed's world does not
    /// follow it.
    pub fn abandon_of_seed(seed: u64, calls: u64, pushes: &[u64]) -> Option<u64> {
        let mut dice = Dice::new(seed.rotate_left(32) ^ 0x0a_ba_4d_04);
        if !dice.chance(1, 10) {
            return None;
        }
        match pushes {
            [] => Some(dice.between(0, calls)),
            _ if dice.chance(1, 3) => Some(dice.between(0, calls)),
            pushes => Some(dice.pick(pushes) + dice.between(0, 80)),
        }
    }
}
