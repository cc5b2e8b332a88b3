//! Rows a second of the readers, the join and the fold, on a day of the handbook's size.
//!
//! `cargo bench -p worker --bench fraud`. The day is generated; with FRAUD_DATA, or the data beside the
//! checkout, the readers also read the handbook's own.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use engine::hash::Hash;
use engine::manifest::{Dataset, Role};
use engine::pipeline::Stage;
use engine::workload::{Outcome, Part, Step};
use workloads::fraud::chains::Chains;
use workloads::fraud::feature_set::FeatureSet;
use workloads::fraud::features::{bins, of_rows};
use workloads::fraud::ftrl::Rates;
use workloads::fraud::history::History;
use workloads::fraud::rows::Rows;
use workloads::fraud::{Fraud, Params};
use workloads::input::{Transactions, read};

const DAY_ROWS: u64 = 9_600;
const DAY_S: i64 = 86_400;

/// A generator whose numbers never change.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// One of `bound` ids; 0 for all rows that are busy.
    fn id(&mut self, bound: u64, is_busy: bool) -> i64 {
        let id = self.below(bound) as i64;
        if is_busy { 0 } else { id }
    }
}

/// A day like the handbook's: 5,000 customers, 10,000 terminals, one fraud in a hundred.
fn day(number: i64) -> Rows {
    busy_day(number, DAY_ROWS as usize, Busy::default())
}

/// How many rows of a hundred are of one customer, and how many at one terminal: guests, "unknown", 0.
#[derive(Debug, Clone, Copy, Default)]
struct Busy {
    customer: u64,
    terminal: u64,
}

/// The same with more rows, of which a share has one id.
fn busy_day(number: i64, count: usize, busy: Busy) -> Rows {
    let mut random = Random(number as u64 + 1);
    let mut time: Vec<i64> = (0..count).map(|_| number * DAY_S + random.below(86_400) as i64).collect();
    time.sort_unstable();
    let read = Transactions {
        id: (0..count as i64).collect(),
        time,
        customer: (0..count as u64).map(|row| random.id(5_000, row % 100 < busy.customer)).collect(),
        terminal: (0..count as u64).map(|row| random.id(10_000, row % 100 < busy.terminal)).collect(),
        cents: (0..count).map(|_| 100 + random.below(12_000) as i64).collect(),
        fraud: (0..count).map(|_| random.below(100) == 0).collect(),
        scenario: None,
    };
    Rows::from_transactions(&format!("{number}.csv"), read)
}

fn fold(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("fold");
    group.throughput(Throughput::Elements(DAY_ROWS));
    for set in FeatureSet::ALL {
        let mut random = Random(7);
        let features: Vec<usize> = set.features().collect();
        let feature = |at: usize| features[at % features.len()];
        let codes: Vec<u8> = (0..DAY_ROWS as usize * features.len())
            .map(|at| random.below(bins(feature(at)) as u64) as u8)
            .collect();
        let fraud: Vec<bool> = (0..DAY_ROWS).map(|_| random.below(100) == 0).collect();
        let mut model = Chains::new(Rates::default(), set);
        group.bench_function(set.name(), |bench| bench.iter(|| model.learn(black_box(&codes), &fraud)));
    }
}

fn join(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("join");
    group.throughput(Throughput::Elements(DAY_ROWS)).sample_size(10);
    let days: Vec<Rows> = (0..50).map(day).collect();
    for set in FeatureSet::ALL {
        // 45 days of history, then a day of features.
        let begin = || {
            let mut history = History::default();
            days[..45].iter().for_each(|rows| history.push_all(rows, 45 * DAY_S));
            history
        };
        let features = |mut history: History| {
            of_rows(&mut history, &days[45], 0..days[45].len(), set, &mut |_, _, value| {
                black_box(value);
            });
            history
        };
        group.bench_function(set.name(), |bench| {
            bench.iter_batched(begin, features, BatchSize::PerIteration);
        });
    }
}

/// A day of 50,000 rows after eight such days, all of different customers or many of one. The rows at one id must not
/// cost the square of their number.
fn join_busy(bench: &mut Criterion) {
    const ROWS: usize = 50_000;
    let mut group = bench.benchmark_group("join of many rows at one id");
    group.throughput(Throughput::Elements(ROWS as u64)).sample_size(10);
    let spread = Busy::default();
    let cases = [
        ("spread", spread),
        ("customer 30 %", Busy { customer: 30, ..spread }),
        ("customer 100 %", Busy { customer: 100, ..spread }),
        ("terminal 30 %", Busy { terminal: 30, ..spread }),
        ("both 100 %", Busy { customer: 100, terminal: 100 }),
    ];
    for (name, busy) in cases {
        let days: Vec<Rows> = (0..9).map(|number| busy_day(number, ROWS, busy)).collect();
        let begin = || {
            let mut history = History::default();
            days[..8].iter().for_each(|rows| history.push_all(rows, 8 * DAY_S));
            history
        };
        group.bench_function(name, |bench| {
            let features = |mut history: History| {
                of_rows(&mut history, &days[8], 0..ROWS, FeatureSet::Blend, &mut |_, _, value| {
                    black_box(value);
                });
                history
            };
            bench.iter_batched(begin, features, BatchSize::PerIteration);
        });
    }
}

/// Reading, checking and packing: the tutorial's three formats.
fn readers(bench: &mut Criterion) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let data = std::env::var_os("FRAUD_DATA").map_or(data, Into::into);
    let mut group = bench.benchmark_group("read");
    for (name, file) in [("parquet", "handbook/2018-05-01.parquet"), ("pickle", "tutorial/2018-04-01.pkl")] {
        let Ok(content) = std::fs::read(data.join(file)) else {
            eprintln!("SKIPPED: {file} is not in {}", data.display());
            continue;
        };
        let rows = read(file, &content).expect("a good day").id.len() as u64;
        group.throughput(Throughput::Elements(rows));
        group.bench_function(name, |bench| bench.iter(|| read(file, black_box(&content))));
    }
    let rows = day(3);
    let mut csv = "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD\n".to_owned();
    for row in 0..rows.len() {
        let [time, customer, terminal] =
            [rows.time[row] + 1_522_540_800, rows.customer[row], rows.terminal[row]];
        let (whole, cents, fraud) = (rows.cents[row] / 100, rows.cents[row] % 100, u8::from(rows.fraud[row]));
        csv += &format!("{row},{time},{customer},{terminal},{whole}.{cents:02},{fraud}\n");
    }
    group.throughput(Throughput::Elements(DAY_ROWS));
    group.bench_function("csv", |bench| bench.iter(|| read("day.csv", black_box(csv.as_bytes()))));
    let packed = Part { stage: Stage(0), index: 0, hash: Hash::default(), bytes: Arc::new(rows.encode()) };
    group.bench_function("prepared part", |bench| bench.iter(|| Rows::decode(black_box(&packed.bytes))));
    let fraud = Fraud::new(Params::default());
    let dataset =
        Dataset { index: 0, path: "day.csv".to_owned(), role: Role::Train, bytes: 0, blocks: Vec::new() };
    group.bench_function("prepare (csv)", |bench| {
        bench.iter(|| match fraud.prepare(&dataset, csv.clone().into_bytes()).step() {
            Step::Done(Outcome::Part(bytes)) => bytes,
            other => panic!("{other:?}"),
        });
    });
}

criterion_group!(benches, fold, join, join_busy, readers);
criterion_main!(benches);
