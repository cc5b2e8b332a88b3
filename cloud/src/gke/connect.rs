//! A `kube` client for a GKE cluster that needs neither gcloud nor its plugin.

use std::time::Duration;

use google_cloud_auth::credentials::Credentials;
use http::Request;
use http::header::AUTHORIZATION;
use kube::Client;
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;
use tower::BoxError;
use tower::buffer::BufferLayer;
use tower::filter::AsyncFilterLayer;
use tower::timeout::TimeoutLayer;

use crate::error::{Error, Result};
use crate::gke::gcp::authorization;
use crate::k8s::proxy;

/// Longer than an API server takes to begin an answer; that may then go on for long, as logs and watches do.
/// kube by itself waits for ever, also for a machine that is gone.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Requests that may wait for a token at once.
const WAITING_MAX: usize = 64;

/// Makes a client that puts a fresh token on each request: a fixed one would die within the hour,
/// sooner than a batch may. `ca` is the certificate authority as Google gives it, base64 of PEM.
pub async fn client(server: &str, ca: &str, credentials: Credentials) -> Result<Client> {
    client_within(LIMIT, server, ca, credentials).await
}

async fn client_within(limit: Duration, server: &str, ca: &str, credentials: Credentials) -> Result<Client> {
    let doing = format!("reach the cluster at {server}");
    let failed = |error: &dyn std::fmt::Display| Error::other(&doing, error);
    let kubeconfig = json!({
        "current-context": "gke",
        "clusters": [{"name": "gke", "cluster": {"server": server, "certificate-authority-data": ca}}],
        "users": [{"name": "gke", "user": {}}],
        "contexts": [{"name": "gke", "context": {"cluster": "gke", "user": "gke"}}],
    });
    let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig).map_err(|error| failed(&error))?;
    let config = proxy::config(kubeconfig, &KubeConfigOptions::default()).await;
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
    let builder = builder.with_layer(&BufferLayer::new(WAITING_MAX)).with_layer(&with_token);
    Ok(builder.with_layer(&TimeoutLayer::new(limit)).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever listens here takes the connection and says nothing. Without a limit, this test never ends.
    #[tokio::test]
    async fn a_server_that_does_not_answer_is_given_up() {
        crate::tls::install();
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", silent.local_addr().unwrap());
        let credentials = crate::gke::gcp::credentials(|_| Some("token".to_owned()), "p").unwrap();
        let client = client_within(Duration::from_millis(10), &server, "", credentials).await.unwrap();
        let error = client.apiserver_version().await.unwrap_err();
        assert!(
            matches!(&error, kube::Error::Service(error) if error.is::<tower::timeout::error::Elapsed>())
        );
    }
}
