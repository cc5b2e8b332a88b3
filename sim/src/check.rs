//! What must hold of every run that has ended, whatever happened on the way. Pure: over what lies on
//! the volume (the truth) and the workers' events (the account). Order comes from commits, and from
//! what one observer saw, never from clocks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use worker::contract::{Exit, OUTPUT, RunPaths};
use worker::events::{Event, What};
use worker::hash::Hash;
use worker::item::Name;
use worker::manifest::{Dataset, Manifest, Role};
use worker::pipeline::{END, Input, Pipeline, Stage, Step};
use worker::queue::Counts;
use worker::reader::ManifestReader;
use worker::record::Record;
use worker::report::Report;
use worker::workload::{Outcome, Part, Shown, ShownFiles, Workload, checkpoint_names};

use crate::story::Story;
use crate::view::View;

/// The checks, in the order in which the report lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The manifest reads from its first page to its end.
    Manifest,
    /// Each stage of each dataset is committed, and one attempt at most says that it did it.
    Once,
    /// Each commit was made from the commits that it must be made from.
    Chain,
    /// No public file that no commit explains.
    Explained,
    /// The report and `output/` are those of the commits.
    Output,
    /// Nothing is left in the queue.
    Queue,
    /// The first exit with 0 saw every commit, the report's included.
    Exit,
    /// The run ended within its bound after the last fault.
    Drained,
}

impl Check {
    pub const ALL: [Self; 8] = [
        Self::Manifest,
        Self::Once,
        Self::Chain,
        Self::Explained,
        Self::Output,
        Self::Queue,
        Self::Exit,
        Self::Drained,
    ];

    /// What holds if it passes.
    pub fn words(self) -> &'static str {
        match self {
            Self::Manifest => "the list of datasets is whole",
            Self::Once => "every dataset took effect exactly once",
            Self::Chain => "every result was made from the results that it should be made from",
            Self::Explained => "every file of the run was committed by a worker",
            Self::Output => "output/ holds what was committed",
            Self::Queue => "no work is left in the queue",
            Self::Exit => "no worker reported success early",
            Self::Drained => "the run ended in time after the last fault",
        }
    }

    /// What it looks at: one, and many.
    pub fn units(self) -> [&'static str; 2] {
        match self {
            Self::Manifest => ["page", "pages"],
            Self::Once | Self::Chain => ["result", "results"],
            Self::Explained | Self::Output => ["file", "files"],
            Self::Queue => ["queue", "queues"],
            Self::Exit => ["worker", "workers"],
            Self::Drained => ["run", "runs"],
        }
    }
}

/// A check that failed, with what a person needs to find out why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    pub check: Check,
    pub detail: String,
    pub dataset: Option<String>,
    /// Folders of the attempts concerned.
    pub attempts: Vec<String>,
    /// Their events, as `worker #seq: event`.
    pub events: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check.words(), self.detail)?;
        if let Some(dataset) = &self.dataset {
            write!(f, "\n  dataset {dataset}")?;
        }
        for attempt in &self.attempts {
            write!(f, "\n  attempt {attempt}")?;
        }
        for event in &self.events {
            write!(f, "\n  {event}")?;
        }
        Ok(())
    }
}

/// What the checks found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Verdict {
    /// How many things each check looked at.
    pub looked_at: BTreeMap<Check, u32>,
    pub violations: Vec<Violation>,
}

/// What is looked at.
pub struct Evidence<'a> {
    pub run: &'a str,
    pub story: &'a Story,
    pub view: &'a View,
    /// The queue, after what had expired was reaped.
    pub queue: Counts,
    pub workload: &'a dyn Workload,
    /// From the last fault or crash to the first exit with 0, at most.
    pub drained_ms_max: u64,
}

impl fmt::Debug for Evidence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Evidence(run {})", self.run)
    }
}

/// Looks at everything.
pub fn check(evidence: &Evidence<'_>) -> Verdict {
    let mut checker = Checker {
        evidence,
        paths: RunPaths::new(evidence.run),
        records: BTreeMap::new(),
        verdict: Verdict::default(),
    };
    checker.read_records();
    match checker.manifest() {
        Ok(manifest) => checker.check_run(&manifest),
        Err(detail) => checker.fail(Check::Manifest, detail, None, &[]),
    }
    checker.queue();
    checker.exit();
    checker.drained();
    checker.verdict
}

struct Checker<'a> {
    evidence: &'a Evidence<'a>,
    paths: RunPaths,
    /// Every intact record of the run.
    records: BTreeMap<String, Record>,
    verdict: Verdict,
}

