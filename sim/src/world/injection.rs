//! Injection: which calls each fault waits for, and what it does to them.

use std::future::pending;
use std::rc::Rc;

use worker::contract::is_later;
use worker::record::Record;
use worker::report::Report;
use worker::store::Kind;

use super::clock::{Micros, ms};
use super::fault::{FaultKind, On};
use super::machine::Machine;
use super::nfs::{Call, Condition};
use super::site::Site;
use super::toy;

use super::world::{Event, RUN, World};

/// What is to happen to one call.
#[derive(Debug, Default)]
pub struct Injected {
    /// Its machine is gone before it takes effect.
    pub killed: bool,
    pub killed_after: bool,
    pub reply_lost: bool,
    /// It fails, with no effect.
    pub fails: Option<Kind>,
    pub close_error: bool,
    /// The dataset reads as something else; or, where true, seems to be missing.
    pub misread: Option<bool>,
    pub silly: Option<Micros>,
    pub conflict: bool,
    /// The answer breaks off.
    pub cut: bool,
    /// It takes so much longer.
    pub slow: Micros,
}

fn suits(what: &FaultKind, site: Site<'_>, preparing: bool) -> bool {
    use FaultKind::*;
    match (what, site) {
        (Kill { .. } | Notice { .. } | Pause { .. } | ClockJump { .. } | Twin | PowerLoss { .. }, _) => true,
        (Late { .. }, Site::Volume(call)) => {
            matches!(
                call,
                Call::Link(..)
                    | Call::Rename(..)
                    | Call::Create(_)
                    | Call::Remove(_)
                    | Call::Put(_)
                    | Call::Copy(..)
                    | Call::Delete(_)
            )
        }
        (Late { .. }, Site::Queue(ask)) => ask.changes(),
        (ReplyLost { on } | Error { on } | Stale { on }, Site::Volume(call)) => class(call, *on),
        (CloseError, Site::Volume(call)) => matches!(call, Call::Flush { .. }),
        (StaleLookups { .. }, Site::Volume(call)) => class(call, On::Look),
        (SillyRename { .. }, Site::Volume(call)) => class(call, On::Remove),
        // In the beginning the manifest would believe it.
        (Misread { .. }, Site::Volume(call)) => {
            preparing && matches!(call, Call::ReadAt(path, ..) if path.starts_with("datasets/"))
        }
        (NoSpace { .. } | ServerRestart { .. } | Hang { .. } | Tear | Throttle { .. }, Site::Volume(_)) => {
            true
        }
        (Conflict, Site::Volume(call)) => {
            matches!(call, Call::Put(put) if put.condition != Condition::Always)
        }
        (Cut, Site::Volume(call)) => class(call, On::Look) && !matches!(call, Call::Meta(_)),
        (QueueReplyLost, Site::Queue(ask)) => ask.changes(),
        (
            QueueError
            | QueueAway { .. }
            | QueueSlow { .. }
            | QueueLastSecond
            | QueueRollback { .. }
            | QueueWiped
            | QueueClockBack { .. }
            | QueueMisconf { .. }
            | QueueReadOnly { .. },
            Site::Queue(_),
        ) => true,
        _ => false,
    }
}

fn class(call: &Call, on: On) -> bool {
    match on {
        On::Any => !matches!(call, Call::Write),
        On::Look => call.looks(),
        On::Create => matches!(call, Call::Create(_) | Call::MakeFolder(_)) || is_put(call, false),
        On::Link => matches!(call, Call::Link(..)) || is_put(call, true),
        On::Rename => matches!(call, Call::Rename(..) | Call::Copy(..)),
        On::Remove => matches!(call, Call::Remove(_) | Call::RemoveFolder(_) | Call::Delete(_)),
    }
}

/// Whether it is a commit in a bucket, or another write there.
fn is_put(call: &Call, commits: bool) -> bool {
    matches!(call, Call::Put(put) if put.attempt.is_some() == commits)
}

