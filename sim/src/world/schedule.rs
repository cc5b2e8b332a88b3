//! What happens in a world: who works on what, and what goes wrong when. A pure function of a
//! seed, recorded as data, so that it can be replayed and shrunk.

use serde::{Deserialize, Serialize};

use super::dice::Dice;

/// A world's make-up and its faults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Decides latencies, nonces and how much of a torn write is left.
    pub seed: u64,
    pub params: Params,
    /// In the order in which they strike.
    pub faults: Vec<Fault>,
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
    pub deterministic: bool,
    /// The run is a launcher's list, sealed from the beginning; else everything is pushed.
    pub listed: bool,
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

/// Something goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// At the first call that it can strike from this one on, counted over all workers from 0.
    pub at: u64,
    pub what: What,
}

/// Which calls to the volume a fault waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum On {
    Any,
    Look,
    Create,
    Link,
    Rename,
    Remove,
}

/// What goes wrong. Whoever makes the call is the one that it happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The machine is gone with no word, before or after the call took effect.
    Kill { after: bool, back_ms: u64 },
    /// The machine is told to stop; it is gone when the grace is over.
    Notice { back_ms: u64 },
    /// The machine stands still.
    Pause { ms: u64 },
    /// The machine is gone, and its call arrives later.
    Late { ms: u64, back_ms: u64 },
    /// The machine's wall clock jumps.
    ClockJump { hours: i32 },
    /// A second machine of the same name begins to work.
    Twin,
    /// The call takes effect and its answer says that it failed.
    ReplyLost { on: On },
    /// The call fails.
    Error { on: On },
    /// ESTALE.
    Stale { on: On },
    /// What was written is partly lost, and close says so.
    CloseError,
    /// The disk is full for a while.
    NoSpace { ms: u64 },
    /// For a while the machine sees the names as they were before.
    StaleLookups { ms: u64 },
    /// The server is away for a while, and forgets what it was not told to sync.
    ServerRestart { ms: u64 },
    /// The call takes so long.
    Hang { ms: u64 },
    /// A committed result loses its tail, though it was synced.
    Tear,
    /// The next file that is removed stays for a while, under another name.
    SillyRename { ms: u64 },
    QueueReplyLost,
    QueueError,
    QueueAway { ms: u64 },
    QueueSlow { ms: u64 },
    /// Redis crashes, and its log lacks the last second.
    QueueLastSecond,
    /// Redis goes back to an older copy of itself.
    QueueRollback { ms: u64 },
    QueueWiped,
    /// MISCONF: what changes anything is refused for a while.
    QueueMisconf { ms: u64 },
    /// A failover to a copy that lags, which first refuses what changes anything.
    QueueReadOnly { ms: u64 },
}

/// One of each kind, for names and for coverage.
pub const KINDS: [(&str, &str); 25] = [
    ("kill", "a machine gone with no word"),
    ("notice", "a machine told to stop"),
    ("pause", "a machine that stood still"),
    ("late", "a call that arrived after its machine was gone"),
    ("clock-jump", "a wall clock that jumped"),
    ("twin", "two machines of one name"),
    ("reply-lost", "a lost answer of the volume"),
    ("error", "a call to the volume that failed"),
    ("stale-handle", "ESTALE"),
    ("close-error", "an error at close"),
    ("no-space", "a full disk"),
    ("stale-lookups", "stale look-ups"),
    ("server-restart", "a restart of the volume's server"),
    ("hang", "a call to the volume that hung"),
    ("tear", "a torn commit"),
    ("silly-rename", "a silly-renamed file"),
    ("queue-reply-lost", "a lost answer of the queue"),
    ("queue-error", "a call to the queue that failed"),
    ("queue-away", "a queue that was away"),
    ("queue-slow", "a slow answer of the queue"),
    ("queue-last-second", "a queue that lost its last second"),
    ("queue-rollback", "a queue that went back"),
    ("queue-wiped", "a queue that lost everything"),
    ("queue-misconf", "a queue that refused to write"),
    ("queue-read-only", "a failover of the queue"),
];

impl What {
    /// The number of its kind in [`KINDS`].
    pub fn kind(&self) -> usize {
        match self {
            Self::Kill { .. } => 0,
            Self::Notice { .. } => 1,
            Self::Pause { .. } => 2,
            Self::Late { .. } => 3,
            Self::ClockJump { .. } => 4,
            Self::Twin => 5,
            Self::ReplyLost { .. } => 6,
            Self::Error { .. } => 7,
            Self::Stale { .. } => 8,
            Self::CloseError => 9,
            Self::NoSpace { .. } => 10,
            Self::StaleLookups { .. } => 11,
            Self::ServerRestart { .. } => 12,
            Self::Hang { .. } => 13,
            Self::Tear => 14,
            Self::SillyRename { .. } => 15,
            Self::QueueReplyLost => 16,
            Self::QueueError => 17,
            Self::QueueAway { .. } => 18,
            Self::QueueSlow { .. } => 19,
            Self::QueueLastSecond => 20,
            Self::QueueRollback { .. } => 21,
            Self::QueueWiped => 22,
            Self::QueueMisconf { .. } => 23,
            Self::QueueReadOnly { .. } => 24,
        }
    }

