//! `cloud image`: the worker's image, built with Docker, pushed to a repository of the deployment's.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use clap::Args;
use serde_json::json;
use tokio::process::Command;

use super::{Site, Teller, print};
use crate::error::{Error, Result};
use crate::gcp::authorization;
use crate::image::make_repository;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where the repository lies, and best the cluster, too.
    #[arg(long, default_value = "us-central1")]
    region: String,
    /// The Dockerfile.
    #[arg(long, default_value = "Dockerfile")]
    file: PathBuf,
    /// The folder that it copies from.
    #[arg(long, default_value = ".")]
    context: PathBuf,
    /// The image's tag.
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    tag: String,
}

pub(super) async fn run(arguments: Arguments, mut site: Site) -> Result<()> {
    let mut teller = Teller::default();
    let Arguments { region, file, context, tag } = arguments;
    let host = format!("{region}-docker.pkg.dev");
    let image = format!("{host}/{}/{}/worker:{tag}", site.google.project(), site.name);
    teller.tell(&format!("building {image}"));
    let build = ["build".as_ref(), "--tag".as_ref(), image.as_ref(), "--file".as_ref(), file.as_os_str()];
    docker(None, &[&build[..], &[context.as_os_str()]].concat()).await?;
    make_repository(&site.google, &mut site.memory, &site.name, &region, &mut |line| teller.tell(line)).await?;
    // A folder of its own: the user's logins stay as they are.
    let config = tempfile::tempdir().map_err(|error| Error::other("make a folder for Docker's login", error))?;
    log_in(&site, &host, config.path()).await?;
    teller.tell(&format!("pushing {image}"));
    docker(Some(config.path()), &["push".as_ref(), image.as_ref()]).await?;
    print(&image)
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

async fn docker(config: Option<&Path>, arguments: &[&std::ffi::OsStr]) -> Result<()> {
    let doing = format!("run `docker {}`", arguments[0].to_string_lossy());
    let mut command = Command::new("docker");
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    if let Some(config) = config {
        command.env("DOCKER_CONFIG", config);
    }
    let hint = "install Docker (https://docs.docker.com/engine/install/), or give an image that exists already \
                with --image";
    let ended = command.status().await.map_err(|error| Error::with_hint(&doing, error, hint))?;
    if ended.success() {
        return Ok(());
    }
    Err(Error::with_hint(doing, format!("it ended with {ended}"), "what Docker said is above"))
}
