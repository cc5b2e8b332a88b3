//! The names of the features, and which of them each model has.

use std::ops::Range;

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

/// Of the amount, of the share of known frauds at the terminal in seven days, and of what the filters
/// suspect, among [`NAMES`].
pub(super) const AMOUNT: usize = 0;
pub(super) const TERMINAL_RISK_7D: usize = 12;
pub(super) const COMPROMISED: usize = 15;
pub(super) const MISUSED: usize = 16;
pub(super) const SUSPICION: usize = 17;

/// Those of the handbook that only the terminal knows.
pub(super) const HANDBOOKS_TERMINAL: Range<usize> = 9..15;

/// Features that learn from data: of the customer and of the terminal, by groups (see `rich.rs`).
pub(super) const SPENDING: Range<usize> = 18..26;
pub(super) const VISITS: Range<usize> = 26..33;
pub(super) const CARD: Range<usize> = 33..38;
pub(super) const BY_BIG_7D: usize = 38;
pub(super) const BY_BIG_14D: usize = 39;
pub(super) const BY_SMALL: usize = 40;
pub(super) const SMALL_BY_AGE: usize = 41;
pub(super) const BIG_BY_BIG: usize = 42;

/// Whether a feature depends on a row's customer alone. The others depend on its terminal too.
fn is_customers(feature: usize) -> bool {
    let by_terminal = [COMPROMISED, SUSPICION, BY_SMALL, SMALL_BY_AGE];
    !HANDBOOKS_TERMINAL.contains(&feature) && !VISITS.contains(&feature) && !by_terminal.contains(&feature)
}

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
const FILTERS: &[usize] = &[AMOUNT, COMPROMISED, MISUSED, SUSPICION];
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

    /// The features that depend on a row's customer alone, each with its place in the set; or the others.
    pub(super) fn places(self, of_customers: bool) -> Vec<(usize, usize)> {
        self.features().enumerate().filter(|(_, feature)| is_customers(*feature) == of_customers).collect()
    }

    /// Whether what was usual for customers is looked at in the turn of their terminals.
    pub(super) fn asks_usual(self) -> bool {
        self.has_rich() || self.has_filters()
    }

    pub(super) fn has_handbook(self) -> bool {
        matches!(self, Self::Handbook | Self::Rich)
    }

    pub(super) fn has_rich(self) -> bool {
        matches!(self, Self::Rich | Self::Blend)
    }

    pub(super) fn has_filters(self) -> bool {
        matches!(self, Self::Suspicion | Self::Blend)
    }
}
