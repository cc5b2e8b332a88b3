//! What a world is made of: its workers, its datasets and their names, its times, and what is pushed when.

use std::sync::LazyLock;

use jiff::ToSpan;
use jiff::civil::{Date, date};
use serde::{Deserialize, Serialize};
use worker::contract::{HISTORY, TESTING};

use super::clock::{Micros, ms};
use super::dice::Dice;
use super::oddity::Oddities;

/// Whether equal inputs give equal bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Results {
    Same,
    /// They do not, and the workload says so.
    Vary,
    /// They do not, and the workload says that they do: the run may have to be voided.
    Lie,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Params {
    pub workers: u32,
    pub train: u32,
    pub tests: u32,
    pub history: u32,
    /// Training datasets, by their number, that are to be rejected.
    pub rejects: Vec<u32>,
    /// Steps that each dataset's preparation takes, at most.
    pub steps: u32,
    pub results: Results,
    /// Some stages' results refer to blocks.
    #[serde(default)]
    pub large: bool,
    /// The place of a worker whose workload is of the next results version.
    #[serde(default)]
    pub newer: Option<u32>,
    /// The run is a launcher's list, sealed from the beginning; else everything is pushed.
    pub listed: bool,
    /// The volume is a file system of the one machine that all workers, and the queue, are on.
    #[serde(default)]
    pub on_one_machine: bool,
    /// The volume is a bucket.
    #[serde(default)]
    pub bucket: bool,
    pub pushes: Vec<Push>,
    pub lease_ms: u64,
    pub grace_ms: u64,
    pub idle_ms: u64,
    pub progress_ms: u64,
    /// Shortest and longest time of a call to the volume, to the queue, and of a step of work.
    pub volume_us: (u64, u64),
    pub queue_us: (u64, u64),
    pub step_us: (u64, u64),
    /// The queue hints at what became claimable, and loses every third hint.
    #[serde(default)]
    pub hints: bool,
    #[serde(default)]
    pub oddities: Oddities,
}

/// Somebody pushes paths while the run is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// At this call, counted from 0 over the calls of all workers.
    pub at: u64,
    pub paths: Vec<String>,
}

/// As many as a person may ask for.
pub const WORKERS_MAX: u32 = 1_000;
pub const DATASETS_MAX: u32 = 100_000;
/// The longest time in a schedule, a day: sums and products of a few of them are far from overflow.
pub const TIME_MS_MAX: u64 = 24 * 3_600_000;

/// Failed attempts at one item before a worker gives up.
pub const RETRIES: u32 = 5;
/// The workers' default: no schedule kills this many workers in a row at one item.
pub const MAX_DELIVERIES: u32 = 20;

impl Params {
    /// Without progress for this time, workers send no heartbeats.
    pub fn stall_ms(&self) -> u64 {
        4 * self.lease_ms
    }

    /// From a machine's notice to stop until it is killed.
    pub fn grace(&self) -> Micros {
        ms(self.grace_ms)
    }

    /// How many items a run of this make-up has, begin and report among them.
    pub fn items(&self) -> u64 {
        let train = u64::from(self.train) + u64::from(self.oddities.same_stem);
        2 + 4 * train + 2 * u64::from(self.tests) + u64::from(self.history)
    }

    /// What a world cannot have, in the words of its JSON: one of seeds has none of it, one that somebody
    /// wrote may.
    pub fn check(&self) -> Result<(), String> {
        let within = |name: &str, number: u64, (low, high): (u64, u64)| match (low..=high).contains(&number) {
            true => Ok(()),
            false => Err(format!("{name} is {number}, and not from {low} to {high}")),
        };
        if self.bucket && self.on_one_machine {
            return Err("a bucket lies on no machine of the workers".to_owned());
        }
        within("workers", self.workers.into(), (1, WORKERS_MAX.into()))?;
        within("train", self.train.into(), (1, DATASETS_MAX.into()))?;
        // The paths of these have the day of a month in them.
        within("tests", self.tests.into(), (0, 28))?;
        within("history", self.history.into(), (0, 28))?;
        within("steps", self.steps.into(), (1, DATASETS_MAX.into()))?;
        within("lease_ms", self.lease_ms, (1, TIME_MS_MAX))?;
        within("grace_ms", self.grace_ms, (1, TIME_MS_MAX))?;
        within("idle_ms", self.idle_ms, (1, TIME_MS_MAX))?;
        within("progress_ms", self.progress_ms, (1, TIME_MS_MAX))?;
        let spans = [("volume_us", self.volume_us), ("queue_us", self.queue_us), ("step_us", self.step_us)];
        for (name, (low, high)) in spans {
            within(&format!("{name}[0]"), low, (1, high.min(TIME_MS_MAX * 1_000)))?;
            within(&format!("{name}[1]"), high, (low, TIME_MS_MAX * 1_000))?;
        }
        Ok(())
    }

