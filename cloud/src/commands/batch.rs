//! What every command that runs a batch does once the Job is there.

use std::path::Path;

use super::print;
use crate::cluster::{Cluster, Follow, JobState, ResultFile};
use crate::cost::Prices;
use crate::error::{Error, Kind, Result};
use crate::state::Memory;

/// Shows the workers' log until the Job ends.
pub(super) async fn follow(cluster: &impl Cluster, deployment: &str) -> Result<()> {
    let mut failed = Ok(());
    let mut tell = |line: &str| {
        if failed.is_ok() {
            failed = print(line);
        }
    };
    cluster.logs(deployment, Follow::UntilDone, &mut tell).await?;
    failed?;
    match cluster.observe(deployment).await?.job.map(|job| job.state) {
        Some(JobState::Succeeded) => Ok(()),
        Some(JobState::Failed(why)) => {
            let hint = "`cloud logs` shows what the workers said; `cloud deploy` again starts a new Job";
            Err(Error::with_hint("run the batch", why, hint))
        }
        Some(JobState::Running) | None => {
            Err(Error::new("follow the Job to its end", "its log ended before it did", Kind::Transient))
        }
    }
}

/// Fetches what was not fetched yet, and notes it.
pub(super) async fn fetch(
    cluster: &impl Cluster,
    deployment: &str,
    memory: &mut Memory,
    out: &Path,
) -> Result<Vec<ResultFile>> {
    let results = cluster.results(deployment).await?;
    let missing = |file: &&ResultFile| {
        !memory.is_fetched(&file.path, &file.sha256) || !out.join(&file.path).exists()
    };
    let missing: Vec<_> = results.iter().filter(missing).cloned().collect();
    cluster.fetch(deployment, &missing, out).await?;
    memory.note_fetched(missing.iter().map(|file| (file.path.clone(), file.sha256.clone())))?;
    eprintln!("fetched {} of {} results to {}", missing.len(), results.len(), out.display());
    Ok(results)
}

/// Tells what the run cost, and what it would have cost without Spot.
pub(super) async fn tell_cost(
    cluster: &impl Cluster,
    deployment: &str,
    prices: &Prices,
    region: &str,
) -> Result<()> {
    let used = cluster.usage(deployment).await?;
    let seconds: u64 = used.iter().map(|used| used.seconds).sum();
    match prices.run_cost(region, &used) {
        Some(cost) => eprintln!(
            "the run took {seconds} s of {} pods: {} on Spot, {} on demand",
            used.len(),
            cost.paid,
            cost.on_demand
        ),
        None => eprintln!("the run took {seconds} s of {} pods; no prices are known for {region}", used.len()),
    }
    Ok(())
}
