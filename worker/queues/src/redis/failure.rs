//! Which of Redis's failures pass and which stay, in words for the person who reads them.

use redis::{ErrorKind, RedisError};

use super::tls;
use engine::queue::QueueError;

/// Codes of a server that will answer again: it cannot write, is loading, has failed over.
const PASSING: [&str; 12] = [
    "BUSY",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "NOGOODSLAVE",
    "NOREPLICAS",
    "NOSCRIPT",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "UNKILLABLE",
];

/// Codes of a server that will say the same again.
const STAYING: [&str; 10] =
    ["ASK", "CROSSSLOT", "DENIED", "ERR", "MOVED", "NOAUTH", "NOPERM", "NOPROTO", "WRONGPASS", "WRONGTYPE"];

/// What Redis 7 and Valkey say where a script calls what its user may not.
const DENIED_IN_SCRIPT: [&str; 2] = ["user executing the script can't", "ACL failure in script"];

/// The command that an access control list denied, where the server names it.
pub(super) fn denied_command(error: &RedisError) -> Option<&str> {
    let (before, _) = error.detail()?.split_once("' command")?;
    before.rsplit_once('\'').map(|(_, command)| command)
}

/// The server's code for an error; before Redis 7 that of a script's call is inside its text.
pub(super) fn code(error: &RedisError) -> Option<&str> {
    let code = error.code()?;
    if code != "ERR" {
        return Some(code);
    }
    let detail = error.detail().unwrap_or_default();
    if detail.contains("max number of clients") {
        return Some("BUSY");
    }
    // What a script may not do has no code of its own.
    if DENIED_IN_SCRIPT.iter().any(|words| detail.contains(words)) {
        return Some("NOPERM");
    }
    let known = |word: &&str| PASSING.contains(word) || STAYING.contains(word);
    let inner = detail.strip_prefix("Error running script");
    let inner = inner.and_then(|text| text.split([' ', '-', ':']).find(known));
    Some(inner.unwrap_or(code))
}

/// A server that can hold no queue.
const UNFIT: &str = "this server cannot hold a queue";

/// A server that can hold no queue, and why.
pub(super) fn unfit(why: &str) -> RedisError {
    RedisError::from((ErrorKind::InvalidClientConfig, UNFIT, why.to_owned()))
}

/// A server that ended the connection at the first command.
pub(super) fn unanswered(error: &RedisError) -> RedisError {
    let why = format!(
        "the server ended the connection unanswered ({error}); a port for TLS does: rediss:// speaks it"
    );
    RedisError::from(std::io::Error::new(std::io::ErrorKind::ConnectionReset, why))
}

pub(super) fn is_transient(error: &RedisError) -> bool {
    if tls::refusal(error).is_some() {
        return false;
    }
    match code(error) {
        Some(code) => !STAYING.contains(&code),
        None => matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse),
    }
}

/// What a server said, without what to do.
pub(super) fn words(error: &RedisError, server: &str) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{server}: {code} {}", detail.trim_end()),
        (Some(code), None) => format!("{server}: {code}"),
        _ if error.is_timeout() => format!("{server}: no answer in time"),
        _ => format!("{server}: {error}"),
    }
}

pub(super) fn explain(error: &RedisError, server: &str) -> QueueError {
    if error.kind() == ErrorKind::InvalidClientConfig
        && let Some(why) = error.detail()
    {
        return QueueError::Refused(format!("{server}: {why}"));
    }
    if let Some(tls::Refusal { why, hint }) = tls::refusal(error) {
        return QueueError::Refused(format!("{server}: {why}\nhint: {hint}"));
    }
    let text = words(error, server);
    if is_transient(error) {
        return QueueError::Away(text);
    }
    match hint(error) {
        Some(hint) => QueueError::Refused(format!("{text}\nhint: {hint}")),
        None => QueueError::Refused(text),
    }
}

