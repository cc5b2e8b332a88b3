//! What every arm of the queue does: one body a behaviour. [`crate::queue_conformance!`] makes a test of each body. Bodies that let time pass use leases
//! of 20 ms for what must expire and of an hour for what must not, so that nothing depends on how
//! fast a machine is.

mod clock;
mod hints;

use std::collections::BTreeSet;
use std::time::Duration;

pub use clock::*;
pub use hints::*;

use crate::item::{Item, Name};
use crate::queue::{Claim, Counts, Inbox, Ownership, Queue, Release, WorkQueue};

/// One way to have a queue.
pub trait Arm: Sized {
    type Client: Queue;

    /// Whether [`Arm::pass`] costs no time.
    const VIRTUAL_TIME: bool;

    /// A new, empty queue. `None`, said aloud, where this machine has no server for it.
    fn open() -> Option<Self>;

    /// A further client of a run.
    fn client_of(&self, run: &str) -> Self::Client;

    /// A further client of the run that most bodies use.
    fn client(&self) -> Self::Client {
        self.client_of("1")
    }

    /// Returns once the queue's own clock has gone on by `duration` at least.
    fn pass(&self, duration: Duration) -> impl Future<Output = ()>;

    /// Sets the queue's own clock back.
    fn set_back(&self, by: Duration) -> impl Future<Output = ()>;
}

/// An arm whose deadlines are of one boot of its machine.
pub trait Boots: Arm {
    /// Boots the machine again, at the same time by its clock. Clients that there were are gone.
    fn boot(&self);
}

const BEGIN: Item = Item::BEGIN;
const INTAKE: Item = Item { rank: 1, name: Name::constant("intake") };
const FOLD: Item = Item { rank: 2, name: Name::constant("fold") };
const REPORT: Item = Item { rank: 1 << 52, name: Name::constant("report") };

fn of_dataset(step: &'static str, place: u64, index: u32) -> Item {
    Item { rank: 3 * u64::from(index) + place, name: Name::of(step, index) }
}

fn join(index: u32) -> Item {
    of_dataset("join", 10, index)
}

fn prepare(index: u32) -> Item {
    of_dataset("prepare", 11, index)
}

fn evaluate(index: u32) -> Item {
    of_dataset("evaluate", 12, index)
}

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(3600);
const NONCE: u128 = 0x0123_4567_89ab_cdef;

async fn claim(queue: &impl Queue, lease: Duration) -> Option<Claim> {
    queue.claim("worker", NONCE, lease, &[]).await.expect("a claim is answered")
}

async fn claimed(queue: &impl Queue, lease: Duration) -> Claim {
    claim(queue, lease).await.expect("something to claim")
}

async fn add(queue: &impl Queue, items: &[Item]) -> usize {
    queue.add(items).await.expect("an addition is answered")
}

async fn ack(queue: &impl Queue, claim: &Claim) -> Ownership {
    queue.ack(claim, &[]).await.expect("an acknowledgement is answered")
}

async fn counts(queue: &impl Queue) -> (u64, u64, u64) {
    let Counts { pending, claimed } = queue.counts().await.expect("a count is answered");
    (pending, claimed, queue.pushed_count().await.expect("a count is answered"))
}

/// The owner's words about a claim that is not theirs: none may change anything.
async fn is_lost(queue: &impl Queue, claim: &Claim) {
    let before = counts(queue).await;
    assert_eq!(queue.heartbeat(claim, LONG, 1).await, Ok(Ownership::Lost));
    assert_eq!(queue.release(claim, Duration::ZERO, Release::Failed).await, Ok(Ownership::Lost));
    assert_eq!(queue.ack(claim, &[]).await, Ok(Ownership::Lost));
    assert_eq!(counts(queue).await, before);
}

fn texts(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|&path| path.to_owned()).collect()
}

pub async fn the_lowest_rank_is_handed_out_first(arm: &impl Arm) {
    let queue = arm.client();
    let mut items = [
        REPORT,
        evaluate(0),
        prepare(10),
        prepare(9),
        FOLD,
        join(u32::MAX),
        INTAKE,
        join(2),
        BEGIN,
        evaluate(u32::MAX),
    ];
    assert_eq!(add(&queue, &items).await, items.len());
    items.sort_by_key(|item| item.rank);
    for item in items {
        let claim = claimed(&queue, LONG).await;
        assert_eq!((claim.item, claim.nonce, claim.failures, claim.taken_over_from), (item, NONCE, 0, None));
    }
    assert_eq!(claim(&queue, LONG).await, None);
}

