//! A folder as bytes: what a program left in its output folder, as one result that is committed whole. The
//! same files give the same bytes, whatever made them and in whatever order.
//!
//! ```text
//! magic "BATCHTRE", version u32, number of entries u32, little-endian; then each entry, by path:
//!   kind u8: 0 file, 1 executable file, 2 folder, 3 symbolic link
//!   length of the path u32, path; length of the content u64, content (of a link its target)
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Component, Path};

const MAGIC: &[u8; 8] = b"BATCHTRE";
const VERSION: u32 = 1;
/// Bytes of one result, at most: it is held in memory while it is committed.
pub const BYTES_MAX: u64 = 512 << 20;
/// Entries of one result, at most.
pub const ENTRIES_MAX: usize = 100_000;
/// Owner's permission to execute.
const EXECUTABLE: u32 = 0o100;

/// One file, folder or link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    File {
        executable: bool,
        content: Vec<u8>,
    },
    Folder,
    /// The target, relative to the link.
    Link(String),
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
            let (kind, content): (u8, &[u8]) = match entry {
                Entry::File { executable, content } => (u8::from(*executable), content),
                Entry::Folder => (2, b""),
                Entry::Link(target) => (3, target.as_bytes()),
            };
            bytes.push(kind);
            bytes.extend((path.len() as u32).to_le_bytes());
            bytes.extend(path.as_bytes());
            bytes.extend((content.len() as u64).to_le_bytes());
            bytes.extend(content);
        }
        bytes
    }

    /// # Errors
    /// In words, where the bytes are no tree.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        Reader(bytes).tree().ok_or_else(|| "it is no folder's content".to_owned())
    }

    /// Reads a folder. `None` where it changed on the way.
    ///
    /// # Errors
    /// In words, where something in it cannot be part of a result.
    pub fn read(folder: &Path) -> Result<Option<Self>, String> {
        let before = stamps(folder)?;
        let mut tree = Self::default();
        let mut left = BYTES_MAX;
        for path in before.keys() {
            match read_entry(folder, path, &mut left)? {
                Some(entry) => tree.entries.insert(path.clone(), entry),
                None => return Ok(None),
            };
        }
        Ok((stamps(folder)? == before).then_some(tree))
    }

    /// Writes the entries into a folder that is there.
    ///
    /// # Errors
    /// What failed, on which path.
    pub fn write(&self, folder: &Path) -> Result<(), String> {
        for (path, entry) in &self.entries {
            let full = folder.join(path);
            let written = match entry {
                Entry::Folder => fs::create_dir_all(&full),
                Entry::Link(target) => make_parent(&full).and_then(|()| symlink(target, &full)),
                Entry::File { executable, content } => make_parent(&full)
                    .and_then(|()| fs::write(&full, content))
                    .and_then(|()| fs::set_permissions(&full, permissions(*executable))),
            };
            written.map_err(|error| format!("write {path}: {error}"))?;
        }
        Ok(())
    }

    /// The files alone, by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.entries.iter().filter_map(|(path, entry)| match entry {
            Entry::File { content, .. } => Some((path.as_str(), content.as_slice())),
            Entry::Folder | Entry::Link(_) => None,
        })
    }

    /// The number of files, and their bytes together.
    pub fn size(&self) -> (usize, usize) {
        self.files().fold((0, 0), |(files, bytes), (_, content)| (files + 1, bytes + content.len()))
    }
}

fn make_parent(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

fn permissions(executable: bool) -> fs::Permissions {
    fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 })
}

/// What tells whether an entry has changed: size, time of the last change, inode.
pub type Stamp = (u64, i64, i64, u64);

/// Every entry below a folder with its stamp.
///
/// # Errors
/// In words: a name that is no UTF-8, too many entries, a folder that cannot be read.
pub fn stamps(folder: &Path) -> Result<BTreeMap<String, Stamp>, String> {
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
                // Gone meanwhile: what is read next will differ.
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
    Ok(stamps)
}

