//! Committed results, loaded once and kept for the windows of later datasets.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::committer::{Committer, ReadResult};
use crate::context::{Context, Ports};
use crate::contract::FOLDER_COMMITS;
use crate::hash::Hash;
use crate::item_error::ItemError;
use crate::manifest::Role;
use crate::mutant::Mutant;
use crate::path::folder_of;
use crate::pipeline::Stage;
use crate::record::Record;
use crate::store::Store;
use crate::view::{OpenRun, RunView};
use crate::workload::{Outcome, Part, PartName};

/// A committed result, as later stages read it.
#[derive(Debug, Clone)]
pub(crate) struct Committed {
    pub hash: Hash,
    /// The part, or why the dataset was rejected.
    pub part: Result<Part, String>,
}

impl Committed {
    fn new(stage: Stage, index: u32, record: Record) -> Self {
        let hash = record.hash();
        let part = match record.outcome {
            Outcome::Part(bytes) => Ok(Part { stage, index, hash, bytes: Arc::new(bytes) }),
            Outcome::Rejected(reason) => Err(reason),
        };
        Self { hash, part }
    }

    fn bytes(&self) -> usize {
        self.part.as_ref().map_or(0, |part| part.bytes.len())
    }

    fn named(&self) -> Named {
        Named { hash: self.hash, part: self.part.as_ref().ok().map(PartName::from) }
    }
}

/// What is known of a committed result without its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named {
    pub hash: Hash,
    /// Absent where the dataset was rejected.
    pub part: Option<PartName>,
}

/// Where a chain stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChainState {
    /// Hash of the last commit.
    pub last: Hash,
    /// The last state whose dataset was not rejected.
    pub newest: Option<Part>,
}

/// The last results of the training datasets, rejections and the chain's last state, of a complete run.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub evals: Vec<Part>,
    pub rejected: BTreeMap<u32, String>,
    pub model: Option<Part>,
}

/// Commits kept in memory, since the windows of consecutive datasets overlap.
#[derive(Debug)]
struct Cache {
    kept: BTreeMap<(Stage, u32), Committed>,
    bytes: usize,
    bytes_max: usize,
}

impl Cache {
    fn get(&self, stage: Stage, index: u32) -> Option<Committed> {
        self.kept.get(&(stage, index)).cloned()
    }

    /// Keeps a commit; evicts the oldest dataset's while there are too many.
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

pub(crate) struct Artifacts<'a, P: Ports> {
    ctx: &'a Context<'a, P>,
    committer: &'a Committer<'a, P>,
    view: &'a RunView<'a, P>,
    cache: RefCell<Cache>,
    /// Of the commits that were read, or made here, and that later datasets read.
    names: RefCell<BTreeMap<(Stage, u32), Named>>,
    /// Commits of results that vary whose names are known to be durable.
    settled: RefCell<BTreeSet<(Stage, u32)>>,
}

impl<'a, P: Ports> Artifacts<'a, P> {
    pub fn new(ctx: &'a Context<'a, P>, committer: &'a Committer<'a, P>, view: &'a RunView<'a, P>) -> Self {
        let cache = Cache { kept: BTreeMap::new(), bytes: 0, bytes_max: ctx.config.cache_bytes };
        let (names, settled) = (RefCell::default(), RefCell::default());
        Self { ctx, committer, view, cache: RefCell::new(cache), names, settled }
    }

    /// What is committed for a stage of a dataset, by name: its bytes are read once. Were they lost since then, what
    /// takes their place is the same, or has another name.
    pub async fn name(&self, stage: Stage, index: u32) -> Result<Named, ItemError> {
        if let Some(named) = self.names.borrow().get(&(stage, index)) {
            return Ok(*named);
        }
        Ok(self.load(stage, index).await?.named())
    }

    /// The bytes of a part that a task was given by name.
    pub async fn bytes_of(&self, name: PartName) -> Result<Vec<u8>, ItemError> {
        let found = self.load(name.stage, name.index).await?.part.ok().filter(|part| part.hash == name.hash);
        match found {
            Some(part) => Ok(Arc::unwrap_or_clone(part.bytes)),
            // Another one lies there now: from the start, with that.
            None => Err(ItemError::Absent(format!("{} of dataset {}", name.hash, name.index))),
        }
    }

    /// What is committed for a stage of a dataset, its hash checked.
    pub async fn load(&self, stage: Stage, index: u32) -> Result<Committed, ItemError> {
        if let Some(kept) = self.cache.borrow().get(stage, index) {
            return Ok(kept);
        }
        let path = self.view.opened()?.commit_path(&self.ctx.paths, stage, index);
        match self.committer.read(&path).await? {
            ReadResult::Absent if self.ctx.breaks(Mutant::AbsenceIsAFact) => Ok(missing(path)),
            ReadResult::Absent => Err(ItemError::Absent(path)),
            ReadResult::Torn(_) => Err(ItemError::Torn(stage, index, path)),
            ReadResult::Intact(record) => self.adopt(stage, index, record).await,
        }
    }

