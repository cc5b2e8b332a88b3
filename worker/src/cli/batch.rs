//! What a batch is and within which limits, as a command line says it: the same options for a worker that is started by
//! hand and for a launcher that starts it elsewhere.

use std::ffi::OsString;
use std::fmt::Display;
use std::time::Duration;

use clap::Args;

use crate::duration::{duration_text, parse_duration, parse_positive};
use crate::run::After;
use crate::workload::registry::WorkloadArgs;

const STALL: &str = "60s";
const PROGRESS_EVERY: &str = "1s";
const RETRIES: u32 = 5;
const MAX_DELIVERIES: u32 = 20;

/// The batch's own options.
#[derive(Debug, Clone, Args)]
pub struct BatchArgs {
    /// Continue a complete run: begin with its last state, and with its datasets as history. Datasets that are part
    /// of it already are left out
    #[arg(long, env = "WORKER_AFTER", value_name = "RUN", conflicts_with = "continues")]
    after: Option<String>,
    /// Continue the newest complete run; where there is none, begin from nothing
    #[arg(long = "continue", env = "WORKER_CONTINUE")]
    continues: bool,
    /// The date that the report shows [default: when the run begins]
    #[arg(long, env = "WORKER_CREATED", value_name = "TEXT")]
    pub created: Option<String>,
    /// The time without progress after which a worker no longer extends an item's lease.
    #[arg(long, env = "WORKER_STALL", value_name = "TIME", default_value = STALL, value_parser = parse_positive)]
    pub stall: Duration,
    /// The longest time between two saves of progress; they come more often where that is cheap. Hashing, users' programs,
    /// and joins and folds of more than 16,384 rows save progress. Reading a dataset and measuring a model start over.
    #[arg(long, env = "WORKER_PROGRESS_EVERY", value_name = "TIME", default_value = PROGRESS_EVERY,
          value_parser = parse_duration)]
    pub progress_every: Duration,
    /// Failed attempts at one item (its dataset is missing or changed, or the workload fails) before the worker ends.
    #[arg(long, env = "WORKER_RETRIES", value_name = "N", default_value_t = RETRIES)]
    pub retries: u32,
    /// Consecutive workers that may die at one item without progress before the run stops with exit code 10.
    /// A worker that runs out of memory counts as one that died.
    #[arg(long, env = "WORKER_MAX_DELIVERIES", value_name = "N", default_value_t = MAX_DELIVERIES,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_deliveries: u32,
    /// Exit with 9 where a dataset was rejected or a pushed path refused, though the run is complete. If no dataset
    /// could be trained on, it exits with 9 in any case.
    #[arg(long, env = "WORKER_FAIL_ON_REJECTED")]
    pub fail_on_rejected: bool,
    /// Rounds of extra work on each dataset, saved and resumed as hashing is (4,000 take about a
    /// millisecond); for trying out preemptions.
    #[arg(long, env = "WORKER_WORK_ROUNDS", value_name = "N", default_value_t = 0)]
    pub work_rounds: u64,
    #[command(flatten)]
    pub workload: WorkloadArgs,
}

impl BatchArgs {
    /// The run that this one continues.
    pub fn after(&self) -> Option<After> {
        match &self.after {
            Some(run) => Some(After::Run(run.clone())),
            None => self.continues.then_some(After::Newest),
        }
    }

    /// Whether the workload is a program of the user's.
    pub fn is_program(&self) -> bool {
        self.workload.is_program()
    }

    /// Refuses what `worker run` would refuse of these options.
    ///
    /// # Errors
    /// Names the option that is wrong, or that has no use here.
    pub fn check(&self) -> Result<(), String> {
        let (name, params) = self.workload.named(self.work_rounds)?;
        self.workload.registry(0, None).make(name, &params).map(|_| ())
    }

