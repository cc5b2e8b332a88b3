//! How a run begins and grows: datasets are hashed, chapters are committed.

use std::sync::Arc;

use crate::attempt::Attempt;
use crate::context::{After, Context, Ports, Source};
use crate::contract::{self, Exit, RunPaths};
use crate::ending::Ending;
use crate::events::What;
use crate::hashing::Hasher;
use crate::item_error::ItemError;
use crate::manifest::{Dataset, HIDDEN, Manifest, Page, Refusal, Role, is_hidden, normalise};
use crate::mutant::Mutant;
use crate::order::{DatasetOrder, place};
use crate::path::name_of;
use crate::queue::Inbox;
use crate::reader::ManifestReader;
use crate::record::Record;
use crate::store::{Kind, Store};
use crate::system::System;
use crate::view::{RunView, damaged};
use crate::workload::Workload;

/// A path as it was pushed or listed, and as the manifest would hold it, or why it cannot.
#[derive(Debug, Clone)]
struct Offered {
    raw: String,
    path: Result<String, String>,
}

/// Paths that can be taken in, hashed; and those refused, as they were pushed.
#[derive(Debug, Default)]
struct Admitted {
    datasets: Vec<Dataset>,
    refused: Vec<Refusal>,
}

pub(crate) struct Admission<'a, P: Ports> {
    pub ctx: &'a Context<'a, P>,
    pub view: &'a RunView<'a, P>,
    pub hasher: Hasher<'a, P>,
}

