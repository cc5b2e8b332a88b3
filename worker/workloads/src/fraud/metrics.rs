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

/// Levels of recall at which precision is given: each twentieth.
pub(super) const RECALLS: u64 = 20;
/// Bins of what a model says, one a unit of log-odds, the first from -8; what lies outside is in the first or the last.
pub(super) const BINS: usize = 16;
/// The log-odds at which the first bin begins.
pub(super) const FIRST_BIN: f64 = -8.0;

/// What precision-recall and calibration are drawn from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Precision at the highest score that finds at least one twentieth of the frauds, two twentieths, all. Empty
    /// without frauds.
    pub precision_at_recall: Vec<f64>,
    /// Rows, and frauds among them, by what the model says of them.
    pub by_log_odds: Vec<(u64, u64)>,
}

/// A dataset's labels, and a model's log-odds of fraud for each of its rows.
pub(super) type Scored<'a> = (&'a Labels, Vec<f64>);

/// Measures a model on the rows of some datasets, in the datasets' order.
pub(super) fn measure(scored: &[Scored<'_>]) -> Metrics {
    measure_each(scored).0
}

/// The same, on each of the datasets alone, and the shape on all.
pub(super) fn measure_each(scored: &[Scored<'_>]) -> (Metrics, Vec<Metrics>, Shape) {
    let steps = Steps::of(scored);
    let counts: Vec<Counts> =
        scored.iter().map(|(labels, scores)| Counts::of(&steps, labels, scores)).collect();
    let (all_cards, cards) = search_cards(scored);
    let each = counts.iter().zip(&cards).map(|(counts, cards)| counts.metrics(cards)).collect();
    let sum = Counts::sum(&steps, &counts);
    let shape = Shape { precision_at_recall: sum.precision_at_recall(), by_log_odds: by_log_odds(scored) };
    (sum.metrics(&all_cards), each, shape)
}

fn by_log_odds(scored: &[Scored<'_>]) -> Vec<(u64, u64)> {
    let mut bins = vec![(0, 0); BINS];
    for (labels, scores) in scored {
        for (score, fraud) in scores.iter().zip(&labels.fraud) {
            // What is no number, or below the first, goes to the first.
            let bin = &mut bins[((score.floor() - FIRST_BIN) as usize).min(BINS - 1)];
            bin.0 += 1;
            bin.1 += u64::from(*fraud);
        }
    }
    bins
}

/// What is counted of some rows.
struct Counts {
    /// Rows that are called what they are.
    right: u64,
    genuine: u64,
    by_scenario: Option<BTreeMap<u8, (u64, u64)>>,
    /// For each of the steps.
    places: Vec<Place>,
}

/// Frauds of a step's score, genuine rows of it, and genuine rows below the step before and above this.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    frauds: u64,
    genuine: u64,
    genuine_above: u64,
}

impl Counts {
    fn of(steps: &Steps, labels: &Labels, scores: &[f64]) -> Self {
        let mut places = vec![Place::default(); steps.scores.len() + 1];
        let cells: Vec<u16> = scores.iter().map(|score| steps.cell(*score) as u16).collect();
        for row in steps.beside(&cells) {
            steps.count(cells[row], scores[row], labels.fraud[row], &mut places);
        }
        for (cell, rows) in steps.between(&cells) {
            places[steps.before[cell] as usize].genuine_above += rows;
        }
        let called = scores.iter().map(|score| u64::from(*score >= 0.0)).sum::<u64>();
        let (mut found, mut frauds) = (0, 0);
        let mut by_scenario = BTreeMap::new();
        for (row, _) in labels.fraud.iter().enumerate().filter(|(_, fraud)| **fraud) {
            let is_found = scores[row] >= 0.0;
            found += u64::from(is_found);
            frauds += 1;
            if let Some(scenario) = &labels.scenario {
                let (hits, all) = by_scenario.entry(scenario[row]).or_default();
                *hits += u64::from(is_found);
                *all += 1;
            }
        }
        let genuine = scores.len() as u64 - frauds;
        let by_scenario = labels.scenario.is_some().then_some(by_scenario);
        Self { right: found + genuine - (called - found), genuine, by_scenario, places }
    }

    fn sum(steps: &Steps, parts: &[Self]) -> Self {
        let mut places = vec![Place::default(); steps.scores.len() + 1];
        // Only where the scenario of every fraud is known.
        let mut by_scenario: Option<BTreeMap<u8, (u64, u64)>> = Some(BTreeMap::new());
        for part in parts {
            for (place, own) in places.iter_mut().zip(&part.places) {
                place.frauds += own.frauds;
                place.genuine += own.genuine;
                place.genuine_above += own.genuine_above;
            }
            by_scenario = by_scenario.zip(part.by_scenario.as_ref()).map(|(mut all, own)| {
                for (scenario, (hits, count)) in own {
                    let sum = all.entry(*scenario).or_default();
                    *sum = (sum.0 + hits, sum.1 + count);
                }
                all
            });
        }
        let sum = |of: fn(&Self) -> u64| parts.iter().map(of).sum();
        Self { right: sum(|part| part.right), genuine: sum(|part| part.genuine), by_scenario, places }
    }

    fn metrics(&self, cards: &Search) -> Metrics {
        let frauds = self.frauds();
        let rows = frauds + self.genuine;
        let share = |count: u64| (rows > 0).then(|| count as f64 / rows as f64);
        Metrics {
            rows,
            frauds,
            accuracy: share(self.right),
            majority_accuracy: share(frauds.max(self.genuine)),
            auc_roc: self.auc_roc(),
            average_precision: self.average_precision(),
            card_precision_100: cards.precision(),
            found_by_scenario: self.by_scenario.clone().unwrap_or_default(),
        }
    }

    fn frauds(&self) -> u64 {
        self.places.iter().map(|place| place.frauds).sum()
    }

    /// Share of the pairs of a fraud and a genuine row where the fraud's score is higher, ties half.
    fn auc_roc(&self) -> Option<f64> {
        let (mut above, mut lost_twice) = (0_u128, 0_u128);
        for place in &self.places {
            above += u128::from(place.genuine_above);
            lost_twice += u128::from(place.frauds) * (2 * above + u128::from(place.genuine));
            above += u128::from(place.genuine);
        }
        let pairs = u128::from(self.frauds()) * u128::from(self.genuine);
        (pairs > 0).then(|| (2 * pairs - lost_twice) as f64 / (2 * pairs) as f64)
    }

    fn precision_at_recall(&self) -> Vec<f64> {
        let frauds = self.frauds();
        let (mut found, mut called, mut at) = (0, 0, Vec::new());
        for place in self.places.iter().filter(|_| frauds > 0) {
            found += place.frauds;
            called += place.genuine_above + place.genuine + place.frauds;
            while (at.len() as u64) < found * RECALLS / frauds {
                at.push(found as f64 / called as f64);
            }
        }
        at
    }

    /// Precision at each distinct score of a fraud, weighted by the frauds of it.
    fn average_precision(&self) -> Option<f64> {
        let frauds = self.frauds();
        let (mut found, mut called, mut sum) = (0, 0, 0.0);
        for place in &self.places {
            found += place.frauds;
            called += place.genuine_above + place.genuine + place.frauds;
            if place.frauds > 0 {
                sum += place.frauds as f64 / frauds as f64 * (found as f64 / called as f64);
            }
        }
        (frauds > 0).then_some(sum)
    }
}

/// The distinct scores of the frauds, the highest first, and where among them to look for a score: what lies
/// between the highest and the lowest is cut into equal cells, of which most have no fraud's score or one. A
/// search of all would be most of an evaluation.
struct Steps {
    scores: Vec<f64>,
    cells_each: f64,
    /// For each cell, how many steps lie in those before it.
    before: Vec<u32>,
}

const CELLS: usize = 2048;

impl Steps {
    fn of(scored: &[Scored<'_>]) -> Self {
        let rows = scored.iter().flat_map(|(labels, scores)| scores.iter().zip(&labels.fraud));
        let mut scores: Vec<f64> = rows.filter(|(_, fraud)| **fraud).map(|(score, _)| *score).collect();
        scores.sort_unstable_by(|a, b| b.total_cmp(a));
        scores.dedup();
        let span = scores.first().zip(scores.last()).map_or(0.0, |(highest, lowest)| highest - lowest);
        let cells_each = CELLS as f64 / span.max(f64::MIN_POSITIVE);
        let mut steps = Self { scores, cells_each, before: vec![0; CELLS + 2] };
        for step in 0..steps.scores.len() {
            let cell = steps.cell(steps.scores[step]);
            steps.before[cell + 1] += 1;
        }
        for cell in 1..steps.before.len() {
            steps.before[cell] += steps.before[cell - 1];
        }
        steps
    }

    /// The cell of a score, 0 that of the highest. Never a lower one for a lower score: each step of the sum rounds
    /// what is smaller to nothing that is larger. What is no number, or out of range, goes to an end.
    fn cell(&self, score: f64) -> usize {
        let highest = self.scores.first().copied().unwrap_or(0.0);
        (((highest - score) * self.cells_each) as usize).min(CELLS)
    }

    /// Rows of those cells that have a step, by the cells of all rows: most of these have none.
    fn beside(&self, cells: &[u16]) -> impl Iterator<Item = usize> {
        // To choose without a branch is faster where nobody can foresee the choice.
        let (mut rows, mut count) = (vec![0; cells.len() + 1], 0);
        for (row, cell) in cells.iter().enumerate() {
            rows[count] = row as u32;
            count += usize::from(self.has_step(usize::from(*cell)));
        }
        rows.truncate(count);
        rows.into_iter().map(|row| row as usize)
    }

    /// The other cells, each with its number of rows. All of them are genuine: a fraud's score is a step.
    fn between(&self, cells: &[u16]) -> impl Iterator<Item = (usize, u64)> {
        let mut rows = vec![0; CELLS + 1];
        cells.iter().for_each(|cell| rows[usize::from(*cell)] += 1);
        rows.into_iter().enumerate().filter(|(cell, _)| !self.has_step(*cell))
    }

    fn has_step(&self, cell: usize) -> bool {
        self.before[cell] != self.before[cell + 1]
    }

    /// Counts a row of a cell at the place of its score: that of the first step not above it, after the last if there is
    /// none.
    fn count(&self, cell: u16, score: f64, fraud: bool, places: &mut [Place]) {
        let cell = usize::from(cell);
        let steps = self.before[cell] as usize..self.before[cell + 1] as usize;
        let place = steps.start + self.scores[steps].partition_point(|step| *step > score);
        let is_step = self.scores.get(place).is_some_and(|step| *step == score);
        let place = &mut places[place];
        match (fraud, is_step) {
            (true, _) => place.frauds += 1,
            (false, true) => place.genuine += 1,
            (false, false) => place.genuine_above += 1,
        }
    }
}

/// A card on a day: the highest score of its rows, and whether one of them is a fraud.
#[derive(Debug, Clone, Copy)]
struct Card {
    number: i64,
    score: f64,
    fraud: bool,
}

impl Card {
    /// The highest score first; cards of equal score come by their number.
    fn order(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.number.cmp(&other.number))
    }
}

/// Card precision as the handbook has it: a day's cards by their highest score, of the first hundred
/// the share with a fraud that day, mean over the days; a card that was found is not looked at again.
#[derive(Debug, Default)]
struct Search {
    /// Cards, ascending.
    found: Vec<i64>,
    days: u64,
}

impl Search {
    /// Looks at a day's cards: at least the first [`CARDS_A_DAY`] and as many more as were found.
    fn look(&mut self, mut cards: Vec<Card>) {
        cards.retain(|card| self.found.binary_search(&card.number).is_err());
        first(&mut cards, CARDS_A_DAY, Card::order);
        self.found.extend(cards.iter().filter(|card| card.fraud).map(|card| card.number));
        self.days += 1;
        self.found.sort_unstable();
    }

    fn precision(&self) -> Option<f64> {
        (self.days > 0).then(|| self.found.len() as f64 / (self.days * CARDS_A_DAY as u64) as f64)
    }
}

/// The search through all datasets, and through each of them alone.
fn search_cards(scored: &[Scored<'_>]) -> (Search, Vec<Search>) {
    let (mut all, mut each) = (Search::default(), Vec::new());
    for (labels, scores) in scored {
        let mut own = Search::default();
        let mut begin = 0;
        for day in labels.day.chunk_by(|a, b| a == b) {
            let mut cards = cards_of(labels, scores, begin..begin + day.len());
            begin += day.len();
            first(&mut cards, CARDS_A_DAY + all.found.len().max(own.found.len()), Card::order);
            own.look(cards.clone());
            all.look(cards);
        }
        each.push(own);
    }
    (all, each)
}

/// The cards that have rows among some.
fn cards_of(labels: &Labels, scores: &[f64], rows: Range<usize>) -> Vec<Card> {
    let new = |number: &i64| Card { number: *number, score: f64::NEG_INFINITY, fraud: false };
    let mut cards: Vec<Card> = labels.cards.iter().map(new).collect();
    for row in rows {
        let card = &mut cards[labels.card[row] as usize];
        card.score = card.score.max(scores[row]);
        card.fraud |= labels.fraud[row];
    }
    cards.retain(|card| card.score > f64::NEG_INFINITY);
    cards
}

/// Keeps the first `count` by an order, themselves in no order.
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

    /// At each level of recall the highest score that reaches it, tried on all rows.
    fn precisions(rows: &[Row]) -> Vec<f64> {
        let frauds = rows.iter().filter(|row| row.1).count();
        let mut scores: Vec<f64> = rows.iter().filter(|row| row.1).map(|row| row.0).collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        let levels = 1..=if frauds > 0 { 20 } else { 0 };
        let precision = |level: usize| {
            let score = scores[(level * frauds).div_ceil(20) - 1];
            let called: Vec<&Row> = rows.iter().filter(|row| row.0 >= score).collect();
            called.iter().filter(|row| row.1).count() as f64 / called.len() as f64
        };
        levels.map(precision).collect()
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
            let (metrics, each, shape) = measure_each(&scored);
            let rows = datasets.concat();
            prop_assert_eq!(&shape.precision_at_recall, &precisions(&rows));
            let counted = shape.by_log_odds.iter().fold((0, 0), |sum, bin| (sum.0 + bin.0, sum.1 + bin.1));
            prop_assert_eq!(counted, (metrics.rows, metrics.frauds));
            let above = rows.iter().filter(|row| row.0 >= 0.0).count() as u64;
            prop_assert_eq!(shape.by_log_odds[BINS / 2..].iter().map(|bin| bin.0).sum::<u64>(), above);
            for (own, scored) in each.iter().zip(scored.chunks(1)) {
                prop_assert_eq!(own, &measure(scored));
            }
            prop_assert_eq!(metrics.rows, rows.len() as u64);
            let right = rows.iter().filter(|row| (row.0 >= 0.0) == row.1).count();
            prop_assert_eq!(metrics.accuracy, (!rows.is_empty()).then(|| right as f64 / rows.len() as f64));
            prop_assert_eq!(metrics.auc_roc, auc_roc(&rows));
            prop_assert_eq!(metrics.average_precision, average_precision(&rows));
            prop_assert_eq!(metrics.card_precision_100, card_precision(&datasets));
        }
    }
}
