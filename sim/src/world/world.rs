//! A world: what its machines share, each part with its own state.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use worker::manifest::Manifest;
use worker::mutant::Mutant;

use super::ask::{Ask, QueueReply};
use super::broker::Broker;
use super::clock::{Clock, Micros, Wake};
use super::dice::Dice;
use super::fault::{Fault, FaultKind};
use super::machine::Machine;
use super::nfs::{Call, View};
use super::params::{Params, Results, paths};
use super::scratch::Scratch;
use super::share::Share;
use super::watch::Watch;
use super::window::Window;

/// The name of the run in every world.
pub const RUN: &str = "r";

/// Something that the world does by itself.
#[derive(Debug)]
pub enum Event {
    /// A new machine takes this place.
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
    /// The operator begins to abandon the run.
    Abandon,
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

/// What the world does by itself, and when.
#[derive(Debug, Default)]
pub struct Agenda {
    pub events: RefCell<Vec<Option<Event>>>,
    /// After this, nothing goes wrong any more, as far as is known.
    pub quiet_at: Cell<Micros>,
}

/// What the operator has done of what the world's parameters say.
#[derive(Debug, Default)]
pub struct Operator {
    /// The datasets that were there before anybody worked.
    pub beginning: BTreeSet<String>,
    pub pushes_done: Cell<usize>,
    /// When each of them was made.
    pub pushed_at: RefCell<Vec<Micros>>,
    /// When a dataset's content changed.
    pub changed_at: Cell<Option<Micros>>,
    /// The operator has begun to abandon the run.
    pub abandons: Cell<bool>,
    /// When the operator knew that the run is abandoned, and pushed a path for the next one.
    pub abandoned_at: Cell<Option<Micros>>,
}

/// The faults of a world, and the calls that they wait for.
#[derive(Debug)]
pub struct Faults {
    /// All of them.
    pub all: Vec<Fault>,
    /// Faults that have not been injected, in order.
    pub due: RefCell<Vec<Fault>>,
    /// Calls made so far, by all machines.
    pub calls: Cell<u64>,
    /// All machines' power is gone, and back after this time.
    pub power_gone: Cell<Option<Micros>>,
}

impl Faults {
    pub fn new(all: &[Fault]) -> Self {
        Self {
            all: all.to_vec(),
            due: RefCell::new(all.to_vec()),
            calls: Cell::new(0),
            power_gone: Cell::new(None),
        }
    }
}

/// Everything that machines share.
#[derive(Debug)]
pub struct World {
    pub clock: Rc<Clock>,
    pub params: Params,
    pub dice: RefCell<Dice>,
    pub mutant: Option<Mutant>,
    pub share: Share,
    pub broker: Broker,
    pub faults: Faults,
    pub agenda: Agenda,
    pub operator: Operator,
    /// Every incarnation, by its number less one.
    pub machines: RefCell<Vec<Rc<Machine>>>,
    /// The local disk of each place.
    pub scratch: Vec<Arc<Scratch>>,
    /// Manifests that some worker has read: a thousand copies of a long one would be too many.
    pub manifests: RefCell<Vec<Arc<Manifest>>>,
    pub watch: Watch,
}

impl World {
    pub fn new(
        seed: u64,
        params: &Params,
        faults: &[Fault],
        mutant: Option<Mutant>,
        tells: bool,
    ) -> Rc<Self> {
        let clock = Rc::new(Clock::default());
        Rc::new(Self {
            params: params.clone(),
            dice: RefCell::new(Dice::new(!seed)),
            mutant,
            share: Share::new(params.on_one_machine),
            broker: Broker::new(mutant, &clock),
            faults: Faults::new(faults),
            agenda: Agenda::default(),
            operator: Operator { beginning: paths(params).into_iter().collect(), ..Operator::default() },
            machines: RefCell::default(),
            scratch: (0..params.workers).map(|_| Arc::new(Scratch::new(mutant))).collect(),
            manifests: RefCell::default(),
            watch: Watch::new(
                tells,
                params.results == Results::Vary,
                !faults.iter().any(|fault| fault.what.is_of_volume()),
            ),
            clock,
        })
    }

    pub fn now(&self) -> Micros {
        self.clock.now()
    }

    pub fn calls(&self) -> u64 {
        self.faults.calls.get()
    }

    /// Steps of work done.
    pub fn steps(&self) -> u64 {
        self.machines.borrow().iter().map(|machine| machine.conduct.steps_done()).sum()
    }

    pub fn quiet_at(&self) -> Micros {
        self.agenda.quiet_at.get()
    }

    pub fn between(&self, (low, high): (u64, u64)) -> u64 {
        self.dice.borrow_mut().between(low, high)
    }

    /// Whether a rule is to be forgotten in this world.
    pub fn breaks(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub fn nonce(&self) -> u128 {
        if self.breaks(Mutant::OwnRandomness) {
            return worker::system::random_nonce();
        }
        self.dice.borrow_mut().nonce()
    }

    /// Whether anything goes wrong in this world that fits.
    pub fn has_faults(&self, fits: impl Fn(&FaultKind) -> bool) -> bool {
        self.faults.all.iter().any(|fault| fits(&fault.what))
    }

    /// Whether the queue knows of no item.
    pub fn queue_is_empty(&self) -> bool {
        match self.broker.tell_at_once(&Ask::Counts) {
            Ok(QueueReply::Counts(counts)) => counts.is_empty(),
            _ => false,
        }
    }

    /// Something that a fault brings about.
    pub fn later(&self, at: Micros, event: Event) {
        self.expect(at, event);
        self.faulty_until(at);
    }

    /// Something that comes without a fault: it puts off no bound.
    pub fn expect(&self, at: Micros, event: Event) {
        let mut events = self.agenda.events.borrow_mut();
        let number = u32::try_from(events.len()).unwrap_or(u32::MAX);
        events.push(Some(event));
        self.clock.wake_at(at, Wake::Event(number));
    }

    pub fn faulty_until(&self, at: Micros) {
        self.agenda.quiet_at.set(self.agenda.quiet_at.get().max(at));
    }

    /// Tells of an answer that a window changed: the first one makes its fault count.
    pub fn noticed(&self, window: &Window) {
        if let Some(kind) = window.notice() {
            self.watch.fired(kind);
        }
    }

    /// The manifest that a worker has read, or its equal that another has.
    pub fn one_for_all(&self, manifest: Manifest) -> Arc<Manifest> {
        let mut known = self.manifests.borrow_mut();
        if let Some(same) = known.iter().rev().find(|other| ***other == manifest) {
            return same.clone();
        }
        known.push(Arc::new(manifest));
        known[known.len() - 1].clone()
    }
}
