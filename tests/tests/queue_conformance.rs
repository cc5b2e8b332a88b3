//! One body a behaviour, on every arm of the queue.

use tests::queue::conformance as bodies;
use tests::queue::{Arm, MemoryArm, RedisArm, SqliteArm, block_on};

macro_rules! on {
    ($module:ident, $arm:ty, [$($body:ident),* $(,)?]) => {
        mod $module {
            use super::*;
            $(
                #[test]
                fn $body() {
                    let Some(arm) = <$arm>::open() else { return };
                    block_on(bodies::$body(&arm));
                }
            )*
        }
    };
}

macro_rules! on_every_arm {
    ($($body:ident),* $(,)?) => {
        on!(memory, MemoryArm, [$($body),*]);
        on!(sqlite, SqliteArm, [$($body,)* runs_share_nothing_but_the_pushed_paths]);
        on!(redis, RedisArm, [$($body,)* runs_share_nothing_but_the_pushed_paths]);
    };
}

on_every_arm! {
    the_lowest_rank_is_handed_out_first,
    the_first_of_those_preferred_is_handed_out,
    an_item_is_added_once,
    nothing_is_an_operation_on_nothing,
    clients_share_a_run,
    tokens_grow,
    a_live_lease_keeps_others_away,
    an_expired_lease_is_taken_over,
    a_lease_of_no_time_has_expired,
    an_expired_lease_is_its_owners_until_taken,
    a_renewal_extends_the_lease,
    both_token_and_nonce_make_the_owner,
    an_acknowledgement_adds_what_comes_next,
    failures_are_counted_and_preemptions_are_not,
    a_delay_passes,
    counts_say_what_a_claim_could_have,
    pushed_paths_are_taken_in_by_value,
    any_path_comes_back_as_pushed,
    long_lists_are_taken_whole,
}
