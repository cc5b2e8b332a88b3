//! Progress inside long work: immutable files in an attempt's folder, from which the next attempt
//! goes on. Pure in what the work was made from; anything else is ignored (rule 14).

use std::cell::Cell;
use std::time::Duration;

use crate::breakage::Breakage;
use crate::commit::Attempt;
use crate::events::What;
use crate::hash::Hash;
use crate::queue::Queue;
use crate::record::Record;
use crate::run::Worker;
use crate::system::System;
use crate::volume::{Kind, Volume, VolumeError};
use crate::workload::{Outcome, Task};

/// A state from which work goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Saved {
    /// Hash of everything that the work is made from: another's state is never taken up.
    pub parent: Hash,
    pub done: u64,
    pub total: u64,
    pub state: Vec<u8>,
}

/// Progress is never public: no commit has this place.
const PLACE: &str = "progress";

impl Saved {
    fn encode(&self) -> Vec<u8> {
        let mut content = Vec::with_capacity(16 + self.state.len());
        content.extend(self.done.to_le_bytes());
        content.extend(self.total.to_le_bytes());
        content.extend(&self.state);
        Record::part(self.parent, content).encode(PLACE)
    }

    fn decode(bytes: Vec<u8>) -> Option<Self> {
        let record = Record::decode_at(bytes, PLACE).ok()?;
        let Outcome::Part(content) = record.outcome else {
            return None;
        };
        let word = |at: usize| Some(u64::from_le_bytes(content.get(at..at + 8)?.try_into().ok()?));
        Some(Self {
            parent: record.parent,
            done: word(0)?,
            total: word(8)?,
            state: content.get(16..)?.to_vec(),
        })
    }
}

/// Saving may cost this share of a work's time: 1 in so many.
const SHARE: u32 = 50;
/// No sooner than this share of what the attempt has done: work of hours is not saved many times a second.
const SHARE_OF_WORK: u32 = 20;

/// What saving a state cost last.
#[derive(Debug)]
pub(crate) struct Saving {
    cost: Cell<Duration>,
}

impl Default for Saving {
    /// Until one was saved: as a local disk has it.
    fn default() -> Self {
        Self { cost: Cell::new(Duration::from_millis(2)) }
    }
}

impl Saving {
    /// How long after the last saving, or the beginning, a work that has run for `spent` is saved: so seldom
    /// that it costs little, and `at_most` that long after, which bounds what a preemption loses.
    pub(crate) fn rest(&self, spent: Duration, at_most: Duration) -> Duration {
        (self.cost.get() * SHARE).max(spent / SHARE_OF_WORK).min(at_most)
    }
}

impl<Q: Queue, V: Volume, S: System> Worker<'_, Q, V, S> {
    /// Saves a state, and answers under which name. A failure costs no more than the state.
    pub(crate) async fn save(&self, attempt: &Attempt, saved: Saved) -> Option<String> {
        let began = self.system.elapsed();
        let name = self.write_saved(attempt, &saved.encode()).await.ok();
        self.saving.cost.set(self.system.elapsed().saturating_sub(began));
        if name.is_some() {
            self.note(What::Saved { item: attempt.item, done: saved.done, total: saved.total });
        }
        name
    }

    async fn write_saved(&self, attempt: &Attempt, bytes: &[u8]) -> Result<String, VolumeError> {
        if !attempt.made.get() {
            self.volume.make_folder(&attempt.folder).await?;
            attempt.made.set(true);
        }
        // Of work that is done again from its beginning if need be.
        let synced = !self.volume.is_on_one_machine();
        let name = attempt.saved_name();
        let written = self.write_new(&name, bytes, synced).await;
        if written.as_ref().is_err_and(|error| error.kind == Kind::NotFound) {
            // Swept, perhaps, with all that was in it: the next is saved in a folder made anew.
            attempt.made.set(false);
        }
        written.map(|()| name)
    }

    /// Takes up the furthest state that any attempt at the item saved.
    pub(crate) async fn resume(&self, attempt: &Attempt, task: &mut Box<dyn Task>, parent: Hash) {
        if self.breaks(Breakage::SweepTooEarly) {
            self.sweep_all().await;
        }
        let Some((from, saved)) = self.furthest(attempt, parent).await else {
            return;
        };
        if self.breaks(Breakage::NeverResume) {
            return;
        }
        task.resume(&saved.state);
        let (done, total) = task.progress();
        self.note(What::Resumed { item: attempt.item, done, total, from });
    }

    /// The furthest valid state among an item's attempts, and whose it is.
    pub(crate) async fn furthest(&self, attempt: &Attempt, parent: Hash) -> Option<(String, Saved)> {
        let prefix = format!("{}-", attempt.item.file_name());
        let mut best: Option<(String, Saved)> = None;
        for name in self.volume.list(&self.paths.attempts()).await.ok()? {
            if !name.starts_with(&prefix) {
                continue;
            }
            // Or a private file, which holds no state.
            let folder = format!("{}/{name}", self.paths.attempts());
            attempt.follows(&folder);
            for file in self.volume.list(&folder).await.unwrap_or_default() {
                let Ok(bytes) = self.volume.read(&format!("{folder}/{file}")).await else {
                    continue;
                };
                if let Some(saved) = Saved::decode(bytes).filter(|saved| saved.parent == parent)
                    && best.as_ref().is_none_or(|(_, before)| before.done < saved.done)
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
        let (ms, saving) = (Duration::from_millis, Saving::default());
        assert_eq!(saving.rest(ms(0), ms(1_000)), ms(100), "nothing saved yet");
        assert_eq!(saving.rest(ms(10_000), ms(1_000)), ms(500), "long work");
        assert_eq!(saving.rest(ms(3_600_000), ms(1_000)), ms(1_000), "at least as often as was asked for");
        saving.cost.set(ms(10));
        assert_eq!(saving.rest(ms(0), ms(1_000)), ms(500), "a slow volume");
        assert_eq!(saving.rest(ms(0), ms(20)), ms(20));
    }

    proptest! {
        #[test]
        fn a_state_reads_back_and_damage_is_ignored(
            done in any::<u64>(), state in prop::collection::vec(any::<u8>(), 0..50), cut in any::<prop::sample::Index>(),
        ) {
            let saved = Saved { parent: Hash::of(b"parent"), done, total: 9, state };
            let bytes = saved.encode();
            prop_assert_eq!(Saved::decode(bytes[..cut.index(bytes.len())].to_vec()), None);
            prop_assert_eq!(Saved::decode(bytes), Some(saved));
        }
    }
}