    /// Adopts a peer's commit. Results that vary must be durable before anything is made from them, and the
    /// worker that committed one may be gone before it was.
    async fn adopt(&self, stage: Stage, index: u32, record: Record) -> Result<Committed, ItemError> {
        let varies = !self.view.is_deterministic() && !self.ctx.breaks(Mutant::VaryingUnsynced);
        if varies && !self.settled.borrow().contains(&(stage, index)) {
            let open = self.view.opened()?;
            // What was seen in the folder before it is synced is durable with it.
            let with_it = self.seen_with(&open, stage, index);
            self.ctx.store.settle(folder_of(&open.commit_path(&self.ctx.paths, stage, index))).await?;
            self.settled.borrow_mut().extend(with_it);
        }
        Ok(self.keep(stage, index, record))
    }

    /// A commit, and the known commits of its folder.
    fn seen_with(&self, open: &OpenRun, stage: Stage, index: u32) -> Vec<(Stage, u32)> {
        let first = index - index % FOLDER_COMMITS;
        // What is inherited lies in another run.
        let own = first.max(open.manifest.own_from())..first.saturating_add(FOLDER_COMMITS);
        let is_own = own.contains(&index);
        let seen = own.filter(|other| is_own && self.view.knows(stage, *other));
        seen.chain([index]).map(|index| (stage, index)).collect()
    }

    /// Keeps what this worker has committed, or found where it would have: its name is durable.
    pub fn keep_committed(&self, stage: Stage, index: u32, record: Record) -> Committed {
        if !self.view.is_deterministic() {
            self.settled.borrow_mut().insert((stage, index));
        }
        self.keep(stage, index, record)
    }

    /// Keeps what is committed for a stage of a dataset where later items read it.
    fn keep(&self, stage: Stage, index: u32, record: Record) -> Committed {
        let committed = Committed::new(stage, index, record);
        // Others are read once: by the chain and by what is made of each dataset alone.
        if self.view.is_shared(stage, index) {
            self.names.borrow_mut().insert((stage, index), committed.named());
            self.cache.borrow_mut().keep(stage, index, &committed);
        }
        committed
    }

    /// Whether a stage of a dataset is committed already: then only the queue did not know.
    pub async fn is_committed(&self, stage: Stage, index: u32) -> Result<bool, ItemError> {
        if !self.view.knows(stage, index) {
            let path = self.view.opened()?.commit_path(&self.ctx.paths, stage, index);
            match self.committer.read(&path).await? {
                ReadResult::Intact(record) => self.adopt(stage, index, record).await?,
                ReadResult::Absent | ReadResult::Torn(_) => return Ok(false),
            };
            self.view.record(stage, index);
            return Ok(true);
        }
        match self.load(stage, index).await {
            Ok(_) => Ok(true),
            Err(ItemError::Absent(_) | ItemError::Torn(..)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The chain's state before a dataset.
    pub async fn chain_state(
        &self,
        open: &OpenRun,
        stage: Stage,
        index: u32,
    ) -> Result<ChainState, ItemError> {
        let mut state = ChainState::default();
        let (mut at, mut is_last) = (index, true);
        while let Some(before) = open.manifest.train_before(at) {
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

    /// Everything that the report is made from.
    pub async fn results(&self, open: &OpenRun) -> Result<Results, ItemError> {
        let mut results = Results::default();
        for dataset in open.manifest.own() {
            let Some(last) = open.pipeline().stages_of(dataset.role).next_back() else { continue };
            match self.load(last, dataset.index).await?.part {
                Ok(part) if dataset.role == Role::Train => {
                    results.evals.push(open.workload.for_report(part).map_err(ItemError::Defect)?);
                }
                Ok(_) => {}
                Err(reason) => {
                    results.rejected.insert(dataset.index, reason);
                }
            }
        }
        if let Some(chain) = open.pipeline().chain() {
            results.model = self.chain_state(open, chain, open.manifest.len()).await?.newest;
        }
        Ok(results)
    }

    /// What `output/` shows of a dataset, or `None` where it was rejected.
    pub async fn shown(&self, open: &OpenRun, index: u32) -> Result<Option<Part>, ItemError> {
        Ok(self.load(open.pipeline().shown(), index).await?.part.ok())
    }
}

/// What [`Mutant::AbsenceIsAFact`] makes of a commit that it cannot see.
fn missing(path: String) -> Committed {
    Committed { hash: Hash::default(), part: Err(format!("{path} is missing")) }
}
