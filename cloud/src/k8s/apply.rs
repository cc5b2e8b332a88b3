//! Objects into a cluster: server-side apply, and waits by watches.

use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Secret, ServiceAccount};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;

use super::attend::attended;
use super::cluster::{Nfs, Volume};
use super::delete::{delete_and_wait, delete_volume};
use super::object::{Object, apply, failed, find, get, own, put};
use super::objects::{Config, PASSWORD_KEY, access, job, redis, staging, volume};
use super::obstacle;
use super::wait::until;
use super::watch::outcome;
use crate::error::{Error, Kind, Result};

/// How long pods may take to run: an image may have to be pulled, a Spot machine found.
const READY: Duration = Duration::from_secs(600);
/// How long a claim may take to be bound before it is touched.
const NUDGE: Duration = Duration::from_secs(1);
/// The annotation by which it is.
const NUDGED: &str = "batch/nudged";

/// Makes the volume, the claim, Redis and the staging pod, and waits until they can be used. Pods
/// whose specification changed are replaced; so is a volume that points elsewhere, which deletes nothing on the
/// export. `tell` gets what Kubernetes says is in the way, as soon as it says so.
///
/// # Errors
/// An object of the same name that is not the deployment's, no rights, or something that does not
/// become ready, with what Kubernetes says about it: at once where no waiting can help.
pub(crate) async fn up(client: &Client, config: &Config, tell: &mut dyn FnMut(&str)) -> Result<()> {
    let pods = attended(client, config, &[], tell, make(client, config)).await?;
    let ready = async {
        for (name, _) in &pods {
            ready(client, config, name).await?;
        }
        Ok(())
    };
    attended(client, config, &pods, tell, ready).await
}

/// Gives the names and uids of the pods that are then to become ready.
async fn make(client: &Client, config: &Config) -> Result<Vec<(String, String)>> {
    match &config.volume {
        Volume::Nfs(nfs) => make_volume(client, config, nfs).await?,
        Volume::Bucket(_) => {
            if let Some(account) = access::account(config) {
                apply(client, config, &account).await?;
            }
        }
    }
    secret(client, config).await?;
    for policy in redis::network_policies(config) {
        apply(client, config, &policy).await?;
    }
    apply(client, config, &redis::service(config)).await?;
    let staging = config.nfs().map(|_| staging::pod(config));
    if staging.is_some() {
        // First, for the scheduler complains of pods whose claim is not bound yet.
        bound(client, config).await?;
    }
    let mut pods = Vec::new();
    for pod in [redis::pod(config)].into_iter().chain(staging) {
        let made = apply_new(client, config, &pod).await?;
        pods.push((made.name_any(), made.uid().unwrap_or_default()));
    }
    Ok(pods)
}

/// The PersistentVolume of an export, and the claim.
async fn make_volume(client: &Client, config: &Config, nfs: &Nfs) -> Result<()> {
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let wanted = volume::persistent_volume(config, nfs);
    if let Some(there) = get(&volumes, &config.volume_name()).await? {
        own(config, &there)?;
        if mounted(&there) != mounted(&wanted) {
            delete_volume(client, config).await?;
        }
    }
    put(&volumes, &wanted).await?;
    apply(client, config, &volume::claim(config, nfs)).await.map(drop)
}

/// Starts the Job. One that runs with the same specification is left alone; any other is replaced.
pub(crate) async fn start(client: &Client, config: &Config) -> Result<Job> {
    let jobs: Api<Job> = Api::namespaced(client.clone(), &config.namespace);
    let name = config.workload();
    if let Some(there) = get(&jobs, &name).await? {
        own(config, &there)?;
        if outcome(&there).is_some() {
            delete_and_wait(&jobs, &name).await?;
        }
    }
    apply_new(client, config, &job::job(config)).await
}

