//! Measures of scores against labels. Counts are integers, sums of floats have one order, ties of
//! scores are handled: equal inputs in any order of rows give equal bytes.

use std::collections::BTreeMap;

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
        for score in genuine {
            let at = steps.partition_point(|place| place.score > *score);
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
            let mut cards: Vec<_> = labels
                .cards
                .iter()
                .zip(cards)
                .filter(|(card, (score, _))| *score > f64::NEG_INFINITY && found.binary_search(card).is_err())
                .collect();
            let order =
                |a: &(&i64, (f64, bool)), b: &(&i64, (f64, bool))| b.1.0.total_cmp(&a.1.0).then(a.0.cmp(b.0));
            if cards.len() > CARDS_A_DAY {
                cards.select_nth_unstable_by(CARDS_A_DAY, order);
                cards.truncate(CARDS_A_DAY);
            }
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
