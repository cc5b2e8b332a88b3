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

/// Room for all bins of a chain's features and the intercept: a power of two, so that a masked index is
/// in bounds.
const WIDTH: usize = 1024;
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
        Self { alpha: 0.15, beta: 0.0, l1: 0.5, l2: 0.5 }
    }
}

/// A feature with one weight, which its bins' levels multiply.
#[derive(Debug, Clone, PartialEq)]
struct Slope {
    /// Where its bins begin among the cells.
    cell: usize,
    levels: Vec<f64>,
}

/// State of a chain of the learner. A row is a cell for each feature, and cells have scores. A column is what has
/// a weight: each bin of most features, a feature with levels as a whole, and at last the intercept.
#[derive(Debug, Clone, PartialEq)]
pub struct Ftrl {
    rates: Rates,
    features: &'static [usize],
    /// Where each feature's bins begin among the cells.
    offsets: Vec<u16>,
    /// Cells whose score is their column's weight; those of slopes come after them.
    plain: usize,
    slopes: Vec<Slope>,
    z: Vec<f64>,
    n: Vec<f64>,
    weights: Vec<f64>,
    /// What each cell adds to a row's score; the intercept's comes last.
    scores: Box<[f64; WIDTH]>,
}

/// The cell of the intercept.
const INTERCEPT: usize = WIDTH - 1;

impl Ftrl {
    pub fn new(rates: Rates, features: &'static [usize]) -> Self {
        let (mut offsets, mut slopes, mut cells) = (Vec::new(), Vec::new(), 0);
        let mut plain = 0;
        for feature in features {
            offsets.push(cells as u16);
            let bins = features::bins(*feature);
            if features::is_level(*feature) {
                let levels = (0..bins).map(|bin| features::level(*feature, bin)).collect();
                slopes.push(Slope { cell: cells, levels });
            } else {
                assert!(slopes.is_empty(), "features with levels come last");
                plain += bins;
            }
            cells += bins;
        }
        assert!(cells < INTERCEPT, "{cells} bins and the intercept exceed the table's {WIDTH}");
        let zeros = vec![0.0; plain + slopes.len() + 1];
        let scores = Box::new([0.0; WIDTH]);
        Self {
            rates,
            features,
            offsets,
            plain,
            slopes,
            z: zeros.clone(),
            n: zeros.clone(),
            weights: zeros,
            scores,
        }
    }

    /// From stored `z` and `n`, of [`Self::columns`] each.
    pub fn with_state(rates: Rates, features: &'static [usize], z: &[f64], n: &[f64]) -> Self {
        let mut ftrl = Self::new(rates, features);
        ftrl.z.copy_from_slice(z);
        ftrl.n.copy_from_slice(n);
        for ((weight, z), n) in ftrl.weights.iter_mut().zip(z).zip(n) {
            *weight = weight_of(rates, *z, n.sqrt());
        }
        ftrl.score_cells();
        ftrl
    }

    pub fn columns(&self) -> usize {
        self.weights.len()
    }

    /// The places of its features among all.
    pub fn features(&self) -> &'static [usize] {
        self.features
    }

    pub fn rates(&self) -> Rates {
        self.rates
    }

    pub fn z(&self) -> &[f64] {
        &self.z
    }

    pub fn n(&self) -> &[f64] {
        &self.n
    }

    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The columns of a row (its bins of this chain's features) with its values there, without the intercept's: 1, or the bin's level.
    pub fn columns_of<'a>(&'a self, row: &'a [u8]) -> impl Iterator<Item = (usize, f64)> + 'a {
        self.offsets.iter().zip(row).map(|(offset, bin)| {
            let (cell, bin) = (*offset as usize, *bin as usize);
            match self.slopes.iter().position(|slope| slope.cell == cell) {
                Some(slope) => (self.plain + slope, self.slopes[slope].levels[bin]),
                None => (cell + bin, 1.0),
            }
        })
    }

    /// Log-odds of fraud of a row. Four sums, so that they run side by side, added in one order.
    pub fn score(&self, row: &[u8]) -> f64 {
        let (offsets, rest_offsets) = self.offsets.as_chunks::<4>();
        let (bins, rest_bins) = row.as_chunks::<4>();
        let mut sums = [self.scores[INTERCEPT], 0.0, 0.0, 0.0];
        for (offsets, bins) in offsets.iter().zip(bins) {
            for (sum, (offset, bin)) in sums.iter_mut().zip(offsets.iter().zip(bins)) {
                *sum += self.scores[(*offset as usize + *bin as usize) & MASK];
            }
        }
        for (sum, (offset, bin)) in sums.iter_mut().zip(rest_offsets.iter().zip(rest_bins)) {
            *sum += self.scores[(*offset as usize + *bin as usize) & MASK];
        }
        (sums[0] + sums[1]) + (sums[2] + sums[3])
    }

    /// One step for each [`BATCH`] of rows, the last one shorter. A row is `width` bytes, of which this
    /// chain's begin at `at`.
    pub fn learn(&mut self, bins: &[u8], width: usize, at: usize, fraud: &[bool]) {
        let mut gradient = Box::new([0.0; WIDTH]);
        let own = at..at + self.features.len();
        for (bins, fraud) in bins.chunks(BATCH * width).zip(fraud.chunks(BATCH)) {
            for (row, fraud) in bins.chunks_exact(width).zip(fraud) {
                let row = &row[own.clone()];
                let error = probability(self.score(row)) - f64::from(*fraud);
                for (offset, bin) in self.offsets.iter().zip(row) {
                    gradient[(*offset as usize + *bin as usize) & MASK] += error;
                }
                gradient[INTERCEPT] += error;
            }
            self.step(&mut gradient);
        }
    }

    /// Takes the gradient by cells, which is then zero again.
    fn step(&mut self, gradient: &mut [f64; WIDTH]) {
        for (column, g) in gradient[..self.plain].iter().enumerate() {
            self.move_column(column, *g);
        }
        for slope in 0..self.slopes.len() {
            let Slope { cell, levels } = &self.slopes[slope];
            let g = gradient[*cell..].iter().zip(levels).map(|(g, level)| g * level).sum();
            self.move_column(self.plain + slope, g);
        }
        self.move_column(self.columns() - 1, gradient[INTERCEPT]);
        self.score_cells();
        gradient.fill(0.0);
    }

    fn move_column(&mut self, column: usize, g: f64) {
        // Most bins are in no row of a step, which then leaves them as they are.
        if g == 0.0 {
            return;
        }
        let rates = self.rates;
        let (z, n, weight) = (&mut self.z[column], &mut self.n[column], &mut self.weights[column]);
        let before = n.sqrt();
        *n += g * g;
        let after = n.sqrt();
        *z += g - (after - before) / rates.alpha * *weight;
        *weight = weight_of(rates, *z, after);
    }

    /// What each cell adds, from the weights.
    fn score_cells(&mut self) {
        self.scores[..self.plain].copy_from_slice(&self.weights[..self.plain]);
        for (slope, weight) in self.slopes.iter().zip(&self.weights[self.plain..]) {
            for (score, level) in self.scores[slope.cell..].iter_mut().zip(&slope.levels) {
                *score = weight * level;
            }
        }
        self.scores[INTERCEPT] = self.weights[self.columns() - 1];
    }
}

/// The weight that minimises the regularised loss, from `z` and the root of `n`.
fn weight_of(rates: Rates, z: f64, n_root: f64) -> f64 {
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
