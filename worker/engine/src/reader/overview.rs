//! A run at a moment: its datasets and how far each is, its workers and what each holds, how fast it goes. Pure, from
//! what was read of the volume; status, the live view, the page and the metrics all show this.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::contract::Exit;
use crate::manifest::{Manifest, Role};
use crate::pipeline::{Pipeline, Stage};
use crate::plan::CommitIndex;
use crate::reader::activity::{Activity, Life};

/// The time that rates cover.
pub const WINDOW_MS: u64 = 5 * 60_000;

/// How far a dataset is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatasetState {
    /// Every stage of it is committed.
    Done,
    /// It is done, and its content could not be used.
    Rejected,
    /// This stage is next.
    At(&'static str),
}

/// A dataset of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DatasetRow {
    /// Its place in the run's order.
    pub index: u32,
    /// Its path on the volume.
    pub path: String,
    /// What it is for.
    pub role: Role,
    /// How far it is.
    pub state: DatasetState,
    /// How often a worker began with it.
    pub attempts: u64,
    /// Time at work on it, by its workers' clocks; the chain is not counted.
    pub busy_ms: u64,
    /// Who began with it last.
    pub worker: Option<String>,
    /// Why it was rejected, or released last.
    pub reason: Option<String>,
}

/// What is known of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkerState {
    /// It holds an item, by its own account.
    Working,
    /// It holds nothing and has not ended: it waits for work, or its machine is gone. Idle workers note nothing.
    IdleOrGone,
    /// Its item was redelivered to another: its machine is gone, or stood still.
    Lost,
    /// It stopped at a stop signal.
    Preempted,
    /// It ended by itself.
    Ended,
}

/// A worker of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkerRow {
    /// What is known of it.
    pub state: WorkerState,
    /// Its last life.
    #[serde(flatten)]
    pub life: Life,
}

/// How far the run is, in stages of datasets.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Progress {
    /// Stages of the run's own datasets that are committed.
    pub done: u64,
    /// All of them, of the datasets taken in so far.
    pub all: u64,
    /// Commits a second of late.
    pub rate: Option<f64>,
    /// Seconds until all are done, at that rate.
    pub eta_s: Option<f64>,
}

/// The run's own datasets. `rejected` has the reasons of those rejected, where they were read.
pub fn datasets(
    manifest: &Manifest,
    pipeline: Pipeline,
    commits: &CommitIndex,
    activity: &Activity,
    rejected: &BTreeMap<u32, String>,
) -> Vec<DatasetRow> {
    let row = |index: u32| {
        let dataset = manifest.dataset(index);
        let next = pipeline.stages_of(dataset.role).find(|stage| !commits.has(*stage, index));
        let tries = activity.tries(index);
        let reason = rejected.get(&index);
        let state = match next {
            Some(stage) => DatasetState::At(pipeline.spec(stage).name),
            None if reason.is_some() => DatasetState::Rejected,
            None => DatasetState::Done,
        };
        DatasetRow {
            index,
            path: dataset.path.clone(),
            role: dataset.role,
            reason: reason.cloned().or(tries.reason.filter(|_| next.is_some())),
            state,
            attempts: tries.attempts,
            busy_ms: tries.busy_ms,
            worker: tries.worker,
        }
    };
    (manifest.own_from()..manifest.len()).map(row).collect()
}

/// Whether no stage of a role's datasets follows this one.
pub fn is_last(pipeline: Pipeline, role: Role, stage: Stage) -> bool {
    pipeline.stages_of(role).next_back() == Some(stage)
}

/// The workers, by name.
pub fn workers(activity: &Activity) -> Vec<WorkerRow> {
    activity
        .workers()
        .into_iter()
        .map(|life| WorkerRow { state: state_of(life), life: life.clone() })
        .collect()
}

fn state_of(life: &Life) -> WorkerState {
    match &life.ended {
        Some((code, _)) if *code == Exit::Preempted.code() => WorkerState::Preempted,
        Some(_) => WorkerState::Ended,
        None if life.holds.is_some() => WorkerState::Working,
        None if life.is_lost => WorkerState::Lost,
        None => WorkerState::IdleOrGone,
    }
}

/// How far the run is and when it will be done, if it goes on as of late.
pub fn progress(
    manifest: &Manifest,
    pipeline: Pipeline,
    commits: &CommitIndex,
    activity: &Activity,
    now_ms: u64,
) -> Progress {
    let (mut done, mut all) = (0, 0);
    for index in manifest.own_from()..manifest.len() {
        for stage in pipeline.stages_of(manifest.dataset(index).role) {
            all += 1;
            done += u64::from(commits.has(stage, index));
        }
    }
    let rate = activity.rate(now_ms, WINDOW_MS).filter(|_| done < all);
    Progress { done, all, rate, eta_s: rate.map(|rate| (all - done) as f64 / rate) }
}

impl WorkerState {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::IdleOrGone => "idle or gone",
            Self::Lost => "lost",
            Self::Preempted => "preempted",
            Self::Ended => "ended",
        }
    }
}

impl DatasetState {
    /// For people.
    pub fn words(&self) -> String {
        match self {
            Self::Done => "done".to_owned(),
            Self::Rejected => "rejected".to_owned(),
            Self::At(stage) => format!("at {stage}"),
        }
    }
}
