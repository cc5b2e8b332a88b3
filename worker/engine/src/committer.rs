//! Commits: at-least-once delivery and idempotent commits give exactly-once effects. A record is put if
//! absent, then read again: the first writer wins, and a worker that does the same work finds the record there.
//!
//! The rules, each of which closes a hole (numbers are those of ARCHITECTURE.md; those of the store's arm are there):
//! - a torn public file is replaced by the recomputed bytes; two intact ones that differ are a
//!   violation, unless the workload says that its results vary (10, 11);
//! - on an error with a private file, look first at the commit (13);
//! - what could not be recomputed is durable, with its name, before anybody acts on it (21).

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::attempt::Attempt;
use crate::context::{Context, Ports};
use crate::contract::{Exit, RunPaths};
use crate::events::{What, parse};
use crate::hash::Hash;
use crate::item::Name;
use crate::item_error::ItemError;
use crate::mutant::Mutant;
use crate::path::folder_of;
use crate::queue::Claim;
use crate::record::{Damage, Record};
use crate::store::{Keep, Kind, Put, Staged, Store, StoreError};
use crate::system::System;
use crate::workload::{Outcome, Workload};

/// How often a commit is tried before the item is released to be tried later.
const TRIES: u32 = 4;
/// Between tries, for a look-up that a client cached to grow old.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// What to do with an intact public file that differs from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conflict {
    /// The first writer wins: of manifest pages, and of workloads whose results vary.
    Adopt,
    /// Void the run: equal inputs must give equal bytes.
    Violation,
    /// The same, unless it says that the run was left.
    UnlessLeft,
}

impl Conflict {
    /// Whether an intact record that differs from ours means that equal inputs gave other bytes.
    fn is_violated_by(self, found: &Record) -> bool {
        match self {
            Self::Adopt => false,
            Self::Violation => true,
            Self::UnlessLeft => matches!(found.outcome, Outcome::Part(_)),
        }
    }
}

/// On which terms something is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommitOptions {
    conflict: Conflict,
    keep: Keep,
}

impl CommitOptions {
    /// The first writer wins: pages, and results that vary.
    pub const FIRST_WINS: Self = Self { conflict: Conflict::Adopt, keep: Keep::Durable };
    /// Equal inputs give equal bytes.
    pub const MUST_MATCH: Self = Self { conflict: Conflict::Violation, keep: Keep::Durable };

    /// Equal inputs give equal bytes, and the run may have been left.
    pub const REPORT: Self = Self { conflict: Conflict::UnlessLeft, keep: Keep::Durable };

    /// The same, of what can be recomputed should it be lost.
    pub const fn reproducible(self) -> Self {
        Self { keep: Keep::Reproducible, ..self }
    }
}

/// Result of reading a committed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReadResult {
    /// Nothing that this client can see.
    Absent,
    Torn(String),
    Intact(Record),
}

pub(crate) struct Committer<'a, P: Ports> {
    ctx: &'a Context<'a, P>,
    /// Explains how two results differ, once the run's workload is known.
    workload: OnceCell<Arc<dyn Workload>>,
}

impl<'a, P: Ports> Committer<'a, P> {
    pub fn new(ctx: &'a Context<'a, P>) -> Self {
        Self { ctx, workload: OnceCell::new() }
    }

    /// Lets a violation say how the workload's results differ.
    pub fn explain_with(&self, workload: &Arc<dyn Workload>) {
        let _ = self.workload.set(workload.clone());
    }

    async fn difference(&self, ours: &Record, found: &Record) -> Option<String> {
        let (Outcome::Part(ours), Outcome::Part(found)) = (&ours.outcome, &found.outcome) else {
            return None;
        };
        let workload = self.workload.get()?;
        let mut blocks = BTreeMap::new();
        for hash in workload.blocks_to_compare(ours, found) {
            if let Ok(block) = self.ctx.store.get(&self.ctx.paths.block(hash)).await {
                blocks.insert(hash, block);
            }
            self.ctx.tick();
        }
        workload.difference(ours, found, &blocks)
    }

    /// Reads what a public name holds.
    pub async fn read(&self, path: &str) -> Result<ReadResult, ItemError> {
        match self.ctx.store.get(path).await {
            Ok(bytes) => {
                self.ctx.tick();
                self.decode(path, bytes)
            }
            Err(error) if error.kind == Kind::NotFound => Ok(ReadResult::Absent),
            Err(error) => Err(error.into()),
        }
    }

