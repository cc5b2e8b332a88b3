//! Compute Engine.

use serde_json::{Value, json};

use super::project::{Project, Resources};
use super::reply::Reply;

impl Project {
    /// `rest` is what follows `/compute/v1/projects/P/`, split.
    pub fn compute(&mut self, method: &str, rest: &[&str], query: &[(String, String)]) -> Reply {
        match (method, rest) {
            ("GET", ["regions", region]) => self.region(region),
            ("GET", ["aggregated", "disks"]) => Reply::ok(aggregated("disks", &self.disks, query)),
            ("GET", ["aggregated", "instances"]) => Reply::ok(aggregated("instances", &self.machines, query)),
            ("DELETE", ["zones", zone, "disks", name]) => {
                match self.disks.remove(&(zone.to_string(), name.to_string())) {
                    Some(_) => Reply::ok(json!({"name": "operation-disk", "status": "RUNNING"})),
                    None => Reply::not_found(name),
                }
            }
            ("POST", ["zones", zone, "instances", name, "simulateMaintenanceEvent"]) => {
                match self.machines.remove(&(zone.to_string(), name.to_string())) {
                    Some(_) => Reply::ok(json!({"name": "operation-preempt", "status": "RUNNING"})),
                    None => Reply::not_found(name),
                }
            }
            _ => Reply::not_found(&rest.join("/")),
        }
    }

    fn region(&self, region: &str) -> Reply {
        if !["us-central1", "europe-west1"].contains(&region) {
            return Reply::not_found(&format!("The resource 'projects/{}/regions/{region}'", self.id));
        }
        let base = format!("https://www.googleapis.com/compute/v1/projects/{}/zones", self.id);
        let zones = ["a", "b", "c", "f"].map(|letter| format!("{base}/{region}-{letter}"));
        let quotas = self
            .quotas
            .iter()
            .map(|(metric, limit, usage)| json!({"metric": metric, "limit": limit, "usage": usage}));
        Reply::ok(json!({"name": region, "zones": zones, "quotas": quotas.collect::<Vec<_>>()}))
    }
}

/// Takes filters of the form `labels.K=V` alone.
fn aggregated(what: &str, resources: &Resources, query: &[(String, String)]) -> Value {
    let filter = query.iter().find(|(key, _)| key == "filter").map(|(_, filter)| filter.as_str());
    let label = filter.and_then(|filter| filter.strip_prefix("labels.")?.split_once('='));
    let mut items = serde_json::Map::new();
    for ((zone, _), value) in resources {
        if label.is_some_and(|(key, wanted)| value["labels"][key] != wanted) {
            continue;
        }
        let scope = items.entry(format!("zones/{zone}")).or_insert_with(|| json!({what: []}));
        if let Some(found) = scope[what].as_array_mut() {
            found.push(value.clone());
        }
    }
    json!({"items": items})
}
