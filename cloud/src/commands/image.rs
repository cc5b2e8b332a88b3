//! `cloud image`: the worker's image, built with Docker and pushed where the cluster can pull it.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::site::Site;
use super::terminal::{Teller, print};
use crate::error::{Error, Result};
use crate::gke::gcp::authorization;
use crate::gke::image::make_repository;
use crate::kind::program::{docker, run_in};
use crate::kind::{STATIC_HINT, worker_image};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The repository's region: best the cluster's.
    #[arg(long, default_value = "us-central1")]
    region: String,
    /// The worker's stripped binary, built on Debian 12 or an older system.
    #[arg(long, default_value = "target/release/worker")]
    binary: PathBuf,
    /// The registry's host to push to. [default: REGION-docker.pkg.dev]
    #[arg(long, env = "CLOUD_IMAGE_HOST", hide_env = true)]
    host: Option<String>,
}

pub(super) async fn run(arguments: Arguments, mut site: Site) -> Result<()> {
    let Arguments { region, binary, host } = arguments;
    let mut teller = Teller::default();
    teller.tell(&format!("building the worker's image from {}", binary.display()));
    let built = worker_image(&binary).await?;
    if !built.is_static {
        teller.tell(&format!(
            "this worker needs the C library (glibc) of Debian 12 or newer in the image; {STATIC_HINT}"
        ));
    }
    make_repository(&site.google, &mut site.memory, &site.name, &region, &mut |line| teller.tell(line))
        .await?;
    let host = host.unwrap_or_else(|| format!("{region}-docker.pkg.dev"));
    let image = format!("{host}/{}/{}/{}", site.google.project(), site.name, built.tag);
    teller.tell(&format!("pushing {image}"));
    push(&site, &host, &built.tag, &image).await?;
    print(&image)
}

async fn push(site: &Site, host: &str, built: &str, image: &str) -> Result<()> {
    let doing = format!("push {image}");
    // A folder of its own: the user's logins stay as they are.
    let config =
        tempfile::tempdir().map_err(|error| Error::other("make a folder for Docker's login", error))?;
    log_in(site, host, config.path()).await?;
    docker(&["tag", built, image], &doing).await?;
    let folder = config.path().to_string_lossy();
    let pushed = run_in("docker", &["push", image], None, &[("DOCKER_CONFIG", &folder)], &doing).await;
    // The tag served the push alone; the image itself is kept for the next.
    docker(&["rmi", image], &doing).await?;
    pushed.map(|_| ())
}

/// Writes the token where Docker looks for it; it is never on a command line.
async fn log_in(site: &Site, host: &str, folder: &Path) -> Result<()> {
    let header = authorization(&site.credentials).await?;
    let text = header.to_str().unwrap_or_default();
    let token = text.strip_prefix("Bearer ").unwrap_or(text);
    let auth = json!({"auths": {host: {"username": "oauth2accesstoken", "password": token}}});
    let written = std::fs::write(folder.join("config.json"), auth.to_string());
    written.map_err(|error| Error::other("write Docker's login", error))
}
