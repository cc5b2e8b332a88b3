//! The queue port of a machine in a world: the queue in memory, as a Redis that fails.

use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use worker::breakage::Breakage;
use worker::item::Item;
use worker::queue::{Claim, Counts, Inbox, Ownership, QueueError, Release, WorkQueue};

use super::World;
use super::ledger;
use super::machine::{Inside, Machine};
use super::nfs::Client;
use super::strike::Site;

/// One call to the queue.
#[derive(Debug, Clone)]
pub enum Ask {
    Add(Vec<Item>),
    Claim { worker: String, nonce: u128, lease: Duration, preferred: Vec<Item> },
    Heartbeat(Claim, Duration, u64),
    Ack(Claim, Vec<Item>),
    Release(Claim, Duration, Release),
    Push(Vec<String>),
    Pushed,
    RemovePushed(Vec<String>),
    PushedCount,
    Counts,
}

#[derive(Debug, Clone)]
pub enum Told {
    Added(usize),
    Claimed(Option<Claim>),
    Ownership(Ownership),
    Done,
    Paths(Vec<String>),
    Count(u64),
    Counts(Counts),
}

impl Ask {
    pub fn changes(&self) -> bool {
        !matches!(self, Self::Pushed | Self::PushedCount | Self::Counts)
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Claim { .. } => "claim",
            Self::Heartbeat(..) => "heartbeat",
            Self::Ack(..) => "ack",
            Self::Release(..) => "release",
            Self::Push(_) => "push",
            Self::Pushed => "pushed",
            Self::RemovePushed(_) => "remove pushed",
            Self::PushedCount => "count pushed",
            Self::Counts => "counts",
        }
    }
}

impl World {
    /// Lets the queue do what it is asked. It never waits for anything.
    pub async fn tell_queue(&self, ask: Ask) -> Result<Told, QueueError> {
        let redis = &self.redis;
        Ok(match ask {
            Ask::Add(items) => Told::Added(redis.add(&items).await?),
            Ask::Claim { worker, nonce, lease, preferred } => {
                Told::Claimed(redis.claim(&worker, nonce, lease, &preferred).await?)
            }
            Ask::Heartbeat(claim, lease, progress) => {
                Told::Ownership(redis.heartbeat(&claim, lease, progress).await?)
            }
            Ask::Ack(claim, next) => Told::Ownership(redis.ack(&claim, &next).await?),
            Ask::Release(claim, delay, why) => Told::Ownership(redis.release(&claim, delay, why).await?),
            Ask::Push(paths) => {
                redis.push(&paths).await?;
                Told::Done
            }
            Ask::Pushed => Told::Paths(redis.pushed().await?),
            Ask::RemovePushed(paths) => {
                redis.remove_pushed(&paths).await?;
                Told::Done
            }
            Ask::PushedCount => Told::Count(redis.pushed_count().await?),
            Ask::Counts => Told::Counts(redis.counts().await?),
        })
    }

    /// Lets the queue do what a machine asks, and holds its answer against what it promised.
    pub async fn tell_queue_for(&self, machine: Client, ask: Ask) -> Result<Told, QueueError> {
        let told = self.tell_queue(self.forge(ask.clone())).await?;
        let now = self.now() / 1_000 * 1_000;
        let (broken, lapsed) = self.ledger.borrow_mut().answered(now, machine, &ask, &told);
        self.watch.broke(broken);
        if let Told::Claimed(Some(claim)) = &told {
            if let Some(machine) = self.machines.borrow().get(machine as usize - 1) {
                machine.renewed_at.set(self.now());
            }
            self.watch.handed_out(claim, lapsed.is_some());
        }
        Ok(told)
    }

    /// What reaches a queue that has forgotten one of its rules.
    fn forge(&self, ask: Ask) -> Ask {
        match ask {
            Ask::Claim { worker, nonce, lease, preferred } if self.breaks(Breakage::ReapALiveLease) => {
                Ask::Claim { worker, nonce, lease: lease / 20, preferred }
            }
            Ask::Heartbeat(claim, lease, progress) if self.breaks(Breakage::ReapALiveLease) => {
                Ask::Heartbeat(claim, lease / 20, progress)
            }
            Ask::Heartbeat(claim, lease, progress) => Ask::Heartbeat(self.anybodys(claim), lease, progress),
            Ask::Ack(claim, next) => Ask::Ack(self.anybodys(claim), next),
            Ask::Release(claim, delay, why) => Ask::Release(self.anybodys(claim), delay, why),
            other => other,
        }
    }

