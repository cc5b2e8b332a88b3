//! Objects into a cluster and out of it: server-side apply, waits by watches, deletion.
//!
//! Nothing that lacks the deployment's label is ever touched.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PropagationPolicy};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Kind, Result, innermost};
use crate::manifest::{
    CLAIM, Config, DEPLOYMENT_LABEL, FILESERVER, PASSWORD_KEY, REDIS, REDIS_LEADER, WORKLOAD, job, redis,
    staging, volume,
};
use crate::wait::until;

/// Who the API server notes as the owner of the fields.
const MANAGER: &str = "batch";
/// How long pods may take to run: an image may have to be pulled, a Spot machine found.
const READY: Duration = Duration::from_secs(600);
/// How long objects may take to go: pods have up to 30 s of grace.
const DELETED: Duration = Duration::from_secs(180);

/// What an object must be to be applied here.
pub trait Object:
    Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + 'static
{
}
impl<K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + 'static> Object
    for K
{
}

/// Makes the volume, the claim, Redis and the staging pod, and waits until they can be used. Pods
/// whose specification changed are replaced; a volume that points elsewhere is made anew, which deletes
/// nothing on the export.
///
/// # Errors
/// An object of the same name that is not the deployment's, no rights, or something that does not
/// become ready, with what Kubernetes says about it.
pub async fn up(client: &Client, config: &Config) -> Result<()> {
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let wanted = volume::persistent_volume(config);
    if let Some(there) = get(&volumes, &config.volume_name()).await? {
        own(config, &there)?;
        if source(&there) != source(&wanted) {
            delete_volume(client, config).await?;
        }
    }
    put(&volumes, &wanted).await?;
    apply(client, config, &volume::claim(config)).await?;
    secret(client, config).await?;
    for policy in redis::network_policies(config) {
        apply(client, config, &policy).await?;
    }
    apply(client, config, &redis::service(config)).await?;
    let pods = [redis::pod(config), staging::pod(config)];
    for pod in &pods {
        apply_new(client, config, pod).await?;
    }
    bound(client, config).await?;
    for pod in &pods {
        ready(client, config, &pod.name_any()).await?;
    }
    Ok(())
}

/// Starts the Job. One that runs with the same specification is left alone; any other is replaced.
pub async fn start(client: &Client, config: &Config) -> Result<Job> {
    let jobs: Api<Job> = Api::namespaced(client.clone(), &config.namespace);
    if let Some(there) = get(&jobs, WORKLOAD).await? {
        own(config, &there)?;
        if finished(&there).is_some() {
            delete_and_wait(&jobs, WORKLOAD).await?;
        }
    }
    apply_new(client, config, &job::job(config)).await
}

/// Why a Job is over: its condition `Complete` or `Failed`, with reason and message.
pub fn finished(job: &Job) -> Option<(bool, String)> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().filter(|one| one.status == "True").find_map(|one| {
        let why =
            || [&one.reason, &one.message].into_iter().flatten().cloned().collect::<Vec<_>>().join(": ");
        match one.type_.as_str() {
            "Complete" => Some((true, why())),
            "Failed" => Some((false, why())),
            _ => None,
        }
    })
}

/// Deletes everything of the deployment and waits until it is gone. Nothing there is success.
pub async fn delete(client: &Client, config: &Config) -> Result<()> {
    let jobs: Api<Job> = Api::namespaced(client.clone(), &config.namespace);
    let services: Api<Service> = Api::namespaced(client.clone(), &config.namespace);
    let policies: Api<NetworkPolicy> = Api::namespaced(client.clone(), &config.namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &config.namespace);
    delete_ours(&jobs, config).await?;
    delete_ours(&services, config).await?;
    delete_ours(&policies, config).await?;
    delete_ours(&secrets, config).await?;
    delete_volume(client, config).await
}

/// Deletes the pods that use the volume, the claim and the volume, in the order that they hold on to each
/// other.
async fn delete_volume(client: &Client, config: &Config) -> Result<()> {
    let jobs: Api<Job> = Api::namespaced(client.clone(), &config.namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), &config.namespace);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &config.namespace);
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    delete_ours(&jobs, config).await?;
    delete_ours(&pods, config).await?;
    delete_ours(&claims, config).await?;
    delete_ours(&volumes, config).await
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

