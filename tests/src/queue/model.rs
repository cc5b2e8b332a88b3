//! The queue's meaning in a hundred lines, and random operations of several clients against it.
//! A failure shrinks to the shortest trace of operations that shows it.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::Duration;

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use tokio::runtime::Runtime;
use worker::item::Item;
use worker::queue::{Claim, Counts, Inbox, Ownership, Release, WorkQueue};

use worker::conformance::queue::Arm;

use super::items::{BEGIN, FOLD, INTAKE, REPORT, evaluate, join, prepare};

pub const CLIENTS: usize = 3;

#[derive(Debug, Clone)]
pub enum Operation {
    Add(usize, Vec<Item>),
    Claim(usize, Duration, Vec<Item>),
    /// The number is that of a claim, modulo how many there were.
    Heartbeat(usize, Whose, Duration, u64),
    Ack(usize, Whose, Vec<Item>),
    Release(usize, Whose, Duration, Release),
    Push(usize, Vec<String>),
    TakeIn(usize, Vec<String>),
    Pass(Duration),
}

/// The n-th claim ever answered, modulo their number; or a forgery of it.
#[derive(Debug, Clone, Copy)]
pub enum Whose {
    Of(usize),
    OtherNonce(usize),
    OtherToken(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Done,
    Added(usize),
    /// Item, its former owner if it was redelivered, failures, claims lost in a row; or nothing.
    Claimed(Option<(Item, Option<String>, u32, u32)>),
    Held(Ownership),
}

/// The reference: what is in the queue, and who has which claim (by its number).
#[derive(Debug, Clone, Default)]
pub struct Reference {
    items: BTreeMap<u64, Slot>,
    claims: Vec<Item>,
    pushed: Vec<String>,
    now: Duration,
    answer: Option<Answer>,
}

#[derive(Debug, Clone)]
struct Slot {
    item: Item,
    owner: Option<(usize, String)>,
    until: Duration,
    failures: u32,
    lost: u32,
    progress: u64,
}

impl Reference {
    fn add(&mut self, items: &[Item]) -> usize {
        let before = self.items.len();
        for &item in items {
            let slot = Slot { item, owner: None, until: Duration::ZERO, failures: 0, lost: 0, progress: 0 };
            self.items.entry(item.rank).or_insert(slot);
        }
        self.items.len() - before
    }

    fn claim(&mut self, worker: String, lease: Duration, preferred: &[Item]) -> Answer {
        let free: Vec<Item> =
            self.items.values().filter(|slot| slot.until <= self.now).map(|slot| slot.item).collect();
        let wanted = preferred.iter().find(|item| free.contains(item)).or(free.first());
        let Some(slot) = wanted.and_then(|item| self.items.get_mut(&item.rank)) else {
            return Answer::Claimed(None);
        };
        let from = slot.owner.replace((self.claims.len(), worker)).map(|(_, worker)| worker);
        if from.is_some() {
            slot.lost = if slot.progress > 0 { 1 } else { slot.lost + 1 };
        }
        slot.progress = 0;
        slot.until = self.now + lease;
        self.claims.push(slot.item);
        Answer::Claimed(Some((slot.item, from, slot.failures, slot.lost)))
    }

    /// The slot that a claim still owns.
    fn owned(&mut self, whose: Whose) -> Option<&mut Slot> {
        let Whose::Of(number) = whose else { return None };
        let number = number.checked_rem(self.claims.len())?;
        let slot = self.items.get_mut(&self.claims[number].rank)?;
        slot.owner.as_ref().is_some_and(|(owner, _)| *owner == number).then_some(slot)
    }

    fn counts(&self) -> Counts {
        let pending = self.items.values().filter(|slot| slot.until <= self.now).count();
        Counts { pending: pending as u64, claimed: (self.items.len() - pending) as u64 }
    }

