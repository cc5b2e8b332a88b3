//! The features: what is known of a transaction when it is made, as numbers and then as bins.
//!
//! The first fifteen are the Fraud Detection Handbook's (chapter "Baseline feature transformation").
//! The others are how likely a fraud is by what came before: at the terminal, with the customer's card,
//! and by either (see [`super::suspicion`]). A label counts from seven days after its transaction on.
//! A transaction's own label and its scenario are no features, nor is anything that is not known at
//! its time.

use super::edges::EDGES;
use super::history::{DAY_S, DELAY_S, History};

/// Names in the order of the values.
pub const NAMES: [&str; COUNT] = [
    "amount",
    "during_weekend",
    "during_night",
    "customer_count_1d",
    "customer_mean_1d",
    "customer_count_7d",
    "customer_mean_7d",
    "customer_count_30d",
    "customer_mean_30d",
    "terminal_count_1d",
    "terminal_risk_1d",
    "terminal_count_7d",
    "terminal_risk_7d",
    "terminal_count_30d",
    "terminal_risk_30d",
    "terminal_compromised",
    "card_misused",
    "suspicion",
];

pub const COUNT: usize = 18;

/// Which features the model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FeatureSet {
    /// Those of the handbook's baseline, fifteen.
    Handbook,
    /// The amount, and what the filters suspect.
    #[default]
    Suspicion,
}

impl FeatureSet {
    pub const ALL: [Self; 2] = [Self::Handbook, Self::Suspicion];

    pub fn name(self) -> &'static str {
        match self {
            Self::Handbook => "handbook",
            Self::Suspicion => "suspicion",
        }
    }

    /// The places of its features among [`NAMES`].
    pub fn features(self) -> &'static [usize] {
        match self {
            Self::Handbook => &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14],
            Self::Suspicion => &[0, 15, 16, 17],
        }
    }
}

/// Whether each bin of a feature has a weight of its own, or the feature one weight that is multiplied
/// by the bin's level: so that what is monotone stays so where there are few frauds to learn from.
pub fn is_level(feature: usize) -> bool {
    feature == COUNT - 1
}

/// The level of a bin: the middle between its edges, at the ends the edge itself.
pub fn level(feature: usize, bin: usize) -> f64 {
    let edges = EDGES[feature];
    let (from, to) = (edges[bin.saturating_sub(1)], edges[bin.min(edges.len() - 1)]);
    (from + to) / 2.0
}

/// Number of bins of a feature.
pub fn bins(feature: usize) -> usize {
    EDGES[feature].len() + 1
}

/// The bin of a value: how many edges are not above it.
pub fn bin(feature: usize, value: f64) -> u8 {
    let edges = EDGES[feature];
    if edges.len() > 32 {
        return edges.partition_point(|edge| *edge <= value) as u8;
    }
    // Counting a few is faster than searching: nothing to predict.
    edges.iter().map(|edge| u8::from(*edge <= value)).sum()
}

/// The row that was pushed last.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub customer: usize,
    pub terminal: usize,
    pub time: i64,
    pub cents: i64,
}

/// Adds a set's values for the row that was pushed last.
pub fn values(history: &mut History, now: Now, set: FeatureSet, values: &mut Vec<f64>) {
    values.push(now.cents as f64 / 100.0);
    match set {
        FeatureSet::Handbook => handbook(history, now, values),
        FeatureSet::Suspicion => {
            let (terminal, card) = history.suspicion(now.customer, now.terminal, now.time);
            values.extend([terminal.log_odds(), card.log_odds(), terminal.or(card).log_odds()]);
        }
    }
}

fn handbook(history: &mut History, now: Now, values: &mut Vec<f64>) {
    let weekday_from_monday = (now.time.div_euclid(DAY_S) + 3).rem_euclid(7);
    let hour = now.time.rem_euclid(DAY_S) / 3600;
    values.extend([f64::from(weekday_from_monday >= 5), f64::from(hour <= 6)]);
    let customer = &mut history.customers[now.customer];
    for window in 0..3 {
        let (count, cents) = customer.window(window, now.time);
        values.extend([count as f64, cents as f64 / 100.0 / count as f64]);
    }
    let terminal = &mut history.terminals[now.terminal];
    let known = terminal.before(0, now.time);
    let frauds = terminal.frauds.partition_point(|fraud| fraud.time <= now.time - DELAY_S);
    for (window, days) in [(1, 1), (2, 7), (3, 30)] {
        let count = (known - terminal.before(window, now.time)) as f64;
        let after = now.time - DELAY_S - days * DAY_S;
        let frauds = terminal.frauds[..frauds].iter().rev().take_while(|fraud| fraud.time > after).count();
        let risk = if count > 0.0 { frauds as f64 / count } else { 0.0 };
        values.extend([count, risk]);
    }
}
