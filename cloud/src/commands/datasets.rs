//! The datasets to stage, from a folder on this machine.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::cluster::StagedFile;
use crate::deploy::Datasets;
use crate::error::{Error, Result};

/// The folders that the worker knows, relative to `datasets/`.
const ROLES: [&str; 3] = ["history", "testing", "training"];
/// Folders within folders, at most; deeper is a mistake or a loop of links.
const DEPTH_MAX: usize = 8;

/// Reads and hashes every file of `folder`'s training/, testing/ and history/.
pub(super) fn read(folder: &Path) -> Result<Datasets> {
    let mut files = Vec::new();
    for role in ROLES {
        let path = folder.join(role);
        if path.is_dir() {
            collect(&path, &format!("datasets/{role}"), 0, &mut files)?;
        }
    }
    if !files.iter().any(|file| file.path.starts_with("datasets/training/")) {
        let doing = format!("find datasets in {}", folder.display());
        let hint = "the folder holds training/ and testing/, as in the tutorial";
        return Err(Error::with_hint(doing, "there is no file in training/", hint));
    }
    files.sort();
    // Paths are relative to the volume, where the folder is named `datasets`.
    Ok(Datasets { from: folder.to_owned(), files })
}

fn collect(folder: &Path, name: &str, depth: usize, files: &mut Vec<StagedFile>) -> Result<()> {
    let failed = |error: &dyn std::error::Error| Error::other(format!("read {}", folder.display()), error);
    if depth > DEPTH_MAX {
        return Err(Error::other(format!("read {}", folder.display()), "folders lie too deep in one another"));
    }
    for entry in std::fs::read_dir(folder).map_err(|error| failed(&error))? {
        let path = entry.map_err(|error| failed(&error))?.path();
        let Some(last) = path.file_name().and_then(|last| last.to_str()) else {
            return Err(Error::other(format!("read {}", path.display()), "the name is not UTF-8"));
        };
        let name = format!("{name}/{last}");
        match path.is_dir() {
            true => collect(&path, &name, depth + 1, files)?,
            false => files.push(hashed(path, name)?),
        }
    }
    Ok(())
}

fn hashed(path: PathBuf, name: String) -> Result<StagedFile> {
    let failed = |error: std::io::Error| Error::other(format!("read {}", path.display()), error);
    let mut file = File::open(&path).map_err(failed)?;
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            return Ok(StagedFile { path: name, bytes, sha256: hex::encode(hash.finalize()) });
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
}
