//! The queue in memory, under a clock that its owner holds: what the simulator runs on. Its state
//! can be taken out, put back and wiped, as a Redis that fails does to its own.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;

use engine::item::Item;
use engine::queue::{Claim, Counts, Inbox, Ownership, QueueError, Release, WorkQueue, millis};

/// A client of the queue; clones share its state.
#[derive(Clone)]
pub struct Memory {
    state: Rc<RefCell<State>>,
    /// Milliseconds by a clock that may be set back, as a server's is.
    now_ms: Rc<dyn Fn() -> u64>,
    /// No deadline was set at a later time than this.
    newest_ms: Rc<Cell<u64>>,
    trusts_deadlines: bool,
    /// Wakes clients that wait for something to claim.
    hints: Rc<Notify>,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.borrow().fmt(f)
    }
}

impl Memory {
    pub fn new(now_ms: impl Fn() -> u64 + 'static) -> Self {
        Self {
            state: Rc::default(),
            now_ms: Rc::new(now_ms),
            newest_ms: Rc::default(),
            trusts_deadlines: false,
            hints: Rc::default(),
        }
    }

    fn now(&self) -> u64 {
        let now = (self.now_ms)();
        self.newest_ms.set(now.max(self.newest_ms.get()));
        now
    }

    /// A queue that has forgotten that a deadline may be void (rule 16).
    pub fn trusting_deadlines(self, trusts_deadlines: bool) -> Self {
        Self { trusts_deadlines, ..self }
    }

    /// All that the queue holds.
    pub fn snapshot(&self) -> State {
        self.state.borrow().clone()
    }

    /// Token and nonce of an item's owner, or of its last one.
    pub fn owner(&self, item: Item) -> Option<(u64, u128)> {
        let state = self.state.borrow();
        let owner = state.entries.get(&item.rank)?.owner.as_ref()?;
        Some((owner.token, owner.nonce))
    }

    /// Puts an earlier state in the place of the present one: for every client.
    pub fn restore(&self, state: State) {
        *self.state.borrow_mut() = state;
        self.newest_ms.set(u64::MAX);
    }
}

/// What a queue holds. Items go by their rank, which tells them apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    entries: BTreeMap<u64, Entry>,
    /// Ranks that a claim may hand out.
    pending: BTreeSet<u64>,
    /// (end of lease or delay, rank) of the others, and of nothing else.
    deadlines: BTreeSet<(u64, u64)>,
    /// The last token.
    token: u64,
    pushed: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    item: Item,
    owner: Option<Owner>,
    /// End of the lease or delay, where the rank is in `deadlines`.
    deadline: Option<u64>,
    /// How far ahead that was when it was set.
    length: u64,
    failures: u32,
    /// Claims in a row that expired without progress, the present one not counted.
    lost: u32,
    /// Of the present claim.
    progress: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    token: u64,
    nonce: u128,
    worker: String,
}

impl State {
    fn add(&mut self, items: &[Item]) -> usize {
        let before = self.entries.len();
        for &item in items {
            let rank = item.rank;
            self.entries.entry(rank).or_insert_with(|| {
                self.pending.insert(rank);
                Entry { item, owner: None, deadline: None, length: 0, failures: 0, lost: 0, progress: 0 }
            });
        }
        self.entries.len() - before
    }

    /// Lets claims have what has expired. Owners stay owners.
    fn expire(&mut self, now: u64) {
        while let Some(&(deadline, rank)) = self.deadlines.first()
            && deadline <= now
        {
            self.deadlines.pop_first();
            self.pending.insert(rank);
            if let Some(entry) = self.entries.get_mut(&rank) {
                entry.deadline = None;
            }
        }
    }

    /// A deadline farther ahead than it was ever set is void: the clock was set back (rule 16).
    fn void(&mut self, now: u64) {
        let lengths = self.deadlines.iter().map(|&(deadline, rank)| {
            let length = self.entries.get(&rank).map_or(0, |entry| entry.length);
            (rank, deadline > now + length)
        });
        let void: Vec<u64> = lengths.filter(|(_, void)| *void).map(|(rank, _)| rank).collect();
        for rank in void {
            self.reschedule(rank, None);
        }
    }

