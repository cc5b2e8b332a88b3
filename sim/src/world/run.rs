//! Runs a schedule: polls machines and the world's own events in the order of virtual time, until
//! every machine is done or time is up.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use worker::abandon::{Abandoned, abandon};
use worker::audit::Share;
use worker::contract::{Exit, OUTPUT, RunPaths};
use worker::manifest::Spec;
use worker::mutant::Mutant;
use worker::run::{Config, Ended, PATIENCE_AT_START, Source};
use worker::store::bucket::Bucket;
use worker::store::posix::Posix;
use worker::workload::Workload;

use super::broken::Broken;
use super::bucket::Requests;
use super::check;
use super::clock::{Micros, Wake, ms};
use super::duties;
use super::fault::FaultKind;
use super::inside::Inside;
use super::machine::Machine;
use super::nfs::{Call, View};
use super::params::{CREATED, MAX_DELIVERIES, Params, RETRIES, Results, paths};
use super::schedule::Schedule;
use super::toy::{self, Toy};
use super::watch::{Line, Sometimes, Tally};
use super::world::{Event, RUN, World};

/// What came of a schedule.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub broken: Vec<Broken>,
    pub tally: Tally,
    pub story: Vec<Line>,
    /// Public names with their bytes, oldest first; recorded only along with the story.
    pub linked: Vec<(String, Vec<u8>)>,
    /// Virtual time from the start to the last exit.
    pub took: Micros,
    /// Virtual time from the end of the last fault to the last exit.
    pub drained_in: Micros,
    pub calls: u64,
    pub steps: u64,
    /// What the user finds: the files of `output/`, by name.
    pub output: BTreeMap<String, Vec<u8>>,
}

type Future = Pin<Box<dyn std::future::Future<Output = Ended>>>;

struct Slot {
    machine: Rc<Machine>,
    future: Option<Future>,
}

struct Runner {
    world: Rc<World>,
    slots: Vec<Slot>,
    /// Machines that are working or will come back.
    outstanding: usize,
    /// Somebody has exited 0: a Job starts no new pod after that.
    finished: bool,
    /// Somebody has exited because two results differed.
    void: bool,
    /// Somebody has exited since a dataset has changed, and the launcher has stopped the others.
    given_up: bool,
    broken: Vec<Broken>,
    vouched: check::Vouched,
    ended_at: Micros,
}

/// Runs a schedule and checks what came of it; `tells` for the story.
pub fn run(schedule: &Schedule, tells: bool) -> Outcome {
    watched(schedule, tells, &mut |_| {})
}

/// The same; `look` is shown the world whenever something has happened in it.
pub fn watched(schedule: &Schedule, tells: bool, look: &mut dyn FnMut(&World)) -> Outcome {
    let world = World::new(schedule.seed, &schedule.params, &schedule.faults, schedule.mutant, tells);
    let mut runner = Runner {
        world: world.clone(),
        slots: Vec::new(),
        outstanding: schedule.params.workers as usize,
        finished: false,
        void: false,
        given_up: false,
        broken: Vec::new(),
        vouched: check::Vouched::default(),
        ended_at: 0,
    };
    world.lay_out();
    for place in 0..schedule.params.workers as usize {
        let at = world.between((0, 5_000));
        world.expect(at, Event::Start { place });
    }
    runner.go(look);
    runner.end()
}

impl World {
    /// Whether nothing keeps a machine with notice to stop from ending within its grace.
    fn answers_notices(&self) -> bool {
        let last_fifth = ms(self.params.grace_ms) / 5;
        !self.has_faults(FaultKind::delays)
            && last_fifth > 25 * self.params.volume_us.1.max(self.params.queue_us.1)
    }

    fn output(&self) -> BTreeMap<String, Vec<u8>> {
        let server = self.share.server.borrow();
        let names = server.names(OUTPUT).into_iter().filter(|name| !name.starts_with(".nfs"));
        let bytes = |name: &str| server.bytes(&format!("{OUTPUT}/{name}")).unwrap_or_default().to_vec();
        names.map(|name| (name.to_owned(), bytes(name))).collect()
    }
}

