//! One attempt at an item by a program: a fresh folder, a process of its own, and what comes of it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::arguments::Item;
use super::collect::{Collected, Collecting, Inline};
use super::launch::{Running, Start};
use super::layout::Layout;
use super::log::Log;
use super::scratch::Scratch;
use super::state::KeptState;
use super::transcript::Transcript;
use super::tree::{self, Stamps, Tree};
use super::{Local, Setup};
use crate::guard::{self, Guards};
use engine::workload::{Outcome, Part, Step, Task, Wanted};

/// How long a step waits for the program: between steps leases are kept and signals seen.
pub(super) const STEP: Duration = Duration::from_millis(20);
/// Exit codes with a meaning (docs/own-code.md).
const REJECTED: u8 = 65;
const RELEASE: u8 = 75;
const RUN_AGAIN: u8 = 85;
/// Runs of one attempt that end with [`RUN_AGAIN`] and no new checkpoint, at most.
const IDLE_RUNS_MAX: u32 = 3;
/// Marks in the names of files that a program was writing when it was killed in the middle of a save: they begin or end
/// so.
const UNFINISHED_SAVES: [&str; 5] = [".tmp", "tmp_", ".writing", ".partial", ".orbax-checkpoint-tmp"];

/// What a program reads.
pub(super) struct Given {
    pub source: Source,
    pub previous: Option<Part>,
    pub tests: Vec<Part>,
    /// The attempt's folder lies below it.
    pub scratch: Arc<Scratch>,
    pub guards: Arc<Guards>,
}

/// Where an item's input comes from.
pub(super) enum Source {
    /// The dataset's file, of this many blocks.
    File { blocks: usize },
    /// What an earlier stage left.
    Folder(Part),
    /// What the last stage left of each dataset, by the dataset's name.
    Folders(Vec<(String, Part)>),
}

/// How far an attempt is.
enum Phase {
    /// Nothing is there.
    New,
    /// Its folder is filled.
    LayingOut(Layout),
    /// The program can be started.
    Ready,
    Running(Running),
    /// The program has ended, and its result is read.
    Collecting(Collecting),
}

/// How far the saving of the checkpoint folder is.
enum Saving {
    Nothing,
    /// Its blocks are read, one after the other.
    Collecting(Collecting),
    /// All blocks were.
    Whole(Tree, Stamps),
}

/// A program at work on an item.
pub(super) struct Program {
    setup: Arc<Setup>,
    local: Arc<Local>,
    command: Vec<String>,
    item: Item,
    given: Given,
    attempt: String,
    /// Where the chain's last state is kept; `None` of other stages.
    kept: Option<Arc<KeptState>>,
    /// The checkpoint folder that is resumed.
    resumed: Option<Tree>,
    /// Snapshots of the checkpoint folder, over all attempts.
    snapshots: u64,
    /// Starts of the program, over all attempts that saved something.
    starts: u32,
    /// The checkpoint folder, as it was saved last, or laid out.
    stamps: Stamps,
    saving: Saving,
    idle_runs: u32,
    phase: Phase,
    /// What went wrong with a block that was given.
    given_wrong: Option<String>,
}

impl Program {
    pub(super) fn new(
        setup: Arc<Setup>,
        local: Arc<Local>,
        command: Vec<String>,
        item: Item,
        given: Given,
        attempt: String,
        kept: Option<Arc<KeptState>>,
    ) -> Self {
        Self {
            setup,
            local,
            command,
            item,
            given,
            attempt,
            kept,
            resumed: None,
            snapshots: 0,
            starts: 0,
            stamps: Stamps::new(),
            saving: Saving::Nothing,
            idle_runs: 0,
            phase: Phase::New,
            given_wrong: None,
        }
    }