    fn decode(&self, path: &str, bytes: Vec<u8>) -> Result<ReadResult, ItemError> {
        match Record::decode_at(bytes, self.ctx.paths.place(path)) {
            Ok(record) => Ok(ReadResult::Intact(record)),
            Err(Damage::Torn(why)) => Ok(ReadResult::Torn(why.to_owned())),
            Err(version @ Damage::Version(_)) => {
                Err(ItemError::End(Exit::Version, format!("{path}: {version}")))
            }
        }
    }

    /// Commits `record` at `path`; returns what is committed there, by whichever worker.
    pub async fn publish(
        &self,
        attempt: &Attempt,
        path: &str,
        record: Record,
        options: CommitOptions,
    ) -> Result<Record, ItemError> {
        let bytes = record.encode(self.ctx.paths.place(path));
        let mut last = None;
        for _ in 0..TRIES {
            let staged = match self.stage(attempt, &bytes, options.keep).await {
                Ok(staged) => staged,
                Err(error) => return self.adopt_existing(attempt, path, record, options, error).await,
            };
            self.ctx.note(What::Intent {
                item: attempt.item,
                path: path.to_owned(),
                hash: record.hash(),
                attempt: attempt.folder.clone(),
            });
            self.ctx.flush().await;
            let put = self.ctx.store.put_if_absent(&staged, path).await;
            self.ctx.tick();
            match put {
                Ok(Put::Ours { first }) => {
                    return self.accept(attempt, path, record, None, first, options).await;
                }
                Ok(Put::Theirs(found)) => match self.decode(path, found)? {
                    ReadResult::Intact(found) => {
                        return self.accept(attempt, path, record, Some(found), false, options).await;
                    }
                    ReadResult::Torn(_) if self.ctx.breaks(Mutant::TornIsAViolation) => {
                        return Err(self.violation(attempt, path, &record, &record).await);
                    }
                    ReadResult::Torn(_) | ReadResult::Absent => {
                        self.repair(attempt, path, &bytes, options.keep).await?;
                    }
                },
                Err(error) if error.kind != Kind::NotFound && error.hint().is_some() => {
                    return Err(error.into());
                }
                Err(error) => {
                    last = Some(error);
                    self.ctx.system.sleep(TRY_AGAIN).await;
                }
            }
        }
        Err(last.map_or_else(|| ItemError::Absent(path.to_owned()), ItemError::from))
    }

    /// Bytes could not be staged: they were swept, perhaps, because another's commit is there. Then all is
    /// well (rule 13).
    async fn adopt_existing(
        &self,
        attempt: &Attempt,
        path: &str,
        ours: Record,
        options: CommitOptions,
        error: StoreError,
    ) -> Result<Record, ItemError> {
        let ReadResult::Intact(found) = self.read(path).await? else { return Err(error.into()) };
        if options.keep == Keep::Durable {
            self.ctx.store.settle(folder_of(path)).await?;
        }
        self.accept(attempt, path, ours, Some(found), false, options).await
    }

