//! GKE's clusters behind the port: a client that needs neither gcloud nor its plugin.

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

use super::batch_config;
use super::gcp::authorization;
use crate::error::{Error, Result};
use crate::k8s::client::LIMIT;
use crate::k8s::cluster::Cluster;
use crate::k8s::live::LiveCluster;
use crate::k8s::proxy;
use crate::tls;

/// Requests that may wait for a token at once.
const WAITING_MAX: usize = 64;

/// How to reach a GKE cluster's API server, as Google gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Scheme and host, `https://34.1.2.3`.
    pub server: String,
    /// The certificate authority: base64 of PEM.
    pub ca: String,
}

/// Opens clusters.
#[expect(async_fn_in_trait, reason = "called from one thread; no bound on the futures is needed")]
pub trait Connect {
    type Cluster: Cluster;
    /// Makes the client; the first call shows whether the API server is there.
    async fn connect(&self, access: &Access) -> Result<Self::Cluster>;
}

/// Opens GKE's clusters with these credentials.
#[derive(Clone, Debug)]
pub struct GoogleConnect {
    pub credentials: Credentials,
}

impl Connect for GoogleConnect {
    type Cluster = LiveCluster;

    async fn connect(&self, access: &Access) -> Result<LiveCluster> {
        let client = client_within(LIMIT, &access.server, &access.ca, self.credentials.clone()).await?;
        Ok(LiveCluster::new(client, batch_config()))
    }
}

/// Makes a client that puts a fresh token on each request: a fixed one expires within the hour, and a batch may take
/// longer. `ca` is the certificate authority as Google gives it, base64 of PEM.
async fn client_within(limit: Duration, server: &str, ca: &str, credentials: Credentials) -> Result<Client> {
    tls::install();
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

    /// The server accepts the connection and sends nothing. Without a limit, this test never ends.
    #[tokio::test]
    async fn a_server_that_does_not_answer_is_given_up() {
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
