//! What can go wrong in a world.

use serde::{Deserialize, Serialize};

use super::dice::Dice;

/// Something goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// At the first call that it can be injected into from this one on, counted over all workers from 0.
    pub at: u64,
    pub what: FaultKind,
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

/// What goes wrong. It happens to the machine that makes the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The machine is gone without notice, before or after the call took effect.
    Kill {
        after: bool,
        back_ms: u64,
    },
    /// The machine gets notice to stop; it is gone when the grace is over.
    Notice {
        back_ms: u64,
    },
    /// The machine stands still.
    Pause {
        ms: u64,
    },
    /// The machine is gone, and its call arrives later.
    Late {
        ms: u64,
        back_ms: u64,
    },
    /// The machine's wall clock jumps.
    ClockJump {
        hours: i32,
    },
    /// A second machine of the same name begins to work.
    Twin,
    /// The call takes effect and its answer says that it failed.
    ReplyLost {
        on: On,
    },
    /// The call fails.
    Error {
        on: On,
    },
    /// ESTALE.
    Stale {
        on: On,
    },
    /// What was written is partly lost, and close says so.
    CloseError,
    /// The disk is full for a while.
    NoSpace {
        ms: u64,
    },
    /// For a while the machine sees the names as they were before.
    StaleLookups {
        ms: u64,
    },
    /// The server is away for a while, and forgets what no client synced.
    ServerRestart {
        ms: u64,
    },
    /// All machines are gone at once, and all that was not synced may be, with the queue's last second.
    PowerLoss {
        back_ms: u64,
    },
    /// The call takes `ms` longer.
    Hang {
        ms: u64,
    },
    /// A committed result loses its tail, though it was synced.
    Tear,
    /// The next file that is removed stays for a while, under another name.
    SillyRename {
        ms: u64,
    },
    /// A dataset reads as something else, or seems to be missing, for once.
    Misread {
        missing: bool,
    },
    /// A bucket: somebody else writes the name (409). Nothing may be there afterwards.
    Conflict,
    /// A bucket: the answer to a read or a listing breaks off.
    Cut,
    /// A bucket: for a while a name takes one write a second (429).
    Throttle {
        ms: u64,
    },
    QueueReplyLost,
    QueueError,
    QueueAway {
        ms: u64,
    },
    QueueSlow {
        ms: u64,
    },
    /// Redis crashes, and its log lacks the last second.
    QueueLastSecond,
    /// Redis goes back to an older copy of itself.
    QueueRollback {
        ms: u64,
    },
    QueueWiped,
    /// The queue's clock is set back.
    QueueClockBack {
        minutes: u64,
    },
    /// MISCONF: what changes anything is refused for a while.
    QueueMisconf {
        ms: u64,
    },
    /// A failover to a copy that lags, which first refuses what changes anything.
    QueueReadOnly {
        ms: u64,
    },
}

/// One of each kind, for names and for coverage.
pub const KINDS: [(&str, &str); 31] = [
    ("kill", "a machine gone without notice"),
    ("notice", "a machine with notice to stop"),
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
    ("power-loss", "a loss of power to all machines"),
    ("hang", "a call to the volume that hung"),
    ("tear", "a torn commit"),
    ("silly-rename", "a silly-renamed file"),
    ("misread", "a dataset that read as something else, or not at all, for once"),
    ("conflict", "a bucket's conflict (409)"),
    ("cut", "a bucket's answer that broke off"),
    ("throttle", "a bucket's name that takes one write a second (429)"),
    ("queue-reply-lost", "a lost answer of the queue"),
    ("queue-error", "a call to the queue that failed"),
    ("queue-away", "a queue that was away"),
    ("queue-slow", "a slow answer of the queue"),
    ("queue-last-second", "a queue that lost its last second"),
    ("queue-rollback", "a queue that went back"),
    ("queue-wiped", "a queue that lost everything"),
    ("queue-clock-back", "a queue whose clock was set back"),
    ("queue-misconf", "a queue that refused to write"),
    ("queue-read-only", "a failover of the queue"),
];

