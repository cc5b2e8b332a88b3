//! Machines that are nodes of a cluster: Kubernetes starts the workers and replaces them, and its watches, and the
//! volume, tell what they do.

use std::collections::{BTreeMap, VecDeque};

use cloud::error::{Error, Result};
use cloud::gke::NOTICE;
use cloud::k8s::cluster::Cluster as _;
use cloud::k8s::objects::WORKLOAD;
use cloud::k8s::watch::{self, JobState, NodeState, PodState};
use cloud::kind::{self, Cut, Fault};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{BoxStream, FuturesUnordered, SelectAll};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use worker::events::Event;
use worker::failure::Failure;
use worker::workload::exec::logs::is_a_programs;

use super::{Stand, feed};
use crate::backend::process::Plan;
use crate::backend::{Backend, News, Step};
use crate::schedule::{Kind, Preemption};

/// A worker's pod, from when it first ran.
struct Life {
    number: usize,
    /// The number of its last event.
    seq: Option<u64>,
}

pub(super) struct Nodes<'a> {
    stand: &'a Stand,
    run: &'a str,
    nodes: kind::Nodes,
    cluster: BoxStream<'static, Result<watch::Event>>,
    /// The workers' events, from the volume; the future brings them, and never ends.
    events: UnboundedReceiver<Event>,
    feed: LocalBoxFuture<'a, ()>,
    /// What the workers' pods write.
    written: SelectAll<BoxStream<'static, String>>,
    /// Shows a line that a program printed.
    show: &'a mut dyn FnMut(&str),
    /// By the name of the pod.
    lives: BTreeMap<String, Life>,
    /// Events that came before the news of their pod.
    early: BTreeMap<String, Vec<Event>>,
    faults: FuturesUnordered<LocalBoxFuture<'a, (usize, Result<()>)>>,
    tell_step: UnboundedSender<(usize, kind::Step)>,
    steps: UnboundedReceiver<(usize, kind::Step)>,
    ready: VecDeque<News>,
}

impl<'a> Nodes<'a> {
    pub async fn new(stand: &'a Stand, plan: &'a Plan, show: &'a mut dyn FnMut(&str)) -> Result<Self> {
        let (tell_event, events) = unbounded_channel();
        let (tell_step, steps) = unbounded_channel();
        Ok(Self {
            stand,
            run: &plan.run,
            nodes: stand.cluster.nodes().await?,
            cluster: stand.port.watch(&stand.batch.deployment),
            events,
            feed: Box::pin(feed::feed(stand.staging_pod(), plan.run.clone(), tell_event)),
            written: SelectAll::new(),
            show,
            lives: BTreeMap::new(),
            early: BTreeMap::new(),
            faults: FuturesUnordered::new(),
            tell_step,
            steps,
            ready: VecDeque::new(),
        })
    }

    fn cluster_changed(&mut self, change: Result<watch::Event>) {
        match change {
            Ok(watch::Event::Pod(pod)) if pod.part == WORKLOAD => self.pod(&pod),
            Ok(watch::Event::PodGone(name)) => self.pod_ended(&name, None),
            Ok(watch::Event::Job(job)) => self.ready.extend(finished(job)),
            Ok(watch::Event::Node(node)) => self.node(&node.name, words_of(&node)),
            Ok(watch::Event::NodeGone(name)) => self.node(&name, "the node is gone"),
            Ok(_) => {}
            // The stream connects again by itself.
            Err(error) => tracing::debug!(%error, "watch"),
        }
    }

    fn pod(&mut self, pod: &PodState) {
        let Some(machine) = pod.node.as_ref().and_then(|node| self.machine(node)) else { return };
        if pod.phase != "Pending" && !self.lives.contains_key(&pod.name) {
            let number = self.lives.len();
            self.lives.insert(pod.name.clone(), Life { number, seq: None });
            self.ready.push_back(News::Started { machine, name: pod.name.clone(), pid: 1 });
            self.written.push(self.stand.port.written_by(&pod.name));
            for event in self.early.remove(&pod.name).unwrap_or_default() {
                self.event(event);
            }
        }
        match pod.phase.as_str() {
            "Succeeded" => self.pod_ended(&pod.name, Some(0)),
            "Failed" => self.pod_ended(&pod.name, pod.exit_code),
            _ => {}
        }
    }

