//! The queue that all machines share, as Redis may be: its memory, its clock, its word on leases, and what is out of
//! order with it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use worker::mutant::Mutant;
use worker::queue::memory::{Memory, State};
use worker::queue::{Inbox, QueueError, WorkQueue};

use super::ask::{Ask, QueueReply};
use super::clock::{Clock, Micros, ms};
use super::fault::{Fault, LONG_MS};
use super::ledger::Ledger;
use super::window::Window;

/// What the queue's clock shows when a world begins: long after 0, since it may be set back.
const START_MS: u64 = 1 << 40;

#[derive(Debug)]
pub struct Broker {
    pub redis: Memory,
    set_back_ms: Rc<Cell<u64>>,
    /// Copies of the queue, by time, where a fault is going to need one.
    copies: RefCell<VecDeque<(Micros, State)>>,
    pub ledger: RefCell<Ledger>,
    pub away: Window,
    /// What changes the queue is refused, with this word.
    pub refuses: Window,
    pub refusal: Cell<&'static str>,
    /// Calls made so far, by all machines.
    pub calls: Cell<u64>,
    pub hints: Hints,
}

/// Hints at what became claimable. Clients that wait for one are woken together, but for every third hint, which is lost.
#[derive(Debug, Default)]
pub struct Hints {
    given: Cell<u64>,
    heard: Cell<u64>,
    waiting: RefCell<BTreeSet<u32>>,
}

impl Hints {
    /// Tells whom to wake.
    pub fn give(&self) -> BTreeSet<u32> {
        self.given.set(self.given.get() + 1);
        if self.given.get().is_multiple_of(3) {
            return BTreeSet::new();
        }
        self.heard.set(self.given.get());
        self.waiting.take()
    }

    /// Resolves at the next hint that is not lost, once the machine is woken.
    pub async fn wait(&self, machine: u32) {
        let heard = self.heard.get();
        self.waiting.borrow_mut().insert(machine);
        poll_fn(|_| if self.heard.get() == heard { Poll::Pending } else { Poll::Ready(()) }).await;
    }
}

impl Broker {
    pub fn new(mutant: Option<Mutant>, clock: &Rc<Clock>) -> Self {
        let (set_back_ms, clock) = (Rc::new(Cell::new(0)), clock.clone());
        let set_back = set_back_ms.clone();
        let redis = Memory::new(move || (START_MS + clock.now() / 1000).saturating_sub(set_back.get()))
            .trusting_deadlines(mutant == Some(Mutant::TrustAnyDeadline));
        Self {
            redis,
            set_back_ms,
            copies: RefCell::default(),
            ledger: RefCell::default(),
            away: Window::default(),
            refuses: Window::default(),
            refusal: Cell::new(""),
            calls: Cell::new(0),
            hints: Hints::default(),
        }
    }

    /// Lets the queue do what it is asked. It never waits for anything.
    pub async fn tell(&self, ask: &Ask) -> Result<QueueReply, QueueError> {
        let redis = &self.redis;
        Ok(match ask {
            Ask::Add(items) => QueueReply::Added(redis.add(items).await?),
            Ask::Claim { worker, nonce, lease, preferred } => {
                QueueReply::Claimed(redis.claim(worker, *nonce, *lease, preferred).await?)
            }
            Ask::Heartbeat(claim, lease, progress) => {
                QueueReply::Ownership(redis.heartbeat(claim, *lease, *progress).await?)
            }
            Ask::Ack(claim, next) => QueueReply::Ownership(redis.ack(claim, next).await?),
            Ask::Release(claim, delay, why) => {
                QueueReply::Ownership(redis.release(claim, *delay, *why).await?)
            }
            Ask::Push(paths) => {
                redis.push(paths).await?;
                QueueReply::Done
            }
            Ask::Pushed => QueueReply::Paths(redis.pushed().await?),
            Ask::RemovePushed(paths) => {
                redis.remove_pushed(paths).await?;
                QueueReply::Done
            }
            Ask::PushedCount => QueueReply::Count(redis.pushed_count().await?),
            Ask::Counts => QueueReply::Counts(redis.counts().await?),
        })
    }

    /// The same, at once.
    ///
    /// # Errors
    /// As the queue's own.
    pub fn tell_at_once(&self, ask: &Ask) -> Result<QueueReply, QueueError> {
        match std::pin::pin!(self.tell(ask)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer,
            Poll::Pending => Err(QueueError::Away("it waits".to_owned())),
        }
    }

    /// Keeps a copy of the queue as it is now, where one of the faults to come goes back to one.
    pub fn copy(&self, now: Micros, to_come: &[Fault]) {
        if !to_come.iter().any(|fault| fault.what.goes_back()) {
            return;
        }
        let mut copies = self.copies.borrow_mut();
        if copies.back().is_none_or(|(at, _)| now >= at + ms(5)) {
            copies.push_back((now, self.redis.snapshot()));
        }
        // One that is older than any fault goes back is enough.
        while copies.get(1).is_some_and(|(at, _)| at + ms(LONG_MS) <= now) {
            copies.pop_front();
        }
    }

    /// Puts the state of `span` ago back; returns whether that made a difference.
    pub fn roll_back(&self, now: Micros, span: Micros) -> bool {
        let then = now.saturating_sub(span);
        let copies = self.copies.borrow();
        let copy = copies.iter().rev().find(|(at, _)| *at <= then);
        let state = copy.map(|(_, state)| state.clone()).unwrap_or_default();
        let differs = state != self.redis.snapshot();
        self.restore(state);
        differs
    }

    /// The queue is in another state: what it promised before no longer counts.
    pub fn restore(&self, state: State) {
        self.redis.restore(state);
        self.ledger.borrow_mut().forget();
    }

    pub fn set_clock_back(&self, by_ms: u64) {
        self.set_back_ms.set(self.set_back_ms.get() + by_ms);
        self.ledger.borrow_mut().forget();
    }
}
