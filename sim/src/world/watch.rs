//! What a world's onlooker sees: faults that counted, situations that were to be met sometimes,
//! recomputed work, and, if asked, the story line by line.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use worker::events::{Event, What};
use worker::item::{Item, Name};
use worker::pipeline::{INTAKE, REPORT};
use worker::queue::Claim;

use worker::events::first_of;

use super::broken::Broken;
use super::clock::Micros;
use super::fault::{FaultKind, KINDS, kind_of};
use super::machine::{Held, Machine};
use super::nfs::Client;
use super::site::Site;
use super::words;

/// The item of the chain.
const CHAIN: Name = Name::constant("fold");

/// Situations that a campaign has to meet: proof that the schedules go where the danger is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sometimes {
    SecondCommit,
    ZombieRefused,
    RedeliveredInCommit,
    Redelivered,
    LeaseLost,
    QueueRebuilt,
    TornRepaired,
    LostRecomputed,
    ProgressResumed,
    PushRacedSeal,
    TwoBegan,
    LostLinkWon,
    ReleasedInGrace,
    FinishedInGrace,
    Rejected,
    PushRefused,
    ChapterAdded,
    OtherBytesAdopted,
    SweptUnderWork,
    EndedWithoutQueue,
    TwoInstances,
    OtherVersion,
    Void,
    GivenUp,
    EarlierOutput,
    SameStem,
    Abandoned,
    AbandonedTooLate,
}

pub const SOMETIMES: [(Sometimes, &str); 28] = {
    use Sometimes::*;
    [
        (SecondCommit, "a commit that came second found the first"),
        (ZombieRefused, "a zombie's commit was refused"),
        (RedeliveredInCommit, "an item was redelivered in the middle of a commit"),
        (Redelivered, "an item was redelivered after its lease expired"),
        (LeaseLost, "a worker noticed that its lease was lost"),
        (QueueRebuilt, "a queue that forgot was rebuilt from the commits"),
        (TornRepaired, "a torn commit was repaired"),
        (LostRecomputed, "a commit lost with the power was recomputed"),
        (ProgressResumed, "saved progress was taken up by the next attempt"),
        (PushRacedSeal, "a push raced the seal"),
        (TwoBegan, "two workers began the run at once"),
        (LostLinkWon, "a link took effect although its answer was lost"),
        (ReleasedInGrace, "work was released within the grace"),
        (FinishedInGrace, "work was finished within the grace"),
        (Rejected, "a dataset was rejected"),
        (PushRefused, "a push was refused by name"),
        (ChapterAdded, "a further chapter was added"),
        (OtherBytesAdopted, "another's result was adopted where results vary"),
        (SweptUnderWork, "an attempt's files were swept while it worked"),
        (EndedWithoutQueue, "a worker finished while the queue was away"),
        (TwoInstances, "two machines of one name worked at once"),
        (OtherVersion, "a worker of another results version refused the run"),
        (Void, "a run was voided, since two results of one item differed"),
        (GivenUp, "a run was given up, since a dataset of it had changed"),
        (EarlierOutput, "an earlier run's output was replaced"),
        (SameStem, "two datasets of one stem were trained on"),
        (Abandoned, "a run was abandoned under its workers"),
        (AbandonedTooLate, "a run was complete before it could be abandoned"),
    ]
};

/// What a run came to, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    pub fired: [u64; KINDS.len()],
    pub sometimes: [u64; SOMETIMES.len()],
    /// Faults that came to a call, whether it made a difference or not.
    pub faults: u64,
    pub claims: u64,
    /// Results that were made for nothing: another's was there first.
    pub redone: u64,
    pub violations: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.fired.iter_mut().zip(other.fired) {
            *sum += more;
        }
        for (sum, more) in self.sometimes.iter_mut().zip(other.sometimes) {
            *sum += more;
        }
        self.faults += other.faults;
        self.claims += other.claims;
        self.redone += other.redone;
        self.violations += other.violations;
    }
}

/// A line of the story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub at: Micros,
    pub who: String,
    pub text: String,
    /// Something that went wrong from outside.
    pub fault: bool,
}