pub async fn the_first_of_those_preferred_is_handed_out(arm: &impl Arm) {
    let (queue, other) = (arm.client(), arm.client());
    let preferring = async |preferred: &[Item], lease| {
        let claim = queue.claim("worker", NONCE, lease, preferred).await.expect("answered");
        claim.map(|claim| (claim.item, claim.taken_over_from, claim.failures))
    };
    add(&queue, &[FOLD, join(1), join(2), join(3), join(4)]).await;
    let [mine, theirs] = [join(4), join(2)];
    assert_eq!(preferring(&[mine, theirs], LONG).await, Some((mine, None, 0)));
    assert_eq!(preferring(&[mine, REPORT, theirs], SHORT).await, Some((theirs, None, 0)), "others go");
    assert_eq!(preferring(&[mine, REPORT], LONG).await, Some((FOLD, None, 0)), "none is there");
    arm.pass(SHORT).await;
    let expired = Some((theirs, Some("worker".to_owned()), 0));
    assert_eq!(preferring(&[theirs, join(1)], LONG).await, expired, "its lease is over");

    let one = claimed(&other, LONG).await;
    assert_eq!(one.item, join(1));
    assert_eq!(other.release(&one, Duration::ZERO, Release::Failed).await, Ok(Ownership::Held));
    assert_eq!(preferring(&[join(3)], LONG).await, Some((join(3), None, 0)));
    assert_eq!(preferring(&[mine, one.item], LONG).await, Some((one.item, None, 1)), "its failures stay");
    assert_eq!(preferring(&[mine, theirs], LONG).await, None, "all are leased");
    assert_eq!(counts(&queue).await, (0, 5, 0));
}

pub async fn an_item_is_added_once(arm: &impl Arm) {
    let queue = arm.client();
    assert_eq!(add(&queue, &[FOLD, FOLD, join(1)]).await, 2);
    assert_eq!(add(&queue, &[FOLD]).await, 0, "pending");
    let fold = claimed(&queue, LONG).await;
    assert_eq!(add(&queue, &[FOLD]).await, 0, "claimed");
    assert_eq!(queue.release(&fold, LONG, Release::NotReady).await, Ok(Ownership::Held));
    assert_eq!(add(&queue, &[FOLD]).await, 0, "delayed");
    let joined = claimed(&queue, SHORT).await;
    arm.pass(SHORT).await;
    assert_eq!(add(&queue, &[join(1)]).await, 0, "expired");
    assert_eq!(ack(&queue, &joined).await, Ownership::Held);
    assert_eq!(add(&queue, &[join(1)]).await, 1, "acknowledged");
}

pub async fn nothing_is_an_operation_on_nothing(arm: &impl Arm) {
    let queue = arm.client();
    assert_eq!(add(&queue, &[]).await, 0);
    assert_eq!(queue.push(&[]).await, Ok(()));
    assert_eq!(queue.remove_pushed(&[]).await, Ok(()));
    assert_eq!(queue.pushed().await, Ok(vec![]));
    assert_eq!(claim(&queue, LONG).await, None);
    assert_eq!(queue.counts().await.map(|counts| counts.is_empty()), Ok(true));
}

pub async fn clients_share_a_run(arm: &impl Arm) {
    let clients: Vec<_> = (0..4).map(|_| arm.client()).collect();
    let items: Vec<Item> = (0..12).map(prepare).collect();
    assert_eq!(add(&clients[0], &items).await, items.len());
    let mut seen = BTreeSet::new();
    for round in 0..3 {
        for client in &clients {
            assert!(seen.insert(claimed(client, LONG).await.item), "round {round}");
        }
    }
    assert_eq!(seen.len(), items.len());
    for client in &clients {
        assert_eq!(claim(client, LONG).await, None);
    }
}

