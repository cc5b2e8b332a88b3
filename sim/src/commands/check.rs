//! `sim check -- COMMAND`: whether a program gives equal bytes for equal inputs, found out on one or two datasets
//! before anybody pays for a cluster. It needs no volume and no queue.

mod digest;
mod kept;
mod pass;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use worker::audit::shown;
use worker::contract::Exit;
use worker::failure::Failure;
use worker::workload::Outcome;
use worker::workload::exec::arguments::CONSTANTS;
use worker::workload::exec::cli::ExecArgs;
use worker::workload::exec::differ::{Difference, blocks_to_compare};
use worker::workload::exec::{Exec, Local, Setup};

use crate::datasets::Datasets;
use crate::report::terminal::print;
use crate::units::Span;
use digest::Digest;
use kept::Kept;
use pass::{Item, Made, Pass, Rehearsal};

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A folder of datasets, as `sim run` takes it. The first one is used; of a chain the first two.
    #[arg(long, value_name = "DIR")]
    datasets: PathBuf,
    /// A dataset to test with [default: those with `test` in their name]
    #[arg(long, value_name = "FILE")]
    test: Vec<PathBuf>,
    /// The time between the two runs, so that time stamps differ.
    #[arg(long, value_name = "TIME", default_value = "2s")]
    apart: Span,
    #[command(flatten)]
    exec: ExecArgs,
}

/// Threads of the second run, where the command line does not set them: runs set one.
const OTHER_THREADS: &str = "2";

/// Checks it, to an exit code.
///
/// # Errors
/// Where there is nothing to check, or the program fails.
pub fn main(args: &CheckArgs) -> Result<u8, Failure> {
    let usage = |why: String| Failure::of(Exit::Usage, why);
    let hint =
        "hint: give the command after `--`: sim check --datasets days/ -- python3 train.py {input} {output}";
    let setup = args
        .exec
        .setup()
        .map_err(usage)?
        .ok_or_else(|| usage(format!("there is no command to check\n{hint}")))?;
    let digest = args.exec.digest().map_err(usage)?;
    let workload = Exec::new(setup.clone(), Local::default());
    let datasets = Datasets::find(&args.datasets, &args.test, &workload)?;
    let scratch = match &args.exec.scratch {
        Some(folder) => tempfile::tempdir_in(folder)
            .map_err(Failure::when(Exit::Usage, format!("use --scratch {}", folder.display()))),
        None => tempfile::tempdir().map_err(Failure::when(Exit::Failed, "make a folder for temporary files")),
    }?;
    let checker = Checker {
        rehearsal: Kept::new(scratch.path().join("blocks"))
            .and_then(|kept| Rehearsal::of(&setup, &datasets, kept))
            .map_err(|error| Failure::of(Exit::Input, format!("{error:#}")))?,
        digest: digest.map(|command| Digest::new(command, &setup, &scratch.path().join("digest"))),
        apart: args.apart.duration(),
        scratch: scratch.path().to_owned(),
        timeout: args.exec.item_timeout,
        setup,
    };
    let exit = checker.check().map_err(|error| Failure::of(Exit::Failed, format!("{error:#}")))?;
    Ok(exit.code())
}

struct Checker {
    setup: Setup,
    rehearsal: Rehearsal,
    digest: Option<Digest>,
    apart: Duration,
    scratch: PathBuf,
    timeout: Option<Duration>,
}

/// How two results of one item compare.
enum Compared {
    Equal,
    /// Other bytes, and the same digest.
    SameDigest(String),
    /// In what the results differ, in words.
    Different(String),
}

impl Checker {
    /// A pass in a folder of its own.
    fn pass(&self, folder: &str, number: u32, setup: Setup) -> Pass {
        Pass { setup, scratch: self.scratch.join(folder), timeout: self.timeout, number }
    }

