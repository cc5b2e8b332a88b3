//! What a supervisor decides, pure: of a schedule, of what has been heard so far, and of the time.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use worker::contract::Exit;
use worker::events::Event;

use super::judge::judge_one;
use crate::backend::{Ended, News, Step, Update};
use crate::schedule::{Kind, Preemption, Schedule, Trigger};
use crate::story::{Effect, Incarnation, InjectedFault, Story};

/// The exit that stands for a worker whose end nobody saw: killed with its machine.
const UNSEEN: i32 = -9;
/// How a container runtime reports such an end: killed after the grace, or found gone.
const KILLED: [i32; 2] = [137, 255];

/// The time, by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Now {
    /// Since the supervisor began.
    pub elapsed: Duration,
    pub wall_ms: u64,
}

/// What holds for one run on one backend.
#[derive(Debug, Clone)]
pub struct Policy {
    pub run: String,
    pub machines: u32,
    /// From the last fault, the run must end within this.
    pub patience: Duration,
    /// Workers may fail, otherwise than by preemption, this many times before the run is given up.
    pub failures_max: u32,
    /// Workers may be killed this many times, though no fault was injected. Each counts like a fault. `None`
    /// where the backend counts them itself.
    pub crashes_max: Option<u32>,
    /// Whether a machine is its worker: with no worker on it, no fault can be injected there.
    pub machine_is_worker: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    Show(Update),
    Inject {
        fault: usize,
        preemption: Preemption,
        machine: u32,
    },
    /// The first worker has finished.
    Over,
}

/// A fault under way, and its places in the story: one for each worker that it found.
#[derive(Debug)]
struct UnderWay {
    places: Vec<usize>,
    /// The machine into which no other fault can be injected until it is back.
    machine: Option<u32>,
    felt: bool,
    /// Whether the machine ends by it, with every worker on it.
    takes_all: bool,
}

#[derive(Debug)]
pub(super) struct Supervision {
    policy: Policy,
    story: Story,
    /// Preemptions by time, until the first worker has started.
    timed: Vec<Preemption>,
    /// Preemptions that progress sets off.
    waiting: Vec<Preemption>,
    due: BTreeMap<(Duration, usize), (Preemption, u32)>,
    under_way: BTreeMap<usize, UnderWay>,
    injected: usize,
    claims: u32,
    failures: u32,
    crashes: u32,
    last_fault: Duration,
    /// A worker has finished: no fault is injected any more.
    over: bool,
    finished: Option<Ended>,
    failed: Option<Ended>,
    actions: Vec<Action>,
}

impl Supervision {
    pub fn new(policy: Policy, schedule: &Schedule, now: Now) -> Self {
        let by_time = |preemption: &Preemption| matches!(preemption.trigger, Trigger::At { .. });
        let (timed, waiting) = schedule.preemptions.iter().partition(|preemption| by_time(preemption));
        Self {
            story: Story {
                run: policy.run.clone(),
                machines: policy.machines,
                began_ms: now.wall_ms,
                ..Story::default()
            },
            policy,
            timed,
            waiting,
            due: BTreeMap::new(),
            under_way: BTreeMap::new(),
            injected: 0,
            claims: 0,
            failures: 0,
            crashes: 0,
            last_fault: now.elapsed,
            over: false,
            finished: None,
            failed: None,
            actions: Vec::new(),
        }
    }

    pub fn story(&self) -> &Story {
        &self.story
    }

    /// When the time alone next changes something.
    pub fn wakes_at(&self) -> Duration {
        let limit = self.limit();
        self.due.first_key_value().map_or(limit, |((when, _), _)| limit.min(*when))
    }

    /// When the run should have ended.
    fn limit(&self) -> Duration {
        self.last_fault.saturating_add(self.policy.patience)
    }

    /// How the run has ended, if it has. What all machines use is back before anybody looks at the results.
    pub fn ended(&self, now: Now) -> Option<Ended> {
        let a_server_is_away = self.under_way.values().any(|fault| fault.machine.is_none());
        let finished = self.finished.as_ref().filter(|_| !a_server_is_away);
        self.failed.as_ref().or(finished).cloned().or_else(|| {
            (now.elapsed >= self.limit()).then(|| Ended::Failed {
                exit: Exit::Check.code(),
                reason: format!(
                    "the run did not end within {} s of the last fault",
                    self.policy.patience.as_secs()
                ),
            })
        })
    }

