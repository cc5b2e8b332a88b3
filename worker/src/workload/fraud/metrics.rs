//! Measures of scores against labels. Counts are integers, sums of floats have one order, ties of
//! scores are handled: equal inputs in any order of rows give equal bytes.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::joined::Labels;

/// Cards that an investigator can look at in a day.
pub const CARDS_A_DAY: usize = 100;

/// What is measured of a model on some rows. Absent where it is not defined: without rows, without
/// frauds, without genuine transactions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    pub rows: u64,
    pub frauds: u64,
    /// Frauds and genuine transactions called so, at a probability of one half.
    pub accuracy: Option<f64>,
    /// The accuracy of calling every transaction what most are.
    pub majority_accuracy: Option<f64>,
    pub auc_roc: Option<f64>,
    pub average_precision: Option<f64>,
    /// Mean over days of the share of frauds among the day's 100 cards of the highest scores.
    pub card_precision_100: Option<f64>,
    /// Found at a probability of one half, and there are, by scenario.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub found_by_scenario: BTreeMap<u8, (u64, u64)>,
}

/// Measures a model's log-odds of the rows of some datasets, in the datasets' order.
pub(super) fn measure(scored: &[(&Labels, Vec<f64>)]) -> Metrics {
    let mut metrics = Metrics::default();
    let (mut right, mut named) = (0, !scored.is_empty());
    let (mut frauds, mut genuine) = (Vec::new(), Vec::new());
    for (labels, scores) in scored {
        named &= labels.scenario.is_some();
        for (row, (score, fraud)) in scores.iter().zip(&labels.fraud).enumerate() {
            let found = *score >= 0.0;
            right += u64::from(found == *fraud);
            if *fraud {
                frauds.push(*score)
            } else {
                genuine.push(*score)
            }
            if *fraud && let Some(scenario) = &labels.scenario {
                let (hits, all) = metrics.found_by_scenario.entry(scenario[row]).or_default();
                *hits += u64::from(found);
                *all += 1;
            }
        }
    }
    if !named {
        metrics.found_by_scenario.clear();
    }
    metrics.rows = (frauds.len() + genuine.len()) as u64;
    metrics.frauds = frauds.len() as u64;
    let share = |count: u64| (metrics.rows > 0).then(|| count as f64 / metrics.rows as f64);
    metrics.accuracy = share(right);
    metrics.majority_accuracy = share(metrics.frauds.max(metrics.rows - metrics.frauds));
    let ranking = Ranking::of(frauds, &genuine);
    metrics.auc_roc = ranking.auc_roc();
    metrics.average_precision = ranking.average_precision();
    metrics.card_precision_100 = card_precision(scored);
    metrics
}

/// The distinct scores of frauds, the highest first, with how many rows lie where.
struct Ranking {
    /// For each distinct score of a fraud: frauds of it, genuine rows of it, genuine rows above it and
    /// below the one before.
    steps: Vec<Place>,
    genuine: u64,
}

#[derive(Default)]
struct Place {
    score: f64,
    frauds: u64,
    genuine: u64,
    genuine_above: u64,
}

impl Ranking {
    fn of(mut frauds: Vec<f64>, genuine: &[f64]) -> Self {
        frauds.sort_unstable_by(|a, b| b.total_cmp(a));
        let mut steps: Vec<Place> = Vec::new();
        for score in frauds {
            match steps.last_mut() {
                Some(place) if place.score == score => place.frauds += 1,
                _ => steps.push(Place { score, frauds: 1, ..Place::default() }),
            }
        }
        let near = Near::of(&steps);
        for score in genuine {
            let between = near.places(*score);
            let at = between.start + steps[between].partition_point(|place| place.score > *score);
            match steps.get_mut(at) {
                Some(place) if place.score == *score => place.genuine += 1,
                Some(place) => place.genuine_above += 1,
                None => {}
            }
        }
        Self { steps, genuine: genuine.len() as u64 }
    }

    fn frauds(&self) -> u64 {
        self.steps.iter().map(|place| place.frauds).sum()
    }

    /// Share of the pairs of a fraud and a genuine row where the fraud's score is higher, ties half.
    fn auc_roc(&self) -> Option<f64> {
        let (mut above, mut lost_twice) = (0_u128, 0_u128);
        for place in &self.steps {
            above += u128::from(place.genuine_above);
            lost_twice += u128::from(place.frauds) * (2 * above + u128::from(place.genuine));
            above += u128::from(place.genuine);
        }
        let pairs = u128::from(self.frauds()) * u128::from(self.genuine);
        (pairs > 0).then(|| (2 * pairs - lost_twice) as f64 / (2 * pairs) as f64)
    }

