//! What effect a fault had, from the account of the worker that it hit.

use worker::events::What;
use worker::queue::Release;

use crate::schedule::Kind;
use crate::story::{Effect, Held, Incarnation, Story};

/// Judges every fault again: after a run, by all that its workers wrote.
#[cfg(feature = "kind")]
pub fn judge_all(story: &mut Story) {
    for place in 0..story.faults.len() {
        judge_one(story, place, u64::MAX);
    }
}

/// Judges the fault at this place, if a worker was there. It is taken to end now where it has not ended.
pub(super) fn judge_one(story: &mut Story, place: usize, now_ms: u64) {
    let fault = &story.faults[place];
    if let Some(life) = fault.incarnation {
        let back_ms = fault.back_ms.unwrap_or(now_ms);
        let effect = judge(&story.incarnations[life], fault.preemption.kind, fault.at_ms, back_ms);
        story.faults[place].effect = effect;
    }
}

/// The effect of a fault of `kind` from `at_ms` to `back_ms` on the worker that was on the machine. Workers, nodes and
/// the simulator share one machine's clock here, so times can be compared.
fn judge(incarnation: &Incarnation, kind: Kind, at_ms: u64, back_ms: u64) -> Effect {
    let count = incarnation.events.partition_point(|event| event.at_ms <= at_ms);
    let (before, after) = incarnation.events.split_at(count);
    let until_then = Incarnation { events: before.to_vec(), ..incarnation.clone() };
    let Some(held) = until_then.held() else { return Effect::Idle };
    let end = after.iter().find_map(|event| match &event.what {
        What::Acked { item, token, .. } if is(&held, *item, *token) => Some((event.at_ms, true)),
        What::GaveBack { item, token, why, .. } if is(&held, *item, *token) => {
            Some((event.at_ms, *why != Release::Preempted))
        }
        _ => None,
    });
    match end {
        // A machine that was away and goes on: what it finished before it was back was not interrupted.
        Some((ended_ms, true)) if !kind.is_pause() || ended_ms < back_ms => Effect::FinishedInGrace,
        _ => Effect::Interrupted(held),
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
            let effect = match judge(&incarnation(events.clone()), kind, 50, 150) {
                Effect::Idle => "idle",
                Effect::Interrupted(held) if held.item == ITEM && held.token == 9 => "interrupted",
                Effect::FinishedInGrace => "finished",
                _ => "something else",
            };
            assert_eq!(effect, expected, "{kind:?} after {events:?}");
        }
    }
}
