//! What lies on a volume, read once: the public files of a run, and `output/`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::FileType;
use std::path::Path;

use worker::contract::{Exit, OUTPUT, RunPaths};
use worker::failure::Failure;
use worker::reader::ManifestReader;

/// Public files by their path relative to the volume.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    pub files: BTreeMap<String, Vec<u8>>,
}

impl View {
    /// Reads the public files of a run and of those that it continues, and `output/`.
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
        for path in public_names(volume, run).into_iter().chain(outputs) {
            let bytes = read(volume, &path)?;
            files.insert(path, bytes);
        }
        for earlier in inherited_from(run, &files) {
            for path in public_names(volume, &earlier) {
                let bytes = read(volume, &path)?;
                files.insert(path, bytes);
            }
        }
        Ok(Self { files })
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

fn read(volume: &Path, path: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(volume.join(path)).map_err(Failure::when(Exit::Failed, format!("read {path}")))
}

/// The paths of a run's public files: everything but attempts and events.
pub fn public_names(volume: &Path, run: &str) -> Vec<String> {
    let paths = RunPaths::new(run);
    let private = [paths.attempts(), paths.events()];
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

/// Files in a folder; none where there is no folder.
fn names(volume: &Path, folder: &str) -> Vec<String> {
    entries(volume, folder, FileType::is_file)
}

/// Folders in a folder.
fn folders(volume: &Path, folder: &str) -> Vec<String> {
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
