//! The queue's arms under test: real Redis, a file of SQLite, the plain map.

pub mod items;
pub mod model;
pub mod server;
pub mod tls;
pub mod wire;

use std::cell::Cell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use worker::conformance::queue::{Arm, Boots};
use worker::queue::QueueError;
use worker::queue::memory::Memory;
use worker::queue::redis::Redis;
use worker::queue::sqlite::{Clock, Sqlite};

use self::server::Server;

/// What clocks show at first: long after 0, since they are set back.
const BEGIN_MS: u64 = 1_000_000_000;

/// How often a server is asked that does not answer, a second each.
const TRIES: u32 = 30;

/// What a queue answers, which on a busy machine can take some tries: each call is safe to repeat.
///
/// # Panics
/// Where it refuses, or never answers.
pub async fn answer<T>(ask: impl AsyncFn() -> Result<T, QueueError>) -> T {
    for _ in 1..TRIES {
        match ask().await {
            Err(QueueError::Away(_)) => {}
            answer => return answer.expect("an answer"),
        }
    }
    ask().await.expect("an answer in time")
}

#[derive(Debug)]
pub struct MemoryArm {
    queue: Memory,
    now_ms: Rc<Cell<u64>>,
}

impl Arm for MemoryArm {
    type Client = Memory;
    const VIRTUAL_TIME: bool = true;

    fn open() -> Option<Self> {
        let now_ms = Rc::new(Cell::new(BEGIN_MS));
        let clock = now_ms.clone();
        Some(Self { queue: Memory::new(move || clock.get()), now_ms })
    }

    /// In memory there is one run to a queue.
    fn client_of(&self, _run: &str) -> Memory {
        self.queue.clone()
    }

    async fn pass(&self, duration: Duration) {
        self.now_ms.set(self.now_ms.get() + duration.as_millis() as u64);
    }

    async fn set_back(&self, by: Duration) {
        self.now_ms.set(self.now_ms.get() - by.as_millis() as u64);
    }
}

#[derive(Debug)]
pub struct SqliteArm {
    folder: tempfile::TempDir,
    now_ms: Arc<AtomicU64>,
    boots: Cell<u32>,
}

impl Arm for SqliteArm {
    type Client = Sqlite;
    const VIRTUAL_TIME: bool = true;

    fn open() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Some(Self { folder, now_ms: Arc::new(AtomicU64::new(BEGIN_MS)), boots: Cell::new(0) })
    }

    fn client_of(&self, run: &str) -> Sqlite {
        let clock = self.now_ms.clone();
        let clock = Clock::new(&format!("boot {}", self.boots.get()), move || clock.load(Ordering::SeqCst));
        Sqlite::open_with(&self.folder.path().join("queue.db"), run, clock).expect("a fresh file opens")
    }

    async fn pass(&self, duration: Duration) {
        self.now_ms.fetch_add(duration.as_millis() as u64, Ordering::SeqCst);
    }

    async fn set_back(&self, by: Duration) {
        self.now_ms.fetch_sub(by.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Boots for SqliteArm {
    fn boot(&self) {
        self.boots.set(self.boots.get() + 1);
    }
}

/// Where an arm's server comes from.
pub trait Served: std::fmt::Debug {
    fn server() -> Option<Arc<Server>>;
}

/// Redis, in a container or from the path.
#[derive(Debug)]
pub struct OnRedis;

impl Served for OnRedis {
    fn server() -> Option<Arc<Server>> {
        Server::shared()
    }
}

/// Valkey, from a wheel or as `TESTS_VALKEY_SERVER` names it.
#[derive(Debug)]
pub struct OnValkey;

impl Served for OnValkey {
    fn server() -> Option<Arc<Server>> {
        Server::valkey()
    }
}

pub type RedisArm = ServerArm<OnRedis>;
pub type ValkeyArm = ServerArm<OnValkey>;

/// Has a database of the shared server for itself, since every run of one pushes to one list.
#[derive(Debug)]
pub struct ServerArm<S> {
    pub server: Arc<Server>,
    pub url: String,
    kind: PhantomData<S>,
}

impl<S: Served> Arm for ServerArm<S> {
    type Client = Redis;
    const VIRTUAL_TIME: bool = false;

    fn open() -> Option<Self> {
        let server = S::server()?;
        let url = server.fresh_database();
        Some(Self { server, url, kind: PhantomData })
    }

    fn client_of(&self, run: &str) -> Redis {
        let queue = Redis::open_with(&self.url, None, "volume", run).expect("a good URL");
        queue.with_patience(server::PATIENCE)
    }

    async fn pass(&self, duration: Duration) {
        let begin = self.server.now_ms();
        while self.server.now_ms() < begin + duration.as_millis() as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Nobody may set a server's clock: all that it knows of time is put later instead.
    async fn set_back(&self, by: Duration) {
        self.server.put_deadlines_later(&self.url, by);
    }
}

/// A queue in memory by this machine's own clock, for runs in real time.
#[expect(clippy::disallowed_methods, reason = "an adapter: the runs are real ones")]
pub fn memory_in_real_time() -> Memory {
    let began = std::time::Instant::now();
    Memory::new(move || began.elapsed().as_millis() as u64)
}

/// Runs an asynchronous test as a worker runs: one thread, one future.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}
