//! The one loop that supervises a run's processes: it waits for what they tell, for what is due, and
//! for signals to the simulator itself, and never for anything else.

#![expect(clippy::disallowed_methods, reason = "an adapter: real machines are struck in real time")]

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until, timeout};
use worker::contract::Exit;
use worker::events::{Event, What};
use worker::failure::Failure;
use worker::queue::Release;

use super::Plan;
use super::machine::{self, Handle, Told};
use super::redis::Server;
use crate::backend::{Beat, Ended, Observer};
use crate::schedule::{Kind, Preemption, Schedule, Trigger};
use crate::signals::Signals;
use crate::story::{Came, Held, Incarnation, Story, Strike};
use crate::units::Span;
use crate::view;

/// Workers that end unasked, with a signal or as preempted, come back; so often, all together.
const CRASHES_MAX: u32 = 100;
const CRASH_AWAY: Span = Span::ms(200);
/// For killed processes to be reaped.
const REAP: Duration = Duration::from_secs(10);

#[derive(Debug)]
enum State {
    Up(usize, Handle),
    /// Struck, not yet gone. Events beyond the number were told after the strike.
    Leaving {
        life: usize,
        handle: Handle,
        strike: usize,
        told: usize,
    },
    Stopped(usize, Handle, usize),
    Away,
    Done,
}

#[derive(Debug)]
struct Machine {
    state: State,
    name: String,
    lives: u32,
}

#[derive(Debug, Clone, Copy)]
enum Due {
    Strike(Preemption, u32),
    GraceOver(usize),
    /// Of a stopped incarnation.
    Continue(usize),
    Return(u32),
    QueueBack(usize),
}

struct Supervisor<'a> {
    plan: &'a Plan,
    redis: Option<&'a mut Server>,
    watch: Observer<'a>,
    story: Story,
    machines: Vec<Machine>,
    /// Preemptions that progress sets off.
    waiting: Vec<Preemption>,
    due: BTreeMap<(Instant, usize), Due>,
    dues: usize,
    claims: u32,
    crashes: u32,
    last_disturbance: Instant,
    /// A worker has ended with 0: the batch is over, and no machine is replaced any more.
    over: bool,
    tell: UnboundedSender<(usize, Told)>,
}

/// See [`super::run`].
pub(super) async fn run(
    plan: &Plan,
    schedule: &Schedule,
    redis: Option<&mut Server>,
    signals: &mut Signals,
    watch: Observer<'_>,
) -> Result<(Story, Ended), Failure> {
    let (tell, told) = unbounded_channel();
    let machines = (0..plan.workers).map(|number| Machine {
        state: State::Away,
        name: format!("w{}", number + 1),
        lives: 0,
    });
    let mut supervisor = Supervisor {
        plan,
        redis,
        watch,
        story: Story {
            run: plan.run.clone(),
            machines: plan.workers,
            began_ms: wall_ms(),
            ..Story::default()
        },
        machines: machines.collect(),
        waiting: Vec::new(),
        due: BTreeMap::new(),
        dues: 0,
        claims: 0,
        crashes: 0,
        last_disturbance: Instant::now(),
        over: false,
        tell,
    };
    supervisor.expect(schedule);
    let ended = supervisor.supervise(told, signals).await?;
    supervisor.story.ended_ms = wall_ms();
    Ok((supervisor.story, ended))
}

