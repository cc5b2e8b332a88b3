//! Clocks that are set back, and machines that boot: no deadline that they void keeps an item from anybody (rule 16).

use super::{Arm, Boots, FOLD, LONG, NONCE, SHORT, ack, add, claim, claimed, is_lost, prepare};
use crate::item::Item;
use crate::queue::{Ownership, Release, WorkQueue};

/// A deadline farther ahead than it was ever set is void, be it of a lease or of a delay (rule 16).
pub async fn a_clock_that_is_set_back_voids_deadlines(arm: &impl Arm) {
    let queue = arm.client();
    add(&queue, &[prepare(1), prepare(2)]).await;
    let leased = claimed(&queue, LONG).await;
    let delayed = claimed(&queue, LONG).await;
    assert_eq!(queue.release(&delayed, LONG, Release::NotReady).await, Ok(Ownership::Held));
    arm.pass(2 * SHORT).await;
    arm.set_back(SHORT).await;
    assert_eq!(claim(&queue, LONG).await, None, "the deadlines are not as far ahead as they were set");
    arm.set_back(2 * LONG).await;
    let mut again = [claimed(&queue, LONG).await, claimed(&queue, LONG).await];
    again.sort_by_key(|claim| claim.item.rank);
    let seen = again.each_ref().map(|claim| (claim.item, claim.taken_over_from.as_deref()));
    assert_eq!(seen, [(prepare(1), Some("worker")), (prepare(2), None)]);
    is_lost(&queue, &leased).await;
    assert_eq!(claim(&queue, LONG).await, None, "deadlines by the new time hold");
}

/// What counts is how far ahead the deadline itself was set, and not an earlier one: by a claim, a heartbeat, a release.
pub async fn a_deadline_is_void_by_its_own_length(arm: &impl Arm) {
    let queue = arm.client();
    let claimed_first = async |item: Item, lease| {
        let claim = queue.claim("worker", NONCE, lease, &[item]).await.expect("a claim is answered");
        claim.filter(|claim| claim.item == item).expect("the item that is preferred")
    };
    add(&queue, &[prepare(1)]).await;
    claimed(&queue, LONG).await;
    arm.set_back(2 * LONG).await;
    add(&queue, &[prepare(2), prepare(3)]).await;
    let extended = claimed_first(prepare(2), LONG).await;
    let delayed = claimed_first(prepare(3), LONG).await;
    assert_eq!(claimed(&queue, SHORT).await.item, prepare(1), "its lease was of the time before");
    assert_eq!(queue.heartbeat(&extended, SHORT, 1).await, Ok(Ownership::Held));
    assert_eq!(queue.release(&delayed, SHORT, Release::NotReady).await, Ok(Ownership::Held));
    arm.set_back(LONG / 2).await;
    let mut again = [claimed(&queue, LONG).await, claimed(&queue, LONG).await, claimed(&queue, LONG).await];
    again.sort_by_key(|claim| claim.item.rank);
    let seen = again.each_ref().map(|claim| (claim.item, claim.taken_over_from.as_deref()));
    let worker = Some("worker");
    assert_eq!(seen, [(prepare(1), worker), (prepare(2), worker), (prepare(3), None)]);
    assert_eq!(claim(&queue, LONG).await, None, "deadlines by the new time hold");
}

/// Who sends the first heartbeat by the new time keeps what it holds.
pub async fn a_live_owner_keeps_its_lease_when_the_clock_is_set_back(arm: &impl Arm) {
    let queue = arm.client();
    add(&queue, &[FOLD]).await;
    let fold = claimed(&queue, LONG).await;
    arm.set_back(2 * LONG).await;
    assert_eq!(queue.heartbeat(&fold, LONG, 1).await, Ok(Ownership::Held));
    assert_eq!(claim(&queue, LONG).await, None);
    assert_eq!(ack(&queue, &fold).await, Ownership::Held);
}

/// What was set in an earlier boot says nothing, however near it looks.
pub async fn another_boot_voids_deadlines(arm: &impl Boots) {
    let queue = arm.client();
    add(&queue, &[prepare(1), prepare(2)]).await;
    let leased = claimed(&queue, LONG).await;
    let delayed = claimed(&queue, LONG).await;
    assert_eq!(queue.release(&delayed, LONG, Release::Failed).await, Ok(Ownership::Held));
    drop(queue);
    arm.boot();
    let queue = arm.client();
    let one = claimed(&queue, LONG).await;
    assert_eq!((one.item, one.taken_over_from.as_deref()), (prepare(1), Some("worker")));
    let two = claimed(&queue, LONG).await;
    assert_eq!((two.item, two.failures), (prepare(2), 1), "what a queue knows of an item outlives a boot");
    is_lost(&queue, &leased).await;
    let other = arm.client();
    assert_eq!(claim(&other, LONG).await, None, "a client of the same boot voids nothing");
}
