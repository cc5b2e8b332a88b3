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
use serde_json::json;

use crate::error::{Error, Kind, Result, innermost, unconnected};
use crate::k8s::attend::attended;
use crate::k8s::objects::{Config, DEPLOYMENT_LABEL, PASSWORD_KEY, job, redis, staging, volume};
use crate::k8s::obstacle::{self, Outlook};
use crate::k8s::wait::until;

/// Who the API server notes as the owner of the fields.
const MANAGER: &str = "batch";
/// How long pods may take to run: an image may have to be pulled, a Spot machine found.
const READY: Duration = Duration::from_secs(600);
/// How long objects may take to go: pods have up to 30 s of grace.
const DELETED: Duration = Duration::from_secs(180);

/// How long a claim may take to be bound before it is touched.
const NUDGE: Duration = Duration::from_secs(1);
/// The annotation by which it is.
const NUDGED: &str = "batch/nudged";

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
/// nothing on the export. `tell` gets what Kubernetes says is in the way, as soon as it says so.
///
/// # Errors
/// An object of the same name that is not the deployment's, no rights, or something that does not
/// become ready, with what Kubernetes says about it: at once where no waiting can help.
pub async fn up(client: &Client, config: &Config, tell: &mut dyn FnMut(&str)) -> Result<()> {
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
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let wanted = volume::persistent_volume(config);
    if let Some(there) = get(&volumes, &config.volume_name()).await? {
        own(config, &there)?;
        if mounted(&there) != mounted(&wanted) {
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
    // First, for the scheduler complains of pods whose claim is not bound yet.
    bound(client, config).await?;
    let mut pods = Vec::new();
    for pod in [redis::pod(config), staging::pod(config)] {
        let made = apply_new(client, config, &pod).await?;
        pods.push((made.name_any(), made.uid().unwrap_or_default()));
    }
    Ok(pods)
}

/// Starts the Job. One that runs with the same specification is left alone; any other is replaced.
pub async fn start(client: &Client, config: &Config) -> Result<Job> {
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

/// Why a Job is over, with all of its pods: its condition `Complete` or `Failed`, with reason and message.
pub fn finished(job: &Job) -> Option<(bool, String)> {
    condition(job, &[("Complete", true), ("Failed", false)])
}

/// How a Job ends, once that is decided. `SuccessCriteriaMet` and `FailureTarget` come before `Complete` and
/// `Failed`, which wait until every pod has ended: on a machine that died and whose Node object stays, for ever.
pub fn outcome(job: &Job) -> Option<(bool, String)> {
    finished(job).or_else(|| condition(job, &[("SuccessCriteriaMet", true), ("FailureTarget", false)]))
}

fn condition(job: &Job, wanted: &[(&str, bool)]) -> Option<(bool, String)> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().filter(|one| one.status == "True").find_map(|one| {
        let (_, good) = wanted.iter().find(|(kind, _)| *kind == one.type_)?;
        let parts = [&one.reason, &one.message].into_iter().flatten().cloned();
        Some((*good, parts.collect::<Vec<_>>().join(": ")))
    })
}

/// Deletes everything of the deployment and waits until it is gone. Nothing there is success. Pods that hang on
/// a dead machine are named and deleted by force.
pub async fn delete(client: &Client, config: &Config, tell: &mut dyn FnMut(&str)) -> Result<()> {
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
            let hint =
                "a pod whose processes do not end holds it: `kubectl get pods -o wide` shows on which node";
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
pub async fn password(client: &Client, config: &Config) -> Result<String> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &config.namespace);
    let name = config.redis();
    let secret = get(&api, &name).await?;
    let found = secret.and_then(|secret| secret.data?.remove(PASSWORD_KEY));
    found.and_then(|bytes| String::from_utf8(bytes.0).ok()).ok_or_else(|| {
        let why = format!("the Secret {name} has no {PASSWORD_KEY}");
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
    let hint = "choose another deployment name with --name; nothing that lacks this deployment's labels is ever touched";
    Err(Error::with_hint(format!("change {what}"), why, hint))
}

/// The NFS export that a volume points at, as `server:/path`.
pub fn export(volume: &PersistentVolume) -> Option<String> {
    source(volume).map(|(server, path)| format!("{server}:{path}"))
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
pub async fn ready(client: &Client, config: &Config, name: &str) -> Result<()> {
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

/// Whether a pod's condition `Ready` is true.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
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
    // Admission refuses with the same code as a lack of rights.
    if let Some(outlook) = obstacle::of_refusal(&why).filter(|_| status.code == 403) {
        let hint = match outlook {
            Outlook::Hopeless(hint) => hint,
            Outlook::MayPass => "others use up the namespace's quota: `kubectl describe quota`".to_owned(),
        };
        return Error::with_hint(doing, why, hint);
    }
    match status.code {
        401 => Error::new(doing, why, Kind::Credentials),
        403 => Error::new(doing, why, Kind::Permission),
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
        Some(error) => Error { doing, why: error.to_string(), ..error.clone() },
        None => {
            let why = innermost(error);
            let cause = unconnected(&why);
            Error::new(doing, why, cause)
        }
    }
}

/// Whether the Redis pod and the staging pod are ready, from what is there.
pub async fn pods_ready(client: &Client, config: &Config) -> Result<(bool, bool)> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &config.namespace);
    let redis = get(&pods, &config.redis_leader()).await?;
    let staging = get(&pods, &config.fileserver()).await?;
    Ok((redis.as_ref().is_some_and(is_ready), staging.as_ref().is_some_and(is_ready)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_end_is_decided_before_every_pod_has_ended() {
        let job = |kind: &str, status: &str| -> Job {
            let condition = json!({"type": kind, "status": status, "reason": "R", "message": "m"});
            serde_json::from_value(json!({
                "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "workload"},
                "status": {"conditions": [condition]},
            }))
            .unwrap()
        };
        let why = "R: m".to_owned();
        let table = [
            ("SuccessCriteriaMet", None, Some((true, why.clone()))),
            ("FailureTarget", None, Some((false, why.clone()))),
            ("Complete", Some((true, why.clone())), Some((true, why.clone()))),
            ("Failed", Some((false, why.clone())), Some((false, why))),
            ("Suspended", None, None),
        ];
        for (kind, over, decided) in table {
            assert_eq!(
                (finished(&job(kind, "True")), outcome(&job(kind, "True"))),
                (over, decided),
                "{kind}"
            );
            assert_eq!(outcome(&job(kind, "False")), None, "{kind}");
        }
    }

    #[test]
    fn a_refusal_by_admission_is_no_lack_of_rights() {
        let refused = |message: &str| {
            let status = json!({"status": "Failure", "message": message, "reason": "Forbidden", "code": 403});
            let status = serde_json::from_value(status).unwrap();
            failed("apply Pod fileserver".to_owned(), &kube::Error::Api(status))
        };
        let quota = refused(
            "pods \"f\" is forbidden: exceeded quota: q, requested: cpu=1, used: cpu=0, limited: cpu=0",
        );
        assert!(quota.hint.as_deref().unwrap().contains("ResourceQuota"), "{quota:?}");
        let rights =
            refused("pods is forbidden: User \"jane\" cannot create resource \"pods\" in API group \"\"");
        assert_eq!(rights.kind, Kind::Permission);
    }
}