    /// Injects what is due.
    pub fn wake(&mut self, now: Now) -> Vec<Action> {
        while let Some(first) = self.due.first_entry()
            && first.key().0 <= now.elapsed
        {
            let (preemption, machine) = first.remove();
            self.inject(now, preemption, machine);
        }
        std::mem::take(&mut self.actions)
    }

    /// What follows from what has been heard.
    pub fn hear(&mut self, now: Now, news: News) -> Vec<Action> {
        match news {
            News::Started { machine, name, pid } => self.started(now, machine, name, pid),
            News::Event(life, event) => self.said(now, life, *event),
            News::Ended { life, exit, said } => self.worker_ended(now, life, exit, said.as_deref()),
            News::Fault(fault, step) => self.step(now, fault, step),
            News::Machine(machine, words) => self.show(Update::Machine(machine, words)),
            News::Finished(Ok(())) => self.complete(now),
            News::Finished(Err(why)) => self.given_up(now, &why),
        }
        std::mem::take(&mut self.actions)
    }

    pub fn saw_at_first_exit(&mut self, names: Vec<String>) {
        self.story.at_first_exit = Some(names);
    }

    /// The whole story, with what was heard at the very end.
    pub fn conclude(mut self, now: Now, last: Vec<News>) -> Story {
        for news in last {
            match news {
                News::Event(life, event) => {
                    if let Some(incarnation) = self.story.incarnations.get_mut(life) {
                        incarnation.events.push(*event);
                    }
                }
                News::Ended { life, .. } => {
                    if let Some(incarnation) = self.story.incarnations.get_mut(life) {
                        incarnation.ended_ms.get_or_insert(now.wall_ms);
                    }
                }
                _ => {}
            }
        }
        self.story.ended_ms = now.wall_ms;
        self.story
    }

    fn show(&mut self, update: Update) {
        self.actions.push(Action::Show(update));
    }

    fn started(&mut self, now: Now, machine: u32, name: String, pid: u32) {
        let life = self.story.incarnations.len();
        if life == 0 {
            self.begin(now);
        }
        self.story.incarnations.push(Incarnation {
            machine,
            name,
            pid,
            started_ms: now.wall_ms,
            ended_ms: None,
            exit: None,
            events: Vec::new(),
        });
        self.show(Update::Started(life));
    }

    /// Times count from the first worker's start.
    fn begin(&mut self, now: Now) {
        for (number, preemption) in std::mem::take(&mut self.timed).into_iter().enumerate() {
            if let Trigger::At { ms, worker } = preemption.trigger {
                let when = now.elapsed.saturating_add(Duration::from_millis(ms));
                self.due.insert((when, number), (preemption, worker % self.policy.machines.max(1)));
            }
        }
    }

    fn said(&mut self, now: Now, life: usize, event: Event) {
        let Some(incarnation) = self.story.incarnations.get_mut(life) else { return };
        self.claims += u32::from(event.what.begins());
        let (machine, alive) = (incarnation.machine, incarnation.ended_ms.is_none());
        let claims = self.claims;
        let set_off = |preemption: &Preemption| preemption.trigger.is_set_off(claims, &event.what);
        let first = self.waiting.iter().position(set_off);
        incarnation.events.push(event);
        self.show(Update::Said(life));
        // A machine with a fault under way waits for no other: the next one that gets so far is meant.
        let ready = alive && !self.over && !self.is_under_fault(machine);
        if let Some(place) = first.filter(|_| ready) {
            let preemption = self.waiting.remove(place);
            self.inject(now, preemption, machine);
        }
    }

    fn is_under_fault(&self, machine: u32) -> bool {
        self.under_way.values().any(|fault| fault.machine == Some(machine))
    }

    /// Workers on a machine that have not ended, by what is known of them.
    fn alive_on(&self, machine: u32) -> Vec<usize> {
        let lives = self.story.incarnations.iter().enumerate();
        let alive = lives.filter(|(_, one)| one.machine == machine && one.ended_ms.is_none());
        alive.map(|(life, _)| life).collect()
    }

