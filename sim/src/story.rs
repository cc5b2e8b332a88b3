//! What happened to a run, as one observer saw it: the workers' own events, the preemptions, and
//! the effect of each. Pure: terminal, report page, summary and checks all read from here.

use std::collections::BTreeMap;

use serde::Serialize;
use worker::events::{Event, What};
use worker::item::Name;
use worker::queue::Release;

use crate::schedule::{Kind, Preemption};

/// One life of a worker's process, from its start to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Incarnation {
    /// The machine's number, from 0.
    pub machine: u32,
    pub name: String,
    pub pid: u32,
    pub started_ms: u64,
    /// When its end was seen; `None` while it lives.
    pub ended_ms: Option<u64>,
    /// Exit code, or the signal's negative number.
    pub exit: Option<i32>,
    pub events: Vec<Event>,
}

impl Incarnation {
    /// The claim that it holds by its own account: claimed, and neither acknowledged nor given back.
    pub fn held(&self) -> Option<Held> {
        let mut held = None;
        for event in &self.events {
            match &event.what {
                What::Claimed { item, token, attempt, .. } => {
                    held = Some(Held { item: *item, token: *token, attempt: attempt.clone() });
                }
                What::Acked { .. } | What::GaveBack { .. } => held = None,
                _ => {}
            }
        }
        held
    }

    /// The folder of the attempt that a claim began.
    pub fn attempt_of(&self, item: Name, token: u64) -> String {
        let found = self.events.iter().rev().find_map(|event| match &event.what {
            What::Claimed { item: of, token: number, attempt, .. } if (*of, *number) == (item, token) => {
                Some(attempt.clone())
            }
            _ => None,
        });
        found.unwrap_or_default()
    }

    /// What the worker itself said that it ended for.
    pub fn last_words(&self) -> Option<(u8, &str)> {
        self.events.iter().rev().find_map(|event| match &event.what {
            What::Exited { code, reason } => Some((*code, reason.as_str())),
            _ => None,
        })
    }
}

/// A claim, as events name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    pub item: Name,
    pub token: u64,
    /// The attempt's folder.
    pub attempt: String,
}

/// The effect of a fault on the worker that it hit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Under way.
    Pending,
    /// It interrupted held work: the only kind that counts.
    Interrupted(Held),
    /// The worker held work and finished it within the grace.
    FinishedInGrace,
    /// The worker held nothing.
    Idle,
    /// Nothing was injected: the machine, or the server, was away already.
    Away,
    /// It hit the queue's server.
    Queue,
    /// It hit the volume's server.
    Volume,
}

/// A fault that was injected, or skipped.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InjectedFault {
    pub preemption: Preemption,
    pub at_ms: u64,
    /// When the machine, or the queue, went on or came back.
    pub back_ms: Option<u64>,
    pub machine: u32,
    /// Place in [`Story::incarnations`]; `None` where no worker was there.
    pub incarnation: Option<usize>,
    pub effect: Effect,
}

/// Everything that was seen of one run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Story {
    pub run: String,
    pub machines: u32,
    pub began_ms: u64,
    pub ended_ms: u64,
    pub incarnations: Vec<Incarnation>,
    pub faults: Vec<InjectedFault>,
    /// Public files that were there when the first worker was seen to have ended with 0.
    pub at_first_exit: Option<Vec<String>>,
    /// From the last disturbance to the first worker's end with 0.
    pub drained_ms: Option<u64>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Acked,
    GaveBack(Release),
    /// With its process.
    Died,
    /// Not by what was seen.
    Open,
}

/// A commit by an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    pub at_ms: u64,
    pub path: String,
    pub won: bool,
}

/// One claim's work, from its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub machine: u32,
    pub incarnation: usize,
    pub held: Held,
    pub dataset: Option<String>,
    pub taken_over_from: Option<String>,
    pub start_ms: u64,
    pub end_ms: u64,
    pub end: End,
    /// The attempt whose saved progress it went on from.
    pub resumed_from: Option<String>,
    pub saves: u32,
    pub commits: Vec<Committed>,
    /// Time within it that its machine was stopped.
    pub stopped_ms: u64,
    /// Work that took no effect: after the last save or commit, or for a commit that another made.
    pub lost_ms: u64,
    /// Up to where its work is safe: saved or committed.
    safe_ms: u64,
}

impl Attempt {
    /// Time at work.
    pub fn busy_ms(&self) -> u64 {
        self.end_ms.saturating_sub(self.start_ms + self.stopped_ms)
    }
}

