//! The end of a queue: what a run left in it is taken out, if the volume says that it is done.

use std::path::Path;
use std::time::Duration;

use worker::contract::RunPaths;
use worker::pipeline::Pipeline;
use worker::queue::{Counts, QueueError, WorkQueue};
use worker::system::random_nonce;

use crate::check::commit_of;

/// Between looks at leases that have not expired yet.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Claims what is left and acknowledges what is committed; a dead worker's lease is waited for, for
/// as long as it may last. Answers what remains: nothing, if the run has left nothing undone.
///
/// # Errors
/// Where the queue does not answer.
pub async fn settle(
    queue: &impl WorkQueue,
    volume: &Path,
    run: &str,
    pipeline: Pipeline,
    lease: Duration,
) -> Result<Counts, QueueError> {
    let paths = RunPaths::new(run);
    let looks = lease.as_millis() / LOOK_AGAIN.as_millis() + 25;
    for _ in 0..looks {
        let counts = queue.counts().await?;
        if counts.is_empty() {
            return Ok(counts);
        }
        match queue.claim("sim", random_nonce(), lease, &[]).await? {
            Some(claim) => {
                let commit = commit_of(&paths, pipeline, claim.item.name);
                if commit.is_some_and(|path| !volume.join(path).exists()) {
                    // Left undone: the claim stays, and is counted.
                    return queue.counts().await;
                }
                queue.ack(&claim, &[]).await?;
            }
            None => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
    queue.counts().await
}
