//! The fraud workload: exact causal features across daily files, and one chain of an online learner.
//!
//! - `prepare` reads and checks a dataset and packs its rows ([`rows`]).
//! - `customers` and then `join` give each row its features from the rows before it, at most 44 days back, as bins
//!   ([`features`], [`edges`]): first what its customer says, and then what its terminal says too. Of the datasets
//!   before its own it sees the rows that are not later than its own first row: files of a day that overlap do not
//!   see each other's later rows, and the next day's see all of them, merged in time's order (`timeline`).
//! - `fold` learns from the day's rows, in the order of the datasets ([`ftrl`], `model`).
//! - `evaluate` measures the checkpoint on its own dataset and on the test datasets ([`metrics`]).
//!
//! The label and its scenario are never features; a label counts from seven days after its transaction.

mod bytes;
pub mod chains;
mod customer;
mod customers;
pub mod edges;
mod evaluate;
pub mod feature_set;
pub mod features;
pub mod ftrl;
mod handbook;
pub mod history;
mod join;
mod joined;
mod likelihood;
mod linfa;
mod memory;
pub mod metrics;
mod model;
mod month;
mod purchase;
mod replay;
mod report;
mod rich;
pub mod rows;
pub mod score;
mod slots;
mod spent;
pub mod stretch;
mod suspicion;
mod tasks;
mod terminal;
mod terminals;
mod timeline;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::civil::{Date, date};

use crate::days::{self, day_of};
use crate::input::{self, Columns, Transactions};
use engine::hash::Hash;
use engine::manifest::{Dataset, Role};
use engine::order::Period;
use engine::pipeline::{Input, Order, Pipeline, Stage, StageSpec};

use chains::Chains;
use customers::Customers;
use engine::workload::{
    Curve, Failed, Inputs, Once, Outcome, Part, PartName, ReportInput, Task, Workload, checkpoint_names,
};
use evaluate::Evaluation;
use feature_set::FeatureSet;
use ftrl::Rates;
use join::{Join, OfCustomers, OfTerminals};
use joined::{Joined, Kept};
use metrics::Metrics;
use model::Model;
use purchase::DAY_S;
use replay::Shared;
use rows::Rows;
use terminals::Terminals;

/// How many days before a dataset's its window begins: the 44 that features look back, and what a row
/// late in that first day needs of it.
const WINDOW_DAYS: i32 = 45;

/// The workload's name in manifests.
pub const NAME: &str = "fraud";

pub const PREPARE: Stage = Stage(0);
pub const CUSTOMERS: Stage = Stage(1);
pub const JOIN: Stage = Stage(2);
pub const FOLD: Stage = Stage(3);
pub const EVALUATE: Stage = Stage(4);

/// `prepare` of each file alone; `customers` and `join` of each with the days before it, each in the memory of the
/// worker that did it for the last one; `fold`, the chain; `evaluate` of each checkpoint on its own day and the test days.
pub const PIPELINE: Pipeline = Pipeline::new(&[
    StageSpec {
        name: "prepare",
        folder: "prepared",
        order: Order::Each,
        roles: &[Role::Train, Role::History, Role::Test],
        inputs: &[Input::Content],
    },
    StageSpec {
        name: "customers",
        folder: "customers",
        order: Order::Sticky,
        roles: &[Role::Train, Role::Test],
        inputs: &[Input::Own(PREPARE), Input::LazyWindow(PREPARE)],
    },
    StageSpec {
        name: "join",
        folder: "joined",
        order: Order::Sticky,
        roles: &[Role::Train, Role::Test],
        inputs: &[Input::Own(PREPARE), Input::LazyWindow(PREPARE), Input::Own(CUSTOMERS)],
    },
    StageSpec {
        name: "fold",
        folder: "checkpoints",
        order: Order::Chain,
        roles: &[Role::Train],
        inputs: &[Input::Previous, Input::Own(JOIN)],
    },
    StageSpec {
        name: "evaluate",
        folder: "evals",
        order: Order::Each,
        roles: &[Role::Train],
        inputs: &[Input::Own(FOLD), Input::Own(JOIN), Input::Tests(JOIN)],
    },
]);

/// Learning rates, far beyond any that learn something. Near to 0 and to infinity weights are no numbers.
const ALPHAS: RangeInclusive<f64> = 1e-9..=1e9;

/// Bytes of joined parts kept decoded: the test days are asked for by every evaluation.
const JOINED_KEPT: usize = 64 << 20;