impl<P: Ports> Admission<'_, P> {
    /// Commits chapter 0, from the launcher's list or from what was pushed.
    pub async fn begin(&self, attempt: &Attempt) -> Result<(), ItemError> {
        // The pushed paths first: a path that is gone by then is in a manifest that we see afterwards.
        let pushed = self.offered(&self.ctx.queue.pushed().await?);
        self.view.read_manifest().await?;
        if self.view.get().is_some() {
            return Ok(());
        }
        let (offered, last) = match &self.ctx.config.source {
            Source::Listed(paths) => (self.offered(paths), true),
            Source::Pushed => (self.with_folders(pushed.clone()).await?, false),
        };
        let workload = self.workload()?;
        let offered = self.in_order(workload.as_ref(), offered);
        let earlier = self.continued().await?;
        let inherited = earlier.as_ref().map(|(run, manifest)| manifest.to_inherit(run)).unwrap_or_default();
        let before: Vec<Dataset> = inherited.iter().map(|one| one.dataset.clone()).collect();
        let Admitted { datasets, refused } =
            self.vet(attempt, workload.as_ref(), offered, &before, last).await?;
        if !datasets.iter().any(|dataset| dataset.role == Role::Train) {
            return Err(ItemError::NoDatasets(match &earlier {
                Some((run, _)) if refused.is_empty() => nothing_new(run),
                _ => self.nothing_to_train_on(&refused),
            }));
        }
        let created = match &self.ctx.config.created {
            Some(created) if !self.ctx.breaks(Mutant::CreatedByOwnClock) => created.clone(),
            _ => created_now(self.ctx.system.wall_ms()),
        };
        match &earlier {
            // As many as a manifest holds fit.
            Some((run, _)) => self.ctx.note(What::Continues {
                run: run.clone(),
                datasets: u32::try_from(before.len()).unwrap_or(u32::MAX),
            }),
            None => self.tell_of_earlier_runs().await?,
        }
        self.take_in_too_early(&pushed).await?;
        let spec = self.ctx.config.spec.clone();
        let page = Page::First { spec, created, last, inherited, datasets, refused };
        self.view.commit_page(attempt, 0, &page).await?;
        self.forget_pushed(&pushed).await
    }

    fn nothing_to_train_on(&self, refused: &[Refusal]) -> String {
        let (run, folder) = (&self.ctx.config.run, contract::TRAINING);
        let hint = format!("worker push {folder}/FILE…, or redis-cli RPUSH datasets {folder}/FILE");
        match refused {
            [] => format!(
                "no datasets: run {run} has not begun and nothing was pushed\nhint: push some: {hint}"
            ),
            [first, ..] => format!(
                "no datasets: run {run} has not begun, and of what was pushed {} cannot be taken in, such as {}: {}\n\
                 hint: take it back with worker unpush, and push datasets: {hint}",
                refused.len(),
                first.path.escape_debug(),
                first.reason
            ),
        }
    }

    /// The run that this one continues, and its manifest.
    async fn continued(&self) -> Result<Option<(String, Manifest)>, ItemError> {
        let run = match &self.ctx.config.after {
            None => return Ok(None),
            Some(After::Run(run)) => run.clone(),
            Some(After::Newest) => match self.newest_complete().await? {
                Some(run) => run,
                None => return Ok(None),
            },
        };
        let manifest = self.read_run(&run).await?;
        let Some(manifest) = manifest.filter(|manifest| manifest.sealed) else {
            let reason = match self.ending(&run).await? {
                Some(Ending::Left(left)) => {
                    format!("{}, so none can continue it\nhint: name another with --after", left.words(&run))
                }
                _ => format!(
                    "run {run} is not complete, so none can continue it\n\
                     hint: finish it first, or name another with --after"
                ),
            };
            return Err(ItemError::End(Exit::NoDatasets, reason));
        };
        if manifest.spec != self.ctx.config.spec {
            let reason = format!(
                "run {run} was begun for another workload, version or parameters, so this one cannot continue it\n\
                 hint: give the same command line, or begin from nothing: without --after and --continue"
            );
            return Err(ItemError::End(Exit::Version, reason));
        }
        Ok(Some((run, manifest)))
    }

    /// The newest numbered run before this one that has its report.
    async fn newest_complete(&self) -> Result<Option<String>, ItemError> {
        let runs = self.ctx.other_runs().await?;
        let mut numbers: Vec<u32> = runs.iter().filter_map(|run| run.parse().ok()).collect();
        numbers.sort_unstable();
        self.first_complete(numbers.iter().rev().map(u32::to_string)).await
    }

    /// The first of these runs that has its report.
    async fn first_complete(&self, runs: impl Iterator<Item = String>) -> Result<Option<String>, ItemError> {
        for run in runs {
            if self.has_report(&run).await? {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    /// Whether a run is complete: what was abandoned or pruned has no report.
    async fn has_report(&self, run: &str) -> Result<bool, ItemError> {
        Ok(matches!(self.ending(run).await?, Some(Ending::Report(_))))
    }

    /// How another run has ended, if it has. A report that is torn is no ending until a worker of its run repairs it.
    async fn ending(&self, run: &str) -> Result<Option<Ending>, ItemError> {
        match self.ctx.store.get(&RunPaths::new(run).report()).await {
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            bytes => Ok(Record::decode(bytes?).ok().and_then(|record| Ending::of(&record).ok())),
        }
    }

    /// The manifest of a run that has its report.
    async fn read_run(&self, run: &str) -> Result<Option<Manifest>, ItemError> {
        if !self.has_report(run).await? {
            return Ok(None);
        }
        let mut reader = ManifestReader::new(run);
        while let Some(page) = reader.next_page() {
            let bytes = self.ctx.store.get(&page).await?;
            reader.take(bytes).map_err(|why| damaged(&page, &why))?;
        }
        Ok(reader.manifest().cloned())
    }

    /// Warns that the model of a run which ended before is not continued.
    async fn tell_of_earlier_runs(&self) -> Result<(), ItemError> {
        let runs = self.ctx.other_runs().await?.into_iter().rev();
        if let Some(earlier) = self.first_complete(runs).await? {
            self.ctx.note(What::BeganFromNothing { earlier });
        }
        Ok(())
    }

    /// The pushed paths, with whatever lies in the folders for tests and history.
    async fn with_folders(&self, mut offered: Vec<Offered>) -> Result<Vec<Offered>, ItemError> {
        for folder in [contract::TESTING, contract::HISTORY] {
            let names = self.ctx.store.list(folder).await?;
            let forgets = folder == contract::HISTORY && self.ctx.breaks(Mutant::ForgetHistory);
            let names = names.iter().filter(|name| !forgets && !self.is_hidden(name));
            let paths: Vec<String> = names.map(|name| format!("{folder}/{name}")).collect();
            offered.extend(self.offered(&paths));
        }
        Ok(offered)
    }

    /// What paths name on the volume.
    fn offered(&self, raws: &[String]) -> Vec<Offered> {
        let offered = |raw: &String| Offered { raw: raw.clone(), path: name_on(self.ctx.store, raw) };
        raws.iter().map(offered).collect()
    }

    /// The run's workload, or the one that this worker would begin it with.
    fn workload(&self) -> Result<Arc<dyn Workload>, ItemError> {
        match self.view.get() {
            Some(open) => Ok(open.workload),
            None => self.view.make_workload(&self.ctx.config.spec),
        }
    }

    /// Oldest first; what names nothing comes last.
    fn in_order(&self, workload: &dyn Workload, mut offered: Vec<Offered>) -> Vec<Offered> {
        if !self.ctx.breaks(Mutant::OrderAsPushed) {
            offered.sort_by_cached_key(|one| match &one.path {
                Ok(path) => (false, Some(place(path, workload.period(path)))),
                Err(_) => (true, None),
            });
        }
        offered
    }

    /// Commits a further chapter of what was pushed since: datasets, and what is refused for the first time.
    pub async fn intake(&self, attempt: &Attempt) -> Result<(), ItemError> {
        self.view.read_manifest().await?;
        let opened = self.view.opened()?;
        if opened.manifest.sealed {
            return Ok(());
        }
        let pushed = self.offered(&self.ctx.queue.pushed().await?);
        let before = &opened.manifest;
        let known = |one: &Offered| before.refused.iter().any(|refusal| refusal.path == one.raw);
        let workload = opened.workload.as_ref();
        let mut offered = self.in_order(workload, pushed.clone());
        offered.retain(|one| !known(one));
        let Admitted { datasets, mut refused } =
            self.vet(attempt, workload, offered, &before.datasets, false).await?;
        self.take_in_too_early(&pushed).await?;
        if self.ctx.breaks(Mutant::RefuseOffTheRecord) {
            let raws: Vec<String> = refused.drain(..).map(|refusal| refusal.path).collect();
            self.ctx.queue.remove_pushed(&raws).await?;
        }
        if !datasets.is_empty() || !refused.is_empty() {
            let page = Page::Chapter { datasets, refused };
            self.view.commit_page(attempt, before.next_page, &page).await?;
        }
        self.forget_pushed(&pushed).await
    }

    async fn take_in_too_early(&self, pushed: &[Offered]) -> Result<(), ItemError> {
        if self.ctx.breaks(Mutant::TakeInBeforeChapter) {
            let raws: Vec<String> = pushed.iter().map(|one| one.raw.clone()).collect();
            self.ctx.queue.remove_pushed(&raws).await?;
        }
        Ok(())
    }

    /// Removes each pushed path that the manifest now holds, as a dataset or as refused. Only after the
    /// chapter's link, and by value (rule 6).
    async fn forget_pushed(&self, pushed: &[Offered]) -> Result<(), ItemError> {
        let opened = self.view.opened()?;
        let manifest = &opened.manifest;
        let is_taken = |one: &&Offered| one.path.as_ref().is_ok_and(|path| manifest.by_path(path).is_some());
        let is_refused = |one: &&Offered| manifest.refused.iter().any(|refusal| refusal.path == one.raw);
        let paths: Vec<String> = pushed.iter().filter(is_taken).map(|one| one.raw.clone()).collect();
        let refused = pushed.iter().filter(|one| !is_taken(one) && is_refused(one));
        let gone: Vec<String> = paths.iter().cloned().chain(refused.map(|one| one.raw.clone())).collect();
        if !gone.is_empty() {
            self.ctx.queue.remove_pushed(&gone).await?;
            self.ctx.note(What::TookIn { chapter: manifest.next_page - 1, paths });
        }
        Ok(())
    }

    /// Hashes the paths that can be taken in after `before`, and reports the others.
    /// In a launcher's list nothing is refused quietly: the run does not begin.
    async fn vet(
        &self,
        attempt: &Attempt,
        workload: &dyn Workload,
        offered: Vec<Offered>,
        before: &[Dataset],
        strict: bool,
    ) -> Result<Admitted, ItemError> {
        let mut held = DatasetOrder::new(before, |path| workload.period(path));
        let mut admitted = Admitted::default();
        let mut hashing = self.hasher.resume(attempt).await;
        for Offered { raw, path } in offered {
            let judged = match path {
                Err(reason) => Err(reason),
                Ok(path) if held.position(&path).is_some() && !self.ctx.breaks(Mutant::CountAPathTwice) => {
                    self.same_as_held(attempt, path, &held, before).await?
                }
                Ok(path) if self.overlooks(&path, before, &admitted) => Ok(None),
                Ok(path) => self.may_follow(workload, &held, &path).map(|()| Some(path)),
            };
            match judged {
                Ok(None) => {}
                Ok(Some(path)) => {
                    held.insert(&path, workload.period(&path));
                    // Each dataset costs the manifest a hundred bytes: their number fits.
                    let index = u32::try_from(before.len() + admitted.datasets.len()).unwrap_or(u32::MAX);
                    admitted.datasets.push(self.hasher.hash(attempt, &mut hashing, path, index).await?);
                }
                Err(reason) if strict => {
                    let raw = raw.escape_debug();
                    let reason = format!("dataset {raw} cannot be part of the run: {reason}");
                    return Err(ItemError::End(Exit::Input, reason));
                }
                Err(reason) => {
                    self.ctx.note(What::Refused { path: raw.clone(), reason: reason.clone() });
                    // One path may be pushed many times.
                    if admitted.refused.iter().all(|refusal| refusal.path != raw) {
                        admitted.refused.push(Refusal { path: raw, reason });
                    }
                }
            }
        }
        Ok(admitted)
    }

    /// Mutants alone overlook a path.
    fn overlooks(&self, path: &str, before: &[Dataset], admitted: &Admitted) -> bool {
        let is_late_test = || self.view.get().is_some() && Role::of(path) == Role::Test;
        let has_stem = || {
            let stem = |path: &str| name_of(path).split('.').next().unwrap_or_default().to_owned();
            before.iter().chain(&admitted.datasets).any(|dataset| stem(&dataset.path) == stem(path))
        };
        self.ctx.breaks(Mutant::KeepLateTests) && is_late_test()
            || self.ctx.breaks(Mutant::TakeOneOfAStem) && has_stem()
    }

    fn is_hidden(&self, path: &str) -> bool {
        is_hidden(path) && !self.ctx.breaks(Mutant::TakeHidden)
    }

    /// Whether a path that the run does not hold can become part of it.
    fn may_follow(&self, workload: &dyn Workload, held: &DatasetOrder, path: &str) -> Result<(), String> {
        if self.is_hidden(path) {
            return Err(HIDDEN.to_owned());
        }
        let is_late = self.view.get().is_some() && !self.ctx.breaks(Mutant::TakeLateTests);
        if is_late && Role::of(path) == Role::Test {
            return Err("test datasets are those of the run's beginning".to_owned());
        }
        match workload.ordered() && !self.ctx.breaks(Mutant::CountAPathTwice) {
            true => held.follows(path, workload.period(path)),
            false => Ok(()),
        }
    }

    /// A path that came again counts once, and must still have its content.
    async fn same_as_held(
        &self,
        attempt: &Attempt,
        path: String,
        held: &DatasetOrder,
        before: &[Dataset],
    ) -> Result<Result<Option<String>, String>, ItemError> {
        let Some(known) = held.position(&path).and_then(|place| before.get(place)) else {
            return Ok(Ok(None));
        };
        // What was hashed before may be the other content.
        let found = self.hasher.hash_again(attempt, path, known.index).await?;
        let careless = self.ctx.breaks(Mutant::CompareSizeAlone) && found.bytes == known.bytes;
        if found == *known || careless || self.ctx.breaks(Mutant::TakeOtherContent) {
            return Ok(Ok(None));
        }
        Ok(Err("the run holds it with other content".to_owned()))
    }
}

fn nothing_new(run: &str) -> String {
    format!(
        "no datasets: what was given or pushed is part of run {run} already\n\
         hint: push what is new, or begin from nothing: without --after and --continue"
    )
}

/// The dataset path that a raw path names: relative to the store, or absolute and inside it.
///
/// # Errors
/// As [`normalise`].
pub fn name_on<S: Store>(store: &S, raw: &str) -> Result<String, String> {
    normalise(store.inside(raw.trim()).as_deref().unwrap_or(raw))
}

/// The tutorial's form of a time: `2022-02-09 14:19:42`.
fn created_now(wall_ms: u64) -> String {
    let second = i64::try_from(wall_ms / 1000).unwrap_or(0);
    jiff::Timestamp::from_second(second).map_or_else(
        |_| String::from("1970-01-01 00:00:00"),
        |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}
