//! How a command line names a program to run.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::log::Logs;
use super::{Commands, Local, Setup};
use crate::duration::{duration_text, parse_positive};

/// A program as the workload: the commands, and how they are run.
#[derive(Debug, Clone, Default, Args)]
pub struct ExecArgs {
    /// A file that says what the command line does not, as `sim init` writes it.
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// The command after `--` does each dataset alone, in parallel, in place of a chain in which each starts from the
    /// state before.
    #[arg(long)]
    pub map: bool,
    /// A command that is done to each dataset alone, in parallel, before the chain: {input} of the chain is what it
    /// left in {output}. Split into words as a shell does; no shell runs it.
    #[arg(long, env = "WORKER_PREPARE", value_name = "COMMAND")]
    pub prepare: Option<String>,
    /// A command that is done to each state of the chain, in parallel: {input} is the state, {tests} a folder with the
    /// test datasets. Split into words as a shell does; no shell runs it.
    #[arg(long, env = "WORKER_EVALUATE", value_name = "COMMAND")]
    pub evaluate: Option<String>,
    /// A command that is done once, at the end: {input} is a folder with a folder of each dataset's last output,
    /// {previous} the chain's last state. Split into words as a shell does; no shell runs it.
    #[arg(long, env = "WORKER_REPORT", value_name = "COMMAND")]
    pub report: Option<String>,
    /// The program makes equal bytes from equal inputs: results that differ void the run. Otherwise the first
    /// commit of an item wins.
    #[arg(long)]
    pub deterministic: bool,
    /// Set the variables of Cloud Run jobs, AWS Batch, GCP Batch, Slurm, SkyPilot and Flyte as well.
    #[arg(long)]
    pub aliases: bool,
    /// A variable of the program's environment, NAME=VALUE (repeatable); recorded in the manifest.
    #[arg(long = "env", value_name = "NAME=VALUE")]
    pub environment: Vec<String>,
    /// Where each attempt has its folder [default: the folder for temporary files]
    #[arg(long, env = "WORKER_SCRATCH", value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// An item's program that runs for longer has failed.
    #[arg(long, env = "WORKER_ITEM_TIMEOUT", value_name = "TIME", value_parser = parse_positive)]
    pub item_timeout: Option<Duration>,
    /// A command that prints what counts of a result, for formats whose bytes cannot be equal: `sim check` and --audit
    /// compare what it prints. {output} and BATCH_OUTPUT are a folder with the result. Split into words as a shell does;
    /// no shell runs it.
    #[arg(long, env = "WORKER_DIGEST", value_name = "COMMAND")]
    pub digest: Option<String>,
    /// A program in place of the fraud model, with its arguments. {input}, {output}, {previous}, {checkpoint},
    /// {tests}, {index} and {seed} are filled in; docs/own-code.md says what the program is given and what must hold.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

impl ExecArgs {
    /// Whether the workload is a program.
    pub fn is_program(&self) -> bool {
        let others = [&self.prepare, &self.evaluate, &self.report];
        !self.command.is_empty() || others.iter().any(|command| command.is_some())
    }

    /// The program, where one is given.
    ///
    /// # Errors
    /// Names the option that is wrong, or that has no use here.
    pub fn setup(&self) -> Result<Option<Setup>, String> {
        if !self.is_program() {
            let options = [
                ("--map", self.map),
                ("--deterministic", self.deterministic),
                ("--aliases", self.aliases),
                ("--env", !self.environment.is_empty()),
                ("--digest", self.digest.is_some()),
            ];
            return match options.iter().find(|(_, is_given)| *is_given) {
                Some((option, _)) => {
                    Err(format!("{option} is for a program of your own\nhint: give its command after `--`"))
                }
                None => Ok(None),
            };
        }
        self.digest()?;
        let environment = self.environment.iter().map(|variable| parse_variable(variable));
        Ok(Some(Setup {
            commands: self.commands()?,
            deterministic: self.deterministic,
            aliases: self.aliases,
            environment: environment.collect::<Result<_, _>>()?,
        }))
    }

    /// The command for `--digest`.
    ///
    /// # Errors
    /// Where it is no command.
    pub fn digest(&self) -> Result<Option<Vec<String>>, String> {
        self.digest.as_ref().map(|text| words(text, "--digest")).transpose()
    }

    fn commands(&self) -> Result<Commands, String> {
        let given =
            |text: &Option<String>, option: &str| text.as_ref().map(|text| words(text, option)).transpose();
        let mut commands = Commands {
            prepare: given(&self.prepare, "--prepare")?,
            train: Some(self.command.clone()).filter(|command| !command.is_empty()),
            evaluate: given(&self.evaluate, "--evaluate")?,
            report: given(&self.report, "--report")?,
        };
        if self.map {
            if commands.prepare.is_some() {
                return Err(
                    "--map makes the command after `--` the one that prepares, and --prepare gives another\n\
                            hint: leave one of them out"
                        .to_owned(),
                );
            }
            commands.prepare = commands.train.take();
        }
        if commands.evaluate.is_some() && commands.train.is_none() {
            return Err("--evaluate needs states to evaluate\nhint: give the command that trains after `--`, without --map".to_owned());
        }
        if commands.report.is_some() && commands.prepare.is_none() && commands.train.is_none() {
            return Err(
                "--report needs results to read\nhint: give the command that trains after `--`".to_owned()
            );
        }
        if commands.prepare.is_none() && commands.train.is_none() {
            return Err("--map needs a command\nhint: give it after `--`".to_owned());
        }
        Ok(commands)
    }

