//! The public table that the model is held against, on the public data: the Fraud Detection Handbook's
//! week of August 2018. `just handbook` shows the figures.

mod fraud_support;

use std::ops::Range;

use engine::hash::Hash;
use engine::workload::{Outcome, Part};
use fraud_support::{Chain, finish, handbook};
use workloads::fraud::feature_set::FeatureSet;
use workloads::fraud::metrics::Metrics;
use workloads::fraud::{Fraud, Params};

/// Index of 2018-07-31, the last day of training before the handbook's test week.
const JULY_31: u32 = 121;

/// Trains on some days, oldest first, and keeps each day's checkpoint.
fn train(chain: &mut Chain, fraud: &Fraud, days: Range<u32>) {
    chain.checkpoints.clear();
    let mut previous = None;
    for index in days {
        let joined = &chain.joined[&index];
        let task = fraud.fold(previous.as_ref(), joined, Hash::default());
        let Outcome::Part(bytes) = finish(task) else { panic!("a fold rejects nothing") };
        let checkpoint = fraud_support::part(index, bytes);
        chain.checkpoints.insert(index, checkpoint.clone());
        previous = Some(checkpoint);
    }
}

/// The handbook's measures of the checkpoint of day `end`, on the week that begins eight days later.
fn week(chain: &Chain, fraud: &Fraud, end: u32) -> Metrics {
    let days = |from: u32| -> Vec<Part> { (from..from + 7).map(|day| chain.joined[&day].clone()).collect() };
    let [training, between, tests] = [end - 6, end + 1, end + 8].map(days);
    fraud.handbook(&chain.checkpoints[&end], [&training, &between, &tests]).expect("its own parts")
}

fn line(name: &str, metrics: &Metrics) -> String {
    let [auc, ap, cards] = [metrics.auc_roc, metrics.average_precision, metrics.card_precision_100]
        .map(|measure| measure.expect("frauds and genuine rows"));
    let (rows, frauds) = (metrics.rows, metrics.frauds);
    format!("{name:<44} {rows:>7} {frauds:>5} {auc:>8.4} {ap:>8.4} {cards:>8.4}\n")
}

/// The means of some weeks' measures.
fn mean_line(name: &str, weeks: &[Metrics]) -> String {
    let mean = |measure: fn(&Metrics) -> Option<f64>| {
        weeks.iter().map(|week| measure(week).expect("frauds and genuine rows")).sum::<f64>()
            / weeks.len() as f64
    };
    let [auc, ap, cards] = [
        mean(|week| week.auc_roc),
        mean(|week| week.average_precision),
        mean(|week| week.card_precision_100),
    ];
    format!("{name:<44} {:>7} {:>5} {auc:>8.4} {ap:>8.4} {cards:>8.4}\n", "", "")
}

/// The table's rows and frauds are exact; its models are others, ours beside them.
#[test]
fn the_handbooks_table() {
    let Some(folder) = handbook::folder("handbook") else { return };
    let head =
        format!("{:<44} {:>7} {:>5} {:>8} {:>8} {:>8}\n", "", "rows", "fraud", "AUC ROC", "AP", "CP@100");
    let mut table = head.clone();
    let mut weeks = head;
    for set in FeatureSet::ALL {
        let fraud = Fraud::new(Params { features: set, ..Params::default() });
        let mut chain = handbook::chain(&fraud, &folder);
        chain.join(&fraud);
        let name = set.name();
        train(&mut chain, &fraud, JULY_31 - 6..JULY_31 + 1);
        table += &line(&format!("{name}, 2018-07-25..31 (7 days)"), &week(&chain, &fraud, JULY_31));
        train(&mut chain, &fraud, 0..JULY_31 + 1);
        table += &line(&format!("{name}, 2018-04-01..07-31 (122 days)"), &week(&chain, &fraud, JULY_31));
        // The weeks that the model was chosen on: they begin on 06-01, 06-08, ..., 07-20 and 07-25.
        let mut measured = Vec::new();
        for end in [53, 60, 67, 74, 81, 88, 95, 102, 107] {
            let first = &chain.datasets[end as usize + 8].path["datasets/training/".len()..][..10];
            let metrics = week(&chain, &fraud, end);
            weeks += &line(&format!("{name}, week from {first}"), &metrics);
            measured.push(metrics);
        }
        weeks += &mean_line(&format!("{name}, mean of the nine"), &measured);
        let frauds_of = |days: Range<u32>| {
            let labels = days.map(|day| {
                let rows = workloads::fraud::rows::Rows::decode(&chain.prepared[day as usize].bytes);
                let rows = rows.unwrap();
                (rows.len(), rows.fraud.iter().filter(|fraud| **fraud).count())
            });
            labels.fold((0, 0), |sum, day| (sum.0 + day.0, sum.1 + day.1))
        };
        assert_eq!(frauds_of(JULY_31 - 6..JULY_31 + 1), (67_240, 598));
        assert_eq!(frauds_of(JULY_31 + 8..JULY_31 + 15), (67_080, 568));
    }
    println!("{table}\n{weeks}");
    insta::assert_snapshot!("table", table);
    insta::assert_snapshot!("weeks", weeks);
}
