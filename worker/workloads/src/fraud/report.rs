//! The report: the tutorial's lines for each dataset, and below them what its accuracy hides.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use engine::manifest::{Dataset, Refusal, Role};
use engine::path::name_of;
use engine::workload::{Curve, Part, ReportInput};

use super::edges::EDGES;
use super::evaluate::Evaluation;
use super::feature_set::NAMES;
use super::features;
use super::ftrl::Ftrl;
use super::metrics::{FIRST_BIN, Metrics, RECALLS, Shape};
use super::model::Model;

/// A training dataset's row of the report.
#[derive(Debug, Serialize)]
struct Trained<'a> {
    dataset: &'a str,
    checkpoint: &'a str,
    #[serde(flatten)]
    evaluation: Evaluation,
}

#[derive(Debug, Serialize)]
struct Rejected<'a> {
    dataset: &'a str,
    role: Role,
    reason: &'a str,
}

/// A feature and what its bins add to the log-odds; the first bin lies below the first edge.
#[derive(Debug, Serialize)]
struct Weighted {
    feature: &'static str,
    /// Of a feature that has one, which the bins' levels multiply.
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<f64>,
    edges: &'static [f64],
    weights: Vec<f64>,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    created: &'a str,
    lineage: Option<String>,
    trained: Vec<Trained<'a>>,
    rejected: Vec<Rejected<'a>>,
    refused: &'a [Refusal],
    intercept: Option<f64>,
    features: Vec<Weighted>,
}

/// `report.txt` and `report.json`, from the checkpoints' names by index.
pub(super) fn files(
    input: &ReportInput<'_>,
    checkpoints: &BTreeMap<u32, String>,
) -> Result<BTreeMap<String, String>, String> {
    let report = Report::of(input, checkpoints)?;
    let json = serde_json::to_string_pretty(&report).map_err(|error| format!("write the report: {error}"))?;
    let text = report.text(input.own_from > 0);
    Ok(BTreeMap::from([("report.txt".to_owned(), text), ("report.json".to_owned(), json + "\n")]))
}

pub(super) fn checkpoint_name(stem: &str) -> String {
    format!("model_cpt_{stem}.ftrl")
}

impl<'a> Report<'a> {
    fn of(input: &ReportInput<'a>, checkpoints: &'a BTreeMap<u32, String>) -> Result<Self, String> {
        // A dataset's index is its place in the manifest.
        let dataset = |index: u32| input.datasets.get(index as usize);
        let trained = |part: &Part| {
            let dataset: &'a Dataset = dataset(part.index).ok_or("find an evaluation's dataset")?;
            let evaluation = serde_json::from_slice(&part.bytes);
            Ok::<_, String>(Trained {
                dataset: name_of(&dataset.path),
                checkpoint: checkpoints.get(&part.index).ok_or("find a checkpoint's name")?,
                evaluation: evaluation.map_err(|error| format!("read an evaluation: {error}"))?,
            })
        };
        let rejected = |(index, reason): (&u32, &'a String)| {
            let dataset = dataset(*index)?;
            Some(Rejected { dataset: name_of(&dataset.path), role: dataset.role, reason })
        };
        let mut trained: Vec<Trained<'a>> = input.evals.iter().map(trained).collect::<Result<_, _>>()?;
        // A hundred lines each; only the last one's is drawn.
        let earlier = trained.iter_mut().rev().skip(1);
        earlier.for_each(|trained| trained.evaluation.testing_shape = None);
        let model = input.model.map(|part| Model::decode(&part.bytes)).transpose()?;
        Ok(Self {
            created: input.created,
            lineage: model.as_ref().map(|model| model.lineage.to_string()),
            trained,
            rejected: input.rejected.iter().filter_map(rejected).collect(),
            refused: input.refused,
            intercept: model.as_ref().map(intercept),
            features: model.as_ref().map_or_else(Vec::new, weighted),
        })
    }

    /// `continues`: the model was begun by an earlier run.
    fn text(&self, continues: bool) -> String {
        let mut out = String::new();
        if self.trained.is_empty() {
            out.push_str("Nothing was trained on, so there is no model. The reasons are below.\n\n");
        }
        for trained in &self.trained {
            trained.tutorial(self.created, &mut out);
        }
        self.rejections(&mut out);
        self.history(&mut out);
        if let [before @ .., last] = &self.trained[..] {
            last.hidden(before.last(), continues, &mut out);
        }
        self.weights(&mut out);
        out
    }