#[derive(Debug, Default)]
pub struct Watch {
    tally: RefCell<Tally>,
    story: Option<RefCell<Vec<Line>>>,
    /// Public names with their bytes, recorded only along with the story.
    linked: RefCell<Vec<(String, Vec<u8>)>>,
    /// Who has which item by its own account: the machine, and whether a commit is on its way.
    holders: RefCell<BTreeMap<Name, (Client, bool)>>,
    /// Machines whose item another has claimed since.
    zombies: RefCell<Vec<(Client, Name)>>,
    lost_links: RefCell<Vec<String>>,
    torn: RefCell<Vec<String>>,
    /// What a loss of power took: files gone, cut or as they were before.
    lost: RefCell<BTreeSet<String>>,
    /// Paths that won a commit, and how often.
    won: RefCell<BTreeMap<String, u32>>,
    /// Promises broken on the way.
    broken: RefCell<Vec<Broken>>,
    /// Results versions of the workers that committed outputs.
    versions: RefCell<BTreeSet<u32>>,
    /// By name, how many incarnations ended by themselves.
    ended: RefCell<BTreeMap<String, usize>>,
    /// When the report's claimant began that sealed the run.
    reporting: RefCell<BTreeMap<Client, Micros>>,
    sealed: Cell<Option<Micros>>,
    /// The same of the last one that was about to seal it: it may be gone before it tells more.
    about_to_seal: Cell<Option<Micros>>,
    /// Steps of each preparation that some attempt has saved.
    saved: RefCell<BTreeMap<Name, u64>>,
    /// What was saved of a machine's item when it claimed it, until it goes on from there.
    to_resume: RefCell<BTreeMap<Client, (Name, u64)>>,
    /// Attempts that folded what another had folded before.
    behind: RefCell<BTreeSet<String>>,
    varies: bool,
    /// The volume does nothing odd: what is saved can be seen.
    reliable: bool,
    queue_lost: Cell<bool>,
    rebuilt: Cell<bool>,
}

impl Watch {
    pub fn new(tells: bool, varies: bool, reliable: bool) -> Self {
        Self { story: tells.then(RefCell::default), varies, reliable, ..Self::default() }
    }

    pub fn tally(&self) -> Tally {
        self.tally.borrow().clone()
    }

    pub fn story(&self) -> Vec<Line> {
        self.story.as_ref().map_or_else(Vec::new, |story| story.borrow().clone())
    }

    /// A link took effect.
    pub fn linked(&self, path: &str, bytes: &[u8]) {
        if self.story.is_some() && !path.contains("/attempts/") && !path.contains("/probe-") {
            self.linked.borrow_mut().push((path.to_owned(), bytes.to_vec()));
        }
    }

    /// What was made public, oldest first.
    pub fn made_public(&self) -> Vec<(String, Vec<u8>)> {
        self.linked.borrow().clone()
    }

    /// A fault of a kind interrupted held work or changed an answer.
    pub fn fired(&self, kind: &str) {
        if let Some(kind) = kind_of(kind) {
            self.tally.borrow_mut().fired[kind] += 1;
        }
    }

    /// A fault fired, if it made a difference.
    pub fn fired_if(&self, counts: bool, kind: &str) {
        if counts {
            self.fired(kind);
        }
    }

    pub fn met(&self, what: Sometimes) {
        self.tally.borrow_mut().sometimes[what as usize] += 1;
    }

    pub fn queue_lost_something(&self) {
        self.queue_lost.set(true);
        self.rebuilt.set(false);
    }

    pub fn has_queue_lost_something(&self) -> bool {
        self.queue_lost.get()
    }

    pub fn lost_link(&self, path: &str) {
        self.lost_links.borrow_mut().push(path.to_owned());
    }

    pub fn tore(&self, path: &str) {
        self.torn.borrow_mut().push(path.to_owned());
    }

    /// The power was lost, and with it what was at these paths.
    pub fn power_took(&self, paths: impl Iterator<Item = String>) {
        self.lost.borrow_mut().extend(paths);
        self.holders.borrow_mut().clear();
    }

    pub fn is_torn(&self, path: &str) -> bool {
        self.torn.borrow().iter().any(|torn| torn == path)
    }

    /// Whether it was torn, or lost with the power: then it may have been recomputed.
    pub fn is_damaged(&self, path: &str) -> bool {
        self.is_torn(path) || self.lost.borrow().contains(path)
    }

    /// Paths that more than one attempt says it was first to commit.
    pub fn won_twice(&self) -> Vec<String> {
        let won = self.won.borrow();
        won.iter().filter(|(_, times)| **times > 1).map(|(path, _)| path.clone()).collect()
    }

