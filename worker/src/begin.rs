//! How a run begins and grows: the volume is tried, datasets are hashed, chapters are committed.

use crate::breakage::Breakage;
use crate::commit::{Attempt, Look, Terms};
use crate::contract::{self, Exit, ROOT, RUNS, RunPaths};
use crate::events::What;
use crate::hash::Hash;
use crate::hashing::Hashing;
use crate::manifest::{
    Dataset, HIDDEN, Held, Manifest, Page, Refusal, Role, Spec, is_hidden, name_on, place_in_order,
};
use crate::queue::Queue;
use crate::record::Record;
use crate::run::{Ended, Opened, Source, Worker};
use crate::stage::damaged;
use crate::system::System;
use crate::trouble::Trouble;
use crate::volume::{Kind, Volume, VolumeError};

/// A path as it was pushed or listed, and as the manifest would hold it, or why it cannot.
#[derive(Debug, Clone)]
struct Offered {
    raw: String,
    path: Result<String, String>,
}

/// Paths that can be taken in, hashed; and those refused, as they were pushed.
#[derive(Debug, Default)]
struct Vetted {
    datasets: Vec<Dataset>,
    refused: Vec<Refusal>,
}

/// What to do about a volume that cannot be used; of other failures it may recover.
fn unfit(error: &VolumeError) -> Option<&'static str> {
    Some(match error.kind {
        Kind::Unsupported => "commits need hard links: use a volume on ext4, xfs, btrfs, tmpfs or NFS",
        Kind::CrossDevice => "attempts and commits must lie on one file system",
        Kind::NotFound => "create the volume's folder, or mount it, first",
        Kind::Permission => "the worker must be able to write to the volume",
        _ => return None,
    })
}

/// A failure of the volume for who reads it.
pub(crate) fn with_hint(error: &VolumeError) -> String {
    unfit(error).map_or_else(|| error.to_string(), |hint| format!("{error}\nhint: {hint}"))
}

