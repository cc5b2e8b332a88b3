//! Dense places for ids that may be any number.

use std::collections::BTreeMap;

/// Small ids, the usual ones, need no search.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots {
    small: Vec<u32>,
    large: BTreeMap<i64, u32>,
    ids: Vec<i64>,
}

const SMALL: i64 = 1 << 22;

/// A small id without a place.
const NONE: u32 = u32::MAX;

impl Slots {
    /// The place of an id, which has one from now on.
    pub(super) fn of(&mut self, id: i64) -> u32 {
        let slot = if (0..SMALL).contains(&id) {
            let at = id as usize;
            if at >= self.small.len() {
                self.small.resize(at + 1, NONE);
            }
            &mut self.small[at]
        } else {
            self.large.entry(id).or_insert(NONE)
        };
        if *slot == NONE {
            *slot = self.ids.len() as u32;
            self.ids.push(id);
        }
        *slot
    }

    /// The place of an id that has one.
    pub(super) fn find(&self, id: i64) -> Option<u32> {
        if (0..SMALL).contains(&id) {
            return self.small.get(id as usize).copied().filter(|slot| *slot != NONE);
        }
        self.large.get(&id).copied()
    }

    /// The id at a place.
    pub(super) fn id(&self, slot: u32) -> i64 {
        self.ids[slot as usize]
    }

    /// How many ids have a place.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }
}
