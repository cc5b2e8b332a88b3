//! Files onto the volume and from it, through the staging pod: tar over exec, as `kubectl cp` does,
//! with progress, and with a check of every byte at the far end before a name appears.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::{Error, Result};
use crate::k8s::cluster::{ResultFile, StagedFile};
use crate::k8s::exec::PodExec;
use crate::k8s::objects::MOUNT;

/// Where files arrive; what is left in it by a broken connection is removed by the next.
const ARRIVALS: &str = ".arrivals";

/// Blocks of a tar archive.
const BLOCK: u64 = 512;

/// How far staging is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file that is sent, relative to the volume.
    pub path: &'a str,
    pub bytes_done: u64,
    pub bytes_total: u64,
}

/// Lists the files under `root` to be staged, with sizes and hashes, sorted by path. Paths are relative to
/// `root`. Links to files are followed.
pub fn list(root: &Path) -> Result<Vec<StagedFile>> {
    let mut folders = vec![PathBuf::new()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let doing = format!("list {}", root.join(&folder).display());
        for entry in fs::read_dir(root.join(&folder)).map_err(|error| Error::other(&doing, error))? {
            let relative = folder.join(entry.map_err(|error| Error::other(&doing, error))?.file_name());
            let full = root.join(&relative);
            let kind = fs::metadata(&full).map_err(|error| Error::other(&doing, error))?;
            if kind.is_dir() {
                folders.push(relative);
            } else {
                files.push(measure(root, &relative)?);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// A local file as it would be staged.
pub fn measure(root: &Path, relative: &Path) -> Result<StagedFile> {
    let path = plain(relative)?;
    let doing = format!("read {}", root.join(relative).display());
    let (bytes, sha256) =
        fs::File::open(root.join(relative)).and_then(digest).map_err(|error| Error::other(&doing, error))?;
    Ok(StagedFile { path, bytes, sha256 })
}

/// Length and hash, in lower-case hex, of all that can be read.
fn digest(mut from: impl Read) -> std::io::Result<(u64, String)> {
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hex::encode(hash.finalize())));
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
}

/// A path as it is written in lists, one a line: relative, with nothing that `sha256sum` or a shell's
/// `read` would take for something else.
fn plain(path: &Path) -> Result<String> {
    let refuse = |why: &str| Error::with_hint(format!("stage {}", path.display()), why, "rename the file");
    let normal = path.components().all(|part| matches!(part, Component::Normal(_)));
    let text = path.to_str().ok_or_else(|| refuse("its name is not UTF-8"))?;
    match () {
        () if !normal || text.is_empty() => Err(refuse("the path is not below the folder")),
        () if text.contains(['\n', '\\', '\r']) => {
            Err(refuse("line breaks and backslashes cannot be listed"))
        }
        () => Ok(text.to_owned()),
    }
}

/// Where the datasets of the volume lie here.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a> {
    pub folder: &'a Path,
    /// They lie in the folder itself, and not below it as below `datasets` on the volume.
    pub is_flat: bool,
}

/// The folder of all datasets on the volume.
const DATASETS: &str = "datasets/";

impl Local<'_> {
    /// Where a dataset lies here.
    pub(crate) fn path(&self, file: &StagedFile) -> PathBuf {
        let name = || file.path.rsplit('/').next().unwrap_or(&file.path);
        let below = || file.path.strip_prefix(DATASETS).unwrap_or(&file.path);
        self.folder.join(if self.is_flat { name() } else { below() })
    }
}

