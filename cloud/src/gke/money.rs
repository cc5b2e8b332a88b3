//! Dollars as whole billionths, so that sums are exact and their order does not matter.

use std::fmt;
use std::ops::{Add, AddAssign};
use std::str::FromStr;

const NANOS: u128 = 1_000_000_000;

/// An amount in US dollars, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money {
    nanos: u128,
}

impl Money {
    pub const ZERO: Self = Self { nanos: 0 };

    /// An amount of billionths of a dollar.
    pub const fn of_nanos(nanos: u128) -> Self {
        Self { nanos }
    }

    /// `self * times / parts`, rounded down to a billionth. Saturates.
    pub fn scaled(self, times: u128, parts: u128) -> Self {
        Self { nanos: self.nanos.saturating_mul(times) / parts.max(1) }
    }

    /// How many seconds `most` lasts at this much an hour.
    pub fn seconds_for(self, most: Self) -> u64 {
        let seconds = most.nanos.saturating_mul(3600) / self.nanos.max(1);
        seconds.try_into().unwrap_or(u64::MAX)
    }

    /// For programs: all digits, no sign of the currency.
    pub fn exact(self) -> String {
        let text = format!("{}.{:09}", self.nanos / NANOS, self.nanos % NANOS);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

impl Add for Money {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { nanos: self.nanos.saturating_add(other.nanos) }
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Not an amount of dollars: digits with at most nine decimals, as in `0.0445`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read `{0}` as dollars: give digits with at most nine decimals, as in 0.0445")]
pub struct NotMoney(String);

impl FromStr for Money {
    type Err = NotMoney;

    fn from_str(text: &str) -> Result<Self, NotMoney> {
        let bad = || NotMoney(text.to_owned());
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > 9 || whole.len() > 12 {
            return Err(bad());
        }
        let whole: u128 = whole.parse().map_err(|_| bad())?;
        let decimals: u128 = format!("{decimals:0<9}").parse().map_err(|_| bad())?;
        Ok(Self { nanos: whole * NANOS + decimals })
    }
}

impl fmt::Display for Money {
    /// Cents; four decimals below ten cents, where cents would say nothing, and six where four would.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = match self.nanos {
            0 => 2,
            few if few < NANOS / 20_000 => 6,
            some if some < NANOS / 10 => 4,
            _ => 2,
        };
        let unit = NANOS / 10_u128.pow(decimals);
        let rounded = (self.nanos + unit / 2) / unit;
        let scale = 10_u128.pow(decimals);
        write!(f, "${}.{:0width$}", rounded / scale, rounded % scale, width = decimals as usize)
    }
}

/// An amount known to lie between two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    pub low: Money,
    pub high: Money,
}

impl Range {
    /// Both ends, `times / parts` of them.
    pub fn scaled(self, times: u128, parts: u128) -> Self {
        Self { low: self.low.scaled(times, parts), high: self.high.scaled(times, parts) }
    }

    /// Between the lower percentage of the lower end and the higher one of the higher.
    pub fn percent(self, of: Self) -> Self {
        let part = |amount: Money, percent: Money| amount.scaled(percent.nanos, 100 * NANOS);
        Self { low: part(self.low, of.low), high: part(self.high, of.high) }
    }
}

impl Add for Range {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { low: self.low + other.low, high: self.high + other.high }
    }
}

impl AddAssign for Range {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = (self.low.to_string(), self.high.to_string());
        if low == high { f.write_str(&low) } else { write!(f, "{low} to {high}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shows_cents_and_small_amounts() {
        for (text, shown) in [
            ("0", "$0.00"),
            ("0.0445", "$0.0445"),
            ("74.4", "$74.40"),
            ("0.099999", "$0.1000"),
            ("0.0000274", "$0.000027"),
        ] {
            assert_eq!(text.parse::<Money>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn refuses_what_is_no_amount() {
        for text in ["", ".", "-1", "1,5", "0.1234567890", "1e3", "9999999999999"] {
            assert!(text.parse::<Money>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reading_is_exact(whole in 0_u64..1_000_000, nanos in 0_u64..1_000_000_000) {
            let read: Money = format!("{whole}.{nanos:09}").parse().unwrap();
            prop_assert_eq!(read.nanos, u128::from(whole) * NANOS + u128::from(nanos));
            prop_assert_eq!(read.exact().parse::<Money>().unwrap(), read);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = text.parse::<Money>();
        }
    }
}