    fn claim(
        &mut self,
        now: u64,
        worker: &str,
        nonce: u128,
        lease: u64,
        preferred: &[Item],
    ) -> Option<Claim> {
        self.expire(now);
        let wanted = preferred.iter().map(|item| item.rank).find(|rank| self.pending.contains(rank));
        let rank = wanted.or_else(|| self.pending.first().copied())?;
        self.pending.remove(&rank);
        let entry = self.entries.get_mut(&rank)?;
        self.token += 1;
        let token = self.token;
        let owner = Owner { token, nonce, worker: worker.to_owned() };
        let taken_over_from = entry.owner.replace(owner).map(|owner| owner.worker);
        if taken_over_from.is_some() {
            entry.lost = if entry.progress > 0 { 1 } else { entry.lost.saturating_add(1) };
        }
        entry.progress = 0;
        (entry.deadline, entry.length) = (Some(now + lease), lease);
        self.deadlines.insert((now + lease, rank));
        Some(Claim {
            item: entry.item,
            token,
            nonce,
            taken_over_from,
            failures: entry.failures,
            lost: entry.lost,
        })
    }

    fn is_held(&self, claim: &Claim) -> bool {
        let entry = self.entries.get(&claim.item.rank);
        let owner = entry.and_then(|entry| entry.owner.as_ref());
        owner.is_some_and(|owner| (owner.token, owner.nonce) == (claim.token, claim.nonce))
    }

    /// Takes a rank out of both orders, and puts it back where `deadline`, now and how far ahead, says.
    fn reschedule(&mut self, rank: u64, deadline: Option<(u64, u64)>) {
        let Some(entry) = self.entries.get_mut(&rank) else {
            return;
        };
        entry.length = deadline.map_or(0, |(_, length)| length);
        let deadline = deadline.map(|(now, length)| now + length);
        match entry.deadline {
            Some(old) => self.deadlines.remove(&(old, rank)),
            None => self.pending.remove(&rank),
        };
        entry.deadline = deadline;
        match deadline {
            Some(deadline) => self.deadlines.insert((deadline, rank)),
            None => self.pending.insert(rank),
        };
    }

    fn heartbeat(&mut self, now: u64, claim: &Claim, lease: u64, progress: u64) -> Ownership {
        if !self.is_held(claim) {
            return Ownership::Lost;
        }
        if let Some(entry) = self.entries.get_mut(&claim.item.rank) {
            (entry.progress, entry.failures) = (progress, claim.failures);
        }
        self.reschedule(claim.item.rank, Some((now, lease)));
        Ownership::Held
    }

    fn ack(&mut self, claim: &Claim, next: &[Item]) -> Ownership {
        let held = self.is_held(claim);
        if held {
            let rank = claim.item.rank;
            self.reschedule(rank, None);
            self.pending.remove(&rank);
            self.entries.remove(&rank);
        }
        self.add(next);
        if held { Ownership::Held } else { Ownership::Lost }
    }

    fn release(&mut self, now: u64, claim: &Claim, delay: u64, why: Release) -> Ownership {
        if !self.is_held(claim) {
            return Ownership::Lost;
        }
        let rank = claim.item.rank;
        if let Some(entry) = self.entries.get_mut(&rank) {
            entry.owner = None;
            entry.lost = 0;
            entry.failures = claim.failures.saturating_add(u32::from(why == Release::Failed));
        }
        self.reschedule(rank, (delay > 0).then_some((now, delay)));
        Ownership::Held
    }

    fn counts(&mut self, now: u64) -> Counts {
        self.expire(now);
        Counts { pending: self.pending.len() as u64, claimed: self.deadlines.len() as u64 }
    }
}

impl WorkQueue for Memory {
    async fn add(&self, items: &[Item]) -> Result<usize, QueueError> {
        let added = self.state.borrow_mut().add(items);
        self.hints.notify_waiters();
        Ok(added)
    }

    async fn claim(
        &self,
        worker: &str,
        nonce: u128,
        lease: Duration,
        preferred: &[Item],
    ) -> Result<Option<Claim>, QueueError> {
        let (mut state, now) = (self.state.borrow_mut(), self.now());
        // Only a clock that was set back, or another's state, makes deadlines void.
        if !self.trusts_deadlines && now < self.newest_ms.replace(now) {
            state.void(now);
        }
        Ok(state.claim(now, worker, nonce, millis(lease), preferred))
    }

    async fn heartbeat(
        &self,
        claim: &Claim,
        lease: Duration,
        progress: u64,
    ) -> Result<Ownership, QueueError> {
        Ok(self.state.borrow_mut().heartbeat(self.now(), claim, millis(lease), progress))
    }

    async fn ack(&self, claim: &Claim, next: &[Item]) -> Result<Ownership, QueueError> {
        let held = self.state.borrow_mut().ack(claim, next);
        self.hints.notify_waiters();
        Ok(held)
    }

