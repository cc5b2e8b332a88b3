//! Why two results that should be equal are not: the first file and byte that differ, the member of it where the
//! file's format is known, and what users of that format's library do about it.
//!
//! It explains results that were compared already. Nothing here decides whether a run is void.

mod format;
mod inside;
mod zip;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use engine::contract::BLOCK_BYTES;
use engine::hash::Hash;

use super::tree::{Content as FileContent, Entry, Tree};
pub use format::Format;

/// Blocks that results refer to, by their hashes.
pub type Blocks = BTreeMap<Hash, Vec<u8>>;

/// Blocks that are read to look into two files, at most.
const COMPARED_MAX: usize = 16;

/// The first difference between two results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The first path, in order, that differs.
    pub path: String,
    pub kind: Kind,
}

/// What differs at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// One result has the path, the other has not.
    Missing { from_second: bool },
    /// A file in one, a folder or a link in the other.
    Type,
    /// The permission to execute.
    Executable,
    /// A link's target.
    Target(String, String),
    /// A file's content.
    Content(Box<Content>),
    /// The content of a file that is too large to be looked into: it differs from some byte on, in a block.
    Large { from: u64, bytes: [u64; 2] },
}

/// How the contents of two files differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The first byte that differs; the length of the shorter where one begins like the other.
    pub at: usize,
    /// Lengths of both.
    pub bytes: [u64; 2],
    pub format: Format,
    /// From the outside in: members, keys, values.
    pub inside: Vec<String>,
    /// What makes such files equal.
    pub hint: String,
}

impl Difference {
    /// Where two results differ; `None` where they are equal.
    pub fn of_trees(first: &Tree, second: &Tree, blocks: &Blocks) -> Option<Self> {
        let path = first_differing(first, second)?;
        let kind = match (first.entries.get(path), second.entries.get(path)) {
            (Some(Entry::File { content, .. }), Some(Entry::File { content: other, .. })) => {
                match content == other {
                    true => Kind::Executable,
                    false => Kind::of_contents(path, content, other, blocks),
                }
            }
            (Some(Entry::Link(one)), Some(Entry::Link(other))) => Kind::Target(one.clone(), other.clone()),
            (Some(_), Some(_)) => Kind::Type,
            (one, _) => Kind::Missing { from_second: one.is_some() },
        };
        Some(Self { path: path.clone(), kind })
    }

    /// Where two committed results differ; `None` where they are equal, or no trees.
    pub fn of_results(first: &[u8], second: &[u8], blocks: &Blocks) -> Option<Self> {
        Self::of_trees(&Tree::decode(first).ok()?, &Tree::decode(second).ok()?, blocks)
    }
}

fn first_differing<'t>(first: &'t Tree, second: &'t Tree) -> Option<&'t String> {
    let both = first.entries.keys().chain(second.entries.keys());
    both.filter(|path| first.entries.get(*path) != second.entries.get(*path)).min()
}

/// The blocks of the first file that differs; none where it is too large to be looked into.
pub fn blocks_to_compare(first: &[u8], second: &[u8]) -> Vec<Hash> {
    let (Ok(first), Ok(second)) = (Tree::decode(first), Tree::decode(second)) else { return Vec::new() };
    let Some(path) = first_differing(&first, &second) else { return Vec::new() };
    let mut blocks = BTreeSet::new();
    for entry in [first.entries.get(path), second.entries.get(path)] {
        let Some(Entry::File { content, .. }) = entry else { return Vec::new() };
        blocks.extend(content.blocks());
    }
    if blocks.len() > COMPARED_MAX { Vec::new() } else { blocks.into_iter().collect() }
}

/// All of a file, where its blocks are at hand.
fn whole<'c>(content: &'c FileContent, blocks: &Blocks) -> Option<Cow<'c, [u8]>> {
    match content {
        FileContent::Inline(content) => Some(Cow::Borrowed(content)),
        FileContent::Blocks { blocks: hashes, .. } => {
            let found: Option<Vec<&[u8]>> =
                hashes.iter().map(|hash| blocks.get(hash).map(Vec::as_slice)).collect();
            Some(Cow::Owned(found?.concat()))
        }
    }
}

/// The first byte of the first block that differs.
fn first_block(first: &FileContent, second: &FileContent) -> u64 {
    let same = first.blocks().iter().zip(second.blocks()).take_while(|(one, other)| one == other);
    same.count() as u64 * BLOCK_BYTES
}

impl Kind {
    fn of_contents(path: &str, first: &FileContent, second: &FileContent, blocks: &Blocks) -> Self {
        let bytes = [first.bytes(), second.bytes()];
        let (Some(first), Some(second)) = (whole(first, blocks), whole(second, blocks)) else {
            return Self::Large { from: first_block(first, second), bytes };
        };
        let (first, second) = (&*first, &*second);
        let format = Format::of(path, first, second);
        let found = inside::look(format, path, first, second);
        let hint = found.hint.unwrap_or_else(|| format.hint().to_owned());
        let at = first_difference(first, second);
        Self::Content(Box::new(Content { at, bytes, format, inside: found.path, hint }))
    }
}

/// The first byte that differs.
fn first_difference(first: &[u8], second: &[u8]) -> usize {
    let same = first.iter().zip(second).take_while(|(one, other)| one == other);
    same.count()
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.kind {
            Kind::Missing { from_second } => {
                let (has, lacks) = if *from_second { ("first", "second") } else { ("second", "first") };
                write!(
                    f,
                    "the {has} result has {path}, the {lacks} has not\nhint: give files names without times, process ids or random parts"
                )
            }
            Kind::Type => {
                write!(f, "{path} is a file, folder or link in one result and something else in the other")
            }
            Kind::Executable => write!(
                f,
                "{path} may be executed in one result and not in the other\nhint: set its permissions in the program"
            ),
            Kind::Target(one, other) => {
                write!(f, "the link {path} leads to {one} in one result and to {other} in the other")
            }
            Kind::Large { from, bytes: [one, other] } => write!(
                f,
                "{path} differs in the {} MiB from byte {from} on; it has {one} bytes in one result and {other} in \
                 the other\nhint: write several smaller files, or compare a command's output with sim check --digest",
                BLOCK_BYTES >> 20
            ),
            Kind::Content(content) => {
                let [one, other] = content.bytes;
                write!(f, "{path} differs at byte {}", content.at)?;
                match one == other {
                    true => write!(f, " of {one}")?,
                    false => write!(f, "; it has {one} bytes in one result and {other} in the other")?,
                }
                write!(f, "\n  {path} is {}", content.format.words())?;
                for inside in &content.inside {
                    write!(f, "\n  {inside}")?;
                }
                write!(f, "\nhint: {}", content.hint)
            }
        }
    }
}

#[cfg(test)]
mod tests;