impl Story {
    /// Every attempt, by machine and time.
    pub fn attempts(&self) -> Vec<Attempt> {
        let mut all = Vec::new();
        for (number, incarnation) in self.incarnations.iter().enumerate() {
            all.extend(self.attempts_of(number, incarnation));
        }
        all.sort_by_key(|attempt| (attempt.machine, attempt.start_ms, attempt.incarnation));
        all
    }

    fn attempts_of(&self, number: usize, incarnation: &Incarnation) -> Vec<Attempt> {
        let mut all: Vec<Attempt> = Vec::new();
        let mut open: Option<Attempt> = None;
        for event in &incarnation.events {
            if let What::Claimed { item, token, attempt, dataset, taken_over_from, .. } = &event.what {
                all.extend(open.take().map(|attempt| self.close(attempt, event.at_ms, End::Open)));
                open = Some(Attempt {
                    machine: incarnation.machine,
                    incarnation: number,
                    held: Held { item: *item, token: *token, attempt: attempt.clone() },
                    dataset: dataset.clone(),
                    taken_over_from: taken_over_from.clone(),
                    start_ms: event.at_ms,
                    end_ms: event.at_ms,
                    end: End::Open,
                    resumed_from: None,
                    saves: 0,
                    commits: Vec::new(),
                    stopped_ms: 0,
                    lost_ms: 0,
                    safe_ms: event.at_ms,
                });
                continue;
            }
            let Some(attempt) = &mut open else { continue };
            let end = match &event.what {
                What::Acked { .. } => End::Acked,
                What::GaveBack { why, .. } => End::GaveBack(*why),
                what => {
                    self.follow(attempt, event.at_ms, what);
                    continue;
                }
            };
            all.extend(open.take().map(|attempt| self.close(attempt, event.at_ms, end)));
        }
        let last = incarnation.events.last().map_or(incarnation.started_ms, |event| event.at_ms);
        if let Some(attempt) = open {
            let died = self.killed_ms(number).or(incarnation.ended_ms).unwrap_or(last).max(last);
            all.push(self.close(attempt, died, End::Died));
        }
        all
    }

    fn follow(&self, attempt: &mut Attempt, at_ms: u64, what: &What) {
        match what {
            What::Resumed { from, .. } => attempt.resumed_from = Some(from.clone()),
            // What a stopped machine saves after its return, another has done already.
            What::Saved { .. } => {
                attempt.saves += 1;
                if self.stopped_ms(attempt, at_ms) == 0 {
                    attempt.safe_ms = at_ms;
                }
            }
            What::Committed { path, won, .. } => {
                if !won {
                    let stopped = self.stopped_ms(attempt, at_ms);
                    let since_safe = at_ms.saturating_sub(attempt.safe_ms);
                    attempt.lost_ms += since_safe.saturating_sub(stopped);
                }
                attempt.safe_ms = at_ms;
                attempt.commits.push(Committed { at_ms, path: path.clone(), won: *won });
            }
            _ => {}
        }
    }

    fn close(&self, mut attempt: Attempt, at_ms: u64, end: End) -> Attempt {
        attempt.end_ms = at_ms.max(attempt.start_ms);
        attempt.end = end;
        attempt.stopped_ms = self.stopped_ms(&attempt, attempt.end_ms);
        if matches!(end, End::Died | End::GaveBack(_)) {
            let since = Attempt { start_ms: attempt.safe_ms, ..attempt.clone() };
            let stopped = self.stopped_ms(&since, attempt.end_ms);
            attempt.lost_ms += attempt.end_ms.saturating_sub(attempt.safe_ms).saturating_sub(stopped);
        }
        attempt
    }

    /// How long an attempt's machine was stopped between its start and `until`.
    fn stopped_ms(&self, attempt: &Attempt, until: u64) -> u64 {
        let pauses = self.faults.iter().filter(|fault| {
            fault.preemption.kind == Kind::Pause && fault.incarnation == Some(attempt.incarnation)
        });
        pauses
            .map(|fault| {
                let back = fault.back_ms.unwrap_or(until).min(until);
                back.saturating_sub(fault.at_ms.max(attempt.start_ms))
            })
            .sum()
    }

    fn killed_ms(&self, incarnation: usize) -> Option<u64> {
        let kill = self
            .faults
            .iter()
            .find(|fault| fault.preemption.kind == Kind::Kill && fault.incarnation == Some(incarnation));
        kill.map(|fault| fault.at_ms)
    }