    async fn release(&self, claim: &Claim, delay: Duration, why: Release) -> Result<Ownership, QueueError> {
        let held = self.state.borrow_mut().release(self.now(), claim, millis(delay), why);
        self.hints.notify_waiters();
        Ok(held)
    }

    async fn counts(&self) -> Result<Counts, QueueError> {
        Ok(self.state.borrow_mut().counts((self.now_ms)()))
    }

    async fn changed(&self) {
        loop {
            let hint = self.hints.notified();
            if self.state.borrow_mut().counts((self.now_ms)()).pending > 0 {
                return;
            }
            hint.await;
        }
    }
}

impl Inbox for Memory {
    async fn push(&self, paths: &[String]) -> Result<(), QueueError> {
        self.state.borrow_mut().pushed.extend_from_slice(paths);
        Ok(())
    }

    async fn pushed(&self) -> Result<Vec<String>, QueueError> {
        Ok(self.state.borrow().pushed.clone())
    }

    async fn remove_pushed(&self, paths: &[String]) -> Result<(), QueueError> {
        let taken: BTreeSet<&String> = paths.iter().collect();
        self.state.borrow_mut().pushed.retain(|path| !taken.contains(path));
        Ok(())
    }

    async fn pushed_count(&self) -> Result<u64, QueueError> {
        Ok(self.state.borrow().pushed.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeSet;
    use std::rc::Rc;

    use proptest::prelude::*;

    use super::{Memory, State};
    use engine::item::{Item, Name};
    use engine::queue::Release;

    fn item(rank: u32) -> Item {
        Item { rank: u64::from(rank), name: Name::of("prepare", rank) }
    }

    /// What every state must satisfy: an entry is in exactly one of the two orders.
    fn check(state: &State) {
        let deadlines: BTreeSet<(u64, u64)> = state
            .entries
            .iter()
            .filter_map(|(&rank, entry)| entry.deadline.map(|deadline| (deadline, rank)))
            .collect();
        assert_eq!(deadlines, state.deadlines);
        let pending: BTreeSet<u64> = state
            .entries
            .iter()
            .filter(|(_, entry)| entry.deadline.is_none())
            .map(|(&rank, _)| rank)
            .collect();
        assert_eq!(pending, state.pending);
    }

    proptest! {
        #[test]
        fn an_entry_is_in_one_order_whatever_is_done(
            steps in prop::collection::vec((0..7u8, 0..5u32, 0..4u64), 0..60),
        ) {
            let (mut state, mut claims, mut now) = (State::default(), Vec::new(), 0);
            for (step, index, ms) in steps {
                let picked = claims.get(index as usize).cloned();
                match (step, picked) {
                    (0, _) => { state.add(&[item(index)]); }
                    (1, _) => claims.extend(state.claim(now, "w", 0, ms, &[item(index + 5)])),
                    (2, _) => now += ms,
                    (6, _) => {
                        now = now.saturating_sub(ms);
                        state.void(now);
                    }
                    (3, Some(claim)) => { state.heartbeat(now, &claim, ms, 0); }
                    (4, Some(claim)) => { state.ack(&claim, &[item(index + 5)]); }
                    (5, Some(claim)) => { state.release(now, &claim, ms, Release::Failed); }
                    _ => {}
                }
                check(&state);
            }
        }
    }

    #[test]
    fn a_deadline_farther_ahead_than_it_was_set_is_void() {
        let mut state = State::default();
        state.add(&[Item::BEGIN]);
        state.claim(1_000, "first", 1, 50, &[]);
        state.void(999);
        assert_eq!(state.claim(999, "second", 2, 50, &[]).unwrap().taken_over_from.as_deref(), Some("first"));
        state.void(999);
        assert_eq!(state.claim(999, "third", 3, 50, &[]), None);
    }

    #[test]
    fn a_snapshot_is_restored_for_every_client() {
        let now = Rc::new(Cell::new(0));
        let queue = Memory::new(move || now.get());
        let other = queue.clone();
        queue.state.borrow_mut().add(&[Item::BEGIN]);
        let before = queue.snapshot();
        queue.state.borrow_mut().claim(0, "w", 1, 1000, &[]);
        assert_ne!(other.snapshot(), before);
        queue.restore(before.clone());
        assert_eq!(other.snapshot(), before);
        other.restore(State::default());
        assert_eq!(queue.snapshot(), State::default());
    }
}
