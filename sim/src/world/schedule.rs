//! What happens in a world: who works on what, and what goes wrong when. A pure function of a
//! seed, recorded as data, so that it can be replayed and shrunk.

use jiff::ToSpan;
use jiff::civil::{Date, date};
use serde::{Deserialize, Serialize};

use worker::breakage::Breakage;

use super::dice::Dice;
use super::fault::{Fault, KINDS, What, kind_of};

/// A world's make-up and its faults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Decides latencies, nonces and how much of a torn write is left.
    pub seed: u64,
    pub params: Params,
    /// In the order in which they strike.
    pub faults: Vec<Fault>,
    /// A rule that everybody forgets: for tests of the tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breakage: Option<Breakage>,
}

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
    /// The place of a worker whose workload is of the next results version.
    #[serde(default)]
    pub newer: Option<u32>,
    /// The run is a launcher's list, sealed from the beginning; else everything is pushed.
    pub listed: bool,
    /// The volume is a file system of the one machine that all workers, and the queue, are on.
    #[serde(default)]
    pub on_one_machine: bool,
    pub pushes: Vec<Push>,
    pub lease_ms: u64,
    pub grace_ms: u64,
    pub idle_ms: u64,
    pub progress_ms: u64,
    /// Shortest and longest time of a call to the volume, to the queue, and of a step of work.
    pub volume_us: (u64, u64),
    pub queue_us: (u64, u64),
    pub step_us: (u64, u64),
}

/// Somebody pushes paths while the run is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// At this call of all those that workers make, counted from 0.
    pub at: u64,
    pub paths: Vec<String>,
}

/// As many as a person may ask for.
pub const WORKERS_MAX: u32 = 1_000;
pub const DATASETS_MAX: u32 = 100_000;
/// The longest time in a schedule, a day: sums and products of a few of them are far from overflow.
const TIME_MS_MAX: u64 = 24 * 3_600_000;

/// Failed attempts at one item before a worker gives up.
pub const RETRIES: u32 = 5;
/// As workers have it by default: no schedule kills so many in a row at one item.
pub const MAX_DELIVERIES: u32 = 20;

impl Params {
    /// Without progress for so long, leases are not renewed.
    pub fn stall_ms(&self) -> u64 {
        4 * self.lease_ms
    }

    /// How many items a run of this make-up has, begin and report among them.
    pub fn items(&self) -> u64 {
        let train = u64::from(self.train);
        2 + 4 * train + 2 * u64::from(self.tests) + u64::from(self.history)
    }

    /// What a world cannot have, in the words of its JSON: one of seeds has none of it, one that somebody
    /// wrote may.
    fn check(&self) -> Result<(), String> {
        let within = |name: &str, number: u64, (low, high): (u64, u64)| match (low..=high).contains(&number) {
            true => Ok(()),
            false => Err(format!("{name} is {number}, and not from {low} to {high}")),
        };
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

    fn of_seed(dice: &mut Dice) -> Self {
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
            newer,
            listed,
            on_one_machine: dice.chance(1, 3),
            pushes: Vec::new(),
            lease_ms: *dice.pick(&[150, 500, 1_000, 5_000]),
            grace_ms: *dice.pick(&[50, 500, 5_000]),
            idle_ms: *dice.pick(&[20, 100, 500]),
            progress_ms: *dice.pick(&[5, 50, 200]),
            volume_us,
            queue_us: *dice.pick(&[(50, 300), (200, 2_000)]),
            step_us: *dice.pick(&[(100, 1_000), (1_000, 30_000)]),
        };
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
        20 * u64::from(self.workers) + 30 * self.items()
    }
}

/// A push of the next day, or of what a run must know how to take: the same path again, days in any order, a day too
/// late, a day in two files, a line of Windows', a hidden file, no path at all.
fn push(dice: &mut Dice, calls: u64, day: u32) -> Push {
    let paths = match dice.between(0, 9) {
        0 => vec![training(0)],
        1 => vec![training(day), training(day)],
        2 => vec!["../elsewhere".to_owned(), training(day)],
        3 => vec![training(day + 15), training(day)],
        4 => vec![training(day), training(day).replace(".toy", "-b.toy")],
        5 => vec![format!("{}\r", training(day))],
        6 => vec![training(day).replace("training/", "training/.")],
        _ => vec![training(day)],
    };
    Push { at: dice.between(0, calls), paths }
}

/// The day of the first training dataset; each of the others is a day later.
const FIRST_DAY: Date = date(2018, 4, 1);

/// The path of a training dataset, by its number.
pub fn training(number: u32) -> String {
    let day = FIRST_DAY.saturating_add(i64::from(number).days());
    format!("datasets/training/{day}.toy")
}

impl Schedule {
    /// Whether a schedule that was read can be run.
    ///
    /// # Errors
    /// With what no world can have.
    pub fn check(&self) -> Result<(), String> {
        self.params.check()?;
        match self.faults.iter().find(|fault| fault.what.longest_ms() > TIME_MS_MAX) {
            Some(fault) => Err(format!("a {} lasts longer than {TIME_MS_MAX} ms", fault.what.name())),
            None => Ok(()),
        }
    }

    /// The schedule of a seed, with faults of the given kinds.
    pub fn of_seed(seed: u64, kinds: &[usize]) -> Self {
        let mut dice = Dice::new(seed);
        let params = Params::of_seed(&mut dice);
        let calls = params.calls();
        // Half of the seeds know but a few kinds, and go deeper there (swarm testing, Groce et al. 2012).
        let few = !kinds.is_empty() && dice.chance(1, 2);
        let few: Vec<usize> =
            if few { (0..dice.between(1, 3)).map(|_| *dice.pick(kinds)).collect() } else { Vec::new() };
        let kinds = if few.is_empty() { kinds } else { &few };
        let power = kind_of("power-loss").filter(|kind| kinds.contains(kind));
        let count = if kinds.is_empty() { 0 } else { dice.between(0, 3) * dice.between(0, 4) };
        let faults: Vec<Fault> = (0..count)
            .map(|_| {
                let at = dice.between(0, calls);
                let what = What::of_kind(*dice.pick(kinds), &mut dice);
                // Where there is no server that could fail, the power does.
                let power = power.filter(|_| params.on_one_machine && what.needs_a_server());
                Fault { at, what: power.map_or(what, |power| What::of_kind(power, &mut dice)) }
            })
            .collect();
        Self::new(seed, params, faults)
    }

    /// A schedule of these faults, without those that no worker could bear.
    pub fn new(seed: u64, params: Params, mut faults: Vec<Fault>) -> Self {
        // Torn commits need results that can be made again.
        faults.retain(|fault| params.results == Results::Same || fault.what != What::Tear);
        // So does what is not synced, and a workload that lies says that they can.
        let lost = |what: &What| matches!(what, What::PowerLoss { .. }) && params.results == Results::Lie;
        faults.retain(|fault| !(params.on_one_machine && (fault.what.needs_a_server() || lost(&fault.what))));
        let mut misreads = 0;
        // More of them would use up an item's retries, as they should.
        faults.retain(|fault| {
            misreads += u32::from(matches!(fault.what, What::Misread { .. }));
            misreads < RETRIES || !matches!(fault.what, What::Misread { .. })
        });
        faults.sort_by_key(|fault| fault.at);
        Self { seed, params, faults, breakage: None }
    }

    pub fn of_any_kind(seed: u64) -> Self {
        let kinds: Vec<usize> = (0..KINDS.len()).collect();
        Self::of_seed(seed, &kinds)
    }
}
