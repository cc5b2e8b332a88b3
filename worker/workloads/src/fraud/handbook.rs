//! The protocol of the Fraud Detection Handbook's tables: a week's training, seven days until its labels
//! are known, a week's test, without the cards that are known to be misused.

use std::collections::BTreeSet;

use super::chains::Chains;
use super::evaluate::scored;
use super::joined::{Joined, Labels};
use super::metrics::{Metrics, measure};

/// Measures on `tests`, day by day, as the handbook does: rows of a card are left out if it has a fraud
/// in the `training` days or, on the k-th test day, in the first k - 1 of the days `between`.
pub(super) fn measure_unknown_cards(
    model: &Chains,
    training: &[&Joined],
    between: &[&Joined],
    tests: &[&Joined],
) -> Metrics {
    let mut known = BTreeSet::new();
    training.iter().for_each(|joined| add_misused(&joined.labels, &mut known));
    let mut between = between.iter();
    let mut kept = Vec::new();
    for (number, test) in tests.iter().enumerate() {
        if number > 0
            && let Some(joined) = between.next()
        {
            add_misused(&joined.labels, &mut known);
        }
        let (labels, scores) = scored(model, test);
        kept.push(without(labels, &scores, &known));
    }
    let kept: Vec<_> = kept.iter().map(|(labels, scores)| (labels, scores.clone())).collect();
    measure(&kept)
}

fn add_misused(labels: &Labels, known: &mut BTreeSet<i64>) {
    let frauds = labels.card.iter().zip(&labels.fraud).filter(|(_, fraud)| **fraud);
    known.extend(frauds.map(|(card, _)| labels.cards[*card as usize]));
}

fn without(labels: &Labels, scores: &[f64], known: &BTreeSet<i64>) -> (Labels, Vec<f64>) {
    let is_kept: Vec<bool> = labels.cards.iter().map(|card| !known.contains(card)).collect();
    let rows: Vec<usize> = (0..scores.len()).filter(|row| is_kept[labels.card[*row] as usize]).collect();
    let kept = Labels {
        fraud: rows.iter().map(|row| labels.fraud[*row]).collect(),
        scenario: labels.scenario.as_ref().map(|all| rows.iter().map(|row| all[*row]).collect()),
        cards: labels.cards.clone(),
        card: rows.iter().map(|row| labels.card[*row]).collect(),
        day: rows.iter().map(|row| labels.day[*row]).collect(),
    };
    (kept, rows.iter().map(|row| scores[*row]).collect())
}