async fn delete_and_wait<K: Object>(api: &Api<K>, name: &str) -> Result<()> {
    delete_with(
        api,
        name,
        &DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() },
    )
    .await
}

/// Deletes a pod without grace, as a crash does.
pub async fn delete_now(api: &Api<Pod>, name: &str) -> Result<()> {
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
            let hint = "a pod on a node that is gone stays until the node's object is deleted: `kubectl get pods -o wide`";
            Err(Error::with_hint(doing, error, hint))
        }
    }
}

/// Applies an object of the deployment.
pub async fn apply<K>(client: &Client, config: &Config, object: &K) -> Result<K>
where
    K: Object + Resource<Scope = NamespaceResourceScope>,
{
    let api: Api<K> = Api::namespaced(client.clone(), &config.namespace);
    if let Some(there) = get(&api, &object.name_any()).await? {
        own(config, &there)?;
    }
    put(&api, object).await
}

/// The same for an object whose specification cannot be changed: one that differs is replaced.
pub async fn apply_new<K>(client: &Client, config: &Config, object: &K) -> Result<K>
where
    K: Object + Resource<Scope = NamespaceResourceScope>,
{
    match apply(client, config, object).await {
        Err(error) if error.kind == Kind::Differs => {
            let api: Api<K> = Api::namespaced(client.clone(), &config.namespace);
            delete_and_wait(&api, &object.name_any()).await?;
            put(&api, object).await
        }
        other => other,
    }
}

async fn put<K: Object>(api: &Api<K>, object: &K) -> Result<K> {
    let name = object.name_any();
    let doing = format!("apply {} {name}", K::kind(&()));
    let how = PatchParams::apply(MANAGER).force();
    api.patch(&name, &how, &Patch::Apply(object)).await.map_err(|error| failed(doing, &error))
}

/// An object of the deployment's; None of what is not there, or is somebody else's.
pub async fn find<K: Object>(api: &Api<K>, config: &Config, name: &str) -> Result<Option<K>> {
    Ok(get(api, name).await?.filter(|there| is_ours(config, there)))
}

async fn get<K: Object>(api: &Api<K>, name: &str) -> Result<Option<K>> {
    api.get_opt(name).await.map_err(|error| failed(format!("read {} {name}", K::kind(&())), &error))
}

/// Makes the Secret with a password that nobody chose, unless there is one: whoever holds a
/// connection must not be cut off by a second deployment.
#[expect(clippy::disallowed_methods, reason = "an adapter: a password is no part of any result")]
async fn secret(client: &Client, config: &Config) -> Result<()> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &config.namespace);
    if let Some(there) = get(&api, REDIS).await? {
        own(config, &there)?;
        if there.data.is_some_and(|data| data.contains_key(PASSWORD_KEY)) {
            return Ok(());
        }
    }
    let mut random = [0; 24];
    getrandom::fill(&mut random).map_err(|error| Error::other("choose Redis's password", error))?;
    put(&api, &redis::secret(config, &hex::encode(random))).await.map(|_| ())
}

/// The password of the deployment's Redis.
///
/// # Errors
/// If there is none, or it may not be read.
pub async fn password(client: &Client, config: &Config) -> Result<String> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &config.namespace);
    let secret = get(&api, REDIS).await?;
    let found = secret.and_then(|secret| secret.data?.remove(PASSWORD_KEY));
    found.and_then(|bytes| String::from_utf8(bytes.0).ok()).ok_or_else(|| {
        let why = format!("the Secret {REDIS} has no {PASSWORD_KEY}");
        Error::with_hint("read Redis's password", why, "deploy again: it is made where it is missing")
    })
}

fn is_ours<K: Object>(config: &Config, object: &K) -> bool {
    object.labels().get(DEPLOYMENT_LABEL) == Some(&config.deployment)
}

