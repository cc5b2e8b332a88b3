//! The decisions, without any machine: hand-written courses, and random ones.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use worker::contract::{Exit, FORMAT_VERSION};
use worker::events::{Event, What};
use worker::item::Name;

use super::decide::{Action, Now, Policy, Supervision};
use crate::backend::{Ended, News, Step, Update};
use crate::schedule::{Kind, Preemption, Schedule, Trigger};
use crate::story::{Effect, Story};
use crate::units::Span;

const PATIENCE: Duration = Duration::from_secs(10);

fn policy() -> Policy {
    Policy {
        run: "1".to_owned(),
        machines: 2,
        patience: PATIENCE,
        failures_max: 0,
        crashes_max: Some(3),
        machine_is_worker: true,
    }
}

fn at(ms: u64) -> Now {
    Now { elapsed: Duration::from_millis(ms), wall_ms: 1_000_000 + ms }
}

fn preemption(trigger: Trigger, kind: Kind) -> Preemption {
    Preemption { trigger, kind, away: Span::ms(100), renamed: false }
}

fn schedule(preemptions: Vec<Preemption>) -> Schedule {
    Schedule { seed: 0, rule: "test".to_owned(), preemptions }
}

/// A supervision with a worker on each of two machines, from 0 ms on.
fn begun(policy: Policy, preemptions: Vec<Preemption>) -> Supervision {
    let mut supervision = Supervision::new(policy, &schedule(preemptions), at(0));
    for machine in 0..2 {
        let _ = supervision.hear(at(0), started(machine));
    }
    supervision
}

fn started(machine: u32) -> News {
    News::Started { machine, name: format!("w{}", machine + 1), pid: 1 }
}

fn ended(life: usize, exit: i32) -> News {
    News::Ended { life, exit: Some(exit), said: None }
}

fn claim(life: usize, ms: u64, index: u32) -> News {
    let what = What::Claimed {
        item: Name::constant(if index == 0 { "prepare/0" } else { "prepare/1" }),
        token: u64::from(index),
        attempt: String::new(),
        dataset: None,
        taken_over_from: None,
        lost: 0,
    };
    News::Event(
        life,
        Box::new(Event { v: FORMAT_VERSION, at_ms: at(ms).wall_ms, worker: String::new(), seq: ms, what }),
    )
}

/// The faults that are to be injected: number, kind, machine.
fn injections(actions: &[Action]) -> Vec<(usize, Kind, u32)> {
    let injection = |action: &Action| match action {
        Action::Inject { fault, preemption, machine } => Some((*fault, preemption.kind, *machine)),
        _ => None,
    };
    actions.iter().filter_map(injection).collect()
}

fn effects(story: &Story) -> Vec<&'static str> {
    let word = |effect: &Effect| match effect {
        Effect::Pending => "pending",
        Effect::Interrupted(_) => "interrupted",
        Effect::FinishedInGrace => "finished",
        Effect::Idle => "idle",
        Effect::Away => "away",
        Effect::Queue => "queue",
        Effect::Volume => "volume",
    };
    story.faults.iter().map(|fault| word(&fault.effect)).collect()
}

#[test]
fn times_count_from_the_first_worker() {
    let kill = preemption(Trigger::At { ms: 50, worker: 3 }, Kind::Kill);
    let mut supervision = Supervision::new(policy(), &schedule(vec![kill]), at(0));
    assert_eq!(supervision.wakes_at(), PATIENCE);
    let _ = supervision.hear(at(1_000), started(1));
    assert_eq!(supervision.wakes_at(), Duration::from_millis(1_050));
    assert_eq!(injections(&supervision.wake(at(1_049))), []);
    assert_eq!(injections(&supervision.wake(at(1_050))), [(0, Kind::Kill, 1)], "machine 3 of 2 is machine 1");
}

#[test]
fn the_claimant_of_the_nth_claim_is_meant_and_no_machine_that_is_under_a_fault() {
    let pause = preemption(Trigger::Claim(1), Kind::Pause);
    let kill = preemption(Trigger::Claim(2), Kind::Kill);
    let mut supervision = begun(policy(), vec![pause, kill]);
    assert_eq!(injections(&supervision.hear(at(10), claim(0, 10, 0))), [(0, Kind::Pause, 0)]);
    // What it said before it was stopped, and what arrives only now.
    assert_eq!(injections(&supervision.hear(at(11), claim(0, 9, 1))), []);
    assert_eq!(injections(&supervision.hear(at(20), claim(1, 20, 1))), [(1, Kind::Kill, 1)]);
}

