//! The end of a queue: what a run left in it is taken out, if the volume says that it is done.

use std::path::Path;
use std::time::Duration;

use worker::contract::RunPaths;
use worker::pipeline::Pipeline;
use worker::queue::{Counts, QueueError, WorkQueue};
use worker::system::random_nonce;

use crate::check::commit_of;

/// Between looks at leases that have not expired yet, and at a queue that does not answer.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What one look at the queue says.
enum Look {
    /// Nothing changes any more: this remains.
    Ended(Counts),
    /// A claim was acknowledged.
    Took,
    /// Someone's lease has not expired yet.
    Held,
}

/// Claims what is left and acknowledges what is committed; a dead worker's lease is waited for, for
/// as long as it may last, and so is a queue that does not answer at once. Returns what remains: nothing, if the
/// run has left nothing undone.
///
/// # Errors
/// Where the queue never answers.
pub async fn settle(
    queue: &impl WorkQueue,
    volume: &Path,
    run: &str,
    pipeline: Pipeline,
    lease: Duration,
) -> Result<Counts, QueueError> {
    let looks = lease.as_millis() / LOOK_AGAIN.as_millis() + 25;
    for _ in 0..looks {
        match look(queue, volume, run, pipeline, lease).await {
            Ok(Look::Ended(counts)) => return Ok(counts),
            Ok(Look::Took) => {}
            Ok(Look::Held) | Err(QueueError::Away(_)) => tokio::time::sleep(LOOK_AGAIN).await,
            Err(error) => return Err(error),
        }
    }
    queue.counts().await
}

async fn look(
    queue: &impl WorkQueue,
    volume: &Path,
    run: &str,
    pipeline: Pipeline,
    lease: Duration,
) -> Result<Look, QueueError> {
    let counts = queue.counts().await?;
    if counts.is_empty() {
        return Ok(Look::Ended(counts));
    }
    let Some(claim) = queue.claim("sim", random_nonce(), lease, &[]).await? else { return Ok(Look::Held) };
    let commit = commit_of(&RunPaths::new(run), pipeline, claim.item.name);
    if commit.is_some_and(|path| !volume.join(path).exists()) {
        // Left undone: the claim stays, and is counted.
        return queue.counts().await.map(Look::Ended);
    }
    queue.ack(&claim, &[]).await?;
    Ok(Look::Took)
}
