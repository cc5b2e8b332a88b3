//! Progress inside long work: immutable files in an attempt's folder, from which the next attempt
//! goes on. Pure in what the work was made from; anything else is ignored (rule 14).

use crate::breakage::Breakage;
use crate::commit::Attempt;
use crate::events::What;
use crate::hash::Hash;
use crate::queue::Queue;
use crate::record::Record;
use crate::run::Worker;
use crate::system::System;
use crate::volume::Volume;
use crate::workload::{Outcome, Task};

/// A state from which work goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Saved {
    /// Hash of everything that the work is made from: another's state is never taken up. Never
    /// the parent of a commit, which lies as a private file in the same folder.
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

impl<Q: Queue, V: Volume, S: System> Worker<'_, Q, V, S> {
    /// Saves a state. A failure costs no more than the state.
    pub(crate) async fn save(&self, attempt: &Attempt, saved: Saved) {
        if self.write_private(attempt, &saved.encode()).await.is_ok() {
            attempt.keep();
            self.note(What::Saved { item: attempt.item, done: saved.done, total: saved.total });
        }
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
