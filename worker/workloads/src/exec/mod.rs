//! Any program as the workload: an unmodified script, one process for each item. See docs/own-code.md.
//!
//! - `train` (the default) is a chain: each dataset's process starts from the files that the one before left in
//!   its output folder.
//! - `map` does each dataset alone, in parallel.

pub mod arguments;
pub mod cli;
mod report;
mod task;
pub mod tree;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::days;
use arguments::Item;
use engine::hash::Hash;
use engine::manifest::{Dataset, Role};
use engine::order::Period;
use engine::pipeline::{Input, Order, Pipeline, Stage, StageSpec};
use engine::workload::{Failed, Inputs, Part, ReportInput, ShownFiles, Task, Workload};
use tree::Tree;

/// The workload's name in manifests.
pub const NAME: &str = "exec";
/// The parameters in a manifest: the command as a JSON list, its shape, whether it is declared deterministic, and
/// the environment's variables under this prefix.
const COMMAND: &str = "command";
const SHAPE: &str = "shape";
const DETERMINISTIC: &str = "deterministic";
const ENVIRONMENT: &str = "env.";

/// A chain over the training datasets.
pub const TRAIN: Pipeline = Pipeline::new(&[StageSpec {
    name: "train",
    folder: "trained",
    order: Order::Chain,
    roles: &[Role::Train],
    inputs: &[Input::Previous, Input::Content],
}]);

/// Each training dataset alone.
pub const MAP: Pipeline = Pipeline::new(&[StageSpec {
    name: "prepare",
    folder: "prepared",
    order: Order::Each,
    roles: &[Role::Train],
    inputs: &[Input::Content],
}]);

/// What of a machine's own a program is run with; it decides no result.
#[derive(Debug, Clone, Default)]
pub struct Local {
    /// Where attempts have their folders; the system's folder for temporary files where it is not given.
    pub scratch: Option<PathBuf>,
    /// A program that runs for longer has failed.
    pub item_timeout: Option<Duration>,
    /// Whether the program's output is shown, with the item before each line.
    pub shows_output: bool,
}

/// What decides the result beside the datasets and the program's own files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    pub command: Vec<String>,
    pub is_map: bool,
    pub deterministic: bool,
    pub environment: BTreeMap<String, String>,
}

impl Setup {
    /// As [`Workload::params`] has it.
    pub fn params(&self) -> BTreeMap<String, String> {
        let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
        let mut params = BTreeMap::from([
            // A list of strings: writing it as JSON cannot fail.
            (COMMAND.to_owned(), serde_json::to_string(&self.command).unwrap_or_default()),
            (SHAPE.to_owned(), if self.is_map { "map" } else { "train" }.to_owned()),
            (DETERMINISTIC.to_owned(), yes(self.deterministic)),
        ]);
        params.extend(
            self.environment.iter().map(|(name, value)| (format!("{ENVIRONMENT}{name}"), value.clone())),
        );
        params
    }

    /// # Errors
    /// Names the parameter that is missing or has no such value.
    pub fn parse(params: &BTreeMap<String, String>) -> Result<Self, String> {
        let text = |name: &str| {
            params.get(name).map(String::as_str).ok_or_else(|| format!("the parameter {name} is missing"))
        };
        let command: Vec<String> = serde_json::from_str(text(COMMAND)?)
            .map_err(|error| format!("the parameter {COMMAND} is no list of arguments: {error}"))?;
        let variables = params
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(ENVIRONMENT)?.to_owned(), value.clone())));
        Ok(Self {
            command,
            is_map: text(SHAPE)? == "map",
            deterministic: text(DETERMINISTIC)? == "yes",
            environment: variables.collect(),
        })
    }

    fn params_json(&self) -> String {
        serde_json::to_string(&self.params()).unwrap_or_default()
    }
}

/// The workload.
#[derive(Debug)]
pub struct Exec {
    setup: Arc<Setup>,
    local: Arc<Local>,
}

impl Exec {
    pub fn new(setup: Setup, local: Local) -> Self {
        Self { setup: Arc::new(setup), local: Arc::new(local) }
    }

    /// A folder that no other attempt has.
    fn folder(&self, inputs: &Inputs) -> PathBuf {
        let base = self.local.scratch.clone().unwrap_or_else(std::env::temp_dir);
        base.join(format!("batch-{}-{}", inputs.attempt, inputs.dataset.index))
    }
}

impl Workload for Exec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn results_version(&self) -> u32 {
        1
    }

    fn params(&self) -> BTreeMap<String, String> {
        self.setup.params()
    }

    fn deterministic(&self) -> bool {
        self.setup.deterministic
    }

    /// A map takes its datasets in any order.
    fn ordered(&self) -> bool {
        !self.setup.is_map
    }

    fn period<'p>(&self, path: &'p str) -> Option<Period<'p>> {
        days::period(path)
    }

    fn pipeline(&self) -> Pipeline {
        if self.setup.is_map { MAP } else { TRAIN }
    }

    fn task(&self, stage: Stage, inputs: Inputs) -> Box<dyn Task> {
        let folder = self.folder(&inputs);
        let name = inputs.dataset.path.rsplit('/').next().unwrap_or_default().to_owned();
        let stage = self.pipeline().spec(stage).name;
        if name.is_empty() {
            return Box::new(Failed(format!("{} names no file", inputs.dataset.path)));
        }
        let item = Item {
            run: inputs.run,
            name: format!("{stage}/{}", inputs.dataset.index),
            stage: stage.to_owned(),
            index: inputs.dataset.index,
            count: inputs.count,
            seed: seed(&inputs.dataset),
            folder,
            input: name,
            has_previous: inputs.previous.is_some(),
            grace_s: inputs.grace.as_secs(),
        };
        let (setup, local) = (self.setup.clone(), self.local.clone());
        Box::new(task::Program::new(setup, local, item, inputs.content, inputs.previous))
    }

    fn report(&self, input: &ReportInput<'_>) -> Result<BTreeMap<String, String>, String> {
        report::files(&self.setup, input)
    }

    fn checkpoint_name(&self, stem: &str) -> String {
        stem.to_owned()
    }

    fn shown_files(&self, name: &str, part: &Part) -> Result<ShownFiles, String> {
        let tree = Tree::decode(&part.bytes)?;
        let file = |(path, content): (&str, &[u8])| (format!("{name}/{path}"), Arc::new(content.to_vec()));
        Ok(tree.files().map(file).collect())
    }

    fn latest_name(&self) -> Option<&'static str> {
        (!self.setup.is_map).then_some("latest")
    }

    fn for_report(&self, part: Part) -> Result<Part, String> {
        Ok(Part { bytes: Arc::new(report::summary(&part)?), ..part })
    }
}

/// A seed for each dataset, from its place and content: several libraries do not save their sampler's state.
fn seed(dataset: &Dataset) -> u32 {
    let hash = Hash::of_fields([&dataset.index.to_le_bytes()[..], &dataset.hash().0]);
    u32::from_le_bytes([hash.0[0], hash.0[1], hash.0[2], hash.0[3]]) >> 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setup_reads_back_from_a_manifests_parameters() {
        let setup = Setup {
            command: ["python", "train.py", "{input}"].map(str::to_owned).into(),
            is_map: true,
            deterministic: false,
            environment: BTreeMap::from([("A".to_owned(), "b=c".to_owned())]),
        };
        assert_eq!(Setup::parse(&setup.params()), Ok(setup));
        assert!(Setup::parse(&BTreeMap::new()).unwrap_err().contains("command"));
    }
}
