//! A simulated world: workers, which are `worker::run` itself, unchanged, in one thread under
//! virtual time, over a volume that behaves as NFS may and a queue that behaves as Redis may.
//! Whatever goes wrong is a pure function of a seed.

pub mod breakages;
pub mod campaign;
pub mod check;
pub mod clock;
pub mod dice;
pub mod fault;
mod forgetful;
pub mod ledger;
pub mod machine;
pub mod nfs;
pub mod queue;
pub mod run;
pub mod scale;
pub mod schedule;
pub mod shrink;
pub mod story;
pub mod strike;
pub mod toy;
pub mod volume;
pub mod watch;
pub mod words;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use worker::breakage::Breakage;
use worker::manifest::Manifest;
use worker::queue::memory::Memory;

use clock::{Clock, Micros, Wake, ms};
use dice::Dice;
use fault::Fault;
use ledger::Ledger;
use machine::Machine;
use nfs::{Call, Server, View};
use queue::Ask;
use schedule::{Params, Results, Schedule};
use watch::Watch;

/// The name of the run in every world.
pub const RUN: &str = "r";

/// What the queue's clock shows when a world begins: long after 0, since it may be set back.
const QUEUE_START_MS: u64 = 1 << 40;

/// A span of time in which something is out of order, and whether anybody has noticed.
#[derive(Debug, Default)]
pub struct Window {
    until: Cell<Micros>,
    /// The kind of fault that opened it, until it has changed an answer.
    unnoticed: Cell<Option<&'static str>>,
}

impl Window {
    fn open(&self, until: Micros, kind: &'static str) {
        self.until.set(until.max(self.until.get()));
        self.unnoticed.set(Some(kind));
    }
}

/// Something that the world does by itself.
#[derive(Debug)]
pub enum Event {
    /// A machine takes its place, anew.
    Start {
        place: usize,
    },
    /// A second machine of that place's name begins.
    Twin {
        place: usize,
    },
    /// A machine hears that it is to stop.
    Stop {
        machine: u32,
    },
    /// The grace of a machine is over.
    GraceOver {
        machine: u32,
        back: Micros,
    },
    /// A call arrives whose machine is gone.
    LateCall(View, Call),
    LateAsk(u32, Ask),
    /// A silly-renamed file goes away.
    SillyGone(String),
}

/// Everything that machines share.
#[derive(Debug)]
pub struct World {
    pub clock: Rc<Clock>,
    pub params: Params,
    dice: RefCell<Dice>,
    pub server: RefCell<Server>,
    pub redis: Memory,
    queue_set_back_ms: Rc<Cell<u64>>,
    /// Copies of the queue, by time, where a fault is going to need one.
    copies: RefCell<VecDeque<(Micros, worker::queue::memory::State)>>,
    keeps_copies: bool,
    ledger: RefCell<Ledger>,
    breakage: Option<Breakage>,
    /// Calls made so far, by all machines.
    calls: Cell<u64>,
    /// Those of them that went to the volume, and to the queue.
    pub volume_calls: Cell<u64>,
    pub queue_calls: Cell<u64>,
    /// All that goes wrong in this world.
    schedule: Vec<Fault>,
    /// Faults that have not struck, in order.
    faults: RefCell<Vec<Fault>>,
    pushes_done: Cell<usize>,
    /// When each of them was made.
    pushed_at: RefCell<Vec<Micros>>,
    /// Every incarnation, by its number less one.
    machines: RefCell<Vec<Rc<Machine>>>,
    server_away: Cell<Micros>,
    /// Everybody's power is gone, and back after so long.
    power_gone: Cell<Option<Micros>>,
    no_space: Window,
    queue_away: Window,
    /// What changes the queue is refused, with this word.
    queue_refuses: Window,
    refusal: Cell<&'static str>,
    events: RefCell<Vec<Option<Event>>>,
    /// After this, nothing goes wrong any more, as far as is known.
    quiet_at: Cell<Micros>,
    /// Manifests that some worker has read: a thousand copies of a long one would be too many.
    manifests: RefCell<Vec<Arc<Manifest>>>,
    /// Steps of work done.
    pub steps: Arc<AtomicU64>,
    pub watch: Watch,
}