/// Copies `files` from under `from` to the volume, leaving out what is there with the same hash, and gives
/// how many were sent. Each appears under its name whole and checked, or not at all.
///
/// # Errors
/// A file that is not what was listed, a broken connection, a full volume. Calling again goes on from what
/// has its name, at most a quarter of a GiB, or one file, before where it broke.
pub async fn put_from(
    inside: &PodExec,
    from: Local<'_>,
    files: &[StagedFile],
    tell: &mut dyn FnMut(Progress<'_>),
) -> Result<usize> {
    let doing = "copy datasets to the volume";
    let paths: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
    for path in &paths {
        plain(Path::new(path))?;
    }
    let there = hashes(inside, "", &paths).await?;
    let missing: Vec<_> = files.iter().filter(|file| there.get(&file.path) != Some(&file.sha256)).collect();
    let bytes_total = missing.iter().map(|file| file.bytes).sum();
    let mut bytes_before = 0;
    for group in groups(&missing) {
        let mut tell = |path: &str, bytes: u64| {
            tell(Progress { path, bytes_done: bytes_before + bytes, bytes_total });
        };
        put_group(inside, from, group, &mut tell, doing).await?;
        bytes_before += group.iter().map(|file| file.bytes).sum::<u64>();
    }
    Ok(missing.len())
}

/// Files that are sent together: what a broken connection can cost.
const GROUP_BYTES: u64 = 256 << 20;

pub(super) fn groups<'a>(files: &'a [&'a StagedFile]) -> impl Iterator<Item = &'a [&'a StagedFile]> {
    let mut bytes = 0;
    files.chunk_by(move |before, _| {
        bytes += before.bytes;
        let is_full = bytes >= GROUP_BYTES;
        bytes = if is_full { 0 } else { bytes };
        !is_full
    })
}

/// Sends some files aside, checks them there, and gives them their names.
async fn put_group(
    inside: &PodExec,
    from: Local<'_>,
    files: &[&StagedFile],
    tell: &mut dyn FnMut(&str, u64),
    doing: &str,
) -> Result<()> {
    let script = format!(
        "set -e; cd {MOUNT}; rm -rf {ARRIVALS}; mkdir {ARRIVALS}; tar -xf - -C {ARRIVALS} --no-same-owner"
    );
    let send = async |mut stdin: Box<dyn AsyncWrite + Send + Unpin>| {
        send(&mut stdin, from, files, tell).await?;
        stdin.shutdown().await
    };
    inside.pipe(&script, send, &mut tokio::io::sink(), doing).await?;
    let names: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
    let arrived = hashes(inside, ARRIVALS, &names).await?;
    if let Some(file) = files.iter().find(|file| arrived.get(&file.path) != Some(&file.sha256)) {
        let hint = "it may have changed while it was read; run the same command again";
        return Err(Error::with_hint(doing, format!("{} arrived with another hash", file.path), hint));
    }
    let script = format!(
        "set -e; cd {MOUNT}; while IFS= read -r path; do mkdir -p \"./${{path%/*}}\"; mv -f \"{ARRIVALS}/$path\" \"./$path\"; \
         done; rm -rf {ARRIVALS}"
    );
    let lines: String =
        names.iter().map(|name| format!("{}{name}\n", if name.contains('/') { "" } else { "./" })).collect();
    inside.sh(&script, lines.as_bytes(), doing).await.map(drop)
}

/// As an archive. `tell` is given the file under way, and how many bytes of all went before.
async fn send(
    to: &mut (impl AsyncWrite + Unpin),
    from: Local<'_>,
    files: &[&StagedFile],
    tell: &mut dyn FnMut(&str, u64),
) -> std::io::Result<()> {
    let (mut bytes_done, mut buffer) = (0, vec![0; 256 * 1024]);
    for file in files {
        to.write_all(&header(file)?).await?;
        let mut local = tokio::fs::File::open(from.path(file)).await?.take(file.bytes);
        let mut left = file.bytes;
        tell(&file.path, bytes_done);
        while left > 0 {
            let read = local.read(&mut buffer).await?;
            if read == 0 {
                return Err(std::io::Error::other(format!("{} became shorter while it was read", file.path)));
            }
            to.write_all(&buffer[..read]).await?;
            left -= read as u64;
            bytes_done += read as u64;
            tell(&file.path, bytes_done);
        }
        let padding = (BLOCK - file.bytes % BLOCK) % BLOCK;
        to.write_all(&[0; BLOCK as usize][..padding as usize]).await?;
    }
    to.write_all(&[0; 2 * BLOCK as usize]).await
}

/// The header of a file in a tar archive, with the further one that a long name takes.
fn header(file: &StagedFile) -> std::io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_size(file.bytes);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, &file.path, std::io::empty())?;
    // The builder's end of the archive is not wanted after each file, so it is not finished.
    Ok(std::mem::take(archive.get_mut()))
}

/// The hashes of those of `paths` that are files under `folder` of the volume.
async fn hashes(inside: &PodExec, folder: &str, paths: &[&str]) -> Result<BTreeMap<String, String>> {
    let script = format!(
        "cd {MOUNT}/{folder} && while IFS= read -r path; do if [ -f \"$path\" ]; then sha256sum -- \"$path\"; fi; done"
    );
    let lines: String = paths.iter().map(|path| format!("{path}\n")).collect();
    let printed = inside.sh(&script, lines.as_bytes(), "hash files on the volume").await?;
    let printed = String::from_utf8_lossy(&printed);
    let pairs = printed.lines().filter_map(|line| line.split_once("  "));
    Ok(pairs.map(|(hash, path)| (path.to_owned(), hash.to_owned())).collect())
}

