//! `--backend`: on what machines a run takes place, and what follows from that.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use worker::contract::Exit;
use worker::failure::Failure;

use super::queue::QueueChoice;
use crate::units::Span;

/// Machines to run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// Processes of this machine
    Process,
    /// Pods in a Kubernetes cluster that kind makes on this machine, with Redis and an NFS server
    Kind,
}

/// What holds on a backend where the command line does not say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    pub lease: Span,
    pub grace: Span,
    /// Extra work on each generated dataset, so that there is something to interrupt.
    pub work: Span,
    /// How often idle workers ask.
    pub idle: Span,
    /// How much longer than processes its machines may take to end a run.
    pub patience: Duration,
}

impl Backend {
    pub fn defaults(self) -> Defaults {
        match self {
            Self::Process => Defaults {
                lease: Span::ms(1_000),
                grace: Span::ms(250),
                work: Span::ms(400),
                idle: Span::ms(20),
                patience: Duration::ZERO,
            },
            Self::Kind => Defaults {
                lease: Span::ms(5_000),
                grace: Span::ms(15_000),
                work: Span::ms(8_000),
                idle: Span::ms(200),
                patience: Duration::from_secs(240),
            },
        }
    }
}

#[derive(Debug, Clone, Args)]
pub struct PlaceArgs {
    /// Where the workers run.
    #[arg(long, value_enum, value_name = "BACKEND", default_value = "process")]
    pub backend: Backend,
    /// kind: the cluster's name. A healthy cluster of that name that `sim` made is reused [default: batch-aiml]
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// kind: the image of the nodes [default: the newest that Docker has, else kind's own choice]
    /// [env: SIM_NODE_IMAGE]
    #[arg(long, value_name = "IMAGE")]
    node_image: Option<String>,
    /// kind: the worker's program, built for Linux [default: `worker` beside this program]
    #[arg(long, value_name = "FILE")]
    worker: Option<PathBuf>,
    /// kind: the image that a program runs in, unchanged; Docker has it [default: the worker's, which has a shell]
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// kind: leave the cluster for the next run; `sim down` removes it
    #[arg(long)]
    pub keep: bool,
}

/// The failure of an option that the backend has no use for.
fn useless(option: &str, why: &str) -> Failure {
    Failure::new(Exit::Usage, format!("use {option}"), why)
}

impl PlaceArgs {
    /// # Errors
    /// Where an option is given that the backend has no use for.
    pub fn check(&self, grace: Option<Span>) -> Result<(), Failure> {
        let of_kind = [
            ("--cluster", self.cluster.is_some()),
            ("--node-image", self.node_image.is_some()),
            ("--worker", self.worker.is_some()),
            ("--image", self.image.is_some()),
            ("--keep", self.keep),
        ];
        match self.backend {
            Backend::Process => match of_kind.iter().find(|(_, given)| *given) {
                Some((option, _)) => Err(useless(option, "processes have no use for it")
                    .hint(format!("leave {option} out, or give --backend kind"))),
                None => Ok(()),
            },
            Backend::Kind if grace.is_some() => {
                Err(useless("--grace", "with --backend kind it is fixed: nodes have 15s, as on GKE")
                    .hint("leave --grace out"))
            }
            Backend::Kind => Ok(()),
        }
    }

    #[cfg(feature = "kind")]
    pub fn cluster(&self) -> String {
        self.cluster.clone().unwrap_or_else(|| "batch-aiml".to_owned())
    }

    /// As given, or from the environment: there it may be meant for other runs.
    #[cfg(feature = "kind")]
    pub fn node_image(&self) -> Option<String> {
        let from_environment = || std::env::var("SIM_NODE_IMAGE").ok().filter(|image| !image.is_empty());
        self.node_image.clone().or_else(from_environment)
    }

    /// The queue that is asked for, or the backend's own.
    ///
    /// # Errors
    /// Where the backend has another.
    pub fn queue(&self, asked: Option<&QueueChoice>) -> Result<QueueChoice, Failure> {
        match (self.backend, asked) {
            (Backend::Process, asked) => Ok(asked.cloned().unwrap_or(QueueChoice::Sqlite)),
            (Backend::Kind, None | Some(QueueChoice::OwnRedis)) => Ok(QueueChoice::Cluster),
            (Backend::Kind, Some(other)) => {
                let option = format!("--queue {other}");
                Err(useless(&option, "with --backend kind the queue is the cluster's own Redis")
                    .hint("leave --queue out"))
            }
        }
    }

    /// The worker's program.
    ///
    /// # Errors
    /// Where there is none.
    #[cfg(feature = "kind")]
    pub fn worker(&self) -> Result<PathBuf, Failure> {
        if let Some(file) = &self.worker {
            return Ok(file.clone());
        }
        let own = std::env::current_exe().map_err(Failure::when(Exit::Usage, "find this program"))?;
        // Programs of tests lie one folder deeper than those of the build.
        let folders = own.ancestors().skip(1).take(2);
        let beside = folders.map(|folder| folder.join("worker")).find(|file| file.is_file());
        beside.ok_or_else(|| {
            let why = format!("there is no `worker` beside {}", own.display());
            let failure = Failure::new(Exit::Usage, "find the worker's program", why);
            failure.hint("build it, `cargo build --release -p worker`, or name it with --worker")
        })
    }
}
