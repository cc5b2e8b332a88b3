//! Which machine goes when and how: a pure function of a seed, written down and read back.
//!
//! Two kinds of trigger. A time injects a fault whatever the machine does then, as Spot does. Progress
//! (a claim, or a share of a dataset's work) injects it in the middle of held work, on a fast machine
//! as on a slow one: that is the default.

use std::fmt;
use std::str::FromStr;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use worker::events::What;
use worker::pipeline::REPORT;

use crate::units::{SPAN_MS_MAX, Span, positive};
use worker::events::first_of;

/// What `--preempt` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    None,
    /// Triggered by progress, the same on every machine.
    Progress,
    /// Exponential gaps of this mean, for each worker's machine on its own.
    Poisson(Span),
    /// One preemption a machine every so often, the machines out of step.
    Every(Span),
    /// As written in a file.
    File(String),
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "none" => Ok(Self::None),
            None if text == "progress" => Ok(Self::Progress),
            Some(("poisson", mean)) => positive(mean).map(Self::Poisson),
            Some(("every", gap)) => positive(gap).map(Self::Every),
            Some(("schedule", file)) if !file.is_empty() => Ok(Self::File(file.to_owned())),
            _ => Err(format!(
                "`{text}` is no rule: give none, progress, poisson:<mean>, every:<time> or schedule:<file>"
            )),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Progress => f.write_str("progress"),
            Self::Poisson(mean) => write!(f, "poisson:{mean}"),
            Self::Every(gap) => write!(f, "every:{gap}"),
            Self::File(file) => write!(f, "schedule:{file}"),
        }
    }
}

/// How a machine goes, or the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Notice and SIGTERM, a grace, SIGKILL.
    Terminate,
    /// SIGKILL without notice.
    Kill,
    /// SIGSTOP past the lease, then SIGCONT: a machine that was away and does not know.
    Pause,
    /// The Redis server is killed and started again with what it had written down.
    QueueRestart,
    /// The Redis server is killed and comes back empty.
    QueueWipe,
    /// A node's network loses the way to Redis for longer than the lease, and finds it again.
    CutQueue,
    /// The same for the way to the volume's server.
    CutVolume,
    /// The same for both.
    CutBoth,
    /// The volume's server is killed and comes back with its data.
    VolumeRestart,
}

impl Kind {
    pub const MACHINE: [Self; 3] = [Self::Terminate, Self::Kill, Self::Pause];

    /// In a sentence: `SIGTERM with notice`.
    pub fn words(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM with notice",
            Self::Kill => "silent SIGKILL",
            Self::Pause => "SIGSTOP past the lease",
            Self::QueueRestart => "Redis restarted",
            Self::QueueWipe => "Redis wiped",
            Self::CutQueue => "cut off from Redis",
            Self::CutVolume => "cut off from the volume",
            Self::CutBoth => "cut off from Redis and the volume",
            Self::VolumeRestart => "the volume's server restarted",
        }
    }

    pub fn is_queue(self) -> bool {
        matches!(self, Self::QueueRestart | Self::QueueWipe)
    }

    /// Whether the fault is in a server that all machines use, and in no machine.
    pub fn is_service(self) -> bool {
        self.is_queue() || self == Self::VolumeRestart
    }

    /// Whether only a cluster can have this fault.
    pub fn needs_cluster(self) -> bool {
        matches!(self, Self::CutQueue | Self::CutVolume | Self::CutBoth | Self::VolumeRestart)
    }

    /// Whether the machine goes on afterwards where it was.
    pub fn is_pause(self) -> bool {
        matches!(self, Self::Pause | Self::CutQueue | Self::CutVolume | Self::CutBoth)
    }
}

/// What sets a preemption off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trigger {
    /// A time since the workers were started, for a fault in this worker's machine (in the queue: anyone's).
    At { ms: u64, worker: u32 },
    /// The n-th time, from 1, that a dataset is claimed to be prepared. The claimant gets the fault.
    Claim(u32),
    /// This share of a dataset's preparation is done. The worker that prepares it gets the fault.
    Percent { dataset: u32, percent: u8 },
    /// The report is committed: the batch is over but for the ack to the queue. The worker that made the
    /// report gets the fault.
    Report,
}

impl Trigger {
    /// Whether an event sets it off. `claims` is the number of claims so far, the event's own included.
    pub fn is_set_off(self, claims: u32, what: &What) -> bool {
        match (self, what) {
            (Self::Claim(number), what) if what.begins() => number <= claims,
            (Self::Percent { dataset, percent }, What::Progress { item, done, total }) => {
                first_of(*item) == Some(dataset)
                    && done.saturating_mul(100) >= total.saturating_mul(u64::from(percent))
            }
            (Self::Report, What::Committed { item, .. }) => *item == REPORT.name,
            _ => false,
        }
    }
}

