//! How likely a purchase is to be fraud by what came before it: two filters, each of a hidden state.
//!
//! The handbook says how its frauds come about, and that is what the filters assume:
//! - a terminal is compromised for 28 days, during which all its purchases are frauds;
//! - a customer's card is misused for 14 days, during which one purchase in three is a fraud of
//!   five times the usual amount.
//!
//! Both states begin at a day's start. What is seen are the amounts, and the labels that are seven days
//! old. The constants are the handbook's; the learner weighs what comes out, so that where they are
//! wrong it corrects them. Probabilities only steer the ranking: nothing here is learned.

use std::sync::LazyLock;

use super::history::{Customer, DAY_S, DELAY_S, Fraud, Terminal};
use super::likelihood::Likelihood;

/// Days for which a terminal stays compromised, and the chance of a day to be the first of them.
const TERMINAL_DAYS: usize = 28;
const TERMINAL_CHANCE: f64 = 2.0 / 10_000.0;

/// Days for which a card stays misused, the chance of a day to be the first of them, and the share of
/// the purchases then that are frauds.
const CARD_DAYS: i64 = 14;
const CARD_CHANCE: f64 = 3.0 / 5_000.0;
const CARD_SHARE: f64 = 1.0 / 3.0;

/// Days of a terminal's visits that are looked at, today among them.
const REACH_DAYS: i64 = 44;

/// Chance of a fraud that has nothing to do with the customer's card: it is the terminal's.
const NOT_THE_CARDS: f64 = 0.0065;

/// At least this chance that a fraud has nothing to do with the terminal, whatever its amount.
const NOT_THE_TERMINALS: f64 = 0.0005;

/// Chance that a compromised terminal has a genuine purchase: none, but a label may be wrong.
const GENUINE_ALL_THE_SAME: f64 = 1e-6;

/// A probability and what it lacks to 1, each exact where it is small.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chance {
    pub(super) yes: f64,
    pub(super) no: f64,
}

impl Chance {
    /// Of `weight` against 1.
    fn of_odds(weight: f64) -> Self {
        Self { yes: weight / (1.0 + weight), no: 1.0 / (1.0 + weight) }
    }

    /// That one of two, which have nothing to do with each other, is so.
    pub(super) fn or(self, other: Self) -> Self {
        Self { yes: self.yes + other.yes * self.no, no: self.no * other.no }
    }

    pub(super) fn log_odds(self) -> f64 {
        libm::log(self.yes / self.no)
    }
}

/// A chance with its log-odds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Suspected {
    pub(super) chance: Chance,
    pub(super) log_odds: f64,
}

impl Suspected {
    fn of(chance: Chance) -> Self {
        Self { chance, log_odds: chance.log_odds() }
    }
}

/// Odds of a fraud by misuse of a card, from those of the misuse and the likelihood of the amount.
fn by_card(misused: f64, ratio: f64) -> Chance {
    let share = misused * CARD_SHARE;
    Chance::of_odds(share * ratio / (1.0 - share))
}

/// Chance that the customer's last purchase is a fraud by misuse of the card.
pub(super) fn of_card(customer: &Customer, now: i64, likelihood: &Likelihood) -> Chance {
    let Some((last, before)) = customer.purchases.split_last() else { return by_card(0.0, 1.0) };
    let today = now.div_euclid(DAY_S);
    // How much likelier the purchases after a day are if the misuse began on the day after it.
    let (mut weight, mut odds, mut day) = (1.0_f64, 0.0, today);
    for purchase in before.iter().rev() {
        let of_purchase = purchase.stamp.day();
        if of_purchase <= today - CARD_DAYS {
            break;
        }
        odds += weight * (day - of_purchase) as f64;
        day = of_purchase;
        let ratio = likelihood.at(purchase.cell());
        let is_known = purchase.stamp.time() <= now - DELAY_S;
        weight *= match (is_known, purchase.stamp.is_fraud()) {
            (true, true) => CARD_SHARE * ratio / NOT_THE_CARDS + 1.0 - CARD_SHARE,
            (true, false) => 1.0 - CARD_SHARE,
            (false, _) => CARD_SHARE * ratio + 1.0 - CARD_SHARE,
        };
        weight = weight.min(1e30);
    }
    odds = (odds + weight * (day - (today - CARD_DAYS)) as f64) * CARD_CHANCE;
    by_card(odds / (1.0 + odds), likelihood.at(last.cell()))
}