/// No fault lasts longer, but a queue that is away for a minute; and none goes farther back.
pub const LONG_MS: u64 = 12_000;

impl FaultKind {
    /// The number of its kind in [`KINDS`].
    pub fn number(&self) -> usize {
        // Every name is in the list: the test below goes through all of them.
        kind_of(self.name()).unwrap_or(KINDS.len())
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::Notice { .. } => "notice",
            Self::Pause { .. } => "pause",
            Self::Late { .. } => "late",
            Self::ClockJump { .. } => "clock-jump",
            Self::Twin => "twin",
            Self::ReplyLost { .. } => "reply-lost",
            Self::Error { .. } => "error",
            Self::Stale { .. } => "stale-handle",
            Self::CloseError => "close-error",
            Self::NoSpace { .. } => "no-space",
            Self::StaleLookups { .. } => "stale-lookups",
            Self::ServerRestart { .. } => "server-restart",
            Self::PowerLoss { .. } => "power-loss",
            Self::Hang { .. } => "hang",
            Self::Tear => "tear",
            Self::SillyRename { .. } => "silly-rename",
            Self::Misread { .. } => "misread",
            Self::Conflict => "conflict",
            Self::Cut => "cut",
            Self::Throttle { .. } => "throttle",
            Self::QueueReplyLost => "queue-reply-lost",
            Self::QueueError => "queue-error",
            Self::QueueAway { .. } => "queue-away",
            Self::QueueSlow { .. } => "queue-slow",
            Self::QueueLastSecond => "queue-last-second",
            Self::QueueRollback { .. } => "queue-rollback",
            Self::QueueWiped => "queue-wiped",
            Self::QueueClockBack { .. } => "queue-clock-back",
            Self::QueueMisconf { .. } => "queue-misconf",
            Self::QueueReadOnly { .. } => "queue-read-only",
        }
    }

    /// A fault of a kind, its particulars by chance.
    pub fn of_kind(kind: usize, dice: &mut Dice) -> Self {
        let back_ms = dice.between(10, 3_000);
        let short = dice.between(20, 2_000);
        let long = dice.between(100, LONG_MS);
        let on = *dice.pick(&[On::Any, On::Look, On::Create, On::Link, On::Link, On::Rename, On::Remove]);
        let changing = *dice.pick(&[On::Create, On::Link, On::Link, On::Link, On::Rename, On::Remove]);
        let half = dice.chance(1, 2);
        match KINDS[kind].0 {
            "kill" => Self::Kill { after: half, back_ms },
            "notice" => Self::Notice { back_ms },
            "pause" => Self::Pause { ms: long },
            "late" => Self::Late { ms: short, back_ms },
            "clock-jump" => Self::ClockJump { hours: dice.between(0, 2_000) as i32 - 1_000 },
            "twin" => Self::Twin,
            "reply-lost" => Self::ReplyLost { on: changing },
            "error" => Self::Error { on },
            "stale-handle" => Self::Stale { on },
            "close-error" => Self::CloseError,
            "no-space" => Self::NoSpace { ms: short },
            "stale-lookups" => Self::StaleLookups { ms: short },
            "server-restart" => Self::ServerRestart { ms: short },
            "power-loss" => Self::PowerLoss { back_ms },
            "hang" => Self::Hang { ms: short },
            "tear" => Self::Tear,
            "silly-rename" => Self::SillyRename { ms: short },
            "misread" => Self::Misread { missing: half },
            "conflict" => Self::Conflict,
            "cut" => Self::Cut,
            "throttle" => Self::Throttle { ms: long },
            "queue-reply-lost" => Self::QueueReplyLost,
            "queue-error" => Self::QueueError,
            "queue-away" => Self::QueueAway { ms: if dice.chance(1, 8) { 60_000 } else { short } },
            "queue-slow" => Self::QueueSlow { ms: short },
            "queue-last-second" => Self::QueueLastSecond,
            "queue-rollback" => Self::QueueRollback { ms: long },
            "queue-wiped" => Self::QueueWiped,
            "queue-clock-back" => Self::QueueClockBack { minutes: dice.between(1, 3_000) },
            "queue-misconf" => Self::QueueMisconf { ms: short },
            _ => Self::QueueReadOnly { ms: short },
        }
    }

    /// The longest of its times.
    pub fn longest_ms(&self) -> u64 {
        match *self {
            Self::Kill { back_ms, .. } | Self::Notice { back_ms } | Self::PowerLoss { back_ms } => back_ms,
            Self::Late { ms, back_ms } => ms.max(back_ms),
            Self::Pause { ms }
            | Self::NoSpace { ms }
            | Self::StaleLookups { ms }
            | Self::ServerRestart { ms }
            | Self::Hang { ms }
            | Self::SillyRename { ms }
            | Self::Throttle { ms }
            | Self::QueueAway { ms }
            | Self::QueueSlow { ms }
            | Self::QueueRollback { ms }
            | Self::QueueMisconf { ms }
            | Self::QueueReadOnly { ms } => ms,
            _ => 0,
        }
    }

    /// Whether it is the queue that fails.
    pub fn is_of_queue(&self) -> bool {
        self.name().starts_with("queue-")
    }

    /// Whether it is the volume that fails.
    pub fn is_of_volume(&self) -> bool {
        let machines = ["kill", "notice", "pause", "late", "clock-jump", "twin"];
        !self.is_of_queue() && !machines.contains(&self.name())
    }

    /// Whether it does no more than take a machine away.
    pub fn takes_a_machine(&self) -> bool {
        matches!(self, Self::Kill { .. } | Self::Notice { .. } | Self::Late { .. } | Self::ClockJump { .. })
    }

    /// Whether it can keep a machine waiting.
    pub fn delays(&self) -> bool {
        self.is_of_queue() || self.is_of_volume() || matches!(self, Self::Pause { .. })
    }

    /// Whether there must be a server that the machines share from afar.
    pub fn needs_a_server(&self) -> bool {
        matches!(
            self,
            Self::Late { .. }
                | Self::ReplyLost { .. }
                | Self::Stale { .. }
                | Self::CloseError
                | Self::StaleLookups { .. }
                | Self::ServerRestart { .. }
                | Self::SillyRename { .. }
        )
    }

    /// Whether there must be a file system: a bucket does nothing like it.
    pub fn needs_files(&self) -> bool {
        matches!(
            self,
            Self::Stale { .. }
                | Self::CloseError
                | Self::NoSpace { .. }
                | Self::StaleLookups { .. }
                | Self::Tear
                | Self::SillyRename { .. }
        )
    }

    /// Whether there must be a bucket.
    pub fn needs_a_bucket(&self) -> bool {
        matches!(self, Self::Conflict | Self::Cut | Self::Throttle { .. })
    }

    /// Whether the queue goes back to a state that it had.
    pub fn goes_back(&self) -> bool {
        matches!(
            self,
            Self::QueueLastSecond
                | Self::QueueRollback { .. }
                | Self::QueueReadOnly { .. }
                | Self::PowerLoss { .. }
        )
    }

    /// Whether the queue may have forgotten what was pushed.
    pub fn loses_pushes(&self) -> bool {
        self.goes_back() || matches!(self, Self::QueueWiped)
    }
}

/// The number of a kind's name.
pub fn kind_of(name: &str) -> Option<usize> {
    KINDS.iter().position(|(kind, _)| *kind == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_a_kind_is_of_that_kind() {
        for (kind, (name, _)) in KINDS.iter().enumerate() {
            assert_eq!(FaultKind::of_kind(kind, &mut Dice::new(1)).number(), kind, "{name}");
        }
    }
}