/// One preemption to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Line", into = "Line")]
pub struct Preemption {
    pub trigger: Trigger,
    pub kind: Kind,
    /// How long the machine, or the queue, is away; for a pause, how long it is stopped.
    pub away: Span,
    /// Whether the machine comes back under another name.
    pub renamed: bool,
}

/// All faults that a run will get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    pub seed: u64,
    pub rule: String,
    #[serde(default, rename = "preemption")]
    pub preemptions: Vec<Preemption>,
}

/// What a schedule is drawn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    pub seed: u64,
    pub workers: u32,
    pub datasets: u32,
    pub lease: Span,
    /// Share of the preemptions that come as SIGKILL without notice.
    pub silent: f64,
    /// Share that are a pause past the lease.
    pub pause: f64,
    /// Whether preparing a dataset takes long enough for a fault in its middle.
    pub long: bool,
    /// Whether machines are nodes of a cluster: pauses are cuts of the network too, and preemptions by
    /// time include the servers of the queue and of the volume.
    pub cluster: bool,
}

/// Preemptions of one worker by time: beyond them nothing disturbs it any more, so that a mean
/// shorter than any work still ends. Nor does anything beyond the longest time that can be written down.
const TIMED_PER_WORKER: u32 = 256;
/// Preemptions by progress in the default schedule.
const BY_PROGRESS: u32 = 8;

impl Schedule {
    pub fn none() -> Self {
        Self { seed: 0, rule: Rule::None.to_string(), preemptions: Vec::new() }
    }

    /// The schedule of a rule that is no file.
    pub fn draw(rule: &Rule, draw: &Draw) -> Self {
        let preemptions = match rule {
            Rule::None | Rule::File(_) => Vec::new(),
            Rule::Progress => by_progress(draw),
            Rule::Poisson(mean) => by_time(draw, |dice, _, _| {
                // 1 - u lies in (0, 1], where the logarithm is finite.
                let gap = -libm::log(1.0 - dice.unit()) * mean.ms as f64;
                gap.min(1e12) as u64
            }),
            Rule::Every(gap) => by_time(draw, |_, worker, number| {
                let offset = gap.ms * u64::from(worker) / u64::from(draw.workers);
                if number == 0 { gap.ms + offset } else { gap.ms }
            }),
        };
        Self { seed: draw.seed, rule: rule.to_string(), preemptions }
    }

    /// The TOML that [`Schedule::parse`] reads.
    pub fn to_toml(&self) -> String {
        // Numbers, texts and a list of tables: nothing that TOML cannot hold.
        toml::to_string(self).unwrap_or_default()
    }

    /// # Errors
    /// With the line and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
    }

    pub fn has_queue_faults(&self) -> bool {
        self.preemptions.iter().any(|preemption| preemption.kind.is_queue())
    }

    pub fn needs_cluster(&self) -> bool {
        self.preemptions.iter().any(|preemption| preemption.kind.needs_cluster())
    }
}

/// Random numbers whose bytes no library update changes.
struct Dice(ChaCha8Rng);

impl Dice {
    fn new(seed: u64, stream: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(stream);
        Self(rng)
    }

    /// In [0, 1), a multiple of 2^-53.
    fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// In low..high, which is not empty.
    fn range(&mut self, low: u64, high: u64) -> u64 {
        low + ((u128::from(self.0.next_u64()) * u128::from(high - low)) >> 64) as u64
    }

    /// On a cluster, one of the ways in which a machine can be away and not know it.
    fn pause_of_node(&mut self, kind: Kind, draw: &Draw) -> Kind {
        const WAYS: [Kind; 4] = [Kind::CutBoth, Kind::CutQueue, Kind::CutVolume, Kind::Pause];
        match (kind, draw.cluster) {
            (Kind::Pause, true) => WAYS[self.range(0, WAYS.len() as u64) as usize],
            _ => kind,
        }
    }

    fn preemption(&mut self, trigger: Trigger, kind: Kind, lease: Span) -> Preemption {
        let away = match kind {
            kind if kind.is_pause() => self.range(lease.ms + lease.ms / 10, lease.ms + lease.ms / 2 + 50),
            _ => self.range(100, 400),
        };
        Preemption { trigger, kind, away: Span::ms(away), renamed: self.unit() < 0.5 }
    }
}