    /// How many paths are committed, by the accounts of their first writers.
    pub fn committed_so_far(&self) -> usize {
        self.won.borrow().len()
    }

    pub fn broke(&self, broken: Option<Broken>) {
        self.broken.borrow_mut().extend(broken);
    }

    pub fn broken(&self) -> Vec<Broken> {
        self.broken.borrow().clone()
    }

    pub fn versions(&self) -> BTreeSet<u32> {
        self.versions.borrow().clone()
    }

    pub fn ended_by_itself(&self, machine: &Machine) {
        *self.ended.borrow_mut().entry(machine.name.clone()).or_default() += 1;
    }

    pub fn ended(&self) -> BTreeMap<String, usize> {
        self.ended.borrow().clone()
    }

    /// When the worker that sealed the run began the report, unless the run was born sealed.
    pub fn sealed(&self) -> Option<Micros> {
        self.sealed.get().or(self.about_to_seal.get())
    }

    /// The queue handed an item out, after the lease of another had run out or not. What is missing or has
    /// `changed` uses up retries.
    pub fn handed_out(&self, claim: &Claim, lapsed: bool, changed: bool) {
        let tally = self.tally.borrow();
        let misreads = kind_of("misread").map_or(0, |kind| tally.fired[kind]);
        let of_dataset = ![Item::BEGIN, INTAKE, REPORT].contains(&claim.item);
        if of_dataset && !changed && u64::from(claim.failures) > misreads {
            let detail =
                format!("preemptions used up retries of {}: {} failures", claim.item, claim.failures);
            self.broke(Some(Broken::effect(detail)));
        }
        if lapsed && tally.faults == 0 {
            self.broke(Some(Broken::waste(format!("the lease of {} ran out under work", claim.item))));
        }
    }

    pub fn tell(&self, at: Micros, who: &str, fault: bool, text: impl FnOnce() -> String) {
        if let Some(story) = &self.story {
            story.borrow_mut().push(Line { at, who: who.to_owned(), text: text(), fault });
        }
    }

    pub fn injected(&self, at: Micros, machine: &Machine, number: u64, what: &FaultKind, site: Site<'_>) {
        self.tally.borrow_mut().faults += 1;
        self.tell(at, &machine.name, true, || words::fault(what, number, site));
    }

    /// A worker noted an event.
    pub fn noted(&self, at: Micros, machine: &Machine, event: &Event) {
        if self.story.is_some()
            && let Some(text) = words::event(&event.what)
        {
            self.tell(at, &machine.name, false, || text);
        }
        match &event.what {
            What::Claimed { item, token, attempt, taken_over_from, .. } => {
                self.claimed(machine, *item, taken_over_from.is_some());
                if *item == REPORT.name {
                    self.reporting.borrow_mut().insert(machine.id, at);
                }
                machine.held.replace(Some(Held { item: *item, token: *token, attempt: attempt.clone() }));
            }
            What::Acked { item, .. } | What::GaveBack { item, .. } => {
                machine.held.replace(None);
                let mut holders = self.holders.borrow_mut();
                if holders.get(item).is_some_and(|(holder, _)| *holder == machine.id) {
                    holders.remove(item);
                }
                drop(holders);
                self.zombies.borrow_mut().retain(|(zombie, _)| *zombie != machine.id);
                self.let_go(machine, &event.what);
            }
            What::Intent { item, path, .. } => {
                self.linking(machine, *item, true);
                if *item == REPORT.name && path.contains("/manifest/") {
                    self.about_to_seal.set(self.reporting.borrow().get(&machine.id).copied());
                }
            }
            What::Committed { item, path, won, attempt, .. } => {
                self.linking(machine, *item, false);
                if *item == CHAIN && !won {
                    self.folded_behind(machine, attempt);
                }
                // From now on what is saved of it may be swept.
                self.saved.borrow_mut().remove(item);
                self.to_resume.borrow_mut().retain(|_, (of, _)| of != item);
                self.committed(machine, path, *won);
            }
            What::Repaired { .. } => self.met(Sometimes::TornRepaired),
            What::Resumed { .. } => {
                self.to_resume.borrow_mut().remove(&machine.id);
                self.met(Sometimes::ProgressResumed);
            }
            What::Saved { item, done, .. } if first_of(*item).is_some() => self.saved(machine, *item, *done),
            What::LeaseLost { .. } => self.met(Sometimes::LeaseLost),
            What::Requeued { .. } => self.requeued(),
            What::Refused { .. } => self.met(Sometimes::PushRefused),
            What::TookIn { chapter, paths } if *chapter > 0 && !paths.is_empty() => {
                self.met(Sometimes::ChapterAdded);
            }
            What::Sealed { .. } => self.sealed.set(self.reporting.borrow().get(&machine.id).copied()),
            What::Violation { .. } => self.tally.borrow_mut().violations += 1,
            _ => {}
        }
    }