    fn check(&self) -> anyhow::Result<Exit> {
        let first = self.pass("a", 0, self.setup.clone());
        let made = self.rehearsal.run(&first)?;
        wait(self.apart);
        let other = self.pass("another-folder/b", 1, with_threads(&self.setup));
        let mut same_bytes = true;
        for item in self.rehearsal.items() {
            let again = self.rehearsal.again(&other, &item, &made)?;
            let results = made.of(&item)?;
            match self.compare(results, &again)? {
                Compared::Equal => {
                    print(&format!("{}: {}, equal twice\n", self.rehearsal.words(&item), size(results)))?
                }
                Compared::SameDigest(digest) => {
                    same_bytes = false;
                    print(&format!(
                        "{}: other bytes, the same digest: {digest}\n",
                        self.rehearsal.words(&item)
                    ))?;
                }
                Compared::Different(why) => return self.explain(&item, &made, &why),
            }
        }
        let conditions = "two runs, in another folder, at another time and with another number of threads";
        print(&match same_bytes {
            true => format!(
                "equal: {conditions}, gave the same bytes\nhint: `--deterministic` declares it: then results that differ void a run\n"
            ),
            false => format!(
                "equal by --digest: {conditions}, gave other bytes\nhint: leave out `--deterministic`: the first result that is committed counts\n"
            ),
        })?;
        Ok(Exit::Finished)
    }

    /// Finds out whether it was the threads, and says what differs.
    fn explain(&self, item: &Item, made: &Made, why: &str) -> anyhow::Result<Exit> {
        let again = self.rehearsal.again(&self.pass("c", 2, self.setup.clone()), item, made)?;
        let words = self.rehearsal.words(item);
        match self.compare(made.of(item)?, &again)? {
            Compared::Different(why) => {
                print(&format!("{words}: two runs gave different results\n{why}\n"))?;
                Ok(Exit::Check)
            }
            Compared::Equal | Compared::SameDigest(_) => {
                // What users of the format do is not what helps here.
                let why = why.split("\nhint:").next().unwrap_or_default();
                print(&format!(
                    "{words}: equal with the same number of threads, and not with {OTHER_THREADS}\n{why}\n\
                     equal as long as the number of threads is the same: every run sets one thread\n"
                ))?;
                Ok(Exit::Finished)
            }
        }
    }

    fn compare(&self, first: &Outcome, second: &Outcome) -> anyhow::Result<Compared> {
        let different = match (first, second) {
            (first, second) if first == second => return Ok(Compared::Equal),
            (Outcome::Part(one), Outcome::Part(other)) => {
                let kept = &self.rehearsal.kept;
                let blocks = kept.all(blocks_to_compare(one, other));
                let Some(difference) = Difference::of_results(one, other, &blocks) else {
                    return Ok(Compared::Equal);
                };
                let Some(digest) = &self.digest else {
                    return Ok(Compared::Different(difference.to_string()));
                };
                let (a, b) = (digest.of(one, kept)?, digest.of(other, kept)?);
                if a == b {
                    return Ok(Compared::SameDigest(shown(a.as_bytes())));
                }
                format!("--digest printed {} and {}\n{difference}", shown(a.as_bytes()), shown(b.as_bytes()))
            }
            (Outcome::Rejected(one), Outcome::Rejected(other)) => {
                format!("it was rejected for other reasons:\n{one}\n{other}")
            }
            (Outcome::Rejected(why), _) | (_, Outcome::Rejected(why)) => {
                format!("one of two runs rejected the dataset: {why}")
            }
        };
        Ok(Compared::Different(different))
    }
}

/// The same with another number of threads, where the command line sets none.
fn with_threads(setup: &Setup) -> Setup {
    let mut setup = setup.clone();
    for (name, _) in CONSTANTS.iter().filter(|(name, _)| name.ends_with("_NUM_THREADS")) {
        setup.environment.entry((*name).to_owned()).or_insert_with(|| OTHER_THREADS.to_owned());
    }
    setup
}

fn size(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Part(bytes) => pass::size(bytes),
        Outcome::Rejected(_) => "rejected".to_owned(),
    }
}

#[expect(clippy::disallowed_methods, reason = "real programs are run in real time")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}
