//! The objects as files that `kubectl apply` takes, for people who want no tool of ours.

use k8s_openapi::serde::Serialize;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::k8s::objects::{Config, REDIS, access, job, redis, staging, volume};
use crate::{gke, kind};

/// Which of the committed sets of manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    Kind,
    Gke,
}

impl Target {
    /// Its folder under `manifests/`.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Gke => "gke",
        }
    }

    /// What is committed.
    pub fn config(self) -> Config {
        match self {
            Self::Kind => kind::batch_config(kind::DEFAULT_NAME),
            Self::Gke => gke::batch_config(),
        }
    }
}

/// A file to be written: its path under the target's folder, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: &'static str,
    pub text: String,
}

/// The manifests of `config`. The Job is not in the kustomization: it is applied last, once the
/// datasets are there, as the tutorial does. The password is in no file; it comes from `redis.env`.
pub fn files(target: Target, config: &Config) -> Result<Vec<File>> {
    let [closed, open] = redis::network_policies(config);
    let mut files = match config.nfs() {
        Some(nfs) => {
            let export =
                [value(&volume::persistent_volume(config, nfs))?, value(&volume::claim(config, nfs))?];
            vec![file("volume.yaml", &export)?]
        }
        None => {
            let account = access::account(config).map(|account| value(&account)).transpose()?;
            vec![file("access.yaml", account.as_slice())?]
        }
    };
    let queue =
        [value(&redis::pod(config))?, value(&redis::service(config))?, value(&closed)?, value(&open)?];
    files.push(file("redis.yaml", &queue)?);
    if config.nfs().is_some() {
        files.push(file("staging.yaml", &[value(&staging::pod(config))?])?);
    }
    let resources: Vec<_> = files.iter().map(|file| file.path).collect();
    files.push(file("kustomization.yaml", &[kustomization(config, &resources)])?);
    files.push(file("job.yaml", &[value(&job::job(config))?])?);
    if target == Target::Kind {
        let cluster = kind::config(config.workers, false);
        files.push(file("cluster/kind.yaml", &[cluster])?);
    }
    Ok(files)
}

fn kustomization(config: &Config, resources: &[&str]) -> Value {
    json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": resources,
        "secretGenerator": [{
            "name": REDIS,
            "namespace": config.namespace,
            // One line, `password=…`; see docs/kubernetes.md. Never committed.
            "envs": [format!("{REDIS}.env")],
            "options": {
                "disableNameSuffixHash": true,
                "labels": config.labels(REDIS),
            },
        }],
    })
}

fn value<T: Serialize>(object: &T) -> Result<Value> {
    serde_json::to_value(object).map_err(|error| Error::other("render a manifest", error))
}

fn file(path: &'static str, documents: &[Value]) -> Result<File> {
    let mut text = "# Written by `cloud render`; change cloud/src/k8s/objects and render again.\n".to_owned();
    for document in documents {
        let yaml = serde_saphyr::to_string(document)
            .map_err(|error| Error::other(format!("render {path}"), error))?;
        text.push_str("---\n");
        text.push_str(&yaml);
    }
    Ok(File { path, text })
}
