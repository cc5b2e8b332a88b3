//! The items of a few datasets, done by hand: what the engine does, without volume and queue.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use worker::contract::BLOCK_BYTES;
use worker::hash::Hash;
use worker::manifest::{Dataset, Role};
use worker::path::name_of;
use worker::pipeline::{Input, Order, Pipeline, Stage};
use worker::workload::exec::tree::Tree;
use worker::workload::exec::{Exec, Local, Setup, saved_after};
use worker::workload::{Inputs, Outcome, Part, Step, Task, Wanted, Workload};

use super::kept::Kept;

use crate::datasets::Datasets;

/// Datasets in a row that a chain is checked on.
const CHAINED: usize = 2;
/// Bytes of output that are shown of each run.
const SHOWN_MAX: u64 = 64 << 10;

/// A stage of a dataset.
pub(super) type Item = (Stage, u32);

/// One time that everything is done: with what, and where.
pub(super) struct Pass {
    pub setup: Setup,
    pub scratch: PathBuf,
    pub timeout: Option<Duration>,
    pub number: u32,
}

/// What was made, by item.
#[derive(Default)]
pub(super) struct Made(BTreeMap<Item, Outcome>);

impl Made {
    pub fn of(&self, item: &Item) -> anyhow::Result<&Outcome> {
        self.0.get(item).context("an item was not made before what reads it")
    }

    /// The result; `None` where the dataset was rejected.
    fn part(&self, item: Item) -> anyhow::Result<Option<Part>> {
        Ok(match self.of(&item)? {
            Outcome::Part(bytes) => Some(Part {
                stage: item.0,
                index: item.1,
                hash: Hash::of(bytes),
                bytes: Arc::new(bytes.clone()),
            }),
            Outcome::Rejected(_) => None,
        })
    }
}

/// The datasets that are tried, and the stages.
pub(super) struct Rehearsal {
    pipeline: Pipeline,
    datasets: Vec<(Dataset, Vec<u8>)>,
    /// The blocks that results refer to.
    pub kept: Kept,
}

impl Rehearsal {
    /// # Errors
    /// Where a dataset cannot be read.
    pub fn of(setup: &Setup, all: &Datasets, kept: Kept) -> anyhow::Result<Self> {
        let pipeline = Exec::new(setup.clone(), Local::default()).pipeline();
        let trained = if pipeline.chain().is_some() { CHAINED } else { 1 };
        let mut datasets = Vec::new();
        let mut count = 0;
        for (index, path) in all.paths.iter().enumerate() {
            let role = Role::of(path);
            count += usize::from(role == Role::Train);
            if role == Role::Train && count > trained || pipeline.stages_of(role).next().is_none() {
                continue;
            }
            let content = all.content(path)?;
            let blocks = content.chunks(BLOCK_BYTES as usize).map(Hash::of).collect();
            let (index, bytes) = (u32::try_from(index)?, content.len() as u64);
            let path = path.clone();
            datasets.push((Dataset { index, path, role, bytes, blocks }, content));
        }
        Ok(Self { pipeline, datasets, kept })
    }

    /// Every stage of every dataset, each after what it reads.
    pub fn items(&self) -> Vec<Item> {
        let mut items = Vec::new();
        // The tests first: states are evaluated with them.
        for role in [Role::Test, Role::Train] {
            for (dataset, _) in self.datasets.iter().filter(|(dataset, _)| dataset.role == role) {
                items.extend(self.pipeline.stages_of(role).map(|stage| (stage, dataset.index)));
            }
        }
        items
    }

    /// As in `train/1 of 2018-04-02.csv`.
    pub fn words(&self, item: &Item) -> String {
        let path = self.dataset(item.1).map_or("", |(dataset, _)| name_of(&dataset.path));
        format!("{}/{} of {path}", self.pipeline.spec(item.0).name, item.1)
    }

    /// Does everything once.
    pub fn run(&self, pass: &Pass) -> anyhow::Result<Made> {
        let mut made = Made::default();
        for item in self.items() {
            let outcome = self.again(pass, &item, &made)?;
            made.0.insert(item, outcome);
        }
        Ok(made)
    }

