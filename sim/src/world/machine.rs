//! A machine: its clock, signals, random numbers and its time to compute.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use worker::breakage::Breakage;
use worker::item::Name;
use worker::manifest::Manifest;
use worker::system::System;

use worker::events::first_of;

use super::World;
use super::clock::{Micros, ms};
use super::nfs::{Client, View};
use super::strike::Site;

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
    pub(super) wall_jump_ms: Cell<i64>,
    /// Others' changes of names are seen as of the first, until the second.
    pub(super) stale: Cell<Option<(Micros, Micros)>>,
    pub(super) stale_unnoticed: Cell<bool>,
    /// It has read that the run is void.
    pub(super) void_seen: Cell<bool>,
    /// What the worker holds, by its own account.
    pub held: RefCell<Option<Held>>,
    /// When one of its calls, renewals aside, was last answered.
    pub(super) moved_at: Cell<Micros>,
    /// When it claimed, or last asked to renew.
    pub(super) renewed_at: Cell<Micros>,
    /// It has stood still at some time.
    pub(super) paused: Cell<bool>,
    /// When it comes back, once it is gone.
    pub(super) back_at: Cell<Option<Micros>>,
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
            renewed_at: Cell::new(started),
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

    pub(super) fn wall_ms(&self, now: Micros) -> u64 {
        (WALL_START_MS + (now / 1000) as i64 + self.wall_jump_ms.get()).unsigned_abs()
    }
}

/// The system port of a machine.
#[derive(Debug, Clone)]
pub struct Inside {
    pub world: Rc<World>,
    pub machine: Rc<Machine>,
}

impl System for Inside {
    fn wall_ms(&self) -> u64 {
        self.machine.wall_ms(self.world.now())
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.world.now() - self.machine.started)
    }

    async fn sleep(&self, duration: Duration) {
        let span = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 2);
        self.world.clock.sleep(span).await;
    }

    fn breaks(&self, breakage: Breakage) -> bool {
        self.world.breaks(breakage)
    }

    async fn stop_requested(&self) {
        if self.breaks(Breakage::DeafToNotice) {
            return pending().await;
        }
        // The world polls the worker when it tells it to stop.
        std::future::poll_fn(|_| match self.machine.stopping.get() {
            Some(_) => std::task::Poll::Ready(()),
            None => std::task::Poll::Pending,
        })
        .await;
    }

    fn stopping_for(&self) -> Option<Duration> {
        let since = self.machine.stopping.get().filter(|_| !self.breaks(Breakage::DeafToNotice))?;
        Some(Duration::from_micros(self.world.now() - since))
    }

    fn nonce(&self) -> u128 {
        self.world.nonce()
    }

    fn keep(&self, manifest: Manifest) -> Arc<Manifest> {
        self.world.one_for_all(manifest)
    }

    fn pid(&self) -> u32 {
        self.machine.id
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let strike = self.world.strike(&self.machine, Site::Compute);
        if strike.killed {
            return pending().await;
        }
        let span = self.world.between(self.world.params.step_us);
        self.world.clock.sleep(span).await;
        let done = catch_unwind(AssertUnwindSafe(work));
        self.world.after(&self.machine, &strike).await;
        self.machine.moved_at.set(self.world.now());
        done.map_err(|_| "the toy panicked".to_owned())
    }
}

/// Until a machine that is told to stop is killed.
pub fn grace(world: &World) -> Micros {
    ms(world.params.grace_ms)
}