    fn inject(&mut self, now: Now, preemption: Preemption, machine: u32) {
        self.last_fault = now.elapsed;
        let service = preemption.kind.is_service();
        let busy = match service {
            true => self.under_way.values().any(|fault| fault.machine.is_none()),
            false => self.is_under_fault(machine),
        };
        let alive = if service || busy { Vec::new() } else { self.alive_on(machine) };
        let skipped = busy || !service && alive.is_empty() && self.policy.machine_is_worker;
        let effect = match preemption.kind {
            _ if skipped => Effect::Away,
            Kind::VolumeRestart => Effect::Volume,
            kind if kind.is_queue() => Effect::Queue,
            _ if alive.is_empty() => Effect::Idle,
            _ => Effect::Pending,
        };
        let fault = InjectedFault {
            preemption,
            at_ms: now.wall_ms,
            back_ms: None,
            machine,
            incarnation: None,
            effect,
        };
        let first = self.story.faults.len();
        match alive.is_empty() {
            true => self.story.faults.push(fault),
            false => self
                .story
                .faults
                .extend(alive.iter().map(|life| InjectedFault { incarnation: Some(*life), ..fault.clone() })),
        }
        let places: Vec<usize> = (first..self.story.faults.len()).collect();
        for place in &places {
            self.show(Update::Injected(*place));
        }
        if skipped {
            return;
        }
        let number = self.injected;
        self.injected += 1;
        let takes_all = matches!(preemption.kind, Kind::Terminate | Kind::Kill);
        let under_way = UnderWay { places, machine: (!service).then_some(machine), felt: false, takes_all };
        self.under_way.insert(number, under_way);
        self.actions.push(Action::Inject { fault: number, preemption, machine });
    }

    fn step(&mut self, now: Now, number: usize, step: Step) {
        self.last_fault = now.elapsed;
        match step {
            Step::Felt => self.felt(now, number),
            Step::Gone => {
                self.felt(now, number);
                self.gone(now, number);
            }
            Step::Heard => {
                for place in self.places(number) {
                    judge_one(&mut self.story, place, now.wall_ms);
                    self.show(Update::Judged(place));
                }
            }
            Step::Back => {
                for place in self.places(number) {
                    self.story.faults[place].back_ms = Some(now.wall_ms);
                    self.show(Update::Back(place));
                }
                self.under_way.remove(&number);
            }
        }
    }

    fn places(&self, number: usize) -> Vec<usize> {
        self.under_way.get(&number).map(|fault| fault.places.clone()).unwrap_or_default()
    }

    fn felt(&mut self, now: Now, number: usize) {
        let Some(fault) = self.under_way.get_mut(&number).filter(|fault| !fault.felt) else { return };
        fault.felt = true;
        for place in &fault.places {
            self.story.faults[*place].at_ms = now.wall_ms;
        }
    }

    /// A machine is no more, and with it every worker on it, though its cluster may show them as running for long.
    fn gone(&mut self, now: Now, number: usize) {
        let Some((machine, first)) = self
            .under_way
            .get(&number)
            .filter(|fault| fault.takes_all)
            .and_then(|fault| Some((fault.machine?, *fault.places.first()?)))
        else {
            return;
        };
        for life in self.alive_on(machine) {
            let places = self.places(number);
            // One may have come after the fault was decided.
            if !places.iter().any(|place| self.story.faults[*place].incarnation == Some(life)) {
                let fault = self.story.faults[first].clone();
                let late = InjectedFault { incarnation: Some(life), effect: Effect::Pending, ..fault };
                if let Some(under_way) = self.under_way.get_mut(&number) {
                    under_way.places.push(self.story.faults.len());
                }
                self.story.faults.push(late);
            }
            let incarnation = &mut self.story.incarnations[life];
            (incarnation.ended_ms, incarnation.exit) = (Some(now.wall_ms), Some(UNSEEN));
            self.show(Update::Ended(life));
        }
    }

