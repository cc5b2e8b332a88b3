//! What a worker knows of its run: the manifest as read so far, and which commits it has seen.

use std::cell::RefCell;
use std::sync::Arc;

use crate::attempt::Attempt;
use crate::committer::{CommitOptions, Committer, ReadResult};
use crate::context::{Context, Factory, Ports};
use crate::contract::{Exit, RunPaths};
use crate::hash::Hash;
use crate::item::{Item, Name};
use crate::item_error::ItemError;
use crate::manifest::{Manifest, Page, Spec};
use crate::mutant::Mutant;
use crate::pipeline::{Pipeline, Stage, Step};
use crate::plan::{CommitIndex, Plan};
use crate::record::Record;
use crate::store::Store;
use crate::system::System;
use crate::workload::{Workload, checkpoint_names};

/// The manifest and the workload that it names. Every item takes a copy, so that a copy of a long
/// manifest must cost nothing.
#[derive(Clone)]
pub(crate) struct OpenRun {
    pub manifest: Arc<Manifest>,
    pub workload: Arc<dyn Workload>,
}

impl OpenRun {
    pub fn pipeline(&self) -> Pipeline {
        self.workload.pipeline()
    }

    pub fn window(&self, index: u32) -> Vec<u32> {
        self.workload.window(&self.manifest.datasets, index)
    }

    /// Where a stage of a dataset is committed.
    pub fn commit_path(&self, paths: &RunPaths, stage: Stage, index: u32) -> String {
        self.manifest.commit_path(paths, self.pipeline().folder(stage), index)
    }

    /// Plans by this manifest.
    pub fn plan<T>(&self, with: impl FnOnce(Plan<'_>) -> T) -> T {
        with(Plan {
            pipeline: self.pipeline(),
            manifest: &self.manifest,
            window: &|index| self.window(index),
        })
    }
}

/// The run's own training datasets, with their names under `output/`.
pub(crate) fn own_names(open: &OpenRun) -> impl Iterator<Item = (u32, String)> {
    let own_from = open.manifest.own_from();
    let names = checkpoint_names(open.workload.as_ref(), &open.manifest.datasets);
    names.filter(move |(index, _)| *index >= own_from)
}

pub(crate) struct RunView<'a, P: Ports> {
    ctx: &'a Context<'a, P>,
    committer: &'a Committer<'a, P>,
    factory: Factory<'a>,
    open: RefCell<Option<OpenRun>>,
    commits: RefCell<CommitIndex>,
}

impl<'a, P: Ports> RunView<'a, P> {
    pub fn new(ctx: &'a Context<'a, P>, committer: &'a Committer<'a, P>, factory: Factory<'a>) -> Self {
        Self { ctx, committer, factory, open: RefCell::default(), commits: RefCell::default() }
    }

    /// The run, once its first page has been read.
    pub fn get(&self) -> Option<OpenRun> {
        self.open.borrow().clone()
    }

    /// The run.
    ///
    /// # Errors
    /// Where its first page has not been seen.
    pub fn opened(&self) -> Result<OpenRun, ItemError> {
        self.get().ok_or_else(|| ItemError::Absent(self.ctx.paths.chapter(0)))
    }

    pub fn has_begun(&self) -> bool {
        self.open.borrow().is_some()
    }

    pub fn is_sealed(&self) -> bool {
        self.open.borrow().as_ref().is_some_and(|open| open.manifest.sealed)
    }

    /// Whether equal inputs give the run's workload equal results; false before the run has begun.
    pub fn is_deterministic(&self) -> bool {
        self.open.borrow().as_ref().is_some_and(|open| open.workload.deterministic())
    }

    /// Whether several later items read a stage's commit of a dataset.
    pub fn is_shared(&self, stage: Stage, index: u32) -> bool {
        let open = self.open.borrow();
        open.as_ref().is_some_and(|o| o.pipeline().is_shared(stage, o.manifest.dataset(index).role))
    }

