//! The features: what is known of a transaction when it is made, as numbers and then as bins.
//!
//! The first fifteen are the Fraud Detection Handbook's (chapter "Baseline feature transformation").
//! The others look for the ways in which its frauds come about: an amount out of the customer's usual,
//! a customer whose amounts are large for a while, a terminal whose transactions are fraud for a while.
//! A label counts from seven days after its transaction on. A transaction's own label and its scenario
//! are no features, nor is anything that is not known at its time.

use super::edges::EDGES;
use super::history::{DAY_S, DELAY_S, Fraud, History};

/// Names in the order of the values.
pub const NAMES: [&str; COUNT] = [
    "amount",
    "during_weekend",
    "during_night",
    "customer_count_1d",
    "customer_mean_1d",
    "customer_count_7d",
    "customer_mean_7d",
    "customer_count_30d",
    "customer_mean_30d",
    "terminal_count_1d",
    "terminal_risk_1d",
    "terminal_count_7d",
    "terminal_risk_7d",
    "terminal_count_30d",
    "terminal_risk_30d",
    "amount_over_usual",
    "amount_z",
    "big_3d",
    "big_7d",
    "big_14d",
    "usual_amount",
    "mean_3d_over_30d",
    "terminal_frauds_28d",
    "terminal_small_frauds_28d",
    "terminal_run_length",
    "terminal_run_age",
    "terminal_genuine_since_fraud",
    "customer_frauds_7d",
    "customer_frauds_14d",
    "customer_frauds_28d",
    "customer_big_fraud_last_age",
    "customer_big_fraud_first_age",
    "largest_over_usual_14d",
    "big_first_age",
    "over_usual_x_big_7d",
    "over_usual_x_small_frauds",
    "small_frauds_x_first_age",
    "over_usual_x_big_14d",
    "big_3d_x_big_14d",
];

pub const COUNT: usize = 39;

/// How many of them, from the first, are the handbook's.
pub const HANDBOOK_COUNT: usize = 15;

/// From this on an amount over the customer's usual counts as big.
const BIG: i64 = 3;

/// Where nothing is known that a value could be taken from; below every value that is.
const NONE: f64 = -1.0;
const NONE_Z: f64 = -9.0;

/// Number of bins of each feature.
pub fn bins() -> [usize; COUNT] {
    EDGES.map(|edges| edges.len() + 1)
}

/// The bin of a value: how many edges are not above it.
pub fn bin(feature: usize, value: f64) -> u8 {
    EDGES[feature].iter().map(|edge| u8::from(*edge <= value)).sum()
}

/// Features of one row after another. Only scratch space is kept between rows.
#[derive(Debug, Default)]
pub struct Features {
    values: Vec<f64>,
    amounts: Vec<i64>,
    known: Vec<Fraud>,
}

/// The row that was pushed last.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub customer: usize,
    pub terminal: usize,
    pub time: i64,
    pub cents: i64,
}

/// What the customer's last 14 days say, the present purchase apart.
#[derive(Debug, Default)]
struct Recent {
    big: [i64; 3],
    largest: i64,
    big_first: Option<i64>,
}

impl Features {
    /// The first `count` values for the row that was pushed last.
    pub fn of(&mut self, history: &mut History, now: Now, count: usize) -> &[f64] {
        self.values.clear();
        self.handbook(history, now);
        if count > HANDBOOK_COUNT {
            self.rich(history, now);
        }
        &self.values[..count]
    }

    fn handbook(&mut self, history: &mut History, now: Now) {
        let weekday_from_monday = (now.time.div_euclid(DAY_S) + 3).rem_euclid(7);
        let hour = now.time.rem_euclid(DAY_S) / 3600;
        self.values.extend([
            now.cents as f64 / 100.0,
            f64::from(weekday_from_monday >= 5),
            f64::from(hour <= 6),
        ]);
        let customer = &mut history.customers[now.customer];
        for window in [0, 2, 4] {
            let sums = customer.window(window, now.time);
            self.values.extend([sums.count as f64, sums.cents as f64 / 100.0 / sums.count as f64]);
        }
        let terminal = &mut history.terminals[now.terminal];
        self.known.clear();
        self.known.extend(terminal.frauds.iter().filter(|fraud| fraud.time <= now.time - DELAY_S));
        let known = terminal.before(0, now.time);
        for (window, days) in [(1, 1), (2, 7), (3, 30)] {
            let count = (known - terminal.before(window, now.time)) as f64;
            let risk = if count > 0.0 { within(&self.known, now.time, days) / count } else { 0.0 };
            self.values.extend([count, risk]);
        }
    }

