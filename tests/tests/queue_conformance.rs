//! The engine's suite for queues, on every arm.

use tests::queue::{MemoryArm, RedisArm, SqliteArm, ValkeyArm, block_on};

worker::queue_conformance!(memory, MemoryArm, block_on);
worker::queue_conformance!(
    sqlite,
    SqliteArm,
    block_on,
    runs_share_nothing_but_the_pushed_paths,
    another_boot_voids_deadlines,
);
worker::queue_conformance!(redis, RedisArm, block_on, runs_share_nothing_but_the_pushed_paths);
worker::queue_conformance!(valkey, ValkeyArm, block_on, runs_share_nothing_but_the_pushed_paths);