/// Makes the Secret with a random password, unless there is one: a second deployment must not cut off connected
/// clients.
#[expect(clippy::disallowed_methods, reason = "an adapter: a password is no part of any result")]
async fn secret(client: &Client, config: &Config) -> Result<()> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &config.namespace);
    if let Some(there) = get(&api, &config.redis()).await? {
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
pub(crate) async fn password(client: &Client, config: &Config) -> Result<String> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &config.namespace);
    let name = config.redis();
    let secret = get(&api, &name).await?;
    let found = secret.and_then(|secret| secret.data?.remove(PASSWORD_KEY));
    found.and_then(|bytes| String::from_utf8(bytes.0).ok()).ok_or_else(|| {
        let why = format!("the Secret {name} has no {PASSWORD_KEY}");
        Error::with_hint("read Redis's password", why, "deploy again: it is made where it is missing")
    })
}

/// The NFS export that a volume points at, as `server:/path`.
pub(crate) fn export(volume: &PersistentVolume) -> Option<String> {
    source(volume).map(|(server, path)| format!("{server}:{path}"))
}

/// The bucket that is the deployment's volume, by its URL. Without the right to see service accounts there is none.
pub(crate) async fn bucket(client: &Client, config: &Config) -> Result<Option<String>> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &config.namespace);
    match find(&accounts, config, &config.workload()).await {
        Err(error) if error.kind == Kind::Permission => Ok(None),
        found => Ok(found?.and_then(|account| account.annotations().get(access::BUCKET).cloned())),
    }
}

/// What pods get to mount, and how.
fn mounted(volume: &PersistentVolume) -> (Option<(&str, &str)>, Option<&[String]>) {
    let options = volume.spec.as_ref().and_then(|spec| spec.mount_options.as_deref());
    (source(volume), options)
}

fn source(volume: &PersistentVolume) -> Option<(&str, &str)> {
    let nfs = volume.spec.as_ref()?.nfs.as_ref()?;
    Some((&nfs.server, &nfs.path))
}

async fn bound(client: &Client, config: &Config) -> Result<()> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &config.namespace);
    let name = config.claim();
    let doing = format!("wait for claim {name} to be bound");
    let is_bound = |claim: Option<&PersistentVolumeClaim>| {
        claim.and_then(|claim| claim.status.as_ref()?.phase.as_deref()) == Some("Bound")
    };
    let hint = format!("`kubectl describe pvc {name}` says why");
    for number in 0..READY.as_secs() / NUDGE.as_secs() {
        if until(&claims, &name, NUDGE, is_bound).await.is_ok() {
            return Ok(());
        }
        // Kubernetes looks at a claim that it could not bind at once only every 15 s, or when it changes.
        let nudge = json!({"metadata": {"annotations": {NUDGED: number.to_string()}}});
        let nudged = claims.patch(&name, &PatchParams::default(), &Patch::Merge(nudge)).await;
        nudged.map_err(|error| failed(doing.clone(), &error))?;
    }
    Err(Error::with_hint(doing, format!("not within {} s", READY.as_secs()), hint))
}

/// Waits until a pod is ready.
pub(crate) async fn ready(client: &Client, config: &Config, name: &str) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &config.namespace);
    let doing = format!("wait for pod {name}");
    let stands = |pod: &Pod| is_ready(pod) && pod.metadata.deletion_timestamp.is_none();
    match until(&pods, name, READY, |pod: Option<&Pod>| pod.is_some_and(stands)).await {
        Ok(_) => Ok(()),
        Err(error) => {
            let pod = get(&pods, name).await?;
            let why = pod.as_ref().and_then(obstacle::of_pod).map(|obstacle| format!(": {}", obstacle.words));
            let hint = format!("`kubectl describe pod {name}` says more");
            Err(Error::with_hint(doing, format!("{error}{}", why.unwrap_or_default()), hint))
        }
    }
}

/// Whether the Redis pod and the staging pod are ready, from what is there.
pub(crate) async fn pods_ready(client: &Client, config: &Config) -> Result<(bool, bool)> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &config.namespace);
    let redis = get(&pods, &config.redis_leader()).await?;
    let staging = get(&pods, &config.fileserver()).await?;
    Ok((redis.as_ref().is_some_and(is_ready), staging.as_ref().is_some_and(is_ready)))
}

/// The same for an object whose specification cannot be changed: one that differs is replaced.
pub(crate) async fn apply_new<K>(client: &Client, config: &Config, object: &K) -> Result<K>
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

/// Whether a pod's condition `Ready` is true.
fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}
