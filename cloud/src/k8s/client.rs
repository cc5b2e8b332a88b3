//! Clients of API servers, as kubeconfig describes them.

use std::path::Path;
use std::time::Duration;

use kube::Client;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tower::timeout::TimeoutLayer;

use super::{kubeconfig, proxy};
use crate::error::{Error, Result};
use crate::tls;

/// Time limit for the beginning of a response; logs and watches then go on for long. kube has no limit of its own,
/// even for a machine that is gone.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A client of the cluster that `kubeconfig` names.
///
/// # Errors
/// In words: no such context, an unusable certificate or proxy.
pub(crate) async fn open(kubeconfig: Kubeconfig, context: Option<String>) -> Result<Client, String> {
    tls::install();
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    let config = proxy::config(kubeconfig, &options).await.map_err(|error| error.to_string())?;
    let builder = ClientBuilder::try_from(config).map_err(|error| error.to_string())?;
    Ok(builder.with_layer(&TimeoutLayer::new(LIMIT)).build())
}

/// A client of the cluster in the kubeconfig at `path`; None: of the usual places.
pub(crate) async fn by_kubeconfig(path: Option<&Path>, context: Option<String>) -> Result<Client> {
    let doing = match path {
        Some(path) => format!("use the cluster of {}", path.display()),
        None => "use the cluster of kubeconfig".to_owned(),
    };
    let failed =
        |why: String| Error::with_hint(&doing, why, "`kubectl config get-contexts` shows what there is");
    let read = kubeconfig::read(path, |name| std::env::var_os(name)).map_err(failed)?;
    open(read, context).await.map_err(failed)
}
