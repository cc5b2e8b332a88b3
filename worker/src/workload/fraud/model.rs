//! A checkpoint of the model, to the byte.
//!
//! ```text
//! "FRAUDMOD"                magic
//! u32                       version (1)
//! 32 bytes                  lineage: rolling hash over the ordered datasets it has seen
//! u64, u64                  rows and frauds it has learned from
//! u32, bytes                length and text of the learner's name ("ftrl" or "linfa")
//! f64 x 4                   alpha, beta, l1, l2
//! u32                       version of the bin edges
//! u32                       features; for each
//!   u32, bytes                length and text of its name
//!   u32, f64...               number of its bin edges, and the edges, ascending
//! u32                       columns, c: the features' bins in order, and the intercept
//! f64 x c                   weights
//! f64 x c                   z
//! f64 x c                   n
//! ```
//! All numbers are little-endian, floats IEEE 754 binary64. A row's score is the intercept's weight
//! plus, for each feature, the weight of its bin: the number of edges that are not above its value.

use crate::hash::Hash;

use super::bytes::{Reader, Writer};
use super::edges::{self, EDGES};
use super::features::NAMES;
use super::ftrl::{Ftrl, Rates};

const MAGIC: &[u8; 8] = b"FRAUDMOD";
const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Model {
    pub(super) lineage: Hash,
    pub(super) rows: u64,
    pub(super) frauds: u64,
    pub(super) learner: String,
    pub(super) ftrl: Ftrl,
}

impl Model {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(MAGIC, VERSION);
        out.bytes(&self.lineage.0);
        out.u64(self.rows);
        out.u64(self.frauds);
        out.text(&self.learner);
        let rates = self.ftrl.rates();
        out.f64s(&[rates.alpha, rates.beta, rates.l1, rates.l2]);
        out.u32(edges::VERSION);
        out.u32(self.ftrl.features() as u32);
        for (name, edges) in NAMES.iter().zip(EDGES).take(self.ftrl.features()) {
            out.text(name);
            out.u32(edges.len() as u32);
            out.f64s(edges);
        }
        out.u32(self.ftrl.columns() as u32);
        out.f64s(self.ftrl.weights());
        out.f64s(self.ftrl.z());
        out.f64s(self.ftrl.n());
        out.finish()
    }

    /// # Errors
    /// What is wrong with the bytes, for a message: also features or edges other than this program's.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut input = Reader::new(bytes, MAGIC, VERSION)?;
        let lineage = Hash(input.array()?);
        let (rows, frauds) = (input.u64()?, input.u64()?);
        let learner = input.text()?;
        let mut rate = || Ok::<_, String>(f64::from_bits(input.u64()?));
        let rates = Rates { alpha: rate()?, beta: rate()?, l1: rate()?, l2: rate()? };
        let features = Self::decode_features(&mut input)?;
        let mut ftrl = Ftrl::new(rates, features);
        let columns = input.u32()? as usize;
        if columns != ftrl.columns() {
            return Err(format!("{columns} columns instead of {}", ftrl.columns()));
        }
        let weights = input.f64s(columns)?;
        let (z, n) = (input.f64s(columns)?, input.f64s(columns)?);
        input.end()?;
        ftrl = Ftrl::with_state(rates, features, &z, &n);
        if ftrl.weights() != weights {
            return Err("its weights are not those of its z and n".to_owned());
        }
        Ok(Self { lineage, rows, frauds, learner, ftrl })
    }

    fn decode_features(input: &mut Reader<'_>) -> Result<usize, String> {
        let version = input.u32()?;
        let features = input.u32()? as usize;
        for at in 0..features {
            let name = input.text()?;
            let count = input.u32()? as usize;
            let found = input.f64s(count)?;
            if NAMES.get(at) != Some(&name.as_str()) || EDGES[at] != found {
                return Err(format!("feature {name} with edges of version {version} is not this program's"));
            }
        }
        Ok(features)
    }
}