    /// Stages bytes under a private name of the attempt.
    pub async fn stage<'b>(
        &self,
        attempt: &Attempt,
        bytes: &'b [u8],
        keep: Keep,
    ) -> Result<Staged<'b>, StoreError> {
        let staged = self.ctx.store.stage(&attempt.private_name(), bytes, keep).await;
        self.ctx.tick();
        staged
    }

    /// The public name holds an intact record: `found`, or where there is none, ours.
    async fn accept(
        &self,
        attempt: &Attempt,
        path: &str,
        ours: Record,
        found: Option<Record>,
        won: bool,
        options: CommitOptions,
    ) -> Result<Record, ItemError> {
        if let Some(found) = found.as_ref().filter(|found| **found != ours)
            && options.conflict.is_violated_by(found)
        {
            return Err(self.violation(attempt, path, &ours, found).await);
        }
        if !won {
            attempt.was_overtaken();
        }
        self.ctx.note(What::Committed {
            item: attempt.item,
            path: path.to_owned(),
            hash: found.as_ref().unwrap_or(&ours).hash(),
            attempt: attempt.folder.clone(),
            won,
        });
        self.ctx.flush().await;
        let found = found.filter(|_| !self.ctx.breaks(Mutant::LoserKeepsItsOwn));
        Ok(found.unwrap_or(ours))
    }

    /// Replaces a torn public file by the same result, recomputed.
    async fn repair(&self, attempt: &Attempt, path: &str, bytes: &[u8], keep: Keep) -> Result<(), ItemError> {
        let staged = self.stage(attempt, bytes, keep).await?;
        // A lost reply shows when it is read again.
        let _ = self.ctx.store.replace(&staged, path).await;
        self.ctx.note(What::Repaired { path: path.to_owned(), attempt: attempt.folder.clone() });
        Ok(())
    }

    /// Commits that two intact results differ, so that no worker exits 0, and names both attempts.
    async fn violation(&self, attempt: &Attempt, path: &str, ours: &Record, found: &Record) -> ItemError {
        let theirs = self.who_committed(path, found.hash()).await;
        self.void(attempt, path, ours, (&theirs, found), None).await
    }

    /// The same of a result and another that `theirs` made, and what was printed of them if that was compared.
    pub async fn void(
        &self,
        attempt: &Attempt,
        path: &str,
        ours: &Record,
        (theirs, found): (&str, &Record),
        printed: Option<String>,
    ) -> ItemError {
        let attempts = vec![attempt.folder.clone(), theirs.to_owned()];
        self.ctx.note(What::Violation { path: path.to_owned(), attempts: attempts.clone() });
        let mut text = format!(
            "{path}: {} made {} and {} made {}, from the same inputs",
            attempts[0],
            ours.hash(),
            attempts[1],
            found.hash()
        );
        let printed = printed.map(|printed| format!("--digest printed {printed}"));
        for line in printed.into_iter().chain(self.difference(ours, found).await) {
            text = format!("{text}\n{line}");
        }
        let record = Record::part(Hash::default(), text.clone().into_bytes());
        let bytes = record.encode(self.ctx.paths.place(&self.ctx.paths.violation()));
        // For as long as it takes: a disk that is full for a while must not let others exit 0.
        while !self.ctx.breaks(Mutant::ViolationKeptQuiet) && !self.make_void(attempt, &bytes).await {
            self.ctx.system.sleep(self.ctx.jittered(self.ctx.config.idle)).await;
        }
        ItemError::End(Exit::Violation, text)
    }

    /// Makes a violation public; returns whether one is there, by whichever worker: one is enough.
    async fn make_void(&self, attempt: &Attempt, bytes: &[u8]) -> bool {
        let path = self.ctx.paths.violation();
        if let Ok(staged) = self.stage(attempt, bytes, Keep::Durable).await {
            // The reply may be lost: what counts is what is there.
            let _ = self.ctx.store.put_if_absent(&staged, &path).await;
        }
        matches!(self.read(&path).await, Ok(ReadResult::Intact(_) | ReadResult::Torn(_)))
    }

    /// The attempt whose events claim the commit of `hash` at `path`.
    async fn who_committed(&self, path: &str, hash: Hash) -> String {
        let folder = self.ctx.paths.events();
        for name in self.ctx.store.list(&folder).await.unwrap_or_default() {
            let bytes = self.ctx.store.get(&format!("{folder}/{name}")).await.unwrap_or_default();
            for event in parse(&bytes).0 {
                match event.what {
                    What::Intent { path: at, hash: of, attempt, .. } if at == path && of == hash => {
                        return attempt;
                    }
                    _ => {}
                }
            }
        }
        "an attempt whose events are lost".to_owned()
    }

    /// Removes what an attempt, and those before it, left behind. Best effort: leftovers harm
    /// nobody, and an attempt that still runs finds the commit instead (rule 13).
    pub async fn sweep(&self, attempt: &Attempt) {
        self.sweep_private(attempt).await;
        if attempt.has_saved() {
            self.ctx.store.delete_all(&attempt.folder).await;
        }
        for path in attempt.take_earlier() {
            self.ctx.store.delete_all(&path).await;
            self.ctx.tick();
        }
    }

    /// Removes an attempt's private files, and nothing that the next attempt may go on from.
    pub async fn sweep_private(&self, attempt: &Attempt) {
        for name in attempt.take_private() {
            self.ctx.store.unstage(&name).await;
        }
    }

    /// Removes what workers that are gone left behind, best effort: attempts at items that are committed, and those before
    /// this claim at its own. A worker that dies after its commit leaves files that nobody else looks for.
    pub async fn sweep_left(&self, claim: &Claim, is_committed: impl Fn(Name) -> bool) {
        let is_over =
            |(item, token): (Name, u64)| is_committed(item) || item == claim.item.name && token < claim.token;
        self.sweep_attempts(|name| RunPaths::of_attempt(name).is_some_and(is_over)).await;
    }

    /// Removes what every attempt of the run left behind.
    pub async fn sweep_all(&self) {
        self.sweep_attempts(|_| true).await;
    }

    async fn sweep_attempts(&self, is_over: impl Fn(&str) -> bool) {
        let attempts = self.ctx.paths.attempts();
        for name in self.ctx.store.list(&attempts).await.unwrap_or_default() {
            if is_over(&name) {
                self.ctx.store.delete_all(&format!("{attempts}/{name}")).await;
                self.ctx.tick();
            }
        }
    }
}
