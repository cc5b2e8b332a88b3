//! The folder that a simulator works in: a volume, and beside the volume's own folders `sim/<run>/`
//! with everything else that a run leaves behind.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use worker::contract::{Exit, RUNS, RunPaths};
use worker::failure::Failure;

/// The simulator's own folder on the volume.
const SIM: &str = "sim";

/// The folder of one run, locked for as long as this lives.
#[derive(Debug)]
pub struct Out {
    pub root: PathBuf,
    /// The next free number.
    pub run: String,
    _lock: File,
}

impl Out {
    /// Opens or creates a folder, locks it, and takes the next run's number.
    ///
    /// # Errors
    /// Where it is no folder of a simulator, or another simulator works in it.
    pub fn open(root: &Path) -> Result<Self, Failure> {
        let (root, lock) = Self::lock(root)?;
        let last = [root.join(RUNS), root.join(SIM)].iter().filter_map(|folder| last_number(folder)).max();
        let run = last.unwrap_or(0) + 1;
        let out = Self { root, run: run.to_string(), _lock: lock };
        let folder = out.folder();
        let created = fs::create_dir_all(&folder);
        created.map_err(Failure::when(Exit::Volume, format!("create {}", folder.display())))?;
        Ok(out)
    }

    /// Opens the folder of the newest run, which has not ended.
    ///
    /// # Errors
    /// As [`Out::open`]; or where there is no run, or it has ended.
    pub fn resume(root: &Path) -> Result<Self, Failure> {
        let doing = format!("resume a run in {}", root.display());
        let Some(run) = last_number(&root.join(SIM)) else {
            return Err(Failure::new(Exit::Usage, doing, "there is none").hint("leave --resume out"));
        };
        let (root, lock) = Self::lock(root)?;
        let out = Self { root, run: run.to_string(), _lock: lock };
        if out.root.join(RunPaths::new(&out.run).report()).exists() {
            let failure = Failure::new(Exit::Usage, doing, format!("run {run}, the newest, is complete"));
            return Err(failure.hint("leave --resume out to begin the next"));
        }
        Ok(out)
    }

    fn lock(root: &Path) -> Result<(PathBuf, File), Failure> {
        let shown = root.display();
        let refuse = |why: &str| Failure::new(Exit::Volume, format!("use --out {shown}"), why);
        let failed = |verb: &str| Failure::when(Exit::Volume, format!("{verb} --out {shown}"));
        let sim = root.join(SIM);
        if root.exists() && !root.is_dir() {
            return Err(refuse("it is no folder").hint("give a new or empty folder"));
        }
        if !sim.is_dir() && fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some()) {
            let failure = refuse("it holds other things than a simulator's runs");
            return Err(failure.hint("give a new or empty folder"));
        }
        fs::create_dir_all(&sim).map_err(failed("create"))?;
        let lock = File::create(sim.join("lock")).map_err(failed("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(
                    refuse("another simulator works in it").hint("wait for it, or give another --out")
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(failed("lock")(error));
            }
        }
        Ok((root.canonicalize().map_err(failed("find"))?, lock))
    }

    /// A folder that is no other run's, for what the simulator itself keeps of this one.
    pub fn folder(&self) -> PathBuf {
        self.root.join(SIM).join(&self.run)
    }

    /// A name in [`Out::folder`], relative to the volume.
    pub fn relative(&self, name: &str) -> String {
        format!("{SIM}/{}/{name}", self.run)
    }
}

fn last_number(folder: &Path) -> Option<u32> {
    let entries = fs::read_dir(folder).ok()?;
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_numbered_on_and_a_folder_is_one_simulators() {
        let folder = tempfile::tempdir().unwrap();
        let first = Out::open(folder.path()).unwrap();
        assert_eq!(first.run, "1");
        let busy = Out::open(folder.path()).unwrap_err().to_string();
        assert!(busy.contains("another simulator"), "{busy}");
        drop(first);
        assert_eq!(Out::open(folder.path()).unwrap().run, "2");
    }

    #[test]
    fn only_a_run_that_has_not_ended_is_resumed() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |why: &str| {
            let failure = Out::resume(folder.path()).unwrap_err().to_string();
            assert!(failure.contains(why), "{failure}");
        };
        refused("there is none");
        drop(Out::open(folder.path()).unwrap());
        assert_eq!(Out::resume(folder.path()).unwrap().run, "1");
        fs::create_dir_all(folder.path().join("runs/1")).unwrap();
        fs::write(folder.path().join("runs/1/report"), "").unwrap();
        refused("run 1, the newest, is complete");
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("letter.txt"), "dear").unwrap();
        assert!(Out::open(folder.path()).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
