//! `cloud status`

use clap::Args;
use serde_json::{Value, json};

use super::show::range_json;
use super::{Site, print};
use crate::cluster::{Connect, JobState};
use crate::error::Result;
use crate::money::Range;
use crate::plan::{ClusterSeen, Desired, FilestoreSeen, Observed, Resource, State, Tier, is_ours};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// For programs.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run<C: Connect>(arguments: Arguments, site: &Site, connect: &C) -> Result<()> {
    let (observed, _) = site.everything(connect).await?;
    let now_s = site.google.clock().now_s();
    let (rows, total) = (rows(&observed, &site.name), total(site, &observed, now_s));
    if arguments.json {
        let rows: Vec<Value> = rows.iter().map(|(what, how)| json!({"what": what, "state": how})).collect();
        return print(&format!("{:#}", json!({"rows": rows, "cost_so_far": range_json(total)})));
    }
    for (what, how) in &rows {
        print(&format!("{what:<60} {how}"))?;
    }
    match rows.is_empty() {
        true => print(&format!("nothing of deployment {} is there", site.name)),
        false => {
            print(&format!("cost so far, without worker pods: {total} (prices of {})", site.prices.as_of))
        }
    }
}

fn words(state: &State) -> String {
    match state {
        State::Making => "being made".into(),
        State::Ready => "ready".into(),
        State::Busy => "ready, Google is at work on it".into(),
        State::Going => "being deleted".into(),
        State::Broken(why) => format!("broken: {why}"),
        State::Odd(state) => state.clone(),
    }
}

fn rows(observed: &Observed, name: &str) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for seen in observed.clusters.iter().filter(|seen| is_ours(&seen.labels, name)) {
        rows.push((format!("cluster {} in {}", seen.name, seen.location), words(&seen.state)));
    }
    for seen in observed.filestores.iter().filter(|seen| is_ours(&seen.labels, name)) {
        let address = seen.address.as_deref().unwrap_or("no address yet");
        let what = format!("Filestore {} ({address}) in {}", seen.name, seen.location);
        rows.push((what, words(&seen.state)));
    }
    for seen in &observed.repositories {
        rows.push((format!("image repository {} in {}", seen.name, seen.location), "there".into()));
    }
    for seen in &observed.disks {
        rows.push((format!("disk {} in {}", seen.name, seen.zone), "there".into()));
    }
    if let Some(objects) = &observed.objects {
        let there = |there: bool| if there { "ready" } else { "missing" }.to_owned();
        rows.push(("volume".into(), objects.volume.clone().unwrap_or("missing".into())));
        rows.push(("Redis".into(), there(objects.redis_ready)));
        let job = match objects.job.as_ref().map(|job| &job.state) {
            None => "not started".to_owned(),
            Some(JobState::Running) => "running".into(),
            Some(JobState::Succeeded) => "done".into(),
            Some(JobState::Failed(why)) => format!("failed: {why}"),
        };
        rows.push(("Job workload".into(), job));
    }
    for unasked in &observed.unasked {
        rows.push((
            format!("{} in {}", unasked.resource.noun(), unasked.place),
            format!("unknown: {}", unasked.why),
        ));
    }
    rows
}

/// What has been billed since things were made, as far as prices are known. What the workers used is in
/// the run's events, which `cloud cost` reads.
fn total(site: &Site, observed: &Observed, now_s: u64) -> Range {
    let age_s =
        |created_s: Option<u64>| u128::from(created_s.map_or(0, |created_s| now_s.saturating_sub(created_s)));
    let cluster = observed.clusters.iter().find(|seen| is_ours(&seen.labels, &site.name));
    let filestore = observed.filestores.iter().find(|seen| is_ours(&seen.labels, &site.name));
    let estimate = site.prices.estimate(&as_deployed(site, cluster, filestore));
    let billed = estimate.lines.iter().map(|line| {
        let created_s = match line.with {
            Resource::Cluster => cluster.and_then(|seen| seen.created_s),
            Resource::Filestore => filestore.and_then(|seen| seen.created_s),
            _ => None,
        };
        line.hour.unwrap_or_default().scaled(age_s(created_s), 3600)
    });
    billed.fold(Range::default(), |sum, cost| sum + cost)
}

/// What is there, as if it had been asked for.
pub(super) fn as_deployed(
    site: &Site,
    cluster: Option<&ClusterSeen>,
    filestore: Option<&FilestoreSeen>,
) -> Desired {
    let mut desired = Desired::tutorial(site.google.project());
    desired.deployment.clone_from(&site.name);
    if let Some(seen) = cluster {
        let is_zone = seen.location.rsplit('-').next().is_some_and(|last| last.len() == 1);
        let region = seen.location.rsplit_once('-').map(|(region, _)| region).filter(|_| is_zone);
        desired.region = region.unwrap_or(&seen.location).to_owned();
        desired.mode.clone_from(&seen.mode);
    }
    if let Some(seen) = filestore {
        desired.capacity_gib = seen.capacity_gib;
        desired.tier = seen.tier.parse().unwrap_or(Tier::BasicHdd);
    }
    desired
}
