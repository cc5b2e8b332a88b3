//! Images: the worker's own, and the other images that a run needs.

use std::path::Path;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::program::{docker, run_in};
use crate::error::{Error, Result};

const DOCKERFILE: &str = include_str!("../../image/worker/Dockerfile");

/// On every image that is built here.
pub(super) const LABEL: &str = "batch.image=built";

/// More than the Debian base and a worker should ever need; nodes of a cluster pull this.
const LARGEST: u64 = 200_000_000;

/// The worker's image in this machine's Docker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerImage {
    /// `worker:<hash of what is in it>`.
    pub tag: String,
    /// Unpacked.
    pub bytes: u64,
    /// The worker's program starts in any image that it is copied into.
    pub is_static: bool,
}

/// How to build a worker that starts in any image, whatever C library that has or lacks.
pub const STATIC_HINT: &str = "`cargo rustc --release -p worker --bin worker -- -C target-feature=+crt-static` builds one that starts in any";

/// Builds the worker's image from its stripped `binary`, unless there is one of the same content, and
/// sees that the worker starts in it.
///
/// # Errors
/// If the binary cannot be read, does not start on Debian 12, or makes the image larger than 200 MB.
pub async fn worker_image(binary: &Path) -> Result<WorkerImage> {
    let doing = format!("build the worker's image from {}", binary.display());
    let bytes = std::fs::read(binary).map_err(|error| {
        Error::with_hint(&doing, error, "build it first: `cargo build --release -p worker`")
    })?;
    let tag = format!("worker:{}", image_id(&[DOCKERFILE.as_bytes(), &bytes]));
    if docker(&["images", "--quiet", &tag], &doing).await?.is_empty() {
        let folder = context(&[("Dockerfile", DOCKERFILE.as_bytes()), ("worker", &bytes)])?;
        let args = ["build", "--quiet", "--label", LABEL, "--tag", &tag, "."];
        run_in("docker", &args, Some(folder.path()), &[], &doing).await?;
        starts(&tag, &doing).await?;
    }
    let size = docker(&["inspect", "--format", "{{.Size}}", &tag], &doing).await?;
    let size: u64 = size.parse().map_err(|error| Error::other(&doing, format!("{size:?}: {error}")))?;
    if size > LARGEST {
        let why = format!("it is {} MB, more than {}", size / 1_000_000, LARGEST / 1_000_000);
        return Err(Error::with_hint(doing, why, "take the stripped binary of a release build"));
    }
    Ok(WorkerImage { tag, bytes: size, is_static: is_static(&bytes) })
}

/// Whether a program for Linux names no other program that loads it: no segment PT_INTERP.
fn is_static(binary: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, size: usize| -> Option<usize> {
        let bytes = binary.get(at..at.checked_add(size)?)?;
        bytes
            .iter()
            .rev()
            .try_fold(0_usize, |number, byte| number.checked_mul(256)?.checked_add((*byte).into()))
    };
    let interpreter = || -> Option<bool> {
        let is_elf64 = binary.starts_with(b"\x7fELF\x02\x01");
        let (from, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        let kinds = (0..count).map(|segment| number(from.checked_add(segment * size)?, 4));
        Some(!is_elf64 || kinds.into_iter().any(|kind| kind == Some(PT_INTERP as usize)))
    };
    interpreter() == Some(false)
}

async fn starts(tag: &str, doing: &str) -> Result<()> {
    if let Err(error) = docker(&["run", "--rm", "--read-only", tag, "--version"], doing).await {
        docker(&["rmi", "--force", tag], doing).await?;
        let hint = "the image is Debian 12 (glibc 2.36): build the worker on such a system or an older one";
        return Err(Error::with_hint(doing, format!("it does not start: {}", error.why), hint));
    }
    Ok(())
}

/// Pulls an image unless it is there.
pub(super) async fn have(image: &str) -> Result<()> {
    let doing = format!("find the image {image}");
    if docker(&["images", "--quiet", image], &doing).await?.is_empty() {
        docker(&["pull", "--quiet", image], &doing).await?;
    }
    Ok(())
}

/// Removes every image that was built here and that no container uses, and gives how many. None while a cluster
/// that was made here is kept: its nodes are given them again.
///
/// # Errors
/// Where Docker cannot, for another reason than that one is in use.
pub async fn remove_images() -> Result<usize> {
    let filter = format!("label={LABEL}");
    let doing = "remove the images built here";
    let args = ["images", "--filter", &filter, "--format", "{{.Repository}}:{{.Tag}}"];
    if !super::clusters().await?.is_empty() {
        return Ok(0);
    }
    let listed = docker(&args, doing).await?;
    let mut removed = 0;
    for tag in listed.lines().filter(|tag| !tag.contains("<none>")) {
        match docker(&["rmi", tag], doing).await {
            Ok(_) => removed += 1,
            // Another cluster's.
            Err(error) if error.why.contains("is using") || error.why.contains("is being used") => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

/// Names an image after what goes into it, so that the same is neither built nor loaded twice.
pub(super) fn image_id(contents: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for content in contents {
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(content);
    }
    hex::encode(hash.finalize())[..16].to_owned()
}

/// A folder for `docker build` with these files, which may be executed.
pub(super) fn context(files: &[(&str, &[u8])]) -> Result<TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let doing = "write files for docker build";
    let folder = tempfile::tempdir().map_err(|error| Error::other(doing, error))?;
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::write(&path, content).map_err(|error| Error::other(doing, error))?;
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, mode).map_err(|error| Error::other(doing, error))?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head of a program of `segments`, by their kinds.
    fn program(segments: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = u8::try_from(segments.len()).unwrap();
        for kind in segments {
            bytes.extend(kind.to_le_bytes());
            bytes.extend([0; 52]);
        }
        bytes
    }

    #[test]
    fn a_program_that_names_a_loader_is_not_static() {
        assert!(is_static(&program(&[6, 1, 1, 2])));
        assert!(!is_static(&program(&[6, 3, 1, 2])));
        assert!(!is_static(b"#!/bin/sh\n") && !is_static(b"") && !is_static(b"\x7fELF\x02\x01"));
        // This test itself is as cargo builds by default.
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(!is_static(&own));
        // Cut off, or numbers that lead out of the file.
        for end in 0..program(&[6, 3]).len() {
            let _ = is_static(&program(&[6, 3])[..end]);
        }
        let mut wild = program(&[6, 1]);
        wild[32..40].fill(0xff);
        let _ = is_static(&wild);
    }
}
