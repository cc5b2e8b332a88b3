//! Times and shares as a person types them: `300ms`, `1.5s`, `2m`; `0.3`, `30%`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A span of time with its unit, whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span {
    pub ms: u64,
}

/// Longest span taken: ten days. Sums of a few of them are far from overflow.
pub const SPAN_MS_MAX: u64 = 10 * 24 * 3_600_000;

impl Span {
    pub const fn ms(ms: u64) -> Self {
        Self { ms }
    }

    pub fn duration(self) -> Duration {
        Duration::from_millis(self.ms)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hint = "give a number and its unit, such as 300ms, 1.5s or 2m";
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: f64 = number.parse().map_err(|_| format!("`{text}` is no time: {hint}"))?;
        let unit_ms = match unit {
            "ms" => 1.0,
            "s" => 1_000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            "" if number == 0.0 => 1.0,
            "" => return Err(format!("`{text}` has no unit: {hint}")),
            _ => return Err(format!("`{unit}` is no unit of time: {hint}")),
        };
        let ms = (number * unit_ms).round();
        if ms > SPAN_MS_MAX as f64 {
            return Err(format!("`{text}` is longer than ten days"));
        }
        if ms == 0.0 && number > 0.0 {
            return Err(format!("`{text}` is shorter than a millisecond"));
        }
        Ok(Self { ms: ms as u64 })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ms {
            0 => f.write_str("0s"),
            ms if ms % 60_000 == 0 => write!(f, "{}m", ms / 60_000),
            ms if ms % 1_000 == 0 => write!(f, "{}s", ms / 1_000),
            ms => write!(f, "{ms}ms"),
        }
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

/// A span that is not zero.
pub fn positive(text: &str) -> Result<Span, String> {
    let span: Span = text.parse()?;
    if span.ms == 0 {
        return Err("it must be longer than nothing".to_owned());
    }
    Ok(span)
}

/// A share between 0 and 1, also as `30%`.
pub fn share(text: &str) -> Result<f64, String> {
    let (number, scale) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let value = number.parse::<f64>().map(|number| number / scale);
    match value {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err(format!("`{text}` is no share: give 0 to 1, or 0% to 100%")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_need_a_unit() {
        assert_eq!("1.5s".parse(), Ok(Span::ms(1_500)));
        assert_eq!("2m".parse(), Ok(Span::ms(120_000)));
        assert_eq!("0".parse(), Ok(Span::ms(0)));
        for bad in ["", "5", "s", "-1s", "1 s", "1d", "1..5s", "NaN", "inf", "1e3s", "0.2ms", "900000h"] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn shares_lie_between_nothing_and_all() {
        assert_eq!(share("30%"), Ok(0.3));
        assert_eq!(share("1"), Ok(1.0));
        for bad in ["", "1.1", "-0.1", "110%", "NaN", "x"] {
            assert!(share(bad).is_err(), "{bad:?} was taken");
        }
    }

    proptest! {
        #[test]
        fn a_spans_text_reads_back(ms in 0..SPAN_MS_MAX) {
            prop_assert_eq!(Span::ms(ms).to_string().parse(), Ok(Span::ms(ms)));
        }
    }
}
