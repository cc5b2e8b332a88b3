//! The signals that end a run: Ctrl-C, SIGTERM, SIGHUP.

use tokio::signal::unix::{Signal, SignalKind, signal};
use worker::contract::Exit;
use worker::failure::Failure;

/// Hears of each signal from its making on, also of one that came while nobody waited for it.
#[derive(Debug)]
pub struct Signals([Signal; 3]);

impl Signals {
    /// From now on these signals end no process by themselves, even after this is dropped: the caller waits
    /// for them wherever the program may wait long.
    ///
    /// # Errors
    /// Where the system lets no process listen.
    pub fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(Failure::when(Exit::Failed, "listen for signals"));
        Ok(Self([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ]))
    }

    /// Resolves when one came.
    pub async fn recv(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
