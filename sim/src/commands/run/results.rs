//! What a run has put on its volume, read once: all that is said of it afterwards comes from here.

use std::collections::BTreeMap;
use std::sync::Arc;

use worker::contract::{Exit, RunPaths};
use worker::failure::Failure;
use worker::manifest::Manifest;
use worker::reader::ManifestReader;
use worker::record::Record;
use worker::report::Report;
use worker::workload::{Curve, Outcome, Workload, registry};

use super::Prepared;
use crate::view::View;

/// The report for people.
pub(super) const REPORT: &str = "report.txt";

pub(super) struct Results {
    pub view: View,
    paths: RunPaths,
    /// As far as it can be read.
    manifest: Option<Manifest>,
    /// That of the manifest; without one, that of the command line.
    pub workload: Arc<dyn Workload>,
    /// The report that the run has committed. `output/` may still hold an earlier run's.
    pub report: Option<Report>,
}

impl Results {
    /// # Errors
    /// Where a file cannot be read, or the manifest names a workload that this program does not have.
    pub fn read(prepared: &Prepared) -> Result<Self, Failure> {
        let (view, paths) =
            (View::read(&prepared.out.root, &prepared.plan.run)?, RunPaths::new(&prepared.plan.run));
        let reader = ManifestReader::read(&prepared.plan.run, |path| view.files.get(path).cloned());
        let manifest = reader.ok().and_then(|reader| reader.manifest().cloned());
        let workload = match &manifest {
            Some(manifest) => registry::standard()
                .of(&manifest.spec)
                .map_err(|reason| Failure::of(Exit::Version, reason))?,
            None => prepared.workload.clone(),
        };
        let report = record(&view, &paths.report()).and_then(|record| Report::of(&record).ok());
        Ok(Self { view, paths, manifest, workload, report })
    }

    /// Reasons of rejected datasets, by path.
    pub fn rejected(&self) -> BTreeMap<String, String> {
        let mut rejected = BTreeMap::new();
        let pipeline = self.workload.pipeline();
        for dataset in self.manifest.iter().flat_map(|manifest| &manifest.datasets) {
            for stage in pipeline.stages() {
                let path = self.paths.commit(pipeline.folder(stage), dataset.index);
                if let Some(Record { outcome: Outcome::Rejected(reason), .. }) = record(&self.view, &path) {
                    rejected.entry(dataset.path.clone()).or_insert(reason);
                }
            }
        }
        rejected
    }

    /// The figures that the workload puts first.
    pub fn figures(&self) -> BTreeMap<String, f64> {
        self.workload.headline(&|name| self.file(name))
    }

    /// What the workload draws of its figures by dataset.
    pub fn curves(&self) -> Vec<Curve> {
        self.workload.curves(&|name| self.file(name))
    }

    /// A file of the report.
    fn file(&self, name: &str) -> Option<Vec<u8>> {
        Some(self.report.as_ref()?.files.get(name)?.clone().into_bytes())
    }

    /// The report for people; empty where there is none.
    pub fn text(&self) -> &str {
        let text = self.report.as_ref().and_then(|report| report.files.get(REPORT));
        text.map_or("", String::as_str)
    }
}

/// An intact record.
fn record(view: &View, path: &str) -> Option<Record> {
    Record::decode(view.files.get(path)?.clone()).ok()
}
