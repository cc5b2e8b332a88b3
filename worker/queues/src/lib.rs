//! Arms of the engine's queue ports: Redis, SQLite, a map in memory, and the choice among them by URL.

pub mod any;
pub mod memory;
pub mod redis;
pub mod sqlite;
