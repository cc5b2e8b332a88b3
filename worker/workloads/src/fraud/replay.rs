//! Brings what is remembered up to a dataset's first row: from what the worker has in memory, and from the prepared
//! parts of the window that are not in it. Of the others only the headers are read, once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use engine::hash::Hash;
use engine::workload::{Part, PartName};

use super::memory::Memory;
use super::rows::Rows;
use super::timeline::{Candidate, Layer, Past, Timeline, layers, taking_part};

/// Headers beside those of a window that are kept: windows of other stages may be some days behind.
const SPARE_HEADERS: usize = 256;

/// Headers of prepared parts, by their hashes.
#[derive(Debug, Default)]
pub(super) struct Headers(BTreeMap<Hash, Candidate>);

impl Headers {
    fn add(&mut self, hash: Hash, bytes: &[u8]) -> Result<Candidate, String> {
        let candidate = Candidate::decode(hash, bytes)?;
        self.0.insert(hash, candidate.clone());
        Ok(candidate)
    }

    /// Lets go of those outside of a window, where they are many.
    fn shrink_to(&mut self, window: &[PartName]) {
        if self.0.len() > window.len() + SPARE_HEADERS {
            let kept = window.iter().filter_map(|part| self.0.remove_entry(&part.hash));
            self.0 = kept.collect();
        }
    }
}

/// What a worker has in memory between joins. It saves time and decides nothing.
#[derive(Debug)]
pub(super) struct Shared<M> {
    timeline: Arc<Mutex<Timeline<M>>>,
    headers: Arc<Mutex<Headers>>,
}

impl<M: Default> Shared<M> {
    /// With the headers that others know as well.
    pub(super) fn knowing(headers: Arc<Mutex<Headers>>) -> Self {
        Self { timeline: Arc::default(), headers }
    }
}

impl<M> Clone for Shared<M> {
    fn clone(&self) -> Self {
        Self { timeline: self.timeline.clone(), headers: self.headers.clone() }
    }
}

/// What comes next.
pub(super) enum Replayed {
    /// A part's bytes, for [`Replay::give`].
    Need(PartName),
    More,
    /// The dataset takes no part, for this reason.
    Rejected(String),
    /// All rows before the dataset's own are remembered.
    Ready,
}

/// It takes the timeline for as long as it works and gives it back when it is done; one that is dropped on the way
/// costs the next join a rebuild.
pub(super) struct Replay<M> {
    shared: Shared<M>,
    own: Part,
    window: Vec<PartName>,
    /// The part whose header is read.
    asked: Option<PartName>,
    under_way: Option<UnderWay<M>>,
}

struct UnderWay<M> {
    timeline: Timeline<M>,
    /// At how many layers missing the timeline is copied for the joins after this one: where files overlap, the next
    /// file's history is not this one's with this file's rows added.
    copy_at: Option<usize>,
    copied: Option<Timeline<M>>,
    own: Past,
    /// The time of the first row.
    now: i64,
    /// What of the window is to be pushed, the last to come first.
    missing: Vec<(Layer, Vec<PartName>)>,
    /// The rows of the first parts of the layer that comes next.
    read: Vec<Rows>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<M: Memory> Replay<M> {
    pub(super) fn new(shared: Shared<M>, own: Part, window: Vec<PartName>) -> Self {
        Self { shared, own, window, asked: None, under_way: None }
    }

    /// # Errors
    /// What is wrong with a part's bytes, for a message.
    pub(super) fn step(&mut self) -> Result<Replayed, String> {
        match self.under_way.take() {
            None => self.plan(),
            Some(mut under_way) => {
                let replayed = under_way.advance();
                self.under_way = Some(under_way);
                Ok(replayed)
            }
        }
    }

    /// Takes the part that was needed.
    ///
    /// # Errors
    /// What is wrong with its bytes, for a message.
    pub(super) fn give(&mut self, bytes: &[u8]) -> Result<(), String> {
        match &mut self.under_way {
            Some(under_way) => under_way.read.push(Rows::decode(bytes)?),
            None => {
                if let Some(asked) = self.asked.take() {
                    locked(&self.shared.headers).add(asked.hash, bytes)?;
                }
            }
        }
        Ok(())
    }

    fn plan(&mut self) -> Result<Replayed, String> {
        let mut headers = locked(&self.shared.headers);
        if let Some(unknown) = self.window.iter().find(|part| !headers.0.contains_key(&part.hash)) {
            self.asked = Some(*unknown);
            return Ok(Replayed::Need(*unknown));
        }
        let own = headers.add(self.own.hash, &self.own.bytes)?;
        let window = self.window.iter().filter_map(|part| headers.0.get(&part.hash).cloned());
        let window = taking_part(window.collect());
        headers.shrink_to(&self.window);
        drop(headers);
        if let Some(reason) = own.objection(&window) {
            return Ok(Replayed::Rejected(reason));
        }
        let now = own.header.first;
        let layers = layers(&window, now);
        let mut timeline = std::mem::take(&mut *locked(&self.shared.timeline));
        // Later files see these as they are, and more of the others.
        let whole = layers.iter().take_while(|layer| layer.is_whole()).count();
        let missing = &layers[whole - timeline.missing(&layers[..whole], now)..];
        let overlaps = whole < layers.len() || layers.iter().any(Layer::is_of_several);
        let copy_at = overlaps.then_some(layers.len() - whole);
        let missing = missing.iter().rev().map(|layer| (layer.clone(), self.parts_of(layer))).collect();
        let own = Past::whole(own.hash, &own.header);
        let (copied, read) = (None, Vec::new());
        self.under_way = Some(UnderWay { timeline, copy_at, copied, own, now, missing, read });
        Ok(Replayed::More)
    }

    fn parts_of(&self, layer: &Layer) -> Vec<PartName> {
        let part_of = |past: &Past| self.window.iter().find(|part| part.hash == past.hash).copied();
        layer.0.iter().filter_map(part_of).collect()
    }

    /// What is remembered; absent until everything is ready.
    pub(super) fn memory(&mut self) -> Option<&mut M> {
        self.under_way.as_mut().map(|under_way| &mut under_way.timeline.memory)
    }

    /// Returns what is remembered to the other joins, the dataset's own rows among it.
    pub(super) fn end(&mut self) {
        if let Some(UnderWay { mut timeline, copied, own, .. }) = self.under_way.take() {
            timeline.note(own);
            *locked(&self.shared.timeline) = copied.unwrap_or(timeline);
        }
    }
}

impl<M: Memory> UnderWay<M> {
    fn advance(&mut self) -> Replayed {
        if self.copy_at == Some(self.missing.len()) {
            self.copy_at = None;
            self.copied = Some(self.timeline.clone());
        }
        let Some((_, parts)) = self.missing.last() else { return Replayed::Ready };
        if let Some(next) = parts.get(self.read.len()) {
            return Replayed::Need(*next);
        }
        if let Some((layer, _)) = self.missing.pop() {
            let until = layer.0.iter().map(|past| past.until);
            let rows = Rows::merged(std::mem::take(&mut self.read).into_iter().zip(until).collect());
            self.timeline.push(layer, &rows, self.now);
        }
        Replayed::More
    }
}
