//! Machines that are processes of this machine: what a fault is there, and how a machine comes back.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use nix::sys::signal::Signal;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{sleep, timeout};
use worker::contract::Exit;
use worker::failure::Failure;
use worker::store::location::Location;

use super::Plan;
use super::machine::{self, Handle, Life, Tell};
use super::redis::Server;
use crate::backend::supervisor::is_preemption;
use crate::backend::{Backend, News, Step};
use crate::schedule::{Kind, Preemption};
use crate::{bucket, view};

/// Before a worker that ended unasked is replaced.
const CRASH_AWAY: Duration = Duration::from_millis(200);
/// For killed processes to be reaped.
const REAP: Duration = Duration::from_secs(10);

/// A machine, which comes back as another process.
#[derive(Debug)]
struct Machine {
    name: String,
    lives: u32,
    running: Option<Handle>,
    /// Whether a fault under way takes the process, and brings another.
    taken: bool,
}

/// What is to be done once a time has passed.
enum Due<'a> {
    /// A machine comes back: after this fault, or after a crash.
    Return {
        machine: usize,
        fault: Option<usize>,
        renamed: bool,
    },
    Resumed {
        fault: usize,
    },
    Redis {
        fault: usize,
        server: &'a mut Server,
        restarted: Result<(), Failure>,
    },
}

pub(super) struct Machines<'a> {
    plan: &'a Plan,
    /// Absent where there is none, and while it is away.
    redis: Option<&'a mut Server>,
    machines: Vec<Machine>,
    /// The machine of each process.
    lives: Vec<usize>,
    tell: Tell,
    heard: UnboundedReceiver<Result<News, Failure>>,
    due: FuturesUnordered<LocalBoxFuture<'a, Due<'a>>>,
    /// Faults of which it is not reported yet that all is heard which came before.
    unheard: usize,
    over: bool,
    finished: bool,
}

impl<'a> Machines<'a> {
    pub fn new(plan: &'a Plan, redis: Option<&'a mut Server>) -> Self {
        let machine = |number| Machine { name: format!("w{number}"), lives: 0, running: None, taken: false };
        let (tell, heard) = unbounded_channel();
        Self {
            plan,
            redis,
            machines: (1..=plan.workers).map(machine).collect(),
            lives: Vec::new(),
            tell,
            heard,
            due: FuturesUnordered::new(),
            unheard: 0,
            over: false,
            finished: false,
        }
    }

    fn launch(&mut self, number: usize) -> Result<(), Failure> {
        let machine = &mut self.machines[number];
        let index = u32::try_from(number).unwrap_or(u32::MAX);
        let life = Life { number: self.lives.len(), machine: index, name: &machine.name };
        let args = self.plan.arguments(&machine.name);
        let handle = machine::start(&self.plan.exe, args, &self.plan.errors, &life, self.tell.clone())?;
        machine.lives += 1;
        machine.running = Some(handle);
        self.lives.push(number);
        Ok(())
    }

    /// All news go through one channel, so that they are heard in the order in which they came about.
    fn step(&self, fault: usize, step: Step) {
        // The other end is ours.
        let _ = self.tell.send(Ok(News::Fault(fault, step)));
    }

    /// Takes a process's end down, and lets another follow it where none of our faults does.
    fn note(&mut self, news: News) -> News {
        self.unheard -= usize::from(matches!(news, News::Fault(_, Step::Heard)));
        let News::Ended { life, exit: Some(exit), .. } = news else { return news };
        let number = self.lives[life];
        let machine = &mut self.machines[number];
        machine.running = None;
        if !machine.taken && is_preemption(exit) {
            self.due.push(Box::pin(async move {
                sleep(CRASH_AWAY).await;
                Due::Return { machine: number, fault: None, renamed: false }
            }));
        }
        let said = (!Exit::is_complete(exit)).then(|| self.last_line()).flatten();
        News::Ended { life, exit: Some(exit), said }
    }

    /// The last line that a worker wrote on its standard error.
    fn last_line(&self) -> Option<String> {
        let errors = std::fs::read(&self.plan.errors).ok()?;
        let errors = String::from_utf8_lossy(&errors);
        errors.trim_end().lines().next_back().map(str::to_owned)
    }

    fn follow_up(&mut self, due: Due<'a>) -> Result<(), Failure> {
        let fault = match due {
            Due::Return { machine, fault, renamed } => {
                self.machines[machine].taken = false;
                if self.over {
                    return Ok(());
                }
                if renamed {
                    let lives = self.machines[machine].lives;
                    self.machines[machine].name = format!("w{}-{}", machine + 1, lives + 1);
                }
                self.launch(machine)?;
                fault
            }
            Due::Resumed { fault } => Some(fault),
            Due::Redis { fault, server, restarted } => {
                self.redis = Some(server);
                restarted?;
                Some(fault)
            }
        };
        if let Some(fault) = fault {
            self.step(fault, Step::Back);
        }
        Ok(())
    }

