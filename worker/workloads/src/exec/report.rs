//! The report of a run of a program: what each dataset came to, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::Setup;
use super::tree::Tree;
use engine::manifest::{Dataset, Role};
use engine::workload::{Part, ReportInput};

#[derive(Debug, Serialize)]
struct Report<'a> {
    created: &'a str,
    command: &'a [String],
    deterministic: bool,
    datasets: Vec<Row<'a>>,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    dataset: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a Summary>,
}

/// What a program left in its output folder.
#[derive(Debug, Serialize, Deserialize)]
struct Summary {
    hash: String,
    files: usize,
    bytes: usize,
}

/// # Errors
/// Where a result is no folder's content.
pub(super) fn files(setup: &Setup, input: &ReportInput<'_>) -> Result<BTreeMap<String, String>, String> {
    let mut results = BTreeMap::new();
    for part in input.evals {
        let summary: Summary =
            serde_json::from_slice(&part.bytes).map_err(|error| format!("read a summary: {error}"))?;
        results.insert(part.index, summary);
    }
    let mut rows = Vec::new();
    let is_shown = |dataset: &&Dataset| dataset.role == Role::Train && dataset.index >= input.own_from;
    for dataset in input.datasets.iter().filter(is_shown) {
        let rejected = input.rejected.get(&dataset.index).map(String::as_str);
        rows.push(Row { dataset: &dataset.path, rejected, output: results.get(&dataset.index) });
    }
    let report = Report {
        created: input.created,
        command: &setup.command,
        deterministic: setup.deterministic,
        datasets: rows,
    };
    let json = serde_json::to_string_pretty(&report).map_err(|error| format!("write the report: {error}"))?;
    Ok(BTreeMap::from([("report.json".to_owned(), json + "\n"), ("report.txt".to_owned(), text(&report))]))
}

/// What the report says of a result, as JSON.
///
/// # Errors
/// Where it is no folder's content.
pub(super) fn summary(part: &Part) -> Result<Vec<u8>, String> {
    let tree = Tree::decode(&part.bytes)?;
    let sizes: Vec<usize> = tree.files().map(|(_, content)| content.len()).collect();
    let summary = Summary { hash: part.hash.to_string(), files: sizes.len(), bytes: sizes.iter().sum() };
    serde_json::to_vec(&summary).map_err(|error| format!("write a summary: {error}"))
}

fn text(report: &Report<'_>) -> String {
    let mut text = format!("Report generated on: {}\n", report.created);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "Command: {}", report.command.join(" "));
    for row in &report.datasets {
        let _ = write!(text, "---\nDataset: {}\n", row.dataset);
        let _ = match (row.rejected, row.output) {
            (Some(reason), _) => writeln!(text, "Rejected: {reason}"),
            (None, Some(Summary { hash, files, bytes })) => {
                writeln!(text, "Output: {files} files, {bytes} bytes, hash {hash}")
            }
            (None, None) => writeln!(text, "Output: none"),
        };
    }
    text
}
