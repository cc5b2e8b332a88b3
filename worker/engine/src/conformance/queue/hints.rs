//! Hints that something became claimable, on arms that give them. An arm that gives none needs none of this.

use std::time::Duration;

use super::{Arm, BEGIN, FOLD, LONG, add, claim, claimed};
use crate::queue::{Ownership, Queue, Release, WorkQueue};

/// No client has to wait as long as this; one that does will never hear.
const DEAF: Duration = Duration::from_secs(60);

/// The client waits, and then another one does something that it should hear of.
async fn hears<T>(waiting: &impl Queue, done: impl Future<Output = T>) -> T {
    let heard = tokio::time::timeout(DEAF, waiting.changed());
    let (heard, done) = tokio::join!(heard, done);
    assert!(heard.is_ok(), "nobody hears that an item is claimable");
    done
}

pub async fn a_waiting_client_hears_what_becomes_claimable(arm: &impl Arm) {
    let (waiting, other) = (arm.client(), arm.client());
    assert_eq!(claim(&waiting, LONG).await, None);
    assert_eq!(hears(&waiting, add(&other, &[BEGIN])).await, 1);
    let begin = claimed(&other, LONG).await;
    assert_eq!(claim(&waiting, LONG).await, None);
    assert_eq!(hears(&waiting, other.ack(&begin, &[FOLD])).await, Ok(Ownership::Held));
    let fold = claimed(&other, LONG).await;
    assert_eq!(claim(&waiting, LONG).await, None);
    let released = other.release(&fold, Duration::ZERO, Release::Preempted);
    assert_eq!(hears(&waiting, released).await, Ok(Ownership::Held));
    assert_eq!(claimed(&waiting, LONG).await.item, FOLD);
}

/// Between a claim that found nothing and the wait for a hint, another client may add an item.
pub async fn a_client_hears_of_an_item_that_came_before_it_waited(arm: &impl Arm) {
    let (waiting, other) = (arm.client(), arm.client());
    assert_eq!(claim(&waiting, LONG).await, None);
    add(&other, &[BEGIN]).await;
    hears(&waiting, async {}).await;
    assert_eq!(claimed(&waiting, LONG).await.item, BEGIN);
}
