//! Where Google's APIs are and who we are, read from the variables that gcloud's users, and every
//! stand-in of these APIs, know.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use google_cloud_auth::credentials::{
    Builder, CacheableResource, Credentials, CredentialsProvider, EntityTag,
};
use google_cloud_auth::errors::CredentialsError;
use http::{Extensions, HeaderMap, HeaderValue, header::AUTHORIZATION};

use crate::error::{Error, Result};
use crate::gke::reason::Reason;

/// Longer than a token takes to be had.
const TOKEN_LIMIT: Duration = Duration::from_secs(60);

/// One endpoint an API; the default is Google's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub container: String,
    pub filestore: String,
    pub services: String,
    pub compute: String,
    pub artifacts: String,
    pub storage: String,
    pub billing: String,
}

impl Settings {
    /// Reads `CLOUDSDK_API_ENDPOINT_OVERRIDES_*` through `variable`.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let endpoint = |name: &str, default: &str| {
            let given =
                variable(&format!("CLOUDSDK_API_ENDPOINT_OVERRIDES_{name}")).filter(|url| !url.is_empty());
            let url = given.unwrap_or_else(|| format!("https://{default}.googleapis.com"));
            // gcloud's own forms of some overrides carry the path.
            let url = url.trim_end_matches('/');
            let base = url.strip_suffix("/compute/v1").or_else(|| url.strip_suffix("/storage/v1"));
            base.unwrap_or(url).to_owned()
        };
        Self {
            container: endpoint("CONTAINER", "container"),
            filestore: endpoint("FILE", "file"),
            services: endpoint("SERVICEUSAGE", "serviceusage"),
            compute: endpoint("COMPUTE", "compute"),
            artifacts: endpoint("ARTIFACTREGISTRY", "artifactregistry"),
            storage: endpoint("STORAGE", "storage"),
            billing: endpoint("CLOUDBILLING", "cloudbilling"),
        }
    }
}

/// `CLOUDSDK_AUTH_ACCESS_TOKEN` if it is set, else Application Default Credentials, which refresh
/// themselves: a deployment may take longer than the hour that a token lives. Calls with a person's log-in that
/// names no quota project count against `project`.
pub fn credentials(variable: impl Fn(&str) -> Option<String>, project: &str) -> Result<Credentials> {
    crate::tls::install();
    if let Some(token) = variable("CLOUDSDK_AUTH_ACCESS_TOKEN").filter(|token| !token.is_empty()) {
        return bearer(&token);
    }
    let mut builder = Builder::default().with_scopes(["https://www.googleapis.com/auth/cloud-platform"]);
    let log_in = log_in_path(&variable).and_then(|path| std::fs::read(path).ok());
    if log_in.as_ref().is_some_and(|log_in| lacks_quota_project(log_in)) {
        builder = builder.with_quota_project_id(project);
    }
    let built = builder.build().map_err(|error| {
        Error::new("find Application Default Credentials", error.to_string(), Reason::Credentials)
    })?;
    Ok(if log_in.is_some() {
        built
    } else {
        OfTheMachine { inner: built, given: AtomicBool::new(false) }.into()
    })
}

/// Tokens that a machine of Google's gives to what runs on it, where there is no log-in. Elsewhere it is the log-in
/// that is missing, and not the network.
#[derive(Debug)]
struct OfTheMachine {
    inner: Credentials,
    /// A token was had, so that this is such a machine.
    given: AtomicBool,
}

impl CredentialsProvider for OfTheMachine {
    async fn headers(
        &self,
        extensions: Extensions,
    ) -> std::result::Result<CacheableResource<HeaderMap>, CredentialsError> {
        let headers = self.inner.headers(extensions).await;
        match headers {
            Err(_) if !self.given.load(Ordering::Relaxed) => {
                let why = "nobody is logged in here: there are no Application Default Credentials, and this is no \
                           machine of Google's";
                Err(CredentialsError::from_msg(false, why))
            }
            other => {
                self.given.fetch_or(other.is_ok(), Ordering::Relaxed);
                other
            }
        }
    }