pub async fn tokens_grow(arm: &impl Arm) {
    let (one, two) = (arm.client(), arm.client());
    add(&one, &[prepare(1), prepare(2), prepare(3)]).await;
    let mut last = 0;
    for round in 0..12 {
        let queue = if round % 3 == 0 { &one } else { &two };
        let claim = claimed(queue, LONG).await;
        assert!(claim.token > last, "{} after {last}", claim.token);
        last = claim.token;
        if round % 2 == 0 {
            queue.release(&claim, Duration::ZERO, Release::Preempted).await.expect("released");
        } else {
            queue.ack(&claim, &[claim.item]).await.expect("acknowledged");
        }
    }
}

pub async fn a_live_lease_keeps_others_away(arm: &impl Arm) {
    let queue = arm.client();
    add(&queue, &[FOLD]).await;
    let fold = claimed(&queue, LONG).await;
    arm.pass(SHORT).await;
    assert_eq!(claim(&arm.client(), SHORT).await, None);
    assert_eq!(ack(&queue, &fold).await, Ownership::Held);
}

pub async fn an_item_with_an_expired_lease_is_redelivered(arm: &impl Arm) {
    let (queue, other) = (arm.client(), arm.client());
    for worker in ["node-1/pod 7", "ΔΣ\n\t%s 'quoted' \"twice\"", "-"] {
        add(&queue, &[FOLD, join(1)]).await;
        let lost = queue.claim(worker, 7, SHORT, &[]).await.expect("answered").expect("the fold");
        arm.pass(SHORT).await;
        let taken = claimed(&other, LONG).await;
        assert_eq!((taken.item, taken.taken_over_from.as_deref()), (FOLD, Some(worker)));
        assert!(taken.token > lost.token);
        assert_eq!(taken.failures, 0, "a preemption is no failure");
        is_lost(&queue, &lost).await;
        assert_eq!(ack(&other, &taken).await, Ownership::Held);
        let joined = claimed(&queue, LONG).await;
        assert_eq!((joined.item, joined.taken_over_from.clone()), (join(1), None));
        assert_eq!(ack(&queue, &joined).await, Ownership::Held);
    }
}

pub async fn a_lease_of_no_time_has_expired(arm: &impl Arm) {
    let queue = arm.client();
    add(&queue, &[FOLD]).await;
    let first = claimed(&queue, Duration::ZERO).await;
    let second = claimed(&queue, LONG).await;
    assert_eq!(second.taken_over_from.as_deref(), Some("worker"));
    is_lost(&queue, &first).await;
}

/// Until another claim takes it, an expired item is still its owner's: also when the claim of
/// something else has noticed that it expired.
pub async fn an_expired_lease_is_its_owners_until_taken(arm: &impl Arm) {
    let queue = arm.client();
    let items = [FOLD, prepare(1), prepare(2), prepare(3)];
    add(&queue, &items).await;
    let mut claims = vec![];
    for _ in items {
        claims.push(claimed(&queue, LONG).await);
    }
    // Only now may time pass: a lease that expired before the last claim would be handed out by it.
    for claim in &claims {
        assert_eq!(queue.heartbeat(claim, SHORT, 0).await, Ok(Ownership::Held));
    }
    arm.pass(SHORT).await;
    let fold = claimed(&arm.client(), LONG).await;
    assert_eq!(fold.item, FOLD);
    is_lost(&queue, &claims[0]).await;

    assert_eq!(queue.heartbeat(&claims[1], LONG, 5).await, Ok(Ownership::Held));
    assert_eq!(ack(&queue, &claims[2]).await, Ownership::Held);
    assert_eq!(queue.release(&claims[3], LONG, Release::NotReady).await, Ok(Ownership::Held));
    assert_eq!(claim(&queue, LONG).await, None, "extended, acknowledged, delayed");
    assert_eq!(counts(&queue).await, (0, 3, 0));
    assert_eq!(ack(&queue, &claims[1]).await, Ownership::Held);
    assert_eq!(counts(&queue).await, (0, 2, 0));
}

pub async fn a_heartbeat_extends_the_lease(arm: &impl Arm) {
    let queue = arm.client();
    add(&queue, &[FOLD]).await;
    let fold = claimed(&queue, SHORT).await;
    assert_eq!(queue.heartbeat(&fold, LONG, 1).await, Ok(Ownership::Held));
    arm.pass(SHORT * 2).await;
    assert_eq!(claim(&queue, LONG).await, None);
    assert_eq!(queue.heartbeat(&fold, Duration::ZERO, 2).await, Ok(Ownership::Held));
    assert_eq!(claimed(&queue, LONG).await.taken_over_from.as_deref(), Some("worker"));
}