    pub fn local(&self, shown_max: u64, logs: Option<Logs>) -> Local {
        // Of a command line that `setup` has refused nothing is run.
        let digest = self.digest().ok().flatten();
        Local { scratch: self.scratch.clone(), item_timeout: self.item_timeout, shown_max, logs, digest }
    }

    /// The same as arguments of `worker run`, which end with the command.
    pub fn to_arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        if !self.is_program() {
            return arguments;
        }
        let flags =
            [("--map", self.map), ("--deterministic", self.deterministic), ("--aliases", self.aliases)];
        arguments.extend(flags.into_iter().filter(|(_, is)| *is).map(|(flag, _)| OsString::from(flag)));
        let mut option = |name: &str, value: OsString| arguments.extend([OsString::from(name), value]);
        for variable in &self.environment {
            option("--env", variable.into());
        }
        let commands = [
            ("--prepare", &self.prepare),
            ("--evaluate", &self.evaluate),
            ("--report", &self.report),
            ("--digest", &self.digest),
        ];
        for (name, command) in commands.into_iter().filter_map(|(name, given)| Some((name, given.as_ref()?)))
        {
            option(name, command.into());
        }
        if let Some(scratch) = &self.scratch {
            option("--scratch", scratch.into());
        }
        if let Some(most) = self.item_timeout {
            option("--item-timeout", duration_text(most).into());
        }
        if !self.command.is_empty() {
            arguments.push("--".into());
            arguments.extend(self.command.iter().map(OsString::from));
        }
        arguments
    }
}

/// Splits a command into words as a shell does: at spaces, with quotes and backslashes.
///
/// # Errors
/// Where a quote is not closed, or the command is empty.
pub fn words(text: &str, option: &str) -> Result<Vec<String>, String> {
    match shlex::split(text) {
        Some(words) if !words.is_empty() => Ok(words),
        Some(_) => Err(format!(
            "{option} names no program\nhint: give a command, `{option} \"python3 script.py {{input}}\"`"
        )),
        None => Err(format!("{option} {text}: a quote is not closed, or the last backslash quotes nothing")),
    }
}

fn parse_variable(variable: &str) -> Result<(String, String), String> {
    match variable.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("--env {variable}: write it as NAME=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(more: impl FnOnce(&mut ExecArgs)) -> ExecArgs {
        let mut args =
            ExecArgs { command: vec!["train".to_owned(), "{input}".to_owned()], ..ExecArgs::default() };
        more(&mut args);
        args
    }

    #[test]
    fn commands_become_stages() {
        let commands = |args: ExecArgs| args.setup().map(|setup| setup.map(|setup| setup.commands));
        let train = || Some(vec!["train".to_owned(), "{input}".to_owned()]);
        let chain = commands(args(|_| {})).unwrap().unwrap();
        assert_eq!(chain, Commands { train: train(), ..Commands::default() });
        let map = commands(args(|args| args.map = true)).unwrap().unwrap();
        assert_eq!(map, Commands { prepare: train(), ..Commands::default() });
        let whole = args(|args| {
            args.prepare = Some("sh -c 'cat \"$1\"' - {input}".to_owned());
            args.evaluate = Some("eval a\\ b".to_owned());
            args.report = Some("report {input}".to_owned());
        });
        let whole = commands(whole).unwrap().unwrap();
        assert_eq!(whole.prepare.unwrap(), ["sh", "-c", "cat \"$1\"", "-", "{input}"]);
        assert_eq!(whole.evaluate.unwrap(), ["eval", "a b"]);
        assert_eq!(whole.report.unwrap(), ["report", "{input}"]);
        assert_eq!(commands(ExecArgs::default()), Ok(None));
    }

    #[test]
    fn what_does_not_fit_together_is_refused_with_a_hint() {
        let refused = |args: ExecArgs| args.setup().unwrap_err();
        let map = args(|args| (args.map, args.prepare) = (true, Some("a".to_owned())));
        assert!(refused(map).contains("leave one of them out"));
        let no_states = args(|args| (args.map, args.evaluate) = (true, Some("a".to_owned())));
        assert!(refused(no_states).contains("--evaluate needs states"));
        assert!(
            refused(args(|args| args.prepare = Some("a 'b".to_owned()))).contains("a quote is not closed")
        );
        assert!(
            refused(args(|args| args.evaluate = Some(" ".to_owned())))
                .contains("--evaluate names no program")
        );
        let no_results = ExecArgs { report: Some("a".to_owned()), ..ExecArgs::default() };
        assert!(refused(no_results).contains("--report needs results"));
        assert!(refused(args(|args| args.environment = vec!["A".to_owned()])).contains("NAME=VALUE"));
        let alone = ExecArgs { deterministic: true, ..ExecArgs::default() };
        assert!(refused(alone).contains("--deterministic is for a program of your own"));
    }
}
