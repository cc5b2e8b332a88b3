//! GKE.

use serde_json::{Value, json};

use super::project::{Act, Api, Operation, Outcome, Project};
use super::reply::Reply;

impl Project {
    /// `rest` is what follows `/v1/projects/P/locations/`, split.
    pub fn container(&mut self, method: &str, rest: &[&str], body: &Value) -> Reply {
        match (method, rest) {
            ("GET", ["-", "clusters"]) => {
                self.look(Api::Container);
                let clusters: Vec<_> = self.clusters.values().cloned().collect();
                Reply::ok(json!({"clusters": clusters, "missingZones": self.silent}))
            }
            ("GET", [location, "clusters", name]) => {
                self.look(Api::Container);
                let key = (location.to_string(), name.to_string());
                self.clusters.get(&key).cloned().map_or_else(|| Reply::not_found(name), Reply::ok)
            }
            ("GET", [_, "serverConfig"]) => Reply::ok(json!({"defaultClusterVersion": self.kubernetes})),
            ("POST", [location, "clusters"]) => self.create_cluster(location, &body["cluster"]),
            ("DELETE", [location, "clusters", name]) => self.delete_cluster(location, name),
            ("GET", [location, "operations"]) => {
                let there = |operation: &&(&String, &Operation)| {
                    operation.1.api == Api::Container && operation.1.target.0 == *location
                };
                let operations = self.operations.iter().filter(|entry| there(&entry));
                let operations: Vec<_> = operations.map(|(id, _)| self.container_operation(id)).collect();
                Reply::ok(json!({"operations": operations}))
            }
            ("GET", [_, "operations", id]) if self.operations.contains_key(*id) => {
                self.look(Api::Container);
                Reply::ok(self.container_operation(id))
            }
            _ => Reply::not_found(&rest.join("/")),
        }
    }

    fn create_cluster(&mut self, location: &str, cluster: &Value) -> Reply {
        let name = cluster["name"].as_str().unwrap_or_default();
        let key = (location.to_owned(), name.to_owned());
        if self.clusters.contains_key(&key) {
            return Reply::exists(&format!("projects/{}/zones/{location}/clusters/{name}", self.id));
        }
        let mut made = cluster.clone();
        made["status"] = json!("PROVISIONING");
        made["location"] = json!(location);
        made["network"] = json!(cluster["network"].as_str().unwrap_or("default"));
        made["createTime"] = json!("2026-11-24T00:00:00+00:00");
        self.clusters.insert(key, made);
        let disk = (format!("{location}-b"), format!("gke-{name}-node"));
        let labels = cluster["resourceLabels"].clone();
        self.disks.insert(
            disk.clone(),
            json!({"name": disk.1, "zone": disk.0, "labels": labels, "users": ["node"]}),
        );
        let id = self.begin(Api::Container, Act::Create, location, name);
        Reply::ok(self.container_operation(&id))
    }

    fn delete_cluster(&mut self, location: &str, name: &str) -> Reply {
        let key = (location.to_owned(), name.to_owned());
        if !self.clusters.contains_key(&key) {
            return Reply::not_found(&format!("projects/{}/locations/{location}/clusters/{name}", self.id));
        }
        if self.running(Api::Container, location, name).is_some() {
            return Reply::busy(&format!("Cluster {name}"));
        }
        self.set_cluster(&key, "STOPPING");
        let id = self.begin(Api::Container, Act::Delete, location, name);
        Reply::ok(self.container_operation(&id))
    }

    fn set_cluster(&mut self, key: &(String, String), status: &str) {
        if let Some(cluster) = self.clusters.get_mut(key) {
            cluster["status"] = json!(status);
        }
    }

    pub fn finish_cluster(&mut self, operation: &Operation) {
        let key = &operation.target;
        match (operation.act, &operation.outcome) {
            (Act::Delete, Outcome::Done) => {
                self.clusters.remove(key);
                self.forget_objects();
                let disk = (format!("{}-b", key.0), format!("gke-{}-node", key.1));
                if self.leaves_disk {
                    self.disks.entry(disk).and_modify(|disk| disk["users"] = json!([]));
                } else {
                    self.disks.remove(&disk);
                }
            }
            (Act::Delete, Outcome::Failed(_)) => {
                // One whose making failed never had an endpoint, and is what it was.
                let ran = self.clusters.get(key).is_some_and(|cluster| cluster["endpoint"].is_string());
                self.set_cluster(key, if ran { "RUNNING" } else { "ERROR" });
            }
            (_, Outcome::Failed(why)) => {
                self.set_cluster(key, "ERROR");
                if let Some(cluster) = self.clusters.get_mut(key) {
                    cluster["conditions"] = json!([{"message": why}]);
                }
            }
            (_, Outcome::Done) => {
                let (endpoint, ca) = match &self.handout {
                    Some(handout) => (handout.endpoint.clone(), handout.ca.clone()),
                    None => (format!("{}.{}.test", key.1, self.id), "Y2E=".to_owned()),
                };
                self.set_cluster(key, "RUNNING");
                if let Some(cluster) = self.clusters.get_mut(key) {
                    cluster["endpoint"] = json!(endpoint);
                    cluster["masterAuth"] = json!({"clusterCaCertificate": ca});
                }
            }
        }
    }

    fn container_operation(&self, id: &str) -> Value {
        let Some(operation) = self.operations.get(id) else { return Value::Null };
        let (location, name) = &operation.target;
        let mut answer = json!({
            "name": id,
            "operationType": if operation.act == Act::Delete { "DELETE_CLUSTER" } else { "CREATE_CLUSTER" },
            "status": if operation.is_done() { "DONE" } else { "RUNNING" },
            "location": location,
            "startTime": format!("2026-11-24T00:00:{:09}Z", operation.number),
            "targetLink": format!("https://container.googleapis.com/v1/projects/1/locations/{location}/clusters/{name}"),
        });
        if let (true, Outcome::Failed(why)) = (operation.is_done(), &operation.outcome) {
            answer["error"] = json!({"code": 13, "message": why});
        }
        answer
    }
}
