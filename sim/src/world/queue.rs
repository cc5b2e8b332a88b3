//! The queue port of a machine in a world: the queue in memory, as a Redis that fails.

use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use worker::item::Item;
use worker::mutant::Mutant;
use worker::queue::{Claim, Counts, Inbox, Ownership, QueueError, Release, WorkQueue};

use super::ask::{Ask, QueueReply};
use super::clock::Wake;
use super::duties;
use super::inside::Inside;
use super::machine::Machine;
use super::nfs::Client;
use super::site::Site;
use super::world::World;

impl World {
    /// Lets the queue do what a machine asks, and holds its answer against what it promised.
    pub async fn tell_queue_for(&self, machine: Client, ask: &Ask) -> Result<QueueReply, QueueError> {
        let reply = match self.mutant {
            Some(_) => self.broker.tell(&self.forge(ask.clone())).await?,
            None => self.broker.tell(ask).await?,
        };
        let now = self.now() / 1_000 * 1_000;
        let (broken, lapsed) = self.broker.ledger.borrow_mut().answered(now, machine, ask, &reply);
        self.watch.broke(broken);
        let machines = self.machines.borrow();
        let machine = machines.get(machine as usize - 1);
        if let Some(machine) = machine {
            self.watch.broke(duties::answered(self, machine, ask, &reply));
        }
        if self.params.hints && makes_claimable(ask, &reply) {
            let at = self.now() + self.params.queue_us.0;
            self.broker.hints.give().into_iter().for_each(|id| self.clock.wake_at(at, Wake::Machine(id)));
        }
        if let QueueReply::Claimed(Some(claim)) = &reply {
            if let Some(machine) = machine {
                machine.conduct.claimed(self.now());
            }
            self.watch.handed_out(claim, lapsed.is_some(), self.has_changed());
        }
        Ok(reply)
    }

    /// What reaches a queue that has forgotten one of its rules.
    fn forge(&self, ask: Ask) -> Ask {
        match ask {
            Ask::Claim { worker, nonce, lease, preferred } if self.breaks(Mutant::ReapALiveLease) => {
                Ask::Claim { worker, nonce, lease: lease / 20, preferred }
            }
            Ask::Heartbeat(claim, lease, progress) if self.breaks(Mutant::ReapALiveLease) => {
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
        match self.broker.redis.owner(claim.item) {
            Some((token, nonce)) if self.breaks(Mutant::SkipTokenCheck) => Claim { token, nonce, ..claim },
            _ => claim,
        }
    }

    /// One call to the queue, with all that may happen to it.
    pub async fn queue_call(
        self: &Rc<Self>,
        machine: &Rc<Machine>,
        ask: Ask,
    ) -> Result<QueueReply, QueueError> {
        let is_renewal = matches!(ask, Ask::Heartbeat(..));
        self.watch.broke(duties::asked(self, machine, &ask));
        let injected = self.inject(machine, Site::Queue(&ask));
        if injected.killed {
            return pending().await;
        }
        let span = self.between(self.params.queue_us);
        self.clock.sleep(span + injected.slow).await;
        let away = |why: &str| Err(QueueError::Away(why.to_owned()));
        let answer = if injected.fails.is_some() {
            away("connection reset by peer")
        } else if self.broker.away.is_open(self.now()) {
            self.noticed(&self.broker.away);
            away("connection refused")
        } else if ask.changes() && self.broker.refuses.is_open(self.now()) {
            self.noticed(&self.broker.refuses);
            away(self.broker.refusal.get())
        } else {
            if ask.changes() {
                self.broker.copy(self.now(), &self.faults.due.borrow());
            }
            let reply = self.tell_queue_for(machine.id, &ask).await;
            if injected.reply_lost {
                self.watch.fired("queue-reply-lost");
                away("connection reset by peer")
            } else {
                reply
            }
        };
        self.after(machine, &injected).await;
        if !is_renewal {
            machine.moved_at.set(self.now());
        }
        answer
    }
}

/// Whether a queue hints at something after this.
fn makes_claimable(ask: &Ask, reply: &QueueReply) -> bool {
    match ask {
        Ask::Add(_) => matches!(reply, QueueReply::Added(1..)),
        Ask::Ack(_, next) => !next.is_empty(),
        Ask::Release(_, delay, _) => delay.is_zero(),
        _ => false,
    }
}

impl Inside {
    async fn ask_queue(&self, ask: Ask) -> Result<QueueReply, QueueError> {
        match self.world.queue_call(&self.machine, ask).await {
            Err(QueueError::Away(why)) if self.world.breaks(Mutant::GiveUpOnQueue) => {
                Err(QueueError::Refused(why))
            }
            answer => answer,
        }
    }

    async fn ask_hold(&self, ask: Ask) -> Result<Ownership, QueueError> {
        match self.ask_queue(ask).await? {
            QueueReply::Ownership(hold) => Ok(hold),
            _ => Ok(Ownership::Lost),
        }
    }
}

impl WorkQueue for Inside {
    async fn add(&self, items: &[Item]) -> Result<usize, QueueError> {
        match self.ask_queue(Ask::Add(items.to_vec())).await? {
            QueueReply::Added(added) => Ok(added),
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
            QueueReply::Claimed(claim) => Ok(claim),
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
            QueueReply::Counts(counts) => Ok(counts),
            _ => Ok(Counts::default()),
        }
    }

    async fn changed(&self) {
        if !self.world.params.hints {
            return pending().await;
        }
        self.world.broker.hints.wait(self.machine.id).await;
    }
}

impl Inbox for Inside {
    async fn push(&self, paths: &[String]) -> Result<(), QueueError> {
        self.ask_queue(Ask::Push(paths.to_vec())).await.map(drop)
    }

    async fn pushed(&self) -> Result<Vec<String>, QueueError> {
        match self.ask_queue(Ask::Pushed).await? {
            QueueReply::Paths(paths) => Ok(paths),
            _ => Ok(Vec::new()),
        }
    }

    async fn remove_pushed(&self, paths: &[String]) -> Result<(), QueueError> {
        self.ask_queue(Ask::RemovePushed(paths.to_vec())).await.map(drop)
    }

    async fn pushed_count(&self) -> Result<u64, QueueError> {
        match self.ask_queue(Ask::PushedCount).await? {
            QueueReply::Count(count) => Ok(count),
            _ => Ok(0),
        }
    }
}
