//! The container of the NFS server, which is to the cluster what Filestore is on GKE.

use std::time::Duration;

use super::image::{LABEL, context, image_id};
use super::program::{docker, run_in};
use super::{KindCluster, export, network};
use crate::error::{Error, Result};
use crate::k8s::cluster::Nfs;
use crate::k8s::objects::FILESERVER;

const FILES: [(&str, &str); 3] = [
    ("Dockerfile", include_str!("../../image/fileserver/Dockerfile")),
    ("ganesha.conf", include_str!("../../image/fileserver/ganesha.conf")),
    ("serve", include_str!("../../image/fileserver/serve")),
];

/// Says of a container whose NFS server it is.
const CLUSTER_LABEL: &str = "batch.fileserver";

/// How long the server may take to be reachable after its start.
const START: Duration = Duration::from_secs(30);

impl KindCluster {
    /// Starts the cluster's NFS server, building its image first if need be, and waits until it is reachable.
    /// One that runs is left alone. `data` keeps nothing: a new server has an empty export.
    pub async fn fileserver(&self) -> Result<Nfs> {
        let name = fileserver(self.name());
        let doing = format!("start the NFS server {name}");
        if state(&name).await?.as_deref() != Some("running") {
            remove(self.name()).await?;
            let image = build_fileserver().await?;
            let label = format!("{CLUSTER_LABEL}={}", self.name());
            let network = network(self.name());
            let mut args = vec!["run", "--detach", "--privileged", "--name", &name, "--hostname", &name];
            args.extend(["--network", &network, "--label", &label, "--restart", "no", &image]);
            docker(&args, &doing).await?;
        }
        reachable(&name).await?;
        Ok(export(self.name()))
    }

    /// Kills the NFS server, which stays away for `away` and comes back at the same address with the
    /// same data. Calls of its clients wait.
    pub async fn restart_fileserver(&self, away: Duration) -> Result<()> {
        let name = fileserver(self.name());
        let script =
            format!("echo {} > /run/away; kill -KILL $(cat /var/run/ganesha.pid)", away.as_secs_f64());
        docker(&["exec", &name, "sh", "-c", &script], &format!("kill the NFS server {name}")).await?;
        tokio::time::sleep(away).await;
        reachable(&name).await
    }

    /// The files under a folder of the export, as the server itself has them, by their path on it.
    pub async fn names(&self, folder: &str) -> Result<Vec<String>> {
        let name = fileserver(self.name());
        let script = r#"cd /NFSVol && if [ -d "$0" ]; then find "$0" -type f; fi"#;
        let args = ["exec", &name, "sh", "-c", script, folder];
        let found = docker(&args, &format!("list {folder} on the export of {name}")).await?;
        let mut names: Vec<String> = found.lines().map(str::to_owned).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Empties the export. Nobody may have it mounted.
    ///
    /// The server is stopped first: it caches folders, and would go on serving removed folders.
    pub async fn wipe_fileserver(&self) -> Result<()> {
        let name = fileserver(self.name());
        let script =
            "echo 1 > /run/away; kill -KILL $(cat /var/run/ganesha.pid); find /NFSVol -mindepth 1 -delete";
        docker(&["exec", &name, "sh", "-c", script], &format!("empty the export of {name}")).await?;
        reachable(&name).await
    }
}

/// The name of the container, and of the host under which nodes know it.
fn fileserver(cluster: &str) -> String {
    format!("{cluster}-{FILESERVER}")
}

/// Builds the NFS server's image, unless there is one of the same content, and gives its name.
///
/// # Errors
/// Where Docker cannot build it: the build installs nfs-ganesha from Debian.
pub async fn build_fileserver() -> Result<String> {
    let id = image_id(FILES.map(|(_, text)| text.as_bytes()).as_slice());
    let tag = format!("batch-{FILESERVER}:{id}");
    let doing = "build the NFS server's image";
    if !docker(&["images", "--quiet", &tag], doing).await?.is_empty() {
        return Ok(tag);
    }
    let folder = context(&FILES.map(|(name, text)| (name, text.as_bytes())))?;
    let args = ["build", "--quiet", "--label", LABEL, "--tag", &tag, "."];
    run_in("docker", &args, Some(folder.path()), &[], doing).await.map_err(|error| {
        Error::with_hint(
            error.doing,
            error.why,
            "the build installs nfs-ganesha from Debian: it needs the network",
        )
    })?;
    Ok(tag)
}

async fn state(container: &str) -> Result<Option<String>> {
    let filter = format!("name=^{container}$");
    let args = ["ps", "--all", "--filter", &filter, "--format", "{{.State}}"];
    let state = docker(&args, &format!("look for {container}")).await?;
    Ok((!state.is_empty()).then_some(state))
}

/// The kubelet retries a failed mount after up to two minutes, so the server is asked first: its two
/// programs, mount and NFS, must be registered and the NFS port open.
#[expect(clippy::disallowed_methods, reason = "an adapter: real machines take real time")]
async fn reachable(name: &str) -> Result<()> {
    let script = "rpcinfo -t localhost 100005 3 && rpcinfo -t localhost 100003 3";
    let doing = format!("wait for the NFS server {name}");
    let limit = tokio::time::Instant::now() + START;
    loop {
        match docker(&["exec", name, "sh", "-c", script], &doing).await {
            Ok(_) => return Ok(()),
            Err(error) if tokio::time::Instant::now() < limit && running(name).await? => {
                tracing::debug!(%error, "not yet");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => {
                let hint = format!("`docker logs {name}` shows why; it needs a privileged container");
                return Err(Error::with_hint(doing, error.why, hint));
            }
        }
    }
}

async fn running(name: &str) -> Result<bool> {
    Ok(state(name).await?.as_deref() == Some("running"))
}

/// Removes the NFS server of a cluster, with its data, and gives its name if it was there.
pub(super) async fn remove(cluster: &str) -> Result<Option<String>> {
    let filter = format!("label={CLUSTER_LABEL}={cluster}");
    let doing = format!("remove the NFS server of cluster {cluster}");
    let args = ["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"];
    let name = docker(&args, &doing).await?;
    if name.is_empty() {
        return Ok(None);
    }
    docker(&["rm", "--force", "--volumes", &name], &doing).await?;
    Ok(Some(name))
}
