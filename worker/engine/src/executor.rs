//! One item of a stage: load the inputs, check them, run the workload's task, commit.

use std::sync::Arc;

use crate::artifacts::{Artifacts, ChainState, Committed};
use crate::attempt::Attempt;
use crate::audit::{FromTheStart, shown};
use crate::blocks::Blocks;
use crate::committer::{CommitOptions, Committer};
use crate::context::{Context, Ports};
use crate::events::What;
use crate::hash::Hash;
use crate::item::Name;
use crate::item_error::ItemError;
use crate::listing::Lister;
use crate::manifest::{Dataset, Role};
use crate::mutant::Mutant;
use crate::offer::Offers;
use crate::path::name_of;
use crate::pipeline::{END, Input, Stage, Step};
use crate::queue::WorkQueue;
use crate::record::Record;
use crate::runner::Runner;
use crate::store::Store;
use crate::view::{OpenRun, RunView, own_names};
use crate::workload::{Inputs, Outcome, Part, Task};

/// What a stage of a dataset is made from.
#[derive(Debug)]
struct Gathered {
    /// Hash over all of it.
    parent: Hash,
    /// Or why the dataset was rejected by an earlier stage.
    inputs: Result<Inputs, String>,
}

pub(crate) struct Executor<'a, P: Ports> {
    pub ctx: &'a Context<'a, P>,
    pub committer: &'a Committer<'a, P>,
    pub view: &'a RunView<'a, P>,
    pub lister: &'a Lister<'a, P>,
    pub offers: &'a Offers<'a, P>,
    pub artifacts: &'a Artifacts<'a, P>,
    pub blocks: &'a Blocks<'a, P>,
    pub runner: Runner<'a, P>,
}

