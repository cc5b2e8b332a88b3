//! The queue on Redis: lists, leases and tokens under keys beside the tutorial's own list, one Lua
//! script an operation, the server's clock. Works on Redis 6.2 and newer.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `datasets` | list | pushed paths: `redis-cli RPUSH datasets <path>` adds one |
//! | `<prefix>:pending` | sorted set | items by rank, plus a half where `leases` has a line |
//! | `<prefix>:processing` | sorted set | items by the time, ms since 1970, of their lease's or delay's end |
//! | `<prefix>:leases` | hash | item → `<token>:<nonce>` or `-`, rank, lease ms, failures, lost, progress, worker |
//! | `<prefix>:token` | string | the last token |
//! | `<prefix>:hints` | list | an entry for each item that became claimable a moment ago: idle workers wait for one |
//!
//! The prefix is [`contract::redis_prefix`]. What is in these keys and is not ours is removed and
//! logged, never believed.

mod about;
mod address;
mod client;
mod connection;
mod failure;
mod hints;
pub mod rights;
pub mod script;
mod sentinel;
mod tls;

use std::fmt;
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind, Value};
use tracing::warn;

use self::connection::Connection;
use self::hints::Hints;
use self::script::{Script, Scripts};
use engine::contract;
use engine::item::{Item, Name};
use engine::queue::{Claim, Counts, Inbox, Ownership, QueueError, Release, WorkQueue, millis};

/// Environment variable for the password where the URL has none, as redis-cli reads it.
pub const PASSWORD_ENV: &str = "REDISCLI_AUTH";

/// Where a script gathers what stays of the pushed paths.
const REST: &str = "datasets:rest";

/// Items and paths to one script, so that a long list does not keep the server from others.
const BATCH: usize = 4096;

/// Foreign entries removed by one claim before it reports that there is nothing.
const FOREIGN_MAX: usize = 64;

/// A handle on the queue of one run. Connects with its first operation, and again with the first
/// one after a failure.
pub struct Redis {
    connection: Connection,
    hints: Hints,
    scripts: Scripts,
    pending: String,
    processing: String,
    leases: String,
    token: String,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis({} {})", self.connection.server(), self.pending)
    }
}

impl Redis {
    /// Takes `redis://[[user]:password@]host[:port][/database]`, `rediss://` for TLS, `unix:///path`, or
    /// `redis+sentinel://host[:port][,host[:port]…]/name[/database]`; without a password in it, that of the
    /// environment's `REDISCLI_AUTH`. Does not connect yet.
    pub fn open(url: &str, volume: &str, run: &str) -> Result<Self, QueueError> {
        Self::open_with(url, std::env::var(PASSWORD_ENV).ok(), volume, run)
    }

    /// [`Redis::open`] with the password to use where the URL has none.
    pub fn open_with(
        url: &str,
        password: Option<String>,
        volume: &str,
        run: &str,
    ) -> Result<Self, QueueError> {
        let prefix = contract::redis_prefix(volume, run);
        Ok(Self {
            hints: Hints::new(Connection::open(url, password.clone())?, &prefix),
            connection: Connection::open(url, password)?,
            scripts: Scripts::new(),
            pending: format!("{prefix}:pending"),
            processing: format!("{prefix}:processing"),
            leases: format!("{prefix}:leases"),
            token: format!("{prefix}:token"),
        })
    }