#[expect(clippy::disallowed_methods, reason = "the observer's clock is the workers' own")]
pub(crate) fn wall_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Supervisor<'_> {
    /// Notes what a schedule holds: by time as due, the rest as waiting for progress.
    fn expect(&mut self, schedule: &Schedule) {
        let began = Instant::now();
        for preemption in &schedule.preemptions {
            match preemption.trigger {
                Trigger::At { ms, worker } => {
                    let due = Due::Strike(*preemption, worker % self.plan.workers);
                    self.at(began + Duration::from_millis(ms), due);
                }
                _ => self.waiting.push(*preemption),
            }
        }
    }

    fn at(&mut self, when: Instant, due: Due) {
        self.dues += 1;
        self.due.insert((when, self.dues), due);
    }

    fn after(&mut self, span: Span, due: Due) {
        self.at(Instant::now() + span.duration(), due);
    }

    async fn supervise(
        &mut self,
        mut told: UnboundedReceiver<(usize, Told)>,
        signals: &mut Signals,
    ) -> Result<Ended, Failure> {
        for machine in 0..self.plan.workers {
            self.start(machine)?;
        }
        let ended = loop {
            let limit = self.last_disturbance + self.plan.patience;
            let next = self.due.first_key_value().map_or(limit, |((when, _), _)| limit.min(*when));
            tokio::select! {
                biased;
                () = signals.recv() => break Ended::Interrupted,
                Some((life, what)) = told.recv() => {
                    if let Some(ended) = self.hear(life, what)? {
                        break ended;
                    }
                }
                () = sleep_until(next) => {
                    if Instant::now() >= limit {
                        break self.stuck();
                    }
                    self.do_due().await?;
                }
            }
            if self.is_complete() {
                break Ended::Complete;
            }
        };
        self.end_all(&mut told).await;
        Ok(ended)
    }

    fn stuck(&self) -> Ended {
        let seconds = self.plan.patience.as_secs();
        Ended::Failed {
            exit: Exit::Check.code(),
            reason: format!("the run did not end within {seconds} s of the last disturbance"),
        }
    }

    fn start(&mut self, number: u32) -> Result<(), Failure> {
        let life = self.story.incarnations.len();
        let machine = &mut self.machines[number as usize];
        machine.lives += 1;
        let args = self.plan.arguments(&machine.name);
        let handle = machine::start(&self.plan.exe, args, &self.plan.errors, life, self.tell.clone())?;
        self.story.incarnations.push(Incarnation {
            machine: number,
            name: machine.name.clone(),
            pid: handle.pid,
            started_ms: wall_ms(),
            ended_ms: None,
            exit: None,
            events: Vec::new(),
        });
        machine.state = State::Up(life, handle);
        (self.watch)(&self.story, Beat::Started(life));
        Ok(())
    }

    fn hear(&mut self, life: usize, told: Told) -> Result<Option<Ended>, Failure> {
        match told {
            Told::Event(event) => {
                self.story.incarnations[life].events.push((*event).clone());
                (self.watch)(&self.story, Beat::Said(life));
                self.trigger(life, &event);
                Ok(None)
            }
            Told::Ended(status) => Ok(self.ended(life, status)),
            Told::Lost(error) => {
                Err(Failure::new(Exit::Failed, format!("wait for worker process {life}"), error))
            }
        }
    }

    /// Strikes where an event is what a preemption waits for.
    fn trigger(&mut self, life: usize, event: &Event) {
        let number = self.story.incarnations[life].machine;
        if event.what.begins() {
            self.claims += 1;
        }
        let State::Up(current, _) = self.machines[number as usize].state else { return };
        if current != life || self.over {
            return;
        }
        let claims = self.claims;
        let hit = self.waiting.iter().position(|waiting| waiting.trigger.is_set_off(claims, &event.what));
        if let Some(at) = hit {
            let preemption = self.waiting.remove(at);
            self.strike(preemption, number);
        }
    }

    fn strike(&mut self, preemption: Preemption, number: u32) {
        self.last_disturbance = Instant::now();
        let strike = self.story.strikes.len();
        let came = if preemption.kind.is_queue() { Came::QueueStruck } else { Came::Pending };
        self.story.strikes.push(Strike {
            preemption,
            at_ms: wall_ms(),
            back_ms: None,
            machine: number,
            incarnation: None,
            came,
        });
        if preemption.kind.is_queue() {
            self.strike_queue(strike, preemption);
        } else {
            self.strike_machine(strike, preemption, number);
        }
        (self.watch)(&self.story, Beat::Struck(strike));
    }

    fn strike_queue(&mut self, strike: usize, preemption: Preemption) {
        if let Some(redis) = &mut self.redis {
            redis.kill();
            self.after(preemption.away, Due::QueueBack(strike));
        }
    }

    fn strike_machine(&mut self, strike: usize, preemption: Preemption, number: u32) {
        let machine = &mut self.machines[number as usize];
        let (life, handle) = match std::mem::replace(&mut machine.state, State::Away) {
            State::Up(life, handle) => (life, handle),
            other => {
                machine.state = other;
                self.story.strikes[strike].came = Came::Away;
                return;
            }
        };
        let told = self.story.incarnations[life].events.len();
        self.story.strikes[strike].incarnation = Some(life);
        let (signal, state) = match preemption.kind {
            Kind::Pause => (Signal::SIGSTOP, None),
            Kind::Terminate => (Signal::SIGTERM, Some(told)),
            _ => (Signal::SIGKILL, Some(told)),
        };
        handle.signal(signal);
        machine.state = match state {
            None => State::Stopped(life, handle, strike),
            Some(told) => State::Leaving { life, handle, strike, told },
        };
        match preemption.kind {
            Kind::Terminate => self.after(self.plan.grace, Due::GraceOver(life)),
            Kind::Pause => self.after(preemption.away, Due::Continue(life)),
            _ => {}
        }
    }

    fn ended(&mut self, life: usize, status: ExitStatus) -> Option<Ended> {
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap_or(0));
        let incarnation = &mut self.story.incarnations[life];
        (incarnation.ended_ms, incarnation.exit) = (Some(wall_ms()), Some(code));
        let number = incarnation.machine;
        (self.watch)(&self.story, Beat::Ended(life));
        let state = std::mem::replace(&mut self.machines[number as usize].state, State::Away);
        let strike = match state {
            State::Leaving { strike, told, .. } => {
                self.came(strike, self.judge(life, told));
                Some(strike)
            }
            State::Stopped(_, _, strike) => {
                self.came(strike, self.judge(life, 0));
                None
            }
            _ => None,
        };
        match (code, strike) {
            (code, _) if Exit::is_complete(code) => self.first_finished(number),
            (_, Some(strike)) => self.come_back(number, self.story.strikes[strike].preemption),
            (code, None) if code < 0 || code == i32::from(Exit::Preempted.code()) => {
                self.crashes += 1;
                if self.crashes > CRASHES_MAX {
                    return Some(self.failed(life, code));
                }
                self.last_disturbance = Instant::now();
                self.after(CRASH_AWAY, Due::Return(number));
            }
            (code, None) => return Some(self.failed(life, code)),
        }
        None
    }

    /// What a strike at an incarnation that has ended since came to.
    fn judge(&self, life: usize, told: usize) -> Came {
        let incarnation = &self.story.incarnations[life];
        if let Some(held) = incarnation.held() {
            return Came::Interrupted(held);
        }
        let after = &incarnation.events[told.min(incarnation.events.len())..];
        for event in after {
            match &event.what {
                What::GaveBack { item, token, why: Release::Preempted, .. } => {
                    return Came::Interrupted(Held {
                        item: *item,
                        token: *token,
                        attempt: incarnation.attempt_of(*item, *token),
                    });
                }
                What::Acked { .. } => return Came::FinishedInGrace,
                _ => {}
            }
        }
        Came::Idle
    }

    fn came(&mut self, strike: usize, came: Came) {
        self.story.strikes[strike].came = came;
        (self.watch)(&self.story, Beat::Came(strike));
    }

    fn first_finished(&mut self, number: u32) {
        self.machines[number as usize].state = State::Done;
        if self.over {
            return;
        }
        self.over = true;
        self.waiting.clear();
        self.due.retain(|_, due| !matches!(due, Due::Strike(..) | Due::Return(_)));
        let since = self.last_disturbance.elapsed();
        self.story.drained_ms = u64::try_from(since.as_millis()).ok();
        self.story.at_first_exit = Some(view::public_names(&self.plan.volume, &self.plan.run));
    }

    fn come_back(&mut self, number: u32, preemption: Preemption) {
        if self.over {
            return;
        }
        let machine = &mut self.machines[number as usize];
        if preemption.renamed {
            machine.name = format!("w{}-{}", number + 1, machine.lives + 1);
        }
        self.after(preemption.away, Due::Return(number));
    }

    /// Whether the batch is over, nobody lives any more, and the queue is there to be looked at.
    fn is_complete(&self) -> bool {
        let gone = |machine: &Machine| matches!(machine.state, State::Away | State::Done);
        let queue_is_away = self.due.values().any(|due| matches!(due, Due::QueueBack(_)));
        self.over && self.machines.iter().all(gone) && !queue_is_away
    }

    fn failed(&self, life: usize, code: i32) -> Ended {
        let incarnation = &self.story.incarnations[life];
        let reason = match incarnation.last_words() {
            Some((_, reason)) => reason.to_owned(),
            None => {
                let errors = std::fs::read_to_string(&self.plan.errors).unwrap_or_default();
                let last = errors.trim_end().lines().next_back().unwrap_or("it said nothing");
                format!("worker {} ended with {}: {last}", incarnation.name, in_words(code))
            }
        };
        Ended::Failed { exit: u8::try_from(code).unwrap_or(Exit::Failed.code()), reason }
    }

    async fn do_due(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        while let Some(first) = self.due.first_entry()
            && first.key().0 <= now
        {
            match first.remove() {
                Due::Strike(preemption, number) => self.strike(preemption, number),
                Due::Return(number) => {
                    self.start(number)?;
                    let strikes = &mut self.story.strikes;
                    let last = strikes.iter().rposition(|s| s.machine == number && s.incarnation.is_some());
                    self.back(last);
                }
                Due::GraceOver(of) => {
                    for machine in &self.machines {
                        if let State::Leaving { life, handle, .. } = &machine.state
                            && *life == of
                        {
                            handle.signal(Signal::SIGKILL);
                        }
                    }
                }
                Due::Continue(life) => self.go_on(life),
                Due::QueueBack(strike) => {
                    let wipe = self.story.strikes[strike].preemption.kind == Kind::QueueWipe;
                    if let Some(redis) = &mut self.redis {
                        redis.restart(wipe).await?;
                    }
                    self.back(Some(strike));
                }
            }
        }
        Ok(())
    }

    /// Wakes a stopped incarnation, unless it has been killed meanwhile.
    fn go_on(&mut self, of: usize) {
        let number = self.story.incarnations[of].machine;
        let machine = &mut self.machines[number as usize];
        match std::mem::replace(&mut machine.state, State::Away) {
            State::Stopped(life, handle, strike) if life == of => {
                // All that it said before it was stopped has long arrived.
                let came = match self.story.incarnations[life].held() {
                    Some(held) => Came::Interrupted(held),
                    None => Came::Idle,
                };
                handle.signal(Signal::SIGCONT);
                machine.state = State::Up(life, handle);
                self.came(strike, came);
                self.back(Some(strike));
            }
            other => machine.state = other,
        }
    }

    fn back(&mut self, strike: Option<usize>) {
        self.last_disturbance = Instant::now();
        if let Some(strike) = strike {
            self.story.strikes[strike].back_ms = Some(wall_ms());
            (self.watch)(&self.story, Beat::Back(strike));
        }
    }

    /// Kills whoever still lives, stopped or not, and waits for their end.
    async fn end_all(&mut self, told: &mut UnboundedReceiver<(usize, Told)>) {
        let mut alive = 0;
        for machine in &self.machines {
            if let State::Up(_, handle) | State::Leaving { handle, .. } | State::Stopped(_, handle, _) =
                &machine.state
            {
                handle.signal(Signal::SIGKILL);
                alive += 1;
            }
        }
        while alive > 0 {
            match timeout(REAP, told.recv()).await {
                Ok(Some((life, Told::Ended(_)))) => {
                    self.story.incarnations[life].ended_ms = Some(wall_ms());
                    alive -= 1;
                }
                Ok(Some((_, Told::Lost(_)))) => alive -= 1,
                Ok(Some((life, Told::Event(event)))) => self.story.incarnations[life].events.push(*event),
                Ok(None) | Err(_) => return,
            }
        }
    }
}

/// An exit status as a person reads it.
pub(crate) fn in_words(exit: i32) -> String {
    match Signal::try_from(-exit) {
        Ok(signal) => signal.to_string(),
        Err(_) => format!("exit code {exit}"),
    }
}