    pub fn of_seed(dice: &mut Dice) -> Self {
        let train = dice.between(1, 8) as u32;
        let results = match dice.between(0, 24) {
            0 => Results::Lie,
            1..=5 => Results::Vary,
            _ => Results::Same,
        };
        let workers = dice.between(1, 5) as u32;
        let newer = (workers > 1 && dice.chance(1, 25)).then(|| dice.between(0, 1) as u32);
        let listed = dice.chance(1, 2);
        let rejects = (0..train).filter(|_| dice.chance(1, 10)).collect();
        let volume_us = *dice.pick(&[(50, 500), (200, 2_000), (500, 5_000), (100, 20_000)]);
        let mut params = Self {
            workers,
            train,
            tests: dice.between(0, 2) as u32,
            history: dice.between(0, 2) as u32,
            rejects,
            steps: if dice.chance(1, 5) { 60 } else { dice.between(1, 12) as u32 },
            results,
            large: false,
            newer,
            listed,
            on_one_machine: dice.chance(1, 3),
            bucket: false,
            pushes: Vec::new(),
            lease_ms: *dice.pick(&[150, 500, 1_000, 5_000]),
            grace_ms: *dice.pick(&[50, 500, 5_000]),
            idle_ms: *dice.pick(&[20, 100, 500]),
            progress_ms: *dice.pick(&[5, 50, 200]),
            volume_us,
            queue_us: *dice.pick(&[(50, 300), (200, 2_000)]),
            step_us: *dice.pick(&[(100, 1_000), (1_000, 30_000)]),
            hints: false,
            oddities: Oddities::default(),
        };
        params.bucket = !params.on_one_machine && dice.chance(1, 3);
        params.oddities = Oddities::of_seed(dice, params.train, params.calls());
        if !listed {
            let calls = params.calls();
            for number in 0..dice.between(0, 3) {
                params.pushes.push(push(dice, calls, train + number as u32));
            }
            params.pushes.sort_by_key(|push| push.at);
        }
        params
    }

    /// About how many calls an undisturbed run of this make-up makes.
    pub fn calls(&self) -> u64 {
        let an_item = if self.bucket { 15 } else { 30 };
        20 * u64::from(self.workers) + an_item * self.items()
    }
}

/// A push of the next day, or of what a run must know how to take: the same path again, days in any order, a day too
/// late, a day in two files, a line of Windows', a hidden file, two files of one stem, a test, no path at all.
fn push(dice: &mut Dice, calls: u64, day: u32) -> Push {
    let paths = match dice.between(0, 11) {
        0 => vec![training(0)],
        1 => vec![training(day), training(day)],
        2 => vec!["../elsewhere".to_owned(), training(day)],
        3 => vec![training(day + 15), training(day)],
        4 => vec![training(day), training(day).replace(".toy", "-b.toy")],
        5 => vec![format!("{}\r", training(day))],
        6 => vec![training(day).replace("training/", "training/.")],
        7 => vec![same_stem(&training(day)), training(day)],
        8 => vec![format!("{TESTING}/{}", LATE_TEST)],
        _ => vec![training(day)],
    };
    Push { at: dice.between(0, calls), paths }
}

/// The day of the first training dataset; each of the others is a day later.
const FIRST_DAY: Date = date(2018, 4, 1);

/// A test that is put on the volume when it is pushed.
pub const LATE_TEST: &str = "2018-05-20.toy";

/// Another file of a path's stem.
pub fn same_stem(path: &str) -> String {
    path.replace(".toy", ".b.toy")
}

/// Paths of the first training datasets: dates are slow to write, and each check asks for many.
static TRAINING: LazyLock<[String; 32]> =
    LazyLock::new(|| std::array::from_fn(|number| of_day(number as i64)));

/// The path of a training dataset, by its number.
pub fn training(number: u32) -> String {
    TRAINING.get(number as usize).cloned().unwrap_or_else(|| of_day(i64::from(number)))
}

fn of_day(number: i64) -> String {
    format!("datasets/training/{}.toy", FIRST_DAY.saturating_add(number.days()))
}

/// Every dataset of the beginning: training, history, tests.
pub fn paths(params: &Params) -> Vec<String> {
    let history = (0..params.history).map(|day| format!("{HISTORY}/2018-03-{:02}.toy", day + 1));
    let tests = (0..params.tests).map(|day| format!("{TESTING}/2018-05-{:02}.toy", day + 1));
    trained(params).into_iter().chain(history).chain(tests).collect()
}

/// Every training dataset of the beginning.
pub fn trained(params: &Params) -> Vec<String> {
    (0..params.train).map(training).chain(second(params)).collect()
}

/// The second dataset of the first one's stem.
fn second(params: &Params) -> Option<String> {
    params.oddities.same_stem.then(|| same_stem(&training(0)))
}

/// The date that every run's launcher gives.
pub const CREATED: &str = "2018-04-30";
