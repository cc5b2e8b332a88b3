//! Random operations of several clients on every arm of the queue, against a reference.

use proptest::prelude::*;
use proptest_state_machine::prop_state_machine;
use tests::queue::model::Model;
use tests::queue::server::Server;
use tests::queue::{MemoryArm, RedisArm, SqliteArm};

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() }
}

type Memory = Model<MemoryArm>;
type Sqlite = Model<SqliteArm>;
type Redis = Model<RedisArm>;

prop_state_machine! {
    #![proptest_config(cases(2000))]
    #[test]
    fn memory_is_the_reference(sequential 1..80 => Memory);
}

prop_state_machine! {
    #![proptest_config(cases(100))]
    #[test]
    fn sqlite_is_the_reference(sequential 1..60 => Sqlite);
}

/// One server for all cases; each has a database of its own.
#[test]
fn redis_is_the_reference() {
    let Some(_server) = Server::shared() else { return };
    redis_cases();
}

prop_state_machine! {
    #![proptest_config(cases(60))]
    fn redis_cases(sequential 1..60 => Redis);
}
