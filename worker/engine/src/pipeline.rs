//! The pipeline of a workload: which stages there are, what each reads, to which datasets it is done, and which
//! item of the queue stands for what. Written once, as data; planner, executor, checks and simulator read it.

use crate::item::{Item, Name};
use crate::manifest::Role;

/// A stage, by its place in its pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stage(pub u8);

/// What a stage reads of a dataset, beside the run's parameters. Its result's parent is the hash over all of
/// it, in the order declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The dataset's own content, whole in memory.
    Content,
    /// The same, block by block as the task asks for it ([`crate::workload::Wanted`]).
    Blocks,
    /// What an earlier stage made of the same dataset. Where that rejected it, so does this stage.
    Own(Stage),
    /// What an earlier stage made of the datasets in the workload's window before this one; rejected ones are
    /// left out.
    Window(Stage),
    /// The same by their hashes: the task asks for the bytes that it needs ([`crate::workload::Wanted::Part`]).
    LazyWindow(Stage),
    /// The chain's state after the training dataset before this one.
    Previous,
    /// What an earlier stage made of each test dataset; rejected ones are left out.
    Tests(Stage),
}

/// In which order a stage is done to the datasets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// To each by itself, in parallel: an item a dataset.
    Each,
    /// An item a dataset, one dataset after the other: what the next one needs is in the memory of the worker that did
    /// the last one. It goes on with them, and others leave them to it while they find something else.
    Sticky,
    /// One dataset after the other, each from the state before it: one item for all.
    Chain,
}

/// A stage as its workload declares it.
#[derive(Debug, Clone, Copy)]
pub struct StageSpec {
    /// Its name in items, at most 20 bytes: `prepare/3`.
    pub name: &'static str,
    /// The folder of its commits, inside the run.
    pub folder: &'static str,
    /// In which order datasets are done.
    pub order: Order,
    /// Whose datasets it is done to.
    pub roles: &'static [Role],
    /// What it reads, in the order in which it is loaded.
    pub inputs: &'static [Input],
}

impl StageSpec {
    /// Whether it reads the dataset's own content.
    pub fn reads_dataset(&self) -> bool {
        self.inputs.iter().any(|input| matches!(input, Input::Content | Input::Blocks))
    }
}

/// What is made once, at the end of a run, before its report: from the last results of its own training datasets and
/// the chain's last state. It is part of the item [`REPORT`].
#[derive(Debug, Clone, Copy)]
pub struct End {
    /// The folder of its commit, inside the run; `output/` shows its files below the same name.
    pub folder: &'static str,
}

/// Stands for the end where a stage is named; its commit has the index of the run's last training dataset.
pub const END: Stage = Stage(STAGES_MAX as u8 - 1);

/// What an item stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Commit the manifest's first page.
    Begin,
    /// Take pushed paths into a further page.
    Intake,
    /// Go on with the chain as far as its inputs reach.
    Chain(Stage),
    /// One stage of one dataset.
    Each(Stage, u32),
    /// Seal the run, commit the report, write `output/`.
    Report,
}

/// Maximum number of stages, the end among them: ranks leave room for no more, and one byte a dataset shows which are
/// committed.
pub const STAGES_MAX: usize = 8;

/// Ranks for each dataset.
const RANKS: u64 = STAGES_MAX as u64;
/// Take pushed paths into a further page.
pub const INTAKE: Item = Item { rank: 1, name: Name::constant("intake") };
const CHAIN_RANK: u64 = 2;
const FIRST_RANK: u64 = 4;
/// Seal the run and report.
pub const REPORT: Item =
    Item { rank: FIRST_RANK + RANKS * (u32::MAX as u64 + 1), name: Name::constant("report") };

/// The stages of a workload, each after the stages that it reads.
#[derive(Debug, Clone, Copy)]
pub struct Pipeline {
    stages: &'static [StageSpec],
    end: Option<End>,
}

