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

use std::sync::Arc;

use super::bytes::{Reader, Writer};
use super::edges;
use super::features::{self, FeatureSet};
use super::history::DAY_S;
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
        let mut cards = customer.clone();
        cards.sort_unstable();
        cards.dedup();
        let place = |customer: &i64| cards.partition_point(|card| card < customer) as u32;
        let card = customer.iter().map(place).collect();
        let day = time.iter().map(|time| time.div_euclid(DAY_S)).collect();
        Ok(Self { bytes, bins_at, set, labels: Labels { fraud, scenario, cards, card, day } })
    }
}
