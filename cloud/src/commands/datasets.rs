//! The datasets to stage, from a folder on this machine.

use std::path::Path;

use crate::deploy::Datasets;
use crate::error::{Error, Result};
use crate::stage;

/// The folder's name, here and on the volume.
const DATASETS: &str = "datasets";
/// The folders in it that the worker knows.
const ROLES: [&str; 3] = [worker::contract::HISTORY, worker::contract::TESTING, worker::contract::TRAINING];

/// Reads and hashes every file of training/, testing/ and history/ in `folder`, which is named
/// `datasets` as on the volume, or holds such a folder.
///
/// That may take long; on a thread of its own, for the caller's hears Ctrl-C.
pub(super) async fn read(folder: &Path) -> Result<Datasets> {
    let (doing, folder) = (format!("read the datasets in {}", folder.display()), folder.to_owned());
    let measured = tokio::task::spawn_blocking(move || measure(&folder)).await;
    measured.unwrap_or_else(|error| Err(Error::other(doing, error)))
}

fn measure(folder: &Path) -> Result<Datasets> {
    let doing = format!("find datasets in {}", folder.display());
    let hint = "the folder is named `datasets` and holds training/ and testing/, as in the tutorial";
    let refuse = |why: &str| Error::with_hint(&doing, why, hint);
    let full = std::fs::canonicalize(folder).map_err(|error| Error::with_hint(&doing, error, hint))?;
    let full = if full.join(DATASETS).is_dir() { full.join(DATASETS) } else { full };
    let from = full.parent().filter(|_| full.ends_with(DATASETS));
    let from = from.ok_or_else(|| refuse("neither it nor a folder in it is named `datasets`"))?;
    let mut files = stage::list(&full)?;
    for file in &mut files {
        file.path = format!("{DATASETS}/{}", file.path);
    }
    let in_role = |path: &str| {
        ROLES.iter().any(|role| path.strip_prefix(role).is_some_and(|rest| rest.starts_with('/')))
    };
    // Workers refuse what programs hide or leave behind, and then the whole list.
    files.retain(|file| in_role(&file.path) && !worker::manifest::is_hidden(&file.path));
    if !files.iter().any(|file| file.path.starts_with(worker::contract::TRAINING)) {
        return Err(refuse("there is no file in training/"));
    }
    Ok(Datasets { from: from.to_owned(), files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_files_and_other_folders_are_left_here() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["training/2018-04-01.csv", "training/._2018-04-01.csv", "testing/x.csv~", "notes/x.csv"]
        {
            let path = folder.path().join(DATASETS).join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let found = measure(folder.path()).unwrap();
        let paths: Vec<&str> = found.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["datasets/training/2018-04-01.csv"]);
    }
}