    /// What was left out, and why.
    fn rejections(&self, out: &mut String) {
        if !self.rejected.is_empty() {
            out.push_str("Rejected datasets\n");
            for Rejected { dataset, role, reason } in &self.rejected {
                let role = format!("{role:?}").to_lowercase();
                line(out, format_args!("  {dataset} ({role}): {reason}"));
            }
            out.push('\n');
        }
        if !self.refused.is_empty() {
            out.push_str("Refused paths: pushed, and no part of this run\n");
            for Refusal { path, reason } in self.refused {
                line(out, format_args!("  {}: {reason}", path.escape_debug()));
            }
            out.push('\n');
        }
    }

    /// A line a dataset: what each checkpoint reached on the testing data, beside the one before it.
    fn history(&self, out: &mut String) {
        if self.trained.is_empty() {
            return;
        }
        out.push_str("What the accuracy hides, checkpoint by checkpoint, on the testing data\n");
        out.push_str(
            "  majority: the accuracy of calling all what most of them are; AP: average precision;\n",
        );
        out.push_str("  CP@100: share of frauds among a day's 100 cards of the highest scores;\n");
        out.push_str("  +/-: average precision against the previous checkpoint's\n\n");
        line(
            out,
            format_args!(
                "  {:<24} {:>8} {:>7} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8}",
                "training dataset",
                "rows",
                "frauds",
                "accuracy",
                "majority",
                "AUC ROC",
                "AP",
                "+/-",
                "CP@100"
            ),
        );
        let mut previous = None;
        for Trained { dataset, evaluation, .. } in &self.trained {
            let none = Metrics::default();
            let testing = evaluation.testing.as_ref().unwrap_or(&none);
            let precision = testing.average_precision;
            line(
                out,
                format_args!(
                    "  {dataset:<24} {:>8} {:>7} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8}",
                    evaluation.training.rows,
                    evaluation.training.frauds,
                    share(testing.accuracy, 5),
                    share(testing.majority_accuracy, 5),
                    share(testing.auc_roc, 4),
                    share(precision, 4),
                    change(precision, previous),
                    share(testing.card_precision_100, 4),
                ),
            );
            previous = precision;
        }
        out.push('\n');
    }

    /// Features by how far their bins' weights lie apart.
    fn weights(&self, out: &mut String) {
        let mut features: Vec<_> = self.features.iter().map(|feature| (feature.spread(), feature)).collect();
        features.sort_by(|(a, _), (b, _)| (b.1 - b.0).total_cmp(&(a.1 - a.0)));
        if features.is_empty() {
            return;
        }
        out.push_str("Features of the last checkpoint, by how far they move the log-odds of fraud\n");
        line(out, format_args!("  {:<30} {:>8} {:<24} {:>8} for", "feature", "lowest", " for", "highest"));
        for ((lowest, highest), feature) in features {
            let range = |weight| feature.range(weight);
            line(
                out,
                format_args!(
                    "  {:<30} {lowest:>8.3}  {:<23} {highest:>8.3}  {}",
                    feature.feature,
                    range(lowest),
                    range(highest)
                ),
            );
        }
        if let Some(intercept) = self.intercept {
            line(out, format_args!("  {:<30} {intercept:>8.3}", "(every transaction)"));
        }
    }
}

