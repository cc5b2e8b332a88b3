//! The learner of a model: a chain of [`Ftrl`] for each group of its set's features. A row's score is the
//! mean of what the chains say: each learns alone what its features tell, and the mean is calmer than
//! either where they are wrong in different ways.

use super::feature_set::FeatureSet;
use super::ftrl::{Ftrl, Rates};

#[derive(Debug, Clone, PartialEq)]
pub struct Chains {
    rates: Rates,
    set: FeatureSet,
    chains: Vec<Ftrl>,
}

impl Chains {
    pub fn new(rates: Rates, set: FeatureSet) -> Self {
        let chains = set.chains().iter().map(|features| Ftrl::new(rates, features)).collect();
        Self { rates, set, chains }
    }

    /// Of chains as they were stored; they must be the set's.
    pub(super) fn with_chains(rates: Rates, set: FeatureSet, chains: Vec<Ftrl>) -> Self {
        Self { rates, set, chains }
    }

    pub fn rates(&self) -> Rates {
        self.rates
    }

    pub fn set(&self) -> FeatureSet {
        self.set
    }

    /// One for each of the set's groups, in their order.
    pub fn chains(&self) -> &[Ftrl] {
        &self.chains
    }

    /// Log-odds of fraud of a row.
    pub fn score(&self, row: &[u8]) -> f64 {
        let (mut sum, mut rest) = (0.0, row);
        for chain in &self.chains {
            let own;
            (own, rest) = rest.split_at(chain.features().len());
            sum += chain.score(own);
        }
        sum / self.chains.len() as f64
    }

    /// Learns from rows, in their order.
    pub fn learn(&mut self, bins: &[u8], fraud: &[bool]) {
        let width = self.set.width();
        let mut at = 0;
        for chain in &mut self.chains {
            chain.learn(bins, width, at, fraud);
            at += chain.features().len();
        }
    }
}
