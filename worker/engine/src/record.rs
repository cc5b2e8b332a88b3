//! The bytes of everything that is committed: chapters, parts, checkpoints, evaluations, the
//! report. One envelope for all, so that reading a file shows whether it is intact, or torn,
//! swapped or foreign.
//!
//! ```text
//! offset  size  what
//!      0     8  magic "BATCHREC"
//!      8     4  version of the format, little-endian
//!     12     4  kind, little-endian: 0 part, 1 rejected (content is the reason, UTF-8)
//!     16    32  place: hash of the name that it is committed under, inside its run
//!     48    32  parent: hash over everything that the content was made from
//!     80    32  hash of kind, place, parent, and the hash of kind and content
//!    112     8  length of the content, little-endian
//!    120     …  content, to the end of the file
//! ```

use crate::contract::FORMAT_VERSION;
use crate::hash::Hash;

const MAGIC: &[u8; 8] = b"BATCHREC";
const HEADER_BYTES: usize = 120;
const PLACE_AT: usize = 16;
const KIND_PART: u32 = 0;
const KIND_REJECTED: u32 = 1;

/// Whether the first bytes of a file are those of a rejection.
pub fn is_rejection(header: &[u8]) -> bool {
    header.starts_with(MAGIC) && header.get(12..16) == Some(&KIND_REJECTED.to_le_bytes())
}

/// How a stage of a dataset ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The stage's result.
    Part(Vec<u8>),
    /// The dataset can be read but its content cannot be used; the report shows the reason.
    Rejected(String),
}

/// A committed result and what it was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Hash over everything that it was made from.
    pub parent: Hash,
    /// What was made.
    pub outcome: Outcome,
    /// Of the outcome: taken once, since it is asked for again and again.
    hash: Hash,
}

/// Why bytes are no intact record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Short, or it does not match its hash: a write that a crash cut off, or another's bytes.
    #[error("torn: {0}")]
    Torn(&'static str),
    /// Whole, but of another version of the format.
    #[error("its format is version {0}, this worker reads {FORMAT_VERSION}")]
    Version(u32),
}

impl Record {
    /// A record of an outcome made from `parent`.
    pub fn new(parent: Hash, outcome: Outcome) -> Self {
        let (kind, content) = parts(&outcome);
        let hash = hash_of(kind, content);
        Self { parent, outcome, hash }
    }

    /// A record of a result.
    pub fn part(parent: Hash, content: Vec<u8>) -> Self {
        Self::new(parent, Outcome::Part(content))
    }

    /// Hash of kind and content: what checkpoints and windows name as their parents.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The bytes to commit under `place`, a name inside the run's folder (`prepared/3`).
    pub fn encode(&self, place: &str) -> Vec<u8> {
        let (kind, content) = parts(&self.outcome);
        let place = Hash::of(place.as_bytes());
        let mut bytes = Vec::with_capacity(HEADER_BYTES + content.len());
        bytes.extend(MAGIC);
        bytes.extend(FORMAT_VERSION.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(place.0);
        bytes.extend(self.parent.0);
        bytes.extend(seal_of(kind, place, self.parent, self.hash).0);
        bytes.extend((content.len() as u64).to_le_bytes());
        bytes.extend(content);
        bytes
    }

    /// # Errors
    /// Where the bytes are no intact record of this version.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, Damage> {
        Self::read(bytes, None)
    }

    /// Reads what lies under `place`, as [`Record::encode`] takes it.
    ///
    /// # Errors
    /// Where the bytes are no intact record of this version and of this place.
    pub fn decode_at(bytes: Vec<u8>, place: &str) -> Result<Self, Damage> {
        Self::read(bytes, Some(Hash::of(place.as_bytes())))
    }

    /// Whether bytes say that they were committed under `place`; nothing else of them is looked at.
    pub fn is_of(bytes: &[u8], place: &str) -> bool {
        bytes.get(PLACE_AT..PLACE_AT + 32) == Some(&Hash::of(place.as_bytes()).0[..])
    }

    fn read(mut bytes: Vec<u8>, expected: Option<Hash>) -> Result<Self, Damage> {
        let header = bytes.get(..HEADER_BYTES).ok_or(Damage::Torn("shorter than its header"))?;
        let word =
            |at: usize| header[at..at + 4].iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        let hash = |at: usize| {
            let mut hash = Hash::default();
            hash.0.copy_from_slice(&header[at..at + 32]);
            hash
        };
        if &header[..8] != MAGIC {
            return Err(Damage::Torn("it does not begin as a record"));
        }
        if word(8) != FORMAT_VERSION {
            return Err(Damage::Version(word(8)));
        }
        let (kind, place, parent, seal) = (word(12), hash(PLACE_AT), hash(48), hash(80));
        let length = u64::from(word(112)) | u64::from(word(116)) << 32;
        if length != (bytes.len() - HEADER_BYTES) as u64 {
            return Err(Damage::Torn("its length is not the one it states"));
        }
        let content = bytes.split_off(HEADER_BYTES);
        let hash = hash_of(kind, &content);
        if seal_of(kind, place, parent, hash) != seal {
            return Err(Damage::Torn("it does not match its hash"));
        }
        if expected.is_some_and(|expected| expected != place) {
            return Err(Damage::Torn("it belongs under another name"));
        }
        let outcome = match kind {
            KIND_PART => Outcome::Part(content),
            KIND_REJECTED => Outcome::Rejected(
                String::from_utf8(content).map_err(|_| Damage::Torn("its reason is no text"))?,
            ),
            _ => return Err(Damage::Torn("its kind is unknown")),
        };
        Ok(Self { parent, outcome, hash })
    }
}

fn parts(outcome: &Outcome) -> (u32, &[u8]) {
    match outcome {
        Outcome::Part(content) => (KIND_PART, content),
        Outcome::Rejected(reason) => (KIND_REJECTED, reason.as_bytes()),
    }
}

fn hash_of(kind: u32, content: &[u8]) -> Hash {
    Hash::of_fields([&kind.to_le_bytes()[..], content])
}

/// What holds a record together.
fn seal_of(kind: u32, place: Hash, parent: Hash, hash: Hash) -> Hash {
    Hash::of_fields([&kind.to_le_bytes()[..], &place.0, &parent.0, &hash.0])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records() -> impl Strategy<Value = Record> {
        let outcome = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200).prop_map(Outcome::Part),
            ".{0,40}".prop_map(Outcome::Rejected),
        ];
        (any::<[u8; 32]>(), outcome).prop_map(|(parent, outcome)| Record::new(Hash(parent), outcome))
    }

    proptest! {
        #[test]
        fn a_record_reads_back(record in records()) {
            let bytes = record.encode("prepared/3");
            prop_assert_eq!(is_rejection(&bytes), matches!(record.outcome, Outcome::Rejected(_)));
            prop_assert_eq!(Record::decode(bytes.clone()), Ok(record.clone()));
            prop_assert_eq!(Record::decode_at(bytes.clone(), "prepared/3"), Ok(record));
            prop_assert_eq!(
                Record::decode_at(bytes, "prepared/4"), Err(Damage::Torn("it belongs under another name"))
            );
        }

        #[test]
        fn a_truncated_or_flipped_record_is_damaged(record in records(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let whole = record.encode("report");
            let cut = at.index(whole.len());
            prop_assert!(Record::decode(whole[..cut].to_vec()).is_err());
            let mut flipped = whole;
            flipped[cut] ^= 1 << bit;
            prop_assert!(Record::decode(flipped).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Record::decode(bytes);
        }
    }
}
