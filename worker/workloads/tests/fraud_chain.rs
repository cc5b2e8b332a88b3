//! The chain of the learner: held against linfa, resumed, and the same on every machine.

mod fraud_support;

use engine::hash::Hash;
use engine::manifest::Role;
use engine::workload::{Outcome, PartName, Step};
use fraud_support::{Chain, days::day};
use proptest::prelude::*;
use workloads::fraud::chains::Chains;
use workloads::fraud::feature_set::{FeatureSet, NAMES};
use workloads::fraud::features::bins;
use workloads::fraud::ftrl::Rates;
use workloads::fraud::{Fraud, Learner, Params};

/// A few weeks of customers with habits, some of whose purchases go wrong, from a little generator of
/// its own so that the rows never change.
fn weeks(count: i64) -> Chain {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let days = (0..count).map(|number| {
        let rows = (0..200)
            .map(|_| {
                let (customer, terminal) = (next(40) as i64, next(30) as i64);
                let compromised = (number / 14 + terminal) % 15 == 0;
                let robbed = (number / 10 + customer) % 13 == 0 && next(3) == 0;
                let usual = 500 + 250 * customer + next(1_000) as i64;
                let cents = if robbed { 5 * usual } else { usual };
                (next(86_400) as i64, customer, terminal, cents, compromised || robbed)
            })
            .collect();
        let role = if number < count - 3 { Role::Train } else { Role::Test };
        (day(number, rows), role)
    });
    Chain::new(days.collect())
}

fn run(params: Params, count: i64) -> Chain {
    let fraud = Fraud::new(params);
    let mut chain = weeks(count);
    chain.join(&fraud);
    chain.fold(&fraud);
    chain.evaluate(&fraud, |_| true);
    chain
}

#[test]
fn the_report_reads_well() {
    let mut chain = run(Params::default(), 12);
    chain.rejected.insert(3, "TX_AMOUNT, row 17: not a number".to_owned());
    chain.evals.retain(|part| part.index != 3);
    insta::assert_snapshot!(chain.report(&Fraud::new(Params::default()))["report.txt"]);
}

/// The names are those of the files in `output/`.
#[test]
fn the_report_tells_checkpoints_of_one_stem_apart() {
    let mut chain = run(Params::default(), 5);
    for (dataset, folder) in chain.datasets.iter_mut().zip(["a", "b"]) {
        dataset.path = format!("{folder}/part.csv");
    }
    let text = chain.report(&Fraud::new(Params::default()))["report.txt"].clone();
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("Model checkpoint: ")).collect();
    assert_eq!(names, ["model_cpt_part.ftrl", "model_cpt_part.1.ftrl"]);
}

/// The floats of a checkpoint's chains: of each its weights, z and n, the last chain's first.
fn floats(checkpoint: &[u8], set: FeatureSet) -> Vec<f64> {
    let mut rest = checkpoint;
    let mut found = Vec::new();
    for chain in Chains::new(Rates::default(), set).chains().iter().rev() {
        let at = rest.len() - 3 * 8 * chain.columns();
        found.extend(rest[at..].as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)));
        let feature = |feature: &usize| 4 + NAMES[*feature].len() + 1 + 4 + 8 * (bins(*feature) - 1);
        let head = 4 + chain.features().iter().map(feature).sum::<usize>() + 4;
        assert_eq!(rest[at - 4..at], (chain.columns() as u32).to_le_bytes());
        rest = &rest[..at - head];
    }
    found
}

#[test]
fn the_model_learns_what_linfa_learns() {
    for set in FeatureSet::ALL {
        let params = Params { features: set, ..Params::default() };
        let ours = run(params, 40);
        let linfa = run(Params { learner: Learner::Linfa, ..params }, 40);
        for (index, checkpoint) in &ours.checkpoints {
            let (a, b) = (floats(&checkpoint.bytes, set), floats(&linfa.checkpoints[index].bytes, set));
            assert!(a.iter().any(|float| *float != 0.0), "{set:?}, dataset {index}");
            for (at, (a, b)) in a.iter().zip(&b).enumerate() {
                let is_near = (a - b).abs() <= 1e-9 * a.abs().max(1.0);
                assert!(is_near, "{set:?}, dataset {index}, float {at}: {a} {b}");
            }
        }
    }
}