#[test]
fn a_fault_whose_machine_is_away_is_skipped_and_shown() {
    let kill = |ms| preemption(Trigger::At { ms, worker: 0 }, Kind::Kill);
    let mut supervision = begun(policy(), vec![kill(10), kill(20), kill(300)]);
    let _ = supervision.hear(at(5), claim(0, 5, 0));
    assert_eq!(injections(&supervision.wake(at(10))), [(0, Kind::Kill, 0)]);
    assert_eq!(injections(&supervision.wake(at(20))), [], "it is dying");
    for news in [ended(0, -9), News::Fault(0, Step::Heard), News::Fault(0, Step::Back)] {
        let _ = supervision.hear(at(100), news);
    }
    // The machine is back, its worker is not.
    assert_eq!(injections(&supervision.wake(at(300))), []);
    assert_eq!(effects(supervision.story()), ["interrupted", "away", "away"]);
    assert_eq!(supervision.story().faults[0].back_ms, Some(at(100).wall_ms));
}

/// On a cluster there is a node where no worker is, and there may be two workers.
#[test]
fn a_node_is_a_machine_whoever_runs_on_it() {
    let policy = Policy { machine_is_worker: false, ..policy() };
    let kill = |ms, worker| preemption(Trigger::At { ms, worker }, Kind::Kill);
    let mut supervision = begun(policy, vec![kill(10, 0), kill(20, 1)]);
    let _ = supervision.hear(at(5), ended(0, 75));
    let _ = supervision.hear(at(6), started(1));
    assert_eq!(injections(&supervision.wake(at(20))), [(0, Kind::Kill, 0), (1, Kind::Kill, 1)]);
    assert_eq!(effects(supervision.story()), ["idle", "pending", "pending"]);
    // A third came between the decision and the end of the node, which is the end of all three.
    let _ = supervision.hear(at(21), started(1));
    let _ = supervision.hear(at(30), News::Fault(1, Step::Gone));
    let story = supervision.story();
    assert_eq!(effects(story), ["idle", "pending", "pending", "pending"]);
    assert!(story.incarnations.iter().all(|life| life.ended_ms.is_some()));
    assert_eq!(story.faults[1].at_ms, at(30).wall_ms, "it counts from when it was felt");
}

#[test]
fn the_first_that_finishes_ends_all_faults_and_the_queue_is_waited_for() {
    let restart = preemption(Trigger::At { ms: 10, worker: 0 }, Kind::QueueRestart);
    let kill = preemption(Trigger::At { ms: 50, worker: 0 }, Kind::Kill);
    let report = preemption(Trigger::Claim(1), Kind::Kill);
    let mut supervision = begun(policy(), vec![restart, kill, report]);
    assert_eq!(injections(&supervision.wake(at(10))), [(0, Kind::QueueRestart, 0)]);
    let actions = supervision.hear(at(40), ended(0, 0));
    assert_eq!(actions, [Action::Show(Update::Ended(0)), Action::Over]);
    assert_eq!(supervision.story().drained_ms, Some(30));
    assert_eq!(injections(&supervision.hear(at(41), claim(1, 41, 0))), [], "the run is over");
    // The other is stopped by the run's end: that is no crash.
    let _ = supervision.hear(at(45), ended(1, 75));
    assert_eq!(supervision.story().incarnations[1].exit, None);
    assert_eq!(injections(&supervision.wake(at(50))), []);
    assert!(!supervision.hear(at(60), News::Finished(Ok(()))).contains(&Action::Over), "once is enough");
    assert_eq!(supervision.ended(at(60)), None, "Redis is away");
    let _ = supervision.hear(at(110), News::Fault(0, Step::Back));
    assert_eq!(supervision.ended(at(110)), Some(Ended::Complete));
}

#[test]
fn a_worker_that_fails_ends_the_run_and_one_that_a_fault_takes_does_not() {
    let term = preemption(Trigger::At { ms: 10, worker: 0 }, Kind::Terminate);
    let mut supervision = begun(policy(), vec![term]);
    let _ = supervision.wake(at(10));
    let _ = supervision.hear(at(20), ended(0, 1));
    assert_eq!(supervision.ended(at(20)), None);
    let said = Some("it is broken".to_owned());
    let _ = supervision.hear(at(30), News::Ended { life: 1, exit: Some(7), said });
    let reason = "worker w2 ended with exit code 7: it is broken".to_owned();
    assert_eq!(supervision.ended(at(30)), Some(Ended::Failed { exit: 7, reason }));
}

#[test]
fn workers_that_are_killed_come_back_a_bounded_number_of_times() {
    let mut supervision = begun(policy(), Vec::new());
    for crash in 0..4 {
        assert_eq!(supervision.ended(at(crash)), None);
        let life = if crash == 0 { 0 } else { crash as usize + 1 };
        let _ = supervision.hear(at(crash), ended(life, -9));
        let _ = supervision.hear(at(crash), started(0));
    }
    let reason = "worker w1 ended with SIGKILL: it said nothing".to_owned();
    assert_eq!(supervision.ended(at(9)), Some(Ended::Failed { exit: Exit::Failed.code(), reason }));
}

