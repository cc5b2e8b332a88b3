//! The one hash of the project: BLAKE3, of contents, of parents, of the ordered datasets.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Fields that take at most this number of bytes, with their lengths, are hashed in one call.
const SHORT_BYTES: usize = 512;

/// A BLAKE3 digest; text form is 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The hash of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).into())
    }

    /// Hash of several fields, each preceded by its length, so that no two lists of fields
    /// run together into the same bytes.
    pub fn of_fields<'a>(fields: impl IntoIterator<Item = &'a [u8]>) -> Self {
        // Most lists of fields are short, and a hasher is 2 KB to set up.
        let mut short = [0; SHORT_BYTES];
        let mut used = 0;
        let mut hasher: Option<blake3::Hasher> = None;
        for field in fields {
            let length = (field.len() as u64).to_le_bytes();
            let end = used + length.len() + field.len();
            match &mut hasher {
                None if end <= SHORT_BYTES => {
                    let (before, after) = short[used..end].split_at_mut(length.len());
                    before.copy_from_slice(&length);
                    after.copy_from_slice(field);
                    used = end;
                }
                long => {
                    let hasher = long.get_or_insert_with(|| {
                        let mut hasher = blake3::Hasher::new();
                        hasher.update(&short[..used]);
                        hasher
                    });
                    hasher.update(&length);
                    hasher.update(field);
                }
            }
        }
        hasher.map_or_else(|| Self::of(&short[..used]), |hasher| Self(hasher.finalize().into()))
    }

    /// Reads the text form; `None` where it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// The first 12 digits: enough for a person to tell two apart.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

/// Hands on the 64 digits of a hash; they need no allocation.
fn with_digits<T>(hash: &Hash, give: impl FnOnce(&str) -> T) -> T {
    let mut digits = [b'0'; 64];
    // Twice as many digits as bytes fit, and are ASCII.
    let _ = hex::encode_to_slice(hash.0, &mut digits);
    give(std::str::from_utf8(&digits).unwrap_or_default())
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_digits(self, |digits| f.write_str(digits))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        with_digits(self, |digits| serializer.serialize_str(digits))
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl serde::de::Visitor<'_> for Digits {
            type Value = Hash;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a hash of 64 hexadecimal digits")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Hash, E> {
                Hash::parse(text).ok_or_else(|| E::custom("a hash is 64 hexadecimal digits"))
            }
        }
        deserializer.deserialize_str(Digits)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fields_are_hashed_alike_however_long_they_are(lengths in prop::collection::vec(0..400usize, 0..6)) {
            let fields: Vec<Vec<u8>> = lengths.iter().map(|length| vec![7; *length]).collect();
            let mut hasher = blake3::Hasher::new();
            for field in &fields {
                hasher.update(&(field.len() as u64).to_le_bytes()).update(field);
            }
            let hash = Hash::of_fields(fields.iter().map(Vec::as_slice));
            prop_assert_eq!(hash, Hash(hasher.finalize().into()));
            prop_assert_eq!(Hash::parse(&hash.to_string()), Some(hash));
        }
    }
}
