//! The features: what is known of a transaction when it is made, as numbers and then as bins.
//!
//! The first fifteen are the Fraud Detection Handbook's (chapter "Baseline feature transformation"). Then
//! come how likely a fraud is by what came before: at the terminal, with the customer's card, and by
//! either (see [`super::suspicion`]); then those of [`super::rich`]. A label counts from seven days after its transaction on.
//! A transaction's own label and its scenario are no features, nor is anything that is not known at
//! its time.

use super::edges::EDGES;
use super::history::{DAY_S, History, TERMINAL_WINDOWS_S, Terminal};
use super::rich;

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
    "amount_over_usual",
    "amount_z",
    "big_3d",
    "big_7d",
    "big_14d",
    "big_first_age",
    "usual_amount",
    "mean_3d_over_30d",
    "terminal_frauds_21d",
    "terminal_frauds_28d",
    "terminal_small_frauds_28d",
    "terminal_run_length",
    "terminal_run_age",
    "terminal_genuine_since_fraud",
    "terminal_genuine_age",
    "customer_frauds_7d",
    "customer_frauds_14d",
    "customer_frauds_28d",
    "customer_big_fraud_last_age",
    "customer_big_fraud_first_age",
    "over_usual_x_big_7d",
    "over_usual_x_big_14d",
    "over_usual_x_small_frauds",
    "small_frauds_x_first_age",
    "big_3d_x_big_14d",
];

pub const COUNT: usize = 43;

/// Of the amount, of the share of known frauds at the terminal in seven days, of what the filters
/// suspect, and of the first of those that learn from data, among [`NAMES`].
const AMOUNT: usize = 0;
const TERMINAL_RISK_7D: usize = 12;
const SUSPICION: usize = 17;
const FIRST_RICH: usize = 18;

/// Which features the model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FeatureSet {
    /// Those of the handbook's baseline, fifteen.
    Handbook,
    /// The amount, and what the filters suspect.
    Suspicion,
    /// Those of the baseline and 25 more that learn from data how its frauds come about.
    Rich,
    /// Those of the rich ones that helped on the weeks of June and July, and what the filters suspect:
    /// a chain each.
    #[default]
    Blend,
}

const HANDBOOK: &[usize] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];
const FILTERS: &[usize] = &[AMOUNT, 15, 16, SUSPICION];
const RICH: &[usize] = &[
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
    32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42,
];
const HELPFUL: &[usize] = &[AMOUNT, TERMINAL_RISK_7D, 18, 19, 20, 21, 22, 23, 24, 29, 30, 32, 34, 38, 40, 41];

impl FeatureSet {
    pub const ALL: [Self; 4] = [Self::Handbook, Self::Suspicion, Self::Rich, Self::Blend];

    pub fn name(self) -> &'static str {
        match self {
            Self::Handbook => "handbook",
            Self::Suspicion => "suspicion",
            Self::Rich => "rich",
            Self::Blend => "blend",
        }
    }

    /// The features of each chain, as their places among [`NAMES`].
    pub fn chains(self) -> &'static [&'static [usize]] {
        match self {
            Self::Handbook => &[HANDBOOK],
            Self::Suspicion => &[FILTERS],
            Self::Rich => &[RICH],
            Self::Blend => &[HELPFUL, FILTERS],
        }
    }

    /// All chains' features, one after another: what a row's bytes are the bins of.
    pub fn features(self) -> impl Iterator<Item = usize> {
        self.chains().iter().flat_map(|chain| chain.iter().copied())
    }

    /// Bytes to a row.
    pub fn width(self) -> usize {
        self.chains().iter().map(|chain| chain.len()).sum()
    }
}

/// Whether each bin of a feature has a weight of its own, or the feature one weight that is multiplied
/// by the bin's level: so that what is monotone stays so where there are few frauds to learn from.
pub fn is_level(feature: usize) -> bool {
    feature == SUSPICION
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
    match set {
        FeatureSet::Handbook => handbook(history, now, values),
        FeatureSet::Suspicion => filters(history, now, values),
        FeatureSet::Rich => {
            handbook(history, now, values);
            values.extend(rich::values(history, now));
        }
        FeatureSet::Blend => {
            let rich = rich::values(history, now);
            let [amount, risk, others @ ..] = HELPFUL else { return };
            debug_assert_eq!([*amount, *risk], [AMOUNT, TERMINAL_RISK_7D]);
            values.extend([amount_of(now), terminal_window(&mut history.terminals[now.terminal], 2, now).1]);
            values.extend(others.iter().map(|feature| rich[feature - FIRST_RICH]));
            filters(history, now, values);
        }
    }
}

fn amount_of(now: Now) -> f64 {
    now.cents as f64 / 100.0
}

fn filters(history: &mut History, now: Now, values: &mut Vec<f64>) {
    let (terminal, card) = history.suspicion(now.customer, now.terminal, now.time);
    values.push(amount_of(now));
    values.extend([terminal.log_odds(), card.log_odds(), terminal.or(card).log_odds()]);
}

fn handbook(history: &mut History, now: Now, values: &mut Vec<f64>) {
    let weekday_from_monday = (now.time.div_euclid(DAY_S) + 3).rem_euclid(7);
    let hour = now.time.rem_euclid(DAY_S) / 3600;
    values.extend([amount_of(now), f64::from(weekday_from_monday >= 5), f64::from(hour <= 6)]);
    let customer = &mut history.customers[now.customer];
    for window in 0..3 {
        let sums = customer.window(window, now.time);
        values.extend([sums.count as f64, sums.cents as f64 / 100.0 / sums.count as f64]);
    }
    for window in 1..4 {
        let (count, risk) = terminal_window(&mut history.terminals[now.terminal], window, now);
        values.extend([count, risk]);
    }
}

/// Number of known visits of the terminal in a window before the labels' delay, and the share of
/// frauds among them.
fn terminal_window(terminal: &mut Terminal, window: usize, now: Now) -> (f64, f64) {
    let count = (terminal.before(0, now.time) - terminal.before(window, now.time)) as f64;
    let frauds = terminal.frauds(TERMINAL_WINDOWS_S[window], now.time).len() as f64;
    (count, if count > 0.0 { frauds / count } else { 0.0 })
}
