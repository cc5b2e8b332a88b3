//! Artifact Registry.

use serde_json::{Value, json};

use super::project::{Act, Api, Operation, Outcome, Project};
use super::reply::Reply;

/// Where repositories can be.
const LOCATIONS: [&str; 3] = ["europe-west1", "us", "us-central1"];

impl Project {
    /// `rest` is what follows `/v1/projects/P/locations`, split.
    pub fn artifacts(
        &mut self,
        method: &str,
        rest: &[&str],
        query: &[(String, String)],
        body: &Value,
    ) -> Reply {
        match (method, rest) {
            ("GET", []) => {
                let locations = LOCATIONS.map(|location| json!({"locationId": location}));
                Reply::ok(json!({"locations": locations}))
            }
            ("GET", [location, "repositories"]) => {
                self.look(Api::Artifacts);
                let there = self.repositories.iter().filter(|(key, _)| key.0 == *location);
                Reply::ok(json!({"repositories": there.map(|(_, value)| value.clone()).collect::<Vec<_>>()}))
            }
            ("POST", [location, "repositories"]) => {
                let id = query.iter().find(|(key, _)| key == "repositoryId").map(|(_, value)| value.clone());
                self.create_repository(location, &id.unwrap_or_default(), body)
            }
            ("DELETE", [location, "repositories", name]) => {
                if !self.repositories.contains_key(&(location.to_string(), name.to_string())) {
                    return Reply::not_found(name);
                }
                let id = self.begin(Api::Artifacts, Act::Delete, location, name);
                Reply::ok(self.lro(&id))
            }
            ("GET", [_, "operations", id]) if self.operations.contains_key(*id) => {
                self.look(Api::Artifacts);
                Reply::ok(self.lro(id))
            }
            _ => Reply::not_found(&rest.join("/")),
        }
    }

    fn create_repository(&mut self, location: &str, name: &str, body: &Value) -> Reply {
        let key = (location.to_owned(), name.to_owned());
        if self.repositories.contains_key(&key) {
            return Reply::exists(name);
        }
        let mut made = body.clone();
        made["name"] = json!(format!("projects/{}/locations/{location}/repositories/{name}", self.id));
        self.repositories.insert(key, made);
        let id = self.begin(Api::Artifacts, Act::Create, location, name);
        Reply::ok(self.lro(&id))
    }

    pub fn finish_repository(&mut self, operation: &Operation) {
        let gone = match operation.act {
            Act::Delete => operation.outcome == Outcome::Done,
            _ => operation.outcome != Outcome::Done,
        };
        if gone {
            self.repositories.remove(&operation.target);
            let folder = format!("{}/{}/", self.id, operation.target.1);
            self.images.retain(|image| !image.starts_with(&folder));
        }
    }
}