fn config(params: &Params, name: &str, spec: Spec) -> Config {
    let millis = Duration::from_millis;
    Config {
        worker: name.to_owned(),
        run: RUN.to_owned(),
        source: if params.listed { Source::Listed(paths(params)) } else { Source::Pushed },
        created: Some(CREATED.to_owned()),
        spec,
        insists_on_spec: false,
        lease: millis(params.lease_ms),
        stall: millis(params.stall_ms()),
        progress_every: millis(params.progress_ms),
        grace: millis(params.grace_ms),
        idle: millis(params.idle_ms),
        retries: RETRIES,
        max_deliveries: MAX_DELIVERIES,
        audit: Share::NONE,
        after: None,
        fail_on_rejected: false,
        cache_bytes: 1 << 20,
    }
}

/// The workload as a machine has it installed.
fn toy_of(world: &World, machine: &Machine) -> Toy {
    let mut params = world.params.clone();
    if world.breaks(Mutant::MachineInResult) {
        params.results = Results::Lie;
    }
    let toy = Toy::new(&params, machine.version, u64::from(machine.id) << 32, &machine.conduct.steps);
    match world.scratch.get(machine.place) {
        Some(scratch) => toy.with_scratch(scratch),
        None => toy,
    }
}

impl Runner {
    fn go(&mut self, look: &mut dyn FnMut(&World)) {
        let bound = bound(&self.world.params);
        while self.outstanding > 0 && !self.given_up {
            let Some(wake) = self.world.clock.advance() else { break };
            if self.world.now() > self.world.quiet_at() + bound {
                break;
            }
            match wake {
                Wake::Machine(id) => self.poll(id as usize - 1),
                Wake::Event(number) => {
                    let event = self.world.agenda.events.borrow_mut()[number as usize].take();
                    if let Some(event) = event {
                        self.happen(event);
                    }
                }
            }
            look(&self.world);
        }
    }

    /// The operator at a machine of its own, in the place after the workers'.
    fn start_operator(&mut self) {
        let world = &self.world;
        let id = self.slots.len() as u32 + 1;
        let machine = Machine::new(id, self.operators_place(), false, toy::VERSION, world.now());
        let inside = Inside { world: world.clone(), machine: machine.clone() };
        let future: Future = Box::pin(async move {
            let abandoned = match inside.world.params.bucket {
                true => abandon(&Bucket::new(Requests(inside.clone())), &inside, RUN, None).await,
                false => abandon(&Posix::new(inside.clone()), &inside, RUN, None).await,
            };
            let exit = match &abandoned {
                Ok(Abandoned::Now | Abandoned::Before(_)) => Exit::Left,
                Ok(Abandoned::Complete) => Exit::Finished,
                Ok(Abandoned::NotBegun) => Exit::NoDatasets,
                Err(_) => Exit::Volume,
            };
            Ended { exit, reason: format!("{abandoned:?}") }
        });
        self.world.machines.borrow_mut().push(machine.clone());
        self.slots.push(Slot { machine, future: Some(future) });
        self.world.clock.wake_at(self.world.now(), Wake::Machine(id));
    }

    fn operators_place(&self) -> usize {
        self.world.params.workers as usize
    }

    /// The operator's command has come to its end, and is given again where the volume failed.
    fn operator_ended(&mut self, exit: Exit) -> Option<Micros> {
        let world = &self.world;
        match exit {
            Exit::Left if check::is_left(world) => {
                world.watch.met(Sometimes::Abandoned);
                world.has_abandoned();
            }
            Exit::Left => self.broken.push(Broken::effect("the run is said to be abandoned, and is not")),
            Exit::Finished => world.watch.met(Sometimes::AbandonedTooLate),
            Exit::NoDatasets => {}
            _ => return Some(ms(100)),
        }
        None
    }

