//! The remaining ports: clock, signals, randomness and computing. In the simulator they are
//! virtual; nothing else in the worker may ask for the time, a random number or a thread.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::aside::aside;
use crate::contract::BLOCK_BYTES;
use crate::manifest::Manifest;
use crate::mutant::Mutant;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// What a worker asks of its machine.
#[expect(async_fn_in_trait, reason = "workers are single futures on one thread (rule 19)")]
pub trait System {
    /// Milliseconds since 1970 by this machine's wall clock, which may jump: for events and the
    /// manifest's `created` alone, never for decisions.
    fn wall_ms(&self) -> u64;

    /// Time since the worker started, by a clock that never goes back.
    fn elapsed(&self) -> Duration;

    /// Waits.
    async fn sleep(&self, duration: Duration);

    /// Resolves once a stop is requested (SIGTERM, SIGINT), at once if it was before.
    async fn stop_requested(&self);

    /// How long ago a stop was requested, if it was.
    fn stopping_for(&self) -> Option<Duration>;

    /// 128 random bits: a name that no other attempt ever has.
    fn nonce(&self) -> u128;

    /// Whether a rule is to be forgotten: never, but in the simulated world.
    fn breaks(&self, _: Mutant) -> bool {
        false
    }

    /// Bytes of a dataset's block: fewer in the simulated world, whose datasets are small.
    fn block_bytes(&self) -> u64 {
        BLOCK_BYTES
    }

    /// Keeps a manifest that was read: where workers share a process, one for all that have read the same.
    fn keep(&self, manifest: Manifest) -> Arc<Manifest> {
        Arc::new(manifest)
    }

    /// The process's number, for people who look at events.
    fn pid(&self) -> u32 {
        std::process::id()
    }

    /// Runs `work` where it does not block heartbeats. Returns the panic's message where `work` panics.
    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String>;
}

/// This machine: its clocks, signals, random numbers and threads.
#[derive(Debug)]
pub struct Machine {
    started: Instant,
    stop: watch::Receiver<Option<Instant>>,
}

impl Machine {
    /// Listens for SIGTERM and SIGINT from here on; and, with `stdin`, for the end of standard input.
    ///
    /// # Errors
    /// Where the process may not install signal handlers.
    #[expect(clippy::disallowed_methods, reason = "the adapter of the clock")]
    pub fn new(stdin: bool) -> std::io::Result<Self> {
        let (tell, stop) = watch::channel(None);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = stdin_ends(), if stdin => {}
            }
            tell.send_replace(Some(Instant::now()));
            // Keeps the channel open: a closed one would look like no signal at all.
            std::future::pending::<()>().await;
        });
        Ok(Self { started: Instant::now(), stop })
    }
}

impl System for Machine {
    #[expect(clippy::disallowed_methods, reason = "the adapter of the clock")]
    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    async fn stop_requested(&self) {
        let mut stop = self.stop.clone();
        if stop.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn stopping_for(&self) -> Option<Duration> {
        self.stop.borrow().map(|at| at.elapsed())
    }

    fn nonce(&self) -> u128 {
        random_nonce()
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        aside(work).await
    }
}

/// 128 bits from the system's generator.
///
/// # Panics
/// Where the system gives none: without random names two attempts could share a file, so there is
/// no safe way on.
#[expect(clippy::disallowed_methods, reason = "the adapter of randomness")]
pub fn random_nonce() -> u128 {
    let mut bytes = [0; 16];
    if let Err(error) = getrandom::fill(&mut bytes) {
        panic!("the system gives no random numbers: {error}");
    }
    u128::from_le_bytes(bytes)
}

/// Resolves at the end of standard input. Read on a thread of its own, which the process does not
/// wait for when it exits.
async fn stdin_ends() {
    let (tell, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = tell.send(());
    });
    let _ = ended.await;
}