fn by_time(draw: &Draw, mut gap_ms: impl FnMut(&mut Dice, u32, u32) -> u64) -> Vec<Preemption> {
    let mut all = Vec::new();
    for worker in 0..draw.workers {
        let mut dice = Dice::new(draw.seed, 1 + u64::from(worker));
        let mut ms = 0u64;
        for number in 0..TIMED_PER_WORKER {
            ms = ms.saturating_add(gap_ms(&mut dice, worker, number));
            if ms > SPAN_MS_MAX {
                break;
            }
            let chance = dice.unit();
            let kind = match chance {
                chance if chance < draw.silent => Kind::Kill,
                chance if chance < draw.silent + draw.pause => Kind::Pause,
                _ => Kind::Terminate,
            };
            let kind = dice.pause_of_node(kind, draw);
            all.push(dice.preemption(Trigger::At { ms, worker }, kind, draw.lease));
        }
    }
    if draw.cluster {
        services_by_time(draw, &mut gap_ms, &mut all);
    }
    all.sort_by_key(|preemption| preemption.trigger);
    all
}

/// The servers' own preemptions, in turn, at half the pace of a machine's.
fn services_by_time(
    draw: &Draw,
    gap_ms: &mut impl FnMut(&mut Dice, u32, u32) -> u64,
    all: &mut Vec<Preemption>,
) {
    let mut dice = Dice::new(draw.seed, 1 + u64::from(draw.workers));
    let mut ms = 0u64;
    for (number, kind) in
        (0..TIMED_PER_WORKER).zip([Kind::VolumeRestart, Kind::QueueWipe].into_iter().cycle())
    {
        ms = ms.saturating_add(2 * gap_ms(&mut dice, draw.workers, number));
        if ms > SPAN_MS_MAX {
            break;
        }
        all.push(dice.preemption(Trigger::At { ms, worker: 0 }, kind, draw.lease));
    }
}

/// At least two of each kind, spread over the first datasets and claims. Kinds that leave a
/// claim leased until it expires come first, while there is other work to do.
fn by_progress(draw: &Draw) -> Vec<Preemption> {
    let mut dice = Dice::new(draw.seed, 0);
    let mut kinds = [Kind::Kill, Kind::Pause, Kind::Kill, Kind::Pause];
    for last in (1..kinds.len()).rev() {
        kinds.swap(last, dice.range(0, last as u64 + 1) as usize);
    }
    let kinds = kinds.into_iter().chain(std::iter::repeat(Kind::Terminate));
    let mut all = Vec::new();
    for (number, kind) in (0..BY_PROGRESS).zip(kinds) {
        let dataset = number % draw.datasets.max(1);
        // Below the middle: enough is left to do that no grace finishes it.
        let percent = dice.range(20, 50) as u8;
        let trigger = if draw.long && number < draw.datasets {
            Trigger::Percent { dataset, percent }
        } else {
            Trigger::Claim(1 + number)
        };
        let kind = dice.pause_of_node(kind, draw);
        all.push(dice.preemption(trigger, kind, draw.lease));
    }
    all
}

/// A preemption as TOML holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    worker: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claim: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dataset: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<u8>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    report: bool,
    kind: Kind,
    away: Span,
    #[serde(default)]
    renamed: bool,
}

impl TryFrom<Line> for Preemption {
    type Error = String;

    fn try_from(line: Line) -> Result<Self, String> {
        let trigger = match (line.at, line.worker, line.claim, line.dataset, line.percent) {
            (None, None, None, None, None) if line.report => Trigger::Report,
            _ if line.report => return Err("`report` cannot be combined with another trigger".to_owned()),
            (Some(at), Some(worker), None, None, None) => Trigger::At { ms: at.ms, worker },
            (Some(at), None, None, None, None) if line.kind.is_service() => {
                Trigger::At { ms: at.ms, worker: 0 }
            }
            (None, None, Some(claim), None, None) if claim > 0 => Trigger::Claim(claim),
            (None, None, None, Some(dataset), Some(percent)) if percent < 100 => {
                Trigger::Percent { dataset, percent }
            }
            _ => {
                return Err("a preemption has `at` and `worker` (from 0), or `claim` (from 1), \
                     or `dataset` and `percent` (below 100), or `report = true`"
                    .to_owned());
            }
        };
        Ok(Self { trigger, kind: line.kind, away: line.away, renamed: line.renamed })
    }
}