impl World {
    pub fn new(schedule: &Schedule, tells: bool) -> Rc<Self> {
        let clock = Rc::new(Clock::default());
        let time = clock.clone();
        let set_back = Rc::new(Cell::new(0));
        let queue_set_back_ms = set_back.clone();
        let redis = Memory::new(move || (QUEUE_START_MS + time.now() / 1000).saturating_sub(set_back.get()))
            .trusting_deadlines(schedule.breakage == Some(Breakage::TrustAnyDeadline));
        let keeps_copies = schedule.faults.iter().any(|fault| fault.what.goes_back());
        Rc::new(Self {
            clock,
            params: schedule.params.clone(),
            dice: RefCell::new(Dice::new(!schedule.seed)),
            server: RefCell::new(Server::new(schedule.params.on_one_machine)),
            redis,
            queue_set_back_ms,
            copies: RefCell::default(),
            keeps_copies,
            ledger: RefCell::default(),
            breakage: schedule.breakage,
            calls: Cell::new(0),
            volume_calls: Cell::new(0),
            queue_calls: Cell::new(0),
            schedule: schedule.faults.clone(),
            faults: RefCell::new(schedule.faults.clone()),
            pushes_done: Cell::new(0),
            pushed_at: RefCell::default(),
            machines: RefCell::default(),
            server_away: Cell::new(0),
            power_gone: Cell::new(None),
            no_space: Window::default(),
            queue_away: Window::default(),
            queue_refuses: Window::default(),
            refusal: Cell::new(""),
            events: RefCell::default(),
            quiet_at: Cell::new(0),
            manifests: RefCell::default(),
            steps: Arc::default(),
            watch: Watch::new(
                tells,
                schedule.params.results == Results::Vary,
                !schedule.faults.iter().any(|fault| fault.what.is_of_volume()),
            ),
        })
    }

    pub fn now(&self) -> Micros {
        self.clock.now()
    }

    pub fn calls(&self) -> u64 {
        self.calls.get()
    }

    pub fn quiet_at(&self) -> Micros {
        self.quiet_at.get()
    }

    fn between(&self, (low, high): (u64, u64)) -> u64 {
        self.dice.borrow_mut().between(low, high)
    }

    /// Whether a rule is to be forgotten in this world.
    pub fn breaks(&self, breakage: Breakage) -> bool {
        self.breakage == Some(breakage)
    }

    pub fn nonce(&self) -> u128 {
        if self.breaks(Breakage::OwnRandomness) {
            return worker::system::random_nonce();
        }
        self.dice.borrow_mut().nonce()
    }

    /// Something that a fault brings about.
    fn later(&self, at: Micros, event: Event) {
        self.expect(at, event);
        self.disturbed_until(at);
    }

    /// Something that comes without a fault: it puts off no bound.
    fn expect(&self, at: Micros, event: Event) {
        let mut events = self.events.borrow_mut();
        let number = u32::try_from(events.len()).unwrap_or(u32::MAX);
        events.push(Some(event));
        self.clock.wake_at(at, Wake::Event(number));
    }

    fn disturbed_until(&self, at: Micros) {
        self.quiet_at.set(self.quiet_at.get().max(at));
    }

    /// Tells of an answer that a window changed: the first one makes its fault count.
    fn noticed(&self, window: &Window) {
        if let Some(kind) = window.unnoticed.take() {
            self.watch.fired(kind);
        }
    }

    /// The manifest that a worker has read, or its equal that another has.
    fn one_for_all(&self, manifest: Manifest) -> Arc<Manifest> {
        let mut known = self.manifests.borrow_mut();
        if let Some(same) = known.iter().rev().find(|other| ***other == manifest) {
            return same.clone();
        }
        known.push(Arc::new(manifest));
        known[known.len() - 1].clone()
    }

    fn copy_queue(&self) {
        if !self.keeps_copies {
            return;
        }
        let mut copies = self.copies.borrow_mut();
        if copies.back().is_none_or(|(at, _)| self.now() >= at + ms(5)) {
            copies.push_back((self.now(), self.redis.snapshot()));
        }
        // One that is older than any fault goes back is enough.
        while copies.get(1).is_some_and(|(at, _)| at + ms(fault::LONG_MS) <= self.now()) {
            copies.pop_front();
        }
    }

    /// Puts the queue's state of `span` ago back; answers whether that made a difference.
    fn roll_back(&self, span: Micros) -> bool {
        let then = self.now().saturating_sub(span);
        let copies = self.copies.borrow();
        let copy = copies.iter().rev().find(|(at, _)| *at <= then);
        let state = copy.map(|(_, state)| state.clone()).unwrap_or_default();
        let differs = state != self.redis.snapshot();
        self.redis.restore(state);
        self.ledger.borrow_mut().forget();
        differs
    }
}