    fn rich(&mut self, history: &mut History, now: Now) {
        let usual = history.customers[now.customer].usual(now.time, &mut self.amounts);
        let over_usual = usual.map_or(NONE, |usual| now.cents as f64 / usual as f64);
        self.values.push(over_usual);
        let recent = recent(history, now, usual);
        self.spending(history, now, usual, recent.big);
        let (small, small_first) = self.terminal(history, now);
        self.customer_frauds(history, now, usual);

        let [big_3d, big_7d, big_14d] = recent.big;
        let largest = usual.filter(|_| recent.largest > 0).map_or(NONE, |u| recent.largest as f64 / u as f64);
        let level = level(over_usual);
        let small_age = small_first.map_or(0, |time| ((now.time - time) / DAY_S / 4 - 1).clamp(0, 7));
        self.values.extend([
            largest,
            recent.big_first.map_or(NONE, |time| days(now.time - time)),
            (level * 5 + big_7d.min(4)) as f64,
            (level * 4 + small.min(3)) as f64,
            (small.min(6) * 8 + small_age) as f64,
            (level * 7 + big_14d.min(6)) as f64,
            (big_3d.min(4) * 7 + big_14d.min(6)) as f64,
        ]);
    }

    /// The amount beside the customer's own amounts, and those beside each other.
    fn spending(&mut self, history: &mut History, now: Now, usual: Option<i64>, big: [i64; 3]) {
        let customer = &mut history.customers[now.customer];
        let (days_3, days_30) = (customer.window(1, now.time), customer.window(4, now.time));
        let others = days_30.without(now.cents);
        self.values.push(others.z(now.cents).unwrap_or(NONE_Z));
        self.values.extend(big.map(|big| if usual.is_some() { big as f64 } else { NONE }));
        self.values.push(usual.unwrap_or(0) as f64 / 100.0);
        self.values.push(match days_30.mean() {
            mean if mean > 0.0 => days_3.mean() / mean,
            _ => 0.0,
        });
    }

    /// The terminal's known frauds; gives the number of the small ones and the time of their first.
    fn terminal(&mut self, history: &mut History, now: Now) -> (i64, Option<i64>) {
        self.values.push(within(&self.known, now.time, 28));
        let (mut small, mut small_first) = (0, None);
        for fraud in self.known.iter().filter(|fraud| fraud.time > now.time - DELAY_S - 28 * DAY_S) {
            let usual = history.customers[fraud.customer as usize].usual(now.time, &mut self.amounts);
            if fraud.cents < BIG * usual.unwrap_or(0) {
                small += 1;
                small_first = small_first.or(Some(fraud.time));
            }
        }
        let terminal = &mut history.terminals[now.terminal];
        let (known, oldest) = (terminal.before(0, now.time), terminal.before(3, now.time));
        let visits = &terminal.visits[oldest..known];
        let run = visits.iter().rev().take_while(|visit| visit.fraud).count();
        let genuine = visits.iter().rev().take_while(|visit| !visit.fraud).count();
        self.values.extend([
            small as f64,
            run as f64,
            if run > 0 { days(now.time - visits[visits.len() - run].time) } else { NONE },
            if genuine < visits.len() { genuine as f64 } else { NONE },
        ]);
        (small, small_first)
    }

    fn customer_frauds(&mut self, history: &History, now: Now, usual: Option<i64>) {
        let frauds = &history.customers[now.customer].frauds;
        let known = &frauds[..frauds.partition_point(|fraud| fraud.time <= now.time - DELAY_S)];
        self.values.extend([7, 14, 28].map(|days| within(known, now.time, days)));
        let after = now.time - 21 * DAY_S;
        let mut big = known
            .iter()
            .filter(|fraud| fraud.time > after && fraud.cents > BIG * usual.unwrap_or(0))
            .map(|fraud| days(now.time - fraud.time));
        let first = big.next();
        self.values.extend([big.next_back().or(first).unwrap_or(NONE), first.unwrap_or(NONE)]);
    }
}

fn days(seconds: i64) -> f64 {
    seconds as f64 / DAY_S as f64
}

/// How many of these known frauds are of the `days` before the labels' delay.
fn within(known: &[Fraud], now: i64, days: i64) -> f64 {
    let after = now - DELAY_S - days * DAY_S;
    known.iter().rev().take_while(|fraud| fraud.time > after).count() as f64
}

fn recent(history: &mut History, now: Now, usual: Option<i64>) -> Recent {
    let purchases = history.customers[now.customer].purchases(3, now.time);
    let big_from = BIG * usual.unwrap_or(0);
    let mut recent = Recent::default();
    for purchase in &purchases[..purchases.len() - 1] {
        recent.largest = recent.largest.max(purchase.cents);
        if purchase.cents > big_from {
            recent.big_first = recent.big_first.or(Some(purchase.time));
            for (big, days) in recent.big.iter_mut().zip([3, 7, 14]) {
                *big += i64::from(purchase.time > now.time - days * DAY_S);
            }
        }
    }
    recent
}

/// Coarse levels of the amount over the usual, for crossing with counts; 0 where none is known.
fn level(over_usual: f64) -> i64 {
    [0.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0].iter().map(|edge| i64::from(*edge <= over_usual)).sum()
}