    fn apply(&mut self, operation: &Operation) -> Answer {
        let now = self.now;
        let held = |held: bool| Answer::Held(if held { Ownership::Held } else { Ownership::Lost });
        match operation {
            Operation::Add(_, items) => Answer::Added(self.add(items)),
            Operation::Claim(client, lease, preferred) => self.claim(worker_name(*client), *lease, preferred),
            Operation::Heartbeat(_, whose, lease, progress) => held(
                self.owned(*whose)
                    .map(|slot| (slot.until, slot.progress) = (now + *lease, *progress))
                    .is_some(),
            ),
            Operation::Ack(_, whose, next) => {
                let rank = self.owned(*whose).map(|slot| slot.item.rank);
                let removed = rank.and_then(|rank| self.items.remove(&rank));
                self.add(next);
                held(removed.is_some())
            }
            Operation::Release(_, whose, delay, why) => held(
                self.owned(*whose)
                    .map(|slot| {
                        slot.owner = None;
                        slot.lost = 0;
                        slot.until = now + *delay;
                        slot.failures += u32::from(*why == Release::Failed);
                    })
                    .is_some(),
            ),
            Operation::Push(_, paths) => {
                self.pushed.extend_from_slice(paths);
                Answer::Done
            }
            Operation::TakeIn(_, paths) => {
                self.pushed.retain(|path| !paths.contains(path));
                Answer::Done
            }
            Operation::Pass(duration) => {
                self.now += *duration;
                Answer::Done
            }
        }
    }
}

fn worker_name(client: usize) -> String {
    format!("worker {client}")
}

/// The reference for an arm: time passes only where that costs none.
#[derive(Debug)]
pub struct ReferenceFor<A>(PhantomData<A>);

impl<A: Arm + 'static> ReferenceStateMachine for ReferenceFor<A> {
    type State = Reference;
    type Transition = Operation;

    fn init_state() -> BoxedStrategy<Reference> {
        Just(Reference::default()).boxed()
    }

    fn transitions(_: &Reference) -> BoxedStrategy<Operation> {
        operations(A::VIRTUAL_TIME)
    }

    fn apply(mut state: Reference, operation: &Operation) -> Reference {
        state.answer = Some(state.apply(operation));
        state
    }
}

fn operations(time_passes: bool) -> BoxedStrategy<Operation> {
    let client = || 0..CLIENTS;
    // Few items, so that they meet; every kind, so that their order is tried.
    let item = prop_oneof![
        Just(BEGIN),
        Just(FOLD),
        Just(REPORT),
        (0..2u32).prop_map(prepare),
        (0..2u32).prop_map(join),
        (0..2u32).prop_map(evaluate),
    ];
    let items = prop::collection::vec(item, 0..4);
    let path = prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned);
    let paths = prop::collection::vec(path, 0..3);
    let span = if time_passes {
        (0..50u64).prop_map(Duration::from_millis).boxed()
    } else {
        prop::sample::select(vec![Duration::ZERO, Duration::from_secs(3600)]).boxed()
    };
    let whose = prop_oneof![
        8 => any::<usize>().prop_map(Whose::Of),
        1 => any::<usize>().prop_map(Whose::OtherNonce),
        1 => any::<usize>().prop_map(Whose::OtherToken),
    ];
    let why = prop::sample::select(vec![Release::Preempted, Release::NotReady, Release::Failed]);
    let pass = if time_passes { 4 } else { 0 };
    prop_oneof![
        4 => (client(), items.clone()).prop_map(|(client, items)| Operation::Add(client, items)),
        6 => (client(), span.clone(), items.clone())
            .prop_map(|(client, lease, preferred)| Operation::Claim(client, lease, preferred)),
        3 => (client(), whose.clone(), span.clone(), 0..3u64)
            .prop_map(|(client, whose, lease, progress)| Operation::Heartbeat(client, whose, lease, progress)),
        3 => (client(), whose.clone(), items).prop_map(|(client, whose, next)| Operation::Ack(client, whose, next)),
        3 => (client(), whose, span.clone(), why)
            .prop_map(|(client, whose, delay, why)| Operation::Release(client, whose, delay, why)),
        1 => (client(), paths.clone()).prop_map(|(client, paths)| Operation::Push(client, paths)),
        1 => (client(), paths).prop_map(|(client, paths)| Operation::TakeIn(client, paths)),
        pass => span.prop_map(Operation::Pass),
    ]
    .boxed()
}

/// An arm under test, with its clients and every claim that it ever answered.
#[derive(Debug)]
pub struct Subject<A: Arm> {
    runtime: Runtime,
    clients: Vec<A::Client>,
    claims: Vec<Claim>,
    arm: A,
}

