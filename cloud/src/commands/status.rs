//! `cloud status`

use clap::Args;
use serde_json::{Value, json};

use super::show::range_json;
use super::site::Site;
use super::terminal::print;
use crate::error::Result;
use crate::gke::connect::Connect;
use crate::gke::cost::sum_text;
use crate::gke::money::Range;
use crate::gke::plan::{Desired, Observed, Resource, State, Storage, Tier, bucket_url, is_ours, own_bucket};
use crate::k8s::cluster::JobState;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run<C: Connect>(arguments: Arguments, site: &Site, connect: &C) -> Result<()> {
    let (observed, _) = site.everything(connect).await?;
    let now_s = site.google.clock().now_s();
    let rows = rows(&observed, &site.name);
    let (total, unpriced) = total(site, &observed, now_s);
    if arguments.json {
        let rows: Vec<Value> = rows.iter().map(|(what, how)| json!({"what": what, "state": how})).collect();
        return print(&format!(
            "{:#}",
            json!({"rows": rows, "cost_so_far": range_json(total), "unpriced": unpriced})
        ));
    }
    for (what, how) in &rows {
        print(&format!("{what:<60} {how}"))?;
    }
    match rows.is_empty() {
        true => print(&format!("nothing of deployment {} is there", site.name)),
        false => {
            let unpriced: Vec<_> = unpriced.iter().map(String::as_str).collect();
            let sum = sum_text(total, &unpriced);
            print(&format!("cost so far, without worker pods: {sum} (prices of {})", site.prices.as_of()))
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
    for seen in observed.buckets.iter().filter(|seen| is_ours(&seen.labels, name)) {
        rows.push((format!("bucket {} in {}", bucket_url(&seen.name), seen.location), "there".into()));
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
    for unasked in observed.unasked.iter().chain(&observed.unlisted) {
        rows.push((
            format!("{} in {}", unasked.resource.noun(), unasked.place),
            format!("unknown: {}", unasked.why),
        ));
    }
    rows
}

/// What has been billed since things were made, as far as prices are known, and what has none. What the
/// workers used is in the run's events, which `cloud cost` reads.
fn total(site: &Site, observed: &Observed, now_s: u64) -> (Range, Vec<String>) {
    let age_s =
        |created_s: Option<u64>| u128::from(created_s.map_or(0, |created_s| now_s.saturating_sub(created_s)));
    let cluster = observed.clusters.iter().find(|seen| is_ours(&seen.labels, &site.name));
    let filestore = observed.filestores.iter().find(|seen| is_ours(&seen.labels, &site.name));
    let bucket = own_bucket(&site.name, observed);
    let deployed = as_deployed(site, observed);
    let estimate = site.prices.estimate(&deployed.unwrap_or(Desired::tutorial(site.google.project())));
    let (mut sum, mut unpriced) = (Range::default(), Vec::new());
    for line in estimate.lines {
        let created_s = match line.with {
            Resource::Cluster => cluster.map(|seen| seen.created_s),
            Resource::Filestore => filestore.map(|seen| seen.created_s),
            Resource::Bucket => bucket.map(|seen| seen.created_s),
            _ => None,
        };
        match (created_s, line.hour) {
            (Some(created_s), Some(hour)) => sum += hour.scaled(age_s(created_s), 3600),
            (Some(_), None) => unpriced.push(line.what),
            (None, _) => {}
        }
    }
    (sum, unpriced)
}

/// What is there, as if it had been asked for. None: nothing that has a price.
pub(super) fn as_deployed(site: &Site, observed: &Observed) -> Option<Desired> {
    let cluster = observed.clusters.iter().find(|seen| is_ours(&seen.labels, &site.name));
    let filestore = observed.filestores.iter().find(|seen| is_ours(&seen.labels, &site.name));
    let bucket = own_bucket(&site.name, observed);
    let locations = [
        cluster.map(|seen| region(&seen.location)),
        filestore.map(|seen| region(&seen.location)),
        bucket.map(|seen| seen.location.as_str()),
    ];
    let mut desired = Desired::tutorial(site.google.project());
    desired.deployment.clone_from(&site.name);
    locations.into_iter().flatten().next()?.clone_into(&mut desired.region);
    if let Some(seen) = cluster {
        desired.mode.clone_from(&seen.mode);
    }
    if let Some(seen) = filestore {
        desired.capacity_gib = seen.capacity_gib;
        desired.tier = seen.tier.parse().unwrap_or(Tier::BasicHdd);
    } else if let Some(seen) = bucket {
        desired.storage = Storage::Gcs;
        desired.bucket = Some(seen.name.clone());
    }
    Some(desired)
}

/// Of a zone or a region.
fn region(location: &str) -> &str {
    match location.rsplit_once('-') {
        Some((region, letter)) if letter.len() == 1 => region,
        _ => location,
    }
}
