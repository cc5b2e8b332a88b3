//! `--digest`: what counts of a result, as a command of the user's prints it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow, bail};
use worker::workload::exec::tree::Tree;
use worker::workload::exec::{Setup, layout};

use super::kept::Kept;

pub(super) struct Digest {
    command: Vec<String>,
    environment: BTreeMap<String, String>,
    /// The same for each result, so that a path that is printed does not differ.
    folder: PathBuf,
}

impl Digest {
    pub fn new(command: Vec<String>, setup: &Setup, folder: &Path) -> Self {
        Self { command, environment: setup.variables(), folder: folder.to_owned() }
    }

    /// What the command prints of a result.
    ///
    /// # Errors
    /// Where it cannot be run, or fails.
    pub fn of(&self, result: &[u8], kept: &Kept) -> anyhow::Result<String> {
        let tree = Tree::decode(result).map_err(|why| anyhow!(why))?;
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder).context("failed to empty the folder for --digest")?;
        }
        std::fs::create_dir_all(&self.folder).context("failed to make a folder for --digest")?;
        let written = layout::write(&tree, &self.folder, |hash| kept.get(hash));
        written.map_err(|why| anyhow!("failed to write the result for --digest: {why}"))?;
        let output = self.folder.display().to_string();
        let words: Vec<String> = self.command.iter().map(|word| word.replace("{output}", &output)).collect();
        let (program, arguments) = words.split_first().context("--digest is empty")?;
        let run = Command::new(program)
            .args(arguments)
            .envs(&self.environment)
            .env("BATCH_OUTPUT", &output)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("failed to start --digest {program}"))?;
        if !run.status.success() {
            bail!("--digest {} failed: {}", self.command.join(" "), run.status);
        }
        Ok(String::from_utf8_lossy(&run.stdout).into_owned())
    }
}
