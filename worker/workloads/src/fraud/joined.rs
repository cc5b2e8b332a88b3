//! What join commits: a dataset's rows as bins, and what evaluation needs beside them.
//!
//! ```text
//! "FRAUDBIN"                magic
//! u32                       version (2)
//! u32                       version of the bin edges
//! u32, bytes                length and text of the feature set's name; it has f features
//! u64                       rows, n
//! 2 columns                 time, customer: i64 base, u8 width (1, 2, 4 or 8), n unsigned offsets
//! n x u8                    bit 0: fraud; bits 1..: scenario + 1 where the data names it, else 0
//! n x f x u8                each row's bins, in the order of the features
//! ```
//! All numbers are little-endian.

use std::collections::VecDeque;
use std::sync::Arc;

use engine::hash::Hash;
use engine::workload::Part;

use super::bytes::{Reader, Writer};
use super::edges;
use super::feature_set::FeatureSet;
use super::features;
use super::purchase::DAY_S;
use super::rows::Rows;

const MAGIC: &[u8; 8] = b"FRAUDBIN";
const VERSION: u32 = 2;

/// A decoded joined part. The bins stay where they were read.
#[derive(Debug)]
pub(super) struct Joined {
    bytes: Arc<Vec<u8>>,
    bins_at: usize,
    pub(super) set: FeatureSet,
    pub(super) labels: Labels,
}

/// What rows are measured by.
#[derive(Debug, Default)]
pub(super) struct Labels {
    pub(super) fraud: Vec<bool>,
    /// Which kind of fraud, where the data names it.
    pub(super) scenario: Option<Vec<u8>>,
    /// The distinct customers, ascending, and each row's place among them.
    pub(super) cards: Vec<i64>,
    pub(super) card: Vec<u32>,
    /// Number of days since 1970-01-01, ascending.
    pub(super) day: Vec<i64>,
}

pub(super) fn encode(rows: &Rows, set: FeatureSet, bins: &[u8]) -> Vec<u8> {
    let mut out = Writer::new(MAGIC, VERSION);
    out.u32(edges::VERSION);
    out.text(set.name());
    out.u64(rows.len() as u64);
    out.packed(&rows.time);
    out.packed(&rows.customer);
    out.flags(&rows.fraud, rows.scenario.as_deref());
    out.bytes(bins);
    out.finish()
}

impl Joined {
    pub(super) fn len(&self) -> usize {
        self.labels.fraud.len()
    }

    /// All rows' bins, row after row.
    pub(super) fn bins(&self) -> &[u8] {
        &self.bytes[self.bins_at..]
    }

    /// Each row's bins.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.bins().chunks_exact(self.set.width())
    }

    /// # Errors
    /// What is wrong with the bytes, for a message.
    pub(super) fn decode(bytes: Arc<Vec<u8>>) -> Result<Self, String> {
        let mut input = Reader::new(&bytes, MAGIC, VERSION)?;
        let found = input.u32()?;
        if found != edges::VERSION {
            return Err(format!("bin edges of version {found}, this program has version {}", edges::VERSION));
        }
        let set = input.set()?;
        let rows = input.len()?;
        let (time, customer) = (input.packed(rows)?, input.packed(rows)?);
        let (fraud, scenario) = input.flags(rows)?;
        let bins = input.take(rows.saturating_mul(set.width()))?;
        input.end()?;
        let most: Vec<usize> = set.features().map(features::bins).collect();
        let is_over = |row: &[u8]| row.iter().zip(&most).any(|(bin, most)| *bin as usize >= *most);
        if bins.chunks_exact(most.len()).any(is_over) {
            return Err("a bin in it is out of bounds".to_owned());
        }
        let bins_at = bytes.len() - bins.len();
        let (cards, card) = ranked(&customer);
        let day = time.iter().map(|time| time.div_euclid(DAY_S)).collect();
        Ok(Self { bytes, bins_at, set, labels: Labels { fraud, scenario, cards, card, day } })
    }
}

/// The decoded parts that were asked for last, by the hash of their bytes.
#[derive(Debug)]
pub(super) struct Kept {
    /// The oldest first.
    parts: VecDeque<(Hash, Arc<Joined>)>,
    /// Of the parts' own bytes; what is decoded beside them takes about as many.
    bytes: usize,
    most: usize,
}

