//! What evaluate commits: the measures of one checkpoint, as JSON.

use serde::{Deserialize, Serialize};

use super::ftrl::Ftrl;
use super::joined::Joined;
use super::metrics::{Metrics, measure};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Rows and frauds that the model has learned from so far.
    pub learned_rows: u64,
    pub learned_frauds: u64,
    /// On the dataset that it learned from last.
    pub training: Metrics,
    /// On all test datasets; `None` where the run has none.
    pub testing: Option<Metrics>,
    /// On each day of the test datasets, where they have more than one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub testing_days: Vec<(String, Metrics)>,
}

pub(super) fn scores(model: &Ftrl, joined: &Joined) -> Vec<f64> {
    joined.bins().chunks_exact(joined.features.max(1)).map(|row| model.score(row)).collect()
}

/// Measures on a training dataset and on the test datasets, `(name, rows)`.
pub(super) fn evaluate(model: &Ftrl, training: &Joined, tests: &[(String, &Joined)]) -> (Metrics, Option<Metrics>, Vec<(String, Metrics)>) {
    let on_training = measure(&[(training, scores(model, training))]);
    let scored: Vec<_> = tests.iter().map(|(_, joined)| (*joined, scores(model, joined))).collect();
    let on_tests = (!tests.is_empty()).then(|| measure(&scored));
    let mut by_day = Vec::new();
    if tests.len() > 1 {
        for ((name, _), scored) in tests.iter().zip(&scored) {
            by_day.push((name.clone(), measure(std::slice::from_ref(scored))));
        }
    }
    (on_training, on_tests, by_day)
}
