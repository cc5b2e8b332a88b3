//! The remaining ports: clock, signals, randomness and computing. In the simulator they are
//! virtual; nothing else in the worker may ask for the time, a random number or a thread.

use std::time::Duration;

#[expect(async_fn_in_trait, reason = "workers are single futures on one thread (rule 19)")]
pub trait System {
    /// Milliseconds since 1970 by this machine's wall clock, which may jump: for events and the
    /// manifest's `created` alone, never for decisions.
    fn wall_ms(&self) -> u64;

    /// Time since the worker started, by a clock that never goes back.
    fn elapsed(&self) -> Duration;

    async fn sleep(&self, duration: Duration);

    /// Resolves once this worker has been told to stop (SIGTERM, SIGINT), at once if it was before.
    async fn stop_requested(&self);

    /// Whether the worker has been told to stop, and how long ago.
    fn stopping_for(&self) -> Option<Duration>;

    /// 128 random bits: a name that no other attempt ever has.
    fn nonce(&self) -> u128;

    /// Runs `work` where it does not keep the lease from being renewed. A panic of `work` is
    /// answered with its message.
    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, String>;
}