pub async fn both_token_and_nonce_make_the_owner(arm: &impl Arm) {
    let queue = arm.client();
    add(&queue, &[prepare(1), prepare(2)]).await;
    let one = queue.claim("worker", 1, LONG, &[]).await.expect("answered").expect("an item");
    let two = queue.claim("worker", 2, LONG, &[]).await.expect("answered").expect("an item");
    let forged = [
        Claim { nonce: 2, ..one.clone() },
        Claim { nonce: 1 << 64, ..one.clone() },
        Claim { token: two.token, ..one.clone() },
        Claim { token: 0, nonce: 0, ..one.clone() },
        Claim { token: u64::MAX, ..one.clone() },
        Claim { item: prepare(2), ..one.clone() },
        Claim { item: prepare(3), ..one.clone() },
    ];
    for claim in &forged {
        is_lost(&queue, claim).await;
    }
    assert_eq!(ack(&queue, &one).await, Ownership::Held);
    assert_eq!(ack(&queue, &two).await, Ownership::Held);
    is_lost(&queue, &one).await;
}

pub async fn an_acknowledgement_adds_what_comes_next(arm: &impl Arm) {
    let queue = arm.client();
    add(&queue, &[prepare(1), join(2)]).await;
    let prepare = claimed(&queue, LONG).await;
    let next = [join(1), FOLD, join(2), FOLD];
    assert_eq!(queue.ack(&prepare, &next).await, Ok(Ownership::Held));
    assert_eq!(counts(&queue).await, (3, 0, 0));
    // Lost, and its next is added all the same: the item is committed, by this owner or another.
    assert_eq!(queue.ack(&prepare, &[evaluate(1)]).await, Ok(Ownership::Lost));
    assert_eq!(counts(&queue).await, (4, 0, 0));
    // An item can follow itself.
    let fold = claimed(&queue, LONG).await;
    assert_eq!(queue.ack(&fold, &[FOLD]).await, Ok(Ownership::Held));
    let again = claimed(&queue, LONG).await;
    assert_eq!(again.item, FOLD);
    is_lost(&queue, &fold).await;
}

pub async fn failures_are_counted_and_preemptions_are_not(arm: &impl Arm) {
    let queue = arm.client();
    add(&queue, &[FOLD]).await;
    let steps = [
        (Release::Preempted, 0),
        (Release::Failed, 0),
        (Release::NotReady, 1),
        (Release::Preempted, 1),
        (Release::Failed, 1),
        (Release::Preempted, 2),
    ];
    for (why, failures) in steps {
        let fold = claimed(&queue, LONG).await;
        assert_eq!((fold.failures, fold.taken_over_from.clone()), (failures, None));
        assert_eq!(queue.release(&fold, Duration::ZERO, why).await, Ok(Ownership::Held));
        is_lost(&queue, &fold).await;
    }
    // A lease that expires keeps the count, and is no failure; an acknowledgement ends it.
    claimed(&queue, Duration::ZERO).await;
    let fold = claimed(&queue, LONG).await;
    assert_eq!((fold.failures, fold.taken_over_from.as_deref()), (2, Some("worker")));
    assert_eq!(queue.ack(&fold, &[FOLD]).await, Ok(Ownership::Held));
    assert_eq!(claimed(&queue, LONG).await.failures, 0);
}

/// An owner that came past what failed says so, at a heartbeat or a release.
pub async fn an_owner_sets_failures_back(arm: &impl Arm) {
    let queue = arm.client();
    add(&queue, &[FOLD]).await;
    let fail = async |fold: &Claim| queue.release(fold, Duration::ZERO, Release::Failed).await;
    for failures in [0, 1] {
        let fold = claimed(&queue, LONG).await;
        assert_eq!(fold.failures, failures);
        assert_eq!(fail(&fold).await, Ok(Ownership::Held));
    }
    let fold = Claim { failures: 0, ..claimed(&queue, LONG).await };
    assert_eq!(fail(&fold).await, Ok(Ownership::Held));
    let fold = claimed(&queue, LONG).await;
    assert_eq!(fold.failures, 1, "the release counts from where the owner was");
    let fold = Claim { failures: 0, ..fold };
    assert_eq!(queue.heartbeat(&fold, SHORT, 0).await, Ok(Ownership::Held));
    arm.pass(SHORT).await;
    assert_eq!(claimed(&queue, LONG).await.failures, 0, "the heartbeat says so before the owner dies");
}

