//! The one loop that supervises a run in a cluster: it waits for what the cluster's watches tell, for
//! what workers write on the volume, for blows that fall, and for what is due.

#![expect(clippy::disallowed_methods, reason = "an adapter: real machines are struck in real time")]

use std::collections::BTreeMap;
use std::time::Duration;

use cloud::error::{Error, Result};
use cloud::gke::NOTICE;
use cloud::k8s::cluster::Cluster as _;
use cloud::k8s::objects::WORKLOAD;
use cloud::k8s::watch::{self, JobState, NodeState, PodState};
use cloud::kind::{Cut, Fault, Nodes, Step};
use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};
use worker::contract::Exit;
use worker::events::Event;

use super::judge::judge;
use super::{Stand, feed};
use crate::backend::process::{Plan, in_words, wall_ms};
use crate::backend::{Beat, Ended, Observer};
use crate::schedule::{Kind, Preemption, Schedule, Trigger};
use crate::story::{Came, Incarnation, Story, Strike};

/// Pods that end unasked and neither finished nor preempted: beyond so many, somebody must look.
const FAILURES_MAX: u32 = 20;
/// The exit that stands for a pod whose end nobody saw: killed with its machine.
const UNSEEN: i32 = -9;
/// How Kubernetes tells of such an end: killed after the grace, or found gone.
const TAKEN: [i32; 2] = [137, 255];

/// A blow that falls, and the strikes in the story that it means.
struct Falling {
    strikes: Vec<usize>,
    /// The machine that cannot be struck again meanwhile.
    machine: Option<u32>,
    felt: bool,
    /// Whether the machine ends by it, with all that runs there.
    takes_all: bool,
}

struct Supervisor<'a> {
    plan: &'a Plan,
    stand: &'a Stand,
    nodes: Nodes,
    watch: Observer<'a>,
    story: Story,
    /// Incarnations by the name of their pod.
    lives: BTreeMap<String, usize>,
    /// Events that came before the news of their pod.
    early: BTreeMap<String, Vec<Event>>,
    waiting: Vec<Preemption>,
    due: BTreeMap<(Instant, usize), (Preemption, u32)>,
    falling: BTreeMap<usize, Falling>,
    blows: FuturesUnordered<LocalBoxFuture<'a, (usize, Result<()>)>>,
    steps: UnboundedSender<(usize, Step)>,
    blow_count: usize,
    claims: u32,
    failures: u32,
    last_disturbance: Instant,
    began: bool,
    over: bool,
    ended_as: Option<Ended>,
}

/// Starts the Job and supervises it until it is over.
pub(super) async fn run(
    stand: &Stand,
    plan: &Plan,
    schedule: &Schedule,
    watch: Observer<'_>,
) -> Result<(Story, Ended)> {
    let (steps, told_steps) = unbounded_channel();
    let mut supervisor = Supervisor {
        plan,
        stand,
        nodes: stand.cluster.nodes().await?,
        watch,
        story: Story {
            run: plan.run.clone(),
            machines: plan.workers,
            began_ms: wall_ms(),
            ..Story::default()
        },
        lives: BTreeMap::new(),
        early: BTreeMap::new(),
        waiting: Vec::new(),
        due: BTreeMap::new(),
        falling: BTreeMap::new(),
        blows: FuturesUnordered::new(),
        steps,
        blow_count: 0,
        claims: 0,
        failures: 0,
        last_disturbance: Instant::now(),
        began: false,
        over: false,
        ended_as: None,
    };
    let ended = supervisor.supervise(schedule, told_steps).await?;
    supervisor.story.ended_ms = wall_ms();
    Ok((supervisor.story, ended))
}

