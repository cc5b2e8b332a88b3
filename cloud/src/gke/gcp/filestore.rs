//! Filestore.

use google_cloud_filestore_v1::model::{Instance, instance};
use google_cloud_longrunning::model::{Operation, operation};
use google_cloud_wkt::FieldMask;

use super::call::PAGES_MAX;
use super::rest::{last_part, text};
use super::{Google, requests};
use crate::error::{Error, Kind, Result};
use crate::gke::plan::{Desired, FilestoreSeen, OperationSeen, Resource, State, Verb};

const SERVICE: &str = "file.googleapis.com";

impl Google {
    /// All instances of the project, and the places that did not answer.
    pub(super) async fn filestores(&self) -> Result<(Vec<FilestoreSeen>, Vec<String>)> {
        let doing = "list Filestore instances in all locations";
        let (mut found, mut unreachable, mut page) = (Vec::new(), Vec::new(), String::new());
        for _ in 0..PAGES_MAX {
            let request =
                || self.filestore.list_instances().set_parent(self.place("-")).set_page_token(page.clone());
            let answer = self.read(async || self.send(doing, SERVICE, request().send()).await).await?;
            found.extend(answer.instances.into_iter().map(seen));
            unreachable.extend(answer.unreachable);
            page = answer.next_page_token;
            if page.is_empty() {
                return Ok((found, unreachable));
            }
        }
        Err(Error::other(doing, format!("more than {PAGES_MAX} pages")))
    }

    /// Asks for the instance. Returns the operation's name.
    pub async fn create_filestore(&self, desired: &Desired) -> Result<String> {
        let (name, location) = (desired.filestore_name(), desired.filestore_location());
        let doing = format!("create Filestore instance {name} in {location}");
        let request = self.filestore.create_instance().set_parent(self.place(location)).set_instance_id(name);
        let sent = request.set_instance(requests::filestore_request(desired)).send();
        Ok(self.send(&doing, SERVICE, sent).await?.name)
    }

    /// Asks for the instance to grow. Returns the operation's name.
    pub async fn grow_filestore(&self, desired: &Desired) -> Result<String> {
        let (name, location) = (desired.filestore_name(), desired.filestore_location());
        let doing = format!("grow Filestore instance {name} in {location}");
        let instance = Instance::new()
            .set_name(format!("{}/instances/{name}", self.place(location)))
            .set_file_shares([requests::share(desired.capacity_gib)]);
        let request = self.filestore.update_instance().set_instance(instance);
        let sent = request.set_update_mask(FieldMask::default().set_paths(["file_shares"])).send();
        Ok(self.send(&doing, SERVICE, sent).await?.name)
    }

    /// Asks for the instance to be deleted. Returns the operation's name, or None if there is none to delete.
    pub async fn delete_filestore(&self, name: &str, location: &str) -> Result<Option<String>> {
        let doing = format!("delete Filestore instance {name} in {location}");
        let request = self.filestore.delete_instance();
        let sent = request.set_name(format!("{}/instances/{name}", self.place(location))).send();
        match self.send(&doing, SERVICE, sent).await {
            Ok(operation) => Ok(Some(operation.name)),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn filestore_operation(&self, name: &str, verb: Verb) -> Result<Option<OperationSeen>> {
        let doing = format!("look at the Filestore's operation {}", last_part(name));
        let get = || self.send(&doing, SERVICE, self.filestore.get_operation().set_name(name).send());
        match self.read(async || get().await).await {
            Ok(operation) => Ok(Some(operation_seen(&operation, Resource::Filestore, verb))),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The operations on an instance, for when their names were not kept.
    pub(super) async fn filestore_operations(
        &self,
        name: &str,
        location: &str,
    ) -> Result<Vec<OperationSeen>> {
        let doing = format!("list operations in {location}");
        let request = || self.filestore.list_operations().set_name(self.place(location)).send();
        let answer = self.read(async || self.send(&doing, SERVICE, request()).await).await?;
        let target = format!("/instances/{name}");
        let mut on_it: Vec<(String, OperationSeen)> = Vec::new();
        for operation in &answer.operations {
            let metadata = operation.metadata.as_ref().and_then(|any| serde_json::to_value(any).ok());
            let metadata = metadata.unwrap_or_default();
            let verb = match text(&metadata, "verb").as_str() {
                "create" => Verb::Create,
                "update" => Verb::Update,
                "delete" => Verb::Delete,
                _ => continue,
            };
            if text(&metadata, "target").ends_with(&target) {
                on_it.push((
                    text(&metadata, "createTime"),
                    operation_seen(operation, Resource::Filestore, verb),
                ));
            }
        }
        on_it.sort_by(|a, b| b.0.cmp(&a.0));
        Ok(on_it.into_iter().map(|(_, seen)| seen).collect())
    }
}

fn seen(found: Instance) -> FilestoreSeen {
    let state = match &found.state {
        instance::State::Creating => State::Making,
        instance::State::Ready => State::Ready,
        instance::State::Repairing
        | instance::State::Restoring
        | instance::State::Resuming
        | instance::State::Reverting
        | instance::State::Promoting => State::Busy,
        instance::State::Deleting => State::Going,
        instance::State::Error => State::Broken(found.status_message.clone()),
        other => State::Odd(other.name().unwrap_or("unknown").to_owned()),
    };
    let mut parts = found.name.split('/').skip(3);
    let location = parts.next().unwrap_or_default().to_owned();
    let share = found.file_shares.first();
    let network = found.networks.first();
    FilestoreSeen {
        name: last_part(&found.name),
        location,
        labels: found.labels.into_iter().collect(),
        state,
        tier: found.tier.name().unwrap_or("unknown").to_owned(),
        share: share.map(|share| share.name.clone()).unwrap_or_default(),
        capacity_gib: share.and_then(|share| share.capacity_gb.try_into().ok()).unwrap_or(0),
        network: network.map(|network| last_part(&network.network)).unwrap_or_default(),
        address: network.and_then(|network| network.ip_addresses.first().cloned()),
        created_s: found.create_time.and_then(|time| time.seconds().try_into().ok()),
    }
}

/// Any operation of the kind that most of Google's APIs share.
pub(super) fn operation_seen(found: &Operation, resource: Resource, verb: Verb) -> OperationSeen {
    let error = match &found.result {
        Some(operation::Result::Error(status)) => Some(status.message.clone()),
        _ => None,
    };
    OperationSeen { resource, verb, name: found.name.clone(), done: found.done, error }
}
