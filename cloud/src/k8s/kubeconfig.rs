//! Reading kubeconfig as kubectl does.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use kube::config::Kubeconfig;

/// Reads the file at `path`; without a path the files that KUBECONFIG lists, of which some may be missing; else
/// `~/.kube/config`.
///
/// # Errors
/// In words: a file that can't be read, or no file at all.
pub fn read(path: Option<&Path>, variable: impl Fn(&str) -> Option<OsString>) -> Result<Kubeconfig, String> {
    let one = |path: &Path| Kubeconfig::read_from(path).map_err(|error| error.to_string());
    if let Some(path) = path {
        return one(path);
    }
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let Some(listed) = set("KUBECONFIG") else {
        let home = set("HOME").ok_or("neither --kubeconfig, KUBECONFIG nor HOME says where it is")?;
        return one(&PathBuf::from(home).join(".kube/config"));
    };
    let paths: Vec<_> = std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).collect();
    let there: Vec<_> = paths.iter().filter(|path| path.exists()).collect();
    if there.is_empty() {
        return Err(format!("KUBECONFIG is {}, and no such file is there", listed.to_string_lossy()));
    }
    there.into_iter().try_fold(Kubeconfig::default(), |merged, path| {
        merged.merge(one(path)?).map_err(|error| format!("{}: {error}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_missing_among_several_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("there");
        std::fs::write(&there, "{apiVersion: v1, kind: Config, current-context: mine}").unwrap();
        let missing = folder.path().join("missing");
        let with = |paths: &[&Path]| {
            let listed = std::env::join_paths(paths).unwrap();
            read(None, |name| (name == "KUBECONFIG").then(|| listed.clone()))
        };
        let context = |read: Result<Kubeconfig, String>| read.map(|read| read.current_context.unwrap());
        assert_eq!(context(with(&[&missing, &there])), Ok("mine".to_owned()));
        assert_eq!(context(with(&[&there, &missing])), Ok("mine".to_owned()));
        assert!(with(&[&missing]).unwrap_err().contains("missing"));
        assert!(read(Some(&missing), |_| None).is_err());
        assert!(read(None, |_| None).unwrap_err().contains("HOME"));
    }
}
