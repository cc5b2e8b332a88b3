//! Artifact Registry: the repository of the worker's image.

use reqwest::Method;
use serde_json::{Value, json};

use super::Google;
use super::call::PAGES_MAX;
use super::rest::{array, labels, last_part, text};
use crate::error::{Kind, Result};
use crate::gke::plan::{OperationSeen, RepositorySeen, Resource, Verb};

impl Google {
    /// Where repositories can be. The API lists them by location only.
    pub(super) async fn repository_locations(&self) -> Result<Vec<String>> {
        let path = format!("/v1/projects/{}/locations", self.project);
        let found = self.list("list the locations of Artifact Registry", &path, "locations").await?;
        Ok(found.iter().map(|location| text(location, "locationId")).collect())
    }

    pub(super) async fn repositories(&self, location: &str) -> Result<Vec<RepositorySeen>> {
        let doing = format!("list image repositories in {location}");
        let path = format!("/v1/{}/repositories", self.place(location));
        let found = self.list(&doing, &path, "repositories").await?;
        let seen = |found: &Value| RepositorySeen {
            name: last_part(&text(found, "name")),
            location: location.to_owned(),
            labels: labels(found),
        };
        Ok(found.iter().map(seen).collect())
    }

    async fn list(&self, doing: &str, path: &str, field: &str) -> Result<Vec<Value>> {
        let mut found = Vec::new();
        let take = |answer: &Value| found.extend(array(answer, field).cloned());
        self.pages(&self.artifacts, doing, path, &[], PAGES_MAX, take).await?;
        Ok(found)
    }

    /// Asks for a repository of Docker images. Returns the operation's name.
    pub async fn create_repository(&self, deployment: &str, location: &str) -> Result<String> {
        let doing = format!("create image repository {deployment} in {location}");
        let path = format!("/v1/{}/repositories", self.place(location));
        let body = json!({"format": "DOCKER", "labels": crate::gke::plan::labels(deployment)});
        let query = [("repositoryId", deployment)];
        let sent = self.artifacts.send(&doing, Method::POST, &path, &query, Some(&body));
        Ok(text(&self.within_limit(&doing, sent).await?, "name"))
    }

    /// Asks for the repository to be deleted with its images. Returns the operation's name, or None if
    /// there is none to delete.
    pub async fn delete_repository(&self, name: &str, location: &str) -> Result<Option<String>> {
        let doing = format!("delete image repository {name} in {location}");
        let path = format!("/v1/{}/repositories/{name}", self.place(location));
        let sent = self.artifacts.send(&doing, Method::DELETE, &path, &[], None);
        match self.within_limit(&doing, sent).await {
            Ok(operation) => Ok(Some(text(&operation, "name"))),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn repository_operation(&self, name: &str, verb: Verb) -> Result<Option<OperationSeen>> {
        let doing = format!("look at the image repository's operation {}", last_part(name));
        let path = format!("/v1/{name}");
        let answer = match self.get(&self.artifacts, &doing, &path, &[]).await {
            Ok(answer) => answer,
            Err(error) if error.kind == Kind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let done = answer.get("done").and_then(Value::as_bool).unwrap_or(false);
        let error = answer.get("error").map(|error| text(error, "message"));
        Ok(Some(OperationSeen { resource: Resource::Repository, verb, name: name.to_owned(), done, error }))
    }
}
