//! One multiplexed connection that is made when needed and dropped at the first failure worth
//! trying again: after a failover the name may lead to another machine. Waiting between tries is
//! the caller's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError, Value,
};
use tokio::sync::Mutex;

use super::failure;
use engine::queue::QueueError;

/// What the first answer of a server says of it: `HELLO` of Redis 6 and newer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Greeting {
    /// `standalone`, `sentinel` or `cluster`.
    pub mode: String,
    /// `master` or `replica`.
    pub role: String,
}

impl Greeting {
    /// Of a reply of RESP 2, names and values in turn. What is missing stays empty.
    pub(super) fn read(reply: &Value) -> Self {
        let mut greeting = Self::default();
        let Value::Array(fields) = reply else { return greeting };
        for pair in fields.chunks_exact(2) {
            let [Value::BulkString(name), Value::BulkString(value)] = pair else { continue };
            let value = String::from_utf8_lossy(value).into_owned();
            match name.as_slice() {
                b"mode" => greeting.mode = value,
                b"role" => greeting.role = value,
                _ => {}
            }
        }
        greeting
    }

    /// Why a queue cannot be on such a server, if it cannot.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        match (self.mode.as_str(), self.role.as_str()) {
            ("sentinel", _) => Some(
                "it is a Sentinel\nhint: give the master that it watches: redis-cli -p PORT SENTINEL \
                 get-master-addr-by-name NAME shows the address",
            ),
            ("cluster", _) => Some("it is a node of a cluster\nhint: give a server that is none"),
            (_, "replica" | "slave") => Some(
                "it is a replica, which takes no writes\nhint: give its master: redis-cli INFO replication shows \
                 master_host and master_port",
            ),
            _ => None,
        }
    }
}

/// Longest wait for a connection, and for an answer: a lease of 5 s, renewed every third of it, must
/// survive one that is lost.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Connection {
    client: Client,
    username: Option<String>,
    password: Option<String>,
    database: i64,
    server: String,
    pub(super) patience: Duration,
    current: Mutex<Current>,
    /// Whether the server has been asked what it is. Once: after a failover a replica is one for a while only.
    greeted: AtomicBool,
}

#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that a late failure on an old one does not drop its successor.
    number: u64,
}

impl Connection {
    pub(super) fn open(url: &str, password: Option<String>) -> Result<Self, QueueError> {
        let info = url.into_connection_info().map_err(|error| failure::bad_url(&error))?;
        let settings = info.redis_settings();
        let password = settings.password().map(str::to_owned).or(password);
        let username = settings.username().map(str::to_owned);
        let database = settings.db();
        let server = match info.addr() {
            ConnectionAddr::Tcp(host, port) => format!("redis://{host}:{port}/{database}"),
            other => format!("redis at {other} database {database}"),
        };
        // Signing in is done below: the crate's own hides the server's words.
        let bare = redis::RedisConnectionInfo::default().set_skip_set_lib_name();
        let client = info.addr().clone().into_connection_info();
        let client = client
            .map(|addr: ConnectionInfo| {
                addr.set_redis_settings(bare).set_tcp_settings(info.tcp_settings().clone())
            })
            .and_then(Client::open)
            .map_err(|error| failure::bad_url(&error))?;
        let current = Mutex::new(Current::default());
        Ok(Self {
            client,
            username,
            password,
            database,
            server,
            patience: PATIENCE,
            current,
            greeted: AtomicBool::new(false),
        })
    }

    pub(super) fn server(&self) -> &str {
        &self.server
    }

    pub(super) fn explain(&self, error: &RedisError) -> QueueError {
        failure::explain(error, &self.server)
    }

    /// Sends one command and answers its reply, errors of the server as errors.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, RedisError> {
        let (number, mut connection) = self.get().await?;
        let answer = command.query_async(&mut connection).await;
        if answer.as_ref().is_err_and(failure::is_transient) {
            let mut current = self.current.lock().await;
            if current.number == number {
                current.connection = None;
            }
        }
        answer
    }

    async fn get(&self) -> Result<(u64, MultiplexedConnection), RedisError> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &current.connection {
            return Ok((current.number, connection.clone()));
        }
        let timed_out = |_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        let connection = tokio::time::timeout(self.patience, self.connect()).await.map_err(timed_out)??;
        current.number += 1;
        current.connection = Some(connection.clone());
        Ok((current.number, connection))
    }

    /// Asks a server, the first time, whether it can hold a queue.
    async fn greet(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        if self.greeted.load(Ordering::Relaxed) {
            return Ok(());
        }
        match redis::cmd("HELLO").arg(2).query_async::<Value>(connection).await {
            Ok(reply) => match Greeting::read(&reply).refusal() {
                Some(why) => return Err(failure::unfit(why)),
                None => self.greeted.store(true, Ordering::Relaxed),
            },
            Err(error) if error.is_io_error() && !error.is_timeout() => {
                return Err(failure::unanswered(&error));
            }
            // What cannot say what it is says the rest in its own words.
            Err(_) => {}
        }
        Ok(())
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.patience))
            .set_response_timeout(Some(self.patience));
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        if let Some(password) = &self.password {
            let mut auth = redis::cmd("AUTH");
            if let Some(username) = &self.username {
                auth.arg(username);
            }
            auth.arg(password).query_async::<Value>(&mut connection).await?;
        }
        self.greet(&mut connection).await?;
        if self.database != 0 {
            redis::cmd("SELECT").arg(self.database).query_async::<Value>(&mut connection).await?;
        }
        Ok(connection)
    }
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::Greeting;

    #[test]
    fn a_server_says_what_it_is() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let reply = |mode: &str, role: &str| {
            Value::Array(vec![
                text("server"),
                text("redis"),
                text("proto"),
                Value::Int(2),
                text("mode"),
                text(mode),
                text("role"),
                text(role),
                text("modules"),
                Value::Array(Vec::new()),
            ])
        };
        let refusal = |mode, role| Greeting::read(&reply(mode, role)).refusal();
        assert_eq!(refusal("standalone", "master"), None);
        assert!(refusal("sentinel", "master").is_some_and(|why| why.contains("Sentinel")));
        assert!(refusal("cluster", "master").is_some_and(|why| why.contains("cluster")));
        assert!(refusal("standalone", "replica").is_some_and(|why| why.contains("master_host")));
        assert_eq!(Greeting::read(&Value::Nil).refusal(), None);
    }
}