impl Supervisor<'_> {
    async fn supervise(
        &mut self,
        schedule: &Schedule,
        mut steps: UnboundedReceiver<(usize, Step)>,
    ) -> Result<Ended> {
        self.stand.port.start(&self.stand.batch).await?;
        let mut cluster = self.stand.port.watch(&self.stand.batch.deployment);
        let (tell, mut events) = unbounded_channel();
        let mut feed = std::pin::pin!(feed::feed(self.stand.staging_pod(), self.plan.run.clone(), tell));
        loop {
            let limit = self.last_disturbance + self.plan.patience;
            let next = self.due.first_key_value().map_or(limit, |((when, _), _)| limit.min(*when));
            tokio::select! {
                biased;
                Some((blow, step)) = steps.recv() => self.stepped(blow, step),
                Some((blow, result)) = self.blows.next(), if !self.blows.is_empty() => self.fell(blow, result)?,
                Some(event) = events.recv() => self.hear(event),
                Some(change) = cluster.next() => match change {
                    Ok(watch::Event::Pod(pod)) if pod.part == WORKLOAD => self.pod(&pod, schedule).await?,
                    Ok(watch::Event::PodGone(name)) => self.ended(&name, None).await?,
                    Ok(watch::Event::Job(job)) => self.job(&job).await?,
                    Ok(watch::Event::Node(node)) => self.node(&node.name, words_of(&node)),
                    Ok(watch::Event::NodeGone(name)) => self.node(&name, "the node is gone"),
                    Ok(_) => {}
                    // The stream makes its connection anew.
                    Err(error) => tracing::debug!(%error, "watch"),
                },
                () = &mut feed => {}
                () = sleep_until(next) => {
                    if Instant::now() >= limit {
                        return Ok(self.stuck());
                    }
                    self.do_due();
                }
            }
            if self.failures > FAILURES_MAX {
                return Ok(self.failing());
            }
            // What all machines use is there again before anybody looks at the results.
            let service = |falling: &Falling| falling.machine.is_none();
            if let Some(ended) = self.ended_as.take_if(|_| !self.falling.values().any(service)) {
                return Ok(ended);
            }
        }
    }

    /// Notes what a schedule holds, once the first worker runs.
    fn expect(&mut self, schedule: &Schedule) {
        let began = Instant::now();
        for (number, preemption) in schedule.preemptions.iter().enumerate() {
            match preemption.trigger {
                Trigger::At { ms, worker } => {
                    let when = began + Duration::from_millis(ms);
                    self.due.insert((when, number), (*preemption, worker % self.plan.workers));
                }
                _ => self.waiting.push(*preemption),
            }
        }
    }

    async fn pod(&mut self, pod: &PodState, schedule: &Schedule) -> Result<()> {
        let Some(machine) = pod.node.as_ref().and_then(|node| self.machine(node)) else { return Ok(()) };
        if pod.phase != "Pending" && !self.lives.contains_key(&pod.name) {
            if !self.began {
                self.began = true;
                self.expect(schedule);
            }
            self.begin(&pod.name, machine);
        }
        match pod.phase.as_str() {
            "Succeeded" => self.ended(&pod.name, Some(0)).await,
            "Failed" => self.ended(&pod.name, pod.exit_code).await,
            _ => Ok(()),
        }
    }

    fn machine(&self, node: &str) -> Option<u32> {
        let place = self.stand.cluster.node_names().iter().position(|name| name == node)?;
        u32::try_from(place).ok()
    }

    fn node(&mut self, name: &str, words: &'static str) {
        if let Some(machine) = self.machine(name) {
            (self.watch)(&self.story, Beat::Machine(machine, words));
        }
    }

    fn begin(&mut self, pod: &str, machine: u32) {
        let life = self.story.incarnations.len();
        self.lives.insert(pod.to_owned(), life);
        self.story.incarnations.push(Incarnation {
            machine,
            name: pod.to_owned(),
            pid: 1,
            started_ms: wall_ms(),
            ended_ms: None,
            exit: None,
            events: Vec::new(),
        });
        (self.watch)(&self.story, Beat::Started(life));
        for event in self.early.remove(pod).unwrap_or_default() {
            self.hear(event);
        }
    }

    async fn ended(&mut self, pod: &str, exit: Option<i32>) -> Result<()> {
        let Some(life) = self.lives.get(pod).copied() else { return Ok(()) };
        let incarnation = &mut self.story.incarnations[life];
        if incarnation.ended_ms.is_some() {
            // It was known to be gone; now also how.
            incarnation.exit = exit.or(incarnation.exit);
            return Ok(());
        }
        let exit = exit.unwrap_or(UNSEEN);
        // Once a worker has finished the run, the Job itself stops the others: that is no end to be told.
        let told = !self.over || Exit::is_complete(exit);
        (incarnation.ended_ms, incarnation.exit) = (Some(wall_ms()), told.then_some(exit));
        (self.watch)(&self.story, Beat::Ended(life));
        if Exit::is_complete(exit) {
            return self.first_finished().await;
        }
        let taken = exit < 0 || TAKEN.contains(&exit) || exit == i32::from(Exit::Preempted.code());
        self.failures += u32::from(!taken && !self.over);
        Ok(())
    }

    async fn first_finished(&mut self) -> Result<()> {
        if self.over {
            return Ok(());
        }
        self.over = true;
        self.waiting.clear();
        self.due.clear();
        let since = self.last_disturbance.elapsed();
        self.story.drained_ms = u64::try_from(since.as_millis()).ok();
        self.story.at_first_exit = Some(self.stand.public_names(&self.plan.run).await?);
        Ok(())
    }

    async fn job(&mut self, job: &JobState) -> Result<()> {
        let Some((complete, why)) = &job.finished else { return Ok(()) };
        if *complete {
            self.ended_as = Some(Ended::Complete);
            // A pod's own end may be told after its Job's.
            return self.first_finished().await;
        }
        let mut codes = self.story.incarnations.iter().rev().filter_map(|incarnation| incarnation.exit);
        let hopeless = codes.find(|code| *code > 0 && *code != i32::from(Exit::Preempted.code()));
        if hopeless.is_some_and(Exit::is_complete) {
            // A run that trained on nothing is complete, and none that a Job may call a success.
            self.ended_as = Some(Ended::Complete);
            return self.first_finished().await;
        }
        let exit = hopeless.and_then(|code| u8::try_from(code).ok()).unwrap_or(Exit::Failed.code());
        let reason = format!("the Job failed: {why}{}", self.last_words());
        self.ended_as = Some(Ended::Failed { exit, reason });
        Ok(())
    }

    fn last_words(&self) -> String {
        let said = self.story.incarnations.iter().rev().find_map(|incarnation| {
            let (code, reason) = incarnation.last_words()?;
            let told = code != 0 && code != Exit::Preempted.code();
            told.then(|| format!("\n{}: {reason}", incarnation.name))
        });
        said.unwrap_or_default()
    }

    fn stuck(&self) -> Ended {
        let seconds = self.plan.patience.as_secs();
        let reason = format!("the run did not end within {seconds} s of the last disturbance");
        Ended::Failed { exit: Exit::Check.code(), reason }
    }

    fn failing(&self) -> Ended {
        let last = self.story.incarnations.iter().rev().find(|one| one.exit.is_some_and(|exit| exit > 0));
        let (exit, name) = last.map_or((1, "a pod"), |one| (one.exit.unwrap_or(1), one.name.as_str()));
        let reason =
            format!("{} pods failed, {name} with {}{}", self.failures, in_words(exit), self.last_words());
        Ended::Failed { exit: u8::try_from(exit).unwrap_or(Exit::Failed.code()), reason }
    }

    fn hear(&mut self, event: Event) {
        let Some(life) = self.lives.get(&event.worker).copied() else {
            self.early.entry(event.worker.clone()).or_default().push(event);
            return;
        };
        let events = &mut self.story.incarnations[life].events;
        // After a connection that broke everything is told once more.
        if events.last().is_some_and(|last| last.seq >= event.seq) {
            return;
        }
        events.push(event.clone());
        (self.watch)(&self.story, Beat::Said(life));
        self.trigger(life, &event);
    }

    /// Strikes where an event is what a preemption waits for.
    fn trigger(&mut self, life: usize, event: &Event) {
        if event.what.begins() {
            self.claims += 1;
        }
        let incarnation = &self.story.incarnations[life];
        if self.over || incarnation.ended_ms.is_some() {
            return;
        }
        let machine = incarnation.machine;
        let claims = self.claims;
        let hit = self.waiting.iter().position(|waiting| waiting.trigger.is_set_off(claims, &event.what));
        if let Some(at) = hit {
            let preemption = self.waiting.remove(at);
            self.strike(preemption, machine);
        }
    }

    fn do_due(&mut self) {
        let now = Instant::now();
        while let Some(first) = self.due.first_entry()
            && first.key().0 <= now
        {
            let (preemption, machine) = first.remove();
            self.strike(preemption, machine);
        }
    }

    fn strike(&mut self, preemption: Preemption, machine: u32) {
        self.last_disturbance = Instant::now();
        let service = preemption.kind.is_service();
        let busy = self.falling.values().any(|falling| match service {
            true => falling.strikes.iter().any(|of| self.story.strikes[*of].preemption.kind.is_service()),
            false => falling.machine == Some(machine),
        });
        let here: Vec<Option<usize>> = match service || busy {
            true => Vec::new(),
            false => alive_on(&self.story, machine).map(Some).collect(),
        };
        let here = if here.is_empty() { vec![None] } else { here };
        let came = match preemption.kind {
            _ if busy => Came::Away,
            Kind::VolumeRestart => Came::VolumeStruck,
            kind if kind.is_queue() => Came::QueueStruck,
            _ if here == [None] => Came::Idle,
            _ => Came::Pending,
        };
        let first = self.story.strikes.len();
        for incarnation in here {
            self.story.strikes.push(Strike {
                preemption,
                at_ms: wall_ms(),
                back_ms: None,
                machine,
                incarnation,
                came: came.clone(),
            });
        }
        let strikes: Vec<usize> = (first..self.story.strikes.len()).collect();
        for strike in &strikes {
            (self.watch)(&self.story, Beat::Struck(*strike));
        }
        if !busy {
            let machine = (!service).then_some(machine);
            let takes_all = matches!(preemption.kind, Kind::Terminate | Kind::Kill);
            self.fall(Falling { strikes, machine, felt: false, takes_all }, preemption);
        }
    }

    /// Lets a blow fall beside everything else.
    fn fall(&mut self, falling: Falling, preemption: Preemption) {
        let node = falling.machine.map(|machine| self.stand.cluster.node_names()[machine as usize].clone());
        let Some(fault) = fault_of(preemption.kind, node) else { return };
        self.blow_count += 1;
        let number = self.blow_count;
        self.falling.insert(number, falling);
        let (nodes, config, steps) = (self.nodes.clone(), self.stand.config(), self.steps.clone());
        self.blows.push(Box::pin(async move {
            let mut tell = |step| {
                // Nobody listens any more once the run is over.
                let _ = steps.send((number, step));
            };
            let result = nodes.inject(&fault, preemption.away.duration(), &config, &mut tell).await;
            (number, result)
        }));
    }

    fn stepped(&mut self, blow: usize, step: Step) {
        self.last_disturbance = Instant::now();
        let Some(falling) = self.falling.get_mut(&blow) else { return };
        // It strikes when it is felt, and not when it was decided.
        if !falling.felt && matches!(step, Step::Notice | Step::Gone) {
            falling.felt = true;
            for strike in &falling.strikes {
                self.story.strikes[*strike].at_ms = wall_ms();
            }
        }
        if step == Step::Gone && falling.takes_all {
            self.is_gone(blow);
        }
    }

    /// A machine is no more, and so is every worker on it, though their pods may read as running for long.
    fn is_gone(&mut self, blow: usize) {
        let Some(falling) = self.falling.get_mut(&blow) else { return };
        let struck = self.story.strikes[falling.strikes[0]].clone();
        let alive: Vec<usize> = alive_on(&self.story, struck.machine).collect();
        for life in alive {
            // Some may have come after the strike was decided.
            let known = falling.strikes.iter().any(|of| self.story.strikes[*of].incarnation == Some(life));
            if !known {
                falling.strikes.push(self.story.strikes.len());
                let late = Strike { incarnation: Some(life), came: Came::Pending, ..struck.clone() };
                self.story.strikes.push(late);
            }
            let incarnation = &mut self.story.incarnations[life];
            (incarnation.ended_ms, incarnation.exit) = (Some(wall_ms()), Some(UNSEEN));
            (self.watch)(&self.story, Beat::Ended(life));
        }
    }

    /// A blow is over: what it took away is back.
    fn fell(&mut self, blow: usize, result: Result<()>) -> Result<()> {
        self.last_disturbance = Instant::now();
        let Some(falling) = self.falling.remove(&blow) else { return Ok(()) };
        result.map_err(|error| Error { doing: format!("preempt: {}", error.doing), ..error })?;
        for strike in falling.strikes {
            let back_ms = wall_ms();
            self.story.strikes[strike].back_ms = Some(back_ms);
            judge_one(&mut self.story, strike);
            (self.watch)(&self.story, Beat::Came(strike));
            (self.watch)(&self.story, Beat::Back(strike));
        }
        Ok(())
    }
}

