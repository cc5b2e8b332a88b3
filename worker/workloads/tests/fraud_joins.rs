//! Joins of long datasets save their progress, from which any worker goes on to the same bytes.

mod fraud_support;

use engine::manifest::Role;
use engine::workload::{Outcome, Part, PartName, Step, Task, Workload};
use fraud_support::{Chain, finish_with, step_with};
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

/// The customers' turn, or from what that gave, the terminals'.
fn begin(chain: &Chain, fraud: &Fraud, index: u32, spent: Option<&Part>) -> Box<dyn Task> {
    let window = fraud.window(&chain.datasets, index);
    let window = window.into_iter().map(|index| PartName::from(&chain.prepared[index as usize]));
    let (own, window) = (&chain.prepared[index as usize], window.collect::<Vec<_>>());
    match spent {
        Some(spent) => fraud.join(own, &window, spent),
        None => fraud.customers(own, &window),
    }
}

/// What the customers' turn of a dataset gives.
fn spent(chain: &Chain, index: u32) -> Part {
    let task = begin(chain, &Fraud::new(Params::default()), index, None);
    let Outcome::Part(bytes) = finish_with(task, &chain.prepared) else { panic!("it takes part") };
    fraud_support::part(index, bytes)
}

/// A join's progress, and what it saves.
type Stopped = ((u64, u64), Option<Vec<u8>>);

/// A join after `steps` steps; `None` where it has ended by then.
fn after(steps: usize, chain: &Chain, mut task: Box<dyn Task>) -> Option<Stopped> {
    let is_more = (0..steps).all(|_| matches!(step_with(&mut task, &chain.prepared), Step::More));
    is_more.then(|| (task.progress(), task.save()))
}

#[test]
fn a_join_resumed_after_any_step_gives_the_same_bytes() {
    let chain = long_files();
    let spent = spent(&chain, 2);
    for spent in [None, Some(&spent)] {
        let begin = || begin(&chain, &Fraud::new(Params::default()), 2, spent);
        let expected = finish_with(begin(), &chain.prepared);
        let mut rows_saved = Vec::new();
        let mut steps = 0;
        while let Some((progress, saved)) = after(steps, &chain, begin()) {
            steps += 1;
            let Some(saved) = saved else { continue };
            rows_saved.push(progress.0);
            let mut resumed = begin();
            assert!(resumed.resumable());
            resumed.resume(&saved);
            assert_eq!(resumed.progress(), progress);
            assert_eq!(resumed.save(), Some(saved), "a second preemption loses nothing");
            assert_eq!(finish_with(resumed, &chain.prepared), expected, "resumed after {steps} steps");
        }
        assert_eq!(rows_saved, [4_250, 8_500, 12_750]);
    }
}

#[test]
fn a_join_ignores_progress_that_is_not_its_own() {
    let chain = long_files();
    let spent = spent(&chain, 1);
    let fraud = Fraud::new(Params::default());
    for half in [None, Some(&spent)] {
        let mut task = begin(&chain, &fraud, 1, half);
        let saved = loop {
            assert!(matches!(step_with(&mut task, &chain.prepared), Step::More));
            if let Some(saved) = task.save() {
                break saved;
            }
        };
        let of_another_set = Fraud::new(Params { features: FeatureSet::Suspicion, ..Params::default() });
        let cut = saved[..saved.len() - 1].to_vec();
        let other_half = if half.is_none() { Some(&spent) } else { None };
        let others = [
            (&fraud, 2, half, &saved),
            (&of_another_set, 1, half, &saved),
            (&fraud, 1, other_half, &saved),
            (&fraud, 1, half, &cut),
        ];
        for (fraud, index, half, saved) in others {
            let mut other = begin(&chain, fraud, index, half);
            other.resume(saved);
            assert_eq!(other.progress(), (0, LONG_ROWS as u64));
        }
    }
}
