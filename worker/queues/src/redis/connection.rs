//! One multiplexed connection that is made when needed and dropped at the first failure worth
//! trying again: after a failover the name may lead to another machine. Waiting between tries is
//! the caller's.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError, Value,
};
use tokio::sync::Mutex;

use super::failure;
use engine::queue::QueueError;

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
        Ok(Self { client, username, password, database, server, patience: PATIENCE, current })
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
        if self.database != 0 {
            redis::cmd("SELECT").arg(self.database).query_async::<Value>(&mut connection).await?;
        }
        Ok(connection)
    }
}
