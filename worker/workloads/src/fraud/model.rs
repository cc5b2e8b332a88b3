//! A checkpoint of the model, to the byte.
//!
//! ```text
//! "FRAUDMOD"                magic
//! u32                       version (3)
//! 32 bytes                  lineage: rolling hash over the ordered datasets it has seen
//! u64, u64                  rows and frauds it has learned from
//! u32, bytes                length and text of the learner's name ("ftrl" or "linfa")
//! f64 x 4                   alpha, beta, l1, l2
//! u32, bytes                length and text of the feature set's name
//! u32                       version of the bin edges
//! u32                       chains; for each
//!   u32                       features; for each
//!     u32, bytes                length and text of its name
//!     u8                        0: each bin has a weight; 1: one weight, times the bin's level
//!     u32, f64...               number of its bin edges, and the edges, ascending
//!   u32                       columns, c: the weights of the features in order, then the intercept's
//!   f64 x c                   weights
//!   f64 x c                   z
//!   f64 x c                   n
//! ```
//! All numbers are little-endian, floats IEEE 754 binary64. A value's bin is the number of edges that
//! are not above it; a bin's level is the middle between its two edges, of the first and the last bin
//! their only edge. A chain's score of a row is the intercept's weight plus, for each feature, the weight of its
//! bin, or its one weight times its bin's level; the row's, the log-odds of fraud, is the chains' mean.

use engine::hash::Hash;

use super::bytes::{Reader, Writer};
use super::chains::Chains;
use super::edges::{self, EDGES};
use super::feature_set::NAMES;
use super::features;
use super::ftrl::{Ftrl, Rates};

const MAGIC: &[u8; 8] = b"FRAUDMOD";
const VERSION: u32 = 3;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Model {
    pub(super) lineage: Hash,
    pub(super) rows: u64,
    pub(super) frauds: u64,
    pub(super) learner: String,
    pub(super) chains: Chains,
}

impl Model {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(MAGIC, VERSION);
        out.bytes(&self.lineage.0);
        out.u64(self.rows);
        out.u64(self.frauds);
        out.text(&self.learner);
        let rates = self.chains.rates();
        out.f64s(&[rates.alpha, rates.beta, rates.l1, rates.l2]);
        out.text(self.chains.set().name());
        out.u32(edges::VERSION);
        out.u32(self.chains.chains().len() as u32);
        for chain in self.chains.chains() {
            out.u32(chain.features().len() as u32);
            for feature in chain.features() {
                out.text(NAMES[*feature]);
                out.u8(u8::from(features::is_level(*feature)));
                out.u32(EDGES[*feature].len() as u32);
                out.f64s(EDGES[*feature]);
            }
            out.u32(chain.columns() as u32);
            out.f64s(chain.weights());
            out.f64s(chain.z());
            out.f64s(chain.n());
        }
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
        let set = input.set()?;
        let (version, count) = (input.u32()?, input.u32()? as usize);
        if count != set.chains().len() {
            return Err(format!("{count} chains of the set {}, which has others here", set.name()));
        }
        let mut chains = Vec::new();
        for features in set.chains() {
            decode_features(&mut input, features, version)?;
            chains.push(decode_chain(&mut input, rates, features)?);
        }
        input.end()?;
        Ok(Self { lineage, rows, frauds, learner, chains: Chains::with_chains(rates, set, chains) })
    }
}

/// A chain's features must be this program's.
fn decode_features(input: &mut Reader<'_>, features: &[usize], version: u32) -> Result<(), String> {
    let count = input.u32()? as usize;
    if count != features.len() {
        return Err(format!("a chain of {count} features, which has {} here", features.len()));
    }
    for feature in features {
        let (name, is_level) = (input.text()?, input.u8()?);
        let count = input.u32()? as usize;
        let edges = input.f64s(count)?;
        let known = (NAMES[*feature], u8::from(features::is_level(*feature)), EDGES[*feature]);
        if (name.as_str(), is_level, &edges[..]) != known {
            return Err(format!("feature {name} with edges of version {version} is not this program's"));
        }
    }
    Ok(())
}

fn decode_chain(input: &mut Reader<'_>, rates: Rates, features: &'static [usize]) -> Result<Ftrl, String> {
    let (known, columns) = (Ftrl::new(rates, features).columns(), input.u32()? as usize);
    if columns != known {
        return Err(format!("{columns} columns instead of {known}"));
    }
    let weights = input.f64s(columns)?;
    let (z, n) = (input.f64s(columns)?, input.f64s(columns)?);
    let ftrl = Ftrl::with_state(rates, features, &z, &n);
    if ftrl.weights() != weights {
        return Err("its weights are not those of its z and n".to_owned());
    }
    Ok(ftrl)
}
