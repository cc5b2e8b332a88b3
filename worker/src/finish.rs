//! How a run ends: the seal, the report, `output/`, and the end of every worker.

use std::collections::{BTreeMap, BTreeSet};

use crate::breakage::Breakage;
use crate::commit::{Attempt, Look, Terms};
use crate::contract::{Exit, OUTPUT, ROOT, RUNS, RunPaths};
use crate::events::What;
use crate::hash::Hash;
use crate::manifest::{Manifest, Page, Role};
use crate::pipeline::Step;
use crate::queue::Queue;
use crate::record::Record;
use crate::report::{Report, Tally};
use crate::run::{Opened, Worker};
use crate::stage::{Results, damaged};
use crate::system::System;
use crate::trouble::Trouble;
use crate::volume::{Kind, Volume};
use crate::workload::{self, Outcome, ReportInput};

/// The report for people, the last file that is put.
const TEXT: &str = "report.txt";

/// A report's files by name.
type Files = BTreeMap<String, String>;

impl<Q: Queue, V: Volume, S: System> Worker<'_, Q, V, S> {
    /// Seals the run, unless more was pushed; commits the report; projects both to `output/`.
    pub(crate) async fn report(&self, attempt: &Attempt) -> Result<(), Trouble> {
        self.refresh().await?;
        let opened = self.opened()?;
        if !self.is_complete(&opened) {
            // Whoever offered it has seen more.
            self.list_commits().await?;
        }
        if !self.is_complete(&opened) {
            return Ok(());
        }
        if !opened.manifest.sealed && !self.seal(attempt, &opened).await? {
            return Ok(());
        }
        // A chapter may have been there before our seal, and another's seal after it.
        let opened = self.opened()?;
        if !self.is_complete(&opened) {
            return Ok(());
        }
        let files = self.commit_report(attempt, &opened).await?;
        if !self.has_given_way(&files).await? {
            self.project(attempt, &opened, &files).await?;
        }
        // After the mark: the private file of whoever stood still before a rename goes, and its rename fails.
        self.sweep_all().await;
        self.known.borrow_mut().report = true;
        Ok(())
    }

    /// Whether every stage of every dataset is known to be committed.
    fn is_complete(&self, opened: &Opened) -> bool {
        opened.plan(|plan| plan.is_complete(&mut self.known.borrow_mut()))
    }

    /// Commits the seal; false where more was pushed, or a chapter was there first.
    async fn seal(&self, attempt: &Attempt, opened: &Opened) -> Result<bool, Trouble> {
        if !self.queue.pushed().await?.is_empty() && !self.breaks(Breakage::SealOverPushes) {
            let _ = self.queue.add(&self.items_of(&[Step::Intake])).await;
            return Ok(false);
        }
        let page = Page::Seal { datasets: opened.manifest.len() };
        self.commit_page(attempt, opened.manifest.next_page, &page).await?;
        let manifest = self.opened()?.manifest;
        if manifest.sealed {
            self.note(What::Sealed { datasets: manifest.len() });
        }
        Ok(manifest.sealed)
    }

    async fn commit_report(&self, attempt: &Attempt, opened: &Opened) -> Result<Files, Trouble> {
        let (path, parent) = (self.paths.report(), opened.manifest.last_lineage());
        // Whoever committed it went, or was refused, before the output was whole.
        if let Look::Intact(found) = self.look(&path).await?
            && found.parent == parent
        {
            return Ok(read_report(&path, &found)?.files);
        }
        let results = self.results(opened).await?;
        let (workload, manifest) = (opened.workload.clone(), opened.manifest.clone());
        let tally = tally(&manifest, &results);
        let files = self
            .compute(move || {
                workload.report(&ReportInput {
                    created: &manifest.created,
                    datasets: &manifest.datasets,
                    rejected: &results.rejected,
                    refused: &manifest.refused,
                    evals: &results.evals,
                    model: results.model.as_ref(),
                })
            })
            .await?
            .map_err(Trouble::Defect)?;
        let content = Report { files, tally }.encode();
        let terms = if opened.workload.deterministic() { Terms::SAME } else { Terms::FIRST };
        let found = self.publish(attempt, &path, Record::part(parent, content), terms).await?;
        self.note(What::Reported { hash: found.hash() });
        Ok(read_report(&path, &found)?.files)
    }

    /// Writes `output/`: a projection that anyone may repair (rule 12). It shows this run alone: what an earlier run
    /// put there and this one does not goes. The report's text comes first: from then on stragglers of another run
    /// see that `output/` is no longer theirs. That all is there is committed last.
    async fn project(&self, attempt: &Attempt, opened: &Opened, files: &Files) -> Result<(), Trouble> {
        self.volume.make_folder(OUTPUT).await?;
        if let Some(text) = files.get(TEXT) {
            self.put(attempt, files, TEXT, text.as_bytes()).await?;
        }
        let shown: Vec<_> = shown_datasets(opened).collect();
        let quarter = |number| {
            let shown = shown.iter().skip(number).step_by(4);
            self.put_shown(attempt, opened, files, shown)
        };
        // Side by side, since most of it is waiting for the disk.
        let quarters = tokio::try_join!(quarter(0), quarter(1), quarter(2), quarter(3))?;
        let mut names = [quarters.0, quarters.1, quarters.2, quarters.3].concat();
        names.extend(self.put_latest(attempt, opened, files).await?);
        names.extend(files.keys().cloned());
        names.sort_unstable();
        self.remove_earlier(&names).await?;
        for (name, text) in files {
            self.put(attempt, files, name, text.as_bytes()).await?;
        }
        self.mark_projected(attempt, &names).await
    }

    /// Puts what is shown of some datasets; returns the names.
    async fn put_shown(
        &self,
        attempt: &Attempt,
        opened: &Opened,
        files: &Files,
        shown: impl Iterator<Item = &(u32, String)>,
    ) -> Result<Vec<String>, Trouble> {
        let mut names = Vec::new();
        for (index, name) in shown {
            let Some(part) = self.shown(opened, *index).await? else { continue };
            let put = opened.workload.shown_files(name, &part).map_err(Trouble::Defect)?;
            for (name, bytes) in put {
                self.put(attempt, files, &name, &bytes).await?;
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Puts the chain's last state once more under a name of its own; returns the names.
    async fn put_latest(
        &self,
        attempt: &Attempt,
        opened: &Opened,
        files: &Files,
    ) -> Result<Vec<String>, Trouble> {
        let Some(name) = opened.workload.latest_name() else { return Ok(Vec::new()) };
        let trained = opened.manifest.datasets.iter().rev().filter(|dataset| dataset.role == Role::Train);
        for dataset in trained {
            let shown = [(dataset.index, name.to_owned())];
            let names = self.put_shown(attempt, opened, files, shown.iter()).await?;
            // A rejected dataset has no state.
            if !names.is_empty() {
                return Ok(names);
            }
        }
        Ok(Vec::new())
    }

    /// Removes what earlier runs put into `output/` and this one does not; `names` is in order.
    async fn remove_earlier(&self, names: &[String]) -> Result<(), Trouble> {
        for run in self.volume.list(RUNS).await?.into_iter().filter(|run| *run != self.config.run) {
            let path = RunPaths::new(&run).projected();
            let Ok(bytes) = self.volume.read(&path).await else { continue };
            let put = Record::decode(bytes).ok().and_then(|record| names_of(&record)).unwrap_or_default();
            for name in put.into_iter().filter(|name| names.binary_search(name).is_err()) {
                let _ = self.volume.remove(&format!("{OUTPUT}/{name}")).await;
                let mut folder = name.as_str();
                while let Some((above, _)) = folder.rsplit_once('/') {
                    // One that still holds something stays.
                    let _ = self.volume.remove_folder(&format!("{OUTPUT}/{above}")).await;
                    folder = above;
                }
            }
        }
        Ok(())
    }

    /// Puts a file into `output/`, whole or not at all, unless it is there already.
    async fn put(&self, attempt: &Attempt, files: &Files, name: &str, bytes: &[u8]) -> Result<(), Trouble> {
        let path = format!("{OUTPUT}/{name}");
        if self.volume.read(&path).await.is_ok_and(|found| found == bytes) {
            return Ok(());
        }
        for (at, _) in name.match_indices('/') {
            self.volume.make_folder(&format!("{OUTPUT}/{}", &name[..at])).await?;
        }
        let private = self.write_private(attempt, bytes, true).await?;
        if self.has_given_way(files).await? {
            return Ok(());
        }
        match self.volume.rename(&private, &path).await {
            Ok(()) => Ok(()),
            // The reply may be lost: what counts is what is there.
            Err(error) => match self.volume.read(&path).await {
                Ok(found) if found == bytes => Ok(()),
                _ => Err(error.into()),
            },
        }
    }

    /// Commits that `output/` has held all of the run, with the names of what it held.
    async fn mark_projected(&self, attempt: &Attempt, names: &[String]) -> Result<(), Trouble> {
        // A list of texts: writing it as JSON cannot fail.
        let content = serde_json::to_vec(names).unwrap_or_default();
        let record = Record::part(Hash::default(), content);
        self.publish(attempt, &self.paths.projected(), record, Terms::FIRST).await.map(drop)
    }

    /// The names that `output/` has held, where it has held all of the run.
    async fn projected(&self) -> Result<Option<Vec<String>>, Trouble> {
        match self.look(&self.paths.projected()).await? {
            Look::Intact(record) => Ok(names_of(&record)),
            Look::Absent | Look::Torn(_) => Ok(None),
        }
    }

    /// Whether `output/` has held all of the run, and holds another run's report now: whoever stood still
    /// meanwhile must not put its own over it.
    async fn has_given_way(&self, files: &Files) -> Result<bool, Trouble> {
        if !self.is_there(&self.paths.projected()).await? {
            return Ok(false);
        }
        let text = match self.volume.read(&format!("{OUTPUT}/{TEXT}")).await {
            Err(error) if error.kind == Kind::NotFound => return Ok(false),
            text => String::from_utf8_lossy(&text?).into_owned(),
        };
        if files.get(TEXT) == Some(&text) {
            return Ok(false);
        }
        for run in self.volume.list(RUNS).await?.into_iter().filter(|run| *run != self.config.run) {
            let path = RunPaths::new(&run).report();
            let Ok(bytes) = self.volume.read(&path).await else { continue };
            let report = Record::decode(bytes).ok().and_then(|record| Report::of(&record).ok());
            if report.is_some_and(|report| report.files.get(TEXT) == Some(&text)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes what every attempt left behind: all that counts is committed.
    pub(crate) async fn sweep_all(&self) {
        let attempts = self.paths.attempts();
        for name in self.volume.list(&attempts).await.unwrap_or_default() {
            self.sweep_path(&format!("{attempts}/{name}")).await;
        }
    }

    /// Ends the worker where the run has ended: void, or sealed and reported with its output there.
    pub(crate) async fn check_end(&self) -> Result<(), Trouble> {
        match self.look(&self.paths.violation()).await? {
            Look::Absent => {}
            Look::Torn(_) => {
                return Err(Trouble::End(
                    Exit::Violation,
                    "the run is void: two results differed".to_owned(),
                ));
            }
            Look::Intact(record) => {
                return Err(Trouble::End(Exit::Violation, text_of(record)));
            }
        }
        let opened = self.opened()?;
        let ended = opened.manifest.sealed || self.breaks(Breakage::ExitBeforeSeal);
        if !ended || !self.is_complete(&opened) {
            return Ok(());
        }
        if self.breaks(Breakage::ExitBeforeSeal) {
            return Err(Trouble::End(Exit::Finished, "every item is committed".to_owned()));
        }
        // What this worker reported may have been damaged since: then it is to be done again.
        self.known.borrow_mut().report = false;
        let careless = self.breaks(Breakage::ExitBeforeOutput);
        // Only then is the rest looked for, a long report and folders of many names.
        let names = if careless { Some(Vec::new()) } else { self.projected().await? };
        let Some(names) = names else { return Ok(()) };
        let path = self.paths.report();
        let Look::Intact(record) = self.look(&path).await? else {
            return Ok(());
        };
        let Report { files, tally } = read_report(&path, &record)?;
        let there = careless || self.has_put(&files).await? && self.has_names(&names).await?;
        if there || self.has_given_way(&files).await? {
            self.sync_names(&names).await?;
            if !tally.is_whole() {
                self.note(What::LeftOut { tally });
            }
            let verb = if tally.trained == 0 { "" } else { "is " };
            let reason = format!("run {} {verb}{}: {OUTPUT}/{TEXT}", self.config.run, tally.state());
            return Err(Trouble::End(tally.exit(self.config.fail_on_rejected), reason));
        }
        Ok(())
    }

    /// Makes every name last that exit 0 speaks of: whoever made it may be gone since, and had not synced it.
    async fn sync_names(&self, names: &[String]) -> Result<(), Trouble> {
        if self.breaks(Breakage::ExitBeforeSync) {
            return Ok(());
        }
        for folder in folders_of(names) {
            // Another run may have taken it over.
            let _ = self.volume.sync_folder(&format!("{OUTPUT}/{folder}")).await;
        }
        for folder in [OUTPUT, self.paths.root(), ROOT] {
            self.volume.sync_folder(folder).await?;
        }
        Ok(())
    }

    /// Whether a file can be seen, whatever it says.
    async fn is_there(&self, path: &str) -> Result<bool, Trouble> {
        match self.volume.meta(path).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind == Kind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether `output/` holds the report's files.
    async fn has_put(&self, files: &Files) -> Result<bool, Trouble> {
        for (name, text) in files {
            match self.volume.read(&format!("{OUTPUT}/{name}")).await {
                Ok(found) if found == text.as_bytes() => {}
                Ok(_) => return Ok(false),
                Err(error) if error.kind == Kind::NotFound => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Whether `output/` holds files of all these names.
    async fn has_names(&self, names: &[String]) -> Result<bool, Trouble> {
        let mut there = BTreeSet::new();
        for folder in folders_of(names).into_iter().chain([""]) {
            let (path, inside) = if folder.is_empty() {
                (OUTPUT.to_owned(), String::new())
            } else {
                (format!("{OUTPUT}/{folder}"), format!("{folder}/"))
            };
            match self.volume.list(&path).await {
                Ok(found) => there.extend(found.into_iter().map(|name| format!("{inside}{name}"))),
                Err(error) if error.kind == Kind::NotFound => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(names.iter().all(|name| there.contains(name)))
    }
}

/// The datasets that `output/` shows, with their names there.
fn shown_datasets(opened: &Opened) -> impl Iterator<Item = (u32, String)> {
    workload::checkpoint_names(opened.workload.as_ref(), &opened.manifest.datasets)
}

/// The folders that names lie in, each folder below another before it.
fn folders_of(names: &[String]) -> Vec<&str> {
    let folders = names.iter().flat_map(|name| name.match_indices('/').map(|(at, _)| &name[..at]));
    let folders: BTreeSet<&str> = folders.collect();
    folders.into_iter().rev().collect()
}

/// The names in `output/` that a run has committed.
fn names_of(record: &Record) -> Option<Vec<String>> {
    match &record.outcome {
        Outcome::Part(content) => serde_json::from_slice(content).ok(),
        Outcome::Rejected(_) => None,
    }
}

fn read_report(path: &str, record: &Record) -> Result<Report, Trouble> {
    Report::of(record).map_err(|error| damaged(path, &error))
}

fn tally(manifest: &Manifest, results: &Results) -> Tally {
    let training = manifest.datasets.iter().filter(|dataset| dataset.role == Role::Train).count();
    // Each is at most the number of datasets, or of a page's lines.
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Tally {
        training: count(training),
        trained: count(results.evals.len()),
        rejected: count(results.rejected.len()),
        refused: count(manifest.refused.len()),
    }
}

fn text_of(record: Record) -> String {
    match record.outcome {
        Outcome::Part(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Outcome::Rejected(text) => text,
    }
}