impl Trained<'_> {
    /// The tutorial's lines.
    fn tutorial(&self, created: &str, out: &mut String) {
        line(out, format_args!("Report generated on: {created}"));
        line(out, format_args!("Training dataset: {}", self.dataset));
        line(out, format_args!("Model checkpoint: {}", self.checkpoint));
        line(out, format_args!("---"));
        let shown =
            |accuracy: Option<f64>| accuracy.map_or_else(|| "none".to_owned(), |share| share.to_string());
        let testing = self.evaluation.testing.as_ref().and_then(|testing| testing.accuracy);
        line(out, format_args!("Accuracy on training data: {}", shown(self.evaluation.training.accuracy)));
        line(out, format_args!("Accuracy on testing data: {}", shown(testing)));
        out.push('\n');
    }

    /// The last checkpoint in full, beside the one before it.
    fn hidden(&self, before: Option<&Self>, continues: bool, out: &mut String) {
        let evaluation = &self.evaluation;
        let before = before.map(|before| &before.evaluation);
        line(out, format_args!("The last checkpoint, {}", self.checkpoint));
        let (rows, frauds) = (evaluation.learned_rows, evaluation.learned_frauds);
        line(
            out,
            format_args!(
                "  learned from {rows} transactions, {frauds} of them frauds, and from nothing else:"
            ),
        );
        line(
            out,
            format_args!(
                "{}",
                match continues {
                    true => "  it continues the model of an earlier run, whose transactions are among them",
                    false => "  it does not continue the model of an earlier run",
                }
            ),
        );
        line(
            out,
            format_args!(
                "  {:<14} {:>8} {:>7} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8}",
                "on", "rows", "frauds", "accuracy", "majority", "AUC ROC", "AP", "+/-", "CP@100"
            ),
        );
        measures(out, "training data", &evaluation.training, None);
        let Some(testing) = &evaluation.testing else {
            out.push('\n');
            return;
        };
        let testing_before = before.and_then(|before| before.testing.as_ref());
        measures(out, "testing data", testing, testing_before);
        for (at, (day, metrics)) in evaluation.testing_days.iter().enumerate() {
            let before = before.and_then(|before| before.testing_days.get(at));
            measures(out, day, metrics, before.map(|(_, metrics)| metrics));
        }
        for (scenario, (found, all)) in &testing.found_by_scenario {
            let recall = share(Some(*found as f64 / *all as f64), 4);
            let before = testing_before.and_then(|before| before.found_by_scenario.get(scenario));
            let before =
                before.map_or_else(String::new, |(found, _)| format!(" (checkpoint before: {found})"));
            line(
                out,
                format_args!("  scenario {scenario}: {found} of {all} frauds found, recall {recall}{before}"),
            );
        }
        out.push('\n');
    }
}

impl Weighted {
    /// Lowest and highest weight.
    fn spread(&self) -> (f64, f64) {
        let weights = self.weights.iter().copied();
        weights.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), w| (low.min(w), high.max(w)))
    }

    /// The values of the first bin of a weight.
    fn range(&self, weight: f64) -> String {
        let bin = self.weights.iter().position(|found| *found == weight).unwrap_or(0);
        match (bin.checked_sub(1).and_then(|at| self.edges.get(at)), self.edges.get(bin)) {
            (None, Some(to)) => format!("below {to}"),
            (Some(from), None) => format!("{from} and above"),
            (Some(from), Some(to)) => format!("{from} to {to}"),
            (None, None) => "any".to_owned(),
        }
    }
}

/// What every row's log-odds begin with: the mean of the chains'.
fn intercept(model: &Model) -> f64 {
    let chains = model.chains.chains();
    let all = chains.iter().filter_map(|chain| chain.weights().last());
    all.sum::<f64>() / chains.len() as f64
}

/// Each feature with what it adds to a row's log-odds. One that is in several chains adds in each.
fn weighted(model: &Model) -> Vec<Weighted> {
    let chains = model.chains.chains();
    let mut found: Vec<Weighted> = Vec::new();
    for weighted in chains.iter().flat_map(|chain| weighted_of(chain, chains.len() as f64)) {
        match found.iter_mut().find(|other| other.feature == weighted.feature) {
            Some(other) => other.weights.iter_mut().zip(&weighted.weights).for_each(|(sum, w)| *sum += w),
            None => found.push(weighted),
        }
    }
    found
}

/// A chain's features; what they add is divided by the number of chains.
fn weighted_of(chain: &Ftrl, chains: f64) -> Vec<Weighted> {
    let mut rest = chain.weights();
    let mut next = |count| {
        let (own, others) = rest.split_at(count);
        rest = others;
        own.iter().map(|weight| weight / chains).collect::<Vec<f64>>()
    };
    let weighted = |feature: &usize| {
        let (feature, name, edges) = (*feature, NAMES[*feature], EDGES[*feature]);
        let bins = features::bins(feature);
        if !features::is_level(feature) {
            return Weighted { feature: name, weight: None, edges, weights: next(bins) };
        }
        let weight = next(1)[0];
        let weights = (0..bins).map(|bin| weight * features::level(feature, bin)).collect();
        Weighted { feature: name, weight: Some(weight), edges, weights }
    };
    chain.features().iter().map(weighted).collect()
}

fn measures(out: &mut String, name: &str, metrics: &Metrics, before: Option<&Metrics>) {
    let precision = metrics.average_precision;
    line(
        out,
        format_args!(
            "  {name:<14} {:>8} {:>7} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8}",
            metrics.rows,
            metrics.frauds,
            share(metrics.accuracy, 5),
            share(metrics.majority_accuracy, 5),
            share(metrics.auc_roc, 4),
            share(precision, 4),
            change(precision, before.and_then(|before| before.average_precision)),
            share(metrics.card_precision_100, 4),
        ),
    );
}

