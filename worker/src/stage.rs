//! The stages of a dataset: read the inputs, check them, run the workload's task, commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::breakage::Breakage;
use crate::commit::{Attempt, Look, Terms};
use crate::contract::{BLOCK_BYTES, Exit, FOLDER_COMMITS, Stage};
use crate::events::What;
use crate::hash::Hash;
use crate::manifest::{Dataset, Role};
use crate::progress::Saved;
use crate::queue::{Item, Queue};
use crate::record::Record;
use crate::run::{Opened, Worker};
use crate::system::System;
use crate::trouble::Trouble;
use crate::volume::{Kind, Volume};
use crate::workload::{Outcome, Part, Step, Task};

/// A committed result, as later stages read it.
#[derive(Debug, Clone)]
pub(crate) struct Committed {
    pub hash: Hash,
    /// The part, or why the dataset was rejected.
    pub part: Result<Part, String>,
}

impl Committed {
    fn new(index: u32, record: Record) -> Self {
        let hash = record.hash();
        let part = match record.outcome {
            Outcome::Part(bytes) => Ok(Part { index, hash, bytes: Arc::new(bytes) }),
            Outcome::Rejected(reason) => Err(reason),
        };
        Self { hash, part }
    }

    fn bytes(&self) -> usize {
        self.part.as_ref().map_or(0, |part| part.bytes.len())
    }
}

/// Commits kept in memory, since the windows of datasets that follow each other overlap.
#[derive(Debug)]
pub(crate) struct Cache {
    kept: BTreeMap<(Stage, u32), Committed>,
    bytes: usize,
    bytes_max: usize,
}

impl Cache {
    pub fn new(bytes_max: usize) -> Self {
        Self { kept: BTreeMap::new(), bytes: 0, bytes_max }
    }

    fn get(&self, stage: Stage, index: u32) -> Option<Committed> {
        self.kept.get(&(stage, index)).cloned()
    }

    /// Keeps a commit; the oldest dataset's goes first when there are too many.
    fn keep(&mut self, stage: Stage, index: u32, committed: &Committed) {
        self.bytes += committed.bytes();
        if let Some(before) = self.kept.insert((stage, index), committed.clone()) {
            self.bytes -= before.bytes();
        }
        while self.bytes > self.bytes_max
            && let Some((_, gone)) = self.kept.pop_first()
        {
            self.bytes -= gone.bytes();
        }
    }
}

