//! Filestore.

use serde_json::{Value, json};

use super::project::{Act, Api, Operation, Outcome, Project};
use super::reply::Reply;

impl Project {
    /// `rest` is what follows `/v1/projects/P/locations/`, split.
    pub fn filestore(
        &mut self,
        method: &str,
        rest: &[&str],
        query: &[(String, String)],
        body: &Value,
    ) -> Reply {
        match (method, rest) {
            ("GET", ["-", "instances"]) => {
                self.look(Api::Filestore);
                let instances: Vec<_> = self.filestores.values().cloned().collect();
                Reply::ok(json!({"instances": instances, "unreachable": self.silent}))
            }
            ("GET", [location, "instances", name]) => {
                self.look(Api::Filestore);
                let key = (location.to_string(), name.to_string());
                self.filestores.get(&key).cloned().map_or_else(|| Reply::not_found(name), Reply::ok)
            }
            ("POST", [location, "instances"]) => {
                let id = query.iter().find(|(key, _)| key == "instanceId").map(|(_, value)| value.clone());
                self.create_filestore(location, &id.unwrap_or_default(), body)
            }
            ("PATCH", [location, "instances", name]) => self.grow_filestore(location, name, body),
            ("DELETE", [location, "instances", name]) => self.delete_filestore(location, name),
            ("GET", [location, "operations"]) => {
                let there = |operation: &Operation| {
                    operation.api == Api::Filestore && operation.target.0 == *location
                };
                let operations = self.operations.iter().filter(|(_, operation)| there(operation));
                let operations: Vec<_> = operations.map(|(id, _)| self.lro(id)).collect();
                Reply::ok(json!({"operations": operations}))
            }
            ("GET", [_, "operations", id]) if self.operations.contains_key(*id) => {
                self.look(Api::Filestore);
                Reply::ok(self.lro(id))
            }
            _ => Reply::not_found(&rest.join("/")),
        }
    }

    fn create_filestore(&mut self, location: &str, name: &str, body: &Value) -> Reply {
        let key = (location.to_owned(), name.to_owned());
        if self.filestores.contains_key(&key) {
            return Reply::exists(&self.instance_name(&key));
        }
        let mut made = body.clone();
        made["name"] = json!(self.instance_name(&key));
        made["state"] = json!("CREATING");
        made["createTime"] = json!("2026-11-24T00:00:00Z");
        self.filestores.insert(key, made);
        let id = self.begin(Api::Filestore, Act::Create, location, name);
        Reply::ok(self.lro(&id))
    }

    fn grow_filestore(&mut self, location: &str, name: &str, body: &Value) -> Reply {
        let key = (location.to_owned(), name.to_owned());
        let Some(instance) = self.filestores.get_mut(&key) else { return Reply::not_found(name) };
        instance["fileShares"] = body["fileShares"].clone();
        let id = self.begin(Api::Filestore, Act::Update, location, name);
        Reply::ok(self.lro(&id))
    }

    fn delete_filestore(&mut self, location: &str, name: &str) -> Reply {
        let key = (location.to_owned(), name.to_owned());
        if !self.filestores.contains_key(&key) {
            return Reply::not_found(&self.instance_name(&key));
        }
        if self.running(Api::Filestore, location, name).is_some() {
            return Reply::busy(&format!("Instance {name}"));
        }
        self.set_filestore(&key, "DELETING");
        let id = self.begin(Api::Filestore, Act::Delete, location, name);
        Reply::ok(self.lro(&id))
    }

    fn instance_name(&self, key: &(String, String)) -> String {
        format!("projects/{}/locations/{}/instances/{}", self.id, key.0, key.1)
    }

    fn set_filestore(&mut self, key: &(String, String), state: &str) {
        if let Some(instance) = self.filestores.get_mut(key) {
            instance["state"] = json!(state);
        }
    }

    pub fn finish_filestore(&mut self, operation: &Operation) {
        let key = &operation.target;
        match (operation.act, &operation.outcome) {
            (Act::Delete, Outcome::Done) => {
                self.filestores.remove(key);
                self.staged.clear();
            }
            (Act::Delete | Act::Update, _) => {
                // One whose making failed never had an address, and is what it was.
                let addresses = |instance: &Value| instance["networks"][0]["ipAddresses"].is_array();
                let ready = self.filestores.get(key).is_some_and(addresses);
                self.set_filestore(key, if ready { "READY" } else { "ERROR" });
            }
            (_, Outcome::Failed(_)) => self.set_filestore(key, "ERROR"),
            (_, Outcome::Done) => {
                let address = match &self.handout {
                    Some(handout) => handout.nfs.clone(),
                    None => format!("10.0.0.{}", operation.number % 250 + 2),
                };
                self.set_filestore(key, "READY");
                if let Some(instance) = self.filestores.get_mut(key) {
                    instance["networks"][0]["ipAddresses"] = json!([address]);
                }
            }
        }
    }

    /// An operation in the form that most of Google's APIs share.
    pub fn lro(&self, id: &str) -> Value {
        let Some(operation) = self.operations.get(id) else { return Value::Null };
        let (location, name) = &operation.target;
        let verb = match operation.act {
            Act::Create => "create",
            Act::Update | Act::Enable => "update",
            Act::Delete => "delete",
        };
        let full = match operation.api {
            Api::Services => format!("operations/{id}"),
            _ => format!("projects/{}/locations/{location}/operations/{id}", self.id),
        };
        let mut answer = json!({
            "name": full,
            "done": operation.is_done(),
            "metadata": {
                "@type": "type.googleapis.com/google.cloud.common.OperationMetadata",
                "createTime": format!("2026-11-24T00:00:{:09}Z", operation.number),
                "target": format!("projects/{}/locations/{location}/instances/{name}", self.id),
                "verb": verb,
                "apiVersion": "v1",
            },
        });
        match (operation.is_done(), &operation.outcome) {
            (false, _) => {}
            (true, Outcome::Failed(why)) => answer["error"] = json!({"code": 13, "message": why}),
            (true, Outcome::Done) => {
                answer["response"] = json!({"@type": "type.googleapis.com/google.protobuf.Empty"})
            }
        }
        answer
    }
}
