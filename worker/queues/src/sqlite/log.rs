//! Hears when another process writes to the file: to its write-ahead log, where SQLite puts every transaction. The
//! kernel reports that (inotify), on Linux alone; elsewhere nothing is heard, and workers poll.

use std::path::{Path, PathBuf};

use tokio::net::unix::pipe::Receiver;

use super::file::{Identity, identity};

/// A watched log.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    identity: Identity,
    /// The kernel's reports. They are read as a pipe is, and what they say is of no use: only this file is watched.
    reports: Receiver,
}

/// Longer than a report without a name. The kernel adds none that is like the last one.
const REPORTS: usize = 256;

impl Log {
    /// `None` where there is no log, or the system has no watch left.
    pub(super) fn watch(file: &Path) -> Option<Self> {
        let mut path = file.as_os_str().to_owned();
        path.push("-wal");
        let path = PathBuf::from(path);
        let identity = identity(&path)?;
        Some(Self { reports: reports(&path)?, identity, path })
    }

    /// Whether it is still the file's log: a file that was removed gets another.
    pub(super) fn is_there(&self) -> bool {
        identity(&self.path) == Some(self.identity)
    }

    /// Resolves when something is written; at once if it was since this last resolved.
    pub(super) async fn written(&self) {
        loop {
            if self.reports.readable().await.is_err() {
                return std::future::pending().await;
            }
            // Where nothing is to be read it was not ready after all.
            if self.reports.try_read(&mut [0; REPORTS]).is_ok() {
                return;
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn reports(path: &Path) -> Option<Receiver> {
    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
    inotify.add_watch(path, AddWatchFlags::IN_MODIFY).ok()?;
    Receiver::from_file_unchecked(std::os::fd::OwnedFd::from(inotify).into()).ok()
}

#[cfg(not(target_os = "linux"))]
fn reports(_: &Path) -> Option<Receiver> {
    None
}