/// The workers on a machine that have not ended, by what is known of them.
fn alive_on(story: &Story, machine: u32) -> impl Iterator<Item = usize> {
    let lives = story.incarnations.iter().enumerate();
    lives.filter(move |(_, one)| one.machine == machine && one.ended_ms.is_none()).map(|(life, _)| life)
}

/// Judges every strike anew: after a run, by all that its workers wrote.
pub(super) fn judge_all(story: &mut Story) {
    for strike in 0..story.strikes.len() {
        judge_one(story, strike);
    }
}

fn judge_one(story: &mut Story, strike: usize) {
    let struck = &story.strikes[strike];
    if let Some(life) = struck.incarnation {
        let back_ms = struck.back_ms.unwrap_or(u64::MAX);
        let came = judge(&story.incarnations[life], struck.preemption.kind, struck.at_ms, back_ms);
        story.strikes[strike].came = came;
    }
}

fn words_of(node: &NodeState) -> &'static str {
    match node.ready {
        _ if node.taints.iter().any(|taint| taint == NOTICE) => "the node has notice to go",
        true => "the node is ready",
        false => "the node is not ready",
    }
}

fn fault_of(kind: Kind, node: Option<String>) -> Option<Fault> {
    let cut = |from| node.clone().map(|node| Fault::Cut { node, from });
    match kind {
        Kind::Terminate => node.map(|node| Fault::Preempt { node }),
        Kind::Kill => node.map(|node| Fault::Vanish { node }),
        Kind::Pause => node.map(|node| Fault::Freeze { node }),
        Kind::CutQueue => cut(Cut::Redis),
        Kind::CutVolume => cut(Cut::Fileserver),
        Kind::CutBoth => cut(Cut::Both),
        Kind::VolumeRestart => Some(Fault::Fileserver),
        // Redis keeps nothing on a disk here: it always comes back empty.
        Kind::QueueRestart | Kind::QueueWipe => Some(Fault::Redis),
    }
}
