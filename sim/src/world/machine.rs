//! A machine: its clock, signals, random numbers and its time to compute.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use worker::item::Name;

use worker::events::first_of;

use super::clock::Micros;
use super::conduct::Conduct;
use super::nfs::{Client, View};

/// 2026-11-24 00:00 UTC: what wall clocks show when a world begins, unless they jump.
const WALL_START_MS: i64 = 1_795_478_400_000;

/// One incarnation of a machine, and the worker on it.
#[derive(Debug)]
pub struct Machine {
    /// Counts incarnations from 1, over all machines.
    pub id: Client,
    pub name: String,
    /// Which of the run's places it fills.
    pub place: usize,
    /// A second one of its name: it does not come back.
    pub twin: bool,
    /// Of the results of its workload.
    pub version: u32,
    pub started: Micros,
    pub alive: Cell<bool>,
    pub stopping: Cell<Option<Micros>>,
    /// It stands still until then.
    pub still_until: Cell<Micros>,
    pub wall_jump_ms: Cell<i64>,
    /// Others' changes of names are seen as of the first, until the second.
    pub stale: Cell<Option<(Micros, Micros)>>,
    pub stale_unnoticed: Cell<bool>,
    /// It has read that the run is void.
    pub void_seen: Cell<bool>,
    /// What the worker holds, by its own account.
    pub held: RefCell<Option<Held>>,
    /// When one of its calls, renewals aside, was last answered.
    pub moved_at: Cell<Micros>,
    pub conduct: Conduct,
    /// It has stood still at some time.
    pub paused: Cell<bool>,
    /// When it comes back, once it is gone.
    pub back_at: Cell<Option<Micros>>,
}

#[derive(Debug, Clone)]
pub struct Held {
    pub item: Name,
    pub token: u64,
    pub attempt: String,
}

impl Machine {
    pub fn new(id: Client, place: usize, twin: bool, version: u32, started: Micros) -> Rc<Self> {
        Rc::new(Self {
            id,
            name: format!("worker-{place}"),
            version,
            place,
            twin,
            started,
            alive: Cell::new(true),
            stopping: Cell::new(None),
            still_until: Cell::new(0),
            wall_jump_ms: Cell::new(0),
            stale: Cell::new(None),
            stale_unnoticed: Cell::new(false),
            void_seen: Cell::new(false),
            held: RefCell::new(None),
            moved_at: Cell::new(started),
            conduct: Conduct::default(),
            paused: Cell::new(false),
            back_at: Cell::new(None),
        })
    }

    /// Whether there was a time when it saw the names as they had been.
    pub fn has_been_stale(&self) -> bool {
        self.stale.get().is_some()
    }

    pub fn is_holding(&self) -> bool {
        self.held.borrow().is_some()
    }

    pub fn is_preparing(&self) -> bool {
        self.held.borrow().as_ref().is_some_and(|held| first_of(held.item).is_some())
    }

    /// What it sees of the volume's names.
    pub fn view(&self, now: Micros) -> View {
        let as_of = self.stale.get().filter(|(_, until)| now < *until);
        View { client: self.id, as_of: as_of.map(|(as_of, _)| as_of) }
    }

    pub fn wall_ms(&self, now: Micros) -> u64 {
        (WALL_START_MS + (now / 1000) as i64 + self.wall_jump_ms.get()).unsigned_abs()
    }
}