    fn claimed(&self, machine: &Machine, item: Name, redelivered: bool) {
        self.tally.borrow_mut().claims += 1;
        let saved = self.saved.borrow().get(&item).copied();
        let mut to_resume = self.to_resume.borrow_mut();
        match saved {
            Some(step) => to_resume.insert(machine.id, (item, step)),
            None => to_resume.remove(&machine.id),
        };
        drop(to_resume);
        if redelivered {
            self.met(Sometimes::Redelivered);
        }
        if machine.twin {
            self.fired("twin");
            self.met(Sometimes::TwoInstances);
        }
        if let Some((before, linking)) = self.holders.borrow_mut().insert(item, (machine.id, false)) {
            self.zombies.borrow_mut().push((before, item));
            if linking {
                self.met(Sometimes::RedeliveredInCommit);
            }
        }
    }

    /// Saved work is not recomputed (rule 14).
    fn saved(&self, machine: &Machine, item: Name, done: u64) {
        if let Some((_, before)) = self.to_resume.borrow_mut().remove(&machine.id)
            && self.reliable
        {
            let detail = format!("{} does not resume {item}, of which step {before} is saved", machine.name);
            self.broke(Some(Broken::waste(detail)));
        }
        let mut saved = self.saved.borrow_mut();
        let most = saved.entry(item).or_default();
        *most = done.max(*most);
    }

    /// A worker that finds one dataset folded by another learns that it is behind.
    fn folded_behind(&self, machine: &Machine, attempt: &str) {
        let again = !self.behind.borrow_mut().insert(attempt.to_owned());
        // A worker that repairs torn commits meets others that do.
        if again && self.torn.borrow().is_empty() && self.lost.borrow().is_empty() {
            self.broke(Some(Broken::waste(format!("{} folds on behind another", machine.name))));
        }
    }

    fn linking(&self, machine: &Machine, item: Name, linking: bool) {
        if let Some((holder, was)) = self.holders.borrow_mut().get_mut(&item)
            && *holder == machine.id
        {
            *was = linking;
        }
    }

    fn let_go(&self, machine: &Machine, what: &What) {
        if machine.stopping.get().is_some() {
            match what {
                What::Acked { .. } => self.met(Sometimes::FinishedInGrace),
                _ => self.met(Sometimes::ReleasedInGrace),
            }
        }
    }

    fn committed(&self, machine: &Machine, path: &str, won: bool) {
        let is_part = !path.contains("/manifest/");
        if is_part {
            self.versions.borrow_mut().insert(machine.version);
        }
        if won {
            *self.won.borrow_mut().entry(path.to_owned()).or_default() += 1;
            if self.lost.borrow().contains(path) {
                self.met(Sometimes::LostRecomputed);
            }
            if self.lost_links.borrow().iter().any(|lost| lost == path) {
                self.met(Sometimes::LostLinkWon);
            }
            return;
        }
        self.tally.borrow_mut().redone += u64::from(is_part);
        self.met(Sometimes::SecondCommit);
        let zombie = self.zombies.borrow().iter().any(|(zombie, _)| *zombie == machine.id);
        if zombie {
            self.met(Sometimes::ZombieRefused);
        }
        match path.split_once("/manifest/") {
            Some((_, "0")) => self.met(Sometimes::TwoBegan),
            Some(_) => self.met(Sometimes::PushRacedSeal),
            None if self.varies => self.met(Sometimes::OtherBytesAdopted),
            None => {}
        }
    }

    fn requeued(&self) {
        if self.queue_lost.get() && !self.rebuilt.get() && !self.won.borrow().is_empty() {
            self.rebuilt.set(true);
            self.met(Sometimes::QueueRebuilt);
        }
    }
}
