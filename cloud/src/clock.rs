//! The port for time. Everything that waits, limits or dates asks it, so that a test can let an
//! hour of polling pass in no time and decide which request runs into its limit.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Kind, Result};

/// A wait that a [`Clock`] hands out.
pub type Wait<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Time as the deployer sees it.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Seconds since 1970, for bills and durations; never compared between machines.
    fn now_s(&self) -> u64;
    /// A wait that the caller wants: between two polls, before another try.
    fn sleep(&self, duration: Duration) -> Wait<'_>;
    /// The limit of something else: ready when that has taken longer than `duration`.
    fn limit(&self, duration: Duration) -> Wait<'_>;
}

/// Runs `what` with a time limit.
///
/// # Errors
/// Those of `what`, or that it took longer.
pub fn within<T>(
    clock: &dyn Clock,
    limit: Duration,
    doing: &str,
    what: impl Future<Output = Result<T>>,
) -> impl Future<Output = Result<T>> {
    // On the heap: a request may be large, and every future that awaits it would be larger still.
    let what = Box::pin(what);
    async move {
        tokio::select! {
            biased;
            done = what => done,
            () = clock.limit(limit) => {
                let why = format!("no answer within {} s", limit.as_secs());
                Err(Error::new(doing, why, Kind::Transient))
            }
        }
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the adapter of the clock")]
    fn now_s(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    fn sleep(&self, duration: Duration) -> Wait<'_> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn limit(&self, duration: Duration) -> Wait<'_> {
        Box::pin(tokio::time::sleep(duration))
    }
}
