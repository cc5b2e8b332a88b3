//! What a shell and `man` are given of a program: completions and manual pages, made from its command line.

use std::fs;
use std::path::PathBuf;

use clap::{Command, Subcommand};
use clap_complete::Shell;

use super::print;
use crate::contract::Exit;
use crate::failure::Failure;

/// The commands that every program has for this.
#[derive(Debug, Clone, Subcommand)]
pub enum ShellCommand {
    /// Print completions for a shell.
    Completions { shell: Shell },
    /// Write manual pages into a folder, one for each command.
    Manual {
        /// The folder; made where missing.
        #[arg(value_name = "DIR")]
        out: PathBuf,
    },
}

impl ShellCommand {
    /// Does so for a program's command line.
    ///
    /// # Errors
    /// Where the output or the folder cannot be written.
    pub fn run(&self, mut program: Command) -> Result<(), Failure> {
        match self {
            Self::Completions { shell } => {
                let name = program.get_name().to_owned();
                let mut script = Vec::new();
                clap_complete::generate(*shell, &mut program, name, &mut script);
                print(&String::from_utf8_lossy(&script))
            }
            Self::Manual { out } => fs::create_dir_all(out)
                .and_then(|()| clap_mangen::generate_to(program, out))
                .map_err(Failure::when(Exit::Failed, format!("write the manual into {}", out.display()))),
        }
    }
}