    /// The same as arguments of `worker run`, which end with the command. What is as by default is left out.
    pub fn to_arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut option = |name: &str, value: &dyn Display, is_given: bool| {
            if is_given {
                arguments.extend([name.into(), value.to_string().into()]);
            }
        };
        let is_other = |time: Duration, default: &str| parse_duration(default) != Ok(time);
        for (name, text) in [("--after", &self.after), ("--created", &self.created)] {
            option(name, &text.as_deref().unwrap_or_default(), text.is_some());
        }
        option("--stall", &duration_text(self.stall), is_other(self.stall, STALL));
        let every = self.progress_every;
        option("--progress-every", &duration_text(every), is_other(every, PROGRESS_EVERY));
        option("--retries", &self.retries, self.retries != RETRIES);
        option("--max-deliveries", &self.max_deliveries, self.max_deliveries != MAX_DELIVERIES);
        option("--work-rounds", &self.work_rounds, self.work_rounds > 0);
        let flags = [("--continue", self.continues), ("--fail-on-rejected", self.fail_on_rejected)];
        arguments.extend(flags.into_iter().filter(|(_, is)| *is).map(|(flag, _)| OsString::from(flag)));
        arguments.extend(self.workload.to_arguments());
        arguments
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        batch: BatchArgs,
    }

    fn parsed(arguments: &[OsString]) -> BatchArgs {
        let program = OsString::from("worker");
        Cli::try_parse_from([&[program], arguments].concat()).unwrap().batch
    }

    /// A launcher's options reach the worker whole.
    #[test]
    fn what_is_given_comes_back_from_its_arguments() {
        let lines: [&[&str]; 6] = [
            &[],
            &["--param", "a=b", "--param", "c=d", "--map-columns", "id=x,time=y", "--text-ids"],
            &[
                "--after",
                "7",
                "--created",
                "a date",
                "--retries",
                "2",
                "--max-deliveries",
                "3",
                "--stall",
                "90s",
            ],
            &["--continue", "--fail-on-rejected", "--progress-every", "0s", "--work-rounds", "5"],
            &[
                "--map",
                "--deterministic",
                "--audit",
                "5%",
                "--env",
                "A=b c",
                "--",
                "sh",
                "-c",
                "x=$(date); --retries 9",
            ],
            &[
                "--prepare",
                "p 'a b'",
                "--evaluate",
                "e",
                "--report",
                "r",
                "--item-timeout",
                "90m",
                "--digest",
                "d {output}",
                "--aliases",
                "--",
                "t",
                "{input}",
            ],
        ];
        for line in lines {
            let line: Vec<OsString> = line.iter().map(OsString::from).collect();
            let given = parsed(&line);
            let arguments = given.to_arguments();
            assert_eq!(format!("{:?}", parsed(&arguments)), format!("{given:?}"), "{line:?}");
            // What is as by default is not said.
            assert_eq!(arguments.is_empty(), line.is_empty(), "{arguments:?}");
        }
    }

    #[test]
    fn what_a_worker_would_refuse_is_refused_by_its_launcher() {
        let check = |line: &[&str]| {
            let line: Vec<OsString> = line.iter().map(OsString::from).collect();
            parsed(&line).check()
        };
        assert_eq!(check(&["--map", "--", "cat"]), Ok(()));
        assert!(check(&["--audit", "5%", "--", "cat"]).unwrap_err().contains("declare --deterministic"));
        assert_eq!(check(&["--audit", "5%", "--deterministic", "--", "cat"]), Ok(()));
        assert_eq!(check(&["--audit", "5%", "--digest", "d", "--", "cat"]), Ok(()));
        let both = ["--audit", "5%", "--digest", "d", "--deterministic", "--", "cat"];
        assert!(check(&both).unwrap_err().contains("leave one of them out"));
        assert!(check(&["--digest", "a 'b", "--", "cat"]).unwrap_err().contains("a quote is not closed"));
        assert!(check(&["--param", "a"]).unwrap_err().contains("NAME=VALUE"));
        assert!(check(&["--param", "no-such=1"]).is_err());
        assert!(check(&["--env", "A", "--", "cat"]).unwrap_err().contains("NAME=VALUE"));
        assert!(check(&["--deterministic"]).unwrap_err().contains("program of your own"));
    }
}
