//! Joins of long datasets save their progress, from which any worker goes on to the same bytes.

mod fraud_support;

use engine::manifest::Role;
use engine::workload::{Step, Task, Workload};
use fraud_support::{Chain, finish};
use workloads::fraud::feature_set::FeatureSet;
use workloads::fraud::{Fraud, Params};

const DAY_S: i64 = 86_400;

/// A day, and two files of four days that take several steps to join.
fn long_files() -> Chain {
    let file = |(number, days, count): (i64, i64, i64)| {
        let raw = |row: i64| {
            let hash = (row * 2_654_435_761 + number * 97) % 1_000_003;
            let cents = if hash % 11 == 0 { 50_000 } else { 500 + hash % 9_000 };
            (row * days * DAY_S / count, hash % 97, hash % 61, cents, hash % 23 == 0)
        };
        (fraud_support::days::day(number, (0..count).map(raw).collect()), Role::Train)
    };
    Chain::new([(0, 1, 3_000), (8, 4, LONG_ROWS), (12, 4, LONG_ROWS)].into_iter().map(file).collect())
}

/// More than a short join has.
const LONG_ROWS: i64 = 17_000;

fn begin_join(chain: &Chain, fraud: &Fraud, index: u32) -> Box<dyn Task> {
    let window = fraud.window(&chain.datasets, index);
    let window: Vec<_> = window.into_iter().map(|index| chain.prepared[index as usize].clone()).collect();
    fraud.join(&chain.prepared[index as usize], &window)
}

/// A join's progress, and what it saves.
type Stopped = ((u64, u64), Option<Vec<u8>>);

/// A join after `steps` steps; `None` where it has ended by then.
fn after(steps: usize, mut task: Box<dyn Task>) -> Option<Stopped> {
    let is_more = (0..steps).all(|_| matches!(task.step(), Step::More));
    is_more.then(|| (task.progress(), task.save()))
}

#[test]
fn a_join_resumed_after_any_step_gives_the_same_bytes() {
    let chain = long_files();
    let fresh = || Fraud::new(Params::default());
    let expected = chain.join_one(&fresh(), 2);
    let mut rows_saved = Vec::new();
    let mut steps = 0;
    while let Some((progress, saved)) = after(steps, begin_join(&chain, &fresh(), 2)) {
        steps += 1;
        let Some(saved) = saved else { continue };
        rows_saved.push(progress.0);
        let mut resumed = begin_join(&chain, &fresh(), 2);
        assert!(resumed.resumable());
        resumed.resume(&saved);
        assert_eq!(resumed.progress(), progress);
        assert_eq!(resumed.save(), Some(saved), "a second preemption loses nothing");
        assert_eq!(finish(resumed), expected, "resumed after {steps} steps");
    }
    assert_eq!(rows_saved, [4_250, 8_500, 12_750]);
}

#[test]
fn a_join_ignores_progress_that_is_not_its_own() {
    let chain = long_files();
    let fraud = Fraud::new(Params::default());
    let mut task = begin_join(&chain, &fraud, 1);
    let saved = loop {
        assert!(matches!(task.step(), Step::More));
        if let Some(saved) = task.save() {
            break saved;
        }
    };
    let of_another_set = Fraud::new(Params { features: FeatureSet::Suspicion, ..Params::default() });
    let cut = saved[..saved.len() - 1].to_vec();
    for (fraud, index, saved) in [(&fraud, 2, &saved), (&of_another_set, 1, &saved), (&fraud, 1, &cut)] {
        let mut other = begin_join(&chain, fraud, index);
        other.resume(saved);
        assert_eq!(other.progress(), (0, LONG_ROWS as u64));
    }
}