    pub fn name(&self) -> &'static str {
        KINDS[self.kind()].0
    }

    /// A fault of a kind, its particulars by chance.
    pub fn of_kind(kind: usize, dice: &mut Dice) -> Self {
        let back_ms = dice.between(10, 3_000);
        let short = dice.between(20, 2_000);
        let long = dice.between(100, 12_000);
        let on = *dice.pick(&[
            On::Any,
            On::Look,
            On::Create,
            On::Link,
            On::Link,
            On::Rename,
            On::Remove,
        ]);
        let changing = *dice.pick(&[On::Create, On::Link, On::Link, On::Link, On::Rename, On::Remove]);
        match kind {
            0 => Self::Kill {
                after: dice.chance(1, 2),
                back_ms,
            },
            1 => Self::Notice { back_ms },
            2 => Self::Pause { ms: long },
            3 => Self::Late { ms: short, back_ms },
            4 => Self::ClockJump {
                hours: dice.between(0, 2_000) as i32 - 1_000,
            },
            5 => Self::Twin,
            6 => Self::ReplyLost { on: changing },
            7 => Self::Error { on },
            8 => Self::Stale { on },
            9 => Self::CloseError,
            10 => Self::NoSpace { ms: short },
            11 => Self::StaleLookups { ms: short },
            12 => Self::ServerRestart { ms: short },
            13 => Self::Hang { ms: short },
            14 => Self::Tear,
            15 => Self::SillyRename { ms: short },
            16 => Self::QueueReplyLost,
            17 => Self::QueueError,
            18 => Self::QueueAway {
                ms: if dice.chance(1, 8) { 60_000 } else { short },
            },
            19 => Self::QueueSlow { ms: short },
            20 => Self::QueueLastSecond,
            21 => Self::QueueRollback { ms: long },
            22 => Self::QueueWiped,
            23 => Self::QueueMisconf { ms: short },
            _ => Self::QueueReadOnly { ms: short },
        }
    }
}

/// The number of a kind's name.
pub fn kind_of(name: &str) -> Option<usize> {
    KINDS.iter().position(|(kind, _)| *kind == name)
}

impl Params {
    /// How many items a run of this make-up has, begin and report among them.
    pub fn items(&self) -> u64 {
        let train = u64::from(self.train);
        2 + 4 * train + 2 * u64::from(self.tests) + u64::from(self.history)
    }

    fn of_seed(dice: &mut Dice) -> Self {
        let train = dice.between(1, 8) as u32;
        let deterministic = !dice.chance(1, 5);
        let listed = dice.chance(1, 2);
        let rejects = (0..train).filter(|_| dice.chance(1, 10)).collect();
        let volume_us = *dice.pick(&[(50, 500), (200, 2_000), (500, 5_000), (100, 20_000)]);
        let mut params = Self {
            workers: dice.between(1, 5) as u32,
            train,
            tests: dice.between(0, 2) as u32,
            history: dice.between(0, 2) as u32,
            rejects,
            steps: dice.between(1, 12) as u32,
            deterministic,
            listed,
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

/// A push of the next day, or of what a run must know how to take: the same path again, a day too
/// late, no path at all.
fn push(dice: &mut Dice, calls: u64, day: u32) -> Push {
    let paths = match dice.between(0, 5) {
        0 => vec![training(0)],
        1 => vec![training(day), training(day)],
        2 => vec!["../elsewhere".to_owned(), training(day)],
        3 => vec![training(day + 15), training(day)],
        _ => vec![training(day)],
    };
    Push {
        at: dice.between(0, calls),
        paths,
    }
}

/// The path of a training dataset, by its number.
pub fn training(number: u32) -> String {
    format!("datasets/training/2018-04-{:02}.toy", number + 1)
}

impl Schedule {
    /// The schedule of a seed, with faults of the given kinds.
    pub fn of_seed(seed: u64, kinds: &[usize]) -> Self {
        let mut dice = Dice::new(seed);
        let params = Params::of_seed(&mut dice);
        let calls = params.calls();
        let count = if kinds.is_empty() {
            0
        } else {
            dice.between(0, 3) * dice.between(0, 4)
        };
        let mut faults: Vec<Fault> = (0..count)
            .map(|_| {
                let kind = *dice.pick(kinds);
                Fault {
                    at: dice.between(0, calls),
                    what: What::of_kind(kind, &mut dice),
                }
            })
            .collect();
        // Torn commits need results that can be made again.
        faults.retain(|fault| params.deterministic || fault.what != What::Tear);
        faults.sort_by_key(|fault| fault.at);
        Self { seed, params, faults }
    }

    pub fn of_any_kind(seed: u64) -> Self {
        let kinds: Vec<usize> = (0..KINDS.len()).collect();
        Self::of_seed(seed, &kinds)
    }
}
