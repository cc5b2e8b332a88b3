//! What is remembered of a deployment between commands: the names of operations that were begun, and
//! which results were fetched.
//!
//! It lies in a small file on the user's machine and not in the resources' labels, because a label can
//! be written only with the request whose operation it would name. The file is a hint, never the truth:
//! what is there is always read from Google, and an operation whose name was lost is found again in
//! Google's list of operations. Losing the file costs a few reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::gke::plan::{OperationSeen, Resource, Verb};

const VERSION: u32 = 1;
/// What bills, and whose API may be disabled.
const BILLED: [Resource; 3] = [Resource::Cluster, Resource::Filestore, Resource::Bucket];

/// An operation that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub resource: Resource,
    pub verb: Verb,
    /// Full, `projects/…/operations/…`.
    pub name: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Content {
    version: u32,
    /// At most one for each resource, the newest.
    operations: Vec<Kept>,
    /// Something was begun and not yet proved gone.
    made: bool,
    /// What was asked for, noted before it was.
    #[serde(default)]
    asked: BTreeSet<Resource>,
    /// SHA-256 by path of the results that were fetched.
    fetched: BTreeMap<String, String>,
}

impl Default for Content {
    fn default() -> Self {
        Self {
            version: VERSION,
            operations: Vec::new(),
            made: false,
            asked: BTreeSet::new(),
            fetched: BTreeMap::new(),
        }
    }
}

impl Content {
    /// Of a file that could not be read: anything may have been asked for.
    fn unknown() -> Self {
        Self { made: true, asked: BILLED.into(), ..Self::default() }
    }
}

/// One deployment's memory.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    content: Content,
}

impl Memory {
    /// Opens `<folder>/<project>/<deployment>.json`; none, or one that can't be read, is an empty one.
    pub fn open(folder: &Path, project: &str, deployment: &str) -> Self {
        let path = folder.join(project).join(format!("{deployment}.json"));
        let content = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .ok()
                .filter(|content: &Content| content.version == VERSION)
                .unwrap_or_else(|| {
                    tracing::warn!(path = %path.display(), "not readable, ignored: operations are looked up instead");
                    Content::unknown()
                }),
            Err(error) if error.kind() == ErrorKind::NotFound => Content::default(),
            Err(_) => Content::unknown(),
        };
        // A file of an earlier version does not say what was asked for. It knew no buckets.
        let asked = match content.made && content.asked.is_empty() {
            true => [Resource::Cluster, Resource::Filestore].into(),
            false => content.asked,
        };
        Self { path, content: Content { asked, ..content } }
    }

    /// Where it lies without --state-dir: `$XDG_STATE_HOME/batch-cloud`, else `~/.local/state/batch-cloud`.
    pub fn default_folder(variable: impl Fn(&str) -> Option<String>) -> Result<PathBuf> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")));
        base.map(|base| base.join("batch-cloud")).ok_or_else(|| {
            Error::with_hint(
                "find a place for the deployment's state",
                "HOME is not set",
                "give one with --state-dir",
            )
        })
    }

    pub fn operations(&self) -> &[Kept] {
        &self.content.operations
    }

    /// Whether something was begun that is not yet proved gone.
    pub fn made(&self) -> bool {
        self.content.made
    }

    /// What may have been made and was not proved gone since.
    pub fn asked(&self) -> BTreeSet<Resource> {
        self.content.asked.clone()
    }

    /// Notes, on disk, that `resource` is about to be asked for.
    pub fn ask_for(&mut self, resource: Resource) -> Result<()> {
        if self.content.asked.insert(resource) { self.save() } else { Ok(()) }
    }

    /// Notes that something was made that has no operation.
    pub fn note_made(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.content.made, true) { Ok(()) } else { self.save() }
    }

    /// Keeps an operation's name, on disk, before anybody waits for it.
    pub fn keep(&mut self, kept: Kept) -> Result<()> {
        self.content.operations.retain(|earlier| earlier.resource != kept.resource);
        self.note(kept.resource);
        self.content.operations.push(kept);
        self.save()
    }

    /// Merges the operations just seen into the state: one that ended well, or that Google has forgotten, is
    /// forgotten; one that runs and was begun elsewhere is kept from now on.
    pub fn learn(&mut self, seen: &[OperationSeen]) -> Result<()> {
        let matters = |kept: &Kept| {
            seen.iter().any(|seen| seen.name == kept.name && (!seen.done || seen.error.is_some()))
        };
        let before = self.content.operations.clone();
        self.content.operations.retain(matters);
        for running in seen.iter().filter(|seen| !seen.done) {
            let (resource, verb) = (running.resource, running.verb);
            self.content.operations.retain(|kept| kept.resource != resource);
            self.note(resource);
            self.content.operations.push(Kept { resource, verb, name: running.name.clone() });
        }
        if self.content.operations == before { Ok(()) } else { self.save() }
    }

    fn note(&mut self, resource: Resource) {
        if resource != Resource::Apis {
            self.content.asked.insert(resource);
            self.content.made = true;
        }
    }

    /// Whether this very content was fetched.
    pub fn is_fetched(&self, path: &str, sha256: &str) -> bool {
        self.content.fetched.get(path).is_some_and(|fetched| fetched == sha256)
    }

    /// Notes what was fetched.
    pub fn note_fetched(&mut self, files: impl IntoIterator<Item = (String, String)>) -> Result<()> {
        self.content.fetched.extend(files);
        self.save()
    }

    /// Everything is proved gone.
    pub fn clear(&mut self) -> Result<()> {
        self.content = Content::default();
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.failed("remove", &error)),
            _ => Ok(()),
        }
    }

    /// Writes aside, then renames: a crash leaves the old or the new.
    fn save(&self) -> Result<()> {
        let failed = |error: &dyn std::error::Error| self.failed("write", error);
        let bytes = serde_json::to_vec_pretty(&self.content).map_err(|error| failed(&error))?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|error| failed(&error))?;
        let mut aside = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
        aside.write_all(&bytes).map_err(|error| failed(&error))?;
        aside.persist(&self.path).map_err(|error| failed(&error))?;
        Ok(())
    }

    fn failed(&self, verb: &str, error: &dyn std::error::Error) -> Error {
        let doing = format!("{verb} the deployment's state in {}", self.path.display());
        Error::with_hint(doing, error, "choose another place with --state-dir")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_of(file: Option<&str>) -> Vec<Resource> {
        let folder = tempfile::tempdir().unwrap();
        if let Some(text) = file {
            fs::create_dir(folder.path().join("p")).unwrap();
            fs::write(folder.path().join("p/d.json"), text).unwrap();
        }
        Memory::open(folder.path(), "p", "d").asked().into_iter().collect()
    }

    /// A right to list buckets is asked for only where there may be one.
    #[test]
    fn what_may_have_been_made_is_known_of_files_of_earlier_versions_too() {
        assert_eq!(asked_of(None), []);
        let earlier = r#"{"version": 1, "operations": [], "made": true, "fetched": {}}"#;
        assert_eq!(asked_of(Some(earlier)), [Resource::Cluster, Resource::Filestore]);
        assert_eq!(asked_of(Some("torn")), BILLED);
    }
}
