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

use super::customer::Customer;
use super::likelihood::Likelihood;
use super::purchase::{DAY_S, DELAY_S, Fraud, newest};
use super::terminal::Terminal;

/// Days for which a terminal stays compromised, and the chance of a day to be the first of them.
const TERMINAL_DAYS: usize = 28;
const TERMINAL_CHANCE: f64 = 2.0 / 10_000.0;

/// Days for which a card stays misused, the chance of a day to be the first of them, and the share of
/// the purchases then that are frauds.
const CARD_DAYS: i64 = 14;
const CARD_CHANCE: f64 = 3.0 / 5_000.0;
const CARD_SHARE: f64 = 1.0 / 3.0;

/// Days of a terminal's visits that are looked at, today among them.
pub(super) const REACH_DAYS: i64 = 44;

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
    pub(super) fn of_odds(weight: f64) -> Self {
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

/// Odds of a fraud by misuse of a card, from the chance of the misuse and the likelihood of the amount.
fn by_card(misused: f64, ratio: f64) -> f64 {
    let share = misused * CARD_SHARE;
    share * ratio / (1.0 - share)
}

/// Odds that the customer's last purchase is a fraud by misuse of the card.
pub(super) fn of_card(customer: &Customer, now: i64, likelihood: &Likelihood) -> f64 {
    let Some((last, before)) = customer.purchases.split_last() else { return by_card(0.0, 1.0) };
    let today = now.div_euclid(DAY_S);
    // How much likelier the purchases after a day are if the misuse began on the day after it.
    let (mut weight, mut odds, mut day) = (1.0_f64, 0.0, today);
    for purchase in newest(before).iter().rev() {
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
    let frauds = &terminal.frauds[..terminal.frauds.partition_point(|fraud| fraud.time <= until)];
    // Most terminals have none: their visits need no look.
    if frauds.last().is_none_or(|fraud| fraud.time < begin) {
        return unseen(known.last().map(|visit| today - visit.day()));
    }
    let visits = newest(known);
    let visits = &visits[visits.partition_point(|visit| visit.time() < begin)..];
    let count = visits.iter().filter(|visit| visit.is_fraud()).count();
    let mut frauds = frauds[frauds.len().saturating_sub(count)..].iter();
    let mut state = State::new();
    let mut day = today - REACH_DAYS;
    for visit in visits {
        state.pass(visit.day() - day);
        day = visit.day();
        match visit.is_fraud().then(|| frauds.next()).flatten() {
            Some(fraud) => {
                let by_card = Chance::of_odds(by_card(CARD_CHANCE * CARD_DAYS as f64, ratio_of(fraud)));
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

    /// Advances by `days`. A compromised terminal can be compromised again.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::likelihood::{Cell, Usual};
    use super::super::purchase::{LOOKED_AT_MAX, Purchase, Stamp};
    use super::*;

    const NOW: i64 = 100 * DAY_S + DAY_S / 2;

    /// Times until now, oldest first, at most `days` days back, and whether each is a fraud's.
    fn events(days: i64, most: usize) -> impl Strategy<Value = Vec<(i64, bool)>> {
        let event = (NOW - days * DAY_S..=NOW, prop::bool::weighted(0.05));
        prop::collection::vec(event, 1..=most).prop_map(|mut events| {
            events.sort_unstable();
            events
        })
    }

    fn customer(events: &[(i64, bool)]) -> Customer {
        let mut customer = Customer::default();
        customer.purchases.extend(events.iter().enumerate().map(|(number, (time, fraud))| {
            let cents = 500 + 997 * number as i64 % 4_000;
            Purchase::new(
                Stamp::new(*time, *fraud),
                cents,
                Cell::of(cents, Some(Usual { cents: 1_000, count: 40 })),
            )
        }));
        customer
    }

    fn terminal(events: &[(i64, bool)]) -> Terminal {
        let mut terminal = Terminal::default();
        terminal.visits.extend(events.iter().map(|(time, fraud)| Stamp::new(*time, *fraud)));
        let frauds = events.iter().enumerate().filter(|(_, (_, fraud))| *fraud);
        terminal.frauds.extend(frauds.map(|(number, (time, _))| Fraud {
            time: *time,
            cents: number as i64,
            customer: 0,
        }));
        terminal
    }

    /// By the definition: for each day on which the misuse may have begun, how much likelier it makes all purchases since.
    fn by_each_day(customer: &Customer, likelihood: &Likelihood) -> f64 {
        let (last, before) = customer.purchases.split_last().expect("a purchase");
        let weight = |purchase: &Purchase| {
            let ratio = likelihood.at(purchase.cell());
            match (purchase.stamp.time() <= NOW - DELAY_S, purchase.stamp.is_fraud()) {
                (true, true) => CARD_SHARE * ratio / NOT_THE_CARDS + 1.0 - CARD_SHARE,
                (true, false) => 1.0 - CARD_SHARE,
                (false, _) => CARD_SHARE * ratio + 1.0 - CARD_SHARE,
            }
        };
        let today = NOW.div_euclid(DAY_S);
        let since = |day: i64| before.iter().filter(move |purchase| purchase.stamp.day() >= day).map(weight);
        let odds: f64 = (0..CARD_DAYS).map(|back| CARD_CHANCE * since(today - back).product::<f64>()).sum();
        Chance::of_odds(by_card(odds / (1.0 + odds), likelihood.at(last.cell()))).log_odds()
    }

    /// The log-odds of a terminal, and which frauds were looked at.
    fn suspected(terminal: &Terminal) -> (u64, Vec<i64>) {
        let known = terminal.visits.partition_point(|visit| visit.time() <= NOW - DELAY_S);
        let mut looked_at = Vec::new();
        let suspected = of_terminal(terminal, known, NOW, |fraud| {
            looked_at.push(fraud.time);
            1.0 + (fraud.time % 10) as f64
        });
        (suspected.log_odds.to_bits(), looked_at)
    }

    proptest! {
        #[test]
        fn a_card_is_suspected_by_all_of_its_purchases_of_14_days(events in events(20, 120)) {
            let (customer, likelihood) = (customer(&events), Likelihood::default());
            let found = Chance::of_odds(of_card(&customer, NOW, &likelihood)).log_odds();
            let expected = by_each_day(&customer, &likelihood);
            prop_assert!((found - expected).abs() <= 1e-9 * expected.abs(), "{found} {expected}");
        }

        /// However many there are: as many steps for each of 200,000 purchases would be hours.
        #[test]
        fn only_the_newest_purchases_of_a_card_are_looked_at(events in events(14, 3 * LOOKED_AT_MAX)) {
            let mut all = customer(&events);
            let found = of_card(&all, NOW, &Likelihood::default()).to_bits();
            let old = all.purchases.len().saturating_sub(LOOKED_AT_MAX + 1);
            all.purchases.drain(..old);
            prop_assert_eq!(of_card(&all, NOW, &Likelihood::default()).to_bits(), found);
        }

        #[test]
        fn only_the_newest_known_visits_of_a_terminal_are_looked_at(events in events(44, 3 * LOOKED_AT_MAX)) {
            let all = terminal(&events);
            let known = events.partition_point(|(time, _)| *time <= NOW - DELAY_S);
            let newest = terminal(&events[known.saturating_sub(LOOKED_AT_MAX)..]);
            let (log_odds, looked_at) = suspected(&all);
            prop_assert!(looked_at.len() <= LOOKED_AT_MAX);
            // A terminal without a known fraud has a table's log-odds, of which the filter's differ by some roundings.
            if !looked_at.is_empty() {
                prop_assert_eq!(suspected(&newest), (log_odds, looked_at));
            }
        }

        /// Each fraud is looked at with its own amount, where some visits of its second are no longer looked at.
        #[test]
        fn frauds_go_with_their_visits(events in events(44, 3 * LOOKED_AT_MAX)) {
            let (_, looked_at) = suspected(&terminal(&events));
            let known = &events[..events.partition_point(|(time, _)| *time <= NOW - DELAY_S)];
            let begin = (NOW.div_euclid(DAY_S) - REACH_DAYS + 1) * DAY_S;
            let newest = &known[known.len().saturating_sub(LOOKED_AT_MAX)..];
            let frauds = newest.iter().filter(|(time, fraud)| *fraud && *time >= begin).map(|(time, _)| *time);
            prop_assert_eq!(looked_at, frauds.collect::<Vec<_>>());
        }
    }
}
