//! One multiplexed connection that is made when needed and dropped at the first failure worth
//! trying again: after a failover the name may lead to another machine. Waiting between tries is
//! the caller's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, ConnectionAddr, ErrorKind, RedisError, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::address::{Address, bare, tls_at};
use super::tls::Files;
use super::{client, failure, sentinel, tls};
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
                "it is a Sentinel\nhint: name the master that it watches: redis+sentinel://HOST:PORT/NAME; \
                 redis-cli -p PORT SENTINEL masters shows the names",
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

/// Longest wait for a connection, and for an answer: a lease of 5 s, with a heartbeat every third of it, must
/// survive one heartbeat that is lost.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Connection {
    /// The server, or the Sentinels that know it.
    clients: Vec<Client>,
    address: Address,
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
        let address = Address::read(url, password)?;
        let clients = address.servers.iter().map(|server| client::of(server.clone(), &address.files));
        Ok(Self {
            clients: clients.collect::<Result<_, _>>()?,
            address,
            patience: PATIENCE,
            current: Mutex::new(Current::default()),
            greeted: AtomicBool::new(false),
        })
    }

    pub(super) fn server(&self) -> &str {
        &self.address.shown
    }

    /// Whom we sign in as.
    pub(super) fn username(&self) -> &str {
        self.address.username.as_deref().unwrap_or("default")
    }

    pub(super) fn explain(&self, error: &RedisError) -> QueueError {
        failure::explain(error, self.server())
    }

    /// Sends one command and returns its reply, errors of the server as errors.
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
        let client = self.master().await?;
        let connection = match in_time(self.patience, self.connect(&client)).await {
            Err(error) if self.may_be_other_port(&error) => {
                let other = match self.other_port(&client).await {
                    None => self.other_protocol(&client).await,
                    port => port,
                };
                return Err(other.unwrap_or(error));
            }
            connected => connected?,
        };
        current.number += 1;
        current.connection = Some(connection.clone());
        Ok((current.number, connection))
    }

    /// Asks a server, the first time, whether it can hold a queue.
    async fn greet(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        // Sentinels may name an old master for a moment: it is waited for, as a replica of later is.
        if self.address.master.is_some() || self.greeted.load(Ordering::Relaxed) {
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
            Err(error) if error.kind() == ErrorKind::Parse => return Err(error),
            // What cannot say what it is says the rest in its own words.
            Err(_) => {}
        }
        Ok(())
    }

    /// The server, which Sentinels are asked for each time: after a failover it is another.
    async fn master(&self) -> Result<Client, RedisError> {
        let Some(name) = &self.address.master else { return Ok(self.clients[0].clone()) };
        let credentials = self.address.sign_in();
        let asked = sentinel::master(&self.clients, name, &credentials, self.patience);
        let (host, port) = in_time(self.patience, asked).await?;
        let client = self.address.at(host, port).and_then(|place| client::of(place, &self.address.files));
        client.map_err(|(QueueError::Refused(why) | QueueError::Away(why))| failure::unfit(&why))
    }

    /// Whether a server that was never used yet did not speak as it should.
    fn may_be_other_port(&self, error: &RedisError) -> bool {
        let is_new = self.address.master.is_none() && !self.greeted.load(Ordering::Relaxed);
        is_new && matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse) && tls::refusal(error).is_none()
    }

    /// Why a server could not be used whose port is of the other kind: TLS where we speak plainly, or none where we do.
    async fn other_port(&self, client: &Client) -> Option<RedisError> {
        let (other, why) = match client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, port) => {
                (tls_at(host.clone(), *port), "this port is one for TLS\nhint: begin the URL with rediss://")
            }
            ConnectionAddr::TcpTls { host, port, .. } => (
                ConnectionAddr::Tcp(host.clone(), *port),
                "this port is one without TLS\nhint: begin the URL with redis://, or name the port for TLS",
            ),
            _ => return None,
        };
        let other = client::of(bare(other).ok()?, &Files::default()).ok()?;
        let answer = in_time(self.patience, async {
            let mut connection = client::dial(&other, self.patience).await?;
            redis::cmd("PING").query_async::<Value>(&mut connection).await
        });
        let answered = match answer.await {
            Ok(_) => true,
            Err(error) => error.code().is_some() || tls::refusal(&error).is_some(),
        };
        answered.then(|| failure::unfit(why))
    }

    /// Why a server could not be used that is none of Redis: what it says to a question that every one of Redis answers
    /// with `+PONG` or an error.
    async fn other_protocol(&self, client: &Client) -> Option<RedisError> {
        const SHOWN: usize = 60;
        let ConnectionAddr::Tcp(host, port) = client.get_connection_info().addr() else { return None };
        let said = in_time(self.patience, async {
            let mut stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.write_all(b"PING\r\n").await?;
            let mut said = [0; SHOWN];
            let length = stream.read(&mut said).await?;
            Ok(said[..length].to_vec())
        });
        let said = said.await.ok()?;
        if matches!(said.first(), None | Some(b'+' | b'-')) {
            return None;
        }
        let line = said.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
        Some(failure::unfit(&format!(
            "what answers there is no Redis: it says `{}`\nhint: the URL names another service's host or port",
            line.escape_ascii()
        )))
    }

    async fn connect(&self, client: &Client) -> Result<MultiplexedConnection, RedisError> {
        let mut connection = client::dial(client, self.patience).await?;
        let credentials = self.address.sign_in();
        if !credentials.is_empty() {
            client::sign_in(&mut connection, &credentials).await?;
        }
        self.greet(&mut connection).await?;
        let database = self.address.database;
        if database != 0 {
            redis::cmd("SELECT").arg(database).query_async::<Value>(&mut connection).await?;
        }
        Ok(connection)
    }
}

async fn in_time<T>(
    patience: Duration,
    call: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    let timed_out = |_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
    tokio::time::timeout(patience, call).await.map_err(timed_out)?
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
