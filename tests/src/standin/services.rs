//! Service Usage.

use serde_json::{Value, json};

use super::project::{Act, Api, Project};
use super::reply::Reply;

impl Project {
    /// `rest` is the path after `/v1/`, split.
    pub fn services(
        &mut self,
        method: &str,
        rest: &[&str],
        query: &[(String, String)],
        body: &Value,
    ) -> Reply {
        match (method, rest) {
            ("GET", ["projects", _, "services:batchGet"]) => {
                self.look(Api::Services);
                let names =
                    query.iter().filter(|(key, _)| key == "names").map(|(_, name)| self.service(name));
                Reply::ok(json!({"services": names.collect::<Vec<_>>()}))
            }
            ("GET", ["projects", _, "services", _]) => Reply::ok(self.service(&rest.join("/"))),
            ("POST", ["projects", _, "services:batchEnable"]) => {
                let names = body["serviceIds"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let id = self.begin(Api::Services, Act::Enable, "", &names.collect::<Vec<_>>().join(","));
                Reply::ok(self.lro(&id))
            }
            ("GET", ["operations", id]) if self.operations.contains_key(*id) => {
                self.look(Api::Services);
                Reply::ok(self.lro(id))
            }
            _ => Reply::not_found(&rest.join("/")),
        }
    }

    fn service(&self, name: &str) -> Value {
        let enabled = name.rsplit('/').next().is_some_and(|api| self.apis.contains(api));
        json!({"name": name, "state": if enabled { "ENABLED" } else { "DISABLED" }})
    }
}
