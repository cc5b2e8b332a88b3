//! Audits: a share of the items is done twice by one worker, one time right after the other, and a run in which the two results
//! differ is void. The share is chosen by name, so that every worker chooses the same.

use std::fmt;
use std::str::FromStr;

use crate::hash::Hash;
use crate::workload::{Step, Task};

/// Characters of a digest that are shown.
const SHOWN_MAX: usize = 200;

/// A digest for people, on one line.
pub fn shown(digest: &[u8]) -> String {
    let text = String::from_utf8_lossy(digest);
    let short: String = text.trim().chars().take(SHOWN_MAX).collect();
    let dots = if short.len() < text.trim().len() { "…" } else { "" };
    format!("`{}{dots}`", short.escape_debug())
}

/// A share of the items, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share(u32);

const WHOLE: u32 = 1_000_000;

impl Share {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// Whether the item that commits at this path is one of the share.
    pub fn takes(self, path: &str) -> bool {
        if self == Self::NONE {
            return false;
        }
        let [a, b, c, d, e, f, g, h, ..] = Hash::of_fields([&b"audit"[..], path.as_bytes()]).0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h]) % u64::from(WHOLE) < u64::from(self.0)
    }
}

impl FromStr for Share {
    type Err = String;

    /// As in `5%`, `0.5%` or `100%`.
    fn from_str(text: &str) -> Result<Self, String> {
        let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        match percent {
            Some(percent) if (0.0..=100.0).contains(&percent) => {
                Ok(Self((percent / 100.0 * f64::from(WHOLE)).round() as u32))
            }
            _ => Err(format!("`{text}` is no share: give one from 0% to 100%, such as 5%")),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) * 100.0 / f64::from(WHOLE))
    }
}

/// A task that starts over at each attempt: an audit goes on from nothing that was saved.
pub(crate) struct FromTheStart(pub Box<dyn Task>);

impl Task for FromTheStart {
    fn step(&mut self) -> Step {
        self.0.step()
    }

    fn give(&mut self, block: Vec<u8>) {
        self.0.give(block);
    }

    fn progress(&self) -> (u64, u64) {
        self.0.progress()
    }

    fn stop(&mut self) -> bool {
        self.0.stop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_shown_and_takes_about_as_many() {
        for text in ["0%", "5%", "0.5%", "33.3%", "100%"] {
            let share: Share = text.parse().unwrap();
            assert_eq!(share.to_string(), text);
        }
        for wrong in ["5", "-1%", "101%", "NaN%", "%", "five%"] {
            assert!(wrong.parse::<Share>().unwrap_err().contains("such as 5%"), "{wrong}");
        }
        let taken = |text: &str| {
            let share: Share = text.parse().unwrap();
            (0..10_000).filter(|index| share.takes(&format!("runs/1/trained/{index}"))).count()
        };
        assert_eq!((taken("0%"), taken("100%")), (0, 10_000));
        assert!((400..600).contains(&taken("5%")), "{}", taken("5%"));
    }
}