    /// Waits for `patience`, instead of a second, for a connection and for each answer.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.connection.patience = patience;
        self.hints.set_patience(patience);
        self
    }

    /// The server without its password, to be shown.
    pub fn server(&self) -> &str {
        self.connection.server()
    }

    /// Runs a script by its hash, or by its text where the server does not have it (yet, or after
    /// a restart): the text is accepted whatever the server remembers, so this cannot loop.
    async fn run(&self, script: &Script, keys: &[&str], arguments: &[&[u8]]) -> Result<Value, QueueError> {
        let answer = match self.connection.send(&script.by_hash(keys, arguments)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.connection.send(&script.by_text(keys, arguments)).await
            }
            answer => answer,
        };
        match answer {
            Ok(value) => Ok(value),
            Err(error) => Err(self.explain(error, keys).await),
        }
    }

    /// Runs one command on the pushed list.
    async fn list(&self, command: &str, arguments: &[&[u8]]) -> Result<Value, QueueError> {
        let mut cmd = redis::cmd(command);
        cmd.arg(contract::PUSHED).arg(arguments);
        match self.connection.send(&cmd).await {
            Ok(value) => Ok(value),
            Err(error) => Err(self.explain(error, &[contract::PUSHED]).await),
        }
    }

    /// WRONGTYPE does not say of which key, NOPERM not all that is missing: looks, so that the error can name it.
    async fn explain(&self, error: RedisError, keys: &[&str]) -> QueueError {
        match failure::code(&error) {
            Some("WRONGTYPE") => {}
            Some("NOPERM") => return self.denied(&error).await,
            _ => return self.connection.explain(&error),
        }
        for key in keys {
            let Ok(Value::SimpleString(kind)) = self.connection.send(redis::cmd("TYPE").arg(key)).await
            else {
                continue;
            };
            if kind != "none" && kind != self.kind(key) {
                return failure::foreign(self.server(), key, self.kind(key), &kind);
            }
        }
        self.connection.explain(&error)
    }

    fn kind(&self, key: &str) -> &'static str {
        match key {
            contract::PUSHED | REST => "list",
            key if key == self.leases => "hash",
            key if key == self.token => "string",
            _ => "zset",
        }
    }

    fn unexpected(&self, what: &str, value: &Value) -> QueueError {
        let mut answer = format!("{value:?}");
        answer.truncate(answer.floor_char_boundary(200));
        QueueError::Refused(format!("{} answered {what} with {answer}", self.server()))
    }

    /// Reads the 1 or 0 that a script about a claim returns.
    fn hold(&self, what: &str, value: &Value) -> Result<Ownership, QueueError> {
        match value {
            Value::Int(1) => Ok(Ownership::Held),
            Value::Int(0) => Ok(Ownership::Lost),
            other => Err(self.unexpected(what, other)),
        }
    }

    fn ranked(items: &[Item]) -> Vec<Vec<u8>> {
        items
            .iter()
            .flat_map(|item| [item.rank.to_string().into_bytes(), item.to_string().into_bytes()])
            .collect()
    }

    async fn ack_member(&self, member: &[u8], owner: &str, next: &[Item]) -> Result<Ownership, QueueError> {
        let next = Self::ranked(next);
        let mut arguments = vec![member, owner.as_bytes()];
        arguments.extend(next.iter().map(Vec::as_slice));
        let keys = [self.pending.as_str(), &self.processing, &self.leases];
        let answer = self.run(&self.scripts.ack, &keys, &arguments).await?;
        self.hold("an acknowledgement", &answer)
    }

    /// Has the server remove a path from the pushed list, as the bytes that it holds.
    async fn remove_entries(&self, paths: &[&[u8]]) -> Result<(), QueueError> {
        for paths in paths.chunks(BATCH) {
            self.run(&self.scripts.remove_pushed, &[contract::PUSHED, REST], paths).await?;
        }
        Ok(())
    }
}

impl WorkQueue for Redis {
    async fn add(&self, items: &[Item]) -> Result<usize, QueueError> {
        let mut added = 0;
        for items in items.chunks(BATCH) {
            let arguments = Self::ranked(items);
            let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
            match self.run(&self.scripts.add, &[&self.pending, &self.processing], &arguments).await? {
                Value::Int(new) => added += usize::try_from(new).unwrap_or(0),
                other => return Err(self.unexpected("an addition", &other)),
            }
        }
        Ok(added)
    }

    async fn claim(
        &self,
        worker: &str,
        nonce: u128,
        lease: Duration,
        preferred: &[Item],
    ) -> Result<Option<Claim>, QueueError> {
        let keys = [self.pending.as_str(), &self.processing, &self.leases, &self.token];
        let (nonce_text, lease) = (format!("{nonce:032x}"), millis(lease).to_string());
        let preferred: Vec<String> = preferred.iter().map(Item::to_string).collect();
        for _ in 0..FOREIGN_MAX {
            let mut arguments = vec![nonce_text.as_bytes(), worker.as_bytes(), lease.as_bytes()];
            arguments.extend(preferred.iter().map(String::as_bytes));
            let answer = self.run(&self.scripts.claim, &keys, &arguments).await?;
            let answer = Answer::read(&answer).ok_or_else(|| self.unexpected("a claim", &answer))?;
            for member in &answer.removed {
                warn!(
                    queue = self.server(),
                    key = self.processing,
                    "removed {member:?}: not an item of ours"
                );
            }
            let Some(member) = answer.member else {
                return Ok(None);
            };
            if let Ok(name) = Name::try_from(&member[..]) {
                let Answer { rank, token, failures, lost, taken_over_from, .. } = answer;
                return Ok(Some(Claim {
                    item: Item { rank, name },
                    token,
                    nonce,
                    taken_over_from,
                    failures,
                    lost,
                }));
            }
            let text = String::from_utf8_lossy(&member);
            warn!(queue = self.server(), key = self.pending, "removed {text:?}: not an item of ours");
            self.ack_member(&member, &owner(answer.token, nonce), &[]).await?;
        }
        Ok(None)
    }

