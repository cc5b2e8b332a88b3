//! A bucket as the volume of `sim run`: the datasets are put there before, and what the run left there is copied
//! afterwards into the folder where everything is checked.

use std::path::Path;

use worker::cli::patiently;
use worker::contract::{Exit, OUTPUT, RunPaths};
use worker::failure::Failure;
use worker::store::any::{self, AnyStore};
use worker::store::location::Location;
use worker::store::{Keep, Kind, Store, StoreError};

use crate::datasets::{Datasets, put};

/// Opens the volume, and looks whether it lets us in.
///
/// # Errors
/// Where it does not, with what to do.
pub async fn open(location: &Location) -> Result<AnyStore, Failure> {
    let unfit = |error: StoreError| {
        let failure = Failure::new(Exit::Volume, format!("use --volume {location}"), &error.detail);
        Failure { hint: error.hint().map(str::to_owned), ..failure }
    };
    let store = any::open(location).map_err(unfit)?;
    store.reach().await.map_err(unfit)?;
    Ok(store)
}

/// Puts the datasets and their list on the volume. What lies there already stays.
///
/// # Errors
/// Where a dataset lies there with other content, or the volume holds a run of this name.
pub async fn stage(store: &AnyStore, datasets: &Datasets, run: &str, list: &str) -> Result<(), Failure> {
    let root = RunPaths::new(run).root().to_owned();
    if !patiently(async || store.list(&root).await).await.map_err(failed("list", &root))?.is_empty() {
        let failure =
            Failure::new(Exit::Volume, format!("begin run {run}"), "the volume holds one of this name");
        return Err(failure.hint("give another prefix, or the --out of the runs that are there"));
    }
    for path in &datasets.paths {
        let bytes = datasets.content(path)?;
        match patiently(async || store.get(path).await).await {
            Ok(found) if found == bytes => {}
            Ok(_) => {
                let why = "it has other content, from an earlier run";
                return Err(
                    Failure::new(Exit::Input, format!("write {path}"), why).hint("give another --volume")
                );
            }
            Err(error) if error.kind == Kind::NotFound => {
                let written = patiently(async || store.put(path, &bytes, Keep::Durable).await).await;
                written.map_err(failed("write", path))?;
            }
            Err(error) => return Err(failed("read", path)(error)),
        }
    }
    let listed = datasets.paths.join("\n") + "\n";
    let put = patiently(async || store.put(list, listed.as_bytes(), Keep::Durable).await).await;
    put.map_err(failed("write", list))
}

/// The paths of a run's public files, as [`crate::view::public_names`] has them of a folder.
///
/// # Errors
/// Where the volume cannot be listed.
pub async fn public_names(store: &AnyStore, run: &str) -> Result<Vec<String>, Failure> {
    let paths = RunPaths::new(run);
    let private = [paths.attempts(), paths.events(), paths.blocks()];
    let single = [paths.report(), paths.violation()];
    let mut all = Vec::new();
    for (path, depth) in below(store, paths.root(), &private).await? {
        if depth > 0 || single.contains(&path) {
            all.push(path);
        }
    }
    all.sort_unstable();
    Ok(all)
}

/// Copies a run's files and `output/` below a folder.
///
/// # Errors
/// Where one cannot be read or written.
pub async fn fetch(store: &AnyStore, run: &str, to: &Path) -> Result<(), Failure> {
    let paths = RunPaths::new(run);
    for folder in [paths.root(), OUTPUT] {
        for (path, _) in below(store, folder, &[paths.attempts()]).await? {
            let bytes = patiently(async || store.get(&path).await).await.map_err(failed("read", &path))?;
            put(&to.join(&path), &bytes)?;
        }
    }
    Ok(())
}

/// The files below a folder, each with the number of folders between, without those of `left_out`.
async fn below(store: &AnyStore, root: &str, left_out: &[String]) -> Result<Vec<(String, usize)>, Failure> {
    let mut files = Vec::new();
    let mut open = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = open.pop() {
        let names = patiently(async || store.list(&folder).await).await;
        for name in names.map_err(failed("list", &folder))? {
            let path = format!("{folder}/{name}");
            if left_out.contains(&path) {
                continue;
            }
            // A listing does not tell objects from folders.
            let there = patiently(async || store.exists(&path).await).await;
            match there.map_err(failed("look at", &path))? {
                true => files.push((path, depth)),
                false => open.push((path, depth + 1)),
            }
        }
    }
    Ok(files)
}

fn failed<'p>(verb: &'p str, path: &'p str) -> impl Fn(StoreError) -> Failure + 'p {
    move |error| {
        let failure = Failure::new(Exit::Volume, format!("{verb} {path} on the volume"), &error.detail);
        Failure { hint: error.hint().map(str::to_owned), ..failure }
    }
}