    /// Reads pages beyond those read so far.
    pub async fn read_manifest(&self) -> Result<(), ItemError> {
        loop {
            let open = self.get();
            let number = match &open {
                Some(open) if open.manifest.sealed => return Ok(()),
                Some(open) => open.manifest.next_page,
                None => 0,
            };
            let path = self.ctx.paths.chapter(number);
            match self.committer.read(&path).await? {
                ReadResult::Absent => return Ok(()),
                ReadResult::Torn(why) => return Err(damaged(&path, &why)),
                ReadResult::Intact(record) => {
                    // The worker that committed it may be gone before it was durable.
                    self.ctx.store.settle(&self.ctx.paths.manifest()).await?;
                    self.append(open, &path, record)?;
                }
            }
        }
    }

    /// Makes a page public, unless another was first; reads the manifest on from there.
    pub async fn commit_page(&self, attempt: &Attempt, number: u32, page: &Page) -> Result<(), ItemError> {
        let (path, record) = (self.ctx.paths.chapter(number), Record::part(Hash::default(), page.encode()));
        self.committer.publish(attempt, &path, record, CommitOptions::FIRST_WINS).await?;
        self.read_manifest().await
    }

    fn append(&self, open: Option<OpenRun>, path: &str, record: Record) -> Result<(), ItemError> {
        let page = Page::of(&record).map_err(|error| damaged(path, &error))?;
        let open = match open {
            None => {
                let manifest = Manifest::begin(page).map_err(|error| damaged(path, &error))?;
                let workload = self.make_workload(&manifest.spec)?;
                let ours = Spec::of(workload.as_ref());
                if ours != manifest.spec && !self.ctx.breaks(Mutant::AnyVersion) {
                    return Err(ItemError::End(Exit::Version, other_version(path, &manifest.spec, &ours)));
                }
                if self.ctx.config.insists_on_spec && manifest.spec != self.ctx.config.spec {
                    let (theirs, ours) = (&manifest.spec, &self.ctx.config.spec);
                    let reason = begun_otherwise(&self.ctx.config.run, theirs, ours);
                    return Err(ItemError::End(Exit::Version, reason));
                }
                self.committer.explain_with(&workload);
                // What the run inherits is done.
                for stage in workload.pipeline().stages() {
                    (0..manifest.own_from()).for_each(|index| self.record(stage, index));
                }
                OpenRun { manifest: self.ctx.system.keep(manifest), workload }
            }
            Some(mut open) => {
                let mut manifest = Manifest::clone(&open.manifest);
                manifest.turn(page).map_err(|error| damaged(path, &error))?;
                open.manifest = self.ctx.system.keep(manifest);
                open
            }
        };
        self.open.replace(Some(open));
        Ok(())
    }

    /// Makes the workload that a spec names.
    pub fn make_workload(&self, spec: &Spec) -> Result<Arc<dyn Workload>, ItemError> {
        (self.factory)(spec).map_err(|reason| ItemError::End(Exit::Version, reason))
    }

    /// Records that a stage of a dataset is committed.
    pub fn record(&self, stage: Stage, index: u32) {
        self.commits.borrow_mut().insert(stage, index);
    }

    /// Whether a stage of a dataset is known to be committed.
    pub fn knows(&self, stage: Stage, index: u32) -> bool {
        self.commits.borrow().has(stage, index)
    }

    /// Records whether the report is committed.
    pub fn record_report(&self, is_there: bool) {
        self.commits.borrow_mut().report = is_there;
    }

