//! Waits for a hint that something became claimable: an entry of a list, which the scripts add one of for each item, and
//! which one waiting client takes. That client alone wakes, however many wait. Entries are worth a second; a claim that
//! finds nothing removes them.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redis::{RedisError, Value};
use tokio::sync::Mutex;

use super::connection::Connection;
use super::failure;

/// The server's answer to a client that waits.
type Wait = Pin<Box<dyn Future<Output = Result<Value, RedisError>> + Send>>;

/// The server waits without end where the time is 0.
const SHORTEST: Duration = Duration::from_millis(1);

/// The waiting end. A connection of its own, since the server answers nothing else on it until the wait is over.
pub(super) struct Hints {
    connection: Arc<Connection>,
    key: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Kept when the caller stops waiting: the server, which still waits, would give a hint to nobody.
    wait: Option<Wait>,
    /// The server does not let this user wait: it need not be asked again.
    is_denied: bool,
}

impl Hints {
    pub(super) fn new(connection: Connection, prefix: &str) -> Self {
        Self { connection: Arc::new(connection), key: format!("{prefix}:hints"), state: Mutex::default() }
    }

    /// Before anybody waits.
    pub(super) fn set_patience(&mut self, patience: Duration) {
        if let Some(connection) = Arc::get_mut(&mut self.connection) {
            connection.patience = patience;
        }
    }

    /// Resolves at a hint. Never where the server cannot be asked.
    pub(super) async fn wait(&self) {
        let mut state = self.state.lock().await;
        while !state.is_denied {
            // The server answers before the connection counts as lost.
            let span = self.connection.patience / 2;
            let answer = state.wait.get_or_insert_with(|| self.ask(span)).await;
            state.wait = None;
            match answer {
                Ok(Value::Array(_)) => return,
                Ok(_) => {}
                Err(error) => {
                    state.is_denied = !failure::is_transient(&error);
                    break;
                }
            }
        }
        drop(state);
        std::future::pending().await
    }

    /// Asks for an entry, until this time has passed.
    fn ask(&self, span: Duration) -> Wait {
        let connection = self.connection.clone();
        let mut command = redis::cmd("BLPOP");
        command.arg(&self.key).arg(format!("{:.3}", span.max(SHORTEST).as_secs_f64()));
        Box::pin(async move { connection.send(&command).await })
    }
}
