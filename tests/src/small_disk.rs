//! A file system that is soon full.

use std::io::Write;
use std::path::Path;
use std::process::Command;

/// A file system of 4 MiB, unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, said aloud, where this user may not mount.
    ///
    /// # Panics
    /// Where there is no folder to mount it on.
    pub fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a new folder");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(folder.path());
        match command.output() {
            Ok(output) if output.status.success() => Some(Self(folder)),
            answer => {
                let _ = writeln!(std::io::stderr(), "SKIPPED, mounting a tmpfs needs root: {answer:?}");
                None
            }
        }
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}
