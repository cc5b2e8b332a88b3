//! A deployment's objects out of a cluster: deletion in the order that they hold on to each other, and the wait until
//! they are gone.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams, PropagationPolicy};
use kube::{Api, Client, ResourceExt};

use super::attend::attended;
use super::object::{Object, failed, find, get};
use super::objects::{Config, DEPLOYMENT_LABEL};
use super::wait::until;
use crate::error::{Error, Kind, Result};

/// How long objects may take to go: pods have up to 30 s of grace.
const DELETED: Duration = Duration::from_secs(180);

/// Deletes everything of the deployment and waits until it is gone. Nothing there is success. Pods that hang on
/// a dead machine are named and deleted by force.
pub(crate) async fn delete(client: &Client, config: &Config, tell: &mut dyn FnMut(&str)) -> Result<()> {
    attended(client, config, &[], tell, delete_all(client, config)).await
}

async fn delete_all(client: &Client, config: &Config) -> Result<()> {
    let jobs: Api<Job> = Api::namespaced(client.clone(), &config.namespace);
    let services: Api<Service> = Api::namespaced(client.clone(), &config.namespace);
    let policies: Api<NetworkPolicy> = Api::namespaced(client.clone(), &config.namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &config.namespace);
    delete_ours(&jobs, config).await?;
    delete_ours(&services, config).await?;
    delete_ours(&policies, config).await?;
    delete_ours(&secrets, config).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &config.namespace);
    match delete_ours(&accounts, config).await {
        // Who may not see them made none.
        Err(error) if error.kind == Kind::Permission => {}
        deleted => deleted?,
    }
    delete_volume(client, config).await
}

/// Deletes the pods that use the volume, the claim and the volume, in the order that they hold on to each
/// other.
pub(crate) async fn delete_volume(client: &Client, config: &Config) -> Result<()> {
    let jobs: Api<Job> = Api::namespaced(client.clone(), &config.namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), &config.namespace);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &config.namespace);
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    delete_ours(&jobs, config).await?;
    delete_ours(&pods, config).await?;
    delete_ours(&claims, config).await?;
    // By its name: a deployment of the same name in another namespace has one of its own.
    match find(&volumes, config, &config.volume_name()).await? {
        Some(volume) => delete_and_wait(&volumes, &volume.name_any()).await,
        None => Ok(()),
    }
}

async fn delete_ours<K: Object>(api: &Api<K>, config: &Config) -> Result<()> {
    let ours = ListParams::default().labels(&format!("{DEPLOYMENT_LABEL}={}", config.deployment));
    let doing = format!("list {}", K::plural(&()));
    let found = api.list(&ours).await.map_err(|error| failed(doing, &error))?;
    for object in found {
        delete_and_wait(api, &object.name_any()).await?;
    }
    Ok(())
}

pub(crate) async fn delete_and_wait<K: Object>(api: &Api<K>, name: &str) -> Result<()> {
    delete_with(
        api,
        name,
        &DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() },
    )
    .await
}

/// Deletes a pod without grace, as a crash does.
pub(crate) async fn delete_now(api: &Api<Pod>, name: &str) -> Result<()> {
    delete_with(api, name, &DeleteParams::default().grace_period(0)).await
}

async fn delete_with<K: Object>(api: &Api<K>, name: &str, how: &DeleteParams) -> Result<()> {
    let doing = format!("delete {} {name}", K::kind(&()));
    let Some(object) = get(api, name).await? else { return Ok(()) };
    match api.delete(name, how).await {
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
        other => other.map_err(|error| failed(doing.clone(), &error))?,
    };
    let uid = object.uid();
    let gone = until(api, name, DELETED, |there: Option<&K>| there.is_none_or(|there| there.uid() != uid));
    match gone.await {
        Ok(_) => Ok(()),
        Err(error) => {
            let hint =
                "a pod whose processes do not end holds it: `kubectl get pods -o wide` shows on which node";
            Err(Error::with_hint(doing, error, hint))
        }
    }
}
