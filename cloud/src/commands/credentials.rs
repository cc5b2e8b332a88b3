//! `cloud get-credentials`, and the token that the entry it writes asks for.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::site::{Site, ready_cluster};
use super::terminal::print;
use crate::error::{Error, Kind, Result};
use crate::gke::gcp::{Query, Scope, authorization};
use crate::gke::plan::ClusterSeen;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file to change. [default: $KUBECONFIG's first, else ~/.kube/config]
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
}

pub(super) async fn run(arguments: Arguments, site: &Site) -> Result<()> {
    let observed = site.google.observe(&Query::of(&site.name, Scope::Deployment)).await?;
    let Some(seen) = ready_cluster(&observed, &site.name) else {
        let doing = format!("find the cluster of deployment {}", site.name);
        return Err(Error::new(doing, "there is none that is ready", Kind::NotFound));
    };
    let path = arguments.kubeconfig.map_or_else(default_path, Ok)?;
    let context = format!("gke_{}_{}_{}", site.google.project(), seen.location, seen.name);
    let program = std::env::current_exe().map_err(|error| Error::other("find this program", error))?;
    change(&path, |kubeconfig| add_entry(kubeconfig, &context, seen, &program, site.google.project()))?;
    print(&format!("context {context} is the current one in {}", path.display()))
}

/// Prints a token in the form that kubectl asks its plugins for.
pub(super) async fn token(site: &Site) -> Result<()> {
    let header = authorization(&site.credentials).await?;
    let text = header.to_str().unwrap_or_default();
    let token = text.strip_prefix("Bearer ").unwrap_or(text);
    print(&exec_credential(token).to_string())
}

fn exec_credential(token: &str) -> Value {
    json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": token},
    })
}

fn default_path() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let first = set("KUBECONFIG").and_then(|paths| std::env::split_paths(&paths).next());
    let home = || set("HOME").map(|home| PathBuf::from(home).join(".kube/config"));
    let hint = "give the file with --kubeconfig";
    first.or_else(home).ok_or_else(|| Error::with_hint("find kubeconfig", "HOME is not set", hint))
}

/// The same names as gcloud's, so that one replaces the other.
fn add_entry(kubeconfig: &mut Value, context: &str, seen: &ClusterSeen, program: &Path, project: &str) {
    let server = format!("https://{}", seen.endpoint);
    let cluster = json!({"server": server, "certificate-authority-data": seen.ca});
    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": program.to_string_lossy(),
        "args": ["credential", "--project", project],
        "interactiveMode": "Never",
    });
    upsert(kubeconfig, "clusters", context, "cluster", cluster);
    upsert(kubeconfig, "users", context, "user", json!({"exec": exec}));
    upsert(kubeconfig, "contexts", context, "context", json!({"cluster": context, "user": context}));
    kubeconfig["current-context"] = json!(context);
}

fn upsert(kubeconfig: &mut Value, list: &str, name: &str, field: &str, value: Value) {
    if !kubeconfig[list].is_array() {
        kubeconfig[list] = json!([]);
    }
    let entry = json!({"name": name, field: value});
    let Some(entries) = kubeconfig[list].as_array_mut() else { return };
    match entries.iter_mut().find(|entry| entry["name"] == name) {
        Some(found) => *found = entry,
        None => entries.push(entry),
    }
}

/// Reads, changes, writes aside and renames; what is not understood is left as it is.
fn change(path: &Path, change: impl FnOnce(&mut Value)) -> Result<()> {
    let doing = format!("change {}", path.display());
    let failed = |error: &dyn std::fmt::Display| Error::other(&doing, error);
    let mut kubeconfig = match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => {
            serde_saphyr::from_str(&text).map_err(|error| failed(&error))?
        }
        Ok(_) => json!({"apiVersion": "v1", "kind": "Config"}),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            json!({"apiVersion": "v1", "kind": "Config"})
        }
        Err(error) => return Err(failed(&error)),
    };
    if !kubeconfig.is_object() {
        return Err(failed(&"it is no kubeconfig"));
    }
    change(&mut kubeconfig);
    let text = serde_saphyr::to_string(&kubeconfig).map_err(|error| failed(&error))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    // A temporary file is readable by its owner alone, as kubeconfig should be.
    let mut aside = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    aside.write_all(text.as_bytes()).map_err(|error| failed(&error))?;
    aside.persist(path).map_err(|error| failed(&error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gke::plan::{Labels, State};

    fn seen() -> ClusterSeen {
        ClusterSeen {
            name: "batch-aiml".into(),
            location: "us-central1".into(),
            labels: Labels::new(),
            state: State::Ready,
            mode: crate::gke::plan::Mode::Autopilot,
            network: "default".into(),
            endpoint: "34.1.2.3".into(),
            ca: "Y2E=".into(),
            has_identities: true,
            created_s: None,
        }
    }

    #[test]
    fn adds_an_entry_and_keeps_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kube/config");
        let program = Path::new("/usr/bin/cloud");
        change(&path, |kubeconfig| {
            add_entry(kubeconfig, "mine", &seen(), program, "p");
            kubeconfig["extensions"] = json!([{"name": "kept"}]);
        })
        .unwrap();
        for _ in 0..2 {
            let add = |kubeconfig: &mut Value| {
                add_entry(kubeconfig, "gke_p_us-central1_batch-aiml", &seen(), program, "p")
            };
            change(&path, add).unwrap();
        }
        insta::assert_snapshot!(std::fs::read_to_string(&path).unwrap());
    }

    #[test]
    fn refuses_what_is_no_kubeconfig() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, "- just\n- a list\n").unwrap();
        assert!(change(&path, |_| {}).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "- just\n- a list\n");
    }
}
