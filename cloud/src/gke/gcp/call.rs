//! One request: its limit, and how often a read is tried.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use crate::clock::{Clock, within};
use crate::error::{Error, Kind, Result};

use super::Google;
use super::error::from_google;
use super::rest::{Rest, text};

/// Time limit of one request; no response of Google's takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// Backoff between retries, in seconds. About a minute in all: a new permission or a newly enabled API takes about
/// that long to be known everywhere.
pub const RETRY_WAITS_S: [u64; 6] = [1, 2, 4, 8, 16, 32];

/// More pages than any project has; a list that goes on longer is an error, not an endless loop.
pub(super) const PAGES_MAX: usize = 100;

/// How many more times an operation may fail in a row: exponential backoff, about a minute in all.
#[derive(Debug, Default)]
pub struct RetryBudget {
    failures: usize,
}

impl RetryBudget {
    /// Waits before another try, longer each time; returns the error once the budget is used up.
    pub async fn wait(&mut self, clock: &Arc<dyn Clock>, error: Error) -> Result<()> {
        let Some(seconds) = RETRY_WAITS_S.get(self.failures) else { return Err(error) };
        tracing::warn!(%error, "trying again in {seconds} s");
        self.failures += 1;
        clock.sleep(Duration::from_secs(*seconds)).await;
        Ok(())
    }

    /// An operation succeeded.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Whether a read may succeed the next time. An API that was just enabled is not known as such everywhere yet.
fn is_worth_another_try(error: &Error) -> bool {
    error.is_transient() || error.kind == Kind::Disabled
}

impl Google {
    /// Sends a read, again while that may help.
    pub(super) async fn read<T>(&self, call: impl AsyncFn() -> Result<T>) -> Result<T> {
        let mut budget = RetryBudget::default();
        loop {
            match call().await {
                Err(error) if is_worth_another_try(&error) => budget.wait(&self.clock, error).await?,
                done => return done,
            }
        }
    }

    /// Reads what a plain API answers to a GET.
    pub(super) async fn get(
        &self,
        api: &Rest,
        doing: &str,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Value> {
        let send = || api.send(doing, Method::GET, path, query, None);
        self.read(async || self.within_limit(doing, send()).await).await
    }

    /// Gives `take` each answer of a listing of a plain API, at most `most` of them.
    pub(super) async fn pages(
        &self,
        api: &Rest,
        doing: &str,
        path: &str,
        query: &[(&str, &str)],
        most: usize,
        mut take: impl FnMut(&Value),
    ) -> Result<()> {
        let mut page = String::new();
        for _ in 0..most {
            let query = [query, &[("pageToken", page.as_str())]].concat();
            let answer = self.get(api, doing, path, &query).await?;
            take(&answer);
            page = text(&answer, "nextPageToken");
            if page.is_empty() {
                return Ok(());
            }
        }
        Err(Error::other(doing, format!("more than {most} pages")))
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
