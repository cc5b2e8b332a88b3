//! What a queue hands out: a rank and a name. What they stand for is the pipeline's affair
//! ([`crate::pipeline`]); to a queue they are an order and a key.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// The name of an item: `prepare/3`, `report`. Short, so that it is copied and never allocated: 1 to
/// [`Name::BYTES_MAX`] bytes of printable ASCII without blanks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Name {
    bytes: [u8; Self::BYTES_MAX],
    length: u8,
}

impl Name {
    /// Longest name, in bytes.
    pub const BYTES_MAX: usize = 31;
    /// Longest name of a dataset's step, so that every index fits.
    const STEP_BYTES_MAX: usize = Self::BYTES_MAX - "/4294967295".len();

    /// The name of a step of the whole run, known when compiling.
    ///
    /// # Panics
    /// When compiling, where the text is no name.
    pub const fn constant(text: &str) -> Self {
        match Self::read(text.as_bytes()) {
            Some(name) => name,
            None => panic!("an item's name has 1 to 31 bytes of printable ASCII without blanks"),
        }
    }

    /// `step/index`; a step's name that leaves no room for an index is cut.
    pub fn of(step: &str, index: u32) -> Self {
        let mut name = Self { bytes: [0; Self::BYTES_MAX], length: 0 };
        for byte in step.bytes().take(Self::STEP_BYTES_MAX) {
            name.push(byte);
        }
        name.push(b'/');
        let mut divisor = 1_000_000_000;
        while divisor > 1 && index < divisor {
            divisor /= 10;
        }
        while divisor > 0 {
            name.push(b'0' + (index / divisor % 10) as u8);
            divisor /= 10;
        }
        name
    }

    fn push(&mut self, byte: u8) {
        self.bytes[usize::from(self.length)] = byte;
        self.length += 1;
    }

    const fn read(text: &[u8]) -> Option<Self> {
        if text.is_empty() || text.len() > Self::BYTES_MAX {
            return None;
        }
        let mut bytes = [0; Self::BYTES_MAX];
        let mut at = 0;
        while at < text.len() {
            if !text[at].is_ascii_graphic() {
                return None;
            }
            bytes[at] = text[at];
            at += 1;
        }
        Some(Self { bytes, length: text.len() as u8 })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        // Only ASCII is ever taken in.
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }

    /// The step: what comes before the slash.
    pub fn step(&self) -> &str {
        let text = &self.bytes[..usize::from(self.length)];
        let end = text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
        std::str::from_utf8(&text[..end]).unwrap_or_default()
    }

    /// Whether the step has this name, which has no slash in it.
    pub fn has_step(&self, step: &str) -> bool {
        let text = &self.bytes[..usize::from(self.length)];
        text.strip_prefix(step.as_bytes()).is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/'))
    }

    /// The dataset's index, where the step is one of a dataset; written as [`Name::of`] writes it.
    pub fn index(&self) -> Option<u32> {
        let text = &self.bytes[..usize::from(self.length)];
        let slash = text.iter().position(|byte| *byte == b'/')?;
        let digits = &text[slash + 1..];
        let is_plain = digits.first().is_some_and(|digit| *digit != b'0' || digits.len() == 1);
        if !is_plain || slash > Self::STEP_BYTES_MAX {
            return None;
        }
        digits.iter().try_fold(0u32, |index, digit| {
            let digit = digit.is_ascii_digit().then(|| u32::from(digit - b'0'))?;
            index.checked_mul(10)?.checked_add(digit)
        })
    }

    /// The name as a part of a file's name: `prepare.3`.
    pub fn file_name(&self) -> String {
        self.as_str().replace('/', ".")
    }

    /// The name that a part of a file's name stands for.
    pub fn of_file_name(text: &str) -> Option<Self> {
        match text.rsplit_once('.') {
            Some((step, index)) => Self::read(format!("{step}/{index}").as_bytes()),
            None => Self::read(text.as_bytes()),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl TryFrom<&[u8]> for Name {
    type Error = String;

    fn try_from(text: &[u8]) -> Result<Self, String> {
        Self::read(text).ok_or_else(|| format!("`{}` is no name of an item", text.escape_ascii()))
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::try_from(text.as_bytes())
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.as_str().to_owned()
    }
}

/// What a queue hands out: the lowest rank first. Ranks tell the items of a run apart, as names do, and
/// stay below 2^53, so that they are exact as Redis scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Item {
    /// Below 2^53, so that Redis's scores are exact.
    pub rank: u64,
    /// What it is called: `prepare/7`, `fold`.
    pub name: Name,
}

impl Item {
    /// Commit the manifest's first page. The one item that exists before a run does.
    pub const BEGIN: Self = Self { rank: 0, name: Name::constant("begin") };
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_datasets_name_reads_back(step in "[a-z]{1,20}", index: u32) {
            let name = Name::of(&step, index);
            prop_assert_eq!(name.as_str(), format!("{step}/{index}"));
            prop_assert_eq!((name.step(), name.index()), (step.as_str(), Some(index)));
            prop_assert!(name.has_step(&step) && !name.has_step(&step[1..]));
            prop_assert_eq!(Name::try_from(name.to_string()), Ok(name));
        }

        #[test]
        fn other_indices_are_none(digits in "0[0-9]{1,3}|[+-][0-9]|[0-9]{11,12}|429496729[6-9]|[0-9]/[0-9]|[a-z]?") {
            prop_assert_eq!(Name::try_from(format!("prepare/{digits}")).ok().and_then(|name| name.index()), None);
        }

        #[test]
        fn a_name_is_printable_and_short(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let plain = !bytes.is_empty() && bytes.len() <= Name::BYTES_MAX && bytes.iter().all(u8::is_ascii_graphic);
            let name = Name::try_from(&bytes[..]);
            prop_assert_eq!(name.is_ok(), plain);
            if let Ok(name) = name {
                prop_assert_eq!(name.as_str().as_bytes(), &bytes[..]);
            }
        }
    }
}
