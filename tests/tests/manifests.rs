//! The committed manifests are what the objects in `cloud/src/manifest` say.

#![expect(clippy::unwrap_used)]

use std::path::Path;

use cloud::commands::render::Render;
use cloud::manifest::render::{Target, files};

fn render(target: Target, check: bool, out: &Path) -> cloud::error::Result<Vec<std::path::PathBuf>> {
    Render { target, out: out.to_owned(), check, nfs: None, image: None, workers: None }.run()
}

/// `UPDATE_MANIFESTS=1 cargo test --workspace --test manifests` writes them anew.
#[test]
fn the_committed_manifests_are_what_is_rendered() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests");
    let check = std::env::var_os("UPDATE_MANIFESTS").is_none();
    for target in [Target::Kind, Target::Gke] {
        let written = render(target, check, &committed).unwrap();
        let mut there: Vec<_> = walk(&committed.join(target.folder()));
        there.retain(|path| path.extension().is_some_and(|ending| ending == "yaml"));
        assert_eq!(there.len(), written.len(), "manifests that nothing renders: {there:?}");
    }
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn a_changed_manifest_is_found() {
    let out = tempfile::tempdir().unwrap();
    render(Target::Gke, false, out.path()).unwrap();
    render(Target::Gke, true, out.path()).unwrap();
    let job = out.path().join("gke/job.yaml");
    let text = std::fs::read_to_string(&job).unwrap();
    std::fs::write(&job, text.replace("parallelism: 1", "parallelism: 2")).unwrap();
    let error = render(Target::Gke, true, out.path()).unwrap_err();
    assert!(error.to_string().contains("job.yaml"), "{error}");
    assert!(error.hint().unwrap().contains("cloud render"), "{error}");
}

/// No password, and nothing of this machine, in what is committed.
#[test]
fn nothing_rendered_is_a_secret() {
    for target in [Target::Kind, Target::Gke] {
        for file in files(target, &target.config()).unwrap() {
            assert!(!file.text.contains("kind: Secret"), "{}", file.path);
        }
    }
}

/// What differs between kind and GKE is the machines and the volume, and nothing else.
#[test]
fn kind_and_gke_differ_in_size_and_address_alone() {
    let lines = |target: Target| {
        let files =
            files(target, &target.config()).unwrap().into_iter().filter(|file| !file.path.contains('/'));
        files.flat_map(|file| file.text.lines().map(str::to_owned).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let (kind, gke) = (lines(Target::Kind), lines(Target::Gke));
    assert_eq!(kind.len(), gke.len());
    let different: Vec<_> = kind.iter().zip(&gke).filter(|(kind, gke)| kind != gke).collect();
    for (kind, _) in &different {
        let names = ["parallelism:", "cpu:", "memory:", "server:"];
        assert!(names.iter().any(|name| kind.trim_start().starts_with(name)), "{different:?}");
    }
}