#[test]
fn a_run_that_does_not_end_is_given_up() {
    let kill = preemption(Trigger::At { ms: 4_000, worker: 0 }, Kind::Kill);
    let mut supervision = begun(policy(), vec![kill]);
    let _ = supervision.wake(at(4_000));
    assert_eq!(supervision.wakes_at(), Duration::from_secs(14), "patience begins again with each fault");
    assert_eq!(supervision.ended(at(13_999)), None);
    let reason = "the run did not end within 10 s of the last fault".to_owned();
    assert_eq!(supervision.ended(at(14_000)), Some(Ended::Failed { exit: Exit::Check.code(), reason }));
}

#[test]
fn a_job_that_gives_up_says_what_its_last_worker_said() {
    let mut supervision = begun(Policy { failures_max: 20, crashes_max: None, ..policy() }, Vec::new());
    let exited = What::Exited { code: 7, reason: "another version".to_owned() };
    let event = Event { v: FORMAT_VERSION, at_ms: 0, worker: String::new(), seq: 0, what: exited };
    for news in [News::Event(1, Box::new(event)), ended(1, 7), ended(0, 137)] {
        let _ = supervision.hear(at(10), news);
    }
    assert_eq!(supervision.ended(at(10)), None, "the Job tries again");
    let _ = supervision.hear(at(20), News::Finished(Err("the Job failed: FailJob".to_owned())));
    let reason = "the Job failed: FailJob\nw2: another version".to_owned();
    assert_eq!(supervision.ended(at(20)), Some(Ended::Failed { exit: 7, reason }));
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Terminate),
        Just(Kind::Kill),
        Just(Kind::Pause),
        Just(Kind::CutBoth),
        Just(Kind::QueueWipe),
        Just(Kind::VolumeRestart)
    ]
}

fn preemptions() -> impl Strategy<Value = Vec<Preemption>> {
    let trigger = prop_oneof![
        (0..2_000u64, 0..4u32).prop_map(|(ms, worker)| Trigger::At { ms, worker }),
        (1..6u32).prop_map(Trigger::Claim),
        Just(Trigger::Report),
    ];
    prop::collection::vec((trigger, kinds()).prop_map(|(trigger, kind)| preemption(trigger, kind)), 0..12)
}

/// Anything at all, also what no backend would report.
fn anything() -> impl Strategy<Value = News> {
    let step = prop_oneof![Just(Step::Felt), Just(Step::Gone), Just(Step::Heard), Just(Step::Back)];
    prop_oneof![
        (0..2u32).prop_map(started),
        (0..8usize, 0..3_000u64, 0..2u32).prop_map(|(life, ms, index)| claim(life, ms, index)),
        (0..8usize, prop_oneof![Just(0), Just(75), Just(-9), Just(137), Just(5)])
            .prop_map(|(life, exit)| ended(life, exit)),
        (0..8usize, step).prop_map(|(fault, step)| News::Fault(fault, step)),
        Just(News::Finished(Ok(()))),
    ]
}

proptest! {
    /// Whatever is reported: a machine is under one fault at a time, and so are the servers; no preemption is injected
    /// twice; the end comes once, and nothing is injected after it.
    #[test]
    fn one_fault_at_a_time_and_none_after_the_end(
        preemptions in preemptions(),
        course in prop::collection::vec((0..200u64, anything()), 0..60),
        machine_is_worker: bool,
    ) {
        let policy = Policy { machine_is_worker, failures_max: 9, crashes_max: None, ..policy() };
        let mut supervision = Supervision::new(policy, &schedule(preemptions.clone()), at(0));
        let mut under_way: Vec<(usize, Option<u32>)> = Vec::new();
        let mut seen = BTreeSet::new();
        let (mut time, mut overs) = (0, 0);
        for (wait, news) in course {
            time += wait;
            let mut actions = supervision.wake(at(time));
            let back = match &news {
                News::Fault(fault, Step::Back) => Some(*fault),
                _ => None,
            };
            actions.extend(supervision.hear(at(time), news));
            for action in actions {
                match action {
                    Action::Inject { fault, preemption, machine } => {
                        prop_assert_eq!(overs, 0, "after the end");
                        prop_assert!(seen.insert(fault));
                        let place = (!preemption.kind.is_service()).then_some(machine);
                        prop_assert!(under_way.iter().all(|(_, other)| *other != place), "two at one place");
                        under_way.push((fault, place));
                    }
                    Action::Over => overs += 1,
                    Action::Show(_) => {}
                }
            }
            under_way.retain(|(fault, _)| Some(*fault) != back);
        }
        prop_assert!(overs <= 1);
        prop_assert!(seen.len() <= preemptions.len());
        let server_is_away = under_way.iter().any(|(_, place)| place.is_none());
        prop_assert!(!server_is_away || supervision.ended(at(time)) != Some(Ended::Complete));
        let story = supervision.conclude(at(time), Vec::new());
        prop_assert!(story.faults.iter().all(|fault| fault.back_ms.is_none_or(|back| back >= fault.at_ms)));
    }
}
