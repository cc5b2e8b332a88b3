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

use super::history::{Customer, DAY_S, DELAY_S, Fraud, Terminal};

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

/// Odds of a fraud by misuse of a card, from those of the misuse and the likelihood of the amount.
fn by_card(misused: f64, ratio: f64) -> Chance {
    let share = misused * CARD_SHARE;
    Chance::of_odds(share * ratio / (1.0 - share))
}

/// Chance that the customer's last purchase, of the likelihood `ratio`, is a fraud by misuse of the
/// card.
pub(super) fn of_card(customer: &Customer, now: i64, ratio: f64) -> Chance {
    let Some((_, before)) = customer.purchases.split_last() else { return by_card(0.0, ratio) };
    let today = now.div_euclid(DAY_S);
    let mut unread = before.iter().rev().peekable();
    // How much likelier the purchases of the days from the first one are if it began on that day.
    let (mut weight, mut odds) = (1.0, 0.0);
    for first in (today - CARD_DAYS + 1..=today).rev() {
        while let Some(purchase) = unread.next_if(|purchase| purchase.stamp.time() >= first * DAY_S) {
            weight *= match (purchase.stamp.time() <= now - DELAY_S, purchase.stamp.is_fraud()) {
                (true, true) => CARD_SHARE * purchase.ratio / NOT_THE_CARDS + 1.0 - CARD_SHARE,
                (true, false) => 1.0 - CARD_SHARE,
                (false, _) => CARD_SHARE * purchase.ratio + 1.0 - CARD_SHARE,
            };
            weight = weight.min(1e30);
        }
        odds += weight * CARD_CHANCE;
    }
    by_card(odds / (1.0 + odds), ratio)
}

/// Chance that the terminal is compromised now, from its visits whose labels are `known`, the first so
/// many. `ratio_of` gives the likelihood of a fraud's amount.
pub(super) fn of_terminal(
    terminal: &Terminal,
    known: usize,
    now: i64,
    mut ratio_of: impl FnMut(&Fraud) -> f64,
) -> Chance {
    let (today, until) = (now.div_euclid(DAY_S), now - DELAY_S);
    let begin = (today - REACH_DAYS + 1) * DAY_S;
    let known = &terminal.visits[..known];
    let mut frauds = terminal.frauds.iter().skip_while(|fraud| fraud.time < begin).peekable();
    if frauds.peek().is_none_or(|fraud| fraud.time > until) {
        return unseen(known.last().map(|visit| today - visit.time().div_euclid(DAY_S)));
    }
    let mut state = State::new();
    let mut day = today - REACH_DAYS;
    for visit in &known[known.partition_point(|visit| visit.time() < begin)..] {
        let of_visit = visit.time().div_euclid(DAY_S);
        state.pass(of_visit - day);
        day = of_visit;
        match frauds.next_if(|_| visit.is_fraud()) {
            Some(fraud) => {
                let by_card = by_card(CARD_CHANCE * CARD_DAYS as f64, ratio_of(fraud));
                state.see(1.0, by_card.yes.max(NOT_THE_TERMINALS));
            }
            None => state.see(GENUINE_ALL_THE_SAME, 1.0),
        }
    }
    state.pass(today - day);
    state.chance()
}

/// Chance of a terminal without a known fraud: it can have begun on any day after its last genuine
/// purchase, `days` ago.
fn unseen(days: Option<i64>) -> Chance {
    let days = days.map_or(TERMINAL_DAYS as i64, |days| days.clamp(0, TERMINAL_DAYS as i64));
    let no = (0..days).fold(1.0, |no, _| no * (1.0 - TERMINAL_CHANCE));
    Chance { yes: 1.0 - no, no }
}

/// Weights of what a terminal can be in: not compromised, or so for some days.
struct State {
    sound: f64,
    /// By the number of days before today on which it began.
    compromised: [f64; TERMINAL_DAYS],
    /// Sum of all weights: passing days moves weight and loses none.
    all: f64,
}

impl State {
    fn new() -> Self {
        let mut chance = TERMINAL_CHANCE;
        let compromised = [(); TERMINAL_DAYS].map(|()| {
            let now = chance;
            chance *= 1.0 - TERMINAL_CHANCE;
            now
        });
        Self { sound: 1.0 - compromised.iter().sum::<f64>(), compromised, all: 1.0 }
    }

    /// So many days later. One that is compromised can be so anew.
    fn pass(&mut self, days: i64) {
        for _ in 0..days {
            let over = self.compromised[TERMINAL_DAYS - 1];
            self.compromised.copy_within(..TERMINAL_DAYS - 1, 1);
            self.compromised.iter_mut().for_each(|weight| *weight *= 1.0 - TERMINAL_CHANCE);
            self.compromised[0] = self.all * TERMINAL_CHANCE;
            self.sound = (self.sound + over) * (1.0 - TERMINAL_CHANCE);
        }
    }

    /// Weighs what was seen by how likely it is if compromised, and if not.
    fn see(&mut self, compromised: f64, sound: f64) {
        self.compromised.iter_mut().for_each(|weight| *weight *= compromised);
        self.sound *= sound;
        self.all = self.sound + self.compromised.iter().sum::<f64>();
        if self.all < 1e-100 {
            self.compromised.iter_mut().for_each(|weight| *weight *= 1e100);
            self.sound *= 1e100;
            self.all *= 1e100;
        }
    }

    fn chance(&self) -> Chance {
        let yes: f64 = self.compromised.iter().sum();
        let all = self.sound + yes;
        Chance { yes: yes / all, no: self.sound / all }
    }
}