impl Pipeline {
    /// # Panics
    /// Where the stages are no pipeline; in a constant that is found when compiling.
    pub const fn new(stages: &'static [StageSpec]) -> Self {
        assert!(!stages.is_empty() && stages.len() < STAGES_MAX, "a pipeline has one to seven stages");
        let mut at = 0;
        let mut chains = 0;
        while at < stages.len() {
            // Leaves room for an index.
            assert!(stages[at].name.len() <= 20, "a stage's name has 20 bytes at most");
            let _ = Name::constant(stages[at].name);
            chains += matches!(stages[at].order, Order::Chain) as usize;
            let mut input = 0;
            while input < stages[at].inputs.len() {
                if let Input::Own(stage)
                | Input::Window(stage)
                | Input::LazyWindow(stage)
                | Input::Tests(stage) = stages[at].inputs[input]
                {
                    assert!((stage.0 as usize) < at, "a stage reads earlier stages alone");
                }
                input += 1;
            }
            at += 1;
        }
        assert!(chains <= 1, "a pipeline has one chain at most");
        Self { stages, end: None }
    }

    /// The same, with an end.
    #[must_use]
    pub const fn ending(self, end: End) -> Self {
        Self { end: Some(end), ..self }
    }

    /// What is made once, at the end.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// All stages, each after the stages that it reads.
    pub fn stages(&self) -> impl DoubleEndedIterator<Item = Stage> + use<> {
        // At most `STAGES_MAX`.
        (0..self.stages.len() as u8).map(Stage)
    }

    /// The stages that are done to datasets of a role.
    pub fn stages_of(&self, role: Role) -> impl DoubleEndedIterator<Item = Stage> + use<> {
        let pipeline = *self;
        self.stages().filter(move |stage| pipeline.applies(*stage, role))
    }

    /// What a stage is.
    pub fn spec(&self, stage: Stage) -> &'static StageSpec {
        &self.stages[usize::from(stage.0)]
    }

    /// The folder of a stage's commits.
    pub fn folder(&self, stage: Stage) -> &'static str {
        match self.end {
            Some(end) if stage == END => end.folder,
            _ => self.spec(stage).folder,
        }
    }

    /// Whether a stage is done to datasets of a role.
    pub fn applies(&self, stage: Stage, role: Role) -> bool {
        self.spec(stage).roles.contains(&role)
    }

    /// The stage that goes from one training dataset to the next.
    pub fn chain(&self) -> Option<Stage> {
        self.stages().find(|stage| self.spec(*stage).order == Order::Chain)
    }

    /// The sticky stages: who did one for a dataset should do it for the next one, since it has in memory what that needs.
    pub fn sticky(&self) -> impl Iterator<Item = Stage> + use<> {
        let pipeline = *self;
        self.stages().filter(move |stage| pipeline.is_sticky(*stage))
    }

    /// Whether a stage is one of those.
    pub fn is_sticky(&self, stage: Stage) -> bool {
        self.spec(stage).order == Order::Sticky
    }

    /// The stages that are items of their own.
    pub fn each(&self) -> impl Iterator<Item = Stage> + use<> {
        let pipeline = *self;
        self.stages().filter(move |stage| pipeline.spec(*stage).order != Order::Chain)
    }

    /// The stage whose results `output/` shows: the chain, or where there is none, the last.
    pub fn shown(&self) -> Stage {
        self.chain().or(self.stages().next_back()).unwrap_or(Stage(0))
    }

    /// Whether datasets after its own, or checkpoints, read a stage's result: then it is read often.
    pub fn is_shared(&self, stage: Stage, role: Role) -> bool {
        self.stages().flat_map(|other| self.spec(other).inputs).any(|input| match input {
            Input::Window(read) | Input::LazyWindow(read) => *read == stage,
            Input::Tests(read) => *read == stage && role == Role::Test,
            Input::Content | Input::Blocks | Input::Own(_) | Input::Previous => false,
        })
    }

    /// The queue's item for a step. The chain comes before all else, since it is the one serial stage; then the
    /// oldest dataset; the report last.
    pub fn item(&self, step: Step) -> Item {
        match step {
            Step::Begin => Item::BEGIN,
            Step::Intake => INTAKE,
            Step::Report => REPORT,
            Step::Chain(stage) => Item { rank: CHAIN_RANK, name: Name::constant(self.spec(stage).name) },
            Step::Each(stage, index) => Item {
                rank: FIRST_RANK + RANKS * u64::from(index) + u64::from(stage.0),
                name: Name::of(self.spec(stage).name, index),
            },
        }
    }

    /// What a name stands for here.
    pub fn step(&self, name: Name) -> Option<Step> {
        for (known, step) in [(Item::BEGIN, Step::Begin), (INTAKE, Step::Intake), (REPORT, Step::Report)] {
            if known.name == name {
                return Some(step);
            }
        }
        let stage = self.stages().find(|stage| name.has_step(self.spec(*stage).name))?;
        match (self.spec(stage).order, name.index()) {
            (Order::Chain, None) if name.as_str() == self.spec(stage).name => Some(Step::Chain(stage)),
            (Order::Each | Order::Sticky, Some(index)) => Some(Step::Each(stage, index)),
            _ => None,
        }
    }
}

