//! `--queue`: a file, a server of the simulator's own, or one that runs.

use std::fmt;
use std::str::FromStr;

use worker::contract::Exit;
use worker::failure::Failure;
use worker::queue::any::{AnyQueue, is_redis};
use worker::queue::{QueueError, WorkQueue};
use worker::store::identity::identify;
use worker::store::{StoreError, any};
use worker::system::random_nonce;

use super::Prepared;
use crate::backend::process::Plan;
use crate::backend::process::redis::Server;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueChoice {
    Sqlite,
    OwnRedis,
    Redis(String),
    /// The Redis of the cluster that the run takes place in; not to be chosen.
    Cluster,
}

impl FromStr for QueueChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sqlite" => Ok(Self::Sqlite),
            "redis" => Ok(Self::OwnRedis),
            url if is_redis(url) => Ok(Self::Redis(url.to_owned())),
            other => Err(format!("`{other}` is no queue: give sqlite, redis, or redis://HOST[:PORT][/DB]")),
        }
    }
}

impl fmt::Display for QueueChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite => f.write_str("sqlite"),
            Self::OwnRedis => f.write_str("redis"),
            Self::Cluster => f.write_str("the cluster's Redis"),
            // A password in it is nobody's business.
            Self::Redis(url) => match (url.split_once("://"), url.rsplit_once('@')) {
                (Some((scheme, _)), Some((_, host))) => write!(f, "{scheme}://{host}"),
                _ => f.write_str(url),
            },
        }
    }
}

/// Opens the queue that a plan's workers use.
pub async fn open(plan: &Plan) -> Result<AnyQueue, Failure> {
    let unfit = |error: StoreError| Failure::new(Exit::Volume, "identify the volume", error);
    let store = any::open(&plan.location).map_err(unfit)?;
    let id = identify(&store, random_nonce()).await.map_err(unfit)?;
    AnyQueue::open(&plan.queue, plan.location.folder(), &id, &plan.run)
        .map_err(Failure::when(Exit::Queue, "open the queue"))
}

impl Prepared {
    /// Starts what `--queue` asks for, and tries it.
    pub(super) async fn start_queue(&mut self) -> Result<Option<Server>, Failure> {
        let folder = self.out.folder();
        let mut server = None;
        self.plan.queue = match &self.queue {
            QueueChoice::Sqlite => format!("sqlite:{}", folder.join("queue.sqlite").display()),
            QueueChoice::Redis(url) => url.clone(),
            // Known once there is a cluster.
            QueueChoice::Cluster => return Ok(None),
            QueueChoice::OwnRedis => {
                let started = Server::start(&self.plan.exe, &folder.join("redis")).await;
                server.insert(started?).url()
            }
        };
        let queue = open(&self.plan).await?;
        match queue.counts().await {
            Ok(_) => Ok(server),
            Err(error) => {
                if let Some(server) = &mut server {
                    server.stop().await;
                }
                let failure = Failure::of(Exit::Queue, &error);
                let failure = Failure { doing: Some(format!("use --queue {}", self.queue)), ..failure };
                Err(match error {
                    QueueError::Away(_) => {
                        failure.hint("start it, or use --queue sqlite, which needs no server")
                    }
                    QueueError::Refused(_) => failure,
                })
            }
        }
    }
}
