//! One attempt at an item by a program: a fresh folder, a process of its own, and what comes of it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::arguments::Item;
use super::launch::{Running, Said, Start};
use super::logs::Log;
use super::tree::{self, Stamp, Tree};
use super::{Local, Setup};
use crate::guard;
use engine::workload::{Outcome, Part, Step, Task};

/// How long a step waits for the program: between steps leases are kept and signals seen.
const STEP: Duration = Duration::from_millis(20);
/// Exit codes with a meaning (docs/own-code.md).
const REJECTED: u8 = 65;
const GIVE_BACK: u8 = 75;
const RUN_AGAIN: u8 = 85;
/// Runs of one attempt that end with [`RUN_AGAIN`] and no new checkpoint, at most.
const IDLE_RUNS_MAX: u32 = 3;
/// What programs leave behind in a checkpoint folder when they are killed in the middle of a save.
const LEAVINGS: [&str; 5] = [".tmp", "tmp_", ".writing", ".partial", ".orbax-checkpoint-tmp"];

/// What a program reads.
pub(super) struct Given {
    pub source: Source,
    pub previous: Option<Part>,
    pub tests: Vec<Part>,
}

/// Where an item's input comes from.
pub(super) enum Source {
    /// The dataset's content.
    File(Vec<u8>),
    /// What an earlier stage left.
    Folder(Part),
}

/// A program at work on an item.
pub(super) struct Program {
    setup: Arc<Setup>,
    local: Arc<Local>,
    command: Vec<String>,
    item: Item,
    given: Given,
    attempt: String,
    saved: Option<Vec<u8>>,
    /// Snapshots of the checkpoint folder, over all attempts.
    snapshots: u64,
    /// Starts of the program, over all attempts that saved something.
    starts: u32,
    stamps: Vec<(String, Stamp)>,
    /// A snapshot that is not saved yet.
    pending: Option<Vec<u8>>,
    idle_runs: u32,
    running: Option<Running>,
}

impl Program {
    pub(super) fn new(
        setup: Arc<Setup>,
        local: Arc<Local>,
        command: Vec<String>,
        item: Item,
        given: Given,
        attempt: String,
    ) -> Self {
        Self {
            setup,
            local,
            command,
            item,
            given,
            attempt,
            saved: None,
            snapshots: 0,
            starts: 0,
            stamps: Vec::new(),
            pending: None,
            idle_runs: 0,
            running: None,
        }
    }

    /// Lays out the attempt's folder.
    fn lay_out(&mut self) -> Result<(), String> {
        let item = &self.item;
        let failed = |what: &str, path: &Path, why: &dyn std::fmt::Display| {
            format!("{what} {}: {why}\nhint: --scratch names another folder", path.display())
        };
        let tests = item.has_tests.then_some("tests");
        for folder in ["input", "output", "checkpoint", "previous"].into_iter().chain(tests) {
            let folder = item.folder.join(folder);
            fs::create_dir_all(&folder).map_err(|error| failed("create the folder", &folder, &error))?;
        }
        let write = |path: PathBuf, bytes: &[u8]| {
            fs::write(&path, bytes).map_err(|error| failed("write", &path, &error))
        };
        match &mut self.given.source {
            Source::File(content) => write(item.input(), &std::mem::take(content))?,
            Source::Folder(part) => restore(&part.bytes, &item.input())?,
        }
        write(item.params(), self.setup.params_json().as_bytes())?;
        match &self.given.previous {
            Some(part) => restore(&part.bytes, &item.previous())?,
            None => {
                let _ = fs::remove_dir(item.previous());
            }
        }
        let are_prepared = self.setup.commands.prepare.is_some();
        for part in &self.given.tests {
            lay_out_test(part, &item.tests(), are_prepared)?;
        }
        if let Some(saved) = self.saved.take() {
            restore(&saved, &item.checkpoint())?;
        }
        Ok(())
    }

    fn start(&mut self) -> Result<Running, String> {
        if !self.item.folder.exists() {
            self.lay_out()?;
        }
        let environment = self.setup.variables().into_iter().chain(self.item.environment(self.starts));
        let logs = self.local.logs.as_deref();
        let log = logs.and_then(|folder| Log::create(folder, &self.item.name, &self.attempt));
        let running = Running::start(Start {
            folder: &self.item.folder,
            arguments: &self.item.arguments(&self.command),
            environment: environment.map(|(name, value)| (name, OsString::from(value))).collect(),
            said: Said::new(self.item.name.clone(), self.local.shown_max, log),
        })?;
        self.starts = self.starts.saturating_add(1);
        Ok(running)
    }

    fn step_once(&mut self) -> Result<Step, String> {
        let mut running = match self.running.take() {
            Some(running) => running,
            None => self.start()?,
        };
        if let Some(code) = running.wait(STEP)? {
            let last = running.end();
            return self.ended(code, &last);
        }
        if self.local.item_timeout.is_some_and(|most| running.ran_for() > most) {
            let most = humantime::format_duration(self.local.item_timeout.unwrap_or_default());
            return Err(format!("the program ran for longer than --item-timeout {most}{}", running.end()));
        }
        self.running = Some(running);
        Ok(Step::More)
    }