impl World {
    /// Counts a call and injects the faults whose time has come.
    pub fn inject(self: &Rc<Self>, machine: &Rc<Machine>, site: Site<'_>) -> Injected {
        let number = self.faults.calls.get();
        self.faults.calls.set(number + 1);
        match site {
            Site::Volume(_) => self.share.calls.set(self.share.calls.get() + 1),
            Site::Queue(_) => self.broker.calls.set(self.broker.calls.get() + 1),
            Site::Compute => {}
        }
        self.push_what_is_due(number);
        self.change_what_is_due(number);
        self.abandon_what_is_due(number);
        let mut injected = Injected::default();
        loop {
            let mut faults = self.faults.due.borrow_mut();
            if faults.first().is_none_or(|fault| fault.at > number) {
                break;
            }
            let preparing = machine.is_preparing();
            let due = faults
                .iter()
                .take_while(|fault| fault.at <= number)
                .position(|fault| suits(&fault.what, site, preparing));
            let Some(due) = due else { break };
            let fault = faults.remove(due);
            drop(faults);
            self.faulty_until(self.now());
            self.watch.injected(self.now(), machine, number, &fault.what, site);
            self.apply(machine, site, fault.what, &mut injected);
            if injected.killed {
                break;
            }
        }
        injected
    }

    /// Faults that befall a machine; all others go on to what they befall.
    fn apply(
        self: &Rc<Self>,
        machine: &Rc<Machine>,
        site: Site<'_>,
        what: FaultKind,
        injected: &mut Injected,
    ) {
        let now = self.now();
        let fired = || self.watch.fired_if(machine.is_holding(), what.name());
        match what {
            FaultKind::Kill { after: true, back_ms } => {
                fired();
                injected.killed_after = true;
                machine.back_at.set(Some(ms(back_ms)));
            }
            FaultKind::Kill { after: false, back_ms } => {
                fired();
                injected.killed = true;
                self.kill(machine, ms(back_ms));
            }
            FaultKind::Notice { back_ms } if machine.stopping.get().is_none() => {
                fired();
                machine.stopping.set(Some(now));
                machine.back_at.set(Some(ms(back_ms)));
                self.later(now, Event::Stop { machine: machine.id });
                let over = Event::GraceOver { machine: machine.id, back: ms(back_ms) };
                self.later(now + self.params.grace(), over);
            }
            FaultKind::Notice { .. } => {}
            FaultKind::Pause { ms: span } => {
                fired();
                machine.still_until.set(now + ms(span));
                machine.conduct.hinder(now + ms(span));
                machine.paused.set(true);
                self.faulty_until(now + ms(span));
            }
            FaultKind::Late { ms: span, back_ms } => {
                let event = match site {
                    Site::Volume(call) => Event::LateCall(machine.view(now), call.clone()),
                    Site::Queue(ask) => Event::LateAsk(machine.id, ask.clone()),
                    Site::Compute => return,
                };
                self.later(now + ms(span), event);
                injected.killed = true;
                self.kill(machine, ms(back_ms));
            }
            // The world sees to the others, and to what is lost.
            FaultKind::PowerLoss { back_ms } => {
                injected.killed = true;
                self.kill(machine, ms(back_ms));
                self.faults.power_gone.set(Some(ms(back_ms)));
            }
            FaultKind::ClockJump { hours } => {
                fired();
                machine.wall_jump_ms.set(i64::from(hours) * 3_600_000);
            }
            FaultKind::Twin => self.later(now, Event::Twin { place: machine.place }),
            FaultKind::StaleLookups { ms: span } => {
                machine.stale.set(Some((now, now + ms(span))));
                machine.stale_unnoticed.set(true);
                self.share.server.borrow_mut().stale_until(now + ms(span));
                self.faulty_until(now + ms(span));
            }
            _ => self.apply_to_call(machine, what, injected),
        }
    }

    /// Faults that befall one call of a machine.
    fn apply_to_call(&self, machine: &Machine, what: FaultKind, injected: &mut Injected) {
        match what {
            // They fire where the answer is lost, if the call has one.
            FaultKind::ReplyLost { .. } | FaultKind::QueueReplyLost => {
                injected.reply_lost = true;
                return;
            }
            FaultKind::Hang { ms: span } | FaultKind::QueueSlow { ms: span } => {
                self.watch.fired_if(machine.is_holding(), what.name());
                let until = self.now() + ms(span);
                if what.is_of_queue() {
                    machine.conduct.hinder(until);
                }
                injected.slow = ms(span);
                self.faulty_until(until);
                return;
            }
            FaultKind::Error { .. } | FaultKind::QueueError => injected.fails = Some(Kind::Io),
            FaultKind::Stale { .. } => injected.fails = Some(Kind::Stale),
            FaultKind::CloseError => injected.close_error = true,
            FaultKind::Misread { missing } => injected.misread = Some(missing),
            FaultKind::Conflict => injected.conflict = true,
            FaultKind::Cut => injected.cut = true,
            FaultKind::SillyRename { ms: span } => injected.silly = Some(ms(span)),
            _ => return self.apply_to_servers(what, machine.is_holding()),
        }
        self.watch.fired(what.name());
    }