/// Who takes the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Learner {
    /// Our own, sparse, the same on every CPU.
    #[default]
    Ftrl,
    /// linfa-ftrl, dense.
    Linfa,
}

impl Learner {
    fn name(self) -> &'static str {
        match self {
            Self::Ftrl => "ftrl",
            Self::Linfa => "linfa",
        }
    }
}

/// What decides the result beside the datasets.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Params {
    pub features: FeatureSet,
    pub learner: Learner,
    pub rates: Rates,
}

impl Params {
    /// Reads parameters by name, as [`Workload::params`] writes them; what is left out has its
    /// default.
    ///
    /// # Errors
    /// Names the parameter that is unknown or has no such value.
    pub fn parse(texts: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut params = Self::default();
        for (name, text) in texts {
            let wrong = |expected: &str| format!("parameter {name}={text}: use {expected}");
            let rate = || match text.parse::<f64>() {
                Ok(rate) if rate.is_finite() && rate >= 0.0 => Ok(rate),
                _ => Err(wrong("a number that is not negative")),
            };
            match (name.as_str(), text.as_str()) {
                ("features", name) => {
                    let known = FeatureSet::ALL.into_iter().find(|set| set.name() == name);
                    params.features = known.ok_or_else(|| wrong("blend, rich, suspicion or handbook"))?;
                }
                ("learner", "ftrl") => params.learner = Learner::Ftrl,
                ("learner", "linfa") => params.learner = Learner::Linfa,
                ("learner", _) => return Err(wrong("ftrl or linfa")),
                ("alpha", _) => match rate()? {
                    alpha if ALPHAS.contains(&alpha) => params.rates.alpha = alpha,
                    _ => return Err(wrong("a number from 1e-9 to 1e9")),
                },
                ("beta", _) => params.rates.beta = rate()?,
                ("l1", _) => params.rates.l1 = rate()?,
                ("l2", _) => params.rates.l2 = rate()?,
                _ => {
                    let known = "features, learner, alpha, beta, l1, l2, ids";
                    return Err(format!("there is no parameter {name}: those known are {known}"));
                }
            }
        }
        params.check_linfa()?;
        Ok(params)
    }

    /// What linfa would refuse once a run has begun.
    fn check_linfa(&self) -> Result<(), String> {
        let Rates { l1, l2, .. } = self.rates;
        let too_large = [("l1", l1), ("l2", l2)].into_iter().find(|(_, rate)| *rate > 1.0);
        match (self.learner, too_large) {
            (Learner::Linfa, Some((name, rate))) => {
                Err(format!("parameter {name}={rate}: linfa takes at most 1; use that, or learner=ftrl"))
            }
            _ => Ok(()),
        }
    }
}

/// The workload. What it keeps between tasks saves time and decides nothing.
pub struct Fraud {
    params: Params,
    columns: Arc<Columns>,
    customers: Shared<Customers>,
    terminals: Shared<Terminals>,
    joined: Mutex<Kept>,
}

impl fmt::Debug for Fraud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fraud").field("params", &self.params).finish_non_exhaustive()
    }
}

impl Fraud {
    pub fn new(params: Params) -> Self {
        let joined = Mutex::new(Kept::new(JOINED_KEPT));
        let headers = Arc::default();
        let customers = Shared::knowing(Arc::clone(&headers));
        let terminals = Shared::knowing(headers);
        Self { params, columns: Arc::default(), customers, terminals, joined }
    }

    /// The same for datasets with columns of other names.
    #[must_use]
    pub fn reading(self, columns: Columns) -> Self {
        Self { columns: Arc::new(columns), ..self }
    }

    fn joined(&self, part: &Part) -> Result<Arc<Joined>, String> {
        let mut kept = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(part).map_err(|error| format!("read a joined part: {error}"))
    }

    fn begin_fold(
        &self,
        previous: Option<&Part>,
        joined: &Part,
        lineage: Hash,
    ) -> Result<tasks::Fold, String> {
        let learner = self.params.learner;
        let mut model = match previous {
            Some(part) => read_model(part)?,
            None => Model {
                lineage,
                rows: 0,
                frauds: 0,
                learner: learner.name().to_owned(),
                chains: Chains::new(self.params.rates, self.params.features),
            },
        };
        model.lineage = lineage;
        let previous = previous.map_or(Hash::default(), |part| part.hash);
        let key = Hash::of_fields([&previous.0[..], &joined.hash.0[..], &lineage.0[..]]);
        let joined = self.joined(joined)?;
        if joined.set != model.chains.set() {
            let (has, needs) = (joined.set.name(), model.chains.set().name());
            return Err(format!("a joined part has the features `{has}`, the model needs `{needs}`"));
        }
        Ok(tasks::Fold::new(key, learner, model, joined))
    }

