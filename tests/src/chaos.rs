//! Chaos on real processes: schedules drawn from seeds, each run by `sim run` as a person would run
//! it, with its checks and its comparison with an undisturbed run.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use sim::schedule::{Draw, Kind, Preemption, Rule, Schedule, Trigger};
use sim::units::Span;

use crate::batch::Batch;

/// What a seed decides: the workers, the size of the batch, the queue, and the schedule of faults.
#[derive(Debug, Clone)]
pub struct Chaos {
    pub seed: u64,
    pub workers: u32,
    pub trainings: u32,
    pub redis: bool,
    pub lease: Span,
    pub schedule: Schedule,
    pub volume: Option<Volume>,
}

/// A bucket in place of the folder, and the environment by which it is reached.
#[derive(Debug, Clone)]
pub struct Volume {
    pub url: String,
    pub variables: Vec<(String, String)>,
}

/// What of a run's summary is looked at here.
#[derive(Debug, Clone, Deserialize)]
struct Summary {
    ended: String,
    preemptions: Preemptions,
    verified: Option<Verified>,
    checked: Checked,
}

#[derive(Debug, Clone, Deserialize)]
struct Preemptions {
    interrupted: BTreeMap<String, u32>,
    queue: u32,
}

#[derive(Debug, Clone, Deserialize)]
struct Verified {
    files: u32,
    different: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Checked {
    violations: Vec<serde_json::Value>,
}

/// What a schedule came to: how many preemptions of each kind interrupted held work, how often
/// Redis had a fault, and how many files were compared.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub interrupted: BTreeMap<String, u32>,
    pub queue: u32,
    pub files: u32,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        for (kind, count) in &other.interrupted {
            *self.interrupted.entry(kind.clone()).or_default() += count;
        }
        self.queue += other.queue;
        self.files += other.files;
    }
}

/// A generator that no library's update changes: SplitMix64 (Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In low..high; the bias of a remainder this small is of no account.
    fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low)
    }
}

impl Chaos {
    /// A pure function of the seed. Two of three have Redis, which then gets faults too: it is
    /// killed and restarted, with its data or without.
    pub fn draw(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let redis = !seed.is_multiple_of(3);
        let workers = dice.range(2, 5) as u32;
        let trainings = dice.range(3, 6) as u32;
        let lease = Span::ms(dice.range(200, 500));
        let rule = match dice.range(0, 3) {
            0 => Rule::Progress,
            _ => Rule::Poisson(Span::ms(dice.range(150, 900))),
        };
        let draw = Draw {
            seed,
            workers,
            datasets: trainings + 1,
            lease,
            silent: 0.35,
            pause: 0.3,
            long: true,
            cluster: false,
        };
        let mut schedule = Schedule::draw(&rule, &draw);
        for _ in 0..if redis { dice.range(1, 4) } else { 0 } {
            let trigger = Trigger::At { ms: dice.range(50, 1_500), worker: 0 };
            let kind = if dice.range(0, 2) == 0 { Kind::QueueRestart } else { Kind::QueueWipe };
            let away = Span::ms(dice.range(50, 400));
            schedule.preemptions.push(Preemption { trigger, kind, away, renamed: false });
        }
        if redis && dice.range(0, 2) == 0 {
            // Away when the workers have ended and the queue is looked at.
            let (trigger, kind) = (Trigger::Report, Kind::QueueRestart);
            schedule.preemptions.push(Preemption { trigger, kind, away: Span::ms(300), renamed: false });
        }
        Self { seed, workers, trainings, redis, lease, schedule, volume: None }
    }

    /// The same on SQLite, which gets no faults.
    #[must_use]
    pub fn without_redis(mut self) -> Self {
        self.redis = false;
        self.schedule.preemptions.retain(|preemption| !preemption.kind.is_queue());
        self
    }

    /// The same on a bucket.
    #[must_use]
    pub fn on(self, volume: Volume) -> Self {
        Self { volume: Some(volume), ..self }
    }

    /// Runs it through this program, which acts as `sim` when asked to; the folder holds everything.
    ///
    /// # Errors
    /// What broke, with what `sim run` said.
    pub fn run(&self, program: &Path, folder: &Path) -> Result<Tally, String> {
        let datasets = folder.join("datasets");
        Batch::small(self.trainings).lay_out(&datasets);
        let schedule = folder.join("schedule.toml");
        std::fs::write(&schedule, self.schedule.to_toml()).map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.args(self.arguments(folder));
        if let Some(Volume { url, variables }) = &self.volume {
            command.args(["--volume", url]).envs(variables.iter().cloned());
        }
        let output = command.output();
        let output = output.map_err(|error| format!("start {}: {error}", program.display()))?;
        let (said, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let fail = |why: &str| Err(format!("{why} ({})\n{said}\n{errors}", output.status));
        let Ok(summary) = serde_json::from_str::<Summary>(&said) else {
            return fail("no summary");
        };
        if !output.status.success() || summary.ended != "complete" {
            return fail("the run did not end well");
        }
        if !summary.checked.violations.is_empty() {
            return fail("a check failed");
        }
        let Some(Verified { files, different }) = summary.verified else {
            return fail("nothing was compared");
        };
        if !different.is_empty() || files == 0 {
            return fail("files differ from those of the undisturbed run");
        }
        let Preemptions { interrupted, queue } = summary.preemptions;
        Ok(Tally { interrupted, queue, files })
    }

    /// The arguments of `sim` for this run in a folder.
    pub fn arguments(&self, folder: &Path) -> Vec<OsString> {
        let tests = folder.join("datasets").join(Batch::TEST_FILE);
        let options: [(&str, OsString); 9] = [
            ("--datasets", folder.join("datasets").into()),
            ("--test", tests.into()),
            ("--out", folder.join("out").into()),
            ("--workers", self.workers.to_string().into()),
            ("--queue", if self.redis { "redis" } else { "sqlite" }.into()),
            ("--lease", self.lease.to_string().into()),
            ("--grace", "100ms".into()),
            ("--work", "100ms".into()),
            ("--preempt", schedule_argument(&folder.join("schedule.toml"))),
        ];
        let mut arguments: Vec<OsString> = vec!["run".into(), "--json".into(), "--verify".into()];
        arguments.extend(options.into_iter().flat_map(|(name, value)| [name.into(), value]));
        arguments
    }
}

fn schedule_argument(file: &Path) -> OsString {
    let mut argument = OsString::from("schedule:");
    argument.push(file);
    argument
}