    fn start(&mut self, place: usize, twin: bool) {
        let world = &self.world;
        let id = self.slots.len() as u32 + 1;
        let newer = world.params.newer == Some(place as u32);
        let version = toy::VERSION + u32::from(newer);
        let machine = Machine::new(id, place, twin, version, world.now());
        let inside = Inside { world: world.clone(), machine: machine.clone() };
        let toy = toy_of(world, &machine);
        let config = config(&world.params, &machine.name, Spec::of(&toy));
        let future: Future = Box::pin(async move {
            let (world, machine) = (&inside.world, &inside.machine);
            let tap = |event: &worker::events::Event| {
                world.watch.broke(duties::noted(world, machine, &event.what));
                world.watch.noted(world.now(), machine, event);
            };
            let factory = |spec: &Spec| -> Result<Arc<dyn Workload>, String> {
                if spec.workload != toy::NAME {
                    return Err(format!("{} is no toy", spec.workload));
                }
                Ok(Arc::new(toy_of(world, machine)))
            };
            if world.params.bucket {
                let store = Bucket::new(Requests(inside.clone()));
                return worker::run::run(&config, &inside, &store, &inside, &factory, &tap).await;
            }
            let store = Posix::new(inside.clone());
            worker::run::run(&config, &inside, &store, &inside, &factory, &tap).await
        });
        self.world.machines.borrow_mut().push(machine.clone());
        self.slots.push(Slot { machine, future: Some(future) });
        self.world.clock.wake_at(self.world.now(), Wake::Machine(id));
    }

