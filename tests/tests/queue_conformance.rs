//! The engine's suite for queues, on every arm.

use tests::queue::{MemoryArm, RedisArm, SqliteArm, ValkeyArm, block_on};

worker::queue_conformance!(
    memory,
    MemoryArm,
    block_on,
    a_waiting_client_hears_what_becomes_claimable,
    a_client_hears_of_an_item_that_came_before_it_waited,
);
worker::queue_conformance!(
    sqlite,
    SqliteArm,
    block_on,
    runs_share_nothing_but_the_pushed_paths,
    another_boot_voids_deadlines,
    a_waiting_client_hears_what_becomes_claimable,
    a_client_hears_of_an_item_that_came_before_it_waited,
);
worker::queue_conformance!(
    redis,
    RedisArm,
    block_on,
    runs_share_nothing_but_the_pushed_paths,
    a_waiting_client_hears_what_becomes_claimable,
    a_client_hears_of_an_item_that_came_before_it_waited,
);
worker::queue_conformance!(
    valkey,
    ValkeyArm,
    block_on,
    runs_share_nothing_but_the_pushed_paths,
    a_waiting_client_hears_what_becomes_claimable,
    a_client_hears_of_an_item_that_came_before_it_waited,
);
