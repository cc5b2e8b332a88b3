//! What a user of the server's access control list must be allowed, and what of it is missing.

use redis::{RedisError, Value};

use super::{Redis, Script, failure};
use engine::contract;
use engine::queue::QueueError;

/// What the queue calls, by itself or in its scripts.
pub const COMMANDS: [&str; 26] = [
    "blpop",
    "del",
    "eval",
    "evalsha",
    "hdel",
    "hget",
    "hmget",
    "hset",
    "incr",
    "llen",
    "lrange",
    "ltrim",
    "pexpire",
    "rename",
    "rpush",
    "select",
    "time",
    "type",
    "zadd",
    "zcard",
    "zcount",
    "zmscore",
    "zpopmin",
    "zrangebyscore",
    "zrem",
    "zrevrange",
];

/// The script that asks for them; see its text.
const RIGHTS: &[&str] = &[include_str!("../lua/rights.lua")];

/// All that a user needs, as `ACL SETUSER` takes it.
pub fn rules() -> String {
    let commands: String = COMMANDS.iter().map(|command| format!(" +{command}")).collect();
    format!("~{0} ~{0}:*{commands}", contract::PUSHED)
}

impl Redis {
    /// The rules that this user lacks. `None` where the server cannot say: before version 7, or without EVAL.
    pub(super) async fn missing_rules(&self) -> Option<Vec<String>> {
        let keys = [contract::PUSHED, &self.pending];
        let count = keys.len().to_string();
        // A user that gets here was let into the database.
        let commands = COMMANDS.into_iter().filter(|command| *command != "select");
        let arguments: Vec<&[u8]> =
            std::iter::once(count.as_str()).chain(keys).chain(commands).map(str::as_bytes).collect();
        let missing = match self.connection.send(&Script::new(RIGHTS).by_text(&[], &arguments)).await {
            Ok(Value::Array(missing)) => missing,
            Err(error) => return failure::denied_command(&error).map(|command| vec![format!("+{command}")]),
            Ok(_) => return None,
        };
        let rule = |value: &Value| match value {
            Value::BulkString(rule) => Some(String::from_utf8_lossy(rule).into_owned()),
            _ => None,
        };
        let mut missing: Vec<String> = missing.iter().filter_map(rule).collect();
        for rule in &mut missing {
            // Every run has keys of its own.
            if *rule == format!("~{}", self.pending) {
                *rule = format!("~{}:*", contract::PUSHED);
            }
        }
        Some(missing)
    }

    /// A command that grants rules to this user.
    pub(super) fn grant(&self, rules: &str) -> String {
        format!("ACL SETUSER {} {rules}", self.connection.username())
    }

    /// What is missing where the server denied something, all of it at once where the server can say.
    pub(super) async fn denied(&self, error: &RedisError) -> QueueError {
        let mut missing = self.missing_rules().await.unwrap_or_default();
        let denied = failure::denied_command(error).map(|command| format!("+{command}"));
        missing.extend(denied.filter(|rule| !missing.contains(rule)));
        let hint = if missing.is_empty() { self.grant(&rules()) } else { self.grant(&missing.join(" ")) };
        QueueError::Refused(format!("{}\nhint: {hint}", failure::words(error, self.server())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::script;

    #[test]
    fn every_command_of_a_script_is_known() {
        let scripts = [
            script::ADD,
            script::CLAIM,
            script::HEARTBEAT,
            script::ACK,
            script::RELEASE,
            script::REMOVE_PUSHED,
            script::COUNTS,
        ];
        for text in scripts.concat() {
            let text = text.replace("redis.pcall(", "redis.call(");
            for call in text.split("redis.call('").skip(1) {
                let command = call.split('\'').next().unwrap_or_default().to_lowercase();
                assert!(COMMANDS.contains(&command.as_str()), "{command}");
            }
        }
    }
}
