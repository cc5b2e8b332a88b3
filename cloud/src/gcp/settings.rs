//! Where Google's APIs are and who we are, read from the variables that gcloud's users, and every
//! stand-in of these APIs, know.

use std::time::Duration;

use google_cloud_auth::credentials::{
    Builder, CacheableResource, Credentials, CredentialsProvider, EntityTag,
};
use google_cloud_auth::errors::CredentialsError;
use http::{Extensions, HeaderMap, HeaderValue, header::AUTHORIZATION};

use crate::error::{Error, Kind, Result};

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
}

impl Settings {
    /// Reads `CLOUDSDK_API_ENDPOINT_OVERRIDES_*` through `variable`.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let endpoint = |name: &str, default: &str| {
            let given =
                variable(&format!("CLOUDSDK_API_ENDPOINT_OVERRIDES_{name}")).filter(|url| !url.is_empty());
            let url = given.unwrap_or_else(|| format!("https://{default}.googleapis.com"));
            // gcloud's own form of the Compute Engine override carries the path.
            let url = url.trim_end_matches('/');
            url.strip_suffix("/compute/v1").unwrap_or(url).to_owned()
        };
        Self {
            container: endpoint("CONTAINER", "container"),
            filestore: endpoint("FILE", "file"),
            services: endpoint("SERVICEUSAGE", "serviceusage"),
            compute: endpoint("COMPUTE", "compute"),
            artifacts: endpoint("ARTIFACTREGISTRY", "artifactregistry"),
        }
    }
}

/// `CLOUDSDK_AUTH_ACCESS_TOKEN` if it is set, else Application Default Credentials, which renew
/// themselves: a deployment may take longer than the hour that a token lives.
pub fn credentials(variable: impl Fn(&str) -> Option<String>) -> Result<Credentials> {
    if let Some(token) = variable("CLOUDSDK_AUTH_ACCESS_TOKEN").filter(|token| !token.is_empty()) {
        return bearer(&token);
    }
    let found = Builder::default().with_scopes(["https://www.googleapis.com/auth/cloud-platform"]).build();
    found.map_err(|error| {
        Error::new("find Application Default Credentials", error.to_string(), Kind::Credentials)
    })
}

fn bearer(token: &str) -> Result<Credentials> {
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let bad = |_| Error::new("use CLOUDSDK_AUTH_ACCESS_TOKEN", "it is no token", Kind::Credentials);
    let mut value = value.map_err(bad)?;
    value.set_sensitive(true);
    Ok(Bearer { headers: HeaderMap::from_iter([(AUTHORIZATION, value)]), tag: EntityTag::new() }.into())
}

/// A token that somebody else renews.
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

/// The `authorization` header's value, fresh.
pub(crate) async fn authorization(credentials: &Credentials) -> Result<HeaderValue> {
    let failed = |why: String| Error::new("get a token", why, Kind::Credentials);
    let Ok(headers) = tokio::time::timeout(TOKEN_LIMIT, credentials.headers(Extensions::new())).await else {
        let why = format!("no answer within {} s", TOKEN_LIMIT.as_secs());
        return Err(Error::new("get a token", why, Kind::Transient));
    };
    let headers = headers.map_err(|error| failed(error.to_string()))?;
    let CacheableResource::New { data, .. } = headers else {
        return Err(failed("the credentials gave none".into()));
    };
    data.get(AUTHORIZATION).cloned().ok_or_else(|| failed("the credentials gave no token".into()))
}
