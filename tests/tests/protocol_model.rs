//! The protocol explored to its end, within bounds: see `tests::protocol`.

use std::io::Write;

use stateright::{Checker, Model};
use tests::protocol::{Bounds, Protocol};

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
