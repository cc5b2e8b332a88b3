//! A thread that removes folders, one after the other.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

#[derive(Debug)]
pub(super) struct Remover {
    /// Without room: a sender waits until the thread has removed what came before. `None` is nothing to remove.
    to: Option<SyncSender<Option<PathBuf>>>,
    thread: Option<JoinHandle<()>>,
    /// Folders that are not removed yet.
    left: Arc<AtomicUsize>,
}

impl Remover {
    /// `None` where the system gives no thread.
    pub fn start() -> Option<Self> {
        let (to, folders) = sync_channel::<Option<PathBuf>>(0);
        let left = Arc::new(AtomicUsize::new(0));
        let removed = left.clone();
        let remove = move || {
            for folder in folders.iter().flatten() {
                let _ = fs::remove_dir_all(folder);
                removed.fetch_sub(1, Ordering::Release);
            }
        };
        let thread = thread::Builder::new().name("remover".to_owned()).spawn(remove).ok()?;
        Some(Self { to: Some(to), thread: Some(thread), left })
    }

    pub fn remove(&self, folder: PathBuf) {
        self.left.fetch_add(1, Ordering::Relaxed);
        self.send(Some(folder));
    }

    /// Waits until all is removed.
    pub fn settle(&self) {
        if self.left.load(Ordering::Acquire) > 0 {
            self.send(None);
        }
    }

    fn send(&self, folder: Option<PathBuf>) {
        if let Some(to) = &self.to {
            let _ = to.send(folder);
        }
    }
}

impl Drop for Remover {
    fn drop(&mut self) {
        self.to = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