    /// Makes the attempt's folder; returns the files that are to be written into it.
    fn lay_out(&mut self) -> Result<Layout, String> {
        let item = &self.item;
        let failed = |what: &str, path: &Path, why: &dyn std::fmt::Display| {
            format!("{what} {}: {why}\nhint: --scratch names another folder", path.display())
        };
        self.given.scratch.settle();
        // An attempt may recompute a torn commit. What it could not remove the first time must not be found now.
        match fs::remove_dir_all(&item.folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(failed("remove the folder", &item.folder, &error));
            }
            _ => {}
        }
        let more = [item.has_previous.then(|| item.previous()), item.has_tests.then(|| item.tests())];
        let folders = [item.folder.join("input"), item.output(), item.checkpoint()];
        for folder in folders.into_iter().chain(more.into_iter().flatten()) {
            fs::create_dir_all(&folder).map_err(|error| failed("create the folder", &folder, &error))?;
        }
        let write = |path: PathBuf, bytes: &[u8]| {
            fs::write(&path, bytes).map_err(|error| failed("write", &path, &error))
        };
        write(item.params(), self.setup.params_json().as_bytes())?;
        let mut layout = Layout::default();
        if let Some(saved) = self.resumed.take() {
            layout.tree(saved, &item.checkpoint(), Wanted::Saved);
        }
        match &self.given.source {
            Source::File { blocks } => layout.dataset(item.input(), *blocks),
            Source::Folder(part) => layout.result(part, &item.input())?,
            Source::Folders(parts) => layout.results(parts, &item.input())?,
        }
        if let Some(part) = &self.given.previous
            && !self.kept.as_ref().is_some_and(|kept| kept.take(&part.bytes, &item.previous()))
        {
            layout.result(part, &item.previous())?;
        }
        layout.tests(&self.given.tests, &item.tests(), self.setup.commands.prepare.is_some())?;
        Ok(layout)
    }

    fn start(&mut self) -> Result<Running, String> {
        let environment = self.setup.variables().into_iter().chain(self.item.environment(self.starts));
        let logs = self.local.logs.clone();
        let log = logs.map(|logs| Log::new(logs, &self.item.name, &self.attempt));
        let running = Running::start(Start {
            guards: &self.given.guards,
            scratch: &self.given.scratch.folder,
            arguments: self.item.arguments(&self.command),
            environment: environment.collect(),
            transcript: Transcript::new(self.item.name.clone(), self.local.shown_max, log),
            kept_max: 0,
        })?;
        self.starts = self.starts.saturating_add(1);
        Ok(running)
    }

    fn step_once(&mut self) -> Result<Step, String> {
        if let Some(why) = self.given_wrong.take() {
            return Err(why);
        }
        match std::mem::replace(&mut self.phase, Phase::Ready) {
            Phase::New => {
                let layout = self.lay_out()?;
                self.fill(layout)
            }
            Phase::LayingOut(layout) => self.fill(layout),
            Phase::Ready => {
                let running = self.start()?;
                self.run(running)
            }
            Phase::Running(running) => self.run(running),
            Phase::Collecting(collecting) => self.collect(collecting),
        }
    }

    /// Writes on in the attempt's folder; starts the program once all is there.
    fn fill(&mut self, mut layout: Layout) -> Result<Step, String> {
        if let Some(wanted) = layout.step()? {
            self.phase = Phase::LayingOut(layout);
            return Ok(Step::Need(wanted));
        }
        // What was resumed need not be saved again.
        self.stamps = self.checkpoint_stamps().unwrap_or_default();
        let running = self.start()?;
        self.run(running)
    }

    /// Waits a moment for the program.
    fn run(&mut self, mut running: Running) -> Result<Step, String> {
        if let Some(code) = running.wait(STEP)? {
            let last = running.end();
            return self.ended(code, &last);
        }
        if self.local.item_timeout.is_some_and(|most| running.ran_for() > most) {
            let most = humantime::format_duration(self.local.item_timeout.unwrap_or_default());
            return Err(format!("the program ran for longer than --item-timeout {most}{}", running.end()));
        }
        self.phase = Phase::Running(running);
        Ok(Step::More)
    }

    /// Reads on in what the program left.
    fn collect(&mut self, mut collecting: Collecting) -> Result<Step, String> {
        match collecting.step().map_err(not_committable)? {
            Collected::Block(block) => {
                self.phase = Phase::Collecting(collecting);
                Ok(Step::Keep(block))
            }
            Collected::Tree(tree) => {
                let result = tree.encode();
                if let Some(kept) = &self.kept {
                    let name = format!("state-{}-{}", self.attempt, self.item.index);
                    let folder = self.item.folder.with_file_name(name);
                    kept.keep(&tree, &result, &self.item.output(), folder);
                }
                self.given.scratch.discard(&self.item.folder);
                Ok(Step::Done(Outcome::Part(result)))
            }
            Collected::Changed => Err("the output folder changed after the program had ended".to_owned()),
        }
    }

    /// What the program's end comes to.
    fn ended(&mut self, code: u8, last: &str) -> Result<Step, String> {
        match code {
            0 => {
                let collecting = Collecting::all(&self.item.output(), Inline::RESULT);
                self.collect(collecting.map_err(not_committable)?)
            }
            REJECTED => Ok(Step::Done(Outcome::Rejected(format!("the program rejected it (exit 65){last}")))),
            RELEASE => Ok(Step::NotReady(format!("the program released it (exit 75){last}"))),
            RUN_AGAIN if self.has_notice() => Ok(Step::Stopped),
            RUN_AGAIN => {
                self.idle_runs = if self.new_checkpoint().is_some() { 0 } else { self.idle_runs + 1 };
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
                Ok(Step::Save)
            }
            _ if self.has_notice() => Ok(Step::Stopped),
            guard::NOT_FOUND => Err(format!("the program was not found (exit 127){last}")),
            code if code > guard::SIGNALLED => {
                Err(format!("the program was ended by signal {}{last}", code - guard::SIGNALLED))
            }
            code => Err(format!("the program ended with exit code {code}{last}")),
        }
    }

    fn has_notice(&self) -> bool {
        self.item.notice().exists()
    }

    /// What the checkpoint folder holds, but for what a save that was cut off leaves behind.
    fn checkpoint_stamps(&self) -> Option<Stamps> {
        tree::stamps(&self.item.checkpoint(), is_finished_save).ok()
    }

    /// The same, where it differs from what was saved last.
    fn new_checkpoint(&self) -> Option<Stamps> {
        self.checkpoint_stamps().filter(|stamps| !stamps.is_empty() && *stamps != self.stamps)
    }

    /// Reads on in the checkpoint folder, where it holds something new; returns the next block.
    fn next_block(&mut self) -> Option<Vec<u8>> {
        // Until all of it is laid out, it is what was resumed.
        if matches!(self.phase, Phase::New | Phase::LayingOut(_)) {
            return None;
        }
        let mut collecting = match std::mem::replace(&mut self.saving, Saving::Nothing) {
            Saving::Nothing => {
                let folder = self.item.checkpoint();
                Collecting::of(&folder, self.new_checkpoint()?, is_finished_save, Inline::RESULT)
            }
            Saving::Collecting(collecting) => collecting,
            whole => {
                self.saving = whole;
                return None;
            }
        };
        match collecting.step() {
            Ok(Collected::Block(block)) => {
                self.saving = Saving::Collecting(collecting);
                Some(block)
            }
            Ok(Collected::Tree(tree)) => {
                self.saving = Saving::Whole(tree, collecting.stamps().clone());
                None
            }
            // The program writes to it: at the next time.
            Ok(Collected::Changed) | Err(_) => None,
        }
    }
}

