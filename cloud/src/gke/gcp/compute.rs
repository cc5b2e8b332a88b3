//! Compute Engine: the region's quotas before anything is made, disks that outlived their cluster, and
//! the preemption of a machine on request.

use reqwest::Method;
use serde_json::Value;

use super::Google;
use super::call::PAGES_MAX;
use super::rest::{array, labels, last_part, text};
use crate::error::{Kind, Result};
use crate::gke::plan::{DEPLOYMENT, DiskSeen, QuotaSeen, RegionSeen};

/// A machine of the deployment's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MachineSeen {
    pub name: String,
    pub zone: String,
    pub spot: bool,
}

impl Google {
    /// The region's zones and quotas.
    pub(super) async fn region(&self, region: &str) -> Result<RegionSeen> {
        let doing = format!("read the quotas of region {region}");
        let path = format!("/compute/v1/projects/{}/regions/{region}", self.project);
        let answer = match self.get(&self.compute, &doing, &path, &[]).await {
            Ok(answer) => answer,
            Err(error) if error.kind == Kind::NotFound => return Ok(RegionSeen::Missing),
            Err(error) => return Err(error),
        };
        // Quotas are JSON numbers with decimals; none is so large that a float would lose any.
        let number =
            |quota: &Value, field: &str| quota.get(field).and_then(Value::as_f64).unwrap_or(0.0) as u64;
        Ok(RegionSeen::There {
            zones: array(&answer, "zones").filter_map(Value::as_str).map(last_part).collect(),
            quotas: array(&answer, "quotas")
                .map(|quota| QuotaSeen {
                    metric: text(quota, "metric"),
                    limit: number(quota, "limit"),
                    usage: number(quota, "usage"),
                })
                .collect(),
        })
    }

    /// The deployment's disks in all zones, and the zones that did not answer.
    pub(super) async fn disks(&self, deployment: &str) -> Result<(Vec<DiskSeen>, Vec<String>)> {
        let doing = "list disks in all zones";
        let (found, unreachable) = self.aggregated(doing, "disks", deployment).await?;
        let seen = |found: &Value| DiskSeen {
            name: text(found, "name"),
            zone: last_part(&text(found, "zone")),
            labels: labels(found),
            in_use: found.get("users").and_then(Value::as_array).is_some_and(|users| !users.is_empty()),
        };
        Ok((found.iter().map(seen).collect(), unreachable))
    }

    /// The deployment's machines. GKE labels them with the cluster's labels; those of an Autopilot
    /// cluster are Google's and do not show.
    pub async fn machines(&self, deployment: &str) -> Result<Vec<MachineSeen>> {
        let (found, _) = self.aggregated("list machines in all zones", "instances", deployment).await?;
        let spot = |found: &Value| {
            let scheduling = found.get("scheduling");
            scheduling.is_some_and(|scheduling| text(scheduling, "provisioningModel") == "SPOT")
        };
        let seen = |found: &Value| MachineSeen {
            name: text(found, "name"),
            zone: last_part(&text(found, "zone")),
            spot: spot(found),
        };
        let mut machines: Vec<_> = found.iter().map(seen).collect();
        machines.sort();
        Ok(machines)
    }

    async fn aggregated(
        &self,
        doing: &str,
        what: &str,
        deployment: &str,
    ) -> Result<(Vec<Value>, Vec<String>)> {
        let path = format!("/compute/v1/projects/{}/aggregated/{what}", self.project);
        let filter = format!("labels.{DEPLOYMENT}={deployment}");
        let (mut found, mut unreachable) = (Vec::new(), Vec::new());
        let take = |answer: &Value| {
            let scopes = answer.get("items").and_then(Value::as_object).into_iter().flatten();
            found.extend(scopes.flat_map(|(_, scope)| array(scope, what)).cloned());
            unreachable.extend(array(answer, "unreachables").filter_map(Value::as_str).map(last_part));
        };
        // Without returnPartialSuccess, a zone that is out fails the call, which is what a proof needs.
        self.pages(&self.compute, doing, &path, &[("filter", &filter)], PAGES_MAX, take).await?;
        Ok((found, unreachable))
    }

    /// Deletes a disk; not there is success. Compute Engine's operation takes seconds and is not waited
    /// for: whether the disk is gone is read afterwards.
    pub async fn delete_disk(&self, name: &str, zone: &str) -> Result<()> {
        let doing = format!("delete disk {name} in {zone}");
        let path = format!("/compute/v1/projects/{}/zones/{zone}/disks/{name}", self.project);
        let sent = self.compute.send(&doing, Method::DELETE, &path, &[], None);
        match self.within_limit(&doing, sent).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks Compute Engine to preempt a Spot machine now, with its usual notice.
    pub async fn preempt(&self, machine: &MachineSeen) -> Result<()> {
        let MachineSeen { name, zone, .. } = machine;
        let doing = format!("preempt machine {name} in {zone}");
        let path = format!(
            "/compute/v1/projects/{}/zones/{zone}/instances/{name}/simulateMaintenanceEvent",
            self.project
        );
        let sent = self.compute.send(&doing, Method::POST, &path, &[], None);
        self.within_limit(&doing, sent).await.map(|_| ())
    }
}