    /// Plans by what this worker knows, once the run has begun.
    pub fn planned<T>(&self, with: impl FnOnce(Plan<'_>, &mut CommitIndex) -> T) -> Option<T> {
        let open = self.open.borrow();
        Some(open.as_ref()?.plan(|plan| with(plan, &mut self.commits.borrow_mut())))
    }

    /// Whether every stage of every dataset is known to be committed, by the manifest of `open`.
    pub fn is_complete(&self, open: &OpenRun) -> bool {
        open.plan(|plan| plan.is_complete(&mut self.commits.borrow_mut()))
    }

    /// Whether a dataset's item is known to be committed.
    pub fn is_committed(&self, item: Name) -> bool {
        let Some(Step::Each(stage, index)) = self.step_of(item) else { return false };
        self.planned(|_, commits| commits.has(stage, index)).unwrap_or_default()
    }

    /// Whether a dataset's item can be done now, by what this worker knows.
    pub fn is_claimable(&self, stage: Stage, index: u32) -> bool {
        self.planned(|plan, commits| plan.is_claimable(commits, stage, index)).unwrap_or_default()
    }

    /// What an item stands for, once the run's pipeline is known.
    pub fn step_of(&self, item: Name) -> Option<Step> {
        if item == Item::BEGIN.name {
            return Some(Step::Begin);
        }
        self.open.borrow().as_ref()?.pipeline().step(item)
    }

    /// The items of steps; none before the run has begun.
    pub fn items_of(&self, steps: &[Step]) -> Vec<Item> {
        let open = self.open.borrow();
        let Some(open) = open.as_ref() else { return Vec::new() };
        steps.iter().map(|step| open.pipeline().item(*step)).collect()
    }

    /// The path of an item's dataset, where the item is one dataset's.
    pub fn dataset_of(&self, item: Name) -> Option<String> {
        let Some(Step::Each(_, index)) = self.step_of(item) else { return None };
        let open = self.open.borrow();
        open.as_ref()?.manifest.datasets.get(index as usize).map(|dataset| dataset.path.clone())
    }

    /// The path of the dataset that a claim of an item begins with, by what this worker knows.
    pub fn next_dataset_of(&self, item: Name) -> Option<String> {
        let Some(Step::Chain(stage)) = self.step_of(item) else { return self.dataset_of(item) };
        let next = self.planned(|plan, commits| plan.first_missing(commits, stage)).flatten()?;
        let open = self.open.borrow();
        open.as_ref()?.manifest.datasets.get(next as usize).map(|dataset| dataset.path.clone())
    }

    /// Whether the manifest, as read so far, has the dataset that the item is of.
    pub fn is_known(&self, item: Name) -> bool {
        let open = self.open.borrow();
        match (self.step_of(item), open.as_ref()) {
            (Some(Step::Begin), _) => true,
            (_, None) | (None, _) => false,
            (Some(Step::Each(_, index)), Some(open)) => index < open.manifest.len(),
            (Some(_), Some(_)) => true,
        }
    }
}

/// A page that cannot be read any more: nothing can repair it, so the run stops (rule 10).
pub(crate) fn damaged(path: &str, why: &dyn std::fmt::Display) -> ItemError {
    ItemError::End(
        Exit::Damaged,
        format!("{path}: {why}\nhint: restore the file from a copy, or begin a new run under another name"),
    )
}

/// Names the first thing in which two specs of the same version differ.
fn begun_otherwise(run: &str, theirs: &Spec, ours: &Spec) -> String {
    let params = theirs.params.keys().chain(ours.params.keys());
    let mut differing = params.filter(|name| theirs.params.get(*name) != ours.params.get(*name));
    let (what, theirs, ours) = match differing.next() {
        Some(name) if theirs.workload == ours.workload => {
            (name.as_str(), theirs.params.get(name), ours.params.get(name))
        }
        _ => ("the workload", Some(&theirs.workload), Some(&ours.workload)),
    };
    let text = |value: Option<&String>| value.map_or("nothing", String::as_str).to_owned();
    format!(
        "run {run} was begun with another command or other options, and every worker does what it was begun with: \
         {what} is {} there, and {} here\nhint: give what it was begun with, or none, to finish it; worker abandon \
         {run} leaves it; --run NAME begins another",
        text(theirs),
        text(ours)
    )
}

fn other_version(path: &str, theirs: &Spec, ours: &Spec) -> String {
    format!(
        "{path}: the run was begun for {} with results version {}, this worker makes version {}\n\
         hint: finish it with the version that began it, or begin a new run under another name",
        theirs.workload, theirs.results_version, ours.results_version
    )
}