    fn pod_ended(&mut self, pod: &str, exit: Option<i32>) {
        if let Some(life) = self.lives.get(pod) {
            self.ready.push_back(News::Ended { life: life.number, exit, said: None });
        }
    }

    fn machine(&self, node: &str) -> Option<u32> {
        let place = self.stand.cluster.node_names().iter().position(|name| name == node)?;
        u32::try_from(place).ok()
    }

    fn node(&mut self, name: &str, words: &'static str) {
        self.ready.extend(self.machine(name).map(|machine| News::Machine(machine, words)));
    }

    fn event(&mut self, event: Event) {
        let Some(life) = self.lives.get_mut(&event.worker) else {
            self.early.entry(event.worker.clone()).or_default().push(event);
            return;
        };
        // After a connection that broke, all of them come once more.
        if life.seq.is_none_or(|last| last < event.seq) {
            life.seq = Some(event.seq);
            self.ready.push_back(News::Event(life.number, Box::new(event)));
        }
    }

    fn step(&mut self, fault: usize, step: kind::Step) {
        self.ready.extend(match step {
            kind::Step::Notice => Some(News::Fault(fault, Step::Felt)),
            kind::Step::Gone => Some(News::Fault(fault, Step::Gone)),
            kind::Step::PodsEnded | kind::Step::Missed | kind::Step::Back => None,
        });
    }

    fn fault_over(&mut self, fault: usize, result: Result<()>) -> Result<()> {
        result.map_err(|error| Error { doing: format!("preempt: {}", error.doing), ..error })?;
        while let Ok((fault, step)) = self.steps.try_recv() {
            self.step(fault, step);
        }
        // What its workers said is on the volume at once, and was most likely heard while the machine was away.
        self.ready.extend([News::Fault(fault, Step::Heard), News::Fault(fault, Step::Back)]);
        Ok(())
    }
}

impl Backend for Nodes<'_> {
    async fn start(&mut self) -> Result<(), Failure> {
        Ok(self.stand.port.start(&self.stand.batch).await?)
    }

    fn inject(&mut self, fault: usize, preemption: Preemption, machine: u32) {
        let node = self.stand.cluster.node_names().get(machine as usize).cloned();
        let Some(injected) = fault_of(preemption.kind, node) else {
            self.ready.push_back(News::Fault(fault, Step::Back));
            return;
        };
        let (nodes, config, steps) = (self.nodes.clone(), self.stand.config(), self.tell_step.clone());
        self.faults.push(Box::pin(async move {
            let mut tell = |step| {
                // Nobody listens any more once the run is over.
                let _ = steps.send((fault, step));
            };
            let result = nodes.inject(&injected, preemption.away.duration(), &config, &mut tell).await;
            (fault, result)
        }));
    }

    async fn news(&mut self) -> Result<News, Failure> {
        loop {
            if let Some(news) = self.ready.pop_front() {
                return Ok(news);
            }
            tokio::select! {
                biased;
                Some((fault, step)) = self.steps.recv() => self.step(fault, step),
                Some((fault, result)) = self.faults.next(), if !self.faults.is_empty() => {
                    self.fault_over(fault, result)?;
                }
                Some(event) = self.events.recv() => self.event(event),
                Some(change) = self.cluster.next() => self.cluster_changed(change),
                Some(line) = self.written.next(), if !self.written.is_empty() => {
                    if is_a_programs(&line) {
                        (self.show)(&line);
                    }
                }
                () = &mut self.feed => {}
            }
        }
    }

    /// The Job itself stops the others, and starts none.
    fn over(&mut self) {}

    async fn public_names(&mut self) -> Result<Vec<String>, Failure> {
        Ok(self.stand.public_names(self.run).await?)
    }

    /// They end with their Job, or with the cluster.
    async fn end(&mut self) -> Vec<News> {
        Vec::new()
    }
}

fn finished(job: JobState) -> Option<News> {
    let (complete, why) = job.finished?;
    Some(News::Finished(if complete { Ok(()) } else { Err(format!("the Job failed: {why}")) }))
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