fn own<K: Object>(config: &Config, object: &K) -> Result<()> {
    if is_ours(config, object) {
        return Ok(());
    }
    let what = format!("{} {}", K::kind(&()), object.name_any());
    let why = format!(
        "it is in namespace {} without the label {DEPLOYMENT_LABEL}={}",
        config.namespace, config.deployment
    );
    Err(Error::new(format!("change {what}"), why, Kind::NameTaken))
}

/// The NFS export that a volume points at, as `server:/path`.
pub fn export(volume: &PersistentVolume) -> Option<String> {
    source(volume).map(|(server, path)| format!("{server}:{path}"))
}

fn source(volume: &PersistentVolume) -> Option<(&str, &str)> {
    let nfs = volume.spec.as_ref()?.nfs.as_ref()?;
    Some((&nfs.server, &nfs.path))
}

async fn bound(client: &Client, config: &Config) -> Result<()> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &config.namespace);
    let doing = format!("wait for claim {CLAIM} to be bound");
    let is_bound = |claim: Option<&PersistentVolumeClaim>| {
        claim.and_then(|claim| claim.status.as_ref()?.phase.as_deref()) == Some("Bound")
    };
    let hint = format!("`kubectl describe pvc {CLAIM}` says why");
    let bound = until(&claims, CLAIM, READY, is_bound).await;
    bound.map(|_| ()).map_err(|error| Error::with_hint(doing, error, hint))
}

/// Waits until a pod is ready.
pub async fn ready(client: &Client, config: &Config, name: &str) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &config.namespace);
    let doing = format!("wait for pod {name}");
    match until(&pods, name, READY, |pod: Option<&Pod>| pod.is_some_and(is_ready)).await {
        Ok(_) => Ok(()),
        Err(error) => {
            let pod = get(&pods, name).await?;
            let why = pod.as_ref().and_then(waiting).unwrap_or_else(|| "no reason given".to_owned());
            let hint = format!("`kubectl describe pod {name}` says more");
            Err(Error::with_hint(doing, format!("{error}: {why}"), hint))
        }
    }
}

/// Whether a pod's condition `Ready` is true.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

/// What a pod waits for, in Kubernetes' words: not scheduled, an image that cannot be pulled.
pub fn waiting(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let mut reasons = containers.filter_map(|container| container.state.as_ref()?.waiting.as_ref());
    if let Some(waiting) = reasons.next() {
        let parts = [waiting.reason.as_deref(), waiting.message.as_deref()];
        return Some(parts.into_iter().flatten().collect::<Vec<_>>().join(": "));
    }
    status.conditions.as_ref()?.iter().find(|one| one.status == "False").and_then(|one| one.message.clone())
}

/// Turns what the API server says into what a person can act on.
pub fn failed(doing: String, error: &kube::Error) -> Error {
    let status = match error {
        kube::Error::Api(status) => status,
        kube::Error::Service(inner) => return unsent(doing, inner.as_ref()),
        kube::Error::HyperError(inner) => return Error::new(doing, inner.to_string(), Kind::Transient),
        other => return Error::other(doing, other),
    };
    let why = status.message.clone();
    match status.code {
        401 => Error::new(doing, why, Kind::Credentials),
        403 => Error::new(doing, why, Kind::Permission { service: "container.googleapis.com".to_owned() }),
        422 if why.contains("immutable") || why.contains("may not change") || why.contains("Forbidden") => {
            Error::new(doing, why, Kind::Differs)
        }
        429 | 500..=599 => Error::new(doing, why, Kind::Transient),
        _ => Error::other(doing, why),
    }
}

/// No answer: for want of a token, which says so itself, or of a connection.
fn unsent(doing: String, error: &(dyn std::error::Error + 'static)) -> Error {
    match error.downcast_ref::<Error>() {
        Some(error) => Error::new(doing, error.to_string(), error.kind.clone()),
        None => Error::new(doing, innermost(error), Kind::Transient),
    }
}

/// Whether the Redis pod and the staging pod are ready, from what is there.
pub async fn pods_ready(client: &Client, config: &Config) -> Result<(bool, bool)> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &config.namespace);
    let redis = get(&pods, REDIS_LEADER).await?;
    let staging = get(&pods, FILESERVER).await?;
    Ok((redis.as_ref().is_some_and(is_ready), staging.as_ref().is_some_and(is_ready)))
}
