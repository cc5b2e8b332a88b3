//! What evaluate commits: the measures of one checkpoint, as JSON.

use std::sync::Arc;

use jiff::ToSpan;
use jiff::civil::date;
use serde::{Deserialize, Serialize};

use super::chains::Chains;
use super::joined::{Joined, Labels};
use super::metrics::{Metrics, Scored, Shape, measure, measure_each};
use super::model::Model;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Rows and frauds that the model has learned from so far.
    pub learned_rows: u64,
    pub learned_frauds: u64,
    /// On the dataset that it learned from last.
    pub training: Metrics,
    /// On all test datasets; `None` where the run has none.
    pub testing: Option<Metrics>,
    /// On each test dataset by its first day, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub testing_days: Vec<(String, Metrics)>,
    /// How the model does on all test datasets at each threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub testing_shape: Option<Shape>,
}

/// A part's labels with a model's log-odds of fraud.
pub(super) fn scored<'a>(model: &Chains, joined: &'a Joined) -> Scored<'a> {
    (&joined.labels, joined.rows().map(|row| model.score(row)).collect())
}

impl Evaluation {
    /// Measures on a training dataset and on the test datasets.
    pub(super) fn of(model: &Model, training: &Joined, tests: &[Arc<Joined>]) -> Self {
        let on_tests: Vec<_> = tests.iter().map(|joined| scored(&model.chains, joined)).collect();
        let (testing, each, shape) = measure_each(&on_tests);
        let days = on_tests.iter().map(|(labels, _)| day_text(labels));
        Self {
            learned_rows: model.rows,
            learned_frauds: model.frauds,
            training: measure(&[scored(&model.chains, training)]),
            testing: (!tests.is_empty()).then_some(testing),
            testing_shape: (!tests.is_empty()).then_some(shape),
            testing_days: if tests.len() > 1 { days.zip(each).collect() } else { Vec::new() },
        }
    }
}

/// The dataset's first day.
fn day_text(labels: &Labels) -> String {
    let day = labels.day.first().copied().unwrap_or(0);
    date(1970, 1, 1).checked_add(day.days()).map_or_else(|_| format!("day {day}"), |day| day.to_string())
}