/// Workers that die without notice are counted, until one makes progress or ends its claim.
pub async fn claims_lost_in_a_row_are_counted(arm: &impl Arm) {
    let queue = arm.client();
    add(&queue, &[FOLD]).await;
    let lose = async |progress: u64| {
        let fold = claimed(&queue, SHORT).await;
        assert_eq!(queue.heartbeat(&fold, SHORT, progress).await, Ok(Ownership::Held));
        arm.pass(SHORT).await;
        fold.lost
    };
    assert_eq!([lose(0).await, lose(0).await, lose(0).await], [0, 1, 2]);
    assert_eq!(
        [lose(3).await, lose(0).await, lose(0).await],
        [3, 1, 2],
        "after progress the row is a new one"
    );
    let fold = claimed(&queue, LONG).await;
    assert_eq!((fold.lost, fold.failures), (3, 0));
    assert_eq!(queue.release(&fold, Duration::ZERO, Release::Preempted).await, Ok(Ownership::Held));
    let fold = claimed(&queue, SHORT).await;
    assert_eq!(fold.lost, 0, "its worker lived");
    assert_eq!(queue.release(&fold, SHORT, Release::Failed).await, Ok(Ownership::Held));
    arm.pass(SHORT).await;
    let fold = claimed(&queue, SHORT).await;
    assert_eq!((fold.lost, fold.failures), (0, 1));
    arm.pass(SHORT).await;
    let fold = claimed(&queue, LONG).await;
    assert_eq!((fold.lost, fold.failures), (1, 1), "both are kept");
}

pub async fn a_delay_passes(arm: &impl Arm) {
    let queue = arm.client();
    add(&queue, &[prepare(1), prepare(2)]).await;
    let one = claimed(&queue, LONG).await;
    let two = claimed(&queue, LONG).await;
    assert_eq!(queue.release(&one, SHORT, Release::Failed).await, Ok(Ownership::Held));
    assert_eq!(queue.release(&two, LONG, Release::NotReady).await, Ok(Ownership::Held));
    arm.pass(SHORT).await;
    let again = claimed(&queue, LONG).await;
    assert_eq!((again.item, again.failures, again.taken_over_from), (prepare(1), 1, None));
    assert_eq!(claim(&queue, LONG).await, None);
}

pub async fn counts_say_what_a_claim_could_have(arm: &impl Arm) {
    let queue = arm.client();
    add(&queue, &[prepare(1), prepare(2), prepare(3)]).await;
    queue.push(&texts(&["a", "b"])).await.expect("pushed");
    assert_eq!(counts(&queue).await, (3, 0, 2));
    let one = claimed(&queue, LONG).await;
    claimed(&queue, SHORT).await;
    arm.pass(SHORT).await;
    assert_eq!(counts(&queue).await, (2, 1, 2), "expired");
    queue.release(&one, LONG, Release::NotReady).await.expect("released");
    assert_eq!(counts(&queue).await, (2, 1, 2), "delayed");
}

pub async fn pushed_paths_are_taken_in_by_value(arm: &impl Arm) {
    let (queue, other) = (arm.client(), arm.client());
    queue.push(&texts(&["b", "a"])).await.expect("pushed");
    other.push(&texts(&["c", "a", "a", "d"])).await.expect("pushed");
    assert_eq!(queue.pushed().await, Ok(texts(&["b", "a", "c", "a", "a", "d"])));
    queue.remove_pushed(&texts(&["a", "never pushed", "b"])).await.expect("taken in");
    assert_eq!(other.pushed().await, Ok(texts(&["c", "d"])));
    other.push(&texts(&["a"])).await.expect("pushed");
    queue.remove_pushed(&texts(&["c", "d"])).await.expect("taken in");
    assert_eq!(queue.pushed().await, Ok(texts(&["a"])));
    queue.remove_pushed(&texts(&["a"])).await.expect("taken in");
    assert_eq!(queue.pushed().await, Ok(vec![]));
}

