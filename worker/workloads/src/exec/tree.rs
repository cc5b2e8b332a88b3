//! A folder as a record: what a program left in its output folder, as one result that is committed whole. Small files
//! are in it; of larger ones it has the blocks' hashes, and the blocks lie beside the commits. The same files give the
//! same bytes, whatever made them and in whatever order.
//!
//! ```text
//! magic "BATCHTRE", version u32, number of entries u32, little-endian; then each entry, by path:
//!   kind u8: 0 file, 1 executable file, 2 folder, 3 symbolic link, 4 large file, 5 large executable file
//!   length of the path u32, path
//!   large files: size u64, number of blocks u32, the blocks' hashes
//!   others: length of the content u64, content (of a link its target)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

use engine::contract::BLOCK_BYTES;
use engine::hash::Hash;

const MAGIC: &[u8; 8] = b"BATCHTRE";
const VERSION: u32 = 2;
/// Bytes of one result, at most.
pub const BYTES_MAX: u64 = 1 << 40;
/// Entries of one result, at most.
pub const ENTRIES_MAX: usize = 100_000;
/// A file of more bytes is stored as blocks.
pub const INLINE_MAX: u64 = 256 << 10;
/// Once the files before it, by path, have this many bytes in the record, a file is stored as blocks.
pub const INLINE_TOTAL_MAX: u64 = 4 << 20;
/// Owner's permission to execute.
pub(super) const EXECUTABLE: u32 = 0o100;

/// One file, folder or link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    File {
        executable: bool,
        content: Content,
    },
    Folder,
    /// The target, relative to the link.
    Link(String),
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Inline(Vec<u8>),
    /// Blocks of [`BLOCK_BYTES`], the last may be shorter.
    Blocks {
        bytes: u64,
        blocks: Vec<Hash>,
    },
}

impl Content {
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Inline(content) => content.len() as u64,
            Self::Blocks { bytes, .. } => *bytes,
        }
    }

    /// The hashes of its blocks; none where it is in the record.
    pub fn blocks(&self) -> &[Hash] {
        match self {
            Self::Inline(_) => &[],
            Self::Blocks { blocks, .. } => blocks,
        }
    }
}

/// Entries by their path, relative, with `/`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    pub entries: BTreeMap<String, Entry>,
}

impl Tree {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        // At most `ENTRIES_MAX`.
        bytes.extend((self.entries.len() as u32).to_le_bytes());
        for (path, entry) in &self.entries {
            let kind: u8 = match entry {
                Entry::File { executable, content: Content::Inline(_) } => u8::from(*executable),
                Entry::Folder => 2,
                Entry::Link(_) => 3,
                Entry::File { executable, content: Content::Blocks { .. } } => 4 + u8::from(*executable),
            };
            bytes.push(kind);
            bytes.extend((path.len() as u32).to_le_bytes());
            bytes.extend(path.as_bytes());
            match entry {
                Entry::File { content: Content::Blocks { bytes: size, blocks }, .. } => {
                    bytes.extend(size.to_le_bytes());
                    // A block has 8 MiB, a result one TiB at most.
                    bytes.extend((blocks.len() as u32).to_le_bytes());
                    blocks.iter().for_each(|block| bytes.extend(block.0));
                }
                Entry::File { content: Content::Inline(content), .. } => extend(&mut bytes, content),
                Entry::Link(target) => extend(&mut bytes, target.as_bytes()),
                Entry::Folder => extend(&mut bytes, b""),
            }
        }
        bytes
    }

    /// # Errors
    /// In words, where the bytes are no tree.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        Reader(bytes).tree().ok_or_else(|| "it is no folder's content".to_owned())
    }

    /// The files alone, by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Content)> {
        self.entries.iter().filter_map(|(path, entry)| match entry {
            Entry::File { content, .. } => Some((path.as_str(), content)),
            Entry::Folder | Entry::Link(_) => None,
        })
    }

    /// The number of files, and their bytes together.
    pub fn size(&self) -> (usize, u64) {
        self.files().fold((0, 0), |(files, bytes), (_, content)| (files + 1, bytes + content.bytes()))
    }

    /// The blocks that it refers to, each once.
    pub fn blocks(&self) -> BTreeSet<Hash> {
        self.files().flat_map(|(_, content)| content.blocks().iter().copied()).collect()
    }
}

fn extend(bytes: &mut Vec<u8>, content: &[u8]) {
    bytes.extend((content.len() as u64).to_le_bytes());
    bytes.extend(content);
}

/// What tells whether an entry has changed: size, time of the last change, inode.
pub type Stamp = (u64, i64, i64, u64);

/// Entries by path, with their stamps.
pub type Stamps = BTreeMap<String, Stamp>;

