//! The commands that every program has: what a code means, and what a shell and `man` are given.

use std::fs;
use std::path::PathBuf;

use clap::{Command, Subcommand};
use clap_complete::Shell;

use super::explain::{self, ExplainArgs};
use super::print;
use crate::contract::Exit;
use crate::failure::Failure;

#[derive(Debug, Clone, Subcommand)]
pub enum CommonCommand {
    /// Say what an exit code or the code of an error means, and what to do about it.
    Explain(ExplainArgs),
    /// Print completions for a shell.
    Completions { shell: Shell },
    /// Write manual pages into a folder, one for each command.
    Manual {
        /// The folder; made where missing.
        #[arg(value_name = "DIR")]
        out: PathBuf,
    },
}

impl CommonCommand {
    /// Does so for a program's command line.
    ///
    /// # Errors
    /// Where there is no such code, or the output or the folder cannot be written.
    pub fn run(&self, mut program: Command) -> Result<(), Failure> {
        match self {
            Self::Explain(args) => explain::explain(args, program.get_name()),
            Self::Completions { shell } => {
                let name = program.get_name().to_owned();
                let mut script = Vec::new();
                clap_complete::generate(*shell, &mut program, name, &mut script);
                print(&String::from_utf8_lossy(&script))
            }
            Self::Manual { out } => {
                let failed = Failure::when(Exit::Failed, format!("write the manual into {}", out.display()));
                fs::create_dir_all(out)
                    .and_then(|()| clap_mangen::generate_to(program, out))
                    .map_err(failed)
                    .map_err(|failure| failure.hint("name a folder that you may write to"))
            }
        }
    }
}
