//! Time that passes only when somebody sleeps, and limits that expire only when the stand-in says so.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cloud::clock::{Clock, Wait};
use tokio::sync::Notify;

/// A clock for one project's tests.
#[derive(Debug, Default)]
pub struct VirtualClock {
    now_s: AtomicU64,
    expired: Notify,
}

impl VirtualClock {
    /// Whatever has a limit and is under way now runs into it.
    pub fn expire_limits(&self) {
        self.expired.notify_waiters();
    }
}

impl Clock for VirtualClock {
    fn now_s(&self) -> u64 {
        self.now_s.load(Ordering::Relaxed)
    }

    fn sleep(&self, duration: Duration) -> Wait<'_> {
        self.now_s.fetch_add(duration.as_secs(), Ordering::Relaxed);
        Box::pin(tokio::task::yield_now())
    }

    fn limit(&self, _duration: Duration) -> Wait<'_> {
        Box::pin(self.expired.notified())
    }
}