fn parsed(text: &str) -> Result<Params, String> {
    let params = text.split_whitespace().filter_map(|param| param.split_once('='));
    Params::parse(&params.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// The start of a run has to refuse them: later on every worker would fail.
#[test]
fn rates_that_could_not_be_learned_with_are_refused() {
    let mut errors = Vec::new();
    for bad in [
        "alpha=0",
        "alpha=5e-324",
        "alpha=1e308",
        "alpha=NaN",
        "l1=-1",
        "learner=linfa l1=1.5",
        "l2=2 learner=linfa",
    ] {
        errors.push(parsed(bad).expect_err(bad));
    }
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn rates_that_are_taken_can_be_learned_with() {
    let edge = ["1e-9", "1e9"].map(|alpha| format!("alpha={alpha} l1=0 l2=0"));
    let large = ["beta", "l1", "l2"].map(|name| format!("{name}=1e308"));
    let linfa = ["learner=linfa l1=1 l2=1", "learner=linfa alpha=1e-9"].map(str::to_owned);
    for good in edge.into_iter().chain(large).chain(linfa) {
        let chain = run(parsed(&good).unwrap(), 6);
        assert_eq!(chain.evals.len(), 3, "{good}");
    }
}

#[test]
fn the_model_finds_the_frauds() {
    let chain = run(Params::default(), 50);
    let last: serde_json::Value = serde_json::from_slice(&chain.evals.last().unwrap().bytes).unwrap();
    let testing = &last["testing"];
    assert!(testing["average_precision"].as_f64().unwrap() > 0.3, "{testing:#}");
    assert!(testing["accuracy"].as_f64() > testing["majority_accuracy"].as_f64(), "{testing:#}");
}

#[test]
fn a_fold_that_is_resumed_ends_the_same() {
    let fraud = Fraud::new(Params::default());
    let long = |number: i64| {
        let rows = (0..40_000).map(|row| (row * 2, row % 97, row % 31, 100 + row % 4_999, row % 211 == 0));
        (day(number, rows.collect()), Role::Train)
    };
    let mut chain = Chain::new(vec![long(0), long(1)]);
    chain.join(&fraud);
    chain.fold(&fraud);
    let (first, second) = (&chain.checkpoints[&0], &chain.checkpoints[&1]);
    let lineage = Hash::of_fields([
        &Hash::of_fields([&[0; 32][..], &chain.joined[&0].hash.0[..]]).0[..],
        &chain.joined[&1].hash.0[..],
    ]);
    let task = || fraud.fold(Some(first), &chain.joined[&1], lineage);
    let mut begun = task();
    assert!(matches!(begun.step(), Step::More) && matches!(begun.step(), Step::More));
    assert!(begun.resumable());
    let saved = begun.save().unwrap();
    let mut resumed = task();
    resumed.resume(&saved);
    assert_eq!(resumed.progress(), begun.progress());
    assert!(matches!(resumed.step(), Step::Done(Outcome::Part(bytes)) if bytes == *second.bytes));

    // Another dataset's state, and bytes that are none, are left alone.
    let mut other = fraud.fold(None, &chain.joined[&0], lineage);
    for bytes in [&saved[..], &saved[..40], &saved[..saved.len() - 1], b""] {
        other.resume(bytes);
        assert_eq!(other.progress().0, 0);
    }
}

#[test]
fn parts_that_are_not_the_workloads_fail_and_do_not_panic() {
    let fraud = Fraud::new(Params::default());
    let mut chain = weeks(4);
    chain.join(&fraud);
    let junk = fraud_support::part(0, b"FRAUDxxxjunk".to_vec());
    let failed = |mut task: Box<dyn engine::workload::Task>| {
        loop {
            match fraud_support::step_with(&mut task, std::slice::from_ref(&junk)) {
                Step::More => {}
                step => break matches!(step, Step::Failed(_)),
            }
        }
    };
    assert!(failed(fraud.customers(&junk, &[])));
    assert!(failed(fraud.join(&junk, &[], &junk)));
    assert!(failed(fraud.join(&chain.prepared[0], &[], &junk)));
    assert!(failed(fraud.customers(&chain.prepared[0], &[PartName::from(&junk)])));
    assert!(failed(fraud.fold(Some(&junk), &chain.joined[&0], Hash::default())));
    assert!(failed(fraud.fold(None, &junk, Hash::default())));
    assert!(failed(fraud.evaluate(&junk, &chain.joined[&0], &[])));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// The sums of a step run in one order: a cut of the rows at a step's edge changes no result.
    #[test]
    fn learning_in_pieces_is_learning_at_once(seed in any::<u64>(), cut in 0usize..6) {
        let (rows, set) = (5 * 64 + 17, FeatureSet::default());
        let count = set.width();
        let features: Vec<usize> = set.features().collect();
        let random = |at: usize| Hash::of(&(seed ^ at as u64).to_le_bytes()).0[0] as usize;
        let code = |at: usize| (random(at) % bins(features[at % count])) as u8;
        let codes: Vec<u8> = (0..rows * count).map(code).collect();
        let fraud: Vec<bool> = (0..rows).map(|row| random(row + 1_000_000) < 30).collect();
        let cut = (cut * 64).min(rows);
        let (mut once, mut pieces) = (Chains::new(Rates::default(), set), Chains::new(Rates::default(), set));
        once.learn(&codes, &fraud);
        pieces.learn(&codes[..cut * count], &fraud[..cut]);
        pieces.learn(&codes[cut * count..], &fraud[cut..]);
        prop_assert_eq!(once, pieces);
    }
}