    /// The same with the workers that no incarnation stands for, by what they wrote.
    #[must_use]
    pub fn with_unseen(&self, written: Vec<Vec<Event>>) -> Self {
        let mut whole = self.clone();
        for events in written {
            let Some(first) = events.first() else { continue };
            if self.incarnations.iter().any(|one| one.events.first() == Some(first)) {
                continue;
            }
            whole.incarnations.push(Incarnation {
                machine: 0,
                name: first.worker.clone(),
                pid: 1,
                started_ms: first.at_ms,
                ended_ms: events.last().map(|event| event.at_ms),
                exit: None,
                events,
            });
        }
        whole
    }

    /// How many preemptions interrupted held work, by kind.
    pub fn interrupted(&self) -> BTreeMap<Kind, u32> {
        let mut counts = BTreeMap::new();
        for fault in &self.faults {
            if matches!(fault.effect, Effect::Interrupted(_)) {
                *counts.entry(fault.preemption.kind).or_default() += 1;
            }
        }
        counts
    }

    pub fn count(&self, effect: &Effect) -> u32 {
        let same = self.faults.iter().filter(|fault| fault.effect == *effect);
        u32::try_from(same.count()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use worker::contract::FORMAT_VERSION;

    use super::*;
    use crate::schedule::Trigger;
    use crate::units::Span;

    fn event(at_ms: u64, what: What) -> Event {
        Event { v: FORMAT_VERSION, at_ms, worker: "w1".to_owned(), seq: at_ms, what }
    }

    fn claimed(at_ms: u64, token: u64) -> Event {
        event(
            at_ms,
            What::Claimed {
                item: Name::constant("prepare/0"),
                token,
                attempt: format!("attempts/{token}"),
                dataset: None,
                taken_over_from: None,
                lost: 0,
            },
        )
    }

    fn saved(at_ms: u64) -> Event {
        event(at_ms, What::Saved { item: Name::constant("prepare/0"), done: 1, total: 2 })
    }

    fn committed(at_ms: u64, won: bool) -> Event {
        event(
            at_ms,
            What::Committed {
                item: Name::constant("prepare/0"),
                path: "runs/1/prepared/0".to_owned(),
                hash: worker::hash::Hash::default(),
                attempt: "attempts/1".to_owned(),
                won,
            },
        )
    }

    fn story(events: Vec<Event>, kind: Kind, at_ms: u64, back_ms: u64) -> Story {
        let incarnation = Incarnation {
            machine: 0,
            name: "w1".to_owned(),
            pid: 1,
            started_ms: 0,
            ended_ms: Some(back_ms),
            exit: None,
            events,
        };
        let preemption = Preemption { trigger: Trigger::Claim(1), kind, away: Span::ms(0), renamed: false };
        let fault = InjectedFault {
            preemption,
            at_ms,
            back_ms: Some(back_ms),
            machine: 0,
            incarnation: Some(0),
            effect: Effect::Pending,
        };
        Story { machines: 1, incarnations: vec![incarnation], faults: vec![fault], ..Story::default() }
    }

    #[test]
    fn a_killed_attempt_loses_what_it_did_since_its_last_save() {
        let attempts = story(vec![claimed(100, 1), saved(300)], Kind::Kill, 350, 900).attempts();
        assert_eq!((attempts[0].end, attempts[0].lost_ms, attempts[0].busy_ms()), (End::Died, 50, 250));
    }

    /// Stopped at 300 for 1000 ms, it goes on for 200 ms, and finds another's commit.
    #[test]
    fn a_stopped_attempt_loses_what_another_did_meanwhile_but_not_the_time_it_was_stopped() {
        let events = vec![claimed(100, 1), saved(200), saved(1_400), committed(1_500, false)];
        let attempts = story(events, Kind::Pause, 300, 1_300).attempts();
        assert_eq!(attempts[0].lost_ms, 100 + 200);
    }

    #[test]
    fn what_is_acknowledged_or_given_back_is_held_no_more() {
        let mut one = story(vec![claimed(100, 1), claimed(200, 2)], Kind::Kill, 0, 0);
        assert_eq!(one.incarnations[0].held().map(|held| held.token), Some(2));
        let acked = event(300, What::Acked { item: Name::constant("prepare/0"), token: 2, held: true });
        one.incarnations[0].events.push(acked);
        assert_eq!(one.incarnations[0].held(), None);
    }
}
