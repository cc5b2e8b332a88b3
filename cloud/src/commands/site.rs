//! Which deployment a command is about, and what is there of it.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use google_cloud_auth::credentials::Credentials;

use crate::clock::SystemClock;
use crate::error::{Error, Kind, Result};
use crate::gke::connect::Connect;
use crate::gke::cost::Prices;
use crate::gke::deploy::{access, bucket_volume, retry_transient};
use crate::gke::gcp::{self, Google, Query, Scope, Settings};
use crate::gke::plan::{ClusterSeen, Observed, State, is_ours};
use crate::gke::state::Memory;
use crate::gke::volume::Deployed;
use crate::k8s::cluster::{Cluster, Objects};

/// Which deployment.
#[derive(Clone, Debug, Args)]
pub(super) struct Target {
    /// The Google Cloud project.
    #[arg(long, global = true, env = "CLOUDSDK_CORE_PROJECT")]
    pub(super) project: Option<String>,
    /// The deployment's name; two of different names live side by side.
    #[arg(long, global = true, default_value = "batch-aiml")]
    pub(super) name: String,
    /// Where names of operations are kept between commands.
    #[arg(long, global = true, env = "CLOUD_STATE_DIR")]
    pub(super) state_dir: Option<PathBuf>,
    /// A table of prices to estimate with. [default: the one of this build, for us-central1]
    #[arg(long, global = true, env = "CLOUD_PRICES", value_name = "FILE")]
    pub(super) prices: Option<PathBuf>,
}

/// What every command on a project needs.
pub(super) struct Site {
    pub(super) google: Google,
    pub(super) credentials: Credentials,
    pub(super) memory: Memory,
    pub(super) prices: Prices,
    pub(super) name: String,
}

pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Target {
    pub(super) fn state_folder(&self) -> Result<PathBuf> {
        self.state_dir.clone().map_or_else(|| Memory::default_folder(variable), Ok)
    }

    pub(super) fn prices(&self) -> Result<Prices> {
        Prices::read(self.prices.as_deref())
    }

    pub(super) async fn open(self) -> Result<Site> {
        let (folder, prices) = (self.state_folder()?, self.prices()?);
        let project = self.project.filter(|project| !project.is_empty()).ok_or_else(|| {
            let hint = "give --project, or set CLOUDSDK_CORE_PROJECT; `gcloud projects list` shows yours";
            Error::with_hint("choose a project", "none was given", hint)
        })?;
        let credentials = gcp::credentials(variable, &project)?;
        let clock = Arc::new(SystemClock);
        let google = Google::new(&project, &Settings::read(variable), credentials.clone(), clock).await?;
        let memory = Memory::open(&folder, &project, &self.name);
        Ok(Site { google, credentials, memory, prices, name: self.name })
    }
}

impl Site {
    /// Everything of the deployment's, wherever it is, with what is in its cluster.
    pub(super) async fn everything<C: Connect>(
        &self,
        connect: &C,
    ) -> Result<(Observed, Option<Deployed<C::Cluster>>)> {
        let query = Query {
            kept: self.memory.operations(),
            made: self.memory.asked(),
            ..Query::of(&self.name, Scope::Everything)
        };
        let mut observed = self.google.observe(&query).await?;
        let Some(seen) = ready_cluster(&observed, &self.name) else { return Ok((observed, None)) };
        let cluster = connect.connect(&access(seen)).await?;
        let bucket = bucket_volume(&self.google, &self.name, &observed);
        let cluster = Deployed { cluster, bucket };
        observed.objects = Some(self.objects(&cluster).await?);
        Ok((observed, Some(cluster)))
    }

    pub(super) async fn objects<C: Cluster>(&self, cluster: &C) -> Result<Objects> {
        retry_transient(&self.google, async || cluster.observe(&self.name).await).await
    }

    /// The deployment's cluster, which must be up.
    pub(super) async fn cluster<C: Connect>(&self, connect: &C) -> Result<Deployed<C::Cluster>> {
        let (_, cluster) = self.everything(connect).await?;
        cluster.ok_or_else(|| {
            let doing = format!("reach the cluster of deployment {}", self.name);
            Error::new(doing, "there is none that is ready", Kind::NotFound)
        })
    }
}

pub(super) fn ready_cluster<'a>(observed: &'a Observed, name: &str) -> Option<&'a ClusterSeen> {
    let ready =
        |seen: &&ClusterSeen| is_ours(&seen.labels, name) && matches!(seen.state, State::Ready | State::Busy);
    observed.clusters.iter().find(ready)
}
