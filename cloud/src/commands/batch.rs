//! What every command that runs a batch does once the Job is there.

use std::path::Path;

use super::terminal::print;
use crate::clock::{Clock, within};
use crate::error::{Cause, Error, Kind, Result};
use crate::gke::cost::Prices;
use crate::gke::plan::{Desired, Mode};
use crate::gke::state::Memory;
use crate::k8s::cluster::{Cluster, Follow, JobState, PodUse, ResultFile, VOLUME_LIMIT};

/// Shows the workers' log.
pub(super) async fn logs(cluster: &impl Cluster, deployment: &str, follow: Follow) -> Result<()> {
    let mut failed = Ok(());
    let mut tell = |line: &str| {
        if failed.is_ok() {
            failed = print(line);
        }
    };
    cluster.logs(deployment, follow, &mut tell).await?;
    failed
}

/// Shows the workers' log until the Job ends, which must be well; else `hint` says what to do, and `more` how to give it
/// more time.
pub(super) async fn follow(cluster: &impl Cluster, deployment: &str, hint: &str, more: &str) -> Result<()> {
    logs(cluster, deployment, Follow::UntilDone).await?;
    ended(cluster.observe(deployment).await?.job.map(|job| job.state), hint, more)
}

fn ended(job: Option<JobState>, hint: &str, more: &str) -> Result<()> {
    match job {
        Some(JobState::Succeeded) => Ok(()),
        Some(JobState::Failed(why)) => {
            let (kind, hint) = match why.starts_with("DeadlineExceeded") {
                true => (Kind::Late, format!("{more}; a new Job begins a new run")),
                false => (Kind::Other, hint.to_owned()),
            };
            Err(Error::new("run the batch", why, Cause { hint: Some(hint), ..kind.into() }))
        }
        Some(JobState::Running) | None => {
            Err(Error::new("follow the Job to its end", "its log ended before it did", Kind::Transient))
        }
    }
}

/// Fetches what was not fetched yet, and notes it.
pub(super) async fn fetch(
    cluster: &impl Cluster,
    clock: &dyn Clock,
    deployment: &str,
    memory: &mut Memory,
    out: &Path,
) -> Result<Vec<ResultFile>> {
    let results = within(clock, VOLUME_LIMIT, "list the results", cluster.results(deployment)).await?;
    let missing =
        |file: &&ResultFile| !memory.is_fetched(&file.path, &file.content) || !out.join(&file.path).exists();
    let missing: Vec<_> = results.iter().filter(missing).cloned().collect();
    cluster.fetch(deployment, &missing, out).await?;
    memory.note_fetched(missing.iter().map(|file| (file.path.clone(), file.content.clone())))?;
    eprintln!("fetched {} of {} results to {}", missing.len(), results.len(), out.display());
    Ok(results)
}

/// Shows what the run cost, and what it would have cost without Spot.
pub(super) async fn tell_cost(
    cluster: &impl Cluster,
    clock: &dyn Clock,
    desired: &Desired,
    prices: &Prices,
) -> Result<()> {
    let usage = cluster.usage(&desired.deployment);
    let used = within(clock, VOLUME_LIMIT, "read the run's events", usage).await?;
    eprintln!("{}", run_text(&used, desired, prices));
    Ok(())
}

fn run_text(used: &[PodUse], desired: &Desired, prices: &Prices) -> String {
    let seconds: u64 = used.iter().map(|used| used.seconds).sum();
    let gpus = if desired.gpus() > 0 { "; no price is known for its GPUs" } else { "" };
    let took = format!("the run took {seconds} s of {} worker pods{gpus}", used.len());
    match (&desired.mode, prices.run_cost(&desired.region, used)) {
        (Mode::Standard { .. }, _) => {
            format!("{took}; on a Standard cluster its machines are billed, not its pods")
        }
        (Mode::Autopilot, Some(cost)) => {
            let spot = if used.iter().all(|used| used.spot) { " on Spot" } else { "" };
            format!(
                "{took}: {}{spot}, {} on demand (prices of {})",
                cost.paid,
                cost.on_demand,
                prices.as_of()
            )
        }
        (Mode::Autopilot, None) => format!("{took}; no prices are known for {}", desired.region),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::cluster::WORKER;

    #[test]
    fn a_job_that_was_stopped_in_time_has_an_exit_code_of_its_own() {
        let exit = |why: &str| {
            let failed = Some(JobState::Failed(why.to_owned()));
            let error = ended(failed, "look at the log", "more money").unwrap_err();
            (worker::failure::Failure::from(error.clone()).exit, error.hint.unwrap())
        };
        let late = exit("DeadlineExceeded: Job was active longer than specified deadline");
        assert_eq!(late, (124, "more money; a new Job begins a new run".to_owned()));
        assert_eq!(exit("PodFailurePolicy: exit code 4"), (1, "look at the log".to_owned()));
        assert_eq!(ended(Some(JobState::Succeeded), "", ""), Ok(()));
        assert!(ended(Some(JobState::Running), "", "").unwrap_err().is_transient());
    }

    #[test]
    fn a_run_is_reported_with_what_it_would_have_cost_on_demand() {
        let used = |number: u64| PodUse {
            pod: format!("workload-{number}"),
            seconds: 1800 * number,
            size: WORKER,
            spot: true,
        };
        let used = [used(1), used(2), used(3)];
        let prices = Prices::built_in().unwrap();
        let autopilot = Desired::tutorial("p");
        let standard = Mode::Standard { machine_type: "e2-standard-2".into(), nodes: 3, grace_s: 15 };
        let cases = [
            autopilot.clone(),
            Desired { mode: standard, ..autopilot.clone() },
            Desired { region: "europe-west1".into(), ..autopilot },
        ];
        insta::assert_snapshot!(cases.map(|desired| run_text(&used, &desired, &prices)).join("\n"));
    }
}