    fn worker_ended(&mut self, now: Now, life: usize, exit: Option<i32>, said: Option<&str>) {
        let Some(incarnation) = self.story.incarnations.get_mut(life) else { return };
        if incarnation.ended_ms.is_some() {
            // It was known to be gone; now also how.
            incarnation.exit = exit.or(incarnation.exit);
            return;
        }
        let exit = exit.unwrap_or(UNSEEN);
        let preempted = is_preemption(exit);
        // The end of a run stops the workers that are left: that is no end to be shown.
        let shown = !(self.over && preempted);
        (incarnation.ended_ms, incarnation.exit) = (Some(now.wall_ms), shown.then_some(exit));
        self.show(Update::Ended(life));
        if Exit::is_complete(exit) {
            self.first_finished(now);
        } else if self.is_taken(life) {
            // By a fault of ours: however it ended, its machine comes back.
        } else if preempted {
            self.crashed(now, life, exit, said);
        } else {
            self.failures += 1;
            if self.failures > self.policy.failures_max {
                self.fail(life, exit, said);
            }
        }
    }

    /// Whether a fault under way takes the machine of this worker.
    fn is_taken(&self, life: usize) -> bool {
        let of = |place: &usize| self.story.faults[*place].incarnation == Some(life);
        self.under_way.values().any(|fault| fault.takes_all && fault.places.iter().any(of))
    }

    fn crashed(&mut self, now: Now, life: usize, exit: i32, said: Option<&str>) {
        let Some(max) = self.policy.crashes_max else { return };
        self.crashes += 1;
        self.last_fault = now.elapsed;
        if self.crashes > max {
            self.fail(life, exit, said);
        }
    }

    fn fail(&mut self, life: usize, exit: i32, said: Option<&str>) {
        let incarnation = &self.story.incarnations[life];
        let last = match incarnation.last_words() {
            Some((_, reason)) => reason.to_owned(),
            None => {
                let said = said.unwrap_or("it said nothing");
                format!("worker {} ended with {}: {said}", incarnation.name, in_words(exit))
            }
        };
        let reason = match self.failures {
            0 | 1 => last,
            many => format!("{many} workers failed, the last one: {last}"),
        };
        let exit = u8::try_from(exit).unwrap_or(Exit::Failed.code());
        self.failed = Some(Ended::Failed { exit, reason });
    }

    fn complete(&mut self, now: Now) {
        self.finished = Some(Ended::Complete);
        // The last worker's own end may be reported after the run's.
        self.first_finished(now);
    }

    fn given_up(&mut self, now: Now, why: &str) {
        let mut exits = self.story.incarnations.iter().rev().filter_map(|incarnation| incarnation.exit);
        let hopeless = exits.find(|exit| *exit > 0 && !is_preemption(*exit));
        if hopeless.is_some_and(Exit::is_complete) {
            // A run that trained on nothing is complete, and none that a Job may call a success.
            return self.complete(now);
        }
        let exit = hopeless.and_then(|exit| u8::try_from(exit).ok()).unwrap_or(Exit::Failed.code());
        let said = self.story.incarnations.iter().rev().find_map(|incarnation| {
            let (code, reason) = incarnation.last_words()?;
            let failed = code != Exit::Finished.code() && code != Exit::Preempted.code();
            failed.then(|| format!("\n{}: {reason}", incarnation.name))
        });
        let reason = format!("{why}{}", said.unwrap_or_default());
        self.finished = Some(Ended::Failed { exit, reason });
    }

    fn first_finished(&mut self, now: Now) {
        if self.over {
            return;
        }
        self.over = true;
        self.timed.clear();
        self.waiting.clear();
        self.due.clear();
        let since = now.elapsed.saturating_sub(self.last_fault);
        self.story.drained_ms = u64::try_from(since.as_millis()).ok();
        self.actions.push(Action::Over);
    }
}

/// Whether a worker that ended so was preempted or killed, and another goes on in its place.
pub fn is_preemption(exit: i32) -> bool {
    exit < 0 || KILLED.contains(&exit) || exit == i32::from(Exit::Preempted.code())
}

/// An exit status as a person reads it.
pub fn in_words(exit: i32) -> String {
    match Signal::try_from(-exit) {
        Ok(signal) => signal.to_string(),
        Err(_) => format!("exit code {exit}"),
    }
}
