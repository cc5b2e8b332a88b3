//! The stages of a dataset: read the inputs, check them, run the workload's task, commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::breakage::Breakage;
use crate::commit::{Attempt, Look, Terms};
use crate::contract::{BLOCK_BYTES, Exit, FOLDER_COMMITS};
use crate::events::What;
use crate::hash::Hash;
use crate::item::Name;
use crate::manifest::{Dataset, Role};
use crate::pipeline::{Input, Stage, Step};
use crate::progress::Saved;
use crate::queue::Queue;
use crate::record::Record;
use crate::run::{Opened, Worker};
use crate::system::System;
use crate::trouble::Trouble;
use crate::volume::{Kind, Volume};
use crate::workload::{self, Inputs, Outcome, Part, Task};

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
        let path = self.opened()?.commit_path(&self.paths, stage, index);
        match self.look(&path).await? {
            Look::Absent if self.breaks(Breakage::AbsenceIsAFact) => Ok(missing(path)),
            Look::Absent => Err(Trouble::Absent(path)),
            Look::Torn(_) => Err(Trouble::Torn(stage, index, path)),
            Look::Intact(record) => self.take(stage, index, record).await,
        }
    }

    /// Takes what another committed. A result that varies must last before anything is made from it, and whoever
    /// committed it may be gone before it synced it.
    async fn take(&self, stage: Stage, index: u32, record: Record) -> Result<Committed, Trouble> {
        let varies = self.opened.borrow().as_ref().is_some_and(|opened| !opened.workload.deterministic());
        if varies && self.volume.is_on_one_machine() && !self.breaks(Breakage::VaryingUnsynced) {
            let stage = self.opened()?.pipeline().folder(stage);
            self.volume.sync_folder(&self.paths.folder(stage, index / FOLDER_COMMITS)).await?;
        }
        Ok(self.keep(stage, index, record))
    }

    fn keep(&self, stage: Stage, index: u32, record: Record) -> Committed {
        let committed = Committed::new(index, record);
        // Others are read once: by the chain and by what is made of each dataset alone.
        let opened = self.opened.borrow();
        if opened.as_ref().is_some_and(|o| o.pipeline().is_shared(stage, o.manifest.dataset(index).role)) {
            self.cache.borrow_mut().keep(stage, index, &committed);
        }
        committed
    }

    pub(crate) fn opened(&self) -> Result<Opened, Trouble> {
        self.manifest().ok_or_else(|| Trouble::Absent(self.paths.chapter(0)))
    }

    /// The item's commit, if it is there already: then only the queue did not know.
    async fn committed(&self, stage: Stage, index: u32) -> Result<bool, Trouble> {
        if !self.known.borrow().has(stage, index) {
            match self.look(&self.opened()?.commit_path(&self.paths, stage, index)).await? {
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
        self.make_folder_of(opened.pipeline().folder(stage), index, terms.synced).await?;
        let path = opened.commit_path(&self.paths, stage, index);
        let found = self.publish(attempt, &path, record, terms).await?;
        self.known.borrow_mut().insert(stage, index);
        Ok(self.keep(stage, index, found))
    }

    /// Does a stage of one dataset.
    pub(crate) async fn each(&self, attempt: &Attempt, stage: Stage, index: u32) -> Result<(), Trouble> {
        if self.is_done(stage, index).await? {
            return Ok(());
        }
        let opened = self.opened()?;
        let gathered = self.gather(&opened, attempt, (stage, index), None).await?;
        let record = self.make(&opened, attempt, stage, gathered).await?;
        self.commit(&opened, attempt, stage, index, record).await.map(drop)
    }

    /// Loads what a stage of a dataset reads, in the order declared. `state` is the chain's, where it is known.
    async fn gather(
        &self,
        opened: &Opened,
        attempt: &Attempt,
        (stage, index): (Stage, u32),
        state: Option<&ChainState>,
    ) -> Result<Gathered, Trouble> {
        let manifest = &opened.manifest;
        let mut parents = vec![manifest.spec.hash()];
        let mut inputs = Inputs::of(manifest.dataset(index).clone(), manifest.lineage(index));
        let name = attempt.folder.rsplit('/').next().unwrap_or_default();
        (inputs.run, inputs.attempt) = (self.config.run.clone(), name.to_owned());
        (inputs.count, inputs.grace) = (manifest.len(), self.config.grace);
        let mut rejected = None;
        for input in opened.pipeline().spec(stage).inputs {
            match input {
                Input::Content => {
                    parents.push(inputs.dataset.hash());
                    match self.read_dataset(&inputs.dataset).await {
                        Err(Trouble::Input(why)) if self.breaks(Breakage::RejectTheMissing) => {
                            rejected = Some(why);
                        }
                        content => inputs.content = content?,
                    }
                }
                Input::Own(read) => {
                    let own = self.load(*read, index).await?;
                    parents.push(own.hash);
                    match own.part {
                        Ok(part) => inputs.own.push(part),
                        Err(reason) => rejected = rejected.or(Some(reason)),
                    }
                }
                Input::Window(read) => {
                    for before in opened.window(index) {
                        let committed = self.load(*read, before).await?;
                        parents.push(committed.hash);
                        inputs.window.extend(committed.part);
                    }
                }
                Input::Previous => {
                    let state = match state {
                        Some(state) => state.clone(),
                        None => self.chain_state(opened, stage, index).await?,
                    };
                    parents.push(state.last);
                    inputs.previous = state.newest;
                }
                Input::Tests(read) => {
                    for test in manifest.tests() {
                        let committed = self.load(*read, *test).await?;
                        parents.push(committed.hash);
                        inputs.tests.extend(committed.part);
                    }
                }
            }
        }
        Ok(Gathered { parent: hash_of(&parents), inputs: rejected.map_or(Ok(inputs), Err) })
    }

    /// Makes the result of a stage from its inputs.
    async fn make(
        &self,
        opened: &Opened,
        attempt: &Attempt,
        stage: Stage,
        gathered: Gathered,
    ) -> Result<Record, Trouble> {
        let Gathered { parent, inputs } = gathered;
        let outcome = match inputs {
            Err(reason) => Outcome::Rejected(reason),
            Ok(inputs) => {
                let workload = opened.workload.clone();
                let task = self.compute(move || workload.task(stage, inputs)).await?;
                self.run_task(attempt, task, parent).await?
            }
        };
        Ok(Record::new(parent, outcome))
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

    /// Goes on with the chain, oldest dataset first, as far as its inputs reach.
    pub(crate) async fn chain(&self, attempt: &Attempt, stage: Stage) -> Result<(), Trouble> {
        let opened = self.opened()?;
        let Some(next) = self.next_in_chain(&opened, stage).await? else { return Ok(()) };
        let mut state = match self.chain_state(&opened, stage, next).await {
            _ if self.breaks(Breakage::FoldOutOfOrder) => ChainState::default(),
            state => state?,
        };
        for index in next..opened.manifest.len() {
            if !opened.pipeline().applies(stage, opened.manifest.dataset(index).role) {
                continue;
            }
            let gathered = match self.gather(&opened, attempt, (stage, index), Some(&state)).await {
                Err(Trouble::Absent(_)) if index > next => return Ok(()),
                gathered => gathered?,
            };
            if opened.pipeline().spec(stage).inputs.contains(&Input::Content) {
                let item = Name::of(opened.pipeline().spec(stage).name, index);
                let dataset = opened.manifest.dataset(index).path.clone();
                self.note(What::Began { item, dataset });
                self.flush().await;
            }
            state = self.extend_chain(&opened, attempt, (stage, index), state, gathered).await?;
            // The worker that is ahead goes on; a chain that came to its end here is offered again.
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
        let opened = self.opened()?;
        if opened.pipeline().chain() != Some(stage) {
            return self.each(attempt, stage, index).await;
        }
        let state = self.chain_state(&opened, stage, index).await?;
        let gathered = self.gather(&opened, attempt, (stage, index), Some(&state)).await?;
        self.extend_chain(&opened, attempt, (stage, index), state, gathered).await.map(drop)
    }

    /// The first dataset of the chain without a state, others' states looked for.
    async fn next_in_chain(&self, opened: &Opened, stage: Stage) -> Result<Option<u32>, Trouble> {
        self.list_if_due().await?;
        loop {
            let first = opened.plan(|plan| plan.first_missing(&mut self.known.borrow_mut(), stage));
            let Some(next) = first else { return Ok(None) };
            match self.volume.meta(&opened.commit_path(&self.paths, stage, next)).await {
                Ok(_) => self.known.borrow_mut().insert(stage, next),
                Err(error) if error.kind == Kind::NotFound => return Ok(Some(next)),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The chain's state before a dataset.
    async fn chain_state(&self, opened: &Opened, stage: Stage, index: u32) -> Result<ChainState, Trouble> {
        let mut state = ChainState::default();
        let (mut at, mut is_last) = (index, true);
        while let Some(before) = opened.manifest.train_before(at) {
            let committed = self.load(stage, before).await?;
            if std::mem::take(&mut is_last) {
                state.last = committed.hash;
            }
            if let Ok(part) = committed.part {
                return Ok(ChainState { newest: Some(part), ..state });
            }
            at = before;
        }
        Ok(state)
    }

    /// Commits the chain's state after a dataset; where that was rejected, the next goes on from the state before.
    async fn extend_chain(
        &self,
        opened: &Opened,
        attempt: &Attempt,
        (stage, index): (Stage, u32),
        state: ChainState,
        gathered: Gathered,
    ) -> Result<ChainState, Trouble> {
        let record = self.make(opened, attempt, stage, gathered).await?;
        let committed = self.commit(opened, attempt, stage, index, record).await?;
        // A chain may go on for thousands of datasets: others list what it would leave behind until its end.
        self.sweep_private(attempt).await;
        self.offer_what_reads(opened, stage, index).await;
        Ok(ChainState { last: committed.hash, newest: committed.part.ok().or(state.newest) })
    }

    /// Offers what others can do beside the chain. Not before it can be done: given back again and again, it
    /// would keep them from what it waits for.
    async fn offer_what_reads(&self, opened: &Opened, chain: Stage, index: u32) {
        let pipeline = opened.pipeline();
        for stage in pipeline.each() {
            let reads = pipeline.spec(stage).inputs.contains(&Input::Own(chain));
            if reads && self.is_claimable(stage, index) {
                let _ = self.queue.add(&[pipeline.item(Step::Each(stage, index))]).await;
            }
        }
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
        let mut uses_grace = None;
        loop {
            let stopping = self.system.stopping_for();
            let tell = stopping.is_some() && uses_grace.is_none();
            let (step, told, back) = self
                .compute(move || {
                    let told = tell.then(|| task.stop());
                    (task.step(), told, task)
                })
                .await?;
            task = back;
            uses_grace = uses_grace.or(told);
            self.tick();
            match step {
                workload::Step::More | workload::Step::Stopped => {}
                workload::Step::Done(outcome) => return Ok(outcome),
                workload::Step::NotReady(why) => return Err(Trouble::NotReady(why)),
                workload::Step::Failed(error) => return Err(Trouble::Defect(error)),
            }
            let (done, total) = task.progress();
            let now = self.system.elapsed();
            let leave = matches!(step, workload::Step::Stopped)
                || match (stopping, uses_grace) {
                    (Some(since), Some(true)) => since >= self.config.grace * 3 / 5,
                    (Some(_), _) => !self.fits_in_grace(began, done_before, done, total),
                    // A notice since then is told to the work first.
                    (None, _) => false,
                };
            let rest = self.saving.rest(now.saturating_sub(began), self.config.progress_every);
            if leave || now.saturating_sub(saved_at) >= rest {
                self.note(What::Progress { item: attempt.item, done, total });
                let (state, back) = self.compute(move || (task.save(), task)).await?;
                task = back;
                if let Some(state) = state {
                    let (done, total) = task.progress();
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
            let Some(last) = opened.pipeline().stages_of(dataset.role).next_back() else { continue };
            match self.load(last, dataset.index).await?.part {
                Ok(part) if dataset.role == Role::Train => {
                    results.evals.push(opened.workload.for_report(part).map_err(Trouble::Defect)?);
                }
                Ok(_) => {}
                Err(reason) => {
                    results.rejected.insert(dataset.index, reason);
                }
            }
        }
        if let Some(chain) = opened.pipeline().chain() {
            results.model = self.chain_state(opened, chain, opened.manifest.len()).await?.newest;
        }
        Ok(results)
    }

    /// What `output/` shows of a dataset, or `None` where it was rejected.
    pub(crate) async fn shown(&self, opened: &Opened, index: u32) -> Result<Option<Part>, Trouble> {
        Ok(self.load(opened.pipeline().shown(), index).await?.part.ok())
    }
}

/// What a stage of a dataset is made from.
#[derive(Debug)]
struct Gathered {
    /// Hash over all of it.
    parent: Hash,
    /// Or why the dataset was rejected by an earlier stage.
    inputs: Result<Inputs, String>,
}

/// Where a chain stands.
#[derive(Debug, Clone, Default)]
struct ChainState {
    /// Hash of the last commit.
    last: Hash,
    /// The last state whose dataset was not rejected.
    newest: Option<Part>,
}

/// The last results of the training datasets, rejections and the chain's last state, of a complete run.
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