    /// Does one item, from what was made before.
    pub fn again(&self, pass: &Pass, item: &Item, made: &Made) -> anyhow::Result<Outcome> {
        let (stage, index) = *item;
        let (dataset, content) = self.dataset(index).context("an item names no dataset")?;
        let mut inputs = Inputs::of(dataset.clone(), Hash::default());
        (inputs.run, inputs.attempt) = ("check".to_owned(), format!("check-{}", pass.number));
        // What may differ between attempts does.
        inputs.count = u32::try_from(self.datasets.len())? + pass.number;
        inputs.grace = Duration::from_secs(15);
        for input in self.pipeline.spec(stage).inputs {
            match input {
                Input::Content => bail!("a program's stages read datasets by the block"),
                Input::Blocks => {}
                Input::Own(read) => match made.of(&(*read, index))? {
                    Outcome::Rejected(why) => return Ok(Outcome::Rejected(why.clone())),
                    Outcome::Part(_) => inputs.own.extend(made.part((*read, index))?),
                },
                Input::Previous => inputs.previous = self.state_before(stage, index, made)?,
                Input::Tests(read) => {
                    for (test, _) in self.datasets.iter().filter(|(dataset, _)| dataset.role == Role::Test) {
                        inputs.tests.extend(made.part((*read, test.index))?);
                    }
                }
                Input::Window(_) | Input::LazyWindow(_) => bail!("a program's stages have no windows"),
            }
        }
        let local = Local {
            scratch: Some(pass.scratch.clone()),
            item_timeout: pass.timeout,
            shown_max: SHOWN_MAX,
            ..Local::default()
        };
        let task = Exec::new(pass.setup.clone(), local).task(stage, inputs);
        self.finish(task, content, pass.number).map_err(|why| anyhow!("{}: {why}", self.words(item)))
    }

    /// Runs a task to its end, as the attempt of this number.
    fn finish(&self, mut task: Box<dyn Task>, content: &[u8], attempt: u32) -> Result<Outcome, String> {
        if attempt > 0 {
            task.resume(&saved_after(attempt));
        }
        loop {
            match task.step() {
                Step::More | Step::Save => {}
                Step::Need(Wanted::Saved(_)) => task.lacks(),
                Step::Need(Wanted::Dataset(number)) => {
                    let block = content.chunks(BLOCK_BYTES as usize).nth(number as usize);
                    task.give(block.unwrap_or_default().to_vec());
                }
                Step::Need(Wanted::Result { hash, .. }) => task.give(self.kept.get(hash)?),
                Step::Need(Wanted::Part(_)) => return Err("a program's stages have no windows".to_owned()),
                Step::Keep(block) => self.kept.put(&block)?,
                Step::Done(outcome) => return Ok(outcome),
                Step::NotReady(why) | Step::Failed(why) => return Err(why),
                Step::Stopped => return Err("the program stopped".to_owned()),
            }
        }
    }

    fn dataset(&self, index: u32) -> Option<&(Dataset, Vec<u8>)> {
        self.datasets.iter().find(|(dataset, _)| dataset.index == index)
    }

    /// The newest state of the chain before a dataset.
    fn state_before(&self, stage: Stage, index: u32, made: &Made) -> anyhow::Result<Option<Part>> {
        debug_assert_eq!(self.pipeline.spec(stage).order, Order::Chain);
        let before = self
            .datasets
            .iter()
            .rev()
            .filter(|(dataset, _)| dataset.role == Role::Train && dataset.index < index);
        for (dataset, _) in before {
            if let Some(part) = made.part((stage, dataset.index))? {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }
}

/// `3 files, 1234 bytes`.
pub(super) fn size(result: &[u8]) -> String {
    let Ok(tree) = Tree::decode(result) else { return format!("{} bytes", result.len()) };
    let (files, bytes) = tree.size();
    format!("{files} {}, {bytes} bytes", if files == 1 { "file" } else { "files" })
}
