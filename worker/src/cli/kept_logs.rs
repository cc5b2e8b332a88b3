//! What programs print is kept on the volume: a bucket's is uploaded while the worker works.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use crate::store::any::AnyStore;
use crate::store::location::Location;
use crate::system::{Machine, System};
use crate::workload::exec::buffer::Buffer;
use crate::workload::exec::log::Logs;
use crate::workload::exec::logs;

/// Between two uploads: each is a write for every attempt that printed something.
const PACE: Duration = Duration::from_secs(5);
/// How long the last upload may take, and what share of the grace where the machine goes.
const LAST: Duration = Duration::from_secs(10);
const OF_GRACE: u32 = 10;

/// Where a worker keeps what the programs of a run print.
pub(super) fn place(volume: &Location, run: &str) -> Logs {
    match volume.folder() {
        Some(folder) => Logs::Folder(folder.join(logs::folder(run))),
        None => Logs::Buffer(Default::default()),
    }
}

/// Where logs go from here, if they have to be uploaded.
pub(super) struct Uploads<'a> {
    pub logs: &'a Logs,
    pub store: &'a AnyStore,
    pub machine: &'a Machine,
    pub run: &'a str,
    pub grace: Duration,
}

impl Uploads<'_> {
    /// Does the worker's work, and uploads beside it.
    pub(super) async fn beside<T>(&self, work: impl Future<Output = T>) -> T {
        let Logs::Buffer(buffer) = self.logs else { return work.await };
        let worked = tokio::select! {
            biased;
            worked = work => worked,
            never = self.on_and_on(buffer) => match never {},
        };
        let most = if self.machine.stopping_for().is_some() { self.grace / OF_GRACE } else { LAST };
        tokio::select! {
            biased;
            () = buffer.upload(self.store, self.run) => {}
            () = self.machine.sleep(most) => {}
        }
        worked
    }

    async fn on_and_on(&self, buffer: &Buffer) -> Infallible {
        loop {
            self.machine.sleep(PACE).await;
            buffer.upload(self.store, self.run).await;
        }
    }
}
