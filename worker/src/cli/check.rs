//! `worker check`: whether the fraud workload would read files, without a run.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, print};
use crate::contract::Exit;
use crate::input::cli::ColumnArgs;
use crate::input::{Columns, Transactions, read_mapped};

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    columns: ColumnArgs,
    /// Files as they would lie in datasets/training.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Shows of each file what was read, or why it would be rejected.
pub(crate) fn check(args: &CheckArgs) -> Result<Exit, Failure> {
    let columns = args.columns.columns().map_err(|why| Failure::of(Exit::Usage, why))?;
    let (mut text, mut rejected) = (String::new(), 0);
    for file in &args.files {
        let shown = file.display();
        match read(file, &columns) {
            Ok(found) => text += &format!("{shown}: {}\n", words(&found)),
            Err(why) => {
                rejected += 1;
                text += &format!("{shown}: rejected: {why}\n");
            }
        }
    }
    print(&text)?;
    if rejected == 0 {
        return Ok(Exit::Finished);
    }
    let reason = format!(
        "{rejected} of {} files would be rejected\nhint: docs/data.md says what a file may hold",
        args.files.len()
    );
    Err(Failure::of(Exit::Input, reason))
}

fn read(file: &Path, columns: &Columns) -> Result<Transactions, String> {
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    read_mapped(&file.to_string_lossy(), &bytes, columns).map_err(|reject| reject.to_string())
}

/// What a file holds, in numbers that a person can compare with what they know of it.
fn words(found: &Transactions) -> String {
    let distinct = |ids: &[i64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    };
    let time = |seconds: Option<&i64>| {
        let at = seconds.and_then(|at| jiff::Timestamp::from_second(*at).ok());
        at.map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
    };
    let cents: i64 = found.cents.iter().sum();
    format!(
        "{} rows, {} to {} UTC, {} customers, {} terminals, {}.{:02} in all, {} frauds",
        found.id.len(),
        time(found.time.first()),
        time(found.time.last()),
        distinct(&found.customer),
        distinct(&found.terminal),
        cents / 100,
        cents % 100,
        found.fraud.iter().filter(|fraud| **fraud).count()
    )
}