    /// Faults of what all machines share.
    fn apply_to_servers(&self, what: FaultKind, holding: bool) {
        let now = self.now();
        let fired = |counts: bool| self.watch.fired_if(counts, what.name());
        let window = |window: &super::window::Window, span: u64| {
            window.open(now + ms(span), what.name());
            self.faulty_until(now + ms(span));
        };
        match what {
            FaultKind::NoSpace { ms: span } => window(&self.share.no_space, span),
            FaultKind::Throttle { ms: span } => window(&self.share.throttled, span),
            FaultKind::ServerRestart { ms: span } => {
                let cut = self.share.server.borrow_mut().crash(&mut self.dice.borrow_mut());
                fired(holding || cut > 0);
                self.share.away_until.set(self.share.away_until.get().max(now + ms(span)));
                self.faulty_until(now + ms(span));
            }
            FaultKind::Tear => fired(self.tear()),
            FaultKind::QueueAway { ms: span } => window(&self.broker.away, span),
            FaultKind::QueueLastSecond => fired(self.broker.roll_back(self.now(), ms(1_000))),
            FaultKind::QueueRollback { ms: span } => fired(self.broker.roll_back(self.now(), ms(span))),
            FaultKind::QueueWiped => {
                let empty = worker::queue::memory::State::default();
                fired(self.broker.redis.snapshot() != empty);
                self.broker.restore(empty);
            }
            FaultKind::QueueClockBack { minutes } => {
                fired(holding);
                self.broker.set_clock_back(minutes * 60_000);
            }
            FaultKind::QueueMisconf { ms: span } => {
                self.broker
                    .refusal
                    .set("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to");
                window(&self.broker.refuses, span);
            }
            FaultKind::QueueReadOnly { ms: span } => {
                self.broker.roll_back(self.now(), ms(100));
                self.broker.refusal.set("READONLY You can't write against a read only replica.");
                window(&self.broker.refuses, span);
            }
            _ => {}
        }
        if what.loses_pushes() {
            self.watch.queue_lost_something();
        }
    }

    /// Cuts the tail off a committed result, though it was synced.
    fn tear(&self) -> bool {
        let mut server = self.share.server.borrow_mut();
        let mut dice = self.dice.borrow_mut();
        let mut commits = Vec::new();
        for stage in toy::PIPELINE.stages() {
            let mut folders = vec![format!("runs/{RUN}/{}", toy::PIPELINE.folder(stage))];
            while let Some(folder) = folders.pop() {
                for name in server.names(&folder) {
                    let among = if is_later(name) { &mut folders } else { &mut commits };
                    among.push(format!("{folder}/{name}"));
                }
            }
        }
        let report = format!("runs/{RUN}/report");
        // A record that the run was left cannot be recomputed, and neither can a page.
        let is_report =
            |bytes: &&[u8]| Record::decode(bytes.to_vec()).is_ok_and(|record| Report::of(&record).is_ok());
        commits.extend(server.bytes(&report).filter(is_report).map(|_| report.clone()));
        // Torn, it says as well that the run is void. Picked often: few runs have one.
        let violation = format!("runs/{RUN}/violation");
        if server.bytes(&violation).is_some() {
            commits.extend(std::iter::repeat_n(violation, commits.len().max(1)));
        }
        if commits.is_empty() {
            return false;
        }
        let path = dice.pick(&commits);
        let length = server.bytes(path).map_or(0, <[u8]>::len) as u64;
        if length == 0 {
            return false;
        }
        server.tear(path, dice.between(0, length - 1) as usize);
        self.watch.tore(path);
        true
    }

    /// The machine is gone: its ports are cut, and its poller drops it.
    pub fn kill(&self, machine: &Machine, back: Micros) {
        machine.alive.set(false);
        machine.back_at.set(Some(back));
        self.faulty_until(self.now() + back);
    }

    /// What a fault does once the call has taken effect.
    pub async fn after(&self, machine: &Machine, injected: &Injected) {
        if injected.killed_after {
            self.kill(machine, machine.back_at.get().unwrap_or_default());
            return pending().await;
        }
        // A machine that stands still gets its answer afterwards.
        let until = machine.still_until.get();
        if until > self.now() {
            self.clock.sleep_until(until).await;
        }
    }
}
