//! The datasets to stage, from a folder on this machine.

use std::path::Path;

use crate::error::{Error, Result};
use crate::k8s::cluster::{Datasets, StagedFile};
use crate::k8s::stage;

/// The folder's name on the volume.
const DATASETS: &str = "datasets";
/// The folders in it that the worker knows.
const ROLES: [&str; 3] = [worker::contract::HISTORY, worker::contract::TESTING, worker::contract::TRAINING];

/// Reads and hashes every file of training/, testing/ and history/ in `folder`, or in a folder `datasets` in it. Where
/// there are no such folders, and `any` file may be a dataset, each file of `folder` is one.
///
/// That may take long: it has a thread of its own, so that the caller's hears Ctrl-C.
pub(super) async fn read(folder: &Path, any: bool) -> Result<Datasets> {
    let (doing, folder) = (format!("read the datasets in {}", folder.display()), folder.to_owned());
    let measured = tokio::task::spawn_blocking(move || measure(&folder, any)).await;
    measured.unwrap_or_else(|error| Err(Error::other(doing, error)))
}

fn measure(folder: &Path, any: bool) -> Result<Datasets> {
    let doing = format!("find datasets in {}", folder.display());
    let hint = "the folder holds training/ and testing/, as the tutorial's does, and may hold history/";
    let refuse = |why: &str| Error::with_hint(&doing, why, hint);
    let full = std::fs::canonicalize(folder).map_err(|error| Error::with_hint(&doing, error, hint))?;
    let in_it = |role: &str| role.strip_prefix(DATASETS).unwrap_or(role).trim_start_matches('/').to_owned();
    let training = in_it(worker::contract::TRAINING);
    let candidates = [full.clone(), full.join(DATASETS)];
    let from = candidates.into_iter().find(|candidate| candidate.join(&training).is_dir());
    let Some(from) = from else {
        return if any { flat(&full, &doing) } else { Err(refuse("there is no training/ in it")) };
    };
    let mut files = Vec::new();
    for role in ROLES {
        let place = from.join(in_it(role));
        let found = if place.is_dir() { stage::list(&place)? } else { Vec::new() };
        files.extend(
            found.into_iter().map(|file| StagedFile { path: format!("{role}/{}", file.path), ..file }),
        );
    }
    // Workers refuse what programs hide or leave behind, and then the whole list.
    files.retain(|file| !worker::manifest::is_hidden(&file.path));
    files.sort();
    if !files.iter().any(|file| file.path.starts_with(worker::contract::TRAINING)) {
        return Err(refuse("there is no file in training/"));
    }
    Ok(Datasets { from, is_flat: false, files })
}

/// Each file of the folder itself: to test with where `test` is in its name, else to train on.
fn flat(folder: &Path, doing: &str) -> Result<Datasets> {
    let mut files = stage::list(folder)?;
    files.retain(|file| !file.path.contains('/') && !worker::manifest::is_hidden(&file.path));
    for file in &mut files {
        let is_test = file.path.to_lowercase().contains("test");
        let role = if is_test { worker::contract::TESTING } else { worker::contract::TRAINING };
        file.path.insert_str(0, &format!("{role}/"));
    }
    files.sort();
    if files.iter().any(|file| file.path.starts_with(worker::contract::TRAINING)) {
        return Ok(Datasets { from: folder.to_owned(), is_flat: true, files });
    }
    let hint = "each file in the folder is a dataset; those with `test` in their name are only tested with";
    Err(Error::with_hint(doing, "there is no file in it to train on", hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_folder_with_training_in_it_will_do() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["days", "holder/datasets"] {
            for role in ["training", "testing", "elsewhere"] {
                let place = folder.path().join(name).join(role);
                std::fs::create_dir_all(&place).unwrap();
                std::fs::write(place.join("a"), role).unwrap();
            }
        }
        for name in ["days", "holder", "holder/datasets"] {
            let datasets = measure(&folder.path().join(name), false).unwrap();
            let paths: Vec<_> = datasets.files.iter().map(|file| file.path.as_str()).collect();
            assert_eq!(paths, ["datasets/testing/a", "datasets/training/a"], "{name}");
            assert!(datasets.from.join("training/a").exists(), "{name}");
        }
        assert!(measure(&folder.path().join("days/training"), false).is_err());
    }

    #[test]
    fn hidden_files_and_other_folders_are_left_here() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["training/2018-04-01.csv", "training/._2018-04-01.csv", "testing/x.csv~", "notes/x.csv"]
        {
            let path = folder.path().join(DATASETS).join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let found = measure(folder.path(), false).unwrap();
        let paths: Vec<&str> = found.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["datasets/training/2018-04-01.csv"]);
    }

    #[test]
    fn a_programs_datasets_are_the_files_of_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["day 1.txt", "2.bin", "Test.bin", ".hidden", "nested/3.bin"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        let found = measure(folder.path(), true).unwrap();
        let paths: Vec<&str> = found.files.iter().map(|file| file.path.as_str()).collect();
        let training = ["datasets/training/2.bin", "datasets/training/day 1.txt"];
        assert_eq!(paths, ["datasets/testing/Test.bin", training[0], training[1]]);
        assert!(found.is_flat);
        assert!(measure(folder.path(), false).unwrap_err().why.contains("no training/"));
        assert!(measure(&folder.path().join("nothing"), true).is_err());
    }
}