/// `None` where it is gone, or is something else now.
fn read_entry(folder: &Path, path: &str, left: &mut u64) -> Result<Option<Entry>, String> {
    let full = folder.join(path);
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(None),
        _ => Err(format!("read {path}: {error}")),
    };
    let meta = match fs::symlink_metadata(&full) {
        Ok(meta) => meta,
        Err(error) => return failed(error),
    };
    if meta.is_dir() {
        return Ok(Some(Entry::Folder));
    }
    if meta.is_symlink() {
        return match fs::read_link(&full) {
            Ok(target) => inner_target(path, &target).map(|target| Some(Entry::Link(target))),
            Err(error) => failed(error),
        };
    }
    if !meta.is_file() {
        return Err(format!("{path} is no file, folder or symbolic link"));
    }
    // Refused before it is read: it may be larger than memory.
    if meta.len() > *left {
        return Err(too_big(path));
    }
    let mut content = Vec::new();
    let read = fs::File::open(&full).and_then(|file| file.take(*left + 1).read_to_end(&mut content));
    if let Err(error) = read {
        return failed(error);
    }
    let Some(rest) = left.checked_sub(content.len() as u64) else {
        return Err(too_big(path));
    };
    *left = rest;
    Ok(Some(Entry::File { executable: meta.mode() & EXECUTABLE != 0, content }))
}

fn too_big(path: &str) -> String {
    format!("{path}: more than {} MiB in all", BYTES_MAX >> 20)
}

/// The target of a link, where it stays inside the folder.
fn inner_target(path: &str, target: &Path) -> Result<String, String> {
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
            let content = self.take(length)?;
            let inside = Path::new(&path).components().all(|part| matches!(part, Component::Normal(_)));
            let follows = tree.entries.last_key_value().is_none_or(|(last, _)| *last < path);
            if path.is_empty() || !inside || !follows {
                return None;
            }
            let entry = match kind {
                0 | 1 => Entry::File { executable: kind == 1, content: content.to_vec() },
                2 if content.is_empty() => Entry::Folder,
                3 => Entry::Link(inner_target(&path, Path::new(std::str::from_utf8(content).ok()?)).ok()?),
                _ => return None,
            };
            tree.entries.insert(path, entry);
        }
        self.0.is_empty().then_some(tree)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trees() -> impl Strategy<Value = Tree> {
        let content = prop::collection::vec(any::<u8>(), 0..50);
        let file =
            (any::<bool>(), content).prop_map(|(executable, content)| Entry::File { executable, content });
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

    proptest! {
        #[test]
        fn a_tree_reads_back_from_bytes_and_from_a_folder(tree in trees()) {
            let bytes = tree.encode();
            prop_assert_eq!(Tree::decode(&bytes), Ok(tree.clone()));
            let folder = tempfile::tempdir().unwrap();
            tree.write(folder.path()).unwrap();
            let read = Tree::read(folder.path()).unwrap().unwrap();
            prop_assert_eq!(read.encode(), bytes);
        }

        #[test]
        fn cut_bytes_are_no_tree(tree in trees(), at in any::<prop::sample::Index>()) {
            let bytes = tree.encode();
            prop_assert!(Tree::decode(&bytes[..at.index(bytes.len())]).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Tree::decode(&[MAGIC.as_slice(), &VERSION.to_le_bytes(), &bytes].concat());
        }
    }

    #[test]
    fn what_leads_out_of_the_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        symlink("../secret", folder.path().join("link")).unwrap();
        assert_eq!(Tree::read(folder.path()), Err("the link link leads out of the folder".to_owned()));
        for path in ["../a", "/a", "a/../b", "./a"] {
            let tree = Tree { entries: BTreeMap::from([(path.to_owned(), Entry::Folder)]) };
            assert!(Tree::decode(&tree.encode()).is_err(), "{path} was read");
        }
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&folder.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(Tree::read(folder.path()), Err("pipe is no file, folder or symbolic link".to_owned()));
    }
}