fn hint(error: &RedisError) -> Option<&'static str> {
    let detail = error.detail().unwrap_or_default();
    match code(error)? {
        "WRONGPASS" | "NOAUTH" => {
            Some("give the password in the URL, redis://:<password>@<host>, or in REDISCLI_AUTH")
        }
        "ERR" if detail.contains("AUTH") => Some("this server has no password set; leave it out"),
        "ERR" if detail.contains("DB index") => {
            Some("name a database that the server has, redis://<host>/<database>")
        }
        "ERR" if detail.contains("nknown command") || detail.contains("nknown Redis command") => {
            Some("the queue needs Redis 6.2 or newer, with scripts allowed")
        }
        "DENIED" => {
            Some("the server runs in protected mode: set a password, or connect from its own machine")
        }
        "MOVED" | "ASK" | "CROSSSLOT" => Some("this is a node of a cluster: give a server that is none"),
        _ => None,
    }
}

/// A key of ours holds what is not ours.
pub(super) fn foreign(server: &str, key: &str, expected: &str, found: &str) -> QueueError {
    QueueError::Refused(format!(
        "{server}: not a queue of ours: key {key} holds a {found}, not a {expected}\n\
         hint: use another database, redis://<host>/<database>, or remove that key"
    ))
}

/// The URL itself is not repeated: it may hold a password.
pub(super) fn bad_url(error: &RedisError) -> QueueError {
    let why = error.detail().map_or_else(|| error.to_string(), str::to_owned);
    QueueError::Refused(format!(
        "the URL of Redis cannot be used: {}\n\
         hint: redis://[[user]:password@]host[:port][/database], rediss:// for TLS, or unix:///path. In a password \
         write # as %23, / as %2F, ? as %3F and % as %25, or give it in REDISCLI_AUTH",
        why.trim_end()
    ))
}

#[cfg(test)]
mod tests {
    use redis::{RedisError, Value};

    use super::explain;
    use engine::queue::QueueError;

    /// The error that the crate makes of a server's line.
    fn error(line: &str) -> RedisError {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes());
        match value.expect("a well-formed error") {
            Value::ServerError(error) => error.into(),
            other => panic!("{other:?} is no error"),
        }
    }

    #[test]
    fn the_servers_errors_pass_or_stay() {
        let passing = [
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
            "OOM command not allowed when used memory > 'maxmemory'. script: abc, on @user_script:3.",
            "READONLY You can't write against a read only replica.",
            "LOADING Redis is loading the dataset in memory",
            "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
            "CLUSTERDOWN The cluster is down",
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "NOREPLICAS Not enough good replicas to write.",
            "NOSCRIPT No matching script. Please use EVAL.",
            "ERR max number of clients reached",
            "ERR Error running script (call to f_0): @user_script:3: -MISCONF Redis is configured to save",
            "SOMETHING that a later version says",
        ];
        for line in passing {
            let explained = explain(&error(line), "redis://h:1/0");
            assert!(matches!(explained, QueueError::Away(_)), "{line}: {explained:?}");
        }
        let staying = [
            "WRONGPASS invalid username-password pair or user is disabled.",
            "NOAUTH Authentication required.",
            "NOPERM this user has no permissions to run the 'evalsha' command",
            "ERR DB index is out of range",
            "ERR invalid DB index",
            "ERR unknown command 'ZMSCORE', with args beginning with: ",
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "ERR Error running script (call to f_0): @user_script:3: WRONGTYPE Operation against a key",
            "DENIED Redis is running in protected mode",
            "MOVED 3999 127.0.0.1:6381",
        ];
        for line in staying {
            let explained = explain(&error(line), "redis://h:1/0");
            assert!(matches!(explained, QueueError::Refused(_)), "{line}: {explained:?}");
        }
    }

    #[test]
    fn an_error_keeps_the_servers_words_and_says_what_next() {
        let explained = explain(&error("WRONGPASS invalid username-password pair"), "redis://h:1/0");
        insta::assert_snapshot!(explained.to_string(), @r"
        the queue refused: redis://h:1/0: WRONGPASS invalid username-password pair
        hint: give the password in the URL, redis://:<password>@<host>, or in REDISCLI_AUTH
        ");
        let explained = explain(&error("LOADING Redis is loading the dataset in memory"), "redis://h:1/0");
        insta::assert_snapshot!(explained.to_string(), @"the queue is away: redis://h:1/0: LOADING Redis is loading the dataset in memory");
    }
}
