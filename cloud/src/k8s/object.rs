//! One object of a deployment's in a cluster: read, applied by the server. Nothing that lacks the deployment's label
//! is ever touched.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::objects::{Config, DEPLOYMENT_LABEL};
use super::obstacle::{self, Outlook};
use crate::error::{Error, Kind, Result, innermost, unconnected};

/// The field manager: the API server's name for the owner of the fields.
const MANAGER: &str = "batch";

/// What an object must be to be applied here.
pub trait Object:
    Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + 'static
{
}
impl<K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + 'static> Object
    for K
{
}

/// Applies an object of the deployment.
pub(crate) async fn apply<K>(client: &Client, config: &Config, object: &K) -> Result<K>
where
    K: Object + Resource<Scope = NamespaceResourceScope>,
{
    let api: Api<K> = Api::namespaced(client.clone(), &config.namespace);
    if let Some(there) = get(&api, &object.name_any()).await? {
        own(config, &there)?;
    }
    put(&api, object).await
}

pub(crate) async fn put<K: Object>(api: &Api<K>, object: &K) -> Result<K> {
    let name = object.name_any();
    let doing = format!("apply {} {name}", K::kind(&()));
    let how = PatchParams::apply(MANAGER).force();
    api.patch(&name, &how, &Patch::Apply(object)).await.map_err(|error| failed(doing, &error))
}

/// An object of the deployment's; None of what is not there, or is somebody else's.
pub(crate) async fn find<K: Object>(api: &Api<K>, config: &Config, name: &str) -> Result<Option<K>> {
    Ok(get(api, name).await?.filter(|there| is_ours(config, there)))
}

pub(crate) async fn get<K: Object>(api: &Api<K>, name: &str) -> Result<Option<K>> {
    api.get_opt(name).await.map_err(|error| failed(format!("read {} {name}", K::kind(&())), &error))
}

pub(crate) fn is_ours<K: Object>(config: &Config, object: &K) -> bool {
    object.labels().get(DEPLOYMENT_LABEL) == Some(&config.deployment)
}

pub(crate) fn own<K: Object>(config: &Config, object: &K) -> Result<()> {
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

/// Turns what the API server says into what a person can act on.
pub(crate) fn failed(doing: String, error: &kube::Error) -> Error {
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

/// Nothing was sent: there was no token, which has an error of its own, or no connection.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
