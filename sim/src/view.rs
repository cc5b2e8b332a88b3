//! What lies on a volume, read once: the public files of a run, and `output/`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::FileType;
use std::io::Read;
use std::path::Path;

use worker::contract::{BLOCK_BYTES, Exit, OUTPUT, RunPaths};
use worker::events::{self, Event};
use worker::failure::Failure;
use worker::hash::Hash;
use worker::reader::ManifestReader;
use worker::workload::Shown;

/// Public files by their path relative to the volume.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    pub files: BTreeMap<String, Vec<u8>>,
    /// Files of `output/` that are larger than a block: their size, and the hashes of their blocks.
    large: BTreeMap<String, (u64, Vec<Hash>)>,
}

impl View {
    /// Reads the public files of a run and of the runs that it continues, and `output/`.
    ///
    /// # Errors
    /// Where a file that is listed cannot be read.
    pub fn read(volume: &Path, run: &str) -> Result<Self, Failure> {
        let mut files = BTreeMap::new();
        let mut outputs = Vec::new();
        let mut below = vec![OUTPUT.to_owned()];
        while let Some(folder) = below.pop() {
            outputs.extend(names(volume, &folder));
            below.extend(folders(volume, &folder));
        }
        let mut large = BTreeMap::new();
        for path in outputs {
            match read_large(volume, &path)? {
                Some(blocks) => large.insert(path, blocks).map(drop),
                None => files.insert(path.clone(), read(volume, &path)?).map(drop),
            };
        }
        for path in public_names(volume, run) {
            let bytes = read(volume, &path)?;
            files.insert(path, bytes);
        }
        for earlier in inherited_from(run, &files) {
            for path in public_names(volume, &earlier) {
                let bytes = read(volume, &path)?;
                files.insert(path, bytes);
            }
        }
        Ok(Self { files, large })
    }

    /// Whether a file is what a workload shows; `None` where there is none.
    pub fn shows(&self, path: &str, shown: &Shown) -> Option<bool> {
        let is_whole = |bytes: &[u8], size: u64, block_bytes: u64, blocks: &[Hash]| {
            let hashes = bytes.chunks(usize::try_from(block_bytes).unwrap_or(usize::MAX)).map(Hash::of);
            bytes.len() as u64 == size && hashes.eq(blocks.iter().copied())
        };
        match (self.files.get(path), self.large.get(path), shown) {
            (Some(found), _, Shown::Bytes(bytes)) => Some(found == bytes.as_ref()),
            (Some(found), _, Shown::Blocks { bytes, block_bytes, blocks }) => {
                Some(is_whole(found, *bytes, *block_bytes, blocks))
            }
            (None, Some((size, found)), Shown::Blocks { bytes, block_bytes, blocks }) => {
                Some(size == bytes && *block_bytes == BLOCK_BYTES && found == blocks)
            }
            (None, Some((_, found)), Shown::Bytes(bytes)) => {
                Some(is_whole(bytes, bytes.len() as u64, BLOCK_BYTES, found))
            }
            (None, None, _) => None,
        }
    }
}

/// The earlier runs whose commits a run continues.
fn inherited_from(run: &str, files: &BTreeMap<String, Vec<u8>>) -> BTreeSet<String> {
    let reader = ManifestReader::read(run, |path| files.get(path).cloned());
    let Some(manifest) = reader.ok().and_then(|reader| reader.manifest().cloned()) else {
        return BTreeSet::new();
    };
    let homes = (0..manifest.own_from()).filter_map(|index| manifest.home(index));
    homes.map(|(run, _)| run.to_owned()).collect()
}

/// The size of a large file, and its blocks' hashes; `None` where it is not large.
fn read_large(volume: &Path, path: &str) -> Result<Option<(u64, Vec<Hash>)>, Failure> {
    let failed = |error: std::io::Error| Failure::when(Exit::Failed, format!("read {path}"))(error);
    let mut file = std::fs::File::open(volume.join(path)).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    if bytes <= BLOCK_BYTES {
        return Ok(None);
    }
    let mut blocks = Vec::new();
    loop {
        let mut block = Vec::new();
        (&mut file).take(BLOCK_BYTES).read_to_end(&mut block).map_err(failed)?;
        if block.is_empty() {
            return Ok(Some((bytes, blocks)));
        }
        blocks.push(Hash::of(&block));
    }
}

fn read(volume: &Path, path: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(volume.join(path)).map_err(Failure::when(Exit::Failed, format!("read {path}")))
}

/// The paths of a run's public files: everything but attempts, events and the blocks that results refer to.
pub fn public_names(volume: &Path, run: &str) -> Vec<String> {
    let paths = RunPaths::new(run);
    let private = [paths.attempts(), paths.events(), paths.blocks()];
    let mut all = Vec::new();
    for folder in folders(volume, paths.root()).into_iter().filter(|folder| !private.contains(folder)) {
        all.extend(names(volume, &folder));
        for later in folders(volume, &folder) {
            all.extend(names(volume, &later));
        }
    }
    for single in [paths.report(), paths.violation()] {
        all.extend(volume.join(&single).exists().then_some(single));
    }
    all.sort_unstable();
    all
}

/// What every worker of a run wrote, each in a file of its own.
pub fn events_of(volume: &Path, run: &str) -> Vec<Vec<Event>> {
    let mut files = names(volume, &RunPaths::new(run).events());
    files.sort_unstable();
    let read = |file: String| events::parse(&std::fs::read(volume.join(file)).unwrap_or_default()).0;
    files.into_iter().map(read).collect()
}

/// Files in a folder; none where there is no folder.
pub fn names(volume: &Path, folder: &str) -> Vec<String> {
    entries(volume, folder, FileType::is_file)
}

/// Folders in a folder.
pub fn folders(volume: &Path, folder: &str) -> Vec<String> {
    entries(volume, folder, FileType::is_dir)
}

fn entries(volume: &Path, folder: &str, wanted: fn(&FileType) -> bool) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(volume.join(folder)) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| wanted(&kind)))
        .map(|entry| format!("{folder}/{}", entry.file_name().to_string_lossy()))
        .collect()
}