    /// The claim as its present owner would name it, where tokens are not checked.
    fn anybodys(&self, claim: Claim) -> Claim {
        match self.redis.owner(claim.item) {
            Some((token, nonce)) if self.breaks(Breakage::SkipTokenCheck) => Claim { token, nonce, ..claim },
            _ => claim,
        }
    }

    /// One call to the queue, with all that may happen to it.
    pub async fn queue_call(self: &Rc<Self>, machine: &Rc<Machine>, ask: Ask) -> Result<Told, QueueError> {
        let is_renewal = matches!(ask, Ask::Heartbeat(..));
        self.watch.broke(ledger::asked(self, machine, &ask));
        let strike = self.strike(machine, Site::Queue(&ask));
        if strike.killed {
            return pending().await;
        }
        let span = self.between(self.params.queue_us);
        self.clock.sleep(span + strike.slow).await;
        let away = |why: &str| Err(QueueError::Away(why.to_owned()));
        let answer = if strike.fails.is_some() {
            away("connection reset by peer")
        } else if self.now() < self.queue_away.until.get() {
            self.noticed(&self.queue_away);
            away("connection refused")
        } else if ask.changes() && self.now() < self.queue_refuses.until.get() {
            self.noticed(&self.queue_refuses);
            away(self.refusal.get())
        } else {
            if ask.changes() {
                self.copy_queue();
            }
            let told = self.tell_queue_for(machine.id, ask).await;
            if strike.reply_lost {
                self.watch.fired("queue-reply-lost");
                away("connection reset by peer")
            } else {
                told
            }
        };
        self.after(machine, &strike).await;
        if !is_renewal {
            machine.moved_at.set(self.now());
        }
        answer
    }
}

impl Inside {
    async fn ask_queue(&self, ask: Ask) -> Result<Told, QueueError> {
        match self.world.queue_call(&self.machine, ask).await {
            Err(QueueError::Away(why)) if self.world.breaks(Breakage::GiveUpOnQueue) => {
                Err(QueueError::Refused(why))
            }
            answer => answer,
        }
    }

    async fn ask_hold(&self, ask: Ask) -> Result<Ownership, QueueError> {
        match self.ask_queue(ask).await? {
            Told::Ownership(hold) => Ok(hold),
            _ => Ok(Ownership::Lost),
        }
    }
}

impl WorkQueue for Inside {
    async fn add(&self, items: &[Item]) -> Result<usize, QueueError> {
        match self.ask_queue(Ask::Add(items.to_vec())).await? {
            Told::Added(added) => Ok(added),
            _ => Ok(0),
        }
    }

    async fn claim(
        &self,
        worker: &str,
        nonce: u128,
        lease: Duration,
        preferred: &[Item],
    ) -> Result<Option<Claim>, QueueError> {
        let (worker, preferred) = (worker.to_owned(), preferred.to_vec());
        match self.ask_queue(Ask::Claim { worker, nonce, lease, preferred }).await? {
            Told::Claimed(claim) => Ok(claim),
            _ => Ok(None),
        }
    }

    async fn heartbeat(
        &self,
        claim: &Claim,
        lease: Duration,
        progress: u64,
    ) -> Result<Ownership, QueueError> {
        self.ask_hold(Ask::Heartbeat(claim.clone(), lease, progress)).await
    }

    async fn ack(&self, claim: &Claim, next: &[Item]) -> Result<Ownership, QueueError> {
        self.ask_hold(Ask::Ack(claim.clone(), next.to_vec())).await
    }

    async fn release(&self, claim: &Claim, delay: Duration, why: Release) -> Result<Ownership, QueueError> {
        self.ask_hold(Ask::Release(claim.clone(), delay, why)).await
    }

    async fn counts(&self) -> Result<Counts, QueueError> {
        match self.ask_queue(Ask::Counts).await? {
            Told::Counts(counts) => Ok(counts),
            _ => Ok(Counts::default()),
        }
    }
}

impl Inbox for Inside {
    async fn push(&self, paths: &[String]) -> Result<(), QueueError> {
        self.ask_queue(Ask::Push(paths.to_vec())).await.map(drop)
    }

    async fn pushed(&self) -> Result<Vec<String>, QueueError> {
        match self.ask_queue(Ask::Pushed).await? {
            Told::Paths(paths) => Ok(paths),
            _ => Ok(Vec::new()),
        }
    }

    async fn remove_pushed(&self, paths: &[String]) -> Result<(), QueueError> {
        self.ask_queue(Ask::RemovePushed(paths.to_vec())).await.map(drop)
    }

    async fn pushed_count(&self) -> Result<u64, QueueError> {
        match self.ask_queue(Ask::PushedCount).await? {
            Told::Count(count) => Ok(count),
            _ => Ok(0),
        }
    }
}
