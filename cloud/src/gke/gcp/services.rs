//! Service Usage: which APIs are enabled.

use std::collections::BTreeMap;

use google_cloud_api_serviceusage_v1::model::State;

use super::Google;
use super::filestore::operation_seen;
use super::rest::last_part;
use crate::error::{Kind, Result};
use crate::gke::plan::{OperationSeen, Resource, Verb};

const SERVICE: &str = "serviceusage.googleapis.com";

impl Google {
    /// Whether each of the APIs is enabled.
    pub(super) async fn apis(&self, names: &[&str]) -> Result<BTreeMap<String, bool>> {
        let parent = format!("projects/{}", self.project);
        let doing = format!("see which APIs are enabled in {parent}");
        let full: Vec<_> = names.iter().map(|name| format!("{parent}/services/{name}")).collect();
        let request =
            || self.services.batch_get_services().set_parent(&parent).set_names(full.clone()).send();
        let answer = self.read(async || self.send(&doing, SERVICE, request()).await).await?;
        let mut enabled: BTreeMap<_, _> = names.iter().map(|name| ((*name).to_owned(), false)).collect();
        for service in answer.services {
            if let Some(entry) = enabled.get_mut(&last_part(&service.name)) {
                *entry = service.state == State::Enabled;
            }
        }
        Ok(enabled)
    }

    /// Asks for APIs to be enabled. Returns the operation's name.
    pub async fn enable_apis(&self, names: &[String]) -> Result<String> {
        let doing = format!("enable {}", names.join(", "));
        let request = self.services.batch_enable_services().set_parent(format!("projects/{}", self.project));
        let sent = request.set_service_ids(names.to_vec()).send();
        Ok(self.send(&doing, SERVICE, sent).await?.name)
    }

    pub(super) async fn apis_operation(&self, name: &str) -> Result<Option<OperationSeen>> {
        let doing = format!("see whether APIs are enabled by now, by operation {}", last_part(name));
        let get = || self.send(&doing, SERVICE, self.services.get_operation().set_name(name).send());
        match self.read(async || get().await).await {
            Ok(operation) => Ok(Some(operation_seen(&operation, Resource::Apis, Verb::Update))),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