/// How far a measure lies above what it was before.
fn change(now: Option<f64>, before: Option<f64>) -> String {
    let change = now.zip(before).map(|(now, before)| format!("{:+.4}", now - before));
    change.unwrap_or_else(|| "-".to_owned())
}

fn share(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}
/// The figures of a report that a summary shows, by their names in `report.json`.
const HEADLINE: [&str; 5] =
    ["accuracy", "auc_roc", "average_precision", "card_precision_100", "majority_accuracy"];

/// What `report.json` says of each training dataset; nothing where it cannot be read.
fn trained(json: Option<&[u8]>) -> Vec<serde_json::Value> {
    let mut report: Option<serde_json::Value> = json.and_then(|bytes| serde_json::from_slice(bytes).ok());
    match report.as_mut().and_then(|report| report.get_mut("trained")).map(serde_json::Value::take) {
        Some(serde_json::Value::Array(trained)) => trained,
        _ => Vec::new(),
    }
}

/// What the last checkpoint reached on the testing data; empty where nothing was tested.
pub(super) fn headline(json: Option<&[u8]>) -> BTreeMap<String, f64> {
    let trained = trained(json);
    let figure = |name: &str| Some((name.to_owned(), trained.last()?["testing"][name].as_f64()?));
    HEADLINE.into_iter().filter_map(figure).collect()
}

/// What a page draws by dataset: a title, and the figures on the testing data, by their names in `report.json`.
const CURVES: [(&str, &[&str]); 3] = [
    ("Average precision on the testing data", &["average_precision"]),
    ("AUC ROC on the testing data", &["auc_roc"]),
    ("Accuracy on the testing data, and that of always saying no", &["accuracy", "majority_accuracy"]),
];

/// What each checkpoint reached on the testing data; empty where nothing was tested.
pub(super) fn curves(json: Option<&[u8]>) -> Vec<Curve> {
    let trained = trained(json);
    let curve = |(title, names): (&str, &[&str])| {
        let line = |name: &&str| {
            let values = trained.iter().map(|dataset| dataset["testing"][*name].as_f64()).collect();
            (name.replace('_', " "), values)
        };
        let datasets = trained.iter().filter_map(|dataset| dataset["dataset"].as_str().map(str::to_owned));
        Curve { title: title.to_owned(), points: datasets.collect(), lines: names.iter().map(line).collect() }
    };
    let has_values = |curve: &Curve| curve.lines.iter().any(|(_, values)| values.iter().any(Option::is_some));
    let by_day = CURVES.into_iter().map(curve);
    by_day.chain(trained.last().map(shapes).unwrap_or_default()).filter(has_values).collect()
}

/// How the last checkpoint does on the testing data at each threshold.
fn shapes(last: &serde_json::Value) -> Vec<Curve> {
    let Ok(shape) = serde_json::from_value::<Shape>(last["testing_shape"].clone()) else { return Vec::new() };
    let recall = |level: usize| format!("recall {} %", 100 * level as u64 / RECALLS);
    let precision = shape.precision_at_recall;
    let precision_recall = Curve {
        title: "Precision of the last checkpoint on the testing data, by recall".to_owned(),
        points: (1..=precision.len()).map(recall).collect(),
        lines: vec![("precision".to_owned(), precision.into_iter().map(Some).collect())],
    };
    let bins = shape.by_log_odds.iter().enumerate().filter(|(_, (rows, _))| *rows > 0);
    let said = |bin: usize| {
        let log_odds = FIRST_BIN + bin as f64 + 0.5;
        1.0 / (1.0 + libm::exp(-log_odds))
    };
    let calibration = Curve {
        title: "Calibration of the last checkpoint on the testing data, by the probability that it says"
            .to_owned(),
        points: bins.clone().map(|(bin, (rows, _))| format!("{:.4} ({rows} rows)", said(bin))).collect(),
        lines: vec![
            ("said".to_owned(), bins.clone().map(|(bin, _)| Some(said(bin))).collect()),
            (
                "were frauds".to_owned(),
                bins.map(|(_, (rows, frauds))| Some(*frauds as f64 / *rows as f64)).collect(),
            ),
        ],
    };
    vec![precision_recall, calibration]
}
