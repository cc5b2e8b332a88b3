//! Runs a schedule: polls machines and the world's own events in the order of virtual time, until
//! every machine is done or time is up.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use worker::breakage::Breakage;
use worker::contract::{Exit, HISTORY, OUTPUT, RunPaths, TESTING};
use worker::manifest::{Spec, normalise};
use worker::queue::QueueError;
use worker::run::{Config, Ended, PATIENCE_AT_START, Source};
use worker::store::posix::Posix;
use worker::workload::Workload;

use super::check::{self, Broken};
use super::clock::{Micros, Wake, ms};
use super::fault::What;
use super::machine::{Inside, Machine};
use super::queue::{Ask, Told};
use super::schedule::{MAX_DELIVERIES, Params, RETRIES, Results, Schedule, training};
use super::toy::{self, Toy};
use super::watch::{Line, Sometimes, Tally};
use super::{Event, RUN, World};

/// What came of a schedule.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub broken: Vec<Broken>,
    pub tally: Tally,
    pub story: Vec<Line>,
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
    broken: Vec<Broken>,
    ended_at: Micros,
}

/// Runs a schedule and checks what came of it; `tells` for the story.
pub fn run(schedule: &Schedule, tells: bool) -> Outcome {
    watched(schedule, tells, &mut |_| {})
}

/// The same; `look` is shown the world whenever something has happened in it.
pub fn watched(schedule: &Schedule, tells: bool, look: &mut dyn FnMut(&World)) -> Outcome {
    let world = World::new(schedule, tells);
    let mut runner = Runner {
        world: world.clone(),
        slots: Vec::new(),
        outstanding: schedule.params.workers as usize,
        finished: false,
        void: false,
        broken: Vec::new(),
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
    /// Puts the datasets there and pushes those of the beginning.
    fn lay_out(&self) {
        let paths = paths(&self.params);
        for path in &paths {
            self.put_dataset(path);
        }
        for path in self.params.pushes.iter().flat_map(|push| &push.paths) {
            self.put_dataset(path);
        }
        self.push_all();
    }

    fn put_dataset(&self, path: &str) {
        let mut server = self.server.borrow_mut();
        if let Ok(path) = normalise(path)
            && server.bytes(&path).is_none()
        {
            server.install(0, &path, content(&self.params, &path));
        }
    }

    /// The operator pushes everything of the beginning.
    fn push_all(&self) {
        if !self.params.listed {
            let train = (0..self.params.train).map(training).collect();
            let _ = at_once(self.tell_queue(Ask::Push(train)));
        }
    }

    /// Pushes whose call has come.
    pub(super) fn push_what_is_due(&self, number: u64) {
        let done = self.pushes_done.get();
        let Some(push) = self.params.pushes.get(done).filter(|push| push.at <= number) else {
            return;
        };
        self.pushes_done.set(done + 1);
        self.pushed_at.borrow_mut().push(self.now());
        let paths = || push.paths.join(" and ").escape_debug().to_string();
        self.watch.tell(self.now(), "operator", false, || format!("pushes {}", paths()));
        let _ = at_once(self.tell_queue(Ask::Push(push.paths.clone())));
    }

    /// Whether anything goes wrong in this world that fits.
    pub fn has_faults(&self, fits: impl Fn(&What) -> bool) -> bool {
        self.schedule.iter().any(|fault| fits(&fault.what))
    }

    /// Whether nothing keeps a machine that is told to stop from ending within its grace.
    fn answers_notices(&self) -> bool {
        let last_fifth = ms(self.params.grace_ms) / 5;
        !self.has_faults(What::delays)
            && last_fifth > 60 * self.params.volume_us.1.max(self.params.queue_us.1)
    }

    /// What is pushed and not taken in.
    pub fn pushed_left(&self) -> Vec<String> {
        match at_once(self.tell_queue(Ask::Pushed)) {
            Ok(Told::Paths(paths)) => paths,
            _ => Vec::new(),
        }
    }

    fn output(&self) -> BTreeMap<String, Vec<u8>> {
        let server = self.server.borrow();
        let names = server.names(OUTPUT).into_iter().filter(|name| !name.starts_with(".nfs"));
        let bytes = |name: &str| server.bytes(&format!("{OUTPUT}/{name}")).unwrap_or_default().to_vec();
        names.map(|name| (name.to_owned(), bytes(name))).collect()
    }

    /// What has been pushed by now, and when.
    pub fn pushed_so_far(&self) -> Vec<(Micros, String)> {
        let at_first = (0..self.params.train).map(|number| (0, training(number)));
        let at = self.pushed_at.borrow();
        let later = at.iter().zip(&self.params.pushes);
        at_first
            .chain(later.flat_map(|(at, push)| push.paths.iter().map(|path| (*at, path.clone()))))
            .collect()
    }
}

/// Every dataset of the beginning: training, history, tests.
pub fn paths(params: &Params) -> Vec<String> {
    let history = (0..params.history).map(|day| format!("{HISTORY}/2018-03-{:02}.toy", day + 1));
    let tests = (0..params.tests).map(|day| format!("{TESTING}/2018-05-{:02}.toy", day + 1));
    (0..params.train).map(training).chain(history).chain(tests).collect()
}

/// A dataset's content.
pub fn content(params: &Params, path: &str) -> Vec<u8> {
    let rejected = params.rejects.iter().any(|reject| training(*reject) == path);
    let sum: u32 = path.bytes().map(u32::from).sum();
    toy::content(path, u64::from(1 + sum % params.steps), rejected)
}

/// The answer of a call that never waits.
fn at_once(call: impl std::future::Future<Output = Result<Told, QueueError>>) -> Result<Told, QueueError> {
    match std::pin::pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => Err(QueueError::Away("it waits".to_owned())),
    }
}