    /// What the program's end comes to.
    fn ended(&mut self, code: u8, last: &str) -> Result<Step, String> {
        match code {
            0 => match Tree::read(&self.item.output()) {
                Ok(Some(tree)) => Ok(Step::Done(Outcome::Part(tree.encode()))),
                Ok(None) => Err("the output folder changed after the program had ended".to_owned()),
                Err(why) => Err(format!("the program's output cannot be committed: {why}")),
            },
            REJECTED => Ok(Step::Done(Outcome::Rejected(format!("the program rejected it (exit 65){last}")))),
            GIVE_BACK => Ok(Step::NotReady(format!("the program gave it back (exit 75){last}"))),
            RUN_AGAIN if self.was_told() => Ok(Step::Stopped),
            RUN_AGAIN => {
                let snapshot = self.snapshot();
                self.idle_runs = if snapshot.is_some() { 0 } else { self.idle_runs + 1 };
                self.pending = snapshot.or(self.pending.take());
                // As after a move to another machine: only the checkpoint folder is kept.
                let output = self.item.output();
                fs::remove_dir_all(&output)
                    .and_then(|()| fs::create_dir(&output))
                    .map_err(|error| format!("empty the output folder: {error}"))?;
                if self.idle_runs >= IDLE_RUNS_MAX {
                    return Err(format!(
                        "the program asked to be run again (exit 85) {IDLE_RUNS_MAX} times without a new checkpoint{last}"
                    ));
                }
                Ok(Step::More)
            }
            _ if self.was_told() => Ok(Step::Stopped),
            guard::NOT_FOUND => Err(format!("the program was not found (exit 127){last}")),
            code if code > guard::SIGNALLED => {
                Err(format!("the program was ended by signal {}{last}", code - guard::SIGNALLED))
            }
            code => Err(format!("the program ended with exit code {code}{last}")),
        }
    }

    fn was_told(&self) -> bool {
        self.item.notice().exists()
    }

    /// The checkpoint folder as bytes, where it holds something new and whole.
    fn snapshot(&mut self) -> Option<Vec<u8>> {
        let folder = self.item.checkpoint();
        let stamps: Vec<(String, Stamp)> = tree::stamps(&folder).ok()?.into_iter().collect();
        if stamps.is_empty() || stamps == self.stamps {
            return None;
        }
        let mut tree = Tree::read(&folder).ok()??;
        tree.entries.retain(|path, _| !is_leaving(path));
        self.stamps = stamps;
        self.snapshots += 1;
        Some(saved(self.snapshots, self.starts, &tree))
    }
}

/// What the next attempt resumes from, little-endian: snapshots so far, starts so far, the checkpoint folder.
fn saved(snapshots: u64, starts: u32, checkpoint: &Tree) -> Vec<u8> {
    [&snapshots.to_le_bytes()[..], &starts.to_le_bytes(), &checkpoint.encode()].concat()
}

/// What an attempt resumes from after so many starts of its program that left no checkpoint.
pub fn saved_after(starts: u32) -> Vec<u8> {
    saved(0, starts, &Tree::default())
}

/// Whether a path is what a save that was cut off leaves behind.
fn is_leaving(path: &str) -> bool {
    path.split('/').any(|name| {
        LEAVINGS.iter().any(|mark| match mark.strip_prefix('.') {
            Some("tmp") => name.starts_with(".tmp"),
            Some(_) => name.ends_with(mark),
            None => name.starts_with(mark),
        })
    })
}

fn restore(bytes: &[u8], folder: &Path) -> Result<(), String> {
    Tree::decode(bytes)?.write(folder)
}

/// A test dataset as its own file, or as the folder that it was prepared to, which has its index for a name.
fn lay_out_test(part: &Part, folder: &Path, is_prepared: bool) -> Result<(), String> {
    let own = folder.join(part.index.to_string());
    if !is_prepared {
        let tree = Tree::decode(&part.bytes)?;
        if tree.files().all(|(name, _)| !folder.join(name).exists()) {
            return tree.write(folder);
        }
    }
    // Another of the same name is there.
    fs::create_dir_all(&own).map_err(|error| format!("create the folder {}: {error}", own.display()))?;
    restore(&part.bytes, &own)
}

impl Task for Program {
    fn step(&mut self) -> Step {
        self.step_once().unwrap_or_else(Step::Failed)
    }

    fn progress(&self) -> (u64, u64) {
        (self.snapshots, self.snapshots + 1)
    }

    fn resumable(&self) -> bool {
        true
    }

    fn save(&mut self) -> Option<Vec<u8>> {
        let pending = self.pending.take();
        self.snapshot().or(pending)
    }

    fn resume(&mut self, saved: &[u8]) {
        if let Some((snapshots, rest)) = saved.split_first_chunk::<8>()
            && let Some((starts, tree)) = rest.split_first_chunk::<4>()
            && Tree::decode(tree).is_ok()
        {
            self.snapshots = u64::from_le_bytes(*snapshots);
            self.starts = u32::from_le_bytes(*starts);
            self.saved = Some(tree.to_vec());
        }
    }

    /// What has not started is not started for the grace alone.
    fn stop(&mut self) -> bool {
        let Some(running) = &mut self.running else { return false };
        let _ = fs::write(self.item.notice(), b"");
        running.terminate();
        true
    }
}

impl Drop for Program {
    /// Nothing of an attempt is left: the guard kills the program once its input is closed.
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill();
        }
        let _ = fs::remove_dir_all(&self.item.folder);
    }
}
