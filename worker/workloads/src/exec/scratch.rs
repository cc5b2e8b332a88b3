//! A worker's folder in scratch, below which all of its attempts lie. A worker that was killed leaves it behind, and
//! the next one there removes it. A lock, which the system drops with its holder, says whose worker lives.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use engine::hash::Hash;

use remover::Remover;

mod remover;

/// How the names of such folders begin.
const PREFIX: &str = "batch-worker-";
const LOCK: &str = "lock";
/// Names to try: another worker may have taken one, or removed it before it was locked.
const TRIES: u32 = 100;

/// The folder, this worker's for as long as it lives.
#[derive(Debug)]
pub(super) struct Scratch {
    pub folder: PathBuf,
    remover: Option<Remover>,
    discarded: AtomicU32,
    _lock: File,
}

impl Scratch {
    /// Makes a folder whose name comes of `seed`, and removes those of workers that are gone.
    ///
    /// # Errors
    /// Where no folder can be made in `base`.
    pub fn create(base: &Path, seed: &str) -> io::Result<Self> {
        fs::create_dir_all(base)?;
        for entry in fs::read_dir(base).into_iter().flatten().flatten() {
            remove_if_dead(&entry.path());
        }
        let name = Hash::of(seed.as_bytes()).short();
        let mut taken = io::ErrorKind::AlreadyExists.into();
        for number in 0..TRIES {
            match Self::lock(base.join(format!("{PREFIX}{name}-{number}"))) {
                Ok(Some(scratch)) => return Ok(scratch),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = error,
                Err(error) => return Err(error),
            }
        }
        Err(taken)
    }

    /// Makes and locks a folder; `None` where another worker took it for a dead one's before it was locked.
    fn lock(folder: PathBuf) -> io::Result<Option<Self>> {
        fs::create_dir(&folder)?;
        let path = folder.join(LOCK);
        let lock = File::create_new(&path)?;
        let is_there = |lock: &File| Some(lock.metadata().ok()?.ino() == fs::metadata(&path).ok()?.ino());
        let is_ours = lock.try_lock().is_ok() && is_there(&lock) == Some(true);
        let discarded = AtomicU32::default();
        Ok(is_ours.then(|| Self { folder, remover: Remover::start(), discarded, _lock: lock }))
    }

    /// Removes an attempt's folder while its result is committed: some disks are slow to remove a folder. Its name can be
    /// used again at once.
    #[expect(clippy::disallowed_methods, reason = "scratch is this machine's own: no other renames there")]
    pub fn discard(&self, folder: &Path) {
        let number = self.discarded.fetch_add(1, Ordering::Relaxed);
        let moved = self.folder.join(format!("discarded-{number}"));
        match &self.remover {
            Some(remover) if fs::rename(folder, &moved).is_ok() => remover.remove(moved),
            _ => drop(fs::remove_dir_all(folder)),
        }
    }

    /// Waits until what was discarded is gone: scratch never holds more than one attempt.
    pub fn settle(&self) {
        self.remover.iter().for_each(Remover::settle);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It ends first.
        self.remover = None;
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Removes a worker's folder where nobody holds its lock. Whatever else it is stays.
pub(crate) fn remove_if_dead(folder: &Path) {
    let name = folder.file_name().and_then(|name| name.to_str());
    if !name.is_some_and(|name| name.starts_with(PREFIX)) {
        return;
    }
    // Held until all is removed: who makes a folder of this name sees it.
    if let Ok(lock) = File::open(folder.join(LOCK))
        && lock.try_lock().is_ok()
    {
        let _ = fs::remove_dir_all(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_workers_folder_goes_and_a_living_ones_stays() {
        let base = tempfile::tempdir().unwrap();
        let living = Scratch::create(base.path(), "living").unwrap();
        fs::write(living.folder.join("state"), "x").unwrap();
        // As a worker leaves it that was killed: nothing holds the lock.
        let dead = base.path().join("batch-worker-dead-0");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        let others = [base.path().join("batch-worker-unlocked"), base.path().join("another")];
        others.iter().for_each(|folder| fs::create_dir(folder).unwrap());
        fs::write(others[1].join(LOCK), "").unwrap();
        let next = Scratch::create(base.path(), "next").unwrap();
        assert!(!dead.exists());
        assert!(living.folder.join("state").exists() && next.folder.exists());
        assert!(others.iter().all(|folder| folder.exists()), "they are no dead worker's");
    }

    #[test]
    fn what_is_discarded_is_gone_once_it_has_settled_and_its_name_is_free_at_once() {
        let base = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(base.path(), "seed").unwrap();
        let attempt = scratch.folder.join("attempt");
        for number in 0..100 {
            fs::create_dir(&attempt).unwrap();
            fs::write(attempt.join(number.to_string()), "x").unwrap();
            scratch.discard(&attempt);
            assert!(!attempt.exists());
        }
        scratch.settle();
        let left = || fs::read_dir(&scratch.folder).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left().collect::<Vec<_>>(), [LOCK]);
        scratch.discard(&attempt);
        drop(scratch);
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_name_that_is_taken_is_not_shared() {
        let base = tempfile::tempdir().unwrap();
        let one = Scratch::create(base.path(), "seed").unwrap();
        let other = Scratch::create(base.path(), "seed").unwrap();
        assert_ne!(one.folder, other.folder);
        drop(one);
        assert!(other.folder.exists());
    }
}