/// The date that every run's launcher gives.
pub const CREATED: &str = "2018-04-30";

fn config(params: &Params, name: &str, spec: Spec) -> Config {
    let millis = Duration::from_millis;
    Config {
        worker: name.to_owned(),
        run: RUN.to_owned(),
        source: if params.listed { Source::Listed(paths(params)) } else { Source::Pushed },
        created: Some(CREATED.to_owned()),
        spec,
        lease: millis(params.lease_ms),
        stall: millis(params.stall_ms()),
        progress_every: millis(params.progress_ms),
        grace: millis(params.grace_ms),
        idle: millis(params.idle_ms),
        retries: RETRIES,
        max_deliveries: MAX_DELIVERIES,
        after: None,
        fail_on_rejected: false,
        cache_bytes: 1 << 20,
    }
}

/// The workload as a machine has it installed.
fn toy_of(world: &World, machine: &Machine) -> Toy {
    let results = if world.breaks(Breakage::MachineInResult) { Results::Lie } else { world.params.results };
    Toy::new(results, machine.version, u64::from(machine.id) << 32, &world.steps)
}

impl Runner {
    fn go(&mut self, look: &mut dyn FnMut(&World)) {
        let bound = bound(&self.world.params);
        while self.outstanding > 0 {
            let Some(wake) = self.world.clock.advance() else { break };
            if self.world.now() > self.world.quiet_at() + bound {
                break;
            }
            match wake {
                Wake::Machine(id) => self.poll(id as usize - 1),
                Wake::Event(number) => {
                    let event = self.world.events.borrow_mut()[number as usize].take();
                    if let Some(event) = event {
                        self.happen(event);
                    }
                }
            }
            look(&self.world);
        }
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
            let tap = |event: &worker::events::Event| world.watch.noted(world.now(), machine, event);
            let factory = |spec: &Spec| -> Result<Arc<dyn Workload>, String> {
                if spec.workload != toy::NAME {
                    return Err(format!("{} is no toy", spec.workload));
                }
                Ok(Arc::new(toy_of(world, machine)))
            };
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
        if let Some(back) = self.world.power_gone.take() {
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
        let before = world.server.borrow().files(run.root());
        let lost = world.server.borrow_mut().lose_power(&mut world.dice.borrow_mut());
        let server = world.server.borrow();
        let was_lost = |(path, bytes): &(String, Vec<u8>)| server.bytes(path) != Some(bytes);
        world.watch.power_took(before.into_iter().filter(was_lost).map(|(path, _)| path));
        let span = world.between((0, 1_000));
        if world.params.on_one_machine && world.roll_back(ms(span)) {
            world.watch.queue_lost_something();
        }
        if lost > 0 {
            world.watch.fired("power-loss");
        }
        world.disturbed_until(world.now() + back);
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
        match ended.exit {
            exit @ (Exit::Finished | Exit::LeftOut) => self.first_exit(&machine, exit),
            Exit::Preempted if machine.stopping.get().is_some() => {
                back = machine.back_at.get();
                world.disturbed_until(world.now() + back.unwrap_or_default());
            }
            // Its launcher starts it again.
            Exit::Queue
                if world.now() - machine.started > ms(PATIENCE_AT_START.as_millis() as u64)
                    && world.has_faults(What::is_of_queue) =>
            {
                back = Some(ms(1_000));
            }
            // It could not see the names; or what was pushed is lost with the queue, and whoever
            // pushed it pushes it again.
            Exit::NoDatasets if machine.has_been_stale() || self.pushes_were_lost() => {
                world.push_all();
                back = Some(ms(1_000));
            }
            Exit::Version if world.params.newer.is_some() => world.watch.met(Sometimes::OtherVersion),
            Exit::Violation if world.params.results == Results::Lie => self.void(),
            exit => self
                .broken
                .push(Broken::effect(format!("{} exited with {exit:?}: {}", machine.name, ended.reason))),
        }
        if matches!(ended.exit, Exit::Finished | Exit::LeftOut | Exit::Preempted)
            && !world.has_faults(What::is_of_queue)
            && let Some(item) = world.ledger.borrow().left_by(world.now(), &machine)
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
            let mut broken = check::complete(&self.world, Some(exit));
            broken.extend(check::lasting(&self.world));
            self.broken.extend(broken.into_iter().map(Broken::at_first_exit));
        }
        if self.world.now() < self.world.queue_away.until.get() {
            self.world.watch.met(Sometimes::EndedWithoutQueue);
        }
    }

