//! The learner: follow the regularised leader, proximal (McMahan et al., "Ad click prediction: a view
//! from the trenches", 2013), for rows that are one bin per feature.
//!
//! A step is the summed gradient of up to [`BATCH`] rows, as linfa-ftrl takes it for a slice of rows,
//! and gives its results to about 1e-12; linfa is the oracle of the tests. It differs in what a row
//! costs (a sum over bins instead of a dense product) and in being the same on every CPU: `exp` is
//! libm's, and every sum has one order.

use super::features;

/// Rows to a step.
pub const BATCH: usize = 64;

/// Room for all bins of all features and the intercept: a power of two, so that a masked index is
/// in bounds.
const WIDTH: usize = 2048;
const MASK: usize = WIDTH - 1;

/// What decides the learner's result beside its rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Learning rate.
    pub alpha: f64,
    /// Smoothing of the learning rate.
    pub beta: f64,
    pub l1: f64,
    pub l2: f64,
}

impl Default for Rates {
    fn default() -> Self {
        Self { alpha: 0.2, beta: 0.0, l1: 0.5, l2: 0.5 }
    }
}

/// State of the learner over the bins of the first `features` features; the intercept comes last.
#[derive(Debug, Clone, PartialEq)]
pub struct Ftrl {
    rates: Rates,
    /// Where each feature's bins begin.
    offsets: Vec<u16>,
    columns: usize,
    z: Box<[f64; WIDTH]>,
    n: Box<[f64; WIDTH]>,
    weights: Box<[f64; WIDTH]>,
}

impl Ftrl {
    pub fn new(rates: Rates, features: usize) -> Self {
        let mut offsets = Vec::with_capacity(features);
        let mut columns = 0;
        for bins in features::bins().into_iter().take(features) {
            offsets.push(columns as u16);
            columns += bins;
        }
        assert!(columns < WIDTH, "{columns} bins and the intercept exceed the table's {WIDTH}");
        let zeros = || Box::new([0.0; WIDTH]);
        Self { rates, offsets, columns: columns + 1, z: zeros(), n: zeros(), weights: zeros() }
    }

    /// From stored `z` and `n`, of [`Self::columns`] each.
    pub fn with_state(rates: Rates, features: usize, z: &[f64], n: &[f64]) -> Self {
        let mut ftrl = Self::new(rates, features);
        ftrl.z[..ftrl.columns].copy_from_slice(z);
        ftrl.n[..ftrl.columns].copy_from_slice(n);
        for column in 0..ftrl.columns {
            ftrl.weights[column] = weight(rates, ftrl.z[column], ftrl.n[column].sqrt());
        }
        ftrl
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    pub fn features(&self) -> usize {
        self.offsets.len()
    }

    pub fn rates(&self) -> Rates {
        self.rates
    }

    pub fn z(&self) -> &[f64] {
        &self.z[..self.columns]
    }

    pub fn n(&self) -> &[f64] {
        &self.n[..self.columns]
    }

    pub fn weights(&self) -> &[f64] {
        &self.weights[..self.columns]
    }

    /// The columns of a row: one a feature, without the intercept's.
    pub fn columns_of<'a>(&'a self, row: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        self.offsets.iter().zip(row).map(|(offset, bin)| *offset as usize + *bin as usize)
    }

    /// Log-odds of fraud of a row. Four sums, so that they run side by side, added in one order.
    pub fn score(&self, row: &[u8]) -> f64 {
        let (offsets, rest_offsets) = self.offsets.as_chunks::<4>();
        let (bins, rest_bins) = row.as_chunks::<4>();
        let mut sums = [self.weights[(self.columns - 1) & MASK], 0.0, 0.0, 0.0];
        for (offsets, bins) in offsets.iter().zip(bins) {
            for (sum, (offset, bin)) in sums.iter_mut().zip(offsets.iter().zip(bins)) {
                *sum += self.weights[(*offset as usize + *bin as usize) & MASK];
            }
        }
        for (sum, (offset, bin)) in sums.iter_mut().zip(rest_offsets.iter().zip(rest_bins)) {
            *sum += self.weights[(*offset as usize + *bin as usize) & MASK];
        }
        (sums[0] + sums[1]) + (sums[2] + sums[3])
    }

    /// One step for each [`BATCH`] of rows, the last one shorter.
    pub fn learn(&mut self, bins: &[u8], fraud: &[bool]) {
        let mut gradient = Box::new([0.0; WIDTH]);
        for (bins, fraud) in bins.chunks(BATCH * self.features()).zip(fraud.chunks(BATCH)) {
            for (row, fraud) in bins.chunks_exact(self.features()).zip(fraud) {
                let error = probability(self.score(row)) - f64::from(*fraud);
                for (offset, bin) in self.offsets.iter().zip(row) {
                    gradient[(*offset as usize + *bin as usize) & MASK] += error;
                }
                gradient[(self.columns - 1) & MASK] += error;
            }
            self.step(&mut gradient);
        }
    }

    /// Takes the gradient, which is then zero again.
    fn step(&mut self, gradient: &mut [f64; WIDTH]) {
        let rates = self.rates;
        let columns = self.columns;
        let state = self.z[..columns].iter_mut().zip(&mut self.n[..columns]).zip(&mut self.weights[..columns]);
        for (((z, n), w), g) in state.zip(&mut gradient[..columns]) {
            let before = n.sqrt();
            *n += *g * *g;
            let after = n.sqrt();
            *z += *g - (after - before) / rates.alpha * *w;
            *w = weight(rates, *z, after);
            *g = 0.0;
        }
    }
}

/// The weight that minimises the regularised loss, from `z` and the root of `n`.
fn weight(rates: Rates, z: f64, n_root: f64) -> f64 {
    let weight = (rates.l1.copysign(z) - z) / ((n_root + rates.beta) / rates.alpha + rates.l2);
    if z.abs() <= rates.l1 { 0.0 } else { weight }
}

/// Probability of log-odds. Rounded to f32 as linfa-ftrl's is, so that the two can be compared.
pub fn probability(score: f64) -> f64 {
    let score = score.clamp(-35.0, 35.0);
    let probability = if score < 0.0 {
        let odds = libm::exp(score);
        odds / (odds + 1.0)
    } else {
        1.0 / (1.0 + libm::exp(-score))
    };
    f64::from(probability as f32)
}
