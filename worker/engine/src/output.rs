//! `output/`: a projection of the run that reported last, which any worker may repair (rule 12).

use std::collections::{BTreeMap, BTreeSet};

use crate::artifacts::Artifacts;
use crate::attempt::Attempt;
use crate::blocks::Blocks;
use crate::committer::{CommitOptions, Committer, ReadResult};
use crate::context::{Context, Ports};
use crate::contract::{OUTPUT, RunPaths};
use crate::hash::Hash;
use crate::item_error::ItemError;
use crate::manifest::Role;
use crate::mutant::Mutant;
use crate::record::Record;
use crate::report::Report;
use crate::store::{Keep, Kind, Store};
use crate::view::{OpenRun, own_names};
use crate::workload::{Outcome, Part, Shown};

/// The report for people, the first file that is put.
pub(crate) const TEXT: &str = "report.txt";

/// A report's files by name.
pub(crate) type Files = BTreeMap<String, String>;

pub(crate) struct Output<'a, P: Ports> {
    pub ctx: &'a Context<'a, P>,
    pub committer: &'a Committer<'a, P>,
    pub artifacts: &'a Artifacts<'a, P>,
    pub blocks: &'a Blocks<'a, P>,
}

impl<P: Ports> Output<'_, P> {
    /// Writes `output/`: a projection that anyone may repair (rule 12). It shows this run alone: what an earlier run
    /// put there and this one does not goes. The report's text comes first: from then on stragglers of another run
    /// see that `output/` is no longer theirs. That all is there is committed last.
    pub async fn project(
        &self,
        attempt: &Attempt,
        open: &OpenRun,
        files: &Files,
        end: Option<&Part>,
    ) -> Result<(), ItemError> {
        if let Some(text) = files.get(TEXT) {
            self.put(attempt, files, TEXT, text.as_bytes()).await?;
        }
        let mut shown: Vec<_> = own_names(open).collect();
        if self.ctx.breaks(Mutant::OneNameAStem) {
            let name = |index| open.workload.checkpoint_name(open.manifest.dataset(index).stem());
            shown.iter_mut().for_each(|(index, shown)| *shown = name(*index));
        }
        if self.ctx.breaks(Mutant::NameTheLastPlainly) {
            let mut taken = BTreeSet::new();
            for (index, name) in shown.iter_mut().rev() {
                let plain = open.workload.checkpoint_name(open.manifest.dataset(*index).stem());
                *name = if taken.insert(plain.clone()) { plain } else { format!("{plain}.{index}") };
            }
        }
        let quarter = |number| {
            let shown = shown.iter().skip(number).step_by(4);
            self.put_shown(attempt, open, files, shown)
        };
        // Side by side, since most of it is waiting for the disk.
        let quarters = tokio::try_join!(quarter(0), quarter(1), quarter(2), quarter(3))?;
        let mut names = [quarters.0, quarters.1, quarters.2, quarters.3].concat();
        names.extend(self.put_latest(attempt, open, files).await?);
        if let (Some(part), Some(end)) = (end, open.pipeline().end()) {
            names.extend(self.put_part(attempt, open, files, end.folder, part).await?);
        }
        names.extend(files.keys().cloned());
        names.sort_unstable();
        self.remove_earlier(&names).await?;
        for (name, text) in files {
            self.put(attempt, files, name, text.as_bytes()).await?;
        }
        // The mark says that another run's report in `output/` is there by right: with the mark alone, a loss of power
        // would leave the earlier run's.
        if !self.ctx.breaks(Mutant::MarkBeforeSync) {
            self.settle(&names).await?;
        }
        names.retain(|name| name == TEXT || !self.ctx.breaks(Mutant::MarkReportAlone));
        self.mark_projected(attempt, &names).await
    }

    /// Puts what is shown of some datasets; returns the names.
    async fn put_shown(
        &self,
        attempt: &Attempt,
        open: &OpenRun,
        files: &Files,
        shown: impl Iterator<Item = &(u32, String)>,
    ) -> Result<Vec<String>, ItemError> {
        let mut names = Vec::new();
        for (index, name) in shown {
            let Some(part) = self.artifacts.shown(open, *index).await? else { continue };
            names.extend(self.put_part(attempt, open, files, name, &part).await?);
        }
        Ok(names)
    }

    /// Puts the files that show a result; returns their names.
    async fn put_part(
        &self,
        attempt: &Attempt,
        open: &OpenRun,
        files: &Files,
        name: &str,
        part: &Part,
    ) -> Result<Vec<String>, ItemError> {
        let mut names = Vec::new();
        for (name, shown) in open.workload.shown_files(name, part).map_err(ItemError::Defect)? {
            match &shown {
                Shown::Bytes(bytes) => self.put(attempt, files, &name, bytes).await?,
                Shown::Blocks { bytes, block_bytes, blocks } => {
                    let file = BlockFile { part, bytes: *bytes, block_bytes: *block_bytes, blocks };
                    self.put_blocks(attempt, files, &name, &file).await?;
                }
            }
            names.push(name);
        }
        Ok(names)
    }

    /// Puts the chain's last state once more under a name of its own; returns the names.
    async fn put_latest(
        &self,
        attempt: &Attempt,
        open: &OpenRun,
        files: &Files,
    ) -> Result<Vec<String>, ItemError> {
        let Some(name) = open.workload.latest_name() else { return Ok(Vec::new()) };
        let trained = open.manifest.datasets.iter().rev().filter(|dataset| dataset.role == Role::Train);
        for dataset in trained {
            let shown = [(dataset.index, name.to_owned())];
            let names = self.put_shown(attempt, open, files, shown.iter()).await?;
            // A rejected dataset has no state.
            if !names.is_empty() {
                return Ok(names);
            }
        }
        Ok(Vec::new())
    }

    /// Removes what earlier runs put into `output/` and this one does not; `names` is in order.
    async fn remove_earlier(&self, names: &[String]) -> Result<(), ItemError> {
        for run in self.ctx.other_runs().await? {
            let path = RunPaths::new(&run).projected();
            let bytes = match self.ctx.store.get(&path).await {
                Err(error) if error.kind == Kind::NotFound => continue,
                bytes => bytes?,
            };
            let mut put = Record::decode(bytes).ok().and_then(|record| names_of(&record)).unwrap_or_default();
            if self.ctx.breaks(Mutant::EmptyTheOutput) {
                put = self.ctx.store.list(OUTPUT).await?;
            }
            put.retain(|_| !self.ctx.breaks(Mutant::KeepEarlierOutput));
            let is_ours = |name: &String| {
                names.binary_search(name).is_ok() && !self.ctx.breaks(Mutant::RemoveSharedOutput)
            };
            for name in put.into_iter().filter(|name| !is_ours(name)) {
                self.remove(&format!("{OUTPUT}/{name}")).await?;
                let mut folder = name.as_str();
                while let Some((above, _)) = folder.rsplit_once('/') {
                    self.ctx.store.delete_folder(&format!("{OUTPUT}/{above}")).await;
                    folder = above;
                }
            }
        }
        Ok(())
    }

    /// Removes a file that may be gone already.
    async fn remove(&self, path: &str) -> Result<(), ItemError> {
        match self.ctx.store.delete(path).await {
            Err(error) if matches!(error.kind, Kind::NotFound | Kind::NoFile) => Ok(()),
            Err(_) if self.ctx.breaks(Mutant::IgnoreFailedRemoval) => Ok(()),
            removed => Ok(removed?),
        }
    }

    /// Puts a file into `output/`, whole or not at all, unless it is there already.
    async fn put(&self, attempt: &Attempt, files: &Files, name: &str, bytes: &[u8]) -> Result<(), ItemError> {
        let path = format!("{OUTPUT}/{name}");
        if self.ctx.store.get(&path).await.is_ok_and(|found| found == bytes) {
            return Ok(());
        }
        let staged = self.committer.stage(attempt, bytes, Keep::Durable).await?;
        if self.is_superseded(files).await? {
            return Ok(());
        }
        match self.ctx.store.replace(&staged, &path).await {
            Ok(()) => Ok(()),
            // The reply may be lost: what counts is what is there.
            Err(error) => match self.ctx.store.get(&path).await {
                Ok(found) if found == bytes => Ok(()),
                _ => Err(error.into()),
            },
        }
    }

    /// Puts a file of blocks, one block in memory at a time.
    async fn put_blocks(
        &self,
        attempt: &Attempt,
        files: &Files,
        name: &str,
        file: &BlockFile<'_>,
    ) -> Result<(), ItemError> {
        let path = format!("{OUTPUT}/{name}");
        if self.holds(&path, file).await {
            return Ok(());
        }
        let private = attempt.private_name();
        let mut upload = self.ctx.store.begin_upload(&private).await?;
        for hash in file.blocks {
            let block = self.blocks.of_result(file.part.stage, file.part.index, *hash).await?;
            self.ctx.store.upload(&mut upload, &block).await?;
            self.ctx.tick();
        }
        self.ctx.store.end_upload(upload).await?;
        if self.is_superseded(files).await? {
            return Ok(());
        }
        // The reply may be lost, and errors of NFS may surface only now: what counts is what is there.
        let published = self.ctx.store.publish_upload(&private, &path).await;
        match self.holds(&path, file).await {
            true => Ok(()),
            false => Err(published.err().map_or(ItemError::Absent(path), ItemError::from)),
        }
    }

    /// Whether a name holds a file of blocks, to the byte.
    async fn holds(&self, path: &str, file: &BlockFile<'_>) -> bool {
        if self.ctx.store.size(path).await != Ok(file.bytes) {
            return false;
        }
        for (number, hash) in (0..).zip(file.blocks) {
            let block = self.ctx.store.get_range(path, number * file.block_bytes, file.block_bytes).await;
            self.ctx.tick();
            let Ok(block) = block else { return false };
            if self.ctx.hashed(block).await.map(|(found, _)| found) != Ok(*hash) {
                return false;
            }
        }
        true
    }

    /// Commits that `output/` has held all of the run, with the names of what it held.
    async fn mark_projected(&self, attempt: &Attempt, names: &[String]) -> Result<(), ItemError> {
        // A list of texts: writing it as JSON cannot fail.
        let content = serde_json::to_vec(names).unwrap_or_default();
        let record = Record::part(Hash::default(), content);
        self.committer
            .publish(attempt, &self.ctx.paths.projected(), record, CommitOptions::FIRST_WINS)
            .await
            .map(drop)
    }

    /// The names that `output/` has held, where it has held all of the run.
    pub async fn projected(&self) -> Result<Option<Vec<String>>, ItemError> {
        match self.committer.read(&self.ctx.paths.projected()).await? {
            ReadResult::Intact(record) => Ok(names_of(&record)),
            ReadResult::Absent | ReadResult::Torn(_) => Ok(None),
        }
    }

    /// Whether `output/` has held all of the run, and holds another run's report now: a worker that stood
    /// still for long must not put its own over it.
    pub async fn is_superseded(&self, files: &Files) -> Result<bool, ItemError> {
        if !self.ctx.store.exists(&self.ctx.paths.projected()).await? {
            return Ok(false);
        }
        let text = match self.ctx.store.get(&format!("{OUTPUT}/{TEXT}")).await {
            Err(error) if error.kind == Kind::NotFound => return Ok(false),
            text => String::from_utf8_lossy(&text?).into_owned(),
        };
        if files.get(TEXT) == Some(&text) {
            return Ok(false);
        }
        for run in self.ctx.other_runs().await? {
            let path = RunPaths::new(&run).report();
            let Ok(bytes) = self.ctx.store.get(&path).await else { continue };
            let report = Record::decode(bytes).ok().and_then(|record| Report::of(&record).ok());
            if report.is_some_and(|report| report.files.get(TEXT) == Some(&text)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes every name durable that exit 0 speaks of: the worker that made it may be gone, and had not.
    pub async fn settle(&self, names: &[String]) -> Result<(), ItemError> {
        if self.ctx.breaks(Mutant::ExitBeforeSync) {
            return Ok(());
        }
        for folder in folders_of(names) {
            // Another run may have taken it over.
            let _ = self.ctx.store.settle(&format!("{OUTPUT}/{folder}")).await;
        }
        self.ctx.store.settle(OUTPUT).await?;
        Ok(self.ctx.store.settle(self.ctx.paths.root()).await?)
    }

    /// Whether `output/` holds the report's files.
    pub async fn has_put(&self, files: &Files) -> Result<bool, ItemError> {
        for (name, text) in files {
            match self.ctx.store.get(&format!("{OUTPUT}/{name}")).await {
                Ok(found) if found == text.as_bytes() => {}
                Ok(_) => return Ok(false),
                Err(error) if error.kind == Kind::NotFound => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Whether `output/` holds files of all these names.
    pub async fn has_names(&self, names: &[String]) -> Result<bool, ItemError> {
        let mut there = BTreeSet::new();
        for folder in folders_of(names).into_iter().chain([""]) {
            let (path, inside) = if folder.is_empty() {
                (OUTPUT.to_owned(), String::new())
            } else {
                (format!("{OUTPUT}/{folder}"), format!("{folder}/"))
            };
            let found = self.ctx.store.list(&path).await?;
            there.extend(found.into_iter().map(|name| format!("{inside}{name}")));
        }
        Ok(names.iter().all(|name| there.contains(name)))
    }
}

/// A file under `output/` that consists of blocks of a result.
struct BlockFile<'f> {
    part: &'f Part,
    bytes: u64,
    block_bytes: u64,
    blocks: &'f [Hash],
}

/// The folders that names lie in, each folder below another before it.
fn folders_of(names: &[String]) -> Vec<&str> {
    let folders = names.iter().flat_map(|name| name.match_indices('/').map(|(at, _)| &name[..at]));
    let folders: BTreeSet<&str> = folders.collect();
    folders.into_iter().rev().collect()
}

/// The names in `output/` that a run has committed.
fn names_of(record: &Record) -> Option<Vec<String>> {
    match &record.outcome {
        Outcome::Part(content) => serde_json::from_slice(content).ok(),
        Outcome::Rejected(_) => None,
    }
}
