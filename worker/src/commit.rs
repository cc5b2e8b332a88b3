//! Commits: made public once, by `link(2)` from a private file, then verified.
//!
//! The rules, each of which closes a hole (numbers are those of ARCHITECTURE.md):
//! - private files are created with O_EXCL under a name that no other attempt ever has, and never
//!   opened for writing again: a commit shares its inode with its private file (1);
//! - only `link` decides who was first; its answer may be lost, so what counts is what the public
//!   name holds afterwards, opened anew (8);
//! - a torn public file is replaced by the recomputed bytes; two intact ones that differ are a
//!   violation, unless the workload says that its results vary (10, 11);
//! - what could not be made again is synced, with its name, before anybody acts on it (21).

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::breakage::Breakage;
use crate::contract::Exit;
use crate::events::What;
use crate::hash::Hash;
use crate::item::Name;
use crate::queue::Queue;
use crate::record::{Damage, Record};
use crate::run::Worker;
use crate::system::System;
use crate::trouble::Trouble;
use crate::volume::{Kind, Volume, VolumeError};

/// How often a commit is tried before the item is given back to be tried later.
const TRIES: u32 = 4;
/// Between tries, for a look-up that a client cached to grow old.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// One claim's work, and the private names given out to it.
///
/// Files lie beside each other in `attempts/`, `<attempt>-<n>`: a folder for each would cost every commit
/// two more calls, and ext4 steps over the inodes of the last minute's folders whenever it makes one. Only
/// saved progress has a folder, `<attempt>/<n>`, since there may be much of it and others look for it.
#[derive(Debug)]
pub struct Attempt {
    pub item: Name,
    /// Where it is told apart from all others, and its folder where it has one.
    pub folder: String,
    next: Cell<u32>,
    private: RefCell<Vec<String>>,
    /// Whether its folder was made: the next attempt may go on from what is in it.
    pub(crate) made: Cell<bool>,
    /// Whether another's commit was found where this attempt made one.
    overtaken: Cell<bool>,
    /// Files and folders of earlier attempts at the same item.
    earlier: RefCell<Vec<String>>,
}

impl Attempt {
    pub fn new(item: Name, folder: String) -> Self {
        Self {
            item,
            folder,
            next: Cell::new(0),
            private: RefCell::default(),
            made: Cell::new(false),
            overtaken: Cell::new(false),
            earlier: RefCell::default(),
        }
    }

    /// Whether somebody else is at the same work.
    pub(crate) fn is_overtaken(&self) -> bool {
        self.overtaken.get()
    }

    /// Comes after another attempt at the same item, whose file or folder goes with this one's.
    pub(crate) fn follows(&self, path: &str) {
        if !path.starts_with(&self.folder) {
            self.earlier.borrow_mut().push(path.to_owned());
        }
    }

    /// A name for saved progress that was not given out before.
    pub(crate) fn saved_name(&self) -> String {
        format!("{}/{}", self.folder, self.number())
    }

    /// A name for what is to be made public that was not given out before.
    fn private_name(&self) -> String {
        let name = format!("{}-{}", self.folder, self.number());
        self.private.borrow_mut().push(name.clone());
        name
    }

    fn number(&self) -> u32 {
        self.next.replace(self.next.get() + 1)
    }
}

/// What to do with an intact public file that differs from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// Take it for the truth: of chapters, and of workloads whose results vary.
    Adopt,
    /// Void the run: equal inputs must give equal bytes.
    Violation,
}

/// On which terms something is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    pub conflict: Conflict,
    /// It survives a power failure from the moment that anybody is told of it.
    pub synced: bool,
}

impl Terms {
    /// Whoever is first decides: pages, and results that vary.
    pub const FIRST: Self = Self { conflict: Conflict::Adopt, synced: true };
    /// Equal inputs give equal bytes.
    pub const SAME: Self = Self { conflict: Conflict::Violation, synced: true };
}

/// What a public name holds, opened anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Nothing that this client can see.
    Absent,
    Torn(String),
    Intact(Record),
}