/// Lists the files under `folder` of the volume, with sizes and hashes, sorted by path. None there is none
/// listed.
pub async fn results(inside: &PodExec, folder: &str) -> Result<Vec<ResultFile>> {
    let script = format!(
        "cd {MOUNT}; if [ -d \"{folder}\" ]; then find \"{folder}\" -type f -printf '%s ' -exec sha256sum -- {{}} \\; ; fi"
    );
    let printed = inside.sh(&script, &[], "list the results").await?;
    let mut files = Vec::new();
    for line in String::from_utf8_lossy(&printed).lines() {
        let parsed = line.split_once(' ').and_then(|(bytes, rest)| {
            let (sha256, path) = rest.split_once("  ")?;
            Some(ResultFile { path: path.to_owned(), bytes: bytes.parse().ok()?, content: sha256.to_owned() })
        });
        files.push(parsed.ok_or_else(|| Error::other("list the results", format!("cannot read {line:?}")))?);
    }
    files.sort();
    Ok(files)
}

/// Copies `files` from the volume into the folder `into`, keeping their paths. Each appears under its
/// name whole and checked, or not at all.
pub async fn get(inside: &PodExec, files: &[ResultFile], into: &Path) -> Result<()> {
    let doing = format!("fetch results into {}", into.display());
    for file in files {
        plain(Path::new(&file.path))?;
    }
    let archive = tempfile::NamedTempFile::new().map_err(|error| Error::other(&doing, error))?;
    let copy = archive.reopen().map_err(|error| Error::other(&doing, error))?;
    let lines: String = files.iter().map(|file| format!("{}\n", file.path)).collect();
    let send = async |mut stdin: Box<dyn AsyncWrite + Send + Unpin>| {
        stdin.write_all(lines.as_bytes()).await?;
        stdin.shutdown().await
    };
    let script = format!("tar -cf - -C {MOUNT} --verbatim-files-from -T -");
    inside.pipe(&script, send, &mut tokio::fs::File::from_std(copy), &doing).await?;
    let (wanted, into) = (files.to_vec(), into.to_owned());
    let unpacked = tokio::task::spawn_blocking(move || unpack(archive.reopen()?, &wanted, &into)).await;
    let arrived = unpacked.map_err(std::io::Error::other).and_then(|inner| inner).map_err(|error| {
        Error::with_hint(&doing, error, "nothing was deleted from the volume; run the same command again")
    })?;
    if arrived == files.len() {
        return Ok(());
    }
    Err(Error::other(doing, format!("{arrived} files of {} arrived", files.len())))
}

