//! The simulated world: `worker::run` itself, several of it, under virtual time, on a volume that
//! behaves as NFS may and a queue that behaves as Redis may. What is asserted are effects: every
//! commit, the chain of their hashes, and the bytes of model and report, compared with what the
//! datasets give without any worker.
//!
//! A failure prints its seed and the command that tells its story.

use std::io::Write;

use proptest::prelude::*;
use sim::world::campaign::{Search, campaign, summary, verdict};
use sim::world::dice::Dice;
use sim::world::fault::{Fault, FaultKind, KINDS, On};
use sim::world::mutants::{hunt_all, replays, table};
use sim::world::oddity::Oddities;
use sim::world::params::{Params, Results, training};
use sim::world::run::run;
use sim::world::scale;
use sim::world::schedule::Schedule;
use sim::world::shrink::shrink;
use sim::world::story::story;
use sim::world::watch::SOMETIMES;
use worker::contract::FOLDER_COMMITS;
use worker::mutant::Mutant;

/// Past the capture of tests' output: how much was tried is part of the result.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn params() -> impl Strategy<Value = Params> {
    let datasets = (1..=8u32, 0..=2u32, 0..=2u32, prop::collection::vec(0..8u32, 0..3), 1..=12u32);
    let times = (
        prop::sample::select(vec![150, 500, 1_000, 5_000u64]),
        prop::sample::select(vec![50, 500, 5_000u64]),
        prop::sample::select(vec![20, 100, 500u64]),
        prop::sample::select(vec![5, 50, 200u64]),
    );
    (1..=5u32, datasets, any::<[bool; 5]>(), times).prop_map(
        |(
            workers,
            (train, tests, history, rejects, steps),
            [listed, same, on_one_machine, large, bucket],
            times,
        )| {
            Params {
                workers,
                train,
                tests,
                history,
                rejects,
                steps,
                results: if same { Results::Same } else { Results::Vary },
                large,
                newer: None,
                listed,
                on_one_machine,
                bucket: bucket && !on_one_machine,
                pushes: Vec::new(),
                lease_ms: times.0,
                grace_ms: times.1,
                idle_ms: times.2,
                progress_ms: times.3,
                volume_us: (200, 2_000),
                queue_us: (50, 300),
                step_us: (100, 1_000),
                hints: listed,
                oddities: Oddities { same_stem: same && listed, ..Oddities::default() },
            }
        },
    )
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let fault = (0..1_500u64, 0..KINDS.len(), any::<u64>());
    (any::<u64>(), params(), prop::collection::vec(fault, 0..10)).prop_map(|(seed, params, faults)| {
        let fault = |(at, kind, chance): (u64, usize, u64)| Fault {
            at,
            what: FaultKind::of_kind(kind, &mut Dice::new(chance)),
        };
        Schedule::new(seed, params, faults.into_iter().map(fault).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever datasets, workers, stages, schedules and faults there are: the queue drains, every
    /// dataset is committed and folded once, and model and report are those of an undisturbed run.
    #[test]
    fn queue_drains_exactly_once_in_the_world(schedule in schedules()) {
        let disturbed = run(&schedule, false);
        prop_assert!(disturbed.broken.is_empty(), "{:#?}", disturbed.broken);
        if schedule.params.results == Results::Same {
            let undisturbed = run(&Schedule { faults: Vec::new(), ..schedule }, false);
            prop_assert!(undisturbed.broken.is_empty(), "{:#?}", undisturbed.broken);
            prop_assert_eq!(disturbed.output, undisturbed.output);
        }
    }
}

#[test]
fn ten_thousand_schedules_drain_and_every_kind_of_fault_has_fired() {
    let search = Search::everything();
    let found = campaign(0..10_000, &search, threads(), &|_| {}).unwrap();
    tell(&summary(&found));
    if let Some((seed, broken)) = &found.failure {
        panic!("{}", verdict(*seed, broken, &search).unwrap());
    }
    for (fired, (kind, _)) in found.tally.fired.iter().zip(KINDS) {
        assert!(*fired > 0, "no {kind} has fired");
    }
    for (met, (_, what)) in found.tally.sometimes.iter().zip(SOMETIMES) {
        assert!(*met > 0, "never met: {what}");
    }
}

/// What was recomputed is damaged again within one attempt: three tears in a world are rare where all kinds take turns. A
/// worker that counted this as the item's failure broke the promise in two of these schedules.
#[test]
fn files_torn_again_and_again_use_up_no_retries() {
    let search = Search { faults: ["tear", "twin"].map(str::to_owned).into(), ..Search::everything() };
    let found = campaign(0..800, &search, threads(), &|_| {}).unwrap();
    if let Some((seed, broken)) = &found.failure {
        panic!("{}", verdict(*seed, broken, &search).unwrap());
    }
}

/// Two workers and three datasets, killed, stopped or held up at each call that they make.
#[test]
fn every_call_is_a_place_to_crash() {
    let back_ms = 40;
    faults_at_every_call(
        Place::Server,
        &[
            FaultKind::Kill { after: false, back_ms },
            FaultKind::Kill { after: true, back_ms },
            FaultKind::Late { ms: 300, back_ms },
            FaultKind::Notice { back_ms },
            FaultKind::Pause { ms: 400 },
        ],
    );
}

/// The same on one machine, which loses power at each call, and once more when many results are recomputed.
#[test]
fn every_call_is_a_place_to_lose_the_power() {
    let power = FaultKind::PowerLoss { back_ms: 40 };
    let quiet =
        faults_at_every_call(Place::OneMachine, &[power, FaultKind::Kill { after: true, back_ms: 40 }]);
    let undisturbed = run(&quiet, false);
    for at in 0..undisturbed.calls {
        let again = [at, at + undisturbed.calls / 2].map(|at| Fault { at, what: power });
        let outcome = run(&Schedule { faults: again.to_vec(), ..quiet.clone() }, false);
        assert!(outcome.broken.is_empty(), "from call {at}, twice: {:#?}", outcome.broken);
        assert_eq!(outcome.output, undisturbed.output, "from call {at}, twice");
    }
}

/// The same in a bucket, whose answers are lost, break off and decide nothing as well.
#[test]
fn every_request_is_a_place_to_crash() {
    let back_ms = 40;
    let reply_lost = |on| FaultKind::ReplyLost { on };
    faults_at_every_call(
        Place::Bucket,
        &[
            FaultKind::Kill { after: true, back_ms },
            FaultKind::Late { ms: 300, back_ms },
            FaultKind::Pause { ms: 400 },
            FaultKind::Conflict,
            FaultKind::Cut,
            reply_lost(On::Link),
            reply_lost(On::Create),
        ],
    );
}

/// Where a world's volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    OneMachine,
    Server,
    Bucket,
}

/// Runs a small world once for each of its calls and each fault; returns the world with no fault.
fn faults_at_every_call(place: Place, faults: &[FaultKind]) -> Schedule {
    let mut quiet = Schedule::of_seed(0, &[]);
    let mut params = quiet.params.clone();
    params.pushes.clear();
    quiet.params = Params {
        workers: 2,
        train: 2,
        tests: 1,
        history: 0,
        rejects: Vec::new(),
        steps: 3,
        results: Results::Same,
        large: false,
        newer: None,
        listed: true,
        on_one_machine: place == Place::OneMachine,
        bucket: place == Place::Bucket,
        lease_ms: 150,
        grace_ms: 50,
        idle_ms: 20,
        progress_ms: 5,
        volume_us: (200, 2_000),
        queue_us: (50, 300),
        step_us: (1_000, 30_000),
        oddities: Oddities::default(),
        ..params
    };
    let undisturbed = run(&quiet, false);
    assert!(undisturbed.broken.is_empty(), "{:#?}", undisturbed.broken);
    assert!(undisturbed.output.contains_key("report.txt") && training(1).contains("2018-04-02"));
    let mut faults_met = 0;
    for what in faults {
        for at in 0..undisturbed.calls {
            let schedule = Schedule { faults: vec![Fault { at, what: *what }], ..quiet.clone() };
            let outcome = run(&schedule, false);
            assert!(outcome.broken.is_empty(), "{what:?} from call {at}: {:#?}", outcome.broken);
            assert_eq!(outcome.output, undisturbed.output, "{what:?} from call {at}");
            faults_met += outcome.tally.faults;
        }
    }
    let ways = faults.len();
    tell(&format!("{} calls, each a place to crash in {ways} ways: {faults_met} met one", undisturbed.calls));
    // The last calls are made when somebody has finished.
    assert!(faults_met >= (ways as u64 * undisturbed.calls) * 4 / 5);
    quiet
}

/// Seeds that once broke a promise, when a million were run. New kinds of faults give every seed another
/// world: then these are seeds like others, and the defects are seen by what is checked.
#[test]
fn what_a_million_seeds_have_found_stays_mended() {
    for (seed, found) in [
        (12_433, "a fold whose lease was lost folded on behind its redelivery"),
        (35_068, "a worker that never reached the queue had no place to tell it"),
        (66_455, "a push after the seal was thought lost, since the worker that sealed was killed"),
        (84_965, "the report was recomputed whenever the output could not be written"),
        (170_775, "a worker that was asked to stop before it went on swept what others had saved"),
        (
            61_690,
            "an attempt that recomputed what it had made before found its own output in the scratch folder",
        ),
    ] {
        let broken = run(&Schedule::of_any_kind(seed), false).broken;
        assert!(broken.is_empty(), "sim replay {seed} --shrink ({found}): {broken:#?}");
    }
}

#[test]
fn one_seed_is_one_world() {
    for seed in 0..200 {
        assert_eq!(replays(&Schedule::of_any_kind(seed)), None, "seed {seed}");
    }
}

#[test]
fn every_mutant_is_caught_by_its_property() {
    let found = hunt_all(SEEDS_PER_MUTANT, threads());
    tell(&table(&found));
    let missed: Vec<&str> =
        found.iter().filter(|(_, caught)| caught.is_none()).map(|(entry, _)| entry.name).collect();
    assert_eq!(missed, [""; 0]);
}

const SEEDS_PER_MUTANT: u64 = 10_000;

/// What a person sees of a broken build: a seed, the fewest faults, and a story that ends badly.
#[test]
fn a_broken_build_prints_a_seed_that_replays() {
    let mutant = Mutant::named("torn-is-left");
    let search = Search { faults: vec!["tear".to_owned()], mutant, ..Search::default() };
    let found = campaign(0..5_000, &search, threads(), &|_| {}).unwrap();
    let (seed, broken) = found.failure.expect("it is caught");
    let text = verdict(seed, &broken, &search).unwrap();
    let command = format!("sim replay {seed} --shrink --faults tear --mutant torn-is-left");
    assert!(text.contains(&command), "{text}");
    let (small, outcome) = shrink(&search.schedule(seed).unwrap(), broken[0].property);
    assert!(!outcome.broken.is_empty() && small.faults.len() <= 3, "{text}");
    let narrated = story(&small, &run(&small, true));
    assert!(
        narrated.contains("a committed result loses its tail") && narrated.contains("BROKEN (liveness)"),
        "{narrated}"
    );
    assert_eq!(narrated, story(&small, &run(&small, true)), "a seed tells one story");
}

/// More datasets than a folder holds: the folders of later commits are made, listed and checked under
/// faults like all else.
#[test]
fn later_folders_stand_every_fault() {
    for seed in 0..4 {
        let outcome = run(&scale::schedule(seed, 6, FOLDER_COMMITS + 300, 26, seed % 2 == 1), false);
        let bucket = if seed % 2 == 1 { " --bucket" } else { "" };
        let again = format!("sim scale --workers 6 --datasets 1300 --faults 26 --seed {seed}{bucket}");
        assert!(outcome.broken.is_empty(), "{:?}\nagain: {again}", outcome.broken);
    }
}