impl<Q: Queue, V: Volume, S: System> Worker<'_, Q, V, S> {
    /// Makes the run's folders and tries, once, what every commit needs: a hard link from the
    /// attempts to the commits (rule 8).
    pub(crate) async fn open_volume(&self) -> Result<(), Ended> {
        let mut waits = false;
        loop {
            let Err(error) = self.try_volume().await else {
                return Ok(());
            };
            if unfit(&error).is_some() {
                return Err(Ended { exit: Exit::Volume, reason: with_hint(&error) });
            }
            if self.system.stopping_for().is_some() {
                return Err(Ended { exit: Exit::Preempted, reason: error.to_string() });
            }
            if !std::mem::replace(&mut waits, true) {
                self.note(What::Waits { reason: error.to_string() });
            }
            self.system.sleep(self.about(self.config.idle * 8)).await;
        }
    }

    async fn try_volume(&self) -> Result<(), VolumeError> {
        for folder in self.paths.folders() {
            self.volume.make_folder(&folder).await?;
        }
        let nonce = self.system.nonce();
        let from = format!("{}/probe-{nonce:032x}", self.paths.attempts());
        // Beside the commits, not among them: a crash leaves it for good.
        let to = format!("{}/probe-{nonce:032x}", self.paths.root());
        let file = self.volume.create(&from).await?;
        self.volume.close(file).await?;
        let linked = self.volume.link(&from, &to).await;
        let _ = self.volume.remove(&to).await;
        let _ = self.volume.remove(&from).await;
        match linked {
            // A lost reply to the first try shows as a name that is taken: links work.
            Err(error) if error.kind == Kind::Exists => Ok(()),
            // Swept by the report of a run that ends just now: the folders are there, so try again.
            Err(error) if error.kind == Kind::NotFound => Err(VolumeError { kind: Kind::Stale, ..error }),
            other => other,
        }
    }

    /// Reads pages beyond those read so far.
    pub(crate) async fn read_manifest(&self) -> Result<(), Trouble> {
        loop {
            let opened = self.manifest();
            let number = match &opened {
                Some(opened) if opened.manifest.sealed => return Ok(()),
                Some(opened) => opened.manifest.next_page,
                None => 0,
            };
            let path = self.paths.chapter(number);
            match self.look(&path).await? {
                Look::Absent => return Ok(()),
                Look::Torn(why) => return Err(damaged(&path, &why)),
                Look::Intact(record) => {
                    // Whoever committed it may be gone before it synced it.
                    self.sync_manifest().await?;
                    self.turn(opened, &path, record)?;
                }
            }
        }
    }

    /// Makes the pages last that can be seen: what is made next is made for them.
    pub(crate) async fn sync_manifest(&self) -> Result<(), Trouble> {
        if self.breaks(Breakage::SkipFolderSync) {
            return Ok(());
        }
        for folder in [&self.paths.manifest(), self.paths.root(), RUNS, ROOT] {
            self.volume.sync_folder(folder).await?;
        }
        Ok(())
    }

    fn turn(&self, opened: Option<Opened>, path: &str, record: Record) -> Result<(), Trouble> {
        let page = Page::of(&record).map_err(|error| damaged(path, &error))?;
        let opened = match opened {
            None => {
                let manifest = Manifest::begin(page).map_err(|error| damaged(path, &error))?;
                let workload = self.make_workload(&manifest.spec)?;
                let ours = Spec::of(workload.as_ref());
                if ours != manifest.spec && !self.breaks(Breakage::AnyVersion) {
                    return Err(Trouble::End(Exit::Version, other_version(path, &manifest.spec, &ours)));
                }
                Opened { manifest: self.system.keep(manifest), workload }
            }
            Some(mut opened) => {
                let mut manifest = Manifest::clone(&opened.manifest);
                manifest.turn(page).map_err(|error| damaged(path, &error))?;
                opened.manifest = self.system.keep(manifest);
                opened
            }
        };
        self.opened.replace(Some(opened));
        Ok(())
    }

    /// Commits chapter 0, from the launcher's list or from what was pushed.
    pub(crate) async fn begin(&self, attempt: &Attempt) -> Result<(), Trouble> {
        // The pushed paths first: those that are gone were taken into a manifest that we then see.
        let pushed = self.offered(&self.queue.pushed().await?);
        self.read_manifest().await?;
        if self.manifest().is_some() {
            return Ok(());
        }
        let (offered, last) = match &self.config.source {
            Source::Listed(paths) => (self.offered(paths), true),
            Source::Pushed => (self.with_folders(pushed.clone()).await?, false),
        };
        let Vetted { datasets, refused } = self.vet(attempt, self.in_order(offered), &[], last).await?;
        if !datasets.iter().any(|dataset| dataset.role == Role::Train) {
            return Err(Trouble::NoDatasets(self.nothing_to_train_on(&refused)));
        }
        let created = match &self.config.created {
            Some(created) if !self.breaks(Breakage::CreatedByOwnClock) => created.clone(),
            _ => created_now(self.system.wall_ms()),
        };
        self.tell_of_earlier_runs().await?;
        self.take_in_too_early(&pushed).await?;
        let page = Page::First { spec: self.config.spec.clone(), created, last, datasets, refused };
        self.commit_page(attempt, 0, &page).await?;
        self.forget_pushed(&pushed).await
    }

    fn nothing_to_train_on(&self, refused: &[Refusal]) -> String {
        let (run, folder) = (&self.config.run, contract::TRAINING);
        let hint = format!("worker push {folder}/FILE…, or redis-cli RPUSH datasets {folder}/FILE");
        match refused {
            [] => format!(
                "no datasets: run {run} has not begun and nothing was pushed\nhint: push some: {hint}"
            ),
            [first, ..] => format!(
                "no datasets: run {run} has not begun, and of what was pushed {} cannot be taken in, such as {}: {}\n\
                 hint: take it back with worker unpush, and push datasets: {hint}",
                refused.len(),
                first.path.escape_debug(),
                first.reason
            ),
        }
    }

    /// Warns that the model of a run which ended before is not continued.
    async fn tell_of_earlier_runs(&self) -> Result<(), Trouble> {
        for run in self.volume.list(RUNS).await?.into_iter().rev().filter(|run| *run != self.config.run) {
            if self.volume.meta(&RunPaths::new(&run).report()).await.is_ok() {
                self.note(What::BeganFromNothing { earlier: run });
                break;
            }
        }
        Ok(())
    }

    /// The pushed paths, with whatever lies in the folders for tests and history.
    async fn with_folders(&self, mut offered: Vec<Offered>) -> Result<Vec<Offered>, Trouble> {
        for folder in [contract::TESTING, contract::HISTORY] {
            match self.volume.list(folder).await {
                Ok(mut names) => {
                    names.retain(|name| !is_hidden(name));
                    let paths: Vec<String> = names.iter().map(|name| format!("{folder}/{name}")).collect();
                    offered.extend(self.offered(&paths));
                }
                Err(error) if error.kind == Kind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(offered)
    }

    /// What paths name on the volume.
    fn offered(&self, raws: &[String]) -> Vec<Offered> {
        let offered = |raw: &String| Offered { raw: raw.clone(), path: name_on(self.volume, raw) };
        raws.iter().map(offered).collect()
    }

    /// Oldest first; what names nothing comes last.
    fn in_order(&self, mut offered: Vec<Offered>) -> Vec<Offered> {
        if !self.breaks(Breakage::OrderAsPushed) {
            offered.sort_by_cached_key(|one| match &one.path {
                Ok(path) => (false, Some(place_in_order(path))),
                Err(_) => (true, None),
            });
        }
        offered
    }

    /// Commits a further chapter of what was pushed since: datasets, and what is refused for the first time.
    pub(crate) async fn intake(&self, attempt: &Attempt) -> Result<(), Trouble> {
        self.read_manifest().await?;
        let opened = self.opened()?;
        if opened.manifest.sealed {
            return Ok(());
        }
        let pushed = self.offered(&self.queue.pushed().await?);
        let before = &opened.manifest;
        let known = |one: &Offered| before.refused.iter().any(|refusal| refusal.path == one.raw);
        let mut offered = self.in_order(pushed.clone());
        offered.retain(|one| !known(one));
        let Vetted { datasets, mut refused } = self.vet(attempt, offered, &before.datasets, false).await?;
        self.take_in_too_early(&pushed).await?;
        if self.breaks(Breakage::RefuseOffTheRecord) {
            let raws: Vec<String> = refused.drain(..).map(|refusal| refusal.path).collect();
            self.queue.remove_pushed(&raws).await?;
        }
        if !datasets.is_empty() || !refused.is_empty() {
            let page = Page::Chapter { datasets, refused };
            self.commit_page(attempt, before.next_page, &page).await?;
        }
        self.forget_pushed(&pushed).await
    }

    async fn take_in_too_early(&self, pushed: &[Offered]) -> Result<(), Trouble> {
        if self.breaks(Breakage::TakeInBeforeChapter) {
            let raws: Vec<String> = pushed.iter().map(|one| one.raw.clone()).collect();
            self.queue.remove_pushed(&raws).await?;
        }
        Ok(())
    }

    /// Makes a page public, unless another was first; reads the manifest on from there.
    pub(crate) async fn commit_page(
        &self,
        attempt: &Attempt,
        number: u32,
        page: &Page,
    ) -> Result<(), Trouble> {
        let record = Record::part(Hash::default(), page.encode());
        self.publish(attempt, &self.paths.chapter(number), record, Terms::FIRST).await?;
        self.read_manifest().await
    }

    /// Removes from the pushed paths those that the manifest now holds, as datasets or as refused. Only
    /// after the chapter's link, and by value (rule 6).
    async fn forget_pushed(&self, pushed: &[Offered]) -> Result<(), Trouble> {
        let opened = self.opened()?;
        let manifest = &opened.manifest;
        let is_taken = |one: &&Offered| one.path.as_ref().is_ok_and(|path| manifest.by_path(path).is_some());
        let is_refused = |one: &&Offered| manifest.refused.iter().any(|refusal| refusal.path == one.raw);
        let paths: Vec<String> = pushed.iter().filter(is_taken).map(|one| one.raw.clone()).collect();
        let refused = pushed.iter().filter(|one| !is_taken(one) && is_refused(one));
        let gone: Vec<String> = paths.iter().cloned().chain(refused.map(|one| one.raw.clone())).collect();
        if !gone.is_empty() {
            self.queue.remove_pushed(&gone).await?;
            self.note(What::TookIn { chapter: manifest.next_page - 1, paths });
        }
        Ok(())
    }

    /// Hashes the paths that can be taken in after `before`, and tells of those that cannot.
    /// In a launcher's list nothing is refused quietly: the run does not begin.
    async fn vet(
        &self,
        attempt: &Attempt,
        offered: Vec<Offered>,
        before: &[Dataset],
        strict: bool,
    ) -> Result<Vetted, Trouble> {
        let workload = match self.manifest() {
            Some(opened) => opened.workload,
            None => self.make_workload(&self.config.spec)?,
        };
        let mut held = Held::new(before);
        let mut vetted = Vetted::default();
        let mut hashing = self.go_on_hashing(attempt).await;
        for Offered { raw, path } in offered {
            let judged = match path {
                Err(reason) => Err(reason),
                Ok(path) if held.position(&path).is_some() && !self.breaks(Breakage::CountAPathTwice) => {
                    self.same_as_held(attempt, path, &held, before).await?
                }
                Ok(path) => self.may_follow(&held, &path, workload.ordered()).map(|()| Some(path)),
            };
            match judged {
                Ok(None) => {}
                Ok(Some(path)) => {
                    held.insert(&path);
                    // Each dataset costs the manifest a hundred bytes: their number fits.
                    let index = u32::try_from(before.len() + vetted.datasets.len()).unwrap_or(u32::MAX);
                    vetted.datasets.push(self.hash_dataset(attempt, &mut hashing, path, index).await?);
                }
                Err(reason) if strict => {
                    let raw = raw.escape_debug();
                    let reason = format!("dataset {raw} cannot be part of the run: {reason}");
                    return Err(Trouble::End(Exit::Input, reason));
                }
                Err(reason) => {
                    self.note(What::Refused { path: raw.clone(), reason: reason.clone() });
                    // One path may be pushed many times.
                    if vetted.refused.iter().all(|refusal| refusal.path != raw) {
                        vetted.refused.push(Refusal { path: raw, reason });
                    }
                }
            }
        }
        Ok(vetted)
    }

    /// Whether a path that the run does not hold can become part of it.
    fn may_follow(&self, held: &Held, path: &str, ordered: bool) -> Result<(), String> {
        if is_hidden(path) {
            return Err(HIDDEN.to_owned());
        }
        if self.manifest().is_some() && Role::of(path) == Role::Test {
            return Err("test datasets are those of the run's beginning".to_owned());
        }
        match ordered && !self.breaks(Breakage::CountAPathTwice) {
            true => held.follows(path),
            false => Ok(()),
        }
    }

    /// A path that came again counts once, and must still have its content.
    async fn same_as_held(
        &self,
        attempt: &Attempt,
        path: String,
        held: &Held,
        before: &[Dataset],
    ) -> Result<Result<Option<String>, String>, Trouble> {
        let Some(known) = held.position(&path).and_then(|place| before.get(place)) else {
            return Ok(Ok(None));
        };
        // Read anew: what was hashed before may be the other content.
        let mut anew = Hashing::begun_at(self.system.elapsed());
        let found = self.hash_dataset(attempt, &mut anew, path, known.index).await?;
        if found == *known {
            return Ok(Ok(None));
        }
        Ok(Err("the run holds it with other content".to_owned()))
    }
}

fn other_version(path: &str, theirs: &Spec, ours: &Spec) -> String {
    format!(
        "{path}: the run was begun for {} with results version {}, this worker makes version {}\n\
         hint: finish it with the version that began it, or begin a new run under another name",
        theirs.workload, theirs.results_version, ours.results_version
    )
}

/// The tutorial's form of a time: `2022-02-09 14:19:42`.
fn created_now(wall_ms: u64) -> String {
    let second = i64::try_from(wall_ms / 1000).unwrap_or(0);
    jiff::Timestamp::from_second(second).map_or_else(
        |_| String::from("1970-01-01 00:00:00"),
        |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}