    /// Precision at each distinct score of a fraud, weighted by the frauds of it.
    fn average_precision(&self) -> Option<f64> {
        let frauds = self.frauds();
        let (mut found, mut called, mut sum) = (0, 0, 0.0);
        for place in &self.steps {
            found += place.frauds;
            called += place.genuine_above + place.genuine + place.frauds;
            sum += place.frauds as f64 / frauds as f64 * (found as f64 / called as f64);
        }
        (frauds > 0).then_some(sum)
    }
}

/// Where in a ranking to look for a score: what lies between the highest and the lowest is cut into equal
/// cells, of which most have no fraud's score or one. A search of all would be most of an evaluation.
struct Near {
    highest: f64,
    cells_each: f64,
    /// For each cell, how many places lie in those before it.
    before: Vec<u32>,
}

const CELLS: usize = 2048;

impl Near {
    fn of(steps: &[Place]) -> Self {
        let (highest, lowest) = (steps.first(), steps.last());
        let [highest, lowest] = [highest, lowest].map(|place| place.map_or(0.0, |place| place.score));
        let cells_each = CELLS as f64 / (highest - lowest).max(f64::MIN_POSITIVE);
        let mut near = Self { highest, cells_each, before: vec![0; CELLS + 2] };
        for place in steps {
            let cell = near.cell(place.score);
            near.before[cell + 1] += 1;
        }
        for cell in 1..near.before.len() {
            near.before[cell] += near.before[cell - 1];
        }
        near
    }

    /// The cell of a score, 0 that of the highest. Never a lower one for a lower score: each step of the sum rounds
    /// what is smaller to nothing that is larger. What is no number, or out of range, goes to an end.
    fn cell(&self, score: f64) -> usize {
        (((self.highest - score) * self.cells_each) as usize).min(CELLS)
    }

    /// The places among which a score's is, the end of them included.
    fn places(&self, score: f64) -> Range<usize> {
        let cell = self.cell(score);
        self.before[cell] as usize..self.before[cell + 1] as usize
    }
}

/// Card precision as the handbook has it: a day's cards by their highest score, of the first hundred
/// the share with a fraud that day, mean over the days; a card that was found is not looked at again.
/// Cards of equal score come by their number.
fn card_precision(scored: &[(&Labels, Vec<f64>)]) -> Option<f64> {
    let mut found: Vec<i64> = Vec::new();
    let (mut days, mut hits) = (0_u64, 0_u64);
    for (labels, scores) in scored {
        for day in labels.day.chunk_by(|a, b| a == b).scan(0, |at, day| {
            *at += day.len();
            Some(*at - day.len()..*at)
        }) {
            let mut cards = vec![(f64::NEG_INFINITY, false); labels.cards.len()];
            for row in day {
                let card = &mut cards[labels.card[row] as usize];
                card.0 = card.0.max(scores[row]);
                card.1 |= labels.fraud[row];
            }
            let mut cards: Vec<_> =
                labels.cards.iter().zip(cards).filter(|(_, (score, _))| *score > f64::NEG_INFINITY).collect();
            let order =
                |a: &(&i64, (f64, bool)), b: &(&i64, (f64, bool))| b.1.0.total_cmp(&a.1.0).then(a.0.cmp(b.0));
            // Enough that a hundred are left whichever were found.
            first(&mut cards, CARDS_A_DAY + found.len(), order);
            cards.retain(|(card, _)| found.binary_search(card).is_err());
            first(&mut cards, CARDS_A_DAY, order);
            let of_day: Vec<i64> =
                cards.iter().filter(|(_, (_, fraud))| *fraud).map(|(card, _)| **card).collect();
            days += 1;
            hits += of_day.len() as u64;
            found.extend(of_day);
            found.sort_unstable();
        }
    }
    (days > 0).then(|| hits as f64 / (days * CARDS_A_DAY as u64) as f64)
}

