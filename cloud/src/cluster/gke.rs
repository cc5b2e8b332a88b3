//! A `kube` client for a GKE cluster that needs neither gcloud nor its plugin.

use google_cloud_auth::credentials::Credentials;
use http::Request;
use http::header::AUTHORIZATION;
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;
use tower::BoxError;
use tower::buffer::BufferLayer;
use tower::filter::AsyncFilterLayer;

use crate::error::{Error, Result};
use crate::gcp::authorization;

/// Requests that may wait for a token at once.
const WAITING_MAX: usize = 64;

/// Makes a client that puts a fresh token on each request: a fixed one would die within the hour,
/// sooner than a batch may. `ca` is the certificate authority as Google gives it, base64 of PEM.
pub async fn client(server: &str, ca: &str, credentials: Credentials) -> Result<Client> {
    let doing = format!("reach the cluster at {server}");
    let failed = |error: &dyn std::fmt::Display| Error::other(&doing, error);
    let kubeconfig = json!({
        "current-context": "gke",
        "clusters": [{"name": "gke", "cluster": {"server": server, "certificate-authority-data": ca}}],
        "users": [{"name": "gke", "user": {}}],
        "contexts": [{"name": "gke", "context": {"cluster": "gke", "user": "gke"}}],
    });
    let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig).map_err(|error| failed(&error))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let builder = ClientBuilder::try_from(config.map_err(|error| failed(&error))?);
    let with_token = AsyncFilterLayer::new(move |mut request: Request<Body>| {
        let credentials = credentials.clone();
        async move {
            let token = authorization(&credentials).await?;
            request.headers_mut().insert(AUTHORIZATION, token);
            Ok::<_, BoxError>(request)
        }
    });
    let builder = builder.map_err(|error| failed(&error))?;
    // The filter needs a service that can be cloned, which the buffer makes of it.
    Ok(builder.with_layer(&BufferLayer::new(WAITING_MAX)).with_layer(&with_token).build())
}
