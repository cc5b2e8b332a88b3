//! `cloud`: wiring only.

use std::process::ExitCode;

use clap::Parser as _;
use cloud::cluster::{Access, Batch, Cluster, Connect, Follow, Objects, PodUse, ResultFile};
use cloud::commands::{Cli, run};
use cloud::error::{Error, Result};
use tracing_subscriber::EnvFilter;

/// The exit code after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    // Both ring and aws-lc-rs may be compiled in; without a choice the first TLS connection panics.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("error: failed to set up TLS: a provider was installed already");
        return ExitCode::FAILURE;
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("cloud=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: failed to start: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(until_interrupted(Cli::parse()))
}

/// Stands where the connection to Kubernetes goes: everything up to it works without.
#[derive(Clone, Copy, Debug)]
struct Unconnected;

/// There is none.
#[derive(Clone, Copy, Debug)]
enum Never {}

impl Connect for Unconnected {
    type Cluster = Never;

    async fn connect(&self, _access: &Access) -> Result<Never> {
        let hint = "`cloud plan` and `cloud destroy` do without; the manifests work with kubectl";
        Err(Error::with_hint("reach the cluster", "this build has no Kubernetes side", hint))
    }
}

impl Cluster for Never {
    async fn observe(&self, _: &str) -> Result<Objects> {
        match *self {}
    }

    async fn apply(&self, _: &Batch) -> Result<()> {
        match *self {}
    }

    async fn stage(&self, _: &Batch, _: &std::path::Path, _: &mut dyn FnMut(&str)) -> Result<()> {
        match *self {}
    }

    async fn start(&self, _: &Batch) -> Result<()> {
        match *self {}
    }

    async fn logs(&self, _: &str, _: Follow, _: &mut dyn FnMut(&str)) -> Result<()> {
        match *self {}
    }

    async fn results(&self, _: &str) -> Result<Vec<ResultFile>> {
        match *self {}
    }

    async fn fetch(&self, _: &str, _: &[ResultFile], _: &std::path::Path) -> Result<()> {
        match *self {}
    }

    async fn usage(&self, _: &str) -> Result<Vec<PodUse>> {
        match *self {}
    }

    async fn delete(&self, _: &str) -> Result<()> {
        match *self {}
    }
}

async fn until_interrupted(cli: Cli) -> ExitCode {
    let ended = tokio::select! {
        ended = run(cli, |_credentials| Unconnected) => ended,
        _ = tokio::signal::ctrl_c() => {
            eprintln!(
                "interrupted: what Google was asked for goes on there and may be billed; the same command again \
                 goes on from it, `cloud status` shows it, `cloud destroy` removes it"
            );
            return ExitCode::from(INTERRUPTED);
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: failed to {error}");
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}