/// What the next attempt resumes from, little-endian: snapshots so far, starts so far, the checkpoint folder.
fn saved(snapshots: u64, starts: u32, checkpoint: &Tree) -> Vec<u8> {
    [&snapshots.to_le_bytes()[..], &starts.to_le_bytes(), &checkpoint.encode()].concat()
}

/// What an attempt resumes from after `starts` starts of its program that left no checkpoint.
pub fn saved_after(starts: u32) -> Vec<u8> {
    saved(0, starts, &Tree::default())
}

/// Whether a path in the checkpoint folder belongs to no save that was cut off.
fn is_finished_save(path: &str) -> bool {
    !path.split('/').any(|name| {
        UNFINISHED_SAVES.iter().any(|mark| match mark.strip_prefix('.') {
            Some("tmp") => name.starts_with(mark) || name.ends_with(mark),
            Some(_) => name.ends_with(mark),
            None => name.starts_with(mark),
        })
    })
}

fn not_committable(why: String) -> String {
    format!("the program's output cannot be committed: {why}")
}

impl Task for Program {
    fn step(&mut self) -> Step {
        self.step_once().unwrap_or_else(Step::Failed)
    }

    fn give(&mut self, block: Vec<u8>) {
        if let Phase::LayingOut(layout) = &mut self.phase
            && let Err(why) = layout.give(&block)
        {
            self.given_wrong = Some(format!("{why}\nhint: --scratch names another folder"));
        }
    }

    fn progress(&self) -> (u64, u64) {
        (self.snapshots, self.snapshots + 1)
    }

    fn resumable(&self) -> bool {
        true
    }

    /// Without a checkpoint the item starts over, as if nothing had been saved.
    fn lacks(&mut self) {
        if let Phase::LayingOut(_) = &self.phase {
            let _ = fs::remove_dir_all(&self.item.folder);
            self.phase = Phase::New;
        }
    }

    fn save_block(&mut self) -> Option<Vec<u8>> {
        self.next_block()
    }

    fn save(&mut self) -> Option<Vec<u8>> {
        let Saving::Whole(tree, stamps) = std::mem::replace(&mut self.saving, Saving::Nothing) else {
            return None;
        };
        self.stamps = stamps;
        self.snapshots += 1;
        Some(saved(self.snapshots, self.starts, &tree))
    }

    fn resume(&mut self, saved: &[u8]) {
        if let Some((snapshots, rest)) = saved.split_first_chunk::<8>()
            && let Some((starts, tree)) = rest.split_first_chunk::<4>()
            && let Ok(tree) = Tree::decode(tree)
        {
            self.snapshots = u64::from_le_bytes(*snapshots);
            self.starts = u32::from_le_bytes(*starts);
            self.resumed = Some(tree);
        }
    }

    /// What has not started is not started for the grace alone; what has ended is worth a commit.
    fn stop(&mut self) -> bool {
        match &mut self.phase {
            Phase::Running(running) => {
                let _ = fs::write(self.item.notice(), b"");
                running.terminate();
                true
            }
            Phase::Collecting(_) => true,
            Phase::New | Phase::LayingOut(_) | Phase::Ready => false,
        }
    }
}

impl Drop for Program {
    /// Nothing of an attempt is left: the guard kills the program once its input is closed.
    fn drop(&mut self) {
        if let Phase::Running(running) = &mut self.phase {
            running.kill();
        }
        let _ = fs::remove_dir_all(&self.item.folder);
    }
}
