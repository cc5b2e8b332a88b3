//! Waiting for an object, by a watch and within a limit.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use tokio::time::timeout;

use crate::k8s::object::Object;

/// Why an object was not waited for any longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLong {
    pub limit: Duration,
    /// The last thing that went wrong with the watch, if anything did.
    pub error: Option<String>,
}

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not within {} s", self.limit.as_secs())?;
        match &self.error {
            Some(error) => write!(f, " ({error})"),
            None => Ok(()),
        }
    }
}

/// Waits until `condition` holds of an object (`None`: it is not there), and gives the object.
///
/// Unlike kube's `await_condition` it survives broken connections, which are common where the API server's machine is
/// busy.
///
/// # Errors
/// Where it takes longer than `limit`.
pub async fn until<K: Object>(
    api: &Api<K>,
    name: &str,
    limit: Duration,
    condition: impl Fn(Option<&K>) -> bool,
) -> Result<Option<K>, TooLong> {
    let mut error = None;
    let mut states = pin!(watch_object(api.clone(), name).default_backoff());
    let found = timeout(limit, async {
        loop {
            match states.next().await {
                Some(Ok(object)) if condition(object.as_ref()) => return object,
                Some(Ok(_)) => {}
                Some(Err(failed)) => error = Some(failed.to_string()),
                // The stream reconnects by itself and never ends; if it did, nothing more would come.
                None => std::future::pending().await,
            }
        }
    });
    found.await.map_err(|_| TooLong { limit, error })
}
