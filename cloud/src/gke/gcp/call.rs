//! One request: its limit, and how often a read is tried.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, within};
use crate::error::{Error, Kind, Result};

use super::Google;
use super::error::from_google;

/// Longer than any of Google's answers takes; a request without one by then is given up.
const LIMIT: Duration = Duration::from_secs(60);

/// The waits between tries, in seconds. About a minute in all: a new permission or a newly enabled API
/// takes about that long to be known everywhere.
pub const PATIENCE: [u64; 6] = [1, 2, 4, 8, 16, 32];

/// Counts failures in a row.
#[derive(Debug, Default)]
pub struct Patience {
    failures: usize,
}

impl Patience {
    /// Waits before another try, longer each time; gives the error back once patience is over.
    pub async fn wait(&mut self, clock: &Arc<dyn Clock>, error: Error) -> Result<()> {
        let Some(seconds) = PATIENCE.get(self.failures) else { return Err(error) };
        tracing::warn!(%error, "trying again in {seconds} s");
        self.failures += 1;
        clock.sleep(Duration::from_secs(*seconds)).await;
        Ok(())
    }

    /// Something went well.
    pub fn restore(&mut self) {
        self.failures = 0;
    }
}

/// Whether a read may go better the next time. An API whose being enabled was just read is not
/// known as such everywhere yet.
fn is_worth_another_try(error: &Error) -> bool {
    error.is_transient() || error.kind == Kind::Disabled
}

impl Google {
    /// Sends a read, again while that may help.
    pub(super) async fn read<T>(&self, call: impl AsyncFn() -> Result<T>) -> Result<T> {
        let mut patience = Patience::default();
        loop {
            match call().await {
                Err(error) if is_worth_another_try(&error) => patience.wait(&self.clock, error).await?,
                done => return done,
            }
        }
    }

    /// Sends one request of Google's crates, once, within the limit.
    pub(super) async fn send<T>(
        &self,
        doing: &str,
        service: &str,
        request: impl Future<Output = google_cloud_gax::Result<T>>,
    ) -> Result<T> {
        let sent = async { request.await.map_err(|error| from_google(doing, service, &error)) };
        self.within_limit(doing, sent).await
    }

    pub(super) fn within_limit<T>(
        &self,
        doing: &str,
        request: impl Future<Output = Result<T>>,
    ) -> impl Future<Output = Result<T>> {
        within(&*self.clock, LIMIT, doing, request)
    }
}
