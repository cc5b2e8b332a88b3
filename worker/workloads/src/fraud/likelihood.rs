//! How much likelier an amount is, for a customer, while somebody else spends with the customer's card.
//!
//! The handbook describes its customers: amounts are normal with a deviation of half the mean, amounts
//! below zero are redrawn between zero and twice the mean; while a card is misused, amounts are five
//! times as large. The mean is not known: the median of some purchases is, and the ratio is that of the
//! two densities, each integrated over what the mean may then be. Only the amount over the median and the
//! number of purchases matter, so the ratios are a table, made once with libm: the same on every CPU.

/// How many times as large amounts are while a card is misused.
const TIMES: f64 = 5.0;

/// Deviation of a customer's amounts, as a share of their mean.
const DEVIATION: f64 = 0.5;

/// Share of normal amounts that are below zero and redrawn.
const BELOW_ZERO: f64 = 0.0228;

/// A median of n purchases lies off the mean by the root of this over n, as a share of the mean.
const MEDIAN_VARIANCE: f64 = 0.4;

/// What both densities have of anything at all: no amount proves anything by itself.
const ANYTHING: f64 = 1e-4;

/// Means looked at: `exp` of these many steps to either side of the median.
const MEANS_EACH_SIDE: i32 = 20;
const MEAN_STEP: f64 = 0.125;

/// Cells to one median, and cells in all: amounts of more than 24 medians are like those of 24.
const CELLS_A_MEDIAN: i64 = 16;
const CELLS: usize = 24 * CELLS_A_MEDIAN as usize;

/// Numbers of purchases that a table is made for; other numbers take the next smaller one's.
const COUNTS: [u32; 12] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];

/// What a customer's amounts were like: from the purchases of 30 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usual {
    /// Their median, at least one.
    pub(super) cents: i64,
    /// How many they are, at least one.
    pub(super) count: u32,
}

/// The ratios by number of purchases and amount over median.
#[derive(Debug)]
pub(super) struct Likelihood {
    /// For each of [`COUNTS`], its [`CELLS`].
    ratios: Vec<f64>,
}

impl Default for Likelihood {
    fn default() -> Self {
        Self { ratios: COUNTS.map(|count| ratios(f64::from(count))).concat() }
    }
}

impl Likelihood {
    /// Density of an amount of a misused card over that of the customer's own; 1 where nothing is known
    /// of the customer.
    pub(super) fn ratio(&self, cents: i64, usual: Option<Usual>) -> f64 {
        self.at(Cell::of(cents, usual))
    }

    pub(super) fn at(&self, cell: Cell) -> f64 {
        self.ratios.get(cell.0 as usize).copied().unwrap_or(1.0)
    }
}

/// Where in the table an amount's ratio is, in two bytes: [`Cell::BITS`] bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell(pub(super) u16);

impl Cell {
    pub(super) const BITS: u32 = 13;

    /// Where the ratio is 1.
    const NOTHING: Self = Self((1 << Self::BITS) - 1);

    pub(super) fn of(cents: i64, usual: Option<Usual>) -> Self {
        let Some(Usual { cents: median, count }) = usual else { return Self::NOTHING };
        let cell = cents.max(0).saturating_mul(CELLS_A_MEDIAN) / median.max(1);
        let row = COUNTS.iter().filter(|known| **known <= count).count().saturating_sub(1);
        Self((row * CELLS) as u16 + cell.min(CELLS as i64 - 1) as u16)
    }
}

fn ratios(count: f64) -> [f64; CELLS] {
    let deviation = (MEDIAN_VARIANCE / count).sqrt();
    // Each mean (in medians) with how likely it is, given the median; equal steps of its logarithm.
    let means: Vec<(f64, f64)> = (-MEANS_EACH_SIDE..=MEANS_EACH_SIDE)
        .map(|step| libm::exp(f64::from(step) * MEAN_STEP))
        .map(|mean| (mean, normal((1.0 - mean) / (deviation * mean)) / mean))
        .collect();
    let mut ratios = [0.0; CELLS];
    for (cell, ratio) in ratios.iter_mut().enumerate() {
        let amount = (cell as f64 + 0.5) / CELLS_A_MEDIAN as f64;
        let (mut own, mut misused) = (0.0, 0.0);
        for (mean, weight) in &means {
            own += weight * density(amount / mean) / mean;
            misused += weight * density(amount / mean / TIMES) / mean / TIMES;
        }
        let anything = ANYTHING / (1.0 + amount * amount);
        *ratio = (misused + anything) / (own + anything);
    }
    ratios
}

/// Density of an amount, as a share of the mean.
fn density(amount: f64) -> f64 {
    let redrawn = if amount < 2.0 { BELOW_ZERO / 2.0 } else { 0.0 };
    normal((amount - 1.0) / DEVIATION) / DEVIATION + redrawn
}

/// The standard normal density.
fn normal(deviations: f64) -> f64 {
    const ROOT_2_PI: f64 = 2.506_628_274_631_000_5;
    libm::exp(-0.5 * deviations * deviations) / ROOT_2_PI
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(cents: i64, count: u32) -> f64 {
        Likelihood::default().ratio(cents, Some(Usual { cents: 1000, count }))
    }

    #[test]
    fn an_amount_of_the_usual_size_speaks_for_the_customer_and_a_large_one_against() {
        // Above 0.05, as was seen: 1.6 deviations below five times the mean are not that rare.
        assert!(ratio(1000, 30) < 0.1);
        assert!(ratio(5000, 30) > 1000.0);
        assert_eq!(Likelihood::default().ratio(5000, None), 1.0);
    }

    #[test]
    fn few_purchases_say_less_than_many() {
        assert!(ratio(5000, 1) < ratio(5000, 4) && ratio(5000, 4) < ratio(5000, 40));
        assert!(ratio(1000, 1) > ratio(1000, 40));
    }

    #[test]
    fn every_amount_has_a_ratio_that_is_a_number() {
        for count in [0, 1, 5, u32::MAX] {
            for cents in [0, 1, 999, 1 << 40, i64::MAX] {
                let found = ratio(cents, count);
                assert!(found.is_finite() && found > 0.0, "{cents} {count}: {found}");
            }
        }
    }
}
