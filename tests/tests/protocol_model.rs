//! The protocol explored to its end, within bounds: see `tests::protocol`.

use std::io::Write;

use sim::world::dice::Dice;
use sim::world::fault::{Fault, FaultKind};
use sim::world::oddity::Oddities;
use sim::world::params::{Params, Push, Results, training};
use sim::world::run::run;
use sim::world::schedule::Schedule;
use stateright::{Checker, Model};
use tests::protocol::refine::{Public, follows, made_public};
use tests::protocol::{Bounds, Protocol, Written};

fn explore(bounds: Bounds) {
    let checker = Protocol::new(bounds).checker().threads(2).spawn_bfs().join();
    // Past the capture of tests' output: how much was explored is part of the result.
    let _ = writeln!(
        std::io::stderr(),
        "protocol: all {} states of {bounds:?}, at most {} steps from the beginning",
        checker.unique_state_count(),
        checker.max_depth()
    );
    checker.assert_properties();
}

#[test]
fn no_interleaving_of_two_with_a_crash_and_a_pause_breaks_the_promise() {
    explore(Bounds { workers: 2, crashes: 1, pauses: 1, wipes: 0, any_order: false });
}

#[test]
fn no_order_of_claims_of_two_with_a_crash_and_a_pause_breaks_the_promise() {
    explore(Bounds { workers: 2, crashes: 1, pauses: 1, wipes: 0, any_order: true });
}

#[test]
fn no_interleaving_of_three_with_a_pause_breaks_the_promise() {
    explore(Bounds { workers: 3, crashes: 0, pauses: 1, wipes: 0, any_order: false });
}

#[test]
#[ignore = "minutes: `just protocol`"]
fn no_interleaving_of_three_with_two_crashes_and_a_pause_breaks_the_promise() {
    explore(Bounds { workers: 3, crashes: 2, pauses: 1, wipes: 0, any_order: false });
}

#[test]
fn no_interleaving_of_two_with_a_queue_that_forgets_breaks_the_promise() {
    explore(Bounds { workers: 2, crashes: 1, pauses: 1, wipes: 1, any_order: false });
}

/// The model's world: A and T, B pushed by chance, and at most one crash and one pause.
fn world_of_the_model(seed: u64) -> (Schedule, Bounds) {
    let mut dice = Dice::new(seed);
    let params = Params {
        workers: 2,
        train: 1,
        tests: 1,
        history: 0,
        rejects: Vec::new(),
        steps: 3,
        results: Results::Same,
        large: false,
        newer: None,
        listed: false,
        on_one_machine: false,
        bucket: seed % 2 == 1,
        pushes: vec![Push { at: dice.between(0, 350), paths: vec![training(1)] }],
        lease_ms: 150,
        grace_ms: 50,
        idle_ms: *dice.pick(&[5, 20, 100]),
        progress_ms: 50,
        volume_us: (200, 2_000),
        queue_us: (50, 300),
        step_us: (100, 20_000),
        hints: !seed.is_multiple_of(3),
        oddities: Oddities::default(),
    };
    let (crashes, pauses) = (dice.between(0, 1), dice.between(0, 1));
    let mut faults = Vec::new();
    for _ in 0..crashes {
        let what = FaultKind::Kill { after: dice.chance(1, 2), back_ms: dice.between(10, 400) };
        faults.push(Fault { at: dice.between(0, 350), what });
    }
    for _ in 0..pauses {
        faults
            .push(Fault { at: dice.between(0, 350), what: FaultKind::Pause { ms: dice.between(160, 800) } });
    }
    let bounds =
        Bounds { workers: 2, crashes: crashes as u8, pauses: pauses as u8, wipes: 0, any_order: true };
    (Schedule::new(seed, params, faults), bounds)
}

/// The world and the model are two accounts of one protocol.
#[test]
fn what_the_world_makes_public_is_a_path_of_the_model() {
    let mut chapters = 0;
    for seed in 0..WORLDS {
        let (schedule, bounds) = world_of_the_model(seed);
        let outcome = run(&schedule, true);
        assert!(outcome.broken.is_empty(), "seed {seed}: {:#?}", outcome.broken);
        let trace = made_public(&outcome).unwrap();
        let followed = follows(&Protocol::new(bounds), &trace);
        assert_eq!(followed, trace.len(), "seed {seed}, {bounds:?}: {:?} leaves {trace:#?}", trace[followed]);
        chapters += u32::from(trace.contains(&Public::Page(Written::ChapterB)));
        // What comes too early is seen.
        if seed < 4 {
            let mut early = trace.clone();
            let seal = early.iter().position(|public| *public == Public::Page(Written::Seal)).unwrap();
            early.swap(seal, seal - 1);
            assert!(follows(&Protocol::new(bounds), &early) < early.len(), "seed {seed}: sealed too early");
        }
    }
    let _ = writeln!(std::io::stderr(), "{WORLDS} worlds, {chapters} of them with a further chapter");
    assert!(chapters > 0 && u64::from(chapters) < WORLDS);
}

const WORLDS: u64 = 20;
