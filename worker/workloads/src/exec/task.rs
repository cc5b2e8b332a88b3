//! One attempt at an item by a program: a fresh folder, a process of its own, and what comes of it.

#![expect(clippy::disallowed_methods, reason = "an adapter: programs run in real time")]

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::arguments::{CONSTANTS, Item};
use super::tree::{self, Stamp, Tree};
use super::{Local, Setup};
use crate::guard;
use engine::workload::{Outcome, Part, Step, Task};

/// How long a step waits for the program: between steps leases are kept and signals seen.
const STEP: Duration = Duration::from_millis(20);
/// The last lines of a program's output that are kept for errors, and their bytes at most.
const LINES_KEPT: usize = 20;
const LINE_BYTES_MAX: u64 = 2_000;
/// Exit codes with a meaning (docs/own-code.md).
const REJECTED: u8 = 65;
const GIVE_BACK: u8 = 75;
const RUN_AGAIN: u8 = 85;
/// Runs of one attempt that end with [`RUN_AGAIN`] and no new checkpoint, at most.
const IDLE_RUNS_MAX: u32 = 3;
/// What programs leave behind in a checkpoint folder when they are killed in the middle of a save.
const LEAVINGS: [&str; 5] = [".tmp", "tmp_", ".writing", ".partial", ".orbax-checkpoint-tmp"];

/// A program at work on an item.
pub(super) struct Program {
    setup: Arc<Setup>,
    local: Arc<Local>,
    item: Item,
    /// What it is given: the file's content, the state before.
    content: Vec<u8>,
    previous: Option<Part>,
    saved: Option<Vec<u8>>,
    /// Snapshots of the checkpoint folder, over all attempts.
    snapshots: u64,
    stamps: Vec<(String, Stamp)>,
    /// A snapshot that is not saved yet.
    pending: Option<Vec<u8>>,
    idle_runs: u32,
    running: Option<Running>,
}

struct Running {
    child: Child,
    /// Closing it kills the program.
    input: Option<ChildStdin>,
    ended: Receiver<()>,
    lines: Arc<Mutex<VecDeque<String>>>,
    since: Instant,
}

impl Program {
    pub(super) fn new(
        setup: Arc<Setup>,
        local: Arc<Local>,
        item: Item,
        content: Vec<u8>,
        previous: Option<Part>,
    ) -> Self {
        Self {
            setup,
            local,
            item,
            content,
            previous,
            saved: None,
            snapshots: 0,
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
        for folder in ["input", "output", "checkpoint", "previous"] {
            let folder = item.folder.join(folder);
            fs::create_dir_all(&folder).map_err(|error| failed("create the folder", &folder, &error))?;
        }
        let write = |path: PathBuf, bytes: &[u8]| {
            fs::write(&path, bytes).map_err(|error| failed("write", &path, &error))
        };
        write(item.input(), &std::mem::take(&mut self.content))?;
        write(item.params(), self.setup.params_json().as_bytes())?;
        match &self.previous {
            Some(part) => restore(&part.bytes, &item.previous())?,
            None => {
                let _ = fs::remove_dir(item.previous());
            }
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
        let arguments = self.item.arguments(&self.setup.command);
        let Some((program, arguments)) = arguments.split_first() else {
            return Err("the command is empty".to_owned());
        };
        let started = guard::command(&self.item.folder, program).and_then(|mut command| {
            let constants = CONSTANTS.map(|(name, value)| (name.to_owned(), value.to_owned()));
            command
                .args(arguments)
                .envs(constants)
                .envs(&self.setup.environment)
                .envs(self.item.environment())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
        });
        let mut child = started.map_err(|error| format!("start {program}: {error}"))?;
        let lines = Arc::default();
        let (tell, ended) = channel();
        let prefix = self.local.shows_output.then(|| self.item.name.clone());
        // The channel closes once both ends of the output are closed, or the process has ended.
        if let Some(out) = child.stdout.take() {
            follow(out, &lines, prefix.clone(), tell.clone());
        }
        if let Some(out) = child.stderr.take() {
            follow(out, &lines, prefix, tell.clone());
        }
        drop(tell);
        let input = child.stdin.take();
        Ok(Running { child, input, ended, lines, since: Instant::now() })
    }

    fn step_once(&mut self) -> Result<Step, String> {
        let mut running = match self.running.take() {
            Some(running) => running,
            None => self.start()?,
        };
        let waited = running.ended.recv_timeout(STEP);
        let status = running.child.try_wait().map_err(|error| format!("wait for the program: {error}"))?;
        match (status, waited) {
            (None, Err(RecvTimeoutError::Disconnected)) => std::thread::sleep(STEP),
            (Some(status), _) => {
                let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
                return self.ended(code, &running.drain());
            }
            (None, _) => {}
        }
        if self.local.item_timeout.is_some_and(|most| running.since.elapsed() > most) {
            let most = humantime::format_duration(self.local.item_timeout.unwrap_or_default());
            return Err(format!("the program ran for longer than --item-timeout {most}{}", running.drain()));
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
        Some([&self.snapshots.to_le_bytes()[..], &tree.encode()].concat())
    }
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

/// Reads a program's output line by line: keeps the last ones, and shows them where that is wanted.
fn follow(
    out: impl Read + Send + 'static,
    lines: &Arc<Mutex<VecDeque<String>>>,
    prefix: Option<String>,
    tell: std::sync::mpsc::Sender<()>,
) {
    let lines = lines.clone();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(out);
        let mut line = Vec::new();
        loop {
            line.clear();
            match reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if let Some(prefix) = &prefix {
                // Where nobody reads it, the program works on.
                let _ = writeln!(std::io::stderr(), "{prefix} | {text}");
            }
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() >= LINES_KEPT {
                lines.pop_front();
            }
            lines.push_back(text);
        }
        drop(tell);
    });
}

impl Running {
    /// The last lines of the output, once the program has ended.
    fn drain(&mut self) -> String {
        self.input = None;
        let _ = self.child.wait();
        // The guard has killed whatever held the output open.
        while self.ended.recv().is_ok() {}
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.is_empty() {
            return String::new();
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        format!("; its last lines:\n  {}", lines.join("\n  "))
    }
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
        if let Some((snapshots, tree)) = saved.split_first_chunk::<8>()
            && Tree::decode(tree).is_ok()
        {
            self.snapshots = u64::from_le_bytes(*snapshots);
            self.saved = Some(tree.to_vec());
        }
    }

    /// What has not started is not started for the grace alone.
    fn stop(&mut self) -> bool {
        let Some(running) = &mut self.running else { return false };
        let _ = fs::write(self.item.notice(), b"");
        if let Some(input) = &mut running.input {
            let _ = input.write_all(&[guard::TERMINATE]);
        }
        true
    }
}

impl Drop for Program {
    /// Nothing of an attempt is left: the guard kills the program once its input is closed.
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.input = None;
            let _ = running.child.wait();
        }
        let _ = fs::remove_dir_all(&self.item.folder);
    }
}
