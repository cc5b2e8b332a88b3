//! From a folder to a [`Tree`], step by step: each large file is read a block at a time, so that memory stays bounded.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::vec;

use engine::contract::BLOCK_BYTES;
use engine::hash::Hash;

use super::tree::{
    BYTES_MAX, Content, EXECUTABLE, Entry, INLINE_MAX, INLINE_TOTAL_MAX, Stamps, Tree, inner_target, stamps,
};

/// What a step of reading a folder came to.
#[derive(Debug)]
pub enum Collected {
    /// A block that the tree will refer to.
    Block(Vec<u8>),
    Tree(Tree),
    /// The folder changed on the way.
    Changed,
}

/// How many bytes of files a tree may hold itself.
#[derive(Debug, Clone, Copy)]
pub struct Inline {
    /// Of one file.
    file: u64,
    /// Of all files.
    total: u64,
    /// Bytes of the tree, at most.
    most: u64,
}

impl Inline {
    /// Of a result: the same files always give the same tree.
    pub const RESULT: Self = Self { file: INLINE_MAX, total: INLINE_TOTAL_MAX, most: BYTES_MAX };
}

/// A folder that must not change while it is read.
#[derive(Debug)]
pub struct Collecting {
    folder: PathBuf,
    before: Stamps,
    takes: fn(&str) -> bool,
    paths: vec::IntoIter<String>,
    inline: Inline,
    inline_left: u64,
    left: u64,
    tree: Tree,
    large: Option<Large>,
}

/// A file that is stored as blocks.
#[derive(Debug)]
struct Large {
    path: String,
    file: fs::File,
    executable: bool,
    bytes: u64,
    read: u64,
    blocks: Vec<Hash>,
}

/// What one path gives.
enum Found {
    Entry(Entry),
    Large(Large),
    Changed,
}

impl Collecting {
    /// Of a folder with these stamps, which [`stamps`] gave, of the paths that `takes` takes.
    pub fn of(folder: &Path, before: Stamps, takes: fn(&str) -> bool, inline: Inline) -> Self {
        let paths: Vec<String> = before.keys().cloned().collect();
        Self {
            folder: folder.to_owned(),
            before,
            takes,
            paths: paths.into_iter(),
            inline,
            inline_left: inline.total,
            left: inline.most,
            tree: Tree::default(),
            large: None,
        }
    }

    /// Of a whole folder.
    ///
    /// # Errors
    /// As [`stamps`].
    pub fn all(folder: &Path, inline: Inline) -> Result<Self, String> {
        let takes = |_: &str| true;
        Ok(Self::of(folder, stamps(folder, takes)?, takes, inline))
    }

    /// The stamps of what is read.
    pub fn stamps(&self) -> &Stamps {
        &self.before
    }

    /// Goes on until there is a block to be stored, or the end.
    ///
    /// # Errors
    /// In words, where something in the folder cannot be part of a result.
    pub fn step(&mut self) -> Result<Collected, String> {
        loop {
            if let Some(mut large) = self.large.take() {
                match large.block()? {
                    Some(block) => {
                        self.large = Some(large);
                        return Ok(Collected::Block(block));
                    }
                    None if large.read == large.bytes => {
                        let content = Content::Blocks { bytes: large.bytes, blocks: large.blocks };
                        let entry = Entry::File { executable: large.executable, content };
                        self.tree.entries.insert(large.path, entry);
                    }
                    None => return Ok(Collected::Changed),
                }
            }
            let Some(path) = self.paths.next() else { break };
            match self.find(&path)? {
                Found::Entry(entry) => {
                    self.tree.entries.insert(path, entry);
                }
                Found::Large(large) => self.large = Some(large),
                Found::Changed => return Ok(Collected::Changed),
            }
        }
        if stamps(&self.folder, self.takes)? != self.before {
            return Ok(Collected::Changed);
        }
        Ok(Collected::Tree(std::mem::take(&mut self.tree)))
    }

    /// What lies at a path, which [`stamps`] has found; a small file with its content.
    fn find(&mut self, path: &str) -> Result<Found, String> {
        let full = self.folder.join(path);
        let meta = match fs::symlink_metadata(&full) {
            Ok(meta) => meta,
            Err(error) => return changed_or_failed(path, &error),
        };
        if meta.is_dir() {
            Ok(Found::Entry(Entry::Folder))
        } else if meta.is_symlink() {
            match fs::read_link(&full) {
                Ok(target) => inner_target(path, &target).map(|target| Found::Entry(Entry::Link(target))),
                Err(error) => changed_or_failed(path, &error),
            }
        } else if meta.is_file() {
            self.open(path, &full, &meta)
        } else {
            Err(format!("{path} is no file, folder or symbolic link"))
        }
    }

    /// Reads a small file; opens one that is stored as blocks.
    fn open(&mut self, path: &str, full: &Path, meta: &fs::Metadata) -> Result<Found, String> {
        let bytes = meta.len();
        let Some(left) = self.left.checked_sub(bytes) else {
            return Err(format!("{path}: more than {} in all", size(self.inline.most)));
        };
        self.left = left;
        let executable = meta.mode() & EXECUTABLE != 0;
        let file = match fs::File::open(full) {
            Ok(file) => file,
            Err(error) => return changed_or_failed(path, &error),
        };
        if bytes > self.inline.file.min(self.inline_left) {
            let path = path.to_owned();
            return Ok(Found::Large(Large { path, file, executable, bytes, read: 0, blocks: Vec::new() }));
        }
        let mut content = Vec::new();
        if let Err(error) = file.take(bytes + 1).read_to_end(&mut content) {
            return changed_or_failed(path, &error);
        }
        if content.len() as u64 != bytes {
            return Ok(Found::Changed);
        }
        self.inline_left -= bytes;
        Ok(Found::Entry(Entry::File { executable, content: Content::Inline(content) }))
    }
}