/// A pipeline with every kind of input and order, for tests.
#[cfg(test)]
pub(crate) mod sample {
    use super::{Input, Order, Pipeline, Stage, StageSpec};
    use crate::manifest::Role;

    pub const PREPARE: Stage = Stage(0);
    pub const JOIN: Stage = Stage(1);
    pub const FOLD: Stage = Stage(2);

    const fn stage(
        name: &'static str,
        order: Order,
        roles: &'static [Role],
        inputs: &'static [Input],
    ) -> StageSpec {
        StageSpec { name, folder: name, order, roles, inputs }
    }

    pub const PIPELINE: Pipeline = Pipeline::new(&[
        stage("prepare", Order::Each, &[Role::Train, Role::History, Role::Test], &[Input::Content]),
        stage(
            "join",
            Order::Sticky,
            &[Role::Train, Role::Test],
            &[Input::Own(PREPARE), Input::Window(PREPARE)],
        ),
        stage("fold", Order::Chain, &[Role::Train], &[Input::Previous, Input::Own(JOIN)]),
        stage(
            "evaluate",
            Order::Each,
            &[Role::Train],
            &[Input::Own(FOLD), Input::Own(JOIN), Input::Tests(JOIN)],
        ),
    ]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::sample::PIPELINE;
    use super::*;

    fn steps() -> impl Strategy<Value = Step> {
        let pipeline = PIPELINE;
        let each = (0..pipeline.each().count(), any::<u32>());
        prop_oneof![
            Just(Step::Begin),
            Just(Step::Intake),
            Just(Step::Report),
            Just(Step::Chain(pipeline.chain().unwrap())),
            each.prop_map(move |(at, index)| Step::Each(pipeline.each().nth(at).unwrap(), index)),
        ]
    }

    proptest! {
        #[test]
        fn an_item_reads_back(step in steps()) {
            let item = PIPELINE.item(step);
            prop_assert_eq!(PIPELINE.step(item.name), Some(step));
        }

        #[test]
        fn ranks_tell_items_apart_and_are_exact_as_redis_scores(a in steps(), b in steps()) {
            let (one, other) = (PIPELINE.item(a), PIPELINE.item(b));
            prop_assert_eq!(a == b, one.rank == other.rank);
            prop_assert_eq!(a == b, one.name == other.name);
            prop_assert!(one.rank < 1 << 53);
        }

        #[test]
        fn other_names_are_no_items(text in "[a-z]{1,8}/?[0-9+-]{0,3}") {
            let name = Name::try_from(text).unwrap();
            if let Some(step) = PIPELINE.step(name) {
                prop_assert_eq!(PIPELINE.item(step).name, name);
            }
        }
    }
}
