//! What an attempt is given, as files: trees and datasets are written step by step, and each step asks for at most one
//! block.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::vec;

use engine::hash::Hash;
use engine::workload::{Part, Wanted};

use super::tree::{Content, Entry, Tree};

/// Files of an attempt that are still to be written, in order.
#[derive(Debug, Default)]
pub struct Layout {
    rest: VecDeque<Planned>,
    open: Option<OpenFile>,
}

/// One file, folder or link that is still to be made.
#[derive(Debug)]
struct Planned {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Folder,
    Link(String),
    Bytes { executable: bool, content: Vec<u8> },
    Blocks { executable: bool, blocks: vec::IntoIter<Wanted> },
}

/// A file that waits for its next block.
#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    file: fs::File,
    blocks: vec::IntoIter<Wanted>,
}

impl Layout {
    /// A dataset's file.
    pub fn dataset(&mut self, path: PathBuf, blocks: usize) {
        let blocks: Vec<Wanted> = (0..).take(blocks).map(Wanted::Dataset).collect();
        self.push(path, Kind::Blocks { executable: false, blocks: blocks.into_iter() });
    }

    /// A result's files, below a folder.
    ///
    /// # Errors
    /// Where it is no folder's content.
    pub fn result(&mut self, part: &Part, folder: &Path) -> Result<(), String> {
        self.tree(Tree::decode(&part.bytes)?, folder, |hash| Wanted::Result {
            stage: part.stage,
            index: part.index,
            hash,
        });
        Ok(())
    }

    /// Results, each in a folder of its own name, below a folder.
    ///
    /// # Errors
    /// Where one is no folder's content.
    pub fn results(&mut self, parts: &[(String, Part)], folder: &Path) -> Result<(), String> {
        for (name, part) in parts {
            let own = folder.join(name);
            self.push(own.clone(), Kind::Folder);
            self.result(part, &own)?;
        }
        Ok(())
    }

    /// A tree's files, below a folder.
    pub fn tree(&mut self, tree: Tree, folder: &Path, wanted: impl Fn(Hash) -> Wanted) {
        for (path, entry) in tree.entries {
            let kind = match entry {
                Entry::Folder => Kind::Folder,
                Entry::Link(target) => Kind::Link(target),
                Entry::File { executable, content: Content::Inline(content) } => {
                    Kind::Bytes { executable, content }
                }
                Entry::File { executable, content: Content::Blocks { blocks, .. } } => {
                    let blocks: Vec<Wanted> = blocks.into_iter().map(&wanted).collect();
                    Kind::Blocks { executable, blocks: blocks.into_iter() }
                }
            };
            self.push(folder.join(path), kind);
        }
    }

    /// The test datasets: each as its own file, or, where it was prepared, as a folder that has its index for a name.
    ///
    /// # Errors
    /// Where one is no folder's content.
    pub fn tests(&mut self, parts: &[Part], folder: &Path, are_prepared: bool) -> Result<(), String> {
        let mut taken = BTreeSet::new();
        for part in parts {
            let names: Vec<String> = Tree::decode(&part.bytes)?.entries.into_keys().collect();
            // Another of the same name may be there.
            let is_free = !are_prepared && names.iter().all(|name| !taken.contains(name));
            if is_free {
                taken.extend(names);
                self.result(part, folder)?;
            } else {
                let own = folder.join(part.index.to_string());
                self.push(own.clone(), Kind::Folder);
                self.result(part, &own)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, path: PathBuf, kind: Kind) {
        self.rest.push_back(Planned { path, kind });
    }

    /// Writes on, until it needs a block or all is there.
    ///
    /// # Errors
    /// What failed, on which path.
    pub fn step(&mut self) -> Result<Option<Wanted>, String> {
        loop {
            if let Some(open) = &mut self.open {
                match open.blocks.next() {
                    Some(wanted) => return Ok(Some(wanted)),
                    None => self.open = None,
                }
            }
            let Some(Planned { path, kind }) = self.rest.pop_front() else { return Ok(None) };
            let failed = |error: std::io::Error| format!("write {}: {error}", path.display());
            match kind {
                Kind::Folder => fs::create_dir_all(&path).map_err(failed)?,
                Kind::Link(target) => {
                    make_parent(&path).and_then(|()| symlink(target, &path)).map_err(failed)?;
                }
                Kind::Bytes { executable, content } => {
                    let file = create(&path, executable).and_then(|mut file| file.write_all(&content));
                    file.map_err(failed)?;
                }
                Kind::Blocks { executable, blocks } => {
                    let file = create(&path, executable).map_err(failed)?;
                    self.open = Some(OpenFile { path, file, blocks });
                }
            }
        }
    }

    /// Takes the block that the last step needed.
    ///
    /// # Errors
    /// What failed, on which path.
    pub fn give(&mut self, block: &[u8]) -> Result<(), String> {
        let Some(open) = &mut self.open else {
            return Err("a block was given that nothing needs".to_owned());
        };
        open.file.write_all(block).map_err(|error| format!("write {}: {error}", open.path.display()))
    }
}

/// Writes a tree into a folder that is there; `block` finds a block by its hash.
///
/// # Errors
/// What failed, on which path.
pub fn write(
    tree: &Tree,
    folder: &Path,
    mut block: impl FnMut(Hash) -> Result<Vec<u8>, String>,
) -> Result<(), String> {
    let mut layout = Layout::default();
    let stage = engine::pipeline::Stage(0);
    layout.tree(tree.clone(), folder, |hash| Wanted::Result { stage, index: 0, hash });
    while let Some(wanted) = layout.step()? {
        let Wanted::Result { hash, .. } = wanted else { continue };
        layout.give(&block(hash)?)?;
    }
    Ok(())
}

fn make_parent(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

fn create(path: &Path, executable: bool) -> std::io::Result<fs::File> {
    let file = match fs::File::create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            make_parent(path)?;
            fs::File::create(path)?
        }
        created => created?,
    };
    file.set_permissions(fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))?;
    Ok(file)
}
