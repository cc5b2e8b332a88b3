//! Runs that are on the volume already: the one that this run continues (`--continue`, `--after`), and this run itself
//! where it was interrupted (`--resume`).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use worker::contract::{Exit, RUNS, RunPaths};
use worker::failure::Failure;
use worker::manifest::{Manifest, Role};
use worker::reader::ManifestReader;
use worker::workload::longer;

pub(super) struct Earlier {
    pub run: String,
    manifest: Manifest,
}

impl Earlier {
    /// A run that may not have ended; `None` where it has not begun.
    ///
    /// # Errors
    /// Where its manifest is damaged.
    pub fn begun(volume: &Path, run: &str) -> Result<Option<Self>, Failure> {
        let reader = ManifestReader::read(run, |path| fs::read(volume.join(path)).ok());
        let doing = format!("read run {run} of {}", volume.display());
        let reader = reader.map_err(Failure::when(Exit::Damaged, doing))?;
        Ok(reader.manifest().map(|manifest| Self { run: run.to_owned(), manifest: manifest.clone() }))
    }

    /// The complete run of this name.
    ///
    /// # Errors
    /// Where it is not complete.
    pub fn named(volume: &Path, run: &str) -> Result<Self, Failure> {
        Self::begun(volume, run)?.filter(|earlier| earlier.manifest.sealed).ok_or_else(|| {
            let doing = format!("continue run {run} of {}", volume.display());
            let failure = Failure::new(Exit::NoDatasets, doing, "there is no complete run of this name");
            failure.hint("name another with --after, or give --continue")
        })
    }

    /// The newest complete run, if there is one.
    ///
    /// # Errors
    /// Where its manifest cannot be read.
    pub fn newest(volume: &Path) -> Result<Option<Self>, Failure> {
        let entries = fs::read_dir(volume.join(RUNS)).into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let complete = numbers.filter(|run| volume.join(RunPaths::new(&run.to_string()).report()).exists());
        complete.max().map(|run| Self::named(volume, &run.to_string())).transpose()
    }

    /// Paths of the datasets that become this run's history.
    pub fn held(&self) -> BTreeSet<&str> {
        let kept = self.manifest.datasets.iter().filter(|dataset| dataset.role != Role::Test);
        kept.map(|dataset| dataset.path.as_str()).collect()
    }

    /// Its rounds of extra work: what goes on with it must have the same parameters.
    pub fn rounds(&self) -> u64 {
        self.manifest.spec.params.get(longer::PARAM).and_then(|rounds| rounds.parse().ok()).unwrap_or(0)
    }
}
