//! A bucket as the volume of a batch in any cluster: datasets go straight into it from this machine, and results come
//! straight from it, by this machine's own access. Workers have theirs.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempPath};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use worker::contract::{OUTPUT, RunPaths};
use worker::store::bucket::{self, Bucket, Client, Listed, Settings};
use worker::store::location::BucketUrl;
use worker::store::{Keep, Kind as StoreKind, Store as _, StoreError};

use super::cluster::{Batch, Datasets, PodUse, Ran, ResultFile, StagedFile, list, list_path};
use super::stage::{Local, groups};
use super::usage::of_objects;
use super::with_bucket::BucketFiles;
use crate::error::{Cause, Error, Kind, Result};

/// What was staged, as `sha256sum` prints it: a bucket does not say the hash of what it holds.
const STAGED: &str = "datasets/staged.txt";
/// Files up to this size go in one request; larger ones, and results, by pieces of it.
const PIECE: usize = 8 << 20;

/// The volume in a bucket.
#[derive(Debug)]
pub struct BucketVolume {
    store: Bucket<Client>,
}

impl BucketVolume {
    /// Opens it. Nothing is asked yet.
    ///
    /// # Errors
    /// Where the settings cannot be used.
    pub fn open(url: &BucketUrl, settings: &Settings) -> Result<Self> {
        Ok(Self { store: bucket::open(url, settings).map_err(failed)? })
    }

    async fn files(&self, folder: &str) -> Result<Vec<Listed>> {
        self.store.client().files(folder).await.map_err(failed)
    }

    async fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.store.put(path, bytes, Keep::Durable).await.map_err(failed)
    }

    /// The hashes of what was staged, by path.
    async fn noted(&self) -> Result<BTreeMap<String, String>> {
        match self.store.get(STAGED).await {
            Err(error) if error.kind == StoreKind::NotFound => Ok(BTreeMap::new()),
            read => Ok(parse_notes(&String::from_utf8_lossy(&read.map_err(failed)?))),
        }
    }

    async fn note(&self, notes: &BTreeMap<String, String>) -> Result<()> {
        self.put(STAGED, text_of_notes(notes).as_bytes()).await
    }

    /// Puts what is not there; `tell` gets each path. What is replaced is forgotten first: an interruption leaves no file
    /// with the note of another.
    ///
    /// # Errors
    /// Where a file changes while it is read, or the bucket cannot take it.
    pub async fn stage_files(&self, datasets: &Datasets, tell: &mut dyn FnMut(&str)) -> Result<()> {
        let mut notes = self.noted().await?;
        let missing = missing(&datasets.files, &notes, &self.files("datasets").await?);
        if missing.is_empty() {
            return Ok(());
        }
        notes.retain(|path, _| missing.iter().all(|file| file.path != *path));
        self.note(&notes).await?;
        let from = Local { folder: &datasets.from, is_flat: datasets.is_flat };
        for group in groups(&missing) {
            for file in group {
                tell(&file.path);
                self.put_file(file, &from.path(file)).await?;
                notes.insert(file.path.clone(), file.sha256.clone());
            }
            self.note(&notes).await?;
        }
        Ok(())
    }

    /// Under its name it appears whole, and as it was hashed before, or not at all.
    async fn put_file(&self, file: &StagedFile, from: &Path) -> Result<()> {
        let unread = |error: std::io::Error| Error::other(format!("read {}", from.display()), error);
        let mut local = tokio::fs::File::open(from).await.map_err(unread)?;
        let (mut hash, mut begun) = (Sha256::new(), None);
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            (&mut local).take(PIECE as u64).read_to_end(&mut piece).await.map_err(unread)?;
            hash.update(&piece);
            let is_last = piece.len() < PIECE;
            if is_last && hex::encode(hash.clone().finalize()) != file.sha256 {
                let hint = "wait until nobody writes to it, and run the same command again";
                let doing = format!("stage {}", file.path);
                return Err(Error::with_hint(doing, "it changed while it was read", hint));
            }
            if is_last && begun.is_none() {
                return self.put(&file.path, &piece).await;
            }
            let mut upload = match begun.take() {
                Some(upload) => upload,
                None => self.store.begin_upload(&file.path).await.map_err(failed)?,
            };
            self.store.upload(&mut upload, &piece).await.map_err(failed)?;
            if is_last {
                return self.store.end_upload(upload).await.map_err(failed);
            }
            begun = Some(upload);
        }
    }

    async fn read(&self, file: &ResultFile, into: &Path) -> Result<TempPath> {
        let target = into.join(&file.path);
        let folder = target.parent().unwrap_or(into);
        std::fs::create_dir_all(folder).map_err(|error| unwritten(&target, &error))?;
        let private = NamedTempFile::new_in(folder).map_err(|error| unwritten(&target, &error))?;
        let (here, private) = private.into_parts();
        let mut here = tokio::fs::File::from_std(here);
        let mut at = 0;
        while at < file.bytes {
            let piece = self.store.get_range(&file.path, at, PIECE as u64).await.map_err(failed)?;
            if piece.is_empty() {
                return Err(Error::new(format!("fetch {}", file.path), "it became shorter", Kind::Transient));
            }
            here.write_all(&piece).await.map_err(|error| unwritten(&target, &error))?;
            at += piece.len() as u64;
        }
        here.flush().await.map_err(|error| unwritten(&target, &error))?;
        Ok(private)
    }
}

