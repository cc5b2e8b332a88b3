//! The features: what is known of a transaction when it is made, as numbers and then as bins.
//!
//! The first fifteen are the Fraud Detection Handbook's (chapter "Baseline feature transformation"). Then
//! come how likely a fraud is by what came before: at the terminal, with the customer's card, and by
//! either (see `suspicion.rs`); then those of `rich.rs`. A label counts from seven days after
//! its transaction on. A transaction's own label and its scenario are no features, nor is anything that is
//! not known at its time.

use std::ops::Range;

use super::customer::Customer;
use super::customers::Customers;
use super::edges::EDGES;
use super::feature_set::{
    AMOUNT, BIG_BY_BIG, BY_BIG_7D, BY_BIG_14D, BY_SMALL, CARD, COMPROMISED, COUNT, FeatureSet,
    HANDBOOKS_TERMINAL, MISUSED, SMALL_BY_AGE, SPENDING, SUSPICION, TERMINAL_RISK_7D, VISITS,
};
use super::history::History;
use super::likelihood::Likelihood;
use super::purchase::DAY_S;
use super::rich::{self, OfCustomer, OfTerminal};
use super::rows::Rows;
use super::stretch::Now;
use super::suspicion::{self, Chance};
use super::terminal::{TERMINAL_WINDOWS_S, Terminal};
use super::terminals::{Known, Terminals};

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
    match edges {
        [first, .., last] if edges.len() > 32 => {
            // Those with many edges have them at equal distances: but for rounding, the guess is right.
            let most = edges.len() - 1;
            let guess = (value - first) * (most as f64 / (last - first)) + 1.0;
            let mut bin = (guess as usize).min(most);
            while edges.get(bin).is_some_and(|edge| *edge <= value) {
                bin += 1;
            }
            while bin > 0 && edges[bin - 1] > value {
                bin -= 1;
            }
            bin as u8
        }
        // Counting a few is faster than searching: nothing to predict.
        _ => edges.iter().map(|edge| u64::from(*edge <= value)).sum::<u64>() as u8,
    }
}

/// What the terminal's turn needs to know of a row's customer.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct CustomerState {
    /// Level of the amount over the customer's usual.
    pub(super) level: u8,
    /// Odds that the card is misused, and the row a fraud by that.
    pub(super) misused: f64,
}

/// Values of the features of one row, by their places among [`super::feature_set::NAMES`]; only a set's are computed.
struct Table {
    set: FeatureSet,
    values: [f64; COUNT],
}

/// Pushes the rows of a stretch (see [`super::stretch::of_day`]) and gives each of their features: the row's
/// number in the stretch, the feature's place in the set, and the value.
pub fn of_rows(
    history: &mut History,
    rows: &Rows,
    range: Range<usize>,
    set: FeatureSet,
    give: &mut impl FnMut(usize, usize, f64),
) {
    let Some(first) = rows.time.get(range.start) else { return };
    let (customers, terminals) = (&mut history.customers, &mut history.terminals);
    let mut states = vec![CustomerState::default(); range.len()];
    of_customers(customers, rows, range.clone(), set, &mut states, give);
    if set.asks_usual() {
        customers.look_at(rows, range.clone());
        terminals.know(&customers.usuals(first.div_euclid(DAY_S)));
    }
    of_terminals(terminals, rows, range, set, &states, give);
}

/// The features that depend on the rows' customers alone, with what their terminals' turn needs to know.
pub(super) fn of_customers(
    customers: &mut Customers,
    rows: &Rows,
    range: Range<usize>,
    set: FeatureSet,
    states: &mut [CustomerState],
    give: &mut impl FnMut(usize, usize, f64),
) {
    let columns = set.places(true);
    let mut table = Table { set, values: [0.0; COUNT] };
    customers.spend(rows, range, |customer, likelihood, row, now| {
        states[row] = table.ask_customer(customer, likelihood, now);
        columns.iter().for_each(|(column, feature)| give(row, *column, table.values[*feature]));
    });
}

/// The features that depend on the rows' terminals too.
pub(super) fn of_terminals(
    terminals: &mut Terminals,
    rows: &Rows,
    range: Range<usize>,
    set: FeatureSet,
    states: &[CustomerState],
    give: &mut impl FnMut(usize, usize, f64),
) {
    let columns = set.places(false);
    let mut table = Table { set, values: [0.0; COUNT] };
    terminals.visit(rows, range, |terminal, known, row, now| {
        table.ask_terminal(terminal, known, now, states[row]);
        columns.iter().for_each(|(column, feature)| give(row, *column, table.values[*feature]));
    });
}

