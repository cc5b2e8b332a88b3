//! `--digest`: what counts of a result where its bytes may differ, as a command of the user's prints it. An audit compares
//! what it prints of two results. It runs under the worker's guard, as programs do.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine::workload::{Outcome, Part, Step, Task};

use super::launch::{Running, Start};
use super::layout::Layout;
use super::scratch::Scratch;
use super::task::STEP;
use super::transcript::Transcript;
use crate::guard::Guards;

/// Bytes that the command may print.
const PRINTED_MAX: usize = 1 << 20;

/// The command, filled in for one result.
pub(super) struct Command {
    /// As it stands on the command line.
    pub words: Vec<String>,
    pub environment: BTreeMap<String, String>,
    /// The same for each result of an item, so that a path that is printed does not differ.
    pub folder: PathBuf,
    pub timeout: Option<Duration>,
    pub scratch: Arc<Scratch>,
    pub guards: Arc<Guards>,
}

enum Phase {
    New(Part),
    /// The result is written into the folder.
    LayingOut(Layout),
    Running(Box<Running>),
    Ended,
}

/// The command at work on a result. Its outcome is what it printed.
pub(super) struct Digest {
    command: Command,
    phase: Phase,
    given_wrong: Option<String>,
}

impl Digest {
    pub fn new(command: Command, result: Part) -> Self {
        Self { command, phase: Phase::New(result), given_wrong: None }
    }

    fn step_once(&mut self) -> Result<Step, String> {
        if let Some(why) = self.given_wrong.take() {
            return Err(why);
        }
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::New(result) => {
                let folder = &self.command.folder;
                match fs::remove_dir_all(folder) {
                    Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                    _ => fs::create_dir_all(folder),
                }
                .map_err(|error| format!("make the folder {} for --digest: {error}", folder.display()))?;
                let mut layout = Layout::default();
                layout.result(&result, folder)?;
                self.fill(layout)
            }
            Phase::LayingOut(layout) => self.fill(layout),
            Phase::Running(running) => self.wait(running),
            Phase::Ended => Err("--digest has ended before".to_owned()),
        }
    }

    fn fill(&mut self, mut layout: Layout) -> Result<Step, String> {
        if let Some(wanted) = layout.step()? {
            self.phase = Phase::LayingOut(layout);
            return Ok(Step::Need(wanted));
        }
        let Command { words, environment, folder, scratch, guards, .. } = &self.command;
        let folder = folder.display().to_string();
        let mut environment = environment.clone();
        environment.insert("BATCH_OUTPUT".to_owned(), folder.clone());
        let running = Running::start(Start {
            guards,
            scratch: &scratch.folder,
            arguments: words.iter().map(|word| word.replace("{output}", &folder)).collect(),
            environment: environment.into_iter().collect(),
            // What it prints is compared, and not shown.
            transcript: Transcript::new(String::new(), 0, None),
            // One more shows that there is too much.
            kept_max: PRINTED_MAX + 1,
        })?;
        self.wait(Box::new(running))
    }

    fn wait(&mut self, mut running: Box<Running>) -> Result<Step, String> {
        let code = running.wait(STEP)?;
        let is_late = self.command.timeout.is_some_and(|most| running.ran_for() > most);
        let why = match code {
            _ if running.kept().len() > PRINTED_MAX => "printed more than 1 MiB".to_owned(),
            Some(0) => return Ok(Step::Done(Outcome::Part(running.kept().to_vec()))),
            Some(code) => format!("ended with exit code {code}"),
            None if is_late => "ran for longer than --item-timeout".to_owned(),
            None => {
                self.phase = Phase::Running(running);
                return Ok(Step::More);
            }
        };
        Err(format!("--digest {} {why}{}", self.command.words.join(" "), running.end()))
    }
}

impl Task for Digest {
    fn step(&mut self) -> Step {
        self.step_once().unwrap_or_else(Step::Failed)
    }

    fn give(&mut self, block: Vec<u8>) {
        if let Phase::LayingOut(layout) = &mut self.phase {
            self.given_wrong = layout.give(&block).err();
        }
    }
}

impl Drop for Digest {
    fn drop(&mut self) {
        if let Phase::Running(running) = &mut self.phase {
            running.kill();
        }
        let _ = fs::remove_dir_all(&self.command.folder);
    }
}
