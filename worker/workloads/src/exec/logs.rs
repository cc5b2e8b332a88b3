//! Where the output of programs is kept on the volume: a folder for each item, and in it a file for each of its newest
//! attempts.

use engine::store::{self, Store};

/// Attempts of an item that are kept.
pub const ATTEMPTS_MAX: usize = 10;
const ENDING: &str = ".log";

/// The folder of a run's logs, relative to the volume.
pub fn folder(run: &str) -> String {
    format!("logs/{run}")
}

/// Whether a line of a worker's log is one that a program printed, `train/3 | epoch 1`, and none of the worker's own.
pub fn is_a_programs(line: &str) -> bool {
    let is_item = |item: &str| item == "report" || item.contains('/') && !item.contains(' ');
    line.split_once(" | ").is_some_and(|(item, _)| is_item(item))
}

/// An item's folder in that of its run.
pub(super) fn of_item(item: &str) -> String {
    item.replace('/', "-")
}

/// An attempt's file in the folder of its item.
pub(super) fn of_attempt(attempt: &str) -> String {
    format!("{attempt}{ENDING}")
}

/// Sorts files in an item's folder, the oldest attempt first: attempts' names end with their claims' token and nonce. A
/// queue that lost its data begins with small tokens again, and then the newest may be sorted before others.
pub(super) fn sort(names: &mut [String]) {
    let token = |name: &String| name.rsplit('-').nth(1).and_then(|token| token.parse::<u64>().ok());
    names.sort_by_key(|name| (token(name), name.clone()));
}

/// Those of the names that go before another attempt is kept.
pub(super) fn oldest(mut names: Vec<String>) -> Vec<String> {
    sort(&mut names);
    names.truncate((names.len() + 1).saturating_sub(ATTEMPTS_MAX));
    names
}

/// The files that are kept of an item, relative to the volume, the oldest attempt first; of all items where none is named.
///
/// # Errors
/// Where the volume cannot be listed.
pub async fn kept(store: &impl Store, run: &str, item: Option<&str>) -> store::Result<Vec<String>> {
    let items = match item {
        // It names a folder, and no other one.
        Some(item) if item.starts_with('.') => Vec::new(),
        Some(item) => vec![of_item(item)],
        None => store.list(&folder(run)).await?,
    };
    let mut paths = Vec::new();
    for item in items {
        let folder = format!("{}/{item}", folder(run));
        let mut names = store.list(&folder).await?;
        sort(&mut names);
        paths.extend(names.into_iter().map(|name| format!("{folder}/{name}")));
    }
    Ok(paths)
}