    fn poll(&mut self, at: usize) {
        let now = self.world.now();
        let slot = &mut self.slots[at];
        let Some(future) = &mut slot.future else { return };
        let still_until = slot.machine.still_until.get();
        if still_until > now {
            let id = slot.machine.id;
            self.world.clock.wake_at(still_until, Wake::Machine(id));
            return;
        }
        self.world.clock.run_as(Wake::Machine(slot.machine.id));
        let mut context = Context::from_waker(Waker::noop());
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)));
        let polled = polled.unwrap_or_else(|_| {
            Poll::Ready(Ended { exit: Exit::Failed, reason: "the worker panicked".to_owned() })
        });
        match polled {
            Poll::Ready(ended) => {
                slot.future = None;
                self.ended(at, ended);
            }
            Poll::Pending if !slot.machine.alive.get() => {
                slot.future = None;
                let back = slot.machine.back_at.get();
                self.gone(at, back);
            }
            Poll::Pending => {}
        }
        if let Some(back) = self.world.faults.power_gone.take() {
            self.lose_power(back);
        }
    }

    /// The power is gone, and with it every machine, what was not synced and, perhaps, the queue's last second.
    fn lose_power(&mut self, back: Micros) {
        for at in 0..self.slots.len() {
            if self.slots[at].future.is_some() {
                // Dropped as a machine that is gone.
                self.slots[at].machine.alive.set(false);
                self.slots[at].future = None;
                self.gone(at, Some(back));
            }
        }
        let world = &self.world;
        let run = RunPaths::new(RUN);
        let before = world.share.server.borrow().files(run.root());
        let lost = world.share.server.borrow_mut().lose_power(&mut world.dice.borrow_mut());
        let server = world.share.server.borrow();
        let was_lost = |(path, bytes): &(String, Vec<u8>)| server.bytes(path) != Some(bytes);
        world.watch.power_took(before.into_iter().filter(was_lost).map(|(path, _)| path));
        let span = world.between((0, 1_000));
        if world.params.on_one_machine && world.broker.roll_back(world.now(), ms(span)) {
            world.watch.queue_lost_something();
        }
        if lost > 0 {
            world.watch.fired("power-loss");
        }
        world.faulty_until(world.now() + back);
    }

    /// A machine is no more; its place is filled after `back`, unless somebody has finished. What puts off
    /// the run's end is the fault that took it, if one did: a worker that ends again and again by itself is
    /// not to be waited for.
    fn gone(&mut self, at: usize, back: Option<Micros>) {
        let machine = self.slots[at].machine.clone();
        machine.alive.set(false);
        self.outstanding -= 1;
        self.ended_at = self.world.now();
        if let Some(back) = back
            && !machine.twin
            && !self.finished
        {
            self.outstanding += 1;
            let place = machine.place;
            self.world.expect(self.world.now() + back, Event::Start { place });
        }
    }

    fn ended(&mut self, at: usize, ended: Ended) {
        let machine = self.slots[at].machine.clone();
        let world = self.world.clone();
        let mut back = None;
        if machine.place == self.operators_place() {
            let back = self.operator_ended(ended.exit);
            self.gone(at, back);
            return;
        }
        match ended.exit {
            exit @ (Exit::Finished | Exit::LeftOut) => self.first_exit(&machine, exit),
            Exit::Preempted if machine.stopping.get().is_some() => {
                back = machine.back_at.get();
                world.faulty_until(world.now() + back.unwrap_or_default());
            }
            // Its launcher starts it again.
            Exit::Queue
                if world.now() - machine.started > ms(PATIENCE_AT_START.as_millis() as u64)
                    && world.has_faults(FaultKind::is_of_queue) =>
            {
                back = Some(ms(1_000));
            }
            // It could not see the names; or the pushed paths are lost with the queue, and the
            // client that pushed them pushes them again.
            Exit::NoDatasets if machine.has_been_stale() || self.pushes_were_lost() => {
                world.push_all();
                back = Some(ms(1_000));
            }
            Exit::Version if world.params.newer.is_some() => world.watch.met(Sometimes::OtherVersion),
            Exit::Left if check::is_left(&world) => self.finished = true,
            Exit::Violation if world.params.results == Results::Lie => self.void(),
            Exit::Input if check::has_lost_a_dataset(&world) => self.given_up = true,
            // It read a dataset that was being replaced, after tries that failed for want of any: those count too.
            Exit::Input if world.has_changed_since(machine.started) => back = Some(ms(1_000)),
            exit => self
                .broken
                .push(Broken::effect(format!("{} exited with {exit:?}: {}", machine.name, ended.reason))),
        }
        if matches!(ended.exit, Exit::Finished | Exit::LeftOut | Exit::Left | Exit::Preempted)
            && !world.has_faults(FaultKind::is_of_queue)
            && let Some(item) = world.broker.ledger.borrow().left_by(world.now(), machine.id)
        {
            self.broken.push(Broken::waste(format!("{} leaves its lease of {item} behind", machine.name)));
        }
        world.watch.ended_by_itself(&machine);
        self.gone(at, back);
    }

    fn first_exit(&mut self, machine: &Machine, exit: Exit) {
        if machine.void_seen.get() {
            self.broken.push(Broken::effect(format!("{} exited 0 from a run that is void", machine.name)));
        }
        if !self.finished {
            self.finished = true;
            self.broken.extend(self.slow());
            let mut broken = check::complete(&self.world, Some(exit), &mut self.vouched);
            broken.extend(check::lasting(&self.world));
            self.broken.extend(broken.into_iter().map(Broken::at_first_exit));
        }
        if self.world.broker.away.is_open(self.world.now()) {
            self.world.watch.met(Sometimes::EndedWithoutQueue);
        }
    }

    /// A run that nothing disturbed takes no longer than its work.
    fn slow(&self) -> Option<Broken> {
        let world = &self.world;
        let bound = quiet_bound(&world.params);
        let disturbed = world.watch.tally().faults > 0 || world.has_changed();
        (!disturbed && world.now() > bound).then(|| {
            let detail = format!("undisturbed, the run took {} µs, {bound} may be", world.now());
            Broken::new("liveness", detail)
        })
    }

    /// A worker says that the run is void: then the volume must say so too.
    fn void(&mut self) {
        self.void = true;
        self.world.watch.met(Sometimes::Void);
        if self.world.share.server.borrow().bytes(&RunPaths::new(RUN).violation()).is_none() {
            self.broken.push(Broken::effect("a violation was found and is not committed"));
        }
    }

    fn pushes_were_lost(&self) -> bool {
        self.world.watch.has_queue_lost_something()
    }

    fn happen(&mut self, event: Event) {
        let world = self.world.clone();
        match event {
            Event::Start { .. } if self.finished => self.outstanding -= 1,
            Event::Start { place } if place == self.operators_place() => self.start_operator(),
            Event::Start { place } => self.start(place, false),
            Event::Abandon => {
                self.outstanding += 1;
                self.start_operator();
            }
            Event::Twin { place } => {
                if !self.finished && place != self.operators_place() {
                    self.outstanding += 1;
                    self.start(place, true);
                }
            }
            Event::Stop { machine } => self.poll(machine as usize - 1),
            Event::GraceOver { machine, back } => {
                let at = machine as usize - 1;
                if self.slots[at].future.is_some() {
                    let machine = self.slots[at].machine.clone();
                    world.watch.tell(world.now(), &machine.name, true, || {
                        "the grace is over: the machine is gone".to_owned()
                    });
                    if world.answers_notices() && machine.place != self.operators_place() {
                        let detail = format!("{} did not end within its grace", machine.name);
                        self.broken.push(Broken::new("liveness", detail));
                    }
                    world.kill(&machine, back);
                    self.slots[at].future = None;
                    self.gone(at, Some(back));
                }
            }
            Event::LateCall(view, call) => {
                let answer = world.share.server.borrow_mut().apply(world.now(), view, &call);
                if answer.is_ok() {
                    world.watch.fired("late");
                    world.watch.tell(world.now(), "volume", true, || {
                        format!("a late call arrives: {} {}", call.operation(), call.path())
                    });
                }
            }
            Event::LateAsk(machine, ask) => {
                let before = world.broker.redis.snapshot();
                let call = world.tell_queue_for(machine, &ask);
                // It never waits.
                let _ = std::pin::pin!(call).poll(&mut Context::from_waker(Waker::noop()));
                if world.broker.redis.snapshot() != before {
                    world.watch.fired("late");
                    world
                        .watch
                        .tell(world.now(), "queue", true, || format!("a late call arrives: {}", ask.name()));
                }
            }
            Event::SillyGone(path) => {
                let view = View { client: 0, as_of: None };
                let call = Call::Remove(path);
                let _ = world.share.server.borrow_mut().apply(world.now(), view, &call);
            }
        }
    }

    fn end(mut self) -> Outcome {
        for slot in &mut self.slots {
            if slot.future.is_some() {
                // Dropped as a machine that is gone: nothing of it is flushed in full.
                slot.machine.alive.set(false);
                slot.future = None;
            }
        }
        let world = &self.world;
        let took = self.ended_at;
        if self.given_up {
            world.watch.met(Sometimes::GivenUp);
        } else if self.outstanding > 0 {
            let after = Duration::from_micros(bound(&world.params));
            self.broken.push(Broken::new(
                "liveness",
                format!("{} machines are not done {after:?} after the last fault", self.outstanding),
            ));
        } else if check::is_left(world) {
            self.broken.extend(check::left(world));
        } else if !self.void {
            self.broken.extend(check::afterwards(world, &mut self.vouched));
        }
        self.broken.extend(world.watch.broken());
        Outcome {
            broken: self.broken,
            tally: world.watch.tally(),
            story: world.watch.story(),
            linked: world.watch.made_public(),
            took,
            drained_in: took.saturating_sub(world.quiet_at()),
            calls: world.calls(),
            steps: world.steps(),
            output: world.output(),
        }
    }
}

