//! Features that learn from data how its frauds come about: an amount out of the customer's usual, a
//! customer whose amounts are large for a while, a terminal whose transactions are fraud for a while.

use super::customer::{BIG_DAYS, Customer, is_big};
use super::likelihood::Usual;
use super::purchase::{DAY_S, DELAY_S, Stamp, newest};
use super::stretch::Now;
use super::terminal::{TERMINAL_WINDOWS_S, Terminal, known};
use super::terminals::Known;

/// Where nothing is known that a value could be taken from; below every value that is.
const NONE: f64 = -1.0;
const NONE_Z: f64 = -9.0;
const LOWEST_Z: f64 = -8.0;

/// How far back known frauds at a terminal are counted, and those of a card that were big.
const TERMINAL_REACH_S: [i64; 2] = [DELAY_S + 21 * DAY_S, DELAY_S + 28 * DAY_S];
const CARD_BIG_REACH_S: i64 = 21 * DAY_S;

/// Levels of the amount over the usual, for crossing with counts; below the first where none is known.
const LEVELS: [f64; 8] = [0.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0];

/// What a row's customer says of it.
pub(super) struct OfCustomer {
    /// The amount over the usual, its z-score, big purchases of three windows, the age of the first,
    /// the usual, the mean of three days over that of thirty.
    pub(super) spending: [f64; 8],
    /// Known frauds of three windows, ages of the last and the first that were big.
    pub(super) card: [f64; 5],
    /// Level of the amount over the usual with the big ones of 7 and of 14 days; those of 3 with those of 14.
    pub(super) crossed: [f64; 3],
    /// Level of the amount over the usual.
    pub(super) level: u8,
}

/// What its terminal says of it.
pub(super) struct OfTerminal {
    /// Known frauds of two windows, frauds that were not big, length and age of the run of frauds, genuine
    /// visits since the last fraud, age of the last genuine one.
    pub(super) visits: [f64; 7],
    /// The customer's level with the frauds that were not big; these with the age of the first.
    pub(super) crossed: [f64; 2],
}

/// Of the purchase that was added last.
pub(super) fn of_customer(customer: &mut Customer, now: Now) -> OfCustomer {
    let usual = customer.usual(now.time);
    let over_usual = usual.map_or(NONE, |usual| now.cents as f64 / usual.cents as f64);
    let (big, big_first_age) = big(customer, now, usual);
    let [z, mean_3d_over_30d] = spending(customer, now);
    let [big_3d, big_7d, big_14d] = big.map(|big| if usual.is_some() { big as f64 } else { NONE });
    let usual_amount = usual.map_or(0.0, |usual| usual.cents as f64 / 100.0);
    let level = LEVELS.iter().map(|edge| usize::from(*edge <= over_usual)).sum::<usize>();
    let crossed = [level * 5 + big[1].min(4), level * 7 + big[2].min(6), big[0].min(4) * 7 + big[2].min(6)];
    OfCustomer {
        spending: [over_usual, z, big_3d, big_7d, big_14d, big_first_age, usual_amount, mean_3d_over_30d],
        card: card(customer, now, usual),
        crossed: crossed.map(|cell| cell as f64),
        level: level as u8,
    }
}

/// Of a visit to a terminal, at a level of the amount over its customer's usual.
pub(super) fn of_terminal(terminal: &mut Terminal, known: &Known, now: Now, level: u8) -> OfTerminal {
    let (small, small_first_age) = small_frauds(terminal, known, now);
    let [frauds_21d, frauds_28d] =
        TERMINAL_REACH_S.map(|reach| terminal.frauds(reach, now.time).len() as f64);
    let [run, run_age, genuine_since, genuine_age] = run(terminal, now);
    let fours = (small_first_age / 4.0 - 1.0).clamp(0.0, 7.0) as usize;
    let crossed = [usize::from(level) * 4 + small.min(3), small.min(6) * 8 + fours];
    OfTerminal {
        visits: [frauds_21d, frauds_28d, small as f64, run, run_age, genuine_since, genuine_age],
        crossed: crossed.map(|cell| cell as f64),
    }
}

/// Numbers of the customer's big purchases of the last days, the present one apart, and the age of the
/// first of them.
fn big(customer: &mut Customer, now: Now, usual: Option<Usual>) -> ([usize; BIG_DAYS.len()], f64) {
    let own = usize::from(is_big(now.cents, usual));
    let counts = [0, 1, 2].map(|window| customer.big(window, now.time).len() - own);
    let longest = customer.big(2, now.time);
    let first = longest.first().filter(|_| longest.len() > own);
    (counts, first.map_or(NONE, |time| days(now.time - time)))
}

/// The amount beside the customer's others, and the mean of the last days beside that of the last month.
fn spending(customer: &mut Customer, now: Now) -> [f64; 2] {
    let (days_3, days_30) = (customer.window(3, now.time), customer.window(2, now.time));
    let mean = days_30.mean();
    let z = days_30.without(now.cents).z(now.cents).map_or(NONE_Z, |z| z.max(LOWEST_Z));
    [z, if mean > 0.0 { days_3.mean() / mean } else { 0.0 }]
}

/// How many known frauds at the terminal were not big for their customers, and the age of the first.
fn small_frauds(terminal: &Terminal, known: &Known, now: Now) -> (usize, f64) {
    let (mut small, mut first_age) = (0, 0.0);
    for fraud in newest(terminal.frauds(TERMINAL_REACH_S[1], now.time)) {
        if !is_big(fraud.cents, known.usual(fraud)) {
            small += 1;
            first_age = f64::max(first_age, days(now.time - fraud.time));
        }
    }
    (small, first_age)
}

/// Of the terminal's known visits of 30 days: length and age of the frauds that end them, the number
/// of genuine ones since the last fraud, and the age of the last genuine one.
fn run(terminal: &mut Terminal, now: Now) -> [f64; 4] {
    let known = terminal.before(0, now.time);
    let has_fraud = !terminal.frauds(DELAY_S + 30 * DAY_S, now.time).is_empty();
    let oldest = now.time - TERMINAL_WINDOWS_S[3];
    let visits = newest(&terminal.visits[..known]).iter().rev();
    let mut visits = visits.take_while(|visit| visit.time() > oldest);
    let genuine = has_fraud.then(|| visits.clone().take_while(|visit| !visit.is_fraud()).count());
    let (mut run, mut first) = (0, None);
    let last_genuine = visits.find(|visit| {
        if visit.is_fraud() {
            (run, first) = (run + 1, Some(*visit));
        }
        !visit.is_fraud()
    });
    let age = |visit: Option<&Stamp>| visit.map_or(NONE, |visit| days(now.time - visit.time()));
    [f64::from(run), age(first), genuine.map_or(NONE, |count| count as f64), age(last_genuine)]
}

/// The card's known frauds of 7, 14 and 28 days; the ages of the last and the first that was big.
fn card(customer: &Customer, now: Now, usual: Option<Usual>) -> [f64; 5] {
    let frauds = &customer.frauds;
    let [days_7, days_14, days_28] =
        [7, 14, 28].map(|days| known(frauds, DELAY_S + days * DAY_S, now.time).len() as f64);
    let mut big = newest(known(frauds, CARD_BIG_REACH_S, now.time))
        .iter()
        .filter(|fraud| is_big(fraud.cents, usual))
        .map(|fraud| days(now.time - fraud.time));
    let first = big.next();
    [days_7, days_14, days_28, big.next_back().or(first).unwrap_or(NONE), first.unwrap_or(NONE)]
}

fn days(seconds: i64) -> f64 {
    seconds as f64 / DAY_S as f64
}
