//! What a strike came to, from the account of the worker that it hit.

use worker::events::What;
use worker::queue::Release;

use crate::schedule::Kind;
use crate::story::{Came, Held, Incarnation};

/// What a strike of `kind` from `at_ms` to `back_ms` came to for the worker that was on the machine. Pods,
/// nodes and the simulator share one machine's clock here, so times can be compared.
pub fn judge(incarnation: &Incarnation, kind: Kind, at_ms: u64, back_ms: u64) -> Came {
    let struck = incarnation.events.partition_point(|event| event.at_ms <= at_ms);
    let (before, after) = incarnation.events.split_at(struck);
    let told = Incarnation { events: before.to_vec(), ..incarnation.clone() };
    let Some(held) = told.held() else { return Came::Idle };
    let end = after.iter().find_map(|event| match &event.what {
        What::Acked { item, token, .. } if is(&held, *item, *token) => Some((event.at_ms, true)),
        What::GaveBack { item, token, why, .. } if is(&held, *item, *token) => {
            Some((event.at_ms, *why != Release::Preempted))
        }
        _ => None,
    });
    match end {
        // A machine that was away and goes on: what it finished before it was back was not interrupted.
        Some((ended_ms, true)) if !kind.is_pause() || ended_ms < back_ms => Came::FinishedInGrace,
        _ => Came::Interrupted(held),
    }
}

fn is(held: &Held, item: worker::item::Name, token: u64) -> bool {
    (held.item, held.token) == (item, token)
}

#[cfg(test)]
mod tests {
    use worker::contract::FORMAT_VERSION;
    use worker::events::Event;
    use worker::item::Name;

    use super::*;

    const ITEM: Name = Name::constant("prepare/3");

    fn incarnation(events: Vec<(u64, What)>) -> Incarnation {
        let events = events.into_iter().enumerate().map(|(seq, (at_ms, what))| Event {
            v: FORMAT_VERSION,
            at_ms,
            worker: "workload-0-abcde".to_owned(),
            seq: seq as u64,
            what,
        });
        Incarnation {
            machine: 0,
            name: "workload-0-abcde".to_owned(),
            pid: 1,
            started_ms: 0,
            ended_ms: None,
            exit: None,
            events: events.collect(),
        }
    }

    fn claimed() -> What {
        let attempt = "attempts/3-9".to_owned();
        What::Claimed { item: ITEM, token: 9, attempt, dataset: None, taken_over_from: None, lost: 0 }
    }

    fn acked() -> What {
        What::Acked { item: ITEM, token: 9, held: true }
    }

    fn gave_back(why: Release) -> What {
        What::GaveBack { item: ITEM, token: 9, why, reason: String::new() }
    }

    #[test]
    fn only_work_that_was_held_and_not_finished_was_interrupted() {
        let cases = [
            (vec![], Kind::Kill, "idle"),
            (vec![(10, claimed()), (20, acked())], Kind::Kill, "idle"),
            (vec![(10, claimed())], Kind::Kill, "interrupted"),
            (vec![(10, claimed()), (60, acked())], Kind::Terminate, "finished"),
            (vec![(10, claimed()), (60, gave_back(Release::Preempted))], Kind::Terminate, "interrupted"),
            (vec![(60, claimed())], Kind::Terminate, "idle"),
            (vec![(10, claimed()), (60, acked())], Kind::CutQueue, "finished"),
            (vec![(10, claimed()), (160, acked())], Kind::CutQueue, "interrupted"),
        ];
        for (events, kind, expected) in cases {
            let came = match judge(&incarnation(events.clone()), kind, 50, 150) {
                Came::Idle => "idle",
                Came::Interrupted(held) if held.item == ITEM && held.token == 9 => "interrupted",
                Came::FinishedInGrace => "finished",
                _ => "something else",
            };
            assert_eq!(came, expected, "{kind:?} after {events:?}");
        }
    }
}
