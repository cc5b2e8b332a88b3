//! Sentinels: servers that know which server is the master now.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, ErrorKind, RedisError, Value};

use super::{client, failure};

/// A Sentinel that is silent leaves this share of the patience to the others.
const SHARE: u32 = 4;

/// The address of a master by its name, from the first Sentinel that knows it.
pub(super) async fn master(
    sentinels: &[Client],
    name: &str,
    credentials: &[&str],
    patience: Duration,
) -> Result<(String, u16), RedisError> {
    let mut last = None;
    for sentinel in sentinels {
        match ask(sentinel, name, credentials, patience / SHARE).await {
            Ok(address) => return Ok(address),
            // One that knows no such master, or does not let us in, may be behind the others.
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| failure::unfit("its URL names no Sentinel")))
}

async fn ask(
    sentinel: &Client,
    name: &str,
    credentials: &[&str],
    patience: Duration,
) -> Result<(String, u16), RedisError> {
    let mut connection = client::dial(sentinel, patience).await?;
    let reply = match question(&mut connection, name).await {
        // Sentinels have no password as a rule, and the masters' where they have one.
        Err(error) if error.code() == Some("NOAUTH") && !credentials.is_empty() => {
            client::sign_in(&mut connection, credentials).await?;
            question(&mut connection, name).await
        }
        reply => reply,
    };
    read(&reply?, name)
}

async fn question(connection: &mut MultiplexedConnection, name: &str) -> Result<Value, RedisError> {
    redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(name).query_async(connection).await
}

fn read(reply: &Value, name: &str) -> Result<(String, u16), RedisError> {
    if *reply == Value::Nil {
        let why = format!(
            "the Sentinel watches no master named {name}\nhint: redis-cli -p PORT SENTINEL masters shows the names"
        );
        return Err(failure::unfit(&why));
    }
    let text = |value: &Value| match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    };
    if let Value::Array(fields) = reply
        && let [host, port] = fields.as_slice()
        && let (Some(host), Some(port)) = (text(host), text(port).and_then(|port| port.parse().ok()))
    {
        return Ok((host, port));
    }
    Err(RedisError::from((ErrorKind::Parse, "a Sentinel's answer is no address", format!("{reply:?}"))))
}