/// Every entry below a folder that `takes` takes, by its path, with its stamp.
///
/// # Errors
/// In words: a name that is no UTF-8, too many entries, a folder that cannot be read.
pub fn stamps(folder: &Path, takes: impl Fn(&str) -> bool) -> Result<Stamps, String> {
    let mut stamps = BTreeMap::new();
    let mut folders = vec![String::new()];
    while let Some(inside) = folders.pop() {
        let unreadable = |error: std::io::Error| format!("read the folder {inside}: {error}");
        for entry in fs::read_dir(folder.join(&inside)).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().into_string();
            let name = name.map_err(|name| format!("{}: the name is no UTF-8", name.display()))?;
            let path = if inside.is_empty() { name } else { format!("{inside}/{name}") };
            let meta = match fs::symlink_metadata(entry.path()) {
                // The entry was removed while the folder was read: the next read will differ.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                meta => meta.map_err(|error| format!("read {path}: {error}"))?,
            };
            if meta.is_dir() {
                folders.push(path.clone());
            }
            let size = if meta.is_file() { meta.len() } else { 0 };
            let changed = if meta.is_dir() { (0, 0) } else { (meta.mtime(), meta.mtime_nsec()) };
            stamps.insert(path, (size, changed.0, changed.1, meta.ino()));
            if stamps.len() > ENTRIES_MAX {
                return Err(format!("more than {ENTRIES_MAX} files and folders"));
            }
        }
    }
    stamps.retain(|path, _| takes(path));
    Ok(stamps)
}

/// The target of a link, where it stays inside the folder.
pub(super) fn inner_target(path: &str, target: &Path) -> Result<String, String> {
    let mut depth = path.matches('/').count();
    for component in target.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return Err(format!("the link {path} leads out of the folder")),
        }
    }
    target.to_str().map(str::to_owned).ok_or_else(|| format!("the target of the link {path} is no UTF-8"))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn word(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        let length = self.word()?;
        String::from_utf8(self.take(u64::from(length))?.to_vec()).ok()
    }

    fn blocks(&mut self, bytes: u64) -> Option<Content> {
        let count = self.word()?;
        let hashes = self.take(u64::from(count) * 32)?;
        let blocks = hashes.chunks_exact(32).filter_map(|hash| Some(Hash(hash.try_into().ok()?))).collect();
        (u64::from(count) == bytes.div_ceil(BLOCK_BYTES)).then_some(Content::Blocks { bytes, blocks })
    }

    fn tree(&mut self) -> Option<Tree> {
        if self.take(8)? != MAGIC || self.word()? != VERSION {
            return None;
        }
        let count = self.word()?;
        let mut tree = Tree::default();
        for _ in 0..count {
            let kind = self.take(1)?[0];
            let path = self.text()?;
            let length = u64::from_le_bytes(self.take(8)?.try_into().ok()?);
            let inside = Path::new(&path).components().all(|part| matches!(part, Component::Normal(_)));
            let follows = tree.entries.last_key_value().is_none_or(|(last, _)| *last < path);
            if path.is_empty() || !inside || !follows {
                return None;
            }
            let entry = match kind {
                0 | 1 => Entry::File {
                    executable: kind == 1,
                    content: Content::Inline(self.take(length)?.to_vec()),
                },
                2 if length == 0 => Entry::Folder,
                3 => {
                    let target = std::str::from_utf8(self.take(length)?).ok()?;
                    Entry::Link(inner_target(&path, Path::new(target)).ok()?)
                }
                4 | 5 => Entry::File { executable: kind == 5, content: self.blocks(length)? },
                _ => return None,
            };
            tree.entries.insert(path, entry);
        }
        self.0.is_empty().then_some(tree)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Trees as a program may leave them, without large files.
    pub fn trees() -> impl Strategy<Value = Tree> {
        let content = prop::collection::vec(any::<u8>(), 0..50);
        let file = (any::<bool>(), content)
            .prop_map(|(executable, content)| Entry::File { executable, content: Content::Inline(content) });
        let entry = prop_oneof![4 => file, 1 => Just(Entry::Folder), 1 => Just(Entry::Link("x".to_owned()))];
        // Folders that hold something are entries too.
        prop::collection::btree_map("[a-c]{1,3}(/[d-e]{1,2})?", entry, 0..8).prop_map(|mut entries| {
            let parents: Vec<String> = entries
                .keys()
                .filter_map(|path| path.split_once('/'))
                .map(|(parent, _)| parent.to_owned())
                .collect();
            for parent in parents {
                entries.insert(parent, Entry::Folder);
            }
            Tree { entries }
        })
    }

    fn with_large() -> impl Strategy<Value = Tree> {
        let large =
            (any::<bool>(), 1..3 * BLOCK_BYTES, any::<[u8; 32]>()).prop_map(|(executable, bytes, hash)| {
                let blocks = vec![Hash(hash); bytes.div_ceil(BLOCK_BYTES) as usize];
                Entry::File { executable, content: Content::Blocks { bytes, blocks } }
            });
        (trees(), prop::option::of(large)).prop_map(|(mut tree, large)| {
            tree.entries.extend(large.map(|large| ("large".to_owned(), large)));
            tree
        })
    }

    proptest! {
        #[test]
        fn a_tree_reads_back(tree in with_large()) {
            prop_assert_eq!(Tree::decode(&tree.encode()), Ok(tree));
        }

        #[test]
        fn cut_bytes_are_no_tree(tree in with_large(), at in any::<prop::sample::Index>()) {
            let bytes = tree.encode();
            prop_assert!(Tree::decode(&bytes[..at.index(bytes.len())]).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Tree::decode(&[MAGIC.as_slice(), &VERSION.to_le_bytes(), &bytes].concat());
        }
    }

    #[test]
    fn paths_that_lead_out_of_the_folder_are_refused() {
        for path in ["../a", "/a", "a/../b", "./a"] {
            let tree = Tree { entries: BTreeMap::from([(path.to_owned(), Entry::Folder)]) };
            assert!(Tree::decode(&tree.encode()).is_err(), "{path} was read");
        }
    }
}