    async fn heartbeat(
        &self,
        claim: &Claim,
        lease: Duration,
        progress: u64,
    ) -> Result<Ownership, QueueError> {
        let keys = [self.pending.as_str(), &self.processing, &self.leases];
        let item = claim.item.to_string();
        let owner = owner(claim.token, claim.nonce);
        let numbers = [millis(lease), progress, claim.failures.into()].map(|number| number.to_string());
        let [lease, progress, failures] = numbers.each_ref().map(|number| number.as_bytes());
        let arguments = [item.as_bytes(), owner.as_bytes(), lease, progress, failures];
        let answer = self.run(&self.scripts.heartbeat, &keys, &arguments).await?;
        self.hold("a heartbeat", &answer)
    }

    async fn ack(&self, claim: &Claim, next: &[Item]) -> Result<Ownership, QueueError> {
        let owner = owner(claim.token, claim.nonce);
        let (with, later) = next.split_at(next.len().min(BATCH));
        let hold = self.ack_member(claim.item.to_string().as_bytes(), &owner, with).await?;
        if !later.is_empty() {
            self.add(later).await?;
        }
        Ok(hold)
    }

    async fn release(&self, claim: &Claim, delay: Duration, why: Release) -> Result<Ownership, QueueError> {
        let keys = [self.pending.as_str(), &self.processing, &self.leases];
        let item = claim.item.to_string();
        let owner = owner(claim.token, claim.nonce);
        let failures = u64::from(claim.failures) + u64::from(why == Release::Failed);
        let (delay, failures) = (millis(delay).to_string(), failures.to_string());
        let arguments = [item.as_bytes(), owner.as_bytes(), delay.as_bytes(), failures.as_bytes()];
        let answer = self.run(&self.scripts.release, &keys, &arguments).await?;
        self.hold("a release", &answer)
    }

    async fn counts(&self) -> Result<Counts, QueueError> {
        let answer = self.run(&self.scripts.counts, &[&self.pending, &self.processing], &[]).await?;
        let (pending, claimed) = match &answer {
            Value::Array(values) => match values.as_slice() {
                [Value::Int(pending), Value::Int(claimed)] => (*pending, *claimed),
                _ => return Err(self.unexpected("a count", &answer)),
            },
            other => return Err(self.unexpected("a count", other)),
        };
        let [pending, claimed] = [pending, claimed].map(|n| u64::try_from(n).unwrap_or(0));
        Ok(Counts { pending, claimed })
    }

    async fn changed(&self) {
        self.hints.wait().await
    }
}

impl Inbox for Redis {
    async fn push(&self, paths: &[String]) -> Result<(), QueueError> {
        for paths in paths.chunks(BATCH) {
            let paths: Vec<&[u8]> = paths.iter().map(String::as_bytes).collect();
            self.list("RPUSH", &paths).await?;
        }
        Ok(())
    }

    async fn pushed(&self) -> Result<Vec<String>, QueueError> {
        let entries = match self.list("LRANGE", &[b"0", b"-1"]).await? {
            Value::Array(entries) => entries,
            other => return Err(self.unexpected("a look at the pushed paths", &other)),
        };
        let (mut paths, mut foreign) = (Vec::with_capacity(entries.len()), Vec::new());
        for entry in entries {
            let Value::BulkString(bytes) = entry else {
                return Err(self.unexpected("a look at the pushed paths", &entry));
            };
            match String::from_utf8(bytes) {
                Ok(path) => paths.push(path),
                Err(error) => foreign.push(error.into_bytes()),
            }
        }
        for path in &foreign {
            let text = path.escape_ascii();
            warn!(queue = self.server(), key = contract::PUSHED, "removed {text}: paths are UTF-8");
        }
        let foreign: Vec<&[u8]> = foreign.iter().map(Vec::as_slice).collect();
        self.remove_entries(&foreign).await?;
        Ok(paths)
    }