    fn restart_redis(&mut self, fault: usize, preemption: Preemption) {
        let Some(server) = self.redis.take() else {
            self.step(fault, Step::Back);
            return;
        };
        server.kill();
        self.due.push(Box::pin(async move {
            sleep(preemption.away.duration()).await;
            let restarted = server.restart(preemption.kind == Kind::QueueWipe).await;
            Due::Redis { fault, server, restarted }
        }));
    }

    /// SIGSTOP past the lease, and SIGCONT.
    fn pause(&mut self, fault: usize, mut process: Handle, away: Duration) {
        self.unheard += 1;
        process.signal(Signal::SIGSTOP);
        let tell = self.tell.clone();
        self.due.push(Box::pin(async move {
            // Where something else has killed it, there is nothing to be resumed.
            let _ = timeout(away, process.ended()).await;
            let _ = tell.send(Ok(News::Fault(fault, Step::Heard)));
            process.signal(Signal::SIGCONT);
            Due::Resumed { fault }
        }));
    }

    /// SIGKILL, after SIGTERM and a grace where there is notice; later the machine is back with another process.
    fn take(&mut self, fault: usize, machine: usize, mut process: Handle, preemption: Preemption) {
        self.unheard += 1;
        self.machines[machine].taken = true;
        let notice = preemption.kind == Kind::Terminate;
        process.signal(if notice { Signal::SIGTERM } else { Signal::SIGKILL });
        let (tell, grace) = (self.tell.clone(), self.plan.grace.duration());
        self.due.push(Box::pin(async move {
            if notice && timeout(grace, process.ended()).await.is_err() {
                process.signal(Signal::SIGKILL);
            }
            process.ended().await;
            let _ = tell.send(Ok(News::Fault(fault, Step::Heard)));
            sleep(preemption.away.duration()).await;
            Due::Return { machine, fault: Some(fault), renamed: preemption.renamed }
        }));
    }
}

impl Backend for Machines<'_> {
    async fn start(&mut self) -> Result<(), Failure> {
        (0..self.machines.len()).try_for_each(|machine| self.launch(machine))
    }

    fn inject(&mut self, fault: usize, preemption: Preemption, machine: u32) {
        let number = machine as usize;
        let process = self.machines.get(number).and_then(|machine| machine.running.clone());
        match (preemption.kind, process) {
            (kind, _) if kind.is_queue() => self.restart_redis(fault, preemption),
            (Kind::Pause, Some(process)) => self.pause(fault, process, preemption.away.duration()),
            (Kind::Terminate | Kind::Kill, Some(process)) => self.take(fault, number, process, preemption),
            // No worker is there any more, or it is a fault that processes do not have.
            _ => self.step(fault, Step::Back),
        }
    }

    async fn news(&mut self) -> Result<News, Failure> {
        loop {
            let gone = |machine: &Machine| machine.running.is_none();
            if self.over && !self.finished && self.unheard == 0 && self.machines.iter().all(gone) {
                self.finished = true;
                return Ok(News::Finished(Ok(())));
            }
            tokio::select! {
                biased;
                // What was said comes before what follows from it.
                Some(news) = self.heard.recv() => return Ok(self.note(news?)),
                Some(due) = self.due.next(), if !self.due.is_empty() => self.follow_up(due)?,
            }
        }
    }

    fn over(&mut self) {
        self.over = true;
    }

    async fn public_names(&mut self) -> Result<Vec<String>, Failure> {
        match &self.plan.location {
            Location::Folder(folder) => Ok(view::public_names(folder, &self.plan.run)),
            location => bucket::public_names(&bucket::open(location).await?, &self.plan.run).await,
        }
    }

    async fn end(&mut self) -> Vec<News> {
        for process in self.machines.iter().filter_map(|machine| machine.running.as_ref()) {
            process.signal(Signal::SIGKILL);
        }
        let mut last = Vec::new();
        while self.machines.iter().any(|machine| machine.running.is_some()) {
            match timeout(REAP, self.heard.recv()).await {
                Ok(Some(Ok(news))) => last.push(self.note(news)),
                // Lost by its task: it can be neither waited for nor harmed.
                Ok(Some(Err(_)) | None) | Err(_) => break,
            }
        }
        last
    }
}