/// Keeps the first so many by an order, themselves in no order.
fn first<T>(all: &mut Vec<T>, count: usize, order: impl Fn(&T, &T) -> Ordering) {
    if all.len() > count {
        all.select_nth_unstable_by(count, order);
        all.truncate(count);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A row: its score, whether it is a fraud, its card, its day.
    type Row = (f64, bool, i64, i64);

    fn datasets() -> impl Strategy<Value = Vec<Vec<Row>>> {
        // Few scores, so that many are equal; and some far off.
        let score = prop_oneof![(-6..6_i32).prop_map(f64::from), Just(-4e9), Just(1e-300), -1.0..1.0];
        let row = (score, prop::bool::weighted(0.3), 0..400_i64, 0..3_i64);
        prop::collection::vec(prop::collection::vec(row, 0..600), 0..3).prop_map(|mut datasets| {
            datasets.iter_mut().for_each(|rows| rows.sort_by_key(|row| row.3));
            datasets
        })
    }

    fn labels(rows: &[Row]) -> Labels {
        let mut cards: Vec<i64> = rows.iter().map(|row| row.2).collect();
        cards.sort_unstable();
        cards.dedup();
        let place = |row: &Row| cards.binary_search(&row.2).unwrap_or_default() as u32;
        Labels {
            fraud: rows.iter().map(|row| row.1).collect(),
            scenario: None,
            card: rows.iter().map(place).collect(),
            day: rows.iter().map(|row| row.3).collect(),
            cards,
        }
    }

    /// Each pair of a fraud and a genuine row.
    fn auc_roc(rows: &[Row]) -> Option<f64> {
        let (mut pairs, mut won_twice) = (0_u64, 0_u64);
        for fraud in rows.iter().filter(|row| row.1) {
            for genuine in rows.iter().filter(|row| !row.1) {
                pairs += 1;
                won_twice += 2 * u64::from(fraud.0 > genuine.0) + u64::from(fraud.0 == genuine.0);
            }
        }
        (pairs > 0).then(|| won_twice as f64 / (2 * pairs) as f64)
    }

    /// Precision at each distinct score, weighted by the frauds that have it.
    fn average_precision(rows: &[Row]) -> Option<f64> {
        let mut scores: Vec<f64> = rows.iter().filter(|row| row.1).map(|row| row.0).collect();
        let frauds = scores.len() as f64;
        scores.sort_by(|a, b| b.total_cmp(a));
        scores.dedup();
        let of_score = |score: &f64| {
            let called = rows.iter().filter(|row| row.0 >= *score);
            let found = called.clone().filter(|row| row.1).count() as f64;
            let own = rows.iter().filter(|row| row.1 && row.0 == *score).count() as f64;
            own / frauds * (found / called.count() as f64)
        };
        (frauds > 0.0).then(|| scores.iter().map(of_score).sum())
    }

    /// All cards of a day, sorted; those found before taken out first.
    fn card_precision(datasets: &[Vec<Row>]) -> Option<f64> {
        let (mut found, mut days, mut hits) = (Vec::new(), 0, 0);
        for day in datasets.iter().flat_map(|rows| rows.chunk_by(|a, b| a.3 == b.3)) {
            let mut cards: BTreeMap<i64, (f64, bool)> = BTreeMap::new();
            for (score, fraud, card, _) in day {
                let card = cards.entry(*card).or_insert((f64::NEG_INFINITY, false));
                *card = (card.0.max(*score), card.1 | fraud);
            }
            let mut cards: Vec<_> = cards.into_iter().filter(|(card, _)| !found.contains(card)).collect();
            cards.sort_by(|a, b| b.1.0.total_cmp(&a.1.0).then(a.0.cmp(&b.0)));
            let of_day = cards.iter().take(CARDS_A_DAY).filter(|card| card.1.1).map(|card| card.0);
            let before = found.len();
            found.extend(of_day);
            (days, hits) = (days + 1, hits + found.len() - before);
        }
        (days > 0).then(|| hits as f64 / (days * CARDS_A_DAY) as f64)
    }

    proptest! {
        #[test]
        fn measures_are_those_of_their_definitions(datasets in datasets()) {
            let labels: Vec<Labels> = datasets.iter().map(|rows| labels(rows)).collect();
            let scores = datasets.iter().map(|rows| rows.iter().map(|row| row.0).collect());
            let scored: Vec<(&Labels, Vec<f64>)> = labels.iter().zip(scores).collect();
            let (metrics, rows) = (measure(&scored), datasets.concat());
            prop_assert_eq!(metrics.rows, rows.len() as u64);
            prop_assert_eq!(metrics.auc_roc, auc_roc(&rows));
            prop_assert_eq!(metrics.average_precision, average_precision(&rows));
            prop_assert_eq!(metrics.card_precision_100, card_precision(&datasets));
        }
    }
}