    async fn remove_pushed(&self, paths: &[String]) -> Result<(), QueueError> {
        let paths: Vec<&[u8]> = paths.iter().map(String::as_bytes).collect();
        self.remove_entries(&paths).await
    }

    async fn pushed_count(&self) -> Result<u64, QueueError> {
        match self.list("LLEN", &[]).await? {
            Value::Int(pushed) => Ok(u64::try_from(pushed).unwrap_or(0)),
            other => Err(self.unexpected("a count", &other)),
        }
    }
}

fn owner(token: u64, nonce: u128) -> String {
    format!("{token}:{nonce:032x}")
}

/// What the claim's script returns.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    member: Option<Vec<u8>>,
    rank: u64,
    token: u64,
    failures: u32,
    lost: u32,
    taken_over_from: Option<String>,
    removed: Vec<String>,
}

impl Answer {
    fn read(value: &Value) -> Option<Self> {
        let Value::Array(values) = value else { return None };
        let [
            member,
            Value::Int(rank),
            Value::Int(token),
            Value::Int(failures),
            Value::Int(lost),
            Value::BulkString(from),
            Value::Array(removed),
        ] = values.as_slice()
        else {
            return None;
        };
        let member = match member {
            Value::BulkString(member) => Some(member.clone()),
            Value::Nil => None,
            _ => return None,
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(Self {
            member,
            rank: u64::try_from(*rank).ok()?,
            token: u64::try_from(*token).ok()?,
            failures: u32::try_from((*failures).max(0)).unwrap_or(u32::MAX),
            lost: u32::try_from((*lost).max(0)).unwrap_or(u32::MAX),
            taken_over_from: (!from.is_empty()).then(|| text(from)),
            removed: removed
                .iter()
                .filter_map(|member| match member {
                    Value::BulkString(member) => Some(text(member)),
                    _ => None,
                })
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redis::Value;

    use super::{Answer, Redis};
    use engine::queue::QueueError;

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            Just(Value::Okay),
            any::<i64>().prop_map(Value::Int),
            any::<Vec<u8>>().prop_map(Value::BulkString),
            ".*".prop_map(Value::SimpleString),
        ];
        leaf.prop_recursive(3, 24, 6, |inner| prop::collection::vec(inner, 0..6).prop_map(Value::Array))
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_reader_panic(value in values()) {
            let _ = Answer::read(&value);
        }

        #[test]
        fn a_claims_answer_with_any_content_is_read_or_refused(
            member in values(), rank in any::<i64>(), token in any::<i64>(), failures in any::<i64>(),
            lost in any::<i64>(), from in any::<Vec<u8>>(), removed in prop::collection::vec(values(), 0..4),
        ) {
            let fields = vec![
                member.clone(), Value::Int(rank), Value::Int(token), Value::Int(failures),
                Value::Int(lost), Value::BulkString(from), Value::Array(removed),
            ];
            let read = Answer::read(&Value::Array(fields));
            let readable = matches!(member, Value::Nil | Value::BulkString(_)) && rank >= 0 && token >= 0;
            prop_assert_eq!(read.is_some(), readable);
        }
    }

    #[test]
    fn an_unusable_url_is_refused_without_showing_its_password() {
        for url in ["redis://:hunter2@:6379", "http://:hunter2@host", "hunter2", "redis://:hunter2@host/x"] {
            let refused = Redis::open_with(url, None, "v", "r");
            let Err(QueueError::Refused(why)) = refused else { panic!("{url}: {refused:?}") };
            assert!(!why.contains("hunter2"), "{why}");
            assert!(why.contains("hint: "), "{why}");
        }
    }

    #[test]
    fn a_handle_shows_its_server_without_the_password() {
        let queue = Redis::open_with("redis://me:hunter2@host:7000/3", None, "v", "r");
        let queue = queue.expect("a good URL");
        assert_eq!(queue.server(), "redis://host:7000/3");
        assert_eq!(format!("{queue:?}"), "Redis(redis://host:7000/3 datasets:{v:r}:pending)");
    }
}
