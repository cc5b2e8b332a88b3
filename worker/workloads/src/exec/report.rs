//! The report of a run of a program: what each dataset came to, as text and as JSON. Of what `evaluate` left it
//! shows the texts.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Setup;
use super::tree::{Content, Tree};
use engine::manifest::{Dataset, Role};
use engine::workload::{Part, ReportInput};

/// A file of a result whose numbers the report shows.
const METRICS: &str = "metrics.json";
/// Bytes of the texts of one result that the report carries, at most.
const TEXTS_MAX: usize = 256 << 10;

#[derive(Debug, Serialize)]
struct Report<'a> {
    created: &'a str,
    commands: BTreeMap<&'a str, &'a [String]>,
    deterministic: bool,
    datasets: Vec<Row<'a>>,
    /// What the command made that reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    reported: Option<Output<'a>>,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    dataset: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Output<'a>>,
}

/// What a command left in its output folder.
#[derive(Debug, Serialize)]
struct Output<'a> {
    hash: &'a str,
    files: usize,
    bytes: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metrics: &'a BTreeMap<String, f64>,
}

impl fmt::Display for Output<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hash, files, bytes, metrics } = self;
        for (name, value) in *metrics {
            writeln!(f, "{name}: {value}")?;
        }
        writeln!(f, "Output: {files} files, {bytes} bytes, hash {hash}")
    }
}

/// What is kept of a result until the report is made.
#[derive(Debug, Serialize, Deserialize)]
struct Summary {
    hash: String,
    files: usize,
    bytes: u64,
    metrics: BTreeMap<String, f64>,
    texts: BTreeMap<String, String>,
}

impl Summary {
    fn of(part: &Part) -> Result<Self, String> {
        serde_json::from_slice(&part.bytes).map_err(|error| format!("read a summary: {error}"))
    }

    fn output(&self) -> Output<'_> {
        Output { hash: &self.hash, files: self.files, bytes: self.bytes, metrics: &self.metrics }
    }
}

/// The report's files; `names` are the datasets' under `output/`.
///
/// # Errors
/// Where a result is no folder's content.
pub(super) fn files(
    setup: &Setup,
    input: &ReportInput<'_>,
    names: &BTreeMap<u32, String>,
) -> Result<BTreeMap<String, String>, String> {
    let mut results: BTreeMap<u32, Summary> = BTreeMap::new();
    for part in input.evals {
        results.insert(part.index, Summary::of(part)?);
    }
    let reported = input.end.map(Summary::of).transpose()?;
    let mut rows = Vec::new();
    let is_shown = |dataset: &&Dataset| dataset.role == Role::Train && dataset.index >= input.own_from;
    for dataset in input.datasets.iter().filter(is_shown) {
        let rejected = input.rejected.get(&dataset.index).map(String::as_str);
        let output = results.get(&dataset.index).map(Summary::output);
        rows.push(Row { dataset: &dataset.path, rejected, output });
    }
    let given = setup.commands.named().into_iter();
    let report = Report {
        created: input.created,
        commands: given.filter_map(|(name, command)| Some((name, command?.as_slice()))).collect(),
        deterministic: setup.deterministic,
        datasets: rows,
        reported: reported.as_ref().map(Summary::output),
    };
    let json = serde_json::to_string_pretty(&report).map_err(|error| format!("write the report: {error}"))?;
    let mut files =
        BTreeMap::from([("report.json".to_owned(), json + "\n"), ("report.txt".to_owned(), text(&report))]);
    if setup.commands.evaluate.is_some() {
        for (index, name) in names {
            let texts = results.get(index).into_iter().flat_map(|summary| &summary.texts);
            files.extend(texts.map(|(path, text)| (format!("evaluated/{name}/{path}"), text.clone())));
        }
    }
    Ok(files)
}

/// What the report says of a result, as JSON.
///
/// # Errors
/// Where it is no folder's content.
pub(super) fn summary(part: &Part) -> Result<Vec<u8>, String> {
    let tree = Tree::decode(&part.bytes)?;
    let mut left = TEXTS_MAX;
    let mut texts = BTreeMap::new();
    for (path, content) in tree.files() {
        if let Content::Inline(content) = content
            && let Some(rest) = left.checked_sub(content.len())
            && let Ok(text) = std::str::from_utf8(content)
        {
            left = rest;
            texts.insert(path.to_owned(), text.to_owned());
        }
    }
    let metrics = texts.get(METRICS).map(|text| numbers(text)).unwrap_or_default();
    let (files, bytes) = tree.size();
    let summary = Summary { hash: part.hash.to_string(), files, bytes, metrics, texts };
    serde_json::to_vec(&summary).map_err(|error| format!("write a summary: {error}"))
}

/// The numbers of a JSON object.
fn numbers(text: &str) -> BTreeMap<String, f64> {
    let Ok(Value::Object(values)) = serde_json::from_str(text) else { return BTreeMap::new() };
    values.into_iter().filter_map(|(name, value)| Some((name, value.as_f64()?))).collect()
}

fn text(report: &Report<'_>) -> String {
    let mut text = format!("Report generated on: {}\n", report.created);
    // Writing to a string cannot fail.
    for (name, command) in &report.commands {
        let _ = writeln!(text, "Command to {name}: {}", command.join(" "));
    }
    for row in &report.datasets {
        let _ = write!(text, "---\nDataset: {}\n", row.dataset);
        let _ = match (row.rejected, &row.output) {
            (Some(reason), _) => writeln!(text, "Rejected: {reason}"),
            (None, Some(output)) => write!(text, "{output}"),
            (None, None) => writeln!(text, "Output: none"),
        };
    }
    if let Some(reported) = &report.reported {
        let _ = write!(text, "---\nReport of the program:\n{reported}");
    }
    text
}