impl BucketFiles for BucketVolume {
    async fn reach(&self) -> Result<()> {
        self.store.client().reach().await.map_err(failed)
    }

    /// It keeps a hash for each file: all are looked at each time.
    async fn staged(&self) -> Result<Option<String>> {
        Ok(None)
    }

    async fn stage(&self, _: &Batch, datasets: &Datasets, tell: &mut dyn FnMut(&str)) -> Result<()> {
        self.stage_files(datasets, tell).await
    }

    async fn write_list(&self, batch: &Batch) -> Result<()> {
        self.put(&list_path(&batch.digest()), list(&batch.files).as_bytes()).await
    }

    async fn results(&self) -> Result<Vec<ResultFile>> {
        Ok(self.files(OUTPUT).await?.into_iter().filter_map(result).collect())
    }

    async fn fetch(&self, files: &[ResultFile], into: &Path) -> Result<()> {
        let mut read = Vec::new();
        for file in files {
            read.push((self.read(file, into).await?, into.join(&file.path)));
        }
        let now = self.results().await?;
        if let Some(file) = files.iter().find(|file| !now.contains(file)) {
            return Err(Error::new(format!("fetch {}", file.path), "it was replaced", Kind::Transient));
        }
        for (private, target) in read {
            private.persist(&target).map_err(|error| unwritten(&target, &error))?;
        }
        Ok(())
    }

    async fn usage(&self, ran: &Ran) -> Result<Vec<PodUse>> {
        let mut objects = Vec::new();
        for Listed { path, .. } in self.files(&RunPaths::new(&ran.run).events()).await? {
            let bytes = self.store.get(&path).await.map_err(failed)?;
            objects.push((path, bytes));
        }
        Ok(of_objects(objects, ran))
    }
}

fn failed(error: StoreError) -> Error {
    let hint = error.hint().map(str::to_owned);
    let kind = if error.kind == StoreKind::Io { Kind::Transient } else { Kind::Other };
    Error::new(format!("{} {}", error.operation, error.path), error.detail, Cause { kind, hint, page: None })
}

fn unwritten(target: &Path, error: &dyn std::fmt::Display) -> Error {
    let hint = "name a folder with --out that is there or can be made";
    Error::with_hint(format!("write {}", target.display()), error, hint)
}

/// Those of the files that the bucket does not have with the same hash.
fn missing<'a>(
    files: &'a [StagedFile],
    notes: &BTreeMap<String, String>,
    there: &[Listed],
) -> Vec<&'a StagedFile> {
    let sizes: BTreeMap<_, _> = there.iter().map(|file| (file.path.as_str(), file.bytes)).collect();
    let is_there = |file: &StagedFile| {
        notes.get(&file.path) == Some(&file.sha256) && sizes.get(file.path.as_str()) == Some(&file.bytes)
    };
    files.iter().filter(|file| !is_there(file)).collect()
}

fn parse_notes(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once("  "));
    lines.map(|(sha256, path)| (path.to_owned(), sha256.to_owned())).collect()
}

fn text_of_notes(notes: &BTreeMap<String, String>) -> String {
    notes.iter().map(|(path, sha256)| format!("{sha256}  {path}\n")).collect()
}

/// None: an object whose name is no path of a file.
fn result(file: Listed) -> Option<ResultFile> {
    let is_plain = file.path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    is_plain.then_some(ResultFile { path: file.path, bytes: file.bytes, content: file.version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_with_the_same_hash_is_not_put_again() {
        let file = |path: &str, bytes, sha256: &str| StagedFile {
            path: path.into(),
            bytes,
            sha256: sha256.to_owned(),
        };
        let files = ["same", "other", "longer", "gone", "unknown"].map(|path| file(path, 1, "aa"));
        let notes = "aa  same\nbb  other\naa  longer\naa  gone\n";
        let there = [("same", 1), ("other", 1), ("longer", 2), ("unknown", 1)].map(|(path, bytes)| Listed {
            path: path.into(),
            bytes,
            version: String::new(),
        });
        let missing = missing(&files, &parse_notes(notes), &there);
        let paths: Vec<_> = missing.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["other", "longer", "gone", "unknown"]);
        assert_eq!(parse_notes(&text_of_notes(&parse_notes(notes))), parse_notes(notes));
    }
}
