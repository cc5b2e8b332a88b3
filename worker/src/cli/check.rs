//! `worker check`: whether the fraud workload would read files, without a run.

use clap::Args;

use super::{Failure, location, print};
use crate::contract::Exit;
use crate::explained;
use crate::input::Transactions;
use crate::input::cli::ColumnArgs;
use crate::store::any;
use crate::store::location::{BucketUrl, Location};
use crate::store::{Store, StoreError};
use crate::workload::fraud::read_dataset;

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    columns: ColumnArgs,
    /// Files as they would lie in datasets/training, also as URLs in a bucket.
    #[arg(required = true, value_name = "FILE", value_parser = location())]
    files: Vec<Location>,
}

/// Shows of each file what was read, or why it would be rejected.
pub(crate) async fn check(args: &CheckArgs) -> Result<Exit, Failure> {
    let columns = args.columns.columns().map_err(|why| Failure::of(Exit::Usage, why))?;
    let (mut text, mut rejected, mut unread) = (String::new(), 0, 0);
    for file in &args.files {
        let shown = file.to_string();
        let bytes = match bytes_of(file).await {
            Ok(bytes) => bytes,
            Err(why) => {
                unread += 1;
                text += &format!("{shown}: cannot be opened: {why}\n");
                continue;
            }
        };
        match read_dataset(&shown, &bytes, &columns) {
            Ok(found) => text += &format!("{shown}: {}\n", words(&found)),
            Err(why) => {
                rejected += 1;
                text += &format!("{shown}: rejected: {why}\n");
            }
        }
    }
    print(&text)?;
    if unread > 0 {
        let reason = format!("{unread} of {} files could not be opened", args.files.len());
        return Err(
            Failure::of(Exit::Input, reason).hint("look at the paths above; a folder's files are FOLDER/*")
        );
    }
    if rejected == 0 {
        return Ok(Exit::Finished);
    }
    let reason = format!(
        "{rejected} of {} files would be rejected\nhint: docs/data.md says what a file may hold",
        args.files.len()
    );
    Err(Failure::of(Exit::Input, reason).page(explained::REJECTED))
}

async fn bytes_of(file: &Location) -> Result<Vec<u8>, String> {
    let url = match file {
        Location::Folder(file) => return std::fs::read(file).map_err(|error| error.to_string()),
        Location::Bucket(url) => url,
    };
    let in_words = |error: StoreError| error.detail;
    let (folder, name) = url.prefix.rsplit_once('/').unwrap_or(("", &url.prefix));
    let folder = Location::Bucket(BucketUrl { prefix: folder.to_owned(), ..url.clone() });
    any::open(&folder).map_err(in_words)?.get(name).await.map_err(in_words)
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