impl Kept {
    pub(super) fn new(most: usize) -> Self {
        Self { parts: VecDeque::new(), bytes: 0, most }
    }

    /// The part, decoded.
    ///
    /// # Errors
    /// What is wrong with its bytes, for a message.
    pub(super) fn get(&mut self, part: &Part) -> Result<Arc<Joined>, String> {
        if let Some((_, joined)) = self.parts.iter().find(|(hash, _)| *hash == part.hash) {
            return Ok(joined.clone());
        }
        let joined = Arc::new(Joined::decode(part.bytes.clone())?);
        self.bytes += joined.bytes.len();
        self.parts.push_back((part.hash, joined.clone()));
        while self.bytes > self.most
            && let Some((_, oldest)) = self.parts.pop_front()
        {
            self.bytes -= oldest.bytes.len();
        }
        Ok(joined)
    }
}

/// The distinct values, ascending, and the place of each value among them.
fn ranked(values: &[i64]) -> (Vec<i64>, Vec<u32>) {
    let lowest = values.iter().copied().min().unwrap_or(0);
    let offset = |value: &i64| value.wrapping_sub(lowest).cast_unsigned();
    let span = values.iter().map(offset).max().unwrap_or(0);
    // Numbers that lie close, as usual, need not be sorted.
    if span < 8 * values.len() as u64 {
        let mut place = vec![u32::MAX; span as usize + 1];
        values.iter().for_each(|value| place[offset(value) as usize] = 0);
        let mut distinct = Vec::new();
        for (at, place) in place.iter_mut().enumerate().filter(|(_, place)| **place == 0) {
            *place = distinct.len() as u32;
            distinct.push(lowest.wrapping_add(at as i64));
        }
        return (distinct, values.iter().map(|value| place[offset(value) as usize]).collect());
    }
    let mut distinct = values.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let place = |value: &i64| distinct.partition_point(|other| other < value) as u32;
    let places = values.iter().map(place).collect();
    (distinct, places)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::JOIN;
    use super::*;

    #[test]
    fn parts_are_kept_by_their_bytes() {
        let part = |index: u32| {
            let rows = Rows {
                time: vec![i64::from(index)],
                customer: vec![1],
                fraud: vec![true],
                ..Rows::default()
            };
            let set = FeatureSet::default();
            let bytes = encode(&rows, set, &vec![0; set.width()]);
            Part { stage: JOIN, index, hash: Hash::of(&bytes), bytes: Arc::new(bytes) }
        };
        let mut kept = Kept::new(2 * part(0).bytes.len());
        let mut held = |asked: u32| {
            kept.get(&part(asked)).unwrap();
            let held = (0..4).filter(|index| kept.parts.iter().any(|(hash, _)| *hash == part(*index).hash));
            (held.collect::<Vec<_>>(), kept.bytes / part(0).bytes.len())
        };
        assert_eq!(held(0), (vec![0], 1));
        assert_eq!(held(1), (vec![0, 1], 2));
        assert_eq!(held(0), (vec![0, 1], 2));
        assert_eq!(held(2), (vec![1, 2], 2));
        // One that is larger than all that may be kept is decoded and let go.
        let mut none = Kept::new(1);
        assert!(none.get(&part(0)).is_ok() && none.parts.is_empty() && none.bytes == 0);
        assert!(none.get(&Part { bytes: Arc::default(), ..part(0) }).is_err());
    }

    proptest! {
        #[test]
        fn each_value_has_its_place_among_the_distinct_ones(
            near in prop::collection::vec(-20..20_i64, 0..50),
            far in prop::collection::vec(any::<i64>(), 0..4),
        ) {
            for values in [near.clone(), [near, far].concat()] {
                let (distinct, places) = ranked(&values);
                prop_assert!(distinct.is_sorted_by(|a, b| a < b));
                prop_assert!(distinct.iter().all(|value| values.contains(value)));
                let found: Vec<i64> = places.iter().map(|place| distinct[*place as usize]).collect();
                prop_assert_eq!(found, values);
            }
        }
    }
}
