//! A run as it stands, read from its volume; again and again without reading all of it each time.

use std::collections::BTreeMap;

use serde::Serialize;

use super::tail::Tail;
use super::{Failure, look};
use crate::contract::RunPaths;
use crate::ending::{Left, Why};
use crate::pipeline::Pipeline;
use crate::plan::CommitIndex;
use crate::reader::activity::{Activity, Sums};
use crate::reader::overview::{self, DatasetRow, Progress, WorkerRow};
use crate::reader::state::{Files, State};
use crate::record::{Record, is_rejection};
use crate::store::Store;
use crate::store::any::AnyStore;
use crate::system::{Machine, System};
use crate::workload::Outcome;

/// A run that is looked at.
#[derive(Debug)]
pub(crate) struct Watched {
    store: AnyStore,
    pub(crate) run: String,
    tail: Tail,
    activity: Activity,
    /// Of datasets that are done, why they were rejected, if they were.
    rejected: BTreeMap<u32, Option<String>>,
}

/// What a look showed.
#[derive(Debug, Serialize)]
pub(crate) struct Moment {
    pub(crate) run: String,
    pub(crate) state: State,
    pub(crate) progress: Progress,
    pub(crate) datasets: Vec<DatasetRow>,
    pub(crate) workers: Vec<WorkerRow>,
    pub(crate) sums: Sums,
    /// When this was looked at, by this machine's clock.
    pub(crate) at_ms: u64,
    /// When the first worker started, and when anybody noted something last, by their clocks.
    pub(crate) span_ms: Option<(u64, u64)>,
    /// When something was committed last, and the time of all workers together, by their clocks.
    pub(crate) last_commit_ms: Option<u64>,
    pub(crate) alive_ms: u64,
    /// Commits of each stage, by its folder.
    pub(crate) committed: Vec<(String, usize)>,
    #[serde(skip)]
    pub(crate) files: Files,
    /// Why the run's datasets cannot be shown, where this program does not know its workload.
    pub(crate) unknown: Option<String>,
}

impl Watched {
    pub(crate) fn new(store: AnyStore, run: String) -> Self {
        let (tail, activity, rejected) = (Tail::default(), Activity::default(), BTreeMap::new());
        Self { store, run, tail, activity, rejected }
    }

    /// Looks at the run.
    pub(crate) async fn look(&mut self, machine: &Machine) -> Result<Moment, Failure> {
        // The events first: what they speak of is committed by then.
        let followed = self.tail.follow(&self.store, &self.run, &mut self.activity).await;
        followed.map_err(look::unreadable)?;
        let files = look::files(&self.store, &self.run).await?;
        let (pipeline, unknown) = match look::pipeline(&files) {
            Ok(pipeline) => (pipeline, None),
            Err(why) => (None, Some(why)),
        };
        let at_ms = machine.wall_ms();
        let mut moment = Moment {
            run: self.run.clone(),
            state: files.state(),
            progress: Progress::default(),
            datasets: Vec::new(),
            workers: overview::workers(&self.activity),
            sums: self.activity.sums().clone(),
            at_ms,
            span_ms: self.activity.span_ms(),
            last_commit_ms: self.activity.last_commit_ms(),
            alive_ms: self.activity.alive_ms(),
            committed: Vec::new(),
            unknown,
            files,
        };
        let pruned = matches!(moment.state, State::Left(Left { why: Why::Pruned, .. }));
        if let (Some(manifest), Some(pipeline)) = (&moment.files.manifest, pipeline.filter(|_| !pruned)) {
            let commits = look::commits(&self.store, &self.run, pipeline).await?;
            let rejected = self.rejections(&moment.files, pipeline, &commits).await?;
            moment.datasets = overview::datasets(manifest, pipeline, &commits, &self.activity, &rejected);
            moment.progress = overview::progress(manifest, pipeline, &commits, &self.activity, at_ms);
            let count = |stage| (pipeline.folder(stage).to_owned(), commits.count(stage) as usize);
            moment.committed = pipeline.stages().map(count).collect();
        }
        Ok(moment)
    }

    /// Why datasets were rejected. Each is looked at once: what is committed stays.
    async fn rejections(
        &mut self,
        files: &Files,
        pipeline: Pipeline,
        commits: &CommitIndex,
    ) -> Result<BTreeMap<u32, String>, Failure> {
        let Some(manifest) = &files.manifest else { return Ok(BTreeMap::new()) };
        let none = matches!(files.state(), State::Complete(tally) if tally.rejected == 0);
        let paths = RunPaths::new(&self.run);
        for index in (manifest.own_from()..manifest.len()).filter(|_| !none) {
            let stages = pipeline.stages_of(manifest.dataset(index).role);
            let mut done = stages.filter(|stage| commits.has(*stage, index));
            // A stage rejects what the one before it rejected: the first has the reason.
            let (Some(first), false) = (done.next(), self.rejected.contains_key(&index)) else { continue };
            let last = done.next_back().unwrap_or(first);
            let path = |stage| paths.commit(pipeline.folder(stage), index);
            let mut reason = None;
            if is_rejection(&self.store.get_range(&path(last), 0, HEADER_BYTES).await.unwrap_or_default()) {
                for stage in pipeline.stages_of(manifest.dataset(index).role) {
                    reason = reason.or(self.reason(&path(stage)).await);
                }
            }
            if reason.is_some() || overview::is_last(pipeline, manifest.dataset(index).role, last) {
                self.rejected.insert(index, reason);
            }
        }
        let reasons = self.rejected.iter().filter_map(|(index, reason)| Some((*index, reason.clone()?)));
        Ok(reasons.collect())
    }

    async fn reason(&self, path: &str) -> Option<String> {
        match Record::decode(self.store.get(path).await.ok()?).ok()?.outcome {
            Outcome::Rejected(reason) => Some(reason),
            Outcome::Part(_) => None,
        }
    }
}

/// Enough of a commit to tell a rejection by.
const HEADER_BYTES: u64 = 128;