    /// A worker says that the run is void: then the volume must say so too.
    fn void(&mut self) {
        self.void = true;
        self.world.watch.met(Sometimes::Void);
        if self.world.server.borrow().bytes(&RunPaths::new(RUN).violation()).is_none() {
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
            Event::Start { place } => self.start(place, false),
            Event::Twin { place } => {
                if !self.finished {
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
                    if world.answers_notices() {
                        let detail = format!("{} did not end within its grace", machine.name);
                        self.broken.push(Broken::new("liveness", detail));
                    }
                    world.kill(&machine, back);
                    self.slots[at].future = None;
                    self.gone(at, Some(back));
                }
            }
            Event::LateCall(view, call) => {
                let answer = world.server.borrow_mut().apply(world.now(), view, &call);
                if answer.is_ok() {
                    world.watch.fired("late");
                    world.watch.tell(world.now(), "volume", true, || {
                        format!("a late call arrives: {} {}", call.operation(), call.path())
                    });
                }
            }
            Event::LateAsk(machine, ask) => {
                let before = world.redis.snapshot();
                let _ = at_once(world.tell_queue_for(machine, ask.clone()));
                if world.redis.snapshot() != before {
                    world.watch.fired("late");
                    world
                        .watch
                        .tell(world.now(), "queue", true, || format!("a late call arrives: {}", ask.name()));
                }
            }
            Event::SillyGone(path) => {
                let view = super::View { client: 0, as_of: None };
                let call = super::Call::Remove(path);
                let _ = world.server.borrow_mut().apply(world.now(), view, &call);
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
        if self.outstanding > 0 {
            let after = Duration::from_micros(bound(&world.params));
            self.broken.push(Broken::new(
                "liveness",
                format!("{} machines are not done {after:?} after the last fault", self.outstanding),
            ));
        } else if !self.void {
            self.broken.extend(check::afterwards(world));
        }
        self.broken.extend(world.watch.broken());
        Outcome {
            broken: self.broken,
            tally: world.watch.tally(),
            story: world.watch.story(),
            took,
            drained_in: took.saturating_sub(world.quiet_at()),
            calls: world.calls(),
            steps: world.steps.load(std::sync::atomic::Ordering::Relaxed),
            output: world.output(),
        }
    }
}

/// How long after the last fault the slowest run may take to drain: leases that have to expire,
/// the longest back-offs, and three times all of its work done one after the other.
pub fn bound(params: &Params) -> Micros {
    let call = params.volume_us.1.max(params.queue_us.1);
    let items = params.items() + 3 * 4;
    let serial = items * (60 * call + u64::from(params.steps + 4) * params.step_us.1);
    ms(10_000 + 4 * params.lease_ms + 70 * params.idle_ms) + 3 * serial
}
