//! The event files of a run, read on from where they were read to.

use std::collections::BTreeMap;

use crate::contract::RunPaths;
use crate::reader::activity::Activity;
use crate::store::any::AnyStore;
use crate::store::{Store, StoreError};

/// Most bytes taken from a file at once; what is left comes with the next look.
const READ_BYTES: u64 = 1 << 20;

/// Up to where each file was read.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    read: BTreeMap<String, u64>,
}

impl Tail {
    /// The whole lines that have been added since, by file; none where there is nothing new.
    pub(crate) async fn news(
        &mut self,
        store: &AnyStore,
        run: &str,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let folder = RunPaths::new(run).events();
        let mut news = Vec::new();
        for name in store.list(&folder).await?.into_iter().filter(|name| name.ends_with(".jsonl")) {
            let from = self.read.entry(name.clone()).or_default();
            let added = whole_lines(store, &format!("{folder}/{name}"), *from).await?;
            if !added.is_empty() {
                *from += added.len() as u64;
                news.push((name, added));
            }
        }
        Ok(news)
    }

    /// Takes all that there is into an account of the run.
    pub(crate) async fn follow(
        &mut self,
        store: &AnyStore,
        run: &str,
        activity: &mut Activity,
    ) -> Result<(), StoreError> {
        loop {
            let news = self.news(store, run).await?;
            if news.is_empty() {
                return Ok(());
            }
            news.iter().for_each(|(file, lines)| activity.take(file, lines));
        }
    }
}

/// The whole lines of a file from a place on: those of the bytes that are taken at once, or a longer one.
async fn whole_lines(store: &AnyStore, path: &str, from: u64) -> Result<Vec<u8>, StoreError> {
    let mut length = READ_BYTES;
    loop {
        let mut added = store.get_range(path, from, length).await?;
        let whole = added.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        if whole > 0 || (added.len() as u64) < length {
            added.truncate(whole);
            return Ok(added);
        }
        length *= 2;
    }
}
