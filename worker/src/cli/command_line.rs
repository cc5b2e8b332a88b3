//! A program's command line, read; and what is wrong with it, in the form of all other errors.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Command, Parser};

use crate::contract::Exit;
use crate::failure::Failure;
use crate::workload::exec::scenario;

/// How clap begins a refusal, a suggestion, and what follows that `--help` says better.
const REFUSAL: &str = "error: ";
const SUGGESTION: &str = "tip: ";
const BEHIND: [&str; 2] = ["Usage: ", "For more information"];

/// Reads the command line, the options of its scenario file among it.
///
/// # Errors
/// The exit code, after what was asked for (`--help`) or what is wrong was written.
pub fn read<P: Parser>(args: Vec<OsString>) -> Result<P, ExitCode> {
    let program = P::command();
    let args =
        scenario::expand(program.get_name(), args).map_err(|why| Failure::of(Exit::Usage, why).report())?;
    P::try_parse_from(&args).map_err(|error| match refusal(&error.render().to_string()) {
        Some(why) => why.also(&format!("`{} --help` says what it takes", asked(&program, &args))).report(),
        None => {
            // Where the terminal is gone there is nobody to tell.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { Exit::Usage.code() } else { 0 })
        }
    })
}

/// What clap says of a wrong command line: why, and what it suggests. None: it is no refusal, but help.
fn refusal(rendered: &str) -> Option<Failure> {
    let said = rendered.strip_prefix(REFUSAL)?.lines();
    let said = said.take_while(|line| !BEHIND.iter().any(|words| line.starts_with(words)));
    let (suggestions, why): (Vec<&str>, Vec<&str>) =
        said.partition(|line| line.trim_start().starts_with(SUGGESTION));
    let failure = Failure::of(Exit::Usage, why.join("\n").trim_end());
    let suggestions = suggestions.iter().filter_map(|line| line.trim_start().strip_prefix(SUGGESTION));
    Some(suggestions.fold(failure, Failure::also))
}

/// The program and the command of it that was asked for.
fn asked(program: &Command, args: &[OsString]) -> String {
    let commands = args.iter().skip(1).filter_map(|word| program.find_subcommand(word));
    let names = std::iter::once(program).chain(commands.take(1)).map(Command::get_name);
    names.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::{Args, CommandFactory as _, Subcommand};

    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "tool")]
    struct Tool {
        #[arg(long, global = true)]
        name: Option<String>,
        #[command(subcommand)]
        command: Task,
    }

    #[derive(Debug, Subcommand)]
    enum Task {
        Make(Make),
    }

    #[derive(Debug, Args)]
    struct Make {
        #[arg(long)]
        volume: u8,
        #[arg(long, value_parser = ["text", "json"])]
        form: Option<String>,
    }

    fn said(line: &str) -> Option<String> {
        let error = Tool::try_parse_from(line.split(' ')).unwrap_err();
        refusal(&error.render().to_string()).map(|failure| failure.to_string())
    }

    #[test]
    fn a_refusal_says_why_and_what_clap_suggests_and_no_more() {
        let table = [
            ("tool mak", "unrecognized subcommand 'mak'\nhint: a similar subcommand exists: 'make'"),
            (
                "tool make --volum 1",
                "unexpected argument '--volum' found\nhint: a similar argument exists: '--volume'",
            ),
            ("tool make", "the following required arguments were not provided:\n  --volume <VOLUME>"),
            (
                "tool make --volume x",
                "invalid value 'x' for '--volume <VOLUME>': invalid digit found in string",
            ),
            (
                "tool make --volume 1 --form xml",
                "invalid value 'xml' for '--form <FORM>'\n  [possible values: text, json]",
            ),
        ];
        for (line, expected) in table {
            assert_eq!(said(line).as_deref(), Some(expected), "{line}");
        }
        assert_eq!(said("tool --help"), None);
    }

    #[test]
    fn help_is_named_for_the_command_that_was_asked_for() {
        let asked = |line: &str| {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            super::asked(&Tool::command(), &args)
        };
        assert_eq!(asked("/usr/bin/tool --name x make --volum 1"), "tool make");
        assert_eq!(asked("tool mak"), "tool");
    }
}
