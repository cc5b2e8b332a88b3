//! What lies on a volume of its runs, read through the store, for all commands that show some of it.

use crate::contract::{Exit, RUNS, RunPaths, is_later};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::pipeline::Pipeline;
use crate::plan::CommitIndex;
use crate::reader::ManifestReader;
use crate::reader::state::Files;
use crate::record::Record;
use crate::store::any::AnyStore;
use crate::store::{Kind, Store, StoreError};
use crate::workload::{Outcome, registry};

/// How much of an event file is read to find when it begins, and how much to find when it ends.
const HEAD_BYTES: u64 = 4 << 10;
const TAIL_BYTES: u64 = 64 << 10;

pub(crate) fn unreadable(error: StoreError) -> Failure {
    Failure::of(Exit::Volume, error.with_hint())
}

/// The names of the runs on a volume: the numbered ones by their number, then the others.
pub(crate) async fn runs(store: &AnyStore) -> Result<Vec<String>, Failure> {
    let mut runs = Vec::new();
    for name in store.list(RUNS).await.map_err(unreadable)? {
        // The volume's own files lie among the runs' folders.
        if !store.list(&format!("{RUNS}/{name}")).await.map_err(unreadable)?.is_empty() {
            runs.push(name);
        }
    }
    runs.sort_by_key(|run| (run.parse::<u32>().map_or((true, 0), |number| (false, number)), run.clone()));
    Ok(runs)
}

/// The files of a run that say what it has come to.
pub(crate) async fn files(store: &AnyStore, run: &str) -> Result<Files, Failure> {
    let mut files = Files::default();
    let paths = RunPaths::new(run);
    let mut reader = ManifestReader::new(run);
    while let Some(page) = reader.next_page() {
        let Some(bytes) = get(store, &page).await? else { break };
        if let Err(why) = reader.take(bytes) {
            files.damage = Some(why.to_string());
            break;
        }
    }
    files.manifest = reader.manifest().cloned();
    if let Some(record) = record(store, &paths, &paths.report(), &mut files.damage).await? {
        match Ending::of(&record) {
            Ok(ending) => files.ending = Some(ending),
            Err(why) => files.damage = Some(format!("{}: {why}", paths.report())),
        }
    }
    if let Some(bytes) = get(store, &paths.violation()).await? {
        files.violation = Some(match Record::decode(bytes).map(|record| record.outcome) {
            Ok(Outcome::Part(text)) => String::from_utf8_lossy(&text).into_owned(),
            Ok(Outcome::Rejected(text)) => text,
            // That it is there is enough.
            Err(why) => why.to_string(),
        });
    }
    Ok(files)
}

async fn record(
    store: &AnyStore,
    paths: &RunPaths,
    path: &str,
    damage: &mut Option<String>,
) -> Result<Option<Record>, Failure> {
    let Some(bytes) = get(store, path).await? else { return Ok(None) };
    match Record::decode_at(bytes, paths.place(path)) {
        Ok(record) => Ok(Some(record)),
        Err(why) => {
            *damage = Some(format!("{path}: {why}"));
            Ok(None)
        }
    }
}

async fn get(store: &AnyStore, path: &str) -> Result<Option<Vec<u8>>, Failure> {
    match store.get(path).await {
        Err(error) if error.kind == Kind::NotFound => Ok(None),
        bytes => bytes.map(Some).map_err(unreadable),
    }
}

/// The stages of a run's workload, where this program knows it.
pub(crate) fn pipeline(files: &Files) -> Result<Option<Pipeline>, String> {
    let spec = files.manifest.as_ref().map(|manifest| &manifest.spec);
    spec.map(|spec| registry::standard().of(spec).map(|workload| workload.pipeline())).transpose()
}

/// Which stages of which datasets of a run are committed, by a listing.
pub(crate) async fn commits(store: &AnyStore, run: &str, pipeline: Pipeline) -> Result<CommitIndex, Failure> {
    let paths = RunPaths::new(run);
    let mut commits = CommitIndex::default();
    for stage in pipeline.stages() {
        let mut folders = vec![paths.stage(pipeline.folder(stage))];
        while let Some(folder) = folders.pop() {
            let names = store.list(&folder).await.map_err(unreadable)?;
            let later = names.iter().filter(|name| is_later(name));
            folders.extend(later.map(|name| format!("{folder}/{name}")));
            names.iter().filter_map(|name| name.parse().ok()).for_each(|index| commits.insert(stage, index));
        }
    }
    Ok(commits)
}

/// When the first of a run's workers started and when the last of them noted something, by their own clocks.
pub(crate) async fn span_ms(store: &AnyStore, run: &str) -> Result<Option<(u64, u64)>, Failure> {
    let folder = RunPaths::new(run).events();
    let mut span: Option<(u64, u64)> = None;
    for name in store.list(&folder).await.map_err(unreadable)? {
        let path = format!("{folder}/{name}");
        // A file that was removed since the listing says nothing.
        let Ok(size) = store.size(&path).await else { continue };
        let head = store.get_range(&path, 0, HEAD_BYTES).await.unwrap_or_default();
        let tail =
            store.get_range(&path, size.saturating_sub(TAIL_BYTES), TAIL_BYTES).await.unwrap_or_default();
        let events = [head, tail].map(|bytes| crate::events::parse(&bytes).0);
        for at_ms in events.iter().flatten().map(|event| event.at_ms) {
            let (first, last) = span.unwrap_or((at_ms, at_ms));
            span = Some((first.min(at_ms), last.max(at_ms)));
        }
    }
    Ok(span)
}