    /// From the dataset alone. `content` is the file, whose hash has been checked.
    pub fn prepare(&self, dataset: &Dataset, content: Vec<u8>) -> Box<dyn Task> {
        let path = dataset.path.clone();
        let columns = self.columns.clone();
        Once::task(move || prepared(&path, content, &columns))
    }

    /// From the dataset's own prepared part and those of its window, of which it asks for the missing ones.
    pub fn customers(&self, own: &Part, window: &[PartName]) -> Box<dyn Task> {
        let set = self.params.features;
        let (making, made_from) = (OfCustomers::new(set), [set.name().as_bytes()]);
        Box::new(Join::new(self.customers.clone(), making, own.clone(), window.to_vec(), &made_from))
    }

    /// From the same, and from what the dataset's customers give.
    pub fn join(&self, own: &Part, window: &[PartName], customers: &Part) -> Box<dyn Task> {
        let set = self.params.features;
        let making = OfTerminals::new(set, customers.clone());
        let made_from = [set.name().as_bytes(), &customers.hash.0[..]];
        Box::new(Join::new(self.terminals.clone(), making, own.clone(), window.to_vec(), &made_from))
    }

    /// From the previous checkpoint (`None` for the first) and a joined part.
    pub fn fold(&self, previous: Option<&Part>, joined: &Part, lineage: Hash) -> Box<dyn Task> {
        match self.begin_fold(previous, joined, lineage) {
            Ok(fold) => Box::new(fold),
            Err(error) => Box::new(Failed(error)),
        }
    }

    /// Of a checkpoint, on its own training dataset and on the test datasets (their joined parts).
    pub fn evaluate(&self, checkpoint: &Part, joined: &Part, tests: &[Part]) -> Box<dyn Task> {
        match self.evaluation(checkpoint, joined, tests) {
            Ok(bytes) => Once::task(move || Outcome::Part(bytes)),
            Err(error) => Box::new(Failed(error)),
        }
    }

    /// Measures a checkpoint by the protocol of the handbook's tables, from joined parts: the days that
    /// were trained on last, those until their labels are known, and the test days.
    ///
    /// # Errors
    /// Parts that are not this workload's.
    pub fn handbook(
        &self,
        checkpoint: &Part,
        [training, between, tests]: [&[Part]; 3],
    ) -> Result<Metrics, String> {
        let model = read_model(checkpoint)?;
        let read = |parts: &[Part]| parts.iter().map(|part| self.joined(part)).collect::<Result<Vec<_>, _>>();
        let parts = [read(training)?, read(between)?, read(tests)?];
        let [training, between, tests] =
            parts.each_ref().map(|parts| parts.iter().map(Arc::as_ref).collect::<Vec<_>>());
        Ok(handbook::measure_unknown_cards(&model.chains, &training, &between, &tests))
    }

    fn evaluation(&self, checkpoint: &Part, joined: &Part, tests: &[Part]) -> Result<Vec<u8>, String> {
        let model = read_model(checkpoint)?;
        let training = self.joined(joined)?;
        let tests = tests.iter().map(|part| self.joined(part)).collect::<Result<Vec<_>, _>>()?;
        serde_json::to_vec(&Evaluation::of(&model, &training, &tests))
            .map_err(|error| format!("write an evaluation: {error}"))
    }
}

fn read_model(part: &Part) -> Result<Model, String> {
    Model::decode(&part.bytes).map_err(|error| format!("read a checkpoint: {error}"))
}

fn prepared(path: &str, content: Vec<u8>, columns: &Columns) -> Outcome {
    match read_dataset(path, &content, columns) {
        Ok(read) => Outcome::Part(Rows::from_transactions(path, read).encode()),
        Err(reason) => Outcome::Rejected(reason),
    }
}

/// What a dataset holds.
///
/// # Errors
/// Why it is rejected: what it is, or of another day than its name says.
pub fn read_dataset(path: &str, content: &[u8], columns: &Columns) -> Result<Transactions, String> {
    let read = input::read_mapped(path, content, columns).map_err(|reject| reject.to_string())?;
    match day_of(path).and_then(|day| of_another_day(day, &read)) {
        Some(reason) => Err(reason),
        None => Ok(read),
    }
}

