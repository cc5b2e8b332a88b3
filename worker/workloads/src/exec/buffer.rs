//! The output of programs on its way to a volume that no file can be appended to: in memory, and uploaded from time
//! to time.

use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::store::{Keep, Kind, Result, Store};

use super::logs::{folder, of_attempt, of_item, oldest};

/// Attempts that wait to be uploaded, at most: beyond that the oldest is lost.
const WAITING_MAX: usize = 16;

/// Logs of attempts, in the order in which these began.
#[derive(Debug, Default)]
pub struct Buffer {
    logs: Mutex<Vec<Waiting>>,
}

#[derive(Debug, Clone)]
struct Waiting {
    item: String,
    attempt: String,
    text: Vec<u8>,
    /// How much of it is on the volume.
    uploaded: usize,
}

impl Waiting {
    fn is(&self, item: &str, attempt: &str) -> bool {
        self.item == item && self.attempt == attempt
    }

    fn is_due(&self) -> bool {
        self.uploaded < self.text.len()
    }
}

impl Buffer {
    fn logs(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line to the log of an attempt.
    pub fn add(&self, item: &str, attempt: &str, text: &str) {
        let mut logs = self.logs();
        let at = logs.iter().position(|log| log.is(item, attempt)).unwrap_or_else(|| {
            // An attempt is over when the next begins.
            logs.retain(Waiting::is_due);
            if logs.len() >= WAITING_MAX {
                logs.remove(0);
            }
            let (item, attempt) = (item.to_owned(), attempt.to_owned());
            logs.push(Waiting { item, attempt, text: Vec::new(), uploaded: 0 });
            logs.len() - 1
        });
        logs[at].text.extend(text.as_bytes());
        logs[at].text.push(b'\n');
    }

    /// Writes to the volume what has come since the last time. What fails is tried again at the next.
    pub async fn upload(&self, store: &impl Store, run: &str) {
        let due: Vec<Waiting> = self.logs().iter().filter(|log| log.is_due()).cloned().collect();
        for log in due {
            let size = log.text.len();
            if upload_one(store, run, &log).await.is_ok()
                && let Some(kept) = self.logs().iter_mut().find(|kept| kept.is(&log.item, &log.attempt))
            {
                kept.uploaded = size;
            }
        }
    }
}

async fn upload_one(store: &impl Store, run: &str, log: &Waiting) -> Result<()> {
    let folder = format!("{}/{}", folder(run), of_item(&log.item));
    if log.uploaded == 0 {
        for old in oldest(store.list(&folder).await?) {
            let _ = store.delete(&format!("{folder}/{old}")).await;
        }
    }
    let path = format!("{folder}/{}", of_attempt(&log.attempt));
    let staged = store.stage(&format!("{path}.new"), &log.text, Keep::Reproducible).await?;
    let written = store.replace(&staged, &path).await;
    if matches!(&written, Err(error) if error.kind == Kind::Exists) {
        // Our own, whose answer was lost: by the next time the store knows what it replaces.
        let _ = store.get(&path).await;
    }
    written
}