/// Takes exactly the wanted files out of an archive; anything else in it, or other bytes, is an error.
fn unpack(archive: impl Read, wanted: &[ResultFile], into: &Path) -> std::io::Result<usize> {
    let mut wanted: BTreeMap<&str, &ResultFile> =
        wanted.iter().map(|file| (file.path.as_str(), file)).collect();
    let mut arrived = 0;
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let file = path.to_str().and_then(|path| wanted.remove(path));
        let file =
            file.ok_or_else(|| std::io::Error::other(format!("{} was not asked for", path.display())))?;
        let target = into.join(&path);
        let folder = target.parent().unwrap_or(into);
        fs::create_dir_all(folder)?;
        let mut private = tempfile::NamedTempFile::new_in(folder)?;
        std::io::copy(&mut entry, &mut private)?;
        if digest(private.reopen()?)? != (file.bytes, file.content.clone()) {
            return Err(std::io::Error::other(format!("{} arrived with another hash", file.path)));
        }
        private.persist(&target)?;
        arrived += 1;
    }
    Ok(arrived)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{GROUP_BYTES, Local, StagedFile, groups, list, plain, send, unpack};
    use crate::k8s::cluster::ResultFile;

    fn as_results(files: &[StagedFile]) -> Vec<ResultFile> {
        let result = |file: &StagedFile| ResultFile {
            path: file.path.clone(),
            bytes: file.bytes,
            content: file.sha256.clone(),
        };
        files.iter().map(result).collect()
    }

    async fn archive(from: &Path, files: &[StagedFile]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let files: Vec<_> = files.iter().collect();
        send(&mut bytes, Local { folder: from, is_flat: false }, &files, &mut |_, _| {}).await.unwrap();
        bytes
    }

    #[test]
    fn files_are_sent_by_the_quarter_of_a_gib() {
        let sizes = [0, 1, GROUP_BYTES - 2, 1, 5, 3 * GROUP_BYTES, 7, 8];
        let file = |bytes: &u64| StagedFile { path: String::new(), bytes: *bytes, sha256: String::new() };
        let files: Vec<_> = sizes.iter().map(file).collect();
        let files: Vec<_> = files.iter().collect();
        let counts: Vec<_> = groups(&files).map(<[_]>::len).collect();
        assert_eq!(counts, [4, 2, 2]);
        assert_eq!(groups(&[]).count(), 0);
    }

    #[tokio::test]
    async fn what_is_sent_comes_out_whole_whatever_its_size_and_name() {
        let from = tempfile::tempdir().unwrap();
        let deep = format!("days/{}/{}", "long".repeat(40), "name".repeat(50));
        for (path, size) in [("days/empty", 0), ("days/block", 512), ("a b/'c$(d)", 513), (&deep, 300_000)] {
            std::fs::create_dir_all(from.path().join(path).parent().unwrap()).unwrap();
            std::fs::write(from.path().join(path), vec![7; size]).unwrap();
        }
        let files = list(from.path()).unwrap();
        assert_eq!(files.len(), 4);
        let into = tempfile::tempdir().unwrap();
        let sent = archive(from.path(), &files).await;
        assert_eq!(unpack(&sent[..], &as_results(&files), into.path()).unwrap(), 4);
        assert_eq!(list(into.path()).unwrap(), files);
    }

    #[tokio::test]
    async fn other_bytes_and_unasked_files_are_refused() {
        let from = tempfile::tempdir().unwrap();
        std::fs::write(from.path().join("report"), b"true").unwrap();
        let files = list(from.path()).unwrap();
        let mut sent = archive(from.path(), &files).await;
        let into = tempfile::tempdir().unwrap();
        assert!(unpack(&sent[..], &[], into.path()).unwrap_err().to_string().contains("not asked for"));
        sent[512] ^= 1;
        let error = unpack(&sent[..], &as_results(&files), into.path()).unwrap_err();
        assert!(error.to_string().contains("another hash"), "{error}");
        assert!(list(into.path()).unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_file_that_shrinks_is_an_error_and_no_endless_wait() {
        let from = tempfile::tempdir().unwrap();
        std::fs::write(from.path().join("day"), vec![1; 100]).unwrap();
        let files = list(from.path()).unwrap();
        std::fs::write(from.path().join("day"), vec![1; 50]).unwrap();
        let files: Vec<_> = files.iter().collect();
        let local = Local { folder: from.path(), is_flat: false };
        let error = send(&mut Vec::new(), local, &files, &mut |_, _| {}).await.unwrap_err();
        assert!(error.to_string().contains("shorter"), "{error}");
    }

    #[tokio::test]
    async fn a_folder_of_any_name_stands_for_datasets() {
        for (folder, is_flat) in [("training/", false), ("", true)] {
            let days = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(days.path().join(folder)).unwrap();
            std::fs::write(days.path().join(folder).join("a"), b"day").unwrap();
            let mut files = list(days.path()).unwrap();
            files[0].path = "datasets/training/a".to_owned();
            let mut sent = Vec::new();
            let local = Local { folder: days.path(), is_flat };
            send(&mut sent, local, &files.iter().collect::<Vec<_>>(), &mut |_, _| {}).await.unwrap();
            let into = tempfile::tempdir().unwrap();
            assert_eq!(unpack(&sent[..], &as_results(&files), into.path()).unwrap(), 1);
            assert_eq!(std::fs::read(into.path().join("datasets/training/a")).unwrap(), b"day");
        }
    }

    #[test]
    fn only_paths_that_lists_can_hold_are_staged() {
        assert!(plain(Path::new("datasets/training/2018-04-01.pkl")).is_ok());
        for path in ["", "/etc/passwd", "../up", "a/../b", "new\nline", "back\\slash"] {
            assert!(plain(Path::new(path)).is_err(), "{path:?}");
        }
    }
}