/// Why a dataset named for a day is none of it, where it is none: one row of a later year would make every day
/// before then come too late. A day more on either side is left to time zones.
fn of_another_day(day: Date, read: &Transactions) -> Option<String> {
    let begin = i64::from((day - date(1970, 1, 1)).get_days()) * DAY_S;
    let row = read.time.iter().position(|time| !(begin - DAY_S..begin + 2 * DAY_S).contains(time))?;
    Some(format!(
        "transaction {} is of {}, and the dataset's name says {day} (hint: leave the day out of the name of a file \
         of several days)",
        read.id[row],
        rows::text_of(read.time[row]),
    ))
}

impl Workload for Fraud {
    fn name(&self) -> &'static str {
        NAME
    }

    fn results_version(&self) -> u32 {
        10
    }

    fn params(&self) -> BTreeMap<String, String> {
        let Rates { alpha, beta, l1, l2 } = self.params.rates;
        let features = self.params.features.name();
        let learner = self.params.learner.name();
        let rates = [("alpha", alpha), ("beta", beta), ("l1", l1), ("l2", l2)];
        let texts = [("features", features), ("learner", learner)];
        let rates = rates.map(|(name, value)| (name.to_owned(), value.to_string()));
        let texts = texts.map(|(name, value)| (name.to_owned(), value.to_owned()));
        texts.into_iter().chain(rates).chain(self.columns.params()).collect()
    }

    fn deterministic(&self) -> bool {
        self.params.learner == Learner::Ftrl
    }

    /// Of the datasets before it in the run, those before it in time and not too old: by the days in the names;
    /// where these do not tell, the tests come last and a dataset counts as a day. What was taken in later has a
    /// larger index, so that test days see only what was taken in before them.
    fn window(&self, datasets: &[Dataset], index: u32) -> Vec<u32> {
        let Some(own) = datasets.get(index as usize) else { return Vec::new() };
        let own_day = day_of(&own.path);
        let mut window: Vec<u32> = datasets[..index as usize]
            .iter()
            .rev()
            .map(|other| (other, own_day.zip(day_of(&other.path))))
            .filter(|(other, days)| match days {
                Some((own, day)) if own != day => day < own,
                _ => other.role != Role::Test || own.role == Role::Test,
            })
            .enumerate()
            .take_while(|(back, (_, days))| match days {
                Some((own, day)) => (*own - *day).get_days() <= WINDOW_DAYS,
                None => *back < WINDOW_DAYS as usize,
            })
            .map(|(_, (other, _))| other.index)
            .collect();
        window.reverse();
        window
    }

    fn is_dataset(&self, path: &str) -> bool {
        input::is_dataset(path)
    }

    fn datasets_in_words(&self) -> &'static str {
        ".parquet, .csv or .pkl files, with days in their names"
    }

    fn period<'p>(&self, path: &'p str) -> Option<Period<'p>> {
        days::period(path)
    }

    fn pipeline(&self) -> Pipeline {
        PIPELINE
    }

    fn task(&self, stage: Stage, inputs: Inputs) -> Box<dyn Task> {
        let own = |number: usize| {
            let missing = || "an input that the stage declares is missing".to_owned();
            inputs.own.get(number).cloned().ok_or_else(missing)
        };
        let task = match stage {
            PREPARE => Ok(self.prepare(&inputs.dataset, inputs.content)),
            CUSTOMERS => own(0).map(|own| self.customers(&own, &inputs.lazy_window)),
            JOIN => own(0).and_then(|rows| Ok(self.join(&rows, &inputs.lazy_window, &own(1)?))),
            FOLD => own(0).map(|joined| self.fold(inputs.previous.as_ref(), &joined, inputs.lineage)),
            _ => own(0).and_then(|checkpoint| Ok(self.evaluate(&checkpoint, &own(1)?, &inputs.tests))),
        };
        task.unwrap_or_else(|error| Box::new(Failed(error)))
    }

    fn report(&self, input: &ReportInput<'_>) -> Result<BTreeMap<String, String>, String> {
        report::files(input, &checkpoint_names(self, input.datasets).collect())
    }

    fn headline(&self, file: &dyn Fn(&str) -> Option<Vec<u8>>) -> BTreeMap<String, f64> {
        report::headline(file("report.json").as_deref())
    }

    fn curves(&self, file: &dyn Fn(&str) -> Option<Vec<u8>>) -> Vec<Curve> {
        report::curves(file("report.json").as_deref())
    }

    fn checkpoint_name(&self, stem: &str) -> String {
        report::checkpoint_name(stem)
    }
}