impl<P: Ports> Executor<'_, P> {
    /// Does a stage of one dataset, unless it is committed.
    pub async fn each(&self, attempt: &Attempt, stage: Stage, index: u32) -> Result<(), ItemError> {
        let is_committed = self.artifacts.is_committed(stage, index).await?;
        self.offers.record_claim(is_committed);
        if is_committed {
            return Ok(());
        }
        let open = self.view.opened()?;
        let gathered = self.gather(&open, attempt, (stage, index), None).await?;
        let record = self.make(&open, attempt, stage, gathered).await?;
        self.commit(&open, attempt, stage, index, record).await.map(drop)
    }

    /// Goes on with the chain, oldest dataset first, as far as its inputs reach.
    pub async fn chain(&self, attempt: &Attempt, stage: Stage) -> Result<(), ItemError> {
        let open = self.view.opened()?;
        let Some(next) = self.next_in_chain(&open, stage).await? else { return Ok(()) };
        let mut state = match self.artifacts.chain_state(&open, stage, next).await {
            _ if self.ctx.breaks(Mutant::FoldOutOfOrder) => ChainState::default(),
            state => state?,
        };
        for index in next..open.manifest.len() {
            if !open.pipeline().applies(stage, open.manifest.dataset(index).role) {
                continue;
            }
            let gathered = match self.gather(&open, attempt, (stage, index), Some(&state)).await {
                Err(ItemError::Absent(_)) if index > next => return Ok(()),
                gathered => gathered?,
            };
            if open.pipeline().spec(stage).reads_dataset() {
                let item = Name::of(open.pipeline().spec(stage).name, index);
                let dataset = open.manifest.dataset(index).path.clone();
                self.ctx.note(What::Began { item, dataset });
                self.ctx.flush().await;
            }
            state = self.extend_chain(&open, attempt, (stage, index), state, gathered).await?;
            // The worker that is ahead goes on; a chain that came to its end here is offered again.
            if attempt.is_overtaken() && !self.ctx.breaks(Mutant::FoldOnBehind) {
                return Ok(());
            }
            if self.ctx.is_stopping() {
                return Err(ItemError::Stop);
            }
        }
        Ok(())
    }

    /// What is made once, at the end of a run that is sealed; `None` where its pipeline has no end.
    pub async fn end(&self, attempt: &Attempt) -> Result<Option<Part>, ItemError> {
        let open = self.view.opened()?;
        let Some(index) = open.pipeline().end().and(open.manifest.last_own()) else { return Ok(None) };
        let committed = match self.artifacts.load(END, index).await {
            Err(ItemError::Absent(_)) => self.make_end(&open, attempt, index).await?,
            committed => committed?,
        };
        committed.part.map(Some).map_err(ItemError::Defect)
    }

    async fn make_end(&self, open: &OpenRun, attempt: &Attempt, index: u32) -> Result<Committed, ItemError> {
        let gathered = self.gather_all(open, attempt, index).await?;
        let record = self.make(open, attempt, END, gathered).await?;
        if let Outcome::Rejected(why) = record.outcome {
            return Err(ItemError::Defect(why));
        }
        self.commit(open, attempt, END, index, record).await
    }

    /// Loads what the end reads.
    async fn gather_all(&self, open: &OpenRun, attempt: &Attempt, index: u32) -> Result<Gathered, ItemError> {
        let (manifest, pipeline) = (&open.manifest, open.pipeline());
        let mut parents = vec![manifest.spec.hash(), manifest.last_lineage()];
        let mut inputs = self.inputs(open, attempt, index);
        if let Some(last) = pipeline.stages_of(Role::Train).next_back() {
            for (index, name) in own_names(open) {
                let committed = self.artifacts.load(last, index).await?;
                parents.push(committed.hash);
                inputs.all.extend(committed.part.ok().map(|part| (name, part)));
            }
        }
        if let Some(chain) = pipeline.chain() {
            let state = self.artifacts.chain_state(open, chain, manifest.len()).await?;
            parents.push(state.last);
            inputs.previous = state.newest;
        }
        let parent = Hash::of_fields(parents.iter().map(|hash| &hash.0[..]));
        Ok(Gathered { parent, inputs: Ok(inputs) })
    }

    /// Recomputes a damaged commit, or one that refers to blocks which are lost.
    pub async fn recompute(&self, attempt: &Attempt, stage: Stage, index: u32) -> Result<(), ItemError> {
        let open = self.view.opened()?;
        if stage == END {
            return self.make_end(&open, attempt, index).await.map(drop);
        }
        if open.pipeline().chain() == Some(stage) {
            let state = self.artifacts.chain_state(&open, stage, index).await?;
            let gathered = self.gather(&open, attempt, (stage, index), Some(&state)).await?;
            return self.extend_chain(&open, attempt, (stage, index), state, gathered).await.map(drop);
        }
        let gathered = self.gather(&open, attempt, (stage, index), None).await?;
        let record = self.make(&open, attempt, stage, gathered).await?;
        self.commit(&open, attempt, stage, index, record).await.map(drop)
    }

    /// The first dataset of the chain without a state, others' states looked for.
    async fn next_in_chain(&self, open: &OpenRun, stage: Stage) -> Result<Option<u32>, ItemError> {
        self.lister.list_if_due().await?;
        loop {
            let first = self.view.planned(|_, commits| open.plan(|plan| plan.first_missing(commits, stage)));
            let Some(next) = first.flatten() else { return Ok(None) };
            if !self.ctx.store.exists(&open.commit_path(&self.ctx.paths, stage, next)).await? {
                return Ok(Some(next));
            }
            self.view.record(stage, next);
        }
    }

    /// Commits the chain's state after a dataset; where that was rejected, the next goes on from the state before.
    async fn extend_chain(
        &self,
        open: &OpenRun,
        attempt: &Attempt,
        (stage, index): (Stage, u32),
        state: ChainState,
        gathered: Gathered,
    ) -> Result<ChainState, ItemError> {
        let record = self.make(open, attempt, stage, gathered).await?;
        let committed = self.commit(open, attempt, stage, index, record).await?;
        attempt.has_moved_on();
        self.ctx.made_progress(attempt).await;
        // A chain may go on for thousands of datasets: others would list what it leaves behind until its end.
        self.committer.sweep_private(attempt).await;
        self.offer_readers(open, stage, index).await;
        Ok(ChainState { last: committed.hash, newest: committed.part.ok().or(state.newest) })
    }

    /// Offers what others can do beside the chain. Not before it can be done: released again and again, it
    /// would keep them from what it waits for.
    async fn offer_readers(&self, open: &OpenRun, chain: Stage, index: u32) {
        let pipeline = open.pipeline();
        for stage in pipeline.each() {
            let reads = pipeline.spec(stage).inputs.contains(&Input::Own(chain));
            if reads && self.view.is_claimable(stage, index) {
                let _ = self.ctx.queue.add(&[pipeline.item(Step::Each(stage, index))]).await;
            }
        }
    }

    /// What a stage of a dataset is given, with nothing read yet.
    fn inputs(&self, open: &OpenRun, attempt: &Attempt, index: u32) -> Inputs {
        let manifest = &open.manifest;
        let mut inputs = Inputs::of(manifest.dataset(index).clone(), manifest.lineage(index));
        (inputs.run, inputs.attempt) = (self.ctx.config.run.clone(), name_of(&attempt.folder).to_owned());
        (inputs.count, inputs.grace) = (manifest.len(), self.ctx.config.grace);
        inputs
    }

    /// Loads what a stage of a dataset reads, in the order declared. `state` is the chain's, where it is known.
    async fn gather(
        &self,
        open: &OpenRun,
        attempt: &Attempt,
        (stage, index): (Stage, u32),
        state: Option<&ChainState>,
    ) -> Result<Gathered, ItemError> {
        let manifest = &open.manifest;
        let mut parents = vec![manifest.spec.hash()];
        let mut inputs = self.inputs(open, attempt, index);
        let mut rejected = None;
        for input in open.pipeline().spec(stage).inputs {
            match input {
                Input::Content => {
                    parents.push(inputs.dataset.hash());
                    match self.read_dataset(&inputs.dataset).await {
                        Err(ItemError::Input(why)) if self.ctx.breaks(Mutant::RejectTheMissing) => {
                            rejected = Some(why);
                        }
                        content => inputs.content = content?,
                    }
                }
                Input::Blocks => parents.push(inputs.dataset.hash()),
                Input::Own(read) => {
                    let own = self.artifacts.load(*read, index).await?;
                    parents.push(own.hash);
                    match own.part {
                        Ok(part) => inputs.own.push(part),
                        Err(reason) => rejected = rejected.or(Some(reason)),
                    }
                }
                Input::Window(read) => {
                    for before in open.window(index) {
                        let committed = self.artifacts.load(*read, before).await?;
                        parents.push(committed.hash);
                        inputs.window.extend(committed.part);
                    }
                }
                Input::LazyWindow(read) => {
                    for before in open.window(index) {
                        let named = self.artifacts.name(*read, before).await?;
                        parents.push(named.hash);
                        inputs.lazy_window.extend(named.part);
                    }
                }
                Input::Previous => {
                    let state = match state {
                        Some(state) => state.clone(),
                        None => self.artifacts.chain_state(open, stage, index).await?,
                    };
                    parents.push(state.last);
                    inputs.previous = state.newest;
                }
                Input::Tests(read) => {
                    for test in manifest.tests() {
                        let committed = self.artifacts.load(*read, *test).await?;
                        parents.push(committed.hash);
                        inputs.tests.extend(committed.part);
                    }
                }
            }
        }
        let parent = Hash::of_fields(parents.iter().map(|hash| &hash.0[..]));
        Ok(Gathered { parent, inputs: rejected.map_or(Ok(inputs), Err) })
    }

    /// The dataset's bytes, each block checked against the manifest (rule 9).
    async fn read_dataset(&self, dataset: &Dataset) -> Result<Vec<u8>, ItemError> {
        let mut content = Vec::new();
        for number in (0..).take(dataset.blocks.len()) {
            content.extend(self.blocks.of_dataset(dataset, number).await?);
        }
        Ok(content)
    }

    /// Makes the result of a stage from its inputs.
    async fn make(
        &self,
        open: &OpenRun,
        attempt: &Attempt,
        stage: Stage,
        gathered: Gathered,
    ) -> Result<Record, ItemError> {
        let Gathered { parent, inputs } = gathered;
        let inputs = match inputs {
            Err(reason) => return Ok(Record::new(parent, Outcome::Rejected(reason))),
            Ok(inputs) => inputs,
        };
        let dataset = open.manifest.dataset(inputs.dataset.index);
        let path = open.commit_path(&self.ctx.paths, stage, inputs.dataset.index);
        let twin = self.ctx.config.audit.takes(&path).then(|| inputs.clone());
        let task = self.task(open, stage, inputs).await?;
        let made = Record::new(parent, self.runner.run(attempt, task, parent, dataset).await?);
        if let Some(twin) = twin {
            self.audit(open, attempt, (stage, &path), twin, &made).await?;
        }
        Ok(made)
    }

    async fn task(&self, open: &OpenRun, stage: Stage, inputs: Inputs) -> Result<Box<dyn Task>, ItemError> {
        let workload = open.workload.clone();
        self.ctx.compute(move || workload.task(stage, inputs)).await
    }

    /// Does the same once more, as if by another attempt: the run is void where the results differ.
    async fn audit(
        &self,
        open: &OpenRun,
        attempt: &Attempt,
        (stage, path): (Stage, &str),
        mut inputs: Inputs,
        made: &Record,
    ) -> Result<(), ItemError> {
        let dataset = open.manifest.dataset(inputs.dataset.index);
        inputs.attempt.push_str("-audit");
        let name = inputs.attempt.clone();
        let task = Box::new(FromTheStart(self.task(open, stage, inputs).await?));
        let again = Record::new(made.parent, self.runner.run(attempt, task, made.parent, dataset).await?);
        let digests = match again == *made {
            true => None,
            false => self.digests(open, attempt, (stage, dataset), [made, &again]).await?,
        };
        let by_digest = digests.is_some();
        let equal = digests.as_ref().map_or(again == *made, |[one, other]| one == other);
        self.ctx.note(What::Audited { item: attempt.item, path: path.to_owned(), equal, by_digest });
        if equal {
            return Ok(());
        }
        let printed = digests.map(|[one, other]| format!("{} and {}", shown(&one), shown(&other)));
        Err(self.committer.void(attempt, path, made, (&name, &again), printed).await)
    }

    /// What counts of two results whose bytes differ; `None` where the bytes count.
    async fn digests(
        &self,
        open: &OpenRun,
        attempt: &Attempt,
        (stage, dataset): (Stage, &Dataset),
        results: [&Record; 2],
    ) -> Result<Option<[Vec<u8>; 2]>, ItemError> {
        let mut digests = [Vec::new(), Vec::new()];
        for (digest, result) in digests.iter_mut().zip(results) {
            let Outcome::Part(bytes) = &result.outcome else { return Ok(None) };
            let (hash, bytes) = (result.hash(), Arc::new(bytes.clone()));
            let part = Part { stage, index: dataset.index, hash, bytes };
            let Some(task) = open.workload.digest(name_of(&attempt.folder), part) else { return Ok(None) };
            match self.runner.run(attempt, task, result.parent, dataset).await? {
                Outcome::Part(printed) => *digest = printed,
                Outcome::Rejected(why) => return Err(ItemError::Defect(why)),
            }
        }
        Ok(Some(digests))
    }

    /// Commits a stage's result and remembers it; returns what is committed.
    async fn commit(
        &self,
        open: &OpenRun,
        attempt: &Attempt,
        stage: Stage,
        index: u32,
        record: Record,
    ) -> Result<Committed, ItemError> {
        let options = if open.workload.deterministic() || self.ctx.breaks(Mutant::VaryingIsAViolation) {
            // What is lost with the power, and everything that was made from it, is recomputed to the same bytes.
            CommitOptions::MUST_MATCH.reproducible()
        } else if self.ctx.breaks(Mutant::VaryingUnsynced) {
            CommitOptions::FIRST_WINS.reproducible()
        } else {
            CommitOptions::FIRST_WINS
        };
        let path = open.commit_path(&self.ctx.paths, stage, index);
        let found = self.committer.publish(attempt, &path, record, options).await?;
        self.view.record(stage, index);
        Ok(self.artifacts.keep_committed(stage, index, found))
    }
}
