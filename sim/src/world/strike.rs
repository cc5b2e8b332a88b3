//! How faults strike: which calls each waits for, and what it does to them.

use std::future::pending;
use std::rc::Rc;

use worker::contract::is_later;
use worker::store::Kind;

use super::clock::{Micros, ms};
use super::fault::{On, What};
use super::machine::{Machine, grace};
use super::nfs::Call;
use super::queue::Ask;
use super::toy;

use super::{Event, RUN, World};

/// Where a call goes.
#[derive(Debug, Clone, Copy)]
pub enum Site<'a> {
    Volume(&'a Call),
    Queue(&'a Ask),
    Compute,
}

/// What is to happen to one call.
#[derive(Debug, Default)]
pub struct Strike {
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
    /// It takes so much longer.
    pub slow: Micros,
}

fn suits(what: &What, site: Site<'_>, preparing: bool) -> bool {
    use What::*;
    match (what, site) {
        (Kill { .. } | Notice { .. } | Pause { .. } | ClockJump { .. } | Twin | PowerLoss { .. }, _) => true,
        (Late { .. }, Site::Volume(call)) => {
            matches!(call, Call::Link(..) | Call::Rename(..) | Call::Create(_) | Call::Remove(_))
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
        (NoSpace { .. } | ServerRestart { .. } | Hang { .. } | Tear, Site::Volume(_)) => true,
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
        On::Look => matches!(call, Call::Read(_) | Call::ReadAt(..) | Call::Meta(_) | Call::List(_)),
        On::Create => matches!(call, Call::Create(_) | Call::MakeFolder(_)),
        On::Link => matches!(call, Call::Link(..)),
        On::Rename => matches!(call, Call::Rename(..)),
        On::Remove => matches!(call, Call::Remove(_) | Call::RemoveFolder(_)),
    }
}

impl World {
    /// Counts a call and lets those faults strike whose time has come.
    pub fn strike(self: &Rc<Self>, machine: &Rc<Machine>, site: Site<'_>) -> Strike {
        let number = self.calls.get();
        self.calls.set(number + 1);
        match site {
            Site::Volume(_) => self.volume_calls.set(self.volume_calls.get() + 1),
            Site::Queue(_) => self.queue_calls.set(self.queue_calls.get() + 1),
            Site::Compute => {}
        }
        self.push_what_is_due(number);
        let mut strike = Strike::default();
        loop {
            let preparing = machine.is_preparing();
            let mut faults = self.faults.borrow_mut();
            let due = faults
                .iter()
                .take_while(|fault| fault.at <= number)
                .position(|fault| suits(&fault.what, site, preparing));
            let Some(due) = due else { break };
            let fault = faults.remove(due);
            drop(faults);
            self.disturbed_until(self.now());
            self.watch.struck(self.now(), machine, number, &fault.what, site);
            self.apply(machine, site, fault.what, &mut strike);
            if strike.killed {
                break;
            }
        }
        strike
    }

    fn apply(self: &Rc<Self>, machine: &Rc<Machine>, site: Site<'_>, what: What, strike: &mut Strike) {
        let now = self.now();
        let fired = |counts: bool| {
            if counts {
                self.watch.fired(what.name());
            }
        };
        let holding = machine.is_holding();
        match what {
            What::Kill { after, back_ms } => {
                fired(holding);
                if after {
                    strike.killed_after = true;
                    machine.back_at.set(Some(ms(back_ms)));
                } else {
                    strike.killed = true;
                    self.kill(machine, ms(back_ms));
                }
            }
            What::Notice { back_ms } => {
                if machine.stopping.get().is_none() {
                    fired(holding);
                    machine.stopping.set(Some(now));
                    let event = Event::GraceOver { machine: machine.id, back: ms(back_ms) };
                    machine.back_at.set(Some(ms(back_ms)));
                    self.later(now, Event::Stop { machine: machine.id });
                    self.later(now + grace(self), event);
                }
            }
            What::Pause { ms: span } => {
                fired(holding);
                machine.still_until.set(now + ms(span));
                machine.paused.set(true);
                self.disturbed_until(now + ms(span));
            }
            What::Late { ms: span, back_ms } => {
                let event = match site {
                    Site::Volume(call) => Event::LateCall(machine.view(now), call.clone()),
                    Site::Queue(ask) => Event::LateAsk(machine.id, ask.clone()),
                    Site::Compute => return,
                };
                self.later(now + ms(span), event);
                strike.killed = true;
                self.kill(machine, ms(back_ms));
            }
            // The world sees to the others, and to what is lost.
            What::PowerLoss { back_ms } => {
                strike.killed = true;
                self.kill(machine, ms(back_ms));
                self.power_gone.set(Some(ms(back_ms)));
            }
            What::ClockJump { hours } => {
                fired(holding);
                machine.wall_jump_ms.set(i64::from(hours) * 3_600_000);
            }
            What::Twin => self.later(now, Event::Twin { place: machine.place }),
            What::ReplyLost { .. } | What::QueueReplyLost => strike.reply_lost = true,
            What::Error { .. } => {
                fired(true);
                strike.fails = Some(Kind::Io);
            }
            What::QueueError => {
                fired(true);
                strike.fails = Some(Kind::Io);
            }
            What::Stale { .. } => {
                fired(true);
                strike.fails = Some(Kind::Stale);
            }
            What::CloseError => {
                fired(true);
                strike.close_error = true;
            }
            What::StaleLookups { ms: span } => {
                machine.stale.set(Some((now, now + ms(span))));
                machine.stale_unnoticed.set(true);
                self.server.borrow_mut().stale_until(now + ms(span));
                self.disturbed_until(now + ms(span));
            }
            What::Misread { missing } => {
                fired(true);
                strike.misread = Some(missing);
            }
            What::SillyRename { ms: span } => {
                fired(true);
                strike.silly = Some(ms(span));
            }
            What::Hang { ms: span } | What::QueueSlow { ms: span } => {
                fired(holding);
                strike.slow = ms(span);
                self.disturbed_until(now + ms(span));
            }
            _ => self.disturb_servers(what, holding),
        }
    }

    /// Faults of what all machines share.
    fn disturb_servers(&self, what: What, holding: bool) {
        let now = self.now();
        let fired = |counts: bool| {
            if counts {
                self.watch.fired(what.name());
            }
        };
        let window = |window: &super::Window, span: u64| {
            window.open(now + ms(span), what.name());
            self.disturbed_until(now + ms(span));
        };
        match what {
            What::NoSpace { ms: span } => window(&self.no_space, span),
            What::ServerRestart { ms: span } => {
                let cut = self.server.borrow_mut().crash(&mut self.dice.borrow_mut());
                fired(holding || cut > 0);
                self.server_away.set(self.server_away.get().max(now + ms(span)));
                self.disturbed_until(now + ms(span));
            }
            What::Tear => fired(self.tear()),
            What::QueueAway { ms: span } => window(&self.queue_away, span),
            What::QueueLastSecond => fired(self.roll_back(ms(1_000))),
            What::QueueRollback { ms: span } => fired(self.roll_back(ms(span))),
            What::QueueWiped => {
                let empty = worker::queue::memory::State::default();
                fired(self.redis.snapshot() != empty);
                self.redis.restore(empty);
                self.ledger.borrow_mut().forget();
            }
            What::QueueClockBack { minutes } => {
                fired(holding);
                self.queue_set_back_ms.set(self.queue_set_back_ms.get() + minutes * 60_000);
                self.ledger.borrow_mut().forget();
            }
            What::QueueMisconf { ms: span } => {
                self.refusal
                    .set("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to");
                window(&self.queue_refuses, span);
            }
            What::QueueReadOnly { ms: span } => {
                self.roll_back(ms(100));
                self.refusal.set("READONLY You can't write against a read only replica.");
                window(&self.queue_refuses, span);
            }
            _ => {}
        }
        if what.loses_pushes() {
            self.watch.queue_lost_something();
        }
    }

    /// Cuts the tail off a committed result, though it was synced.
    fn tear(&self) -> bool {
        let mut server = self.server.borrow_mut();
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
        commits.extend(server.bytes(&report).map(|_| report.clone()));
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

    /// The machine is gone: its ports are cut, and whoever polls it drops it.
    pub fn kill(&self, machine: &Machine, back: Micros) {
        machine.alive.set(false);
        machine.back_at.set(Some(back));
        self.disturbed_until(self.now() + back);
    }

    /// What a strike does once the call has taken effect.
    pub async fn after(&self, machine: &Machine, strike: &Strike) {
        if strike.killed_after {
            self.kill(machine, machine.back_at.get().unwrap_or_default());
            return pending().await;
        }
        // Whoever stands still gets its answer afterwards.
        let until = machine.still_until.get();
        if until > self.now() {
            self.clock.sleep_until(until).await;
        }
    }
}
