//! What a shell and `man` are given of a program: completions and manual pages, made from its command line.

use std::fs;
use std::path::PathBuf;

use clap::{Command, Subcommand};
use clap_complete::Shell;

use super::write_out;

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
    /// In words, where the output or the folder cannot be written.
    pub fn run(&self, mut program: Command) -> Result<(), String> {
        match self {
            Self::Completions { shell } => {
                let name = program.get_name().to_owned();
                let mut script = Vec::new();
                clap_complete::generate(*shell, &mut program, name, &mut script);
                write_out(&String::from_utf8_lossy(&script))
            }
            Self::Manual { out } => fs::create_dir_all(out)
                .and_then(|()| clap_mangen::generate_to(program, out))
                .map_err(|error| format!("failed to write the manual into {}: {error}", out.display())),
        }
    }
}
