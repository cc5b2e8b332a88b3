//! How a command line names a program to run.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Local, Setup};
use crate::duration::parse_positive;

/// A program as the workload: the command after `--`, and how it is run.
#[derive(Debug, Clone, Default, Args)]
pub struct ExecArgs {
    /// Do each dataset alone, in parallel, in place of a chain in which each starts from the state before.
    #[arg(long, requires = "command")]
    pub map: bool,
    /// The program makes equal bytes from equal inputs: results that differ void the run. Otherwise the first
    /// commit of an item wins.
    #[arg(long, requires = "command")]
    pub deterministic: bool,
    /// A variable of the program's environment, NAME=VALUE (repeatable); recorded in the manifest.
    #[arg(long = "env", value_name = "NAME=VALUE", requires = "command")]
    pub environment: Vec<String>,
    /// Where each attempt has its folder [default: the folder for temporary files]
    #[arg(long, env = "WORKER_SCRATCH", value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// An item's program that runs for longer has failed.
    #[arg(long, env = "WORKER_ITEM_TIMEOUT", value_name = "TIME", value_parser = parse_positive)]
    pub item_timeout: Option<Duration>,
    /// A program in place of the fraud model, with its arguments. {input}, {output}, {previous}, {checkpoint},
    /// {index} and {seed} are filled in; docs/own-code.md says what the program is given and what must hold.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

impl ExecArgs {
    /// The program, where one is given.
    ///
    /// # Errors
    /// Where a variable has no `=`.
    pub fn setup(&self) -> Result<Option<Setup>, String> {
        if self.command.is_empty() {
            return Ok(None);
        }
        let mut environment = std::collections::BTreeMap::new();
        for variable in &self.environment {
            match variable.split_once('=') {
                Some((name, value)) if !name.is_empty() => {
                    environment.insert(name.to_owned(), value.to_owned());
                }
                _ => return Err(format!("--env {variable}: write it as NAME=VALUE")),
            }
        }
        let (is_map, deterministic) = (self.map, self.deterministic);
        Ok(Some(Setup { command: self.command.clone(), is_map, deterministic, environment }))
    }

    pub fn local(&self, shows_output: bool) -> Local {
        Local { scratch: self.scratch.clone(), item_timeout: self.item_timeout, shows_output }
    }

    /// The same as arguments of `worker run`, which end with the command.
    pub fn to_arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        if self.command.is_empty() {
            return arguments;
        }
        arguments.extend(self.map.then(|| "--map".into()));
        arguments.extend(self.deterministic.then(|| "--deterministic".into()));
        for variable in &self.environment {
            arguments.extend(["--env".into(), variable.into()]);
        }
        if let Some(scratch) = &self.scratch {
            arguments.extend(["--scratch".into(), scratch.into()]);
        }
        if let Some(most) = self.item_timeout {
            let most = humantime::format_duration(most).to_string().replace(' ', "");
            arguments.extend(["--item-timeout".into(), most.into()]);
        }
        arguments.push("--".into());
        arguments.extend(self.command.iter().map(OsString::from));
        arguments
    }
}
