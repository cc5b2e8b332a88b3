//! How an operator ends a run that nobody wants to finish, or nobody can. Workers may still be at work, so commits
//! decide (rules 2 and 12): a seal ends the manifest, so that no intake follows it, and a record in place of the report
//! says that the run was left. A report that is there first makes the run complete.

use std::time::Duration;

use crate::contract::RunPaths;
use crate::ending::{Ending, Left, Why};
use crate::hash::Hash;
use crate::manifest::Page;
use crate::mutant::Mutant;
use crate::reader::ManifestReader;
use crate::record::Record;
use crate::store::{Keep, Kind, Put, Store, StoreError};
use crate::system::System;

/// How often a commit is tried: the worker that reports just now may sweep what is staged.
const TRIES: u32 = 4;
/// Between tries, for a look-up that a client cached to grow old.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Abandoned {
    /// The run is abandoned, by this call or by one before.
    Now,
    /// It was left before, for this reason.
    Before(Left),
    /// It was complete first.
    Complete,
    /// It has no manifest, so that it holds nothing.
    NotBegun,
}

/// Why a run could not be abandoned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AbandonError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What lies in the report's place says neither.
    #[error("{path}: {why}")]
    Damaged {
        /// Where.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Ends a run before it is complete. May be called again, and by several at once.
///
/// # Errors
/// Where the store fails: then the run may be abandoned all the same.
pub async fn abandon<S: Store, Y: System>(
    store: &S,
    system: &Y,
    run: &str,
    reason: Option<String>,
) -> Result<Abandoned, AbandonError> {
    let paths = RunPaths::new(run);
    if !has_ended_pages(store, system, &paths, run).await? {
        return Ok(Abandoned::NotBegun);
    }
    let left = Left { why: Why::Abandoned, reason };
    let path = paths.report();
    let found = match put(store, system, &paths, &path, &left.record()).await? {
        None => return Ok(Abandoned::Now),
        Some(found) => found,
    };
    let ending = Record::decode_at(found, paths.place(&path))
        .map_err(|damage| damage.to_string())
        .and_then(|record| Ending::of(&record));
    match ending {
        Ok(Ending::Report(_)) => Ok(Abandoned::Complete),
        Ok(Ending::Left(before)) => Ok(Abandoned::Before(before)),
        Err(why) => Err(AbandonError::Damaged { path, why }),
    }
}

/// Seals the manifest, unless that was done; false where the run has none.
async fn has_ended_pages<S: Store, Y: System>(
    store: &S,
    system: &Y,
    paths: &RunPaths,
    run: &str,
) -> Result<bool, AbandonError> {
    let mut reader = ManifestReader::new(run);
    while let Some(page) = reader.next_page() {
        match store.get(&page).await {
            Ok(bytes) => {
                // Nothing follows a page that cannot be read: no worker goes past it either.
                if reader.take(bytes).is_err() {
                    return Ok(true);
                }
                continue;
            }
            Err(error) if error.kind == Kind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let Some(manifest) = reader.manifest() else { return Ok(false) };
        if system.breaks(Mutant::AbandonUnsealed) {
            return Ok(true);
        }
        // A chapter may come first: then it is read, and the seal follows it.
        let seal = Record::part(Hash::default(), Page::Seal { datasets: manifest.len() }.encode());
        put(store, system, paths, &page, &seal).await?;
        if system.breaks(Mutant::AbandonBeforeChapter) {
            break;
        }
    }
    // The page's writer may be gone before its name was durable.
    store.settle(&paths.manifest()).await?;
    Ok(true)
}

/// Makes a record public unless something is there; returns what is there in its place.
async fn put<S: Store, Y: System>(
    store: &S,
    system: &Y,
    paths: &RunPaths,
    path: &str,
    record: &Record,
) -> Result<Option<Vec<u8>>, StoreError> {
    let bytes = record.encode(paths.place(path));
    let mut tries = 0;
    loop {
        tries += 1;
        let name = format!("{}/abandon-{:032x}", paths.attempts(), system.nonce());
        let put = match store.stage(&name, &bytes, Keep::Durable).await {
            Ok(staged) => store.put_if_absent(&staged, path).await,
            Err(error) => Err(error),
        };
        store.unstage(&name).await;
        match put {
            Ok(Put::Ours { .. }) => return Ok(None),
            Ok(Put::Theirs(found)) => return Ok(Some(found)),
            Err(error) if tries >= TRIES || error.hint().is_some() && error.kind != Kind::NotFound => {
                return Err(error);
            }
            Err(_) => system.sleep(TRY_AGAIN).await,
        }
    }
}