impl<Q: Queue, V: Volume, S: System> Worker<'_, Q, V, S> {
    /// What is committed for a stage of a dataset, its hash checked.
    async fn load(&self, stage: Stage, index: u32) -> Result<Committed, Trouble> {
        if let Some(kept) = self.cache.borrow().get(stage, index) {
            return Ok(kept);
        }
        let path = self.paths.commit(stage, index);
        match self.look(&path).await? {
            Look::Absent if self.breaks(Breakage::AbsenceIsAFact) => Ok(missing(path)),
            Look::Absent => Err(Trouble::Absent(path)),
            Look::Torn(_) => Err(Trouble::Torn(stage, index)),
            Look::Intact(record) => self.take(stage, index, record).await,
        }
    }

    /// Takes what another committed. A result that varies must last before anything is made from it, and whoever
    /// committed it may be gone before it synced it.
    async fn take(&self, stage: Stage, index: u32, record: Record) -> Result<Committed, Trouble> {
        let varies = self.opened.borrow().as_ref().is_some_and(|opened| !opened.workload.deterministic());
        if varies && self.volume.is_on_one_machine() && !self.breaks(Breakage::VaryingUnsynced) {
            self.volume.sync_folder(&self.paths.folder(stage, index / FOLDER_COMMITS)).await?;
        }
        Ok(self.keep(stage, index, record))
    }

    fn keep(&self, stage: Stage, index: u32, record: Record) -> Committed {
        let committed = Committed::new(index, record);
        // The fold and the evaluation read a checkpoint once, and training parts once each.
        if matches!(stage, Stage::Prepare) || self.is_test(index) {
            self.cache.borrow_mut().keep(stage, index, &committed);
        }
        committed
    }

    fn is_test(&self, index: u32) -> bool {
        self.opened.borrow().as_ref().is_some_and(|o| o.manifest.tests().binary_search(&index).is_ok())
    }

    pub(crate) fn opened(&self) -> Result<Opened, Trouble> {
        self.manifest().ok_or_else(|| Trouble::Absent(self.paths.chapter(0)))
    }

    /// The item's commit, if it is there already: then only the queue did not know.
    async fn committed(&self, stage: Stage, index: u32) -> Result<bool, Trouble> {
        if !self.known.borrow().has(stage, index) {
            match self.look(&self.paths.commit(stage, index)).await? {
                Look::Intact(record) => self.take(stage, index, record).await?,
                Look::Absent | Look::Torn(_) => return Ok(false),
            };
            self.known.borrow_mut().insert(stage, index);
            return Ok(true);
        }
        match self.load(stage, index).await {
            Ok(_) => Ok(true),
            Err(Trouble::Absent(_) | Trouble::Torn(..)) => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }

    async fn is_done(&self, stage: Stage, index: u32) -> Result<bool, Trouble> {
        let done = self.committed(stage, index).await?;
        self.was_done_before(done);
        Ok(done)
    }

    /// Commits a stage's result and remembers it; answers what is committed.
    async fn commit(
        &self,
        opened: &Opened,
        attempt: &Attempt,
        stage: Stage,
        index: u32,
        record: Record,
    ) -> Result<Committed, Trouble> {
        let same = opened.workload.deterministic() || self.breaks(Breakage::VaryingIsAViolation);
        // What is lost with the power, and everything that was made from it, is made again to the same bytes.
        let terms = if same {
            Terms { synced: !self.volume.is_on_one_machine(), ..Terms::SAME }
        } else {
            Terms { synced: !self.breaks(Breakage::VaryingUnsynced), ..Terms::FIRST }
        };
        self.make_folder_of(stage, index).await?;
        let found = self.publish(attempt, &self.paths.commit(stage, index), record, terms).await?;
        self.known.borrow_mut().insert(stage, index);
        Ok(self.keep(stage, index, found))
    }

    pub(crate) async fn prepare(&self, attempt: &Attempt, index: u32) -> Result<(), Trouble> {
        if self.is_done(Stage::Prepare, index).await? {
            return Ok(());
        }
        let opened = self.opened()?;
        let dataset = opened.manifest.dataset(index).clone();
        let parent = Hash::of_fields([&opened.manifest.spec.hash().0[..], &dataset.hash().0]);
        let content = match self.read_dataset(&dataset).await {
            Err(Trouble::Input(reason)) if self.breaks(Breakage::RejectTheMissing) => {
                let record = Record::new(parent, Outcome::Rejected(reason));
                return self.commit(&opened, attempt, Stage::Prepare, index, record).await.map(drop);
            }
            content => content?,
        };
        let workload = opened.workload.clone();
        let task = self.compute(move || workload.prepare(&dataset, content)).await?;
        let outcome = self.run_task(attempt, task, parent).await?;
        self.commit(&opened, attempt, Stage::Prepare, index, Record::new(parent, outcome)).await?;
        Ok(())
    }

    /// The dataset's bytes, each block checked against the manifest (rule 9).
    async fn read_dataset(&self, dataset: &Dataset) -> Result<Vec<u8>, Trouble> {
        let mut content = Vec::new();
        for (number, expected) in dataset.blocks.iter().enumerate() {
            let offset = number as u64 * BLOCK_BYTES;
            let block = self.volume.read_at(&dataset.path, offset, BLOCK_BYTES).await;
            let block = block.map_err(Trouble::with_dataset)?;
            self.tick();
            let (found, block) = self.compute(move || (Hash::of(&block), block)).await?;
            if found != *expected && !self.breaks(Breakage::UncheckedInput) {
                return Err(Trouble::Input(format!(
                    "{} is not what it was when the run began: block {number} has hash {}, the manifest says {}",
                    dataset.path,
                    found.short(),
                    expected.short()
                )));
            }
            content.extend(block);
        }
        Ok(content)
    }

    pub(crate) async fn join(&self, attempt: &Attempt, index: u32) -> Result<(), Trouble> {
        if self.is_done(Stage::Join, index).await? {
            return Ok(());
        }
        let opened = self.opened()?;
        let own = self.load(Stage::Prepare, index).await?;
        let mut parents = vec![opened.manifest.spec.hash(), own.hash];
        let part = match own.part {
            Ok(part) => part,
            Err(reason) => {
                let record = Record::new(hash_of(&parents), Outcome::Rejected(reason));
                self.commit(&opened, attempt, Stage::Join, index, record).await?;
                return Ok(());
            }
        };
        let mut window = Vec::new();
        for before in opened.window(index) {
            let prepared = self.load(Stage::Prepare, before).await?;
            parents.push(prepared.hash);
            window.extend(prepared.part);
        }
        let parent = hash_of(&parents);
        let (workload, dataset) = (opened.workload.clone(), opened.manifest.dataset(index).clone());
        let task = self.compute(move || workload.join(&dataset, &part, &window)).await?;
        let outcome = self.run_task(attempt, task, parent).await?;
        self.commit(&opened, attempt, Stage::Join, index, Record::new(parent, outcome)).await?;
        Ok(())
    }

    /// Folds joined parts into checkpoints, oldest first, as far as they reach.
    pub(crate) async fn fold(&self, attempt: &Attempt) -> Result<(), Trouble> {
        let opened = self.opened()?;
        let Some(next) = self.next_to_fold(&opened).await? else { return Ok(()) };
        let mut model = match self.newest_model(&opened, next).await {
            _ if self.breaks(Breakage::FoldOutOfOrder) => (Hash::default(), None),
            model => model?,
        };
        for index in next..opened.manifest.len() {
            if opened.manifest.dataset(index).role != Role::Train {
                continue;
            }
            let joined = match self.load(Stage::Join, index).await {
                Err(Trouble::Absent(_)) if index > next => return Ok(()),
                joined => joined?,
            };
            model = self.fold_one(&opened, attempt, index, model, joined).await?;
            // Whoever is ahead goes on; a fold that came to its end here is offered again.
            if attempt.is_overtaken() && !self.breaks(Breakage::FoldOnBehind) {
                return Ok(());
            }
            if self.system.stopping_for().is_some() {
                return Err(Trouble::Stop);
            }
        }
        Ok(())
    }

    /// Makes a damaged commit again.
    pub(crate) async fn remake(&self, attempt: &Attempt, stage: Stage, index: u32) -> Result<(), Trouble> {
        match stage {
            Stage::Prepare => self.prepare(attempt, index).await,
            Stage::Join => self.join(attempt, index).await,
            Stage::Evaluate => self.evaluate(attempt, index).await,
            Stage::Fold => {
                let opened = self.opened()?;
                let model = self.newest_model(&opened, index).await?;
                let joined = self.load(Stage::Join, index).await?;
                self.fold_one(&opened, attempt, index, model, joined).await.map(drop)
            }
        }
    }

    /// The first training dataset without a checkpoint, others' checkpoints looked for.
    async fn next_to_fold(&self, opened: &Opened) -> Result<Option<u32>, Trouble> {
        self.list_if_due().await?;
        loop {
            let first = self.known.borrow_mut().first_missing(Stage::Fold, &opened.manifest);
            let Some(next) = first else { return Ok(None) };
            match self.volume.meta(&self.paths.commit(Stage::Fold, next)).await {
                Ok(_) => self.known.borrow_mut().insert(Stage::Fold, next),
                Err(error) if error.kind == Kind::NotFound => return Ok(Some(next)),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The last model before a dataset, and the hash of the checkpoint that it came from.
    async fn newest_model(&self, opened: &Opened, index: u32) -> Result<(Hash, Option<Part>), Trouble> {
        let mut chain = Hash::default();
        let mut at = index;
        let mut newest = true;
        while let Some(before) = opened.manifest.train_before(at) {
            let checkpoint = self.load(Stage::Fold, before).await?;
            if newest {
                (chain, newest) = (checkpoint.hash, false);
            }
            if let Ok(part) = checkpoint.part {
                return Ok((chain, Some(part)));
            }
            at = before;
        }
        Ok((chain, None))
    }

    async fn fold_one(
        &self,
        opened: &Opened,
        attempt: &Attempt,
        index: u32,
        (chain, model): (Hash, Option<Part>),
        joined: Committed,
    ) -> Result<(Hash, Option<Part>), Trouble> {
        let parent = hash_of(&[opened.manifest.spec.hash(), chain, joined.hash]);
        let outcome = match joined.part {
            // Skipped: the next dataset goes on from the same model.
            Err(reason) => Outcome::Rejected(reason),
            Ok(part) => {
                let (workload, previous) = (opened.workload.clone(), model.clone());
                let dataset = opened.manifest.dataset(index).clone();
                let lineage = opened.manifest.lineage(index);
                let task =
                    self.compute(move || workload.fold(&dataset, previous.as_ref(), &part, lineage)).await?;
                self.run_task(attempt, task, parent).await?
            }
        };
        let record = Record::new(parent, outcome);
        let committed = self.commit(opened, attempt, Stage::Fold, index, record).await?;
        // A fold may go on for thousands of datasets: others list what it would leave behind until its end.
        self.sweep_private(attempt).await;
        // Others evaluate beside the fold. Not before it can be done: given back again and again, it
        // would keep them from what it waits for.
        if self.is_claimable(Item::Evaluate(index)) {
            let _ = self.queue.add(&[Item::Evaluate(index)]).await;
        }
        Ok((committed.hash, committed.part.ok().or(model)))
    }

    pub(crate) async fn evaluate(&self, attempt: &Attempt, index: u32) -> Result<(), Trouble> {
        if self.is_done(Stage::Evaluate, index).await? {
            return Ok(());
        }
        let opened = self.opened()?;
        let checkpoint = self.load(Stage::Fold, index).await?;
        let joined = self.load(Stage::Join, index).await?;
        let mut parents = vec![opened.manifest.spec.hash(), checkpoint.hash, joined.hash];
        let mut tests = Vec::new();
        for test in opened.manifest.tests() {
            let test = self.load(Stage::Join, *test).await?;
            parents.push(test.hash);
            tests.extend(test.part);
        }
        let parent = hash_of(&parents);
        let outcome = match (checkpoint.part, joined.part) {
            (Ok(checkpoint), Ok(joined)) => {
                let (workload, dataset) = (opened.workload.clone(), opened.manifest.dataset(index).clone());
                let task =
                    self.compute(move || workload.evaluate(&dataset, &checkpoint, &joined, &tests)).await?;
                self.run_task(attempt, task, parent).await?
            }
            (Err(reason), _) | (_, Err(reason)) => Outcome::Rejected(reason),
        };
        self.commit(&opened, attempt, Stage::Evaluate, index, Record::new(parent, outcome)).await?;
        Ok(())
    }

    /// Steps a task to its end: between steps progress is told and saved, and signals are seen.
    async fn run_task(
        &self,
        attempt: &Attempt,
        mut task: Box<dyn Task>,
        parent: Hash,
    ) -> Result<Outcome, Trouble> {
        let began = self.system.elapsed();
        let parent = Hash::of_fields([b"progress", &parent.0[..]]);
        if task.resumable() {
            self.resume(attempt, &mut task, parent).await;
        }
        let (done_before, _) = task.progress();
        let mut saved_at = began;
        loop {
            let (step, back) = self
                .compute(move || {
                    let step = task.step();
                    (step, task)
                })
                .await?;
            task = back;
            self.tick();
            match step {
                Step::More => {}
                Step::Done(outcome) => return Ok(outcome),
                Step::Failed(error) => return Err(Trouble::Defect(error)),
            }
            let (done, total) = task.progress();
            let now = self.system.elapsed();
            let leave = !self.fits_in_grace(began, done_before, done, total);
            let rest = self.saving.rest(now.saturating_sub(began), self.config.progress_every);
            if leave || now.saturating_sub(saved_at) >= rest {
                self.note(What::Progress { item: attempt.item, done, total });
                if let Some(state) = task.save() {
                    self.save(attempt, Saved { parent, done, total, state }).await;
                }
                self.flush().await;
                saved_at = self.system.elapsed();
            }
            if leave {
                return Err(Trouble::Stop);
            }
        }
    }

    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Trouble> {
        self.system.compute(work).await.map_err(Trouble::Defect)
    }

    /// Everything that the report is made from.
    pub(crate) async fn results(&self, opened: &Opened) -> Result<Results, Trouble> {
        let mut results = Results::default();
        for dataset in &opened.manifest.datasets {
            let stage = if dataset.role == Role::History { Stage::Prepare } else { Stage::Join };
            let last = if dataset.role == Role::Train { Stage::Evaluate } else { stage };
            match self.load(last, dataset.index).await?.part {
                Ok(part) if dataset.role == Role::Train => results.evals.push(part),
                Ok(_) => {}
                Err(reason) => {
                    results.rejected.insert(dataset.index, reason);
                }
            }
        }
        results.model = self.newest_model(opened, opened.manifest.len()).await?.1;
        Ok(results)
    }

    /// A checkpoint's bytes, or `None` where its dataset was rejected.
    pub(crate) async fn checkpoint(&self, index: u32) -> Result<Option<Part>, Trouble> {
        Ok(self.load(Stage::Fold, index).await?.part.ok())
    }
}

/// Evaluations, rejections and the last model of a complete run.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub evals: Vec<Part>,
    pub rejected: BTreeMap<u32, String>,
    pub model: Option<Part>,
}

fn hash_of(parents: &[Hash]) -> Hash {
    Hash::of_fields(parents.iter().map(|hash| &hash.0[..]))
}

/// What [`Breakage::AbsenceIsAFact`] makes of a commit that it cannot see.
fn missing(path: String) -> Committed {
    Committed { hash: Hash::default(), part: Err(format!("{path} is missing")) }
}

/// A page that cannot be read any more: nothing can repair it, so the run stops (rule 10).
pub(crate) fn damaged(path: &str, why: &dyn std::fmt::Display) -> Trouble {
    Trouble::End(
        Exit::Damaged,
        format!("{path}: {why}\nhint: restore the file from a copy, or begin a new run under another name"),
    )
}
