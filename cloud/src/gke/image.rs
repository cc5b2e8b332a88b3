//! The repository for the worker's image.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::gke::deploy::{Waiting, fail_if_ended_badly, wait_for_operations};
use crate::gke::gcp::{Google, Query, RetryBudget, Scope};
use crate::gke::plan::{Resource, Verb};
use crate::gke::state::{Kept, Memory};

const API: &str = "artifactregistry.googleapis.com";
/// More steps than it takes.
const STEPS_MAX: usize = 500;

/// Makes the deployment's repository in `region` unless it is there: the same loop as a deploy's, with
/// its API enabled first.
pub async fn make_repository(
    google: &Google,
    memory: &mut Memory,
    deployment: &str,
    region: &str,
    tell: &mut dyn FnMut(&str),
) -> Result<()> {
    let mut budget = RetryBudget::default();
    let mut waited_for = BTreeSet::new();
    let mut waiting = Waiting::default();
    for _ in 0..STEPS_MAX {
        let query =
            Query { region: Some(region), kept: memory.operations(), ..Query::of(deployment, Scope::Image) };
        let observed = google.observe(&query).await?;
        memory.learn(&observed.operations)?;
        fail_if_ended_badly(&observed, &waited_for, &Verb::ALL)?;
        let busy = [Resource::Apis, Resource::Repository]
            .iter()
            .any(|resource| observed.running(*resource).is_some());
        let waits = busy.then(|| format!("image repository {deployment} in {region}"));
        waiting.check(waits, google, "cloud image")?;
        let begun = if busy {
            wait_for_operations(google, memory, &mut waited_for).await.map(|()| None)
        } else if !observed.artifacts_enabled {
            tell(&format!("enabling {API}"));
            google.enable_apis(&[API.to_owned()]).await.map(|name| Some((Resource::Apis, Verb::Update, name)))
        } else if observed.repositories.iter().any(|seen| seen.name == deployment) {
            return Ok(());
        } else {
            tell(&format!("making image repository {deployment} in {region}"));
            let made = google.create_repository(deployment, region).await;
            made.map(|name| Some((Resource::Repository, Verb::Create, name)))
        };
        match begun {
            Ok(Some((resource, verb, name))) => {
                waited_for.insert(name.clone());
                memory.keep(Kept { resource, verb, name })?;
                budget.reset();
            }
            Ok(None) => budget.reset(),
            Err(error) if error.is_transient() || error.is_stale() => {
                budget.wait(google.clock(), error).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::other("make the image repository", format!("not there after {STEPS_MAX} steps")))
}