impl<Q: Queue, V: Volume, S: System> Worker<'_, Q, V, S> {
    /// Opens a public name and reads what it holds.
    pub(crate) async fn look(&self, path: &str) -> Result<Look, Trouble> {
        match self.read_public(path).await? {
            Some(bytes) => self.judge(path, bytes),
            None => Ok(Look::Absent),
        }
    }

    /// The same after a try to commit `ours`: `None` where just that is there, which need not be hashed.
    async fn look_for(&self, path: &str, ours: &[u8]) -> Result<Option<Look>, Trouble> {
        match self.read_public(path).await? {
            Some(found) if found == ours => Ok(None),
            Some(found) => self.judge(path, found).map(Some),
            None => Ok(Some(Look::Absent)),
        }
    }

    async fn read_public(&self, path: &str) -> Result<Option<Vec<u8>>, Trouble> {
        match self.volume.read(path).await {
            Ok(bytes) => {
                self.tick();
                Ok(Some(bytes))
            }
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn judge(&self, path: &str, bytes: Vec<u8>) -> Result<Look, Trouble> {
        match Record::decode_at(bytes, self.paths.place(path)) {
            Ok(record) => Ok(Look::Intact(record)),
            Err(Damage::Torn(why)) => Ok(Look::Torn(why.to_owned())),
            Err(version @ Damage::Version(_)) => {
                Err(Trouble::End(Exit::Version, format!("{path}: {version}")))
            }
        }
    }

    /// Commits `record` at `path`; answers what is committed there, by whomever.
    pub(crate) async fn publish(
        &self,
        attempt: &Attempt,
        path: &str,
        record: Record,
        terms: Terms,
    ) -> Result<Record, Trouble> {
        let bytes = record.encode(self.paths.place(path));
        let mut last = None;
        for _ in 0..TRIES {
            let private = match self.write_private(attempt, &bytes, terms.synced).await {
                Ok(private) => private,
                // Swept, perhaps, because another's commit is there: then all is well (rule 13).
                Err(error) => match self.look(path).await? {
                    Look::Intact(found) => {
                        return self.settle(attempt, path, record, Some(found), false, terms).await;
                    }
                    _ => return Err(error.into()),
                },
            };
            self.note(What::Intent {
                item: attempt.item,
                path: path.to_owned(),
                hash: record.hash(),
                attempt: attempt.folder.clone(),
            });
            self.flush().await;
            let answer = self.volume.link(&private, path).await;
            if self.breaks(Breakage::TrustLinksReply) && is_answered(&answer) {
                return self.settle(attempt, path, record, None, true, terms).await;
            }
            let other = match self.look_for(path, &bytes).await? {
                None => None,
                Some(Look::Intact(found)) => Some(found),
                Some(Look::Torn(_)) if self.breaks(Breakage::TornIsAViolation) => {
                    return Err(self.violation(attempt, path, &record, &record).await);
                }
                Some(Look::Torn(_)) => {
                    self.repair(attempt, path, &bytes, terms.synced).await?;
                    continue;
                }
                Some(Look::Absent) => {
                    if let Err(error) = &answer
                        && matches!(error.kind, Kind::Unsupported | Kind::CrossDevice | Kind::Permission)
                    {
                        return Err(error.clone().into());
                    }
                    last = answer.err();
                    self.system.sleep(TRY_AGAIN).await;
                    continue;
                }
            };
            let won = answer.is_ok() || self.volume.meta(&private).await.is_ok_and(|meta| meta.links > 1);
            return self.settle(attempt, path, record, other, won, terms).await;
        }
        Err(last.map_or_else(|| Trouble::Absent(path.to_owned()), Trouble::from))
    }

    /// Writes a private file of the attempt; answers its name.
    pub(crate) async fn write_private(
        &self,
        attempt: &Attempt,
        bytes: &[u8],
        synced: bool,
    ) -> Result<String, VolumeError> {
        let path = attempt.private_name();
        self.write_new(&path, bytes, synced).await?;
        Ok(path)
    }

    /// Writes a file that is not there. What is synced is read back: errors of NFS may surface only then.
    pub(crate) async fn write_new(&self, path: &str, bytes: &[u8], synced: bool) -> Result<(), VolumeError> {
        let mut file = self.volume.create(path).await?;
        self.volume.write(&mut file, bytes).await?;
        if synced {
            self.volume.sync(&mut file).await?;
        }
        self.volume.close(file).await?;
        self.tick();
        if synced && self.volume.read(path).await? != bytes {
            let detail = "what was read back is not what was written".to_owned();
            return Err(VolumeError { kind: Kind::Io, operation: "verify", path: path.to_owned(), detail });
        }
        self.tick();
        Ok(())
    }

    /// The public name holds an intact record: `other`, or where there is none, ours.
    async fn settle(
        &self,
        attempt: &Attempt,
        path: &str,
        ours: Record,
        other: Option<Record>,
        won: bool,
        terms: Terms,
    ) -> Result<Record, Trouble> {
        let differs = other.as_ref().filter(|other| **other != ours);
        if let Some(other) = differs
            && terms.conflict == Conflict::Violation
        {
            return Err(self.violation(attempt, path, &ours, other).await);
        }
        let won = won && differs.is_none();
        if let Some((folder, _)) = path.rsplit_once('/')
            && terms.synced
            && !self.breaks(Breakage::SkipFolderSync)
        {
            self.volume.sync_folder(folder).await?;
        }
        attempt.overtaken.set(attempt.overtaken.get() || !won);
        self.note(What::Committed {
            item: attempt.item,
            path: path.to_owned(),
            hash: other.as_ref().unwrap_or(&ours).hash(),
            attempt: attempt.folder.clone(),
            won,
        });
        self.flush().await;
        let other = other.filter(|_| !self.breaks(Breakage::LoserKeepsItsOwn));
        Ok(other.unwrap_or(ours))
    }

    /// Replaces a torn public file by the same result, recomputed.
    async fn repair(&self, attempt: &Attempt, path: &str, bytes: &[u8], synced: bool) -> Result<(), Trouble> {
        let private = self.write_private(attempt, bytes, synced).await?;
        // A lost reply shows at the next look.
        let _ = self.volume.rename(&private, path).await;
        self.note(What::Repaired { path: path.to_owned(), attempt: attempt.folder.clone() });
        Ok(())
    }

    /// Commits that two intact results differ, so that nobody exits 0, and names both attempts.
    async fn violation(&self, attempt: &Attempt, path: &str, ours: &Record, found: &Record) -> Trouble {
        let theirs = self.who_committed(path, found.hash()).await;
        let attempts = vec![attempt.folder.clone(), theirs];
        self.note(What::Violation { path: path.to_owned(), attempts: attempts.clone() });
        let text = format!(
            "{path}: {} made {} and {} made {}, from the same inputs",
            attempts[0],
            ours.hash(),
            attempts[1],
            found.hash()
        );
        let record = Record::part(Hash::default(), text.clone().into_bytes());
        let bytes = record.encode(self.paths.place(&self.paths.violation()));
        // For as long as it takes: a disk that is full for a while must not let others exit 0.
        while !self.breaks(Breakage::ViolationKeptQuiet) && !self.is_void(attempt, &bytes).await {
            self.system.sleep(self.about(self.config.idle)).await;
        }
        Trouble::End(Exit::Violation, text)
    }

    /// Makes a violation public; whether one is there, whoever was first: one is enough.
    async fn is_void(&self, attempt: &Attempt, bytes: &[u8]) -> bool {
        let path = self.paths.violation();
        if let Ok(private) = self.write_private(attempt, bytes, true).await {
            // The answer may be lost: what counts is what is there.
            let _ = self.volume.link(&private, &path).await;
            let _ = self.volume.sync_folder(self.paths.root()).await;
        }
        matches!(self.look(&path).await, Ok(Look::Intact(_) | Look::Torn(_)))
    }

    /// The attempt whose events claim the commit of `hash` at `path`.
    async fn who_committed(&self, path: &str, hash: Hash) -> String {
        let folder = self.paths.events();
        for name in self.volume.list(&folder).await.unwrap_or_default() {
            let bytes = self.volume.read(&format!("{folder}/{name}")).await.unwrap_or_default();
            for event in crate::events::parse(&bytes).0 {
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
    pub(crate) async fn sweep(&self, attempt: &Attempt) {
        self.sweep_private(attempt).await;
        if attempt.made.get() {
            self.sweep_path(&attempt.folder).await;
        }
        for path in attempt.earlier.take() {
            self.sweep_path(&path).await;
        }
    }

    /// Removes an attempt's private files, and nothing that the next may go on from.
    pub(crate) async fn sweep_private(&self, attempt: &Attempt) {
        for name in attempt.private.take() {
            let _ = self.volume.remove(&name).await;
        }
    }

    /// Removes a file, or a folder with all that was saved in it.
    pub(crate) async fn sweep_path(&self, path: &str) {
        if self.volume.remove(path).await.is_ok() {
            return;
        }
        for name in self.volume.list(path).await.unwrap_or_default() {
            let _ = self.volume.remove(&format!("{path}/{name}")).await;
            self.tick();
        }
        let _ = self.volume.remove_folder(path).await;
    }
}

/// Whether the server says that the name is there, by us or by another.
fn is_answered(answer: &Result<(), VolumeError>) -> bool {
    answer.as_ref().map_or_else(|error| error.kind == Kind::Exists, |()| true)
}