    async fn universe_domain(&self) -> Option<String> {
        self.inner.universe_domain().await
    }
}

/// Where Google's crate looks for Application Default Credentials.
fn log_in_path(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let well_known =
        || Some(PathBuf::from(variable("HOME")?).join(".config/gcloud/application_default_credentials.json"));
    variable("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from).or_else(well_known)
}

/// Whether it is the log-in of a person, made for gcloud's own project, that names no other.
fn lacks_quota_project(log_in: &[u8]) -> bool {
    let Ok(log_in) = serde_json::from_slice::<serde_json::Value>(log_in) else { return false };
    let text = |field: &str| log_in.get(field).and_then(serde_json::Value::as_str).unwrap_or_default();
    text("type") == "authorized_user" && text("quota_project_id").is_empty()
}

fn bearer(token: &str) -> Result<Credentials> {
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let bad = |_| Error::new("use CLOUDSDK_AUTH_ACCESS_TOKEN", "it is no token", Reason::Credentials);
    let mut value = value.map_err(bad)?;
    value.set_sensitive(true);
    Ok(Bearer { headers: HeaderMap::from_iter([(AUTHORIZATION, value)]), tag: EntityTag::new() }.into())
}

/// A token that this program does not refresh.
#[derive(Debug)]
struct Bearer {
    headers: HeaderMap,
    tag: EntityTag,
}

impl CredentialsProvider for Bearer {
    async fn headers(
        &self,
        _extensions: Extensions,
    ) -> std::result::Result<CacheableResource<HeaderMap>, CredentialsError> {
        Ok(CacheableResource::New { entity_tag: self.tag.clone(), data: self.headers.clone() })
    }

    async fn universe_domain(&self) -> Option<String> {
        None
    }
}

/// The headers that a request takes, fresh.
pub(super) async fn headers(credentials: &Credentials) -> Result<HeaderMap> {
    let failed = |why: String| Error::new("get a token", why, Reason::Credentials);
    let Ok(headers) = tokio::time::timeout(TOKEN_LIMIT, credentials.headers(Extensions::new())).await else {
        let why = format!("no answer within {} s", TOKEN_LIMIT.as_secs());
        return Err(Error::new("get a token", why, Reason::Transient));
    };
    match headers.map_err(|error| failed(error.to_string()))? {
        CacheableResource::New { data, .. } => Ok(data),
        CacheableResource::NotModified => Err(failed("the credentials gave none".into())),
    }
}

/// The `authorization` header's value, fresh.
pub(crate) async fn authorization(credentials: &Credentials) -> Result<HeaderValue> {
    let headers = headers(credentials).await?;
    let why = "the credentials gave no token";
    headers.get(AUTHORIZATION).cloned().ok_or_else(|| Error::new("get a token", why, Reason::Credentials))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persons_log_in_that_names_no_project_counts_against_the_deployments() {
        let prompt = r#"{"type": "authorized_user", "client_id": "c", "refresh_token": "t"}"#;
        assert!(lacks_quota_project(prompt.as_bytes()));
        let named = prompt.replace("client_id", "quota_project_id");
        assert!(!lacks_quota_project(named.as_bytes()));
        assert!(!lacks_quota_project(br#"{"type": "service_account"}"#));
        assert!(!lacks_quota_project(b"no JSON"));
        let given = |name: &str| (name == "GOOGLE_APPLICATION_CREDENTIALS").then(|| "/key".to_owned());
        assert_eq!(log_in_path(given), Some("/key".into()));
        assert_eq!(
            log_in_path(|name| (name == "HOME").then(|| "/home/u".to_owned())),
            Some("/home/u/.config/gcloud/application_default_credentials.json".into())
        );
    }
}
