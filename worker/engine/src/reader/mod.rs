//! Reading a run from outside of it: status, checks and the simulator ask here which files to get, and say what was
//! in them. Without I/O, so that a folder, a store and a map in memory read alike.

use crate::contract::RunPaths;
use crate::manifest::{Manifest, Page, PageError};
use crate::record::{Damage, Record};

pub mod activity;
pub mod attempts;
pub mod overview;
pub mod prune;
pub mod state;

/// The pages of a run's manifest, read one after the other.
#[derive(Debug)]
pub struct ManifestReader {
    paths: RunPaths,
    manifest: Option<Manifest>,
}

/// Why a page could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ReadError {
    #[error("{path}: {why}")]
    Damaged { path: String, why: Damage },
    #[error("{path}: {why}")]
    Page { path: String, why: PageError },
}

impl ManifestReader {
    /// Begins to read the run of this name.
    pub fn new(run: &str) -> Self {
        Self { paths: RunPaths::new(run), manifest: None }
    }

    /// The path of the next page; `None` once the manifest is sealed. A page that is not there ends what can be
    /// read so far.
    pub fn next_page(&self) -> Option<String> {
        match &self.manifest {
            None => Some(self.paths.chapter(0)),
            Some(manifest) => (!manifest.sealed).then(|| self.paths.chapter(manifest.next_page)),
        }
    }

    /// Takes in the bytes at [`ManifestReader::next_page`].
    ///
    /// # Errors
    /// Where they are no page that continues the manifest.
    pub fn take(&mut self, bytes: Vec<u8>) -> Result<(), ReadError> {
        let Some(path) = self.next_page() else { return Ok(()) };
        let record = Record::decode_at(bytes, self.paths.place(&path));
        let record = record.map_err(|why| ReadError::Damaged { path: path.clone(), why })?;
        let page = Page::of(&record).map_err(|why| ReadError::Page { path: path.clone(), why })?;
        let turned = match &mut self.manifest {
            Some(manifest) => manifest.turn(page),
            none => Manifest::begin(page).map(|manifest| *none = Some(manifest)),
        };
        turned.map_err(|why| ReadError::Page { path, why })
    }

    /// The pages taken in, as one; `None` before the first.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// Reads all pages that `get` returns.
    ///
    /// # Errors
    /// Where one is damaged or does not continue the manifest.
    pub fn read(run: &str, mut get: impl FnMut(&str) -> Option<Vec<u8>>) -> Result<Self, ReadError> {
        let mut reader = Self::new(run);
        while let Some(bytes) = reader.next_page().and_then(|path| get(&path)) {
            reader.take(bytes)?;
        }
        Ok(reader)
    }
}