/// Chance that the terminal is compromised now, from its visits whose labels are `known`, the first so
/// many. `ratio_of` gives the likelihood of a fraud's amount.
pub(super) fn of_terminal(
    terminal: &Terminal,
    known: usize,
    now: i64,
    mut ratio_of: impl FnMut(&Fraud) -> f64,
) -> Suspected {
    let (today, until) = (now.div_euclid(DAY_S), now - DELAY_S);
    let begin = (today - REACH_DAYS + 1) * DAY_S;
    let known = &terminal.visits[..known];
    let mut frauds = terminal.frauds.iter().skip_while(|fraud| fraud.time < begin).peekable();
    if frauds.peek().is_none_or(|fraud| fraud.time > until) {
        return unseen(known.last().map(|visit| today - visit.day()));
    }
    let mut state = State::new();
    let mut day = today - REACH_DAYS;
    for visit in &known[known.partition_point(|visit| visit.time() < begin)..] {
        state.pass(visit.day() - day);
        day = visit.day();
        match frauds.next_if(|_| visit.is_fraud()) {
            Some(fraud) => {
                let by_card = by_card(CARD_CHANCE * CARD_DAYS as f64, ratio_of(fraud));
                state.see(by_card.yes.max(NOT_THE_TERMINALS));
            }
            None => state.see(1.0 / GENUINE_ALL_THE_SAME),
        }
    }
    state.pass(today - day);
    Suspected::of(state.chance())
}

/// Chance of a terminal without a known fraud: it can have begun on any day after its last genuine
/// purchase, `days` ago.
fn unseen(days: Option<i64>) -> Suspected {
    static BY_DAYS: LazyLock<Vec<Suspected>> = LazyLock::new(|| {
        let no = (0..=TERMINAL_DAYS).map(|days| (0..days).fold(1.0, |no, _| no * (1.0 - TERMINAL_CHANCE)));
        no.map(|no| Suspected::of(Chance { yes: 1.0 - no, no })).collect()
    });
    let days = days.map_or(TERMINAL_DAYS, |days| days.clamp(0, TERMINAL_DAYS as i64) as usize);
    BY_DAYS[days]
}

/// The least weight: what a day of hundreds of visits says of a terminal would be 0 against 0 otherwise.
const WEIGHT_MIN: f64 = 1e-200;

/// Weights of what a terminal can be in: not compromised, or so for some days. Only their ratios count.
struct State {
    sound: f64,
    /// Of having begun on each of the last days, of which the next to be over comes at `oldest`.
    compromised: [f64; TERMINAL_DAYS],
    oldest: usize,
}

impl State {
    fn new() -> Self {
        let mut chance = TERMINAL_CHANCE;
        let mut compromised = [(); TERMINAL_DAYS].map(|()| {
            let now = chance;
            chance *= 1.0 - TERMINAL_CHANCE;
            now
        });
        compromised.reverse();
        Self { sound: 1.0 - compromised.iter().sum::<f64>(), compromised, oldest: 0 }
    }

    /// So many days later. One that is compromised can be so anew.
    fn pass(&mut self, days: i64) {
        for _ in 0..days {
            let begun = (self.sound + self.sum()) * (TERMINAL_CHANCE / (1.0 - TERMINAL_CHANCE));
            self.sound += std::mem::replace(&mut self.compromised[self.oldest], begun);
            self.oldest = (self.oldest + 1) % TERMINAL_DAYS;
        }
    }

    /// Weighs what was seen by how much likelier it is if the terminal is not compromised.
    fn see(&mut self, sound: f64) {
        self.sound = (self.sound * sound).max(WEIGHT_MIN);
        if self.sound > 1e100 {
            self.compromised.iter_mut().for_each(|weight| *weight = (*weight * 1e-100).max(WEIGHT_MIN));
            self.sound *= 1e-100;
        }
    }

    fn chance(&self) -> Chance {
        let yes = self.sum();
        let all = self.sound + yes;
        Chance { yes: yes / all, no: self.sound / all }
    }

    /// Of being compromised; four sums side by side, added in one order.
    fn sum(&self) -> f64 {
        let mut sums = [0.0; 4];
        for weights in self.compromised.as_chunks::<4>().0 {
            sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight);
        }
        (sums[0] + sums[1]) + (sums[2] + sums[3])
    }
}
