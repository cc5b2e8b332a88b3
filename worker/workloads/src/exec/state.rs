//! The chain's last state that this worker made, kept in scratch: the next item starts from it without fetching it
//! from the volume again.

#![expect(clippy::disallowed_methods, reason = "scratch is this machine's own: no other renames there")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::tree::{Entry, Tree};

/// At most one state.
#[derive(Debug, Default)]
pub(super) struct KeptState(Mutex<Option<State>>);

/// A result, and the folder that holds just what it does.
#[derive(Debug)]
struct State {
    result: Vec<u8>,
    folder: PathBuf,
}

impl KeptState {
    /// Keeps the folder of a result, under a name beside the attempt's, in place of the state before.
    pub fn keep(&self, tree: &Tree, result: &[u8], output: &Path, folder: PathBuf) {
        // As if it were staged: permissions that are not committed must not reach the next program.
        if normalise(tree, output).and_then(|()| fs::rename(output, &folder)).is_ok() {
            let state = State { result: result.to_owned(), folder };
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
        }
    }

    /// Moves the state to `to` where it is this result; the next attempt finds none. Returns whether it did.
    pub fn take(&self, result: &[u8], to: &Path) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_none_or(|state| state.result != result) {
            return false;
        }
        let Some(state) = kept.take() else { return false };
        // An empty folder is there.
        fs::remove_dir(to).and_then(|()| fs::rename(&state.folder, to)).is_ok() || {
            let _ = fs::create_dir_all(to);
            false
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Gives files and folders the permissions that staged ones have.
fn normalise(tree: &Tree, folder: &Path) -> std::io::Result<()> {
    for (path, entry) in &tree.entries {
        let mode = match entry {
            Entry::File { executable: false, .. } => 0o644,
            Entry::File { executable: true, .. } | Entry::Folder => 0o755,
            Entry::Link(_) => continue,
        };
        fs::set_permissions(folder.join(path), fs::Permissions::from_mode(mode))?;
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_result_that_was_kept_is_taken_and_only_once() {
        let scratch = tempfile::tempdir().unwrap();
        let (output, to) = (scratch.path().join("output"), scratch.path().join("previous"));
        let kept = KeptState::default();
        for name in ["one", "two"] {
            fs::create_dir(&output).unwrap();
            fs::write(output.join("model"), name).unwrap();
            kept.keep(&Tree::default(), name.as_bytes(), &output, scratch.path().join(name));
        }
        assert!(!scratch.path().join("one").exists(), "the state before goes");
        fs::create_dir(&to).unwrap();
        assert!(!kept.take(b"one", &to));
        assert!(kept.take(b"two", &to));
        assert_eq!(fs::read_to_string(to.join("model")).unwrap(), "two");
        assert!(!kept.take(b"two", &to), "a program may have written to it");
    }
}
