//! How a run ends: the seal, the report, and the end of every worker.

use crate::artifacts::{Artifacts, Results};
use crate::attempt::Attempt;
use crate::committer::{CommitOptions, Committer, ReadResult};
use crate::context::{Context, Ports};
use crate::contract::{Exit, OUTPUT};
use crate::ending::Ending;
use crate::events::What;
use crate::executor::Executor;
use crate::item_error::ItemError;
use crate::listing::Lister;
use crate::manifest::{Manifest, Page, Role};
use crate::mutant::Mutant;
use crate::output::{Files, Output, TEXT};
use crate::pipeline::Step;
use crate::queue::{Inbox, WorkQueue};
use crate::record::Record;
use crate::report::{Report, Tally};
use crate::view::{OpenRun, RunView, damaged};
use crate::workload::{Outcome, Part, ReportInput};

pub(crate) struct Closing<'a, P: Ports> {
    pub ctx: &'a Context<'a, P>,
    pub committer: &'a Committer<'a, P>,
    pub view: &'a RunView<'a, P>,
    pub lister: &'a Lister<'a, P>,
    pub artifacts: &'a Artifacts<'a, P>,
    pub output: Output<'a, P>,
}

impl<P: Ports> Closing<'_, P> {
    /// Reads what others have committed.
    ///
    /// # Errors
    /// [`ItemError::End`] where the run has ended.
    pub async fn refresh(&self) -> Result<(), ItemError> {
        self.view.read_manifest().await?;
        if !self.view.has_begun() {
            return Ok(());
        }
        let has_report = self.lister.list_if_idle().await?;
        self.check_end(has_report).await
    }

    /// Seals the run, unless more was pushed; commits the report; projects both to `output/`.
    pub async fn report(&self, attempt: &Attempt, executor: &Executor<'_, P>) -> Result<(), ItemError> {
        self.refresh().await?;
        let open = self.view.opened()?;
        if !self.view.is_complete(&open) {
            // The worker that offered it has seen more.
            self.lister.list().await?;
        }
        if !self.view.is_complete(&open) {
            return Ok(());
        }
        if !open.manifest.sealed && !self.seal(attempt, &open).await? {
            return Ok(());
        }
        // A chapter may have been there before our seal, and another's seal after it.
        let open = self.view.opened()?;
        if !self.view.is_complete(&open) {
            return Ok(());
        }
        let end = executor.end(attempt).await?;
        let files = self.commit_report(attempt, &open, end.as_ref()).await?;
        if !self.output.is_superseded(&files).await? {
            self.output.project(attempt, &open, &files, end.as_ref()).await?;
        }
        // After the mark: the private file of a worker that stood still before a rename goes, and its rename fails.
        self.committer.sweep_all().await;
        self.view.record_report(true);
        Ok(())
    }

    /// Commits the seal; false where more was pushed, or a chapter was there first.
    async fn seal(&self, attempt: &Attempt, open: &OpenRun) -> Result<bool, ItemError> {
        if !self.ctx.queue.pushed().await?.is_empty() && !self.ctx.breaks(Mutant::SealOverPushes) {
            let _ = self.ctx.queue.add(&self.view.items_of(&[Step::Intake])).await;
            return Ok(false);
        }
        let page = Page::Seal { datasets: open.manifest.len() };
        self.view.commit_page(attempt, open.manifest.next_page, &page).await?;
        let manifest = self.view.opened()?.manifest;
        if manifest.sealed {
            self.ctx.note(What::Sealed { datasets: manifest.len() });
        }
        Ok(manifest.sealed)
    }

    async fn commit_report(
        &self,
        attempt: &Attempt,
        open: &OpenRun,
        end: Option<&Part>,
    ) -> Result<Files, ItemError> {
        let (path, parent) = (self.ctx.paths.report(), open.manifest.last_lineage());
        // The worker that committed it went, or was refused, before the output was whole.
        if let ReadResult::Intact(found) = self.committer.read(&path).await?
            && (found.parent == parent || matches!(found.outcome, Outcome::Rejected(_)))
        {
            return Ok(self.read_report(&path, &found)?.files);
        }
        let results = self.artifacts.results(open).await?;
        let end = end.cloned().map(|part| open.workload.for_report(part));
        let end = end.transpose().map_err(ItemError::Defect)?;
        let (workload, manifest) = (open.workload.clone(), open.manifest.clone());
        let tally = tally(&manifest, &results);
        let files = self
            .ctx
            .compute(move || {
                workload.report(&ReportInput {
                    created: &manifest.created,
                    datasets: &manifest.datasets,
                    own_from: manifest.own_from(),
                    rejected: &results.rejected,
                    refused: &manifest.refused,
                    evals: &results.evals,
                    model: results.model.as_ref(),
                    end: end.as_ref(),
                })
            })
            .await?
            .map_err(ItemError::Defect)?;
        let content = Report { files, tally }.encode();
        let options =
            if open.workload.deterministic() { CommitOptions::REPORT } else { CommitOptions::FIRST_WINS };
        let found = self.committer.publish(attempt, &path, Record::part(parent, content), options).await?;
        self.ctx.note(What::Reported { hash: found.hash() });
        Ok(self.read_report(&path, &found)?.files)
    }

    /// Ends the worker where the run has ended: void, or sealed and reported with its output there; or left, which is
    /// said where the report would be.
    async fn check_end(&self, has_report: bool) -> Result<(), ItemError> {
        match self.committer.read(&self.ctx.paths.violation()).await? {
            ReadResult::Absent => {}
            ReadResult::Torn(_) => {
                return Err(ItemError::End(
                    Exit::Violation,
                    "the run is void: two results differed".to_owned(),
                ));
            }
            ReadResult::Intact(record) => {
                return Err(ItemError::End(Exit::Violation, text_of(record)));
            }
        }
        let open = self.view.opened()?;
        let ended = open.manifest.sealed || self.ctx.breaks(Mutant::ExitBeforeSeal);
        if !ended || !self.view.is_complete(&open) {
            return if has_report { self.check_left().await } else { Ok(()) };
        }
        if self.ctx.breaks(Mutant::ExitBeforeSeal) {
            return Err(ItemError::End(Exit::Finished, "every item is committed".to_owned()));
        }
        // This worker's report may have been damaged since: then it is recomputed.
        self.view.record_report(false);
        let careless = self.ctx.breaks(Mutant::ExitBeforeOutput);
        // Only then is the rest looked for, a long report and folders of many names.
        let names = if careless { Some(Vec::new()) } else { self.output.projected().await? };
        let Some(names) = names else { return Ok(()) };
        let path = self.ctx.paths.report();
        let ReadResult::Intact(record) = self.committer.read(&path).await? else {
            return Ok(());
        };
        let Report { files, tally } = self.read_report(&path, &record)?;
        let there = careless || self.output.has_put(&files).await? && self.output.has_names(&names).await?;
        if there || self.output.is_superseded(&files).await? {
            self.output.settle(&names).await?;
            if !tally.is_whole() {
                self.ctx.note(What::LeftOut { tally });
            }
            let verb = if tally.trained == 0 { "" } else { "is " };
            let reason = format!("run {} {verb}{}: {OUTPUT}/{TEXT}", self.ctx.config.run, tally.state());
            return Err(ItemError::End(tally.exit(self.ctx.config.fail_on_rejected), reason));
        }
        Ok(())
    }

    /// Ends the worker where its operator has ended the run: nobody looks at what is made of it any more.
    pub async fn check_left(&self) -> Result<(), ItemError> {
        let path = self.ctx.paths.report();
        if self.ctx.breaks(Mutant::DeafToAbandon) {
            return Ok(());
        }
        match self.committer.read(&path).await? {
            ReadResult::Intact(record) => self.read_report(&path, &record).map(drop),
            // A torn report is repaired.
            ReadResult::Absent | ReadResult::Torn(_) => Ok(()),
        }
    }

    /// The report that a record holds.
    ///
    /// # Errors
    /// [`ItemError::End`] where the run was left.
    fn read_report(&self, path: &str, record: &Record) -> Result<Report, ItemError> {
        match Ending::of(record).map_err(|error| damaged(path, &error))? {
            Ending::Report(report) => Ok(report),
            Ending::Left(_) if self.ctx.breaks(Mutant::LeftIsFinished) => {
                Err(ItemError::End(Exit::Finished, "the run has ended".to_owned()))
            }
            Ending::Left(left) => Err(ItemError::End(Exit::Left, left.words(&self.ctx.config.run))),
        }
    }
}

fn tally(manifest: &Manifest, results: &Results) -> Tally {
    let training = manifest.own().iter().filter(|dataset| dataset.role == Role::Train).count();
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