impl From<Preemption> for Line {
    fn from(preemption: Preemption) -> Self {
        let mut line = Self {
            at: None,
            worker: None,
            claim: None,
            dataset: None,
            percent: None,
            report: false,
            kind: preemption.kind,
            away: preemption.away,
            renamed: preemption.renamed,
        };
        match preemption.trigger {
            Trigger::At { ms, worker } => (line.at, line.worker) = (Some(Span::ms(ms)), Some(worker)),
            Trigger::Claim(number) => line.claim = Some(number),
            Trigger::Percent { dataset, percent } => {
                (line.dataset, line.percent) = (Some(dataset), Some(percent));
            }
            Trigger::Report => line.report = true,
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn draw(seed: u64, workers: u32, datasets: u32) -> Draw {
        Draw {
            seed,
            workers,
            datasets,
            lease: Span::ms(1_000),
            silent: 0.3,
            pause: 0.2,
            long: true,
            cluster: false,
        }
    }

    fn rules() -> impl Strategy<Value = Rule> {
        prop_oneof![
            Just(Rule::None),
            Just(Rule::Progress),
            (1..SPAN_MS_MAX).prop_map(|ms| Rule::Poisson(Span::ms(ms))),
            (1..SPAN_MS_MAX).prop_map(|ms| Rule::Every(Span::ms(ms))),
        ]
    }

    proptest! {
        #[test]
        fn a_schedule_is_a_function_of_its_seed_and_reads_back(
            rule in rules(), seed in 0..1u64 << 40, workers in 1..9u32, datasets in 0..40u32, cluster: bool,
        ) {
            let draw = Draw { cluster, ..draw(seed, workers, datasets) };
            let schedule = Schedule::draw(&rule, &draw);
            prop_assert_eq!(&schedule, &Schedule::draw(&rule, &draw));
            prop_assert!(cluster || !schedule.needs_cluster());
            prop_assert_eq!(Schedule::parse(&schedule.to_toml()), Ok(schedule));
            prop_assert_eq!(rule.to_string().parse(), Ok(rule));
        }

        /// However few datasets and workers, the default injects every kind of fault, and each pause is
        /// longer than the lease.
        #[test]
        fn the_default_injects_every_kind(seed in any::<u64>(), workers in 1..9u32, datasets in 1..40u32) {
            let schedule = Schedule::draw(&Rule::Progress, &draw(seed, workers, datasets));
            let mut kinds: BTreeMap<Kind, u32> = BTreeMap::new();
            for preemption in &schedule.preemptions {
                *kinds.entry(preemption.kind).or_default() += 1;
                prop_assert!(preemption.kind != Kind::Pause || preemption.away.ms > 1_000);
            }
            prop_assert!(Kind::MACHINE.iter().all(|kind| kinds.get(kind) >= Some(&2)));
        }

        #[test]
        fn other_texts_are_refused_and_never_panic(text in "(seed = [0-9]{1,3}\n)?[a-z =\\[\\]\"0-9\n]{0,60}") {
            let _ = Schedule::parse(&text);
        }
    }

    /// The mean is each worker's own: the number of workers does not change it.
    #[test]
    fn a_mean_is_per_worker() {
        for workers in [1, 8] {
            let schedule = Schedule::draw(&Rule::Poisson(Span::ms(500)), &draw(7, workers, 8));
            for worker in 0..workers {
                let times: Vec<u64> = schedule
                    .preemptions
                    .iter()
                    .filter_map(|p| match p.trigger {
                        Trigger::At { ms, worker: of } if of == worker => Some(ms),
                        _ => None,
                    })
                    .collect();
                let mean = times[times.len() - 1] as f64 / times.len() as f64;
                // Five standard deviations of a mean of 256 exponential gaps.
                assert!((mean - 500.0).abs() < 5.0 * 500.0 / 16.0, "worker {worker}: {mean}");
            }
        }
    }

    #[test]
    fn the_shares_are_kept() {
        let schedule = Schedule::draw(&Rule::Poisson(Span::ms(500)), &draw(1, 8, 8));
        let silent = schedule.preemptions.iter().filter(|p| p.kind == Kind::Kill).count();
        assert!((silent as f64 / 2048.0 - 0.3).abs() < 0.05, "{silent} of 2048");
    }

    #[test]
    fn a_written_schedule_reads_like_this() {
        let schedule = Schedule::draw(&Rule::Progress, &draw(1, 3, 8));
        insta::assert_snapshot!(schedule.to_toml());
    }

    #[test]
    fn a_wrong_line_is_named() {
        let text = "seed = 1\nrule = \"mine\"\n[[preemption]]\nat = \"300\"\nworker = 0\nkind = \"kill\"\naway = \"1s\"\n";
        insta::assert_snapshot!(Schedule::parse(text).unwrap_err());
    }
}
