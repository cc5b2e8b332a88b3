//! Google Cloud, through Google's own crates where they are (GKE, Filestore, Service Usage) and plain
//! REST where theirs is large and the need is small (three calls of Artifact Registry, some of Cloud Storage, one of
//! Cloud Billing, five of Compute Engine, whose generated crate alone is larger than the rest of the tree).
//!
//! A read is retried with exponential backoff; **a write is sent once**. A write without a response may or may not
//! have been carried out, so the caller observes and plans again. The retries of Google's crates are off: only this
//! module retries.

mod artifacts;
mod billing;
mod call;
mod compute;
mod container;
mod error;
mod filestore;
mod objects;
mod observe;
mod requests;
mod rest;
mod services;
mod settings;
mod storage;

pub use call::{RETRY_WAITS_S, RetryBudget};
pub use compute::MachineSeen;
pub(crate) use error::from_operation;
pub use objects::{ObjectSeen, Upload};
pub use observe::{Query, Scope};
pub use requests::{bucket_request, cluster_request, filestore_request};
pub(crate) use settings::authorization;
pub use settings::{Settings, credentials};

use std::sync::Arc;

use google_cloud_api_serviceusage_v1::client::ServiceUsage;
use google_cloud_auth::credentials::Credentials;
use google_cloud_container_v1::client::ClusterManager;
use google_cloud_filestore_v1::client::CloudFilestoreManager;
use google_cloud_gax::retry_policy::NeverRetry;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::gke::reason::{BILLING_API, STORAGE_API};
use rest::Rest;

/// Clients for one project.
#[derive(Clone, Debug)]
pub struct Google {
    project: String,
    clock: Arc<dyn Clock>,
    container: ClusterManager,
    filestore: CloudFilestoreManager,
    services: ServiceUsage,
    compute: Rest,
    artifacts: Rest,
    storage: Rest,
    billing: Rest,
}

impl Google {
    /// Makes the clients; sends nothing.
    ///
    /// # Errors
    /// If a client can't be made, for instance because the system's certificates can't be read.
    pub async fn new(
        project: &str,
        settings: &Settings,
        credentials: Credentials,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        crate::tls::install();
        let failed =
            |error: google_cloud_gax::client_builder::Error| Error::other("make Google's clients", error);
        let container = ClusterManager::builder()
            .with_endpoint(settings.container.clone())
            .with_credentials(credentials.clone())
            .with_retry_policy(NeverRetry);
        let filestore = CloudFilestoreManager::builder()
            .with_endpoint(settings.filestore.clone())
            .with_credentials(credentials.clone())
            .with_retry_policy(NeverRetry);
        let services = ServiceUsage::builder()
            .with_endpoint(settings.services.clone())
            .with_credentials(credentials.clone())
            .with_retry_policy(NeverRetry);
        Ok(Self {
            project: project.to_owned(),
            clock,
            container: container.build().await.map_err(failed)?,
            filestore: filestore.build().await.map_err(failed)?,
            services: services.build().await.map_err(failed)?,
            compute: Rest::new(&settings.compute, "compute.googleapis.com", credentials.clone())?,
            artifacts: Rest::new(
                &settings.artifacts,
                "artifactregistry.googleapis.com",
                credentials.clone(),
            )?,
            billing: Rest::new(&settings.billing, BILLING_API, credentials.clone())?,
            storage: Rest::new(&settings.storage, STORAGE_API, credentials)?,
        })
    }

    /// The same clients and connections for another project.
    pub fn for_project(&self, project: &str, clock: Arc<dyn Clock>) -> Self {
        Self { project: project.to_owned(), clock, ..self.clone() }
    }

    pub fn project(&self) -> &str {
        &self.project
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// `projects/P/locations/L`.
    fn place(&self, location: &str) -> String {
        format!("projects/{}/locations/{location}", self.project)
    }
}