pub async fn any_path_comes_back_as_pushed(arm: &impl Arm) {
    let queue = arm.client();
    let long = "x".repeat(100_000);
    let paths = texts(&[
        "",
        " ",
        "a b",
        "a\nb\r\n",
        "ä/ö/日本.pkl",
        "\0",
        "-1",
        "NULL",
        "'; DROP TABLE items",
        &long,
    ]);
    queue.push(&paths).await.expect("pushed");
    assert_eq!(queue.pushed().await, Ok(paths.clone()));
    queue.remove_pushed(&paths).await.expect("taken in");
    assert_eq!(queue.pushed().await, Ok(vec![]));
}

pub async fn long_lists_are_taken_whole(arm: &impl Arm) {
    let queue = arm.client();
    let items: Vec<Item> = (0..10_000).map(prepare).collect();
    assert_eq!(add(&queue, &items).await, items.len());
    assert_eq!(add(&queue, &items).await, 0);
    let paths: Vec<String> = (0..10_000).map(|n| format!("datasets/training/{n}.csv")).collect();
    queue.push(&paths).await.expect("pushed");
    assert_eq!(counts(&queue).await, (10_000, 0, 10_000));
    let (even, odd): (Vec<_>, Vec<_>) = paths.into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
    let [even, odd] = [even, odd].map(|paths| paths.into_iter().map(|(_, path)| path).collect::<Vec<_>>());
    queue.remove_pushed(&even).await.expect("taken in");
    assert_eq!(queue.pushed().await, Ok(odd));
    let first = claimed(&queue, LONG).await;
    let next: Vec<Item> = (0..9_000).map(join).collect();
    assert_eq!(queue.ack(&first, &next).await, Ok(Ownership::Held));
    assert_eq!(counts(&queue).await, (18_999, 0, 5_000));
}

/// Not in memory, where there is one run to a queue.
pub async fn runs_share_nothing_but_the_pushed_paths(arm: &impl Arm) {
    let (one, two) = (arm.client_of("1"), arm.client_of("2"));
    add(&one, &[FOLD]).await;
    assert_eq!(claim(&two, LONG).await, None);
    assert_eq!(add(&two, &[FOLD]).await, 1);
    let fold = claimed(&one, LONG).await;
    is_lost(&two, &fold).await;
    let other = claimed(&two, LONG).await;
    assert_eq!((other.item, other.taken_over_from), (FOLD, None));
    one.push(&texts(&["a"])).await.expect("pushed");
    assert_eq!(two.pushed().await, Ok(texts(&["a"])));
}

/// Makes a module with a test of each body, for an [`Arm`]; `block_on` runs a future. `more` are bodies that not every
/// arm passes.
#[macro_export]
macro_rules! queue_conformance {
    ($module:ident, $arm:ty, $block_on:path $(, $more:ident)* $(,)?) => {
        mod $module {
            use super::*;
            $crate::queue_conformance!(@ $arm, $block_on, [
                $($more,)*
                the_lowest_rank_is_handed_out_first,
                the_first_of_those_preferred_is_handed_out,
                an_item_is_added_once,
                nothing_is_an_operation_on_nothing,
                clients_share_a_run,
                tokens_grow,
                a_live_lease_keeps_others_away,
                an_item_with_an_expired_lease_is_redelivered,
                a_lease_of_no_time_has_expired,
                an_expired_lease_is_its_owners_until_taken,
                a_heartbeat_extends_the_lease,
                both_token_and_nonce_make_the_owner,
                an_acknowledgement_adds_what_comes_next,
                failures_are_counted_and_preemptions_are_not,
                an_owner_sets_failures_back,
                claims_lost_in_a_row_are_counted,
                a_delay_passes,
                a_clock_that_is_set_back_voids_deadlines,
                a_deadline_is_void_by_its_own_length,
                a_live_owner_keeps_its_lease_when_the_clock_is_set_back,
                counts_say_what_a_claim_could_have,
                pushed_paths_are_taken_in_by_value,
                any_path_comes_back_as_pushed,
                long_lists_are_taken_whole,
            ]);
        }
    };
    (@ $arm:ty, $block_on:path, [$($body:ident),* $(,)?]) => {
        $(
            #[test]
            fn $body() {
                use $crate::conformance::queue::{self as bodies, Arm};
                let Some(arm) = <$arm as Arm>::open() else { return };
                $block_on(bodies::$body(&arm));
            }
        )*
    };
}
