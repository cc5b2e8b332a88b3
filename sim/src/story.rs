//! What happened to a run, as one observer saw it: the workers' own events, the preemptions, and
//! the effect of each. Pure: terminal, report page, summary and checks all read from here.

use std::collections::BTreeMap;

use serde::Serialize;
use worker::events::Event;
use worker::reader::attempts::{self, Outage};
pub use worker::reader::attempts::{Attempt, End, Held, Incarnation};

use crate::schedule::{Kind, Preemption};

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
    /// From the last fault or crash to the first worker's end with 0.
    pub drained_ms: Option<u64>,
}

impl Story {
    /// Every attempt, by machine and time.
    pub fn attempts(&self) -> Vec<Attempt> {
        attempts::attempts(&self.incarnations, &self.outages())
    }

    /// When machines were stopped or killed. Where no end was seen of a worker, it is taken for killed after its last
    /// event: by now the run has ended.
    fn outages(&self) -> Vec<Outage> {
        let faults = self.faults.iter().filter_map(|fault| {
            let (incarnation, at_ms) = (fault.incarnation?, fault.at_ms);
            match fault.preemption.kind {
                Kind::Pause => Some(Outage::Stopped { incarnation, at_ms, back_ms: fault.back_ms }),
                Kind::Kill => Some(Outage::Killed { incarnation, at_ms }),
                _ => None,
            }
        });
        let unseen = self.incarnations.iter().enumerate().filter(|(_, one)| one.ended_ms.is_none());
        let unseen = unseen.map(|(incarnation, one)| Outage::Killed {
            incarnation,
            at_ms: one.events.last().map_or(one.started_ms, |event| event.at_ms),
        });
        faults.chain(unseen).collect()
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
    use worker::events::What;
    use worker::item::Name;

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