/// The same as bins, a byte each, row after row.
pub(super) fn bins_of_rows(
    history: &mut History,
    rows: &Rows,
    range: Range<usize>,
    set: FeatureSet,
    bins: &mut [u8],
) {
    let features: Vec<usize> = set.features().collect();
    of_rows(history, rows, range, set, &mut |row, column, value| {
        bins[row * features.len() + column] = bin(features[column], value);
    });
}

impl Table {
    fn ask_customer(&mut self, customer: &mut Customer, likelihood: &Likelihood, now: Now) -> CustomerState {
        let mut state = CustomerState::default();
        self.values[AMOUNT] = now.cents as f64 / 100.0;
        if self.set.has_handbook() {
            self.values[1..HANDBOOKS_TERMINAL.start].copy_from_slice(&spending(customer, now));
        }
        if self.set.has_rich() {
            let OfCustomer { spending, card, crossed, level } = rich::of_customer(customer, now);
            self.values[SPENDING].copy_from_slice(&spending);
            self.values[CARD].copy_from_slice(&card);
            [self.values[BY_BIG_7D], self.values[BY_BIG_14D], self.values[BIG_BY_BIG]] = crossed;
            state.level = level;
        }
        if self.set.has_filters() {
            state.misused = suspicion::of_card(customer, now.time, likelihood);
            self.values[MISUSED] = Chance::of_odds(state.misused).log_odds();
        }
        state
    }

    fn ask_terminal(&mut self, terminal: &mut Terminal, known: &Known, now: Now, customer: CustomerState) {
        if self.set.has_handbook() {
            let windows = [1, 2, 3].map(|window| terminal_window(terminal, window, now));
            self.values[HANDBOOKS_TERMINAL].copy_from_slice(windows.as_flattened());
        } else if self.set.has_rich() {
            self.values[TERMINAL_RISK_7D] = terminal_risk(terminal, 2, now);
        }
        if self.set.has_rich() {
            let OfTerminal { visits, crossed } = rich::of_terminal(terminal, known, now, customer.level);
            self.values[VISITS].copy_from_slice(&visits);
            [self.values[BY_SMALL], self.values[SMALL_BY_AGE]] = crossed;
        }
        if self.set.has_filters() {
            let visits = terminal.before(0, now.time);
            let compromised = suspicion::of_terminal(terminal, visits, now.time, |fraud| known.ratio(fraud));
            self.values[COMPROMISED] = compromised.log_odds;
            self.values[SUSPICION] = compromised.chance.or(Chance::of_odds(customer.misused)).log_odds();
        }
    }
}

/// The handbook's of the time and of the customer: weekend, night, counts and means of three windows.
fn spending(customer: &mut Customer, now: Now) -> [f64; 8] {
    let weekday_from_monday = (now.time.div_euclid(DAY_S) + 3).rem_euclid(7);
    let hour = now.time.rem_euclid(DAY_S) / 3600;
    let [days_1, days_7, days_30] = [0, 1, 2].map(|window| customer.window(window, now.time));
    let mut values =
        [f64::from(weekday_from_monday >= 5), f64::from(hour <= 6), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    for (values, sums) in values[2..].chunks_exact_mut(2).zip([days_1, days_7, days_30]) {
        values.copy_from_slice(&[sums.count as f64, sums.cents as f64 / 100.0 / sums.count as f64]);
    }
    values
}

/// Number of known visits of the terminal in a window before the labels' delay, and the share of
/// frauds among them.
fn terminal_window(terminal: &mut Terminal, window: usize, now: Now) -> [f64; 2] {
    [terminal_count(terminal, window, now), terminal_risk(terminal, window, now)]
}

fn terminal_count(terminal: &mut Terminal, window: usize, now: Now) -> f64 {
    (terminal.before(0, now.time) - terminal.before(window, now.time)) as f64
}

/// The visits are looked at only where there is a fraud among them: that is seldom.
fn terminal_risk(terminal: &mut Terminal, window: usize, now: Now) -> f64 {
    match terminal.frauds(TERMINAL_WINDOWS_S[window], now.time).len() {
        0 => 0.0,
        frauds => frauds as f64 / terminal_count(terminal, window, now),
    }
}

#[cfg(test)]
mod tests {
    use super::super::feature_set::NAMES;
    use super::*;

    #[test]
    fn a_bin_is_the_number_of_edges_not_above_the_value() {
        for (feature, edges) in EDGES.iter().enumerate() {
            let near = edges.iter().flat_map(|edge| [edge.next_down(), *edge, edge.next_up()]);
            let far = [f64::NEG_INFINITY, -1e300, -0.0, 0.0, 1e300, f64::INFINITY, f64::NAN];
            for value in near.chain(far) {
                let expected = edges.iter().filter(|edge| **edge <= value).count();
                assert_eq!(usize::from(bin(feature, value)), expected, "{} of {value}", NAMES[feature]);
            }
        }
    }
}