impl<A: Arm> Subject<A> {
    pub fn open() -> Option<Self> {
        let arm = A::open()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let clients = (0..CLIENTS).map(|_| arm.client()).collect();
        Some(Self { runtime: runtime.expect("a runtime"), clients, claims: vec![], arm })
    }

    fn whose(&self, whose: Whose) -> Option<Claim> {
        let (Whose::Of(number) | Whose::OtherNonce(number) | Whose::OtherToken(number)) = whose;
        let claim = self.claims[number.checked_rem(self.claims.len())?].clone();
        Some(match whose {
            Whose::Of(_) => claim,
            Whose::OtherNonce(_) => Claim { nonce: claim.nonce ^ 1, ..claim },
            Whose::OtherToken(_) => Claim { token: claim.token + 1_000_000, ..claim },
        })
    }

    fn apply(&mut self, operation: &Operation) -> Answer {
        // A claim of nothing, where there was none: an item that no operation adds.
        let never = Claim { item: INTAKE, token: 1, nonce: 1, taken_over_from: None, failures: 0, lost: 0 };
        let claim = match operation {
            Operation::Heartbeat(_, whose, ..)
            | Operation::Ack(_, whose, _)
            | Operation::Release(_, whose, ..) => self.whose(*whose).unwrap_or(never),
            _ => never,
        };
        let clients = &self.clients;
        let answer = self.runtime.block_on(async {
            Ok(match operation {
                Operation::Add(client, items) => Answer::Added(clients[*client].add(items).await?),
                Operation::Claim(client, lease, preferred) => {
                    let (name, nonce) = (worker_name(*client), self.claims.len() as u128);
                    let new = clients[*client].claim(&name, nonce, *lease, preferred).await?;
                    let seen = new
                        .clone()
                        .map(|claim| (claim.item, claim.taken_over_from, claim.failures, claim.lost));
                    let last = self.claims.last().map_or(0, |claim| claim.token);
                    assert!(new.as_ref().is_none_or(|claim| claim.token > last && claim.nonce == nonce));
                    self.claims.extend(new);
                    Answer::Claimed(seen)
                }
                Operation::Heartbeat(client, _, lease, progress) => {
                    Answer::Held(clients[*client].heartbeat(&claim, *lease, *progress).await?)
                }
                Operation::Ack(client, _, next) => Answer::Held(clients[*client].ack(&claim, next).await?),
                Operation::Release(client, _, delay, why) => {
                    Answer::Held(clients[*client].release(&claim, *delay, *why).await?)
                }
                Operation::Push(client, paths) => {
                    clients[*client].push(paths).await.map(|()| Answer::Done)?
                }
                Operation::TakeIn(client, paths) => {
                    clients[*client].remove_pushed(paths).await.map(|()| Answer::Done)?
                }
                Operation::Pass(duration) => {
                    self.arm.pass(*duration).await;
                    Answer::Done
                }
            })
        });
        answer.unwrap_or_else(|error: worker::queue::QueueError| panic!("{operation:?}: {error}"))
    }

    fn counts(&self) -> (Counts, Vec<String>) {
        let client = &self.clients[0];
        self.runtime.block_on(async {
            (client.counts().await.expect("counts"), client.pushed().await.expect("pushed"))
        })
    }
}

/// The test of one arm against the reference.
#[derive(Debug)]
pub struct Model<A>(PhantomData<A>);

impl<A: Arm + 'static> StateMachineTest for Model<A> {
    /// `None` where this machine has no server for the arm, which has been said.
    type SystemUnderTest = Option<Subject<A>>;
    type Reference = ReferenceFor<A>;

    fn init_test(_: &Reference) -> Self::SystemUnderTest {
        Subject::open()
    }

    fn apply(
        mut subject: Self::SystemUnderTest,
        reference: &Reference,
        operation: Operation,
    ) -> Self::SystemUnderTest {
        if let Some(subject) = &mut subject {
            let answer = subject.apply(&operation);
            assert_eq!(Some(&answer), reference.answer.as_ref(), "{operation:?}");
        }
        subject
    }

    fn check_invariants(subject: &Self::SystemUnderTest, reference: &Reference) {
        if let Some(subject) = subject {
            let (counts, pushed) = subject.counts();
            assert_eq!(counts, reference.counts());
            assert_eq!(pushed, reference.pushed);
        }
    }
}