/// How long after the last fault the slowest run may take to drain: leases that have to expire,
/// the longest back-offs, and three times all of its work done one after the other.
pub fn bound(params: &Params) -> Micros {
    let call = params.volume_us.1.max(params.queue_us.1);
    let items = params.items() + 3 * 4;
    let serial = items * (calls_an_item(params) * call + steps_an_item(params) * params.step_us.1);
    ms(10_000 + 4 * params.lease_ms + 70 * params.idle_ms) + 3 * serial
}

/// How long a run without faults may take: all of its work done one after the other, with few waits.
pub fn quiet_bound(params: &Params) -> Micros {
    let mean = |(low, high): (u64, u64)| (low + high) / 2;
    let pushed: usize = params.pushes.iter().map(|push| push.paths.len()).sum();
    let items = params.items() + 6 * pushed as u64;
    let call = mean(params.volume_us).max(mean(params.queue_us));
    let serial = items * (calls_an_item(params) * call + steps_an_item(params) * mean(params.step_us));
    ms(20 + QUIET_WAITS * params.idle_ms) + serial + saving(params) * call
}

/// Calls that an item may cost: more where results have blocks, which are read, put, and shown.
fn calls_an_item(params: &Params) -> u64 {
    if params.large { 100 } else { 60 }
}

/// Steps of work that an item may take: more where each block that is read or put is a step of its own.
fn steps_an_item(params: &Params) -> u64 {
    u64::from(params.steps) + if params.large { 12 } else { 4 }
}

/// Calls that it takes to save progress after each step of all preparations: on NFS, where each file is put, synced and
/// read again, 12 were seen, and 18 where a saved state has a block.
fn saving(params: &Params) -> u64 {
    let datasets = u64::from(params.train + params.tests + params.history);
    let calls = if params.large { 20 } else { 13 };
    calls * datasets * u64::from(params.steps)
}

/// Looks at nothing new.
const QUIET_WAITS: u64 = 4;