/// What a failure to read means: a file that is gone was there before.
fn changed_or_failed(path: &str, error: &std::io::Error) -> Result<Found, String> {
    match error.kind() {
        std::io::ErrorKind::NotFound => Ok(Found::Changed),
        _ => Err(format!("read {path}: {error}")),
    }
}

impl Large {
    /// The next block; `None` at the end.
    fn block(&mut self) -> Result<Option<Vec<u8>>, String> {
        // A file that grows on the way is read one byte too far.
        let most = BLOCK_BYTES.min(self.bytes + 1 - self.read.min(self.bytes + 1));
        let mut block = Vec::with_capacity(usize::try_from(most).unwrap_or_default());
        let read = (&mut self.file).take(most).read_to_end(&mut block);
        read.map_err(|error| format!("read {}: {error}", self.path))?;
        if block.is_empty() {
            return Ok(None);
        }
        self.read += block.len() as u64;
        self.blocks.push(Hash::of(&block));
        Ok(Some(block))
    }
}

/// As in `512 MiB`.
fn size(bytes: u64) -> String {
    match bytes >> 20 {
        mib if mib >= 1 << 20 => format!("{} TiB", mib >> 20),
        mib if mib >= 1 << 10 => format!("{} GiB", mib >> 10),
        mib => format!("{mib} MiB"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;

    use super::super::layout::write;
    use super::super::tree::tests::trees;
    use super::*;

    /// A few bytes of each, so that small files are large.
    const SMALL: Inline = Inline { file: 20, total: 60, most: 1 << 20 };

    fn collect(folder: &Path, inline: Inline) -> Result<(Tree, BTreeMap<Hash, Vec<u8>>), String> {
        let mut blocks = BTreeMap::new();
        let mut collecting = Collecting::all(folder, inline)?;
        loop {
            match collecting.step()? {
                Collected::Block(block) => blocks.insert(Hash::of(&block), block),
                Collected::Tree(tree) => return Ok((tree, blocks)),
                Collected::Changed => return Err("it changed".to_owned()),
            };
        }
    }

    fn read(folder: &Path, inline: Inline) -> (Tree, BTreeMap<Hash, Vec<u8>>) {
        collect(folder, inline).expect("read")
    }

    /// Everything in the tree, of at most this many bytes.
    const fn all(most: u64) -> Inline {
        Inline { file: most, total: most, most }
    }

    proptest! {
        #[test]
        fn a_folder_reads_back_inline_and_as_blocks(tree in trees()) {
            let folder = tempfile::tempdir().unwrap();
            write(&tree, folder.path(), |_| Err("there are no blocks".to_owned())).unwrap();
            let (whole, blocks) = read(folder.path(), all(1 << 20));
            prop_assert_eq!(&whole, &tree);
            prop_assert!(blocks.is_empty());
            let (small, blocks) = read(folder.path(), SMALL);
            prop_assert_eq!(small.size(), tree.size());
            let other = tempfile::tempdir().unwrap();
            write(&small, other.path(), |hash| Ok(blocks[&hash].clone())).unwrap();
            prop_assert_eq!(read(other.path(), all(1 << 20)).0, whole);
        }
    }

    #[test]
    fn large_files_are_read_by_the_block() {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..2 * BLOCK_BYTES + 5).map(|at| (at / 1000) as u8).collect();
        fs::write(folder.path().join("large"), &content).unwrap();
        fs::write(folder.path().join("twin"), &content).unwrap();
        let (tree, blocks) = read(folder.path(), Inline::RESULT);
        assert_eq!(tree.size(), (2, 2 * content.len() as u64));
        assert_eq!(blocks.len(), 3, "equal files have equal blocks");
        assert_eq!(tree.blocks().into_iter().collect::<Vec<_>>(), blocks.keys().copied().collect::<Vec<_>>());
        assert!(tree.encode().len() < 1000);
    }

    #[test]
    fn a_file_that_changes_on_the_way_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large");
        for change in [&b"shorter"[..], &[7; 64], &[1; 40]] {
            fs::write(&path, [0; 40]).unwrap();
            let mut collecting = Collecting::all(folder.path(), SMALL).unwrap();
            fs::remove_file(&path).unwrap();
            fs::write(&path, change).unwrap();
            let mut last = collecting.step().unwrap();
            while let Collected::Block(_) = last {
                last = collecting.step().unwrap();
            }
            assert!(matches!(last, Collected::Changed), "{last:?}");
        }
    }

    #[test]
    fn what_can_be_no_result_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        symlink("../secret", &link).unwrap();
        let refused = collect(folder.path(), Inline::RESULT);
        assert_eq!(refused.map(drop), Err("the link link leads out of the folder".to_owned()));
        fs::remove_file(&link).unwrap();
        fs::write(folder.path().join("big"), [0; 11]).unwrap();
        let refused = collect(folder.path(), all(10));
        assert_eq!(refused.map(drop), Err("big: more than 0 MiB in all".to_owned()));
        fs::remove_file(folder.path().join("big")).unwrap();
        nix::unistd::mkfifo(&folder.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let refused = collect(folder.path(), Inline::RESULT);
        assert_eq!(refused.map(drop), Err("pipe is no file, folder or symbolic link".to_owned()));
    }
}