impl Checker<'_> {
    fn saw(&mut self, check: Check) {
        *self.verdict.looked_at.entry(check).or_default() += 1;
    }

    /// Notes a violation, with the events that speak of `path`.
    fn fail(&mut self, check: Check, detail: String, dataset: Option<&Dataset>, about: &[&str]) {
        let mut attempts = BTreeSet::new();
        let mut events = Vec::new();
        for incarnation in &self.evidence.story.incarnations {
            for event in &incarnation.events {
                let (path, attempt) = speaks_of(event);
                if about.iter().any(|wanted| path == Some(*wanted)) {
                    attempts.extend(attempt.map(str::to_owned));
                    events.push(line_of(event));
                }
            }
        }
        self.verdict.violations.push(Violation {
            check,
            detail,
            dataset: dataset.map(|dataset| dataset.path.clone()),
            attempts: attempts.into_iter().collect(),
            events,
        });
    }

    fn read_records(&mut self) {
        let inside = format!("{}/", self.paths.root());
        let files = self.evidence.view.files.iter().filter(|(path, _)| path.starts_with(&inside));
        for (path, bytes) in files {
            match Record::decode_at(bytes.clone(), self.paths.place(path)) {
                Ok(record) => {
                    self.records.insert(path.clone(), record);
                }
                Err(damage) => {
                    self.fail(Check::Explained, format!("{path} is no record: {damage}"), None, &[path])
                }
            }
        }
    }

    fn manifest(&mut self) -> Result<Manifest, String> {
        let files = &self.evidence.view.files;
        let reader = ManifestReader::read(self.evidence.run, |path| files.get(path).cloned());
        let reader = reader.map_err(|why| why.to_string())?;
        match reader.manifest() {
            None => Err("its first page is missing".to_owned()),
            Some(manifest) if !manifest.sealed => {
                Err(format!("page {} is missing, and nothing sealed the run", manifest.next_page))
            }
            Some(manifest) => {
                for _ in 0..manifest.next_page {
                    self.saw(Check::Manifest);
                }
                Ok(manifest.clone())
            }
        }
    }

    fn pipeline(&self) -> Pipeline {
        self.evidence.workload.pipeline()
    }

    fn commit_path(&self, manifest: &Manifest, stage: Stage, index: u32) -> String {
        manifest.commit_path(&self.paths, self.pipeline().folder(stage), index)
    }

    fn check_run(&mut self, manifest: &Manifest) {
        let mut expected: BTreeSet<String> = (0..manifest.next_page).map(|n| self.paths.chapter(n)).collect();
        for dataset in manifest.own() {
            for stage in self.pipeline().stages_of(dataset.role) {
                let path = self.commit_path(manifest, stage, dataset.index);
                self.once(stage, dataset, &path);
                self.chain(dataset, &path, self.parent(manifest, stage, dataset));
                expected.insert(path);
            }
        }
        if let Some(index) = self.pipeline().end().and(manifest.last_own()) {
            let path = self.commit_path(manifest, END, index);
            self.once(END, manifest.dataset(index), &path);
            self.chain(manifest.dataset(index), &path, self.parent_of_end(manifest));
            expected.insert(path);
        }
        let report = self.paths.report();
        match self.records.get(&report) {
            None => self.fail(Check::Once, "the report is not committed".to_owned(), None, &[&report]),
            Some(record) if !manifest.is_empty() && record.parent != manifest.lineage(manifest.len() - 1) => {
                self.fail(
                    Check::Chain,
                    "the report was made from other datasets".to_owned(),
                    None,
                    &[&report],
                );
            }
            Some(_) => self.saw(Check::Chain),
        }
        expected.insert(report);
        self.explained(&expected);
        self.output(manifest);
    }

    /// One intact commit, and at most one attempt that says its file is the public one.
    fn once(&mut self, stage: Stage, dataset: &Dataset, path: &str) {
        self.saw(Check::Once);
        if !self.records.contains_key(path) {
            let detail =
                format!("{} of dataset {} is not committed", self.pipeline().folder(stage), dataset.index);
            self.fail(Check::Once, detail, Some(dataset), &[path]);
            return;
        }
        let won =
            |event: &&Event| matches!(&event.what, What::Committed { path: at, won: true, .. } if at == path);
        let winners = self.events().filter(won).count();
        if winners > 1 {
            self.fail(
                Check::Once,
                format!("{winners} attempts say that they committed {path}"),
                Some(dataset),
                &[path],
            );
        }
    }

    /// Of what is committed, here or by a run that this one continues.
    fn hash(&self, manifest: &Manifest, stage: Stage, index: u32) -> Option<Hash> {
        let path = self.commit_path(manifest, stage, index);
        if manifest.home(index).is_none() {
            return self.records.get(&path).map(Record::hash);
        }
        let bytes = self.evidence.view.files.get(&path)?.clone();
        Record::decode_at(bytes, self.paths.place(&path)).ok().map(|record| record.hash())
    }

    /// The hash over everything that a commit must have been made from; `None` where some of that
    /// is missing, which is reported elsewhere.
    fn parent(&self, manifest: &Manifest, stage: Stage, dataset: &Dataset) -> Option<Hash> {
        let mut parents = vec![manifest.spec.hash()];
        for input in self.pipeline().spec(stage).inputs {
            match input {
                Input::Content | Input::Blocks => parents.push(dataset.hash()),
                Input::Own(read) => parents.push(self.hash(manifest, *read, dataset.index)?),
                Input::Window(read) | Input::LazyWindow(read) => {
                    for before in self.evidence.workload.window(&manifest.datasets, dataset.index) {
                        parents.push(self.hash(manifest, *read, before)?);
                    }
                }
                Input::Previous => parents.push(match manifest.train_before(dataset.index) {
                    Some(before) => self.hash(manifest, stage, before)?,
                    None => Hash::default(),
                }),
                Input::Tests(read) => {
                    for test in manifest.tests() {
                        parents.push(self.hash(manifest, *read, *test)?);
                    }
                }
            }
        }
        Some(Hash::of_fields(parents.iter().map(|hash| &hash.0[..])))
    }

    /// The same of what is made once, at the end.
    fn parent_of_end(&self, manifest: &Manifest) -> Option<Hash> {
        let mut parents = vec![manifest.spec.hash(), manifest.last_lineage()];
        let last = self.pipeline().stages_of(Role::Train).next_back()?;
        for dataset in manifest.own().iter().filter(|dataset| dataset.role == Role::Train) {
            parents.push(self.hash(manifest, last, dataset.index)?);
        }
        if let Some(chain) = self.pipeline().chain() {
            parents.push(self.hash(manifest, chain, manifest.last_own()?)?);
        }
        Some(Hash::of_fields(parents.iter().map(|hash| &hash.0[..])))
    }

    fn chain(&mut self, dataset: &Dataset, path: &str, parent: Option<Hash>) {
        let (Some(record), Some(parent)) = (self.records.get(path), parent) else { return };
        if record.parent == parent {
            self.saw(Check::Chain);
            return;
        }
        let (found, expected) = (record.parent.short(), parent.short());
        let detail = format!("{path} was made from {found}, and not from {expected}");
        self.fail(Check::Chain, detail, Some(dataset), &[path]);
    }

    /// Every public file has its place, and an attempt that said beforehand that it would link it.
    fn explained(&mut self, expected: &BTreeSet<String>) {
        let mut intents: BTreeMap<&str, BTreeSet<Hash>> = BTreeMap::new();
        for event in self.events() {
            if let What::Intent { path, hash, .. } = &event.what {
                intents.entry(path).or_default().insert(*hash);
            }
        }
        let mut wrong = Vec::new();
        for (path, record) in &self.records {
            if !expected.contains(path) {
                wrong.push((path.clone(), format!("{path} belongs to nothing in the manifest")));
            } else if !intents.get(path.as_str()).is_some_and(|hashes| hashes.contains(&record.hash())) {
                wrong.push((
                    path.clone(),
                    format!("no attempt announced {path} with hash {}", record.hash().short()),
                ));
            }
        }
        for _ in 0..self.records.len() - wrong.len() {
            self.saw(Check::Explained);
        }
        for (path, detail) in wrong {
            self.fail(Check::Explained, detail, None, &[&path]);
        }
    }

    /// `output/` holds the report's files and each training dataset's checkpoint, to the byte.
    fn output(&mut self, manifest: &Manifest) {
        let mut wanted: ShownFiles = Vec::new();
        if let Some(record) = self.records.get(&self.paths.report()) {
            match Report::of(record) {
                Ok(report) => {
                    let bytes = |text: String| Shown::Bytes(Arc::new(text.into_bytes()));
                    wanted.extend(report.files.into_iter().map(|(name, text)| (name, bytes(text))));
                }
                Err(error) => {
                    self.fail(Check::Output, format!("the report is unreadable: {error}"), None, &[])
                }
            }
        }
        let own_from = manifest.own_from();
        let names = checkpoint_names(self.evidence.workload, &manifest.datasets);
        let (pipeline, shown) = (self.pipeline(), self.pipeline().shown());
        let of_datasets = names.filter(|(index, _)| *index >= own_from);
        let of_end = pipeline.end().zip(manifest.last_own());
        let of_end = of_end.map(|(end, index)| (END, index, end.folder.to_owned()));
        for (stage, index, name) in of_datasets.map(|(index, name)| (shown, index, name)).chain(of_end) {
            let record = self.records.get(&self.commit_path(manifest, stage, index));
            if let Some(record @ Record { outcome: Outcome::Part(bytes), .. }) = record {
                let part = Part { stage, index, hash: record.hash(), bytes: Arc::new(bytes.clone()) };
                match self.evidence.workload.shown_files(&name, &part) {
                    Ok(files) => wanted.extend(files),
                    Err(why) => self.fail(Check::Output, format!("dataset {index}: {why}"), None, &[]),
                }
            }
        }
        for (name, shown) in wanted {
            match self.evidence.view.shows(&format!("{OUTPUT}/{name}"), &shown) {
                Some(true) => self.saw(Check::Output),
                Some(false) => {
                    self.fail(Check::Output, format!("{OUTPUT}/{name} is not what was committed"), None, &[])
                }
                None => self.fail(Check::Output, format!("{OUTPUT}/{name} is missing"), None, &[]),
            }
        }
    }

    fn queue(&mut self) {
        let Counts { pending, claimed } = self.evidence.queue;
        if self.evidence.queue.is_empty() {
            return self.saw(Check::Queue);
        }
        let detail = format!("{pending} pending and {claimed} claimed are left");
        self.fail(Check::Queue, detail, None, &[]);
    }

    /// What the observer saw on the volume at the first exit with 0 is all that is there now.
    fn exit(&mut self) {
        let Some(seen) = &self.evidence.story.at_first_exit else {
            return self.fail(Check::Exit, "no worker exited 0".to_owned(), None, &[]);
        };
        let seen: BTreeSet<&str> = seen.iter().map(String::as_str).collect();
        let late: Vec<String> =
            self.records.keys().filter(|path| !seen.contains(path.as_str())).cloned().collect();
        for incarnation in &self.evidence.story.incarnations {
            if incarnation.exit.is_some_and(Exit::is_complete) {
                self.saw(Check::Exit);
            }
        }
        for path in late {
            self.fail(
                Check::Exit,
                format!("{path} was committed after a worker had exited 0"),
                None,
                &[&path],
            );
        }
    }

    fn drained(&mut self) {
        let most = self.evidence.drained_ms_max;
        match self.evidence.story.drained_ms {
            Some(took) if took <= most => self.saw(Check::Drained),
            Some(took) => {
                let detail = format!("it took {took} ms after the last fault, at most {most} were due");
                self.fail(Check::Drained, detail, None, &[]);
            }
            None => self.fail(Check::Drained, "it did not end".to_owned(), None, &[]),
        }
    }

    fn events(&self) -> impl Iterator<Item = &Event> {
        self.evidence.story.incarnations.iter().flat_map(|incarnation| &incarnation.events)
    }
}

/// The public path that an event speaks of, and its attempt.
fn speaks_of(event: &Event) -> (Option<&str>, Option<&str>) {
    match &event.what {
        What::Intent { path, attempt, .. }
        | What::Committed { path, attempt, .. }
        | What::Repaired { path, attempt } => (Some(path), Some(attempt)),
        What::Violation { path, .. } => (Some(path), None),
        _ => (None, None),
    }
}

fn line_of(event: &Event) -> String {
    let what = serde_json::to_string(&event.what).unwrap_or_default();
    format!("{} #{}: {what}", event.worker, event.seq)
}

/// The commit that an item left in the queue waits for; `None` for items that may be offered once more than they
/// are needed, and for names that are no items.
pub fn commit_of(paths: &RunPaths, pipeline: Pipeline, item: Name) -> Option<String> {
    match pipeline.step(item)? {
        Step::Each(stage, index) => Some(paths.commit(pipeline.folder(stage), index)),
        Step::Report => Some(paths.report()),
        Step::Begin => Some(paths.chapter(0)),
        Step::Chain(_) | Step::Intake => None,
    }
}
