//! A deployment's cluster with its volume: files go through the cluster where Filestore is the volume, and straight to the
//! bucket and from it where that is.

use std::collections::BTreeMap;
use std::path::Path;

use tokio::io::AsyncWriteExt as _;
use worker::contract::{OUTPUT, RunPaths};

use crate::error::{Error, Kind, Result};
use crate::gke::gcp::{Google, ObjectSeen, RetryBudget, Upload};
use crate::gke::plan::VOLUME_FOLDER;
use crate::k8s::cluster::{Batch, Datasets, PodUse, Ran, ResultFile, StagedFile, list, list_path};
use crate::k8s::stage::Local;
use crate::k8s::usage::of_objects;
use crate::k8s::with_bucket::{BucketFiles, WithBucket};

/// The object that says which datasets were staged last, by their digest. It goes with the bucket.
const STAGED: &str = "staged";

/// The name of that object.
pub fn staged_mark() -> String {
    key(STAGED)
}

/// The volume in a bucket.
#[derive(Clone, Debug)]
pub struct BucketVolume {
    google: Google,
    bucket: String,
}

impl BucketVolume {
    pub fn new(google: &Google, bucket: &str) -> Self {
        Self { google: google.clone(), bucket: bucket.to_owned() }
    }

    async fn objects(&self, path: &str) -> Result<Vec<ObjectSeen>> {
        self.google.objects(&self.bucket, &key(path)).await
    }

    /// The file at a path.
    async fn object(&self, path: &str) -> Result<Option<ObjectSeen>> {
        Ok(self.objects(path).await?.into_iter().find(|object| object.name == key(path)))
    }

    async fn read(&self, object: &ObjectSeen) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        let keep = async |bytes: bytes::Bytes| {
            all.extend(bytes);
            Ok(())
        };
        self.google.read_object(&self.bucket, object, keep).await?;
        Ok(all)
    }

    /// Sends a file until it is there, which the answer to an earlier try may not have said.
    async fn put_file(&self, file: &StagedFile, seen: Option<&ObjectSeen>, from: &Path) -> Result<()> {
        let name = key(&file.path);
        let replaces = seen.map_or("0", |seen| seen.generation.as_str());
        let upload = Upload { name: &name, bytes: file.bytes, sha256: &file.sha256, replaces };
        let mut budget = RetryBudget::default();
        loop {
            let failed = match self.google.upload_file(&self.bucket, upload, from).await {
                Err(error) if error.is_transient() || error.kind == Kind::Exists => error,
                done => return done,
            };
            if self.object(&file.path).await?.is_some_and(|there| is_it(&there, file)) {
                return Ok(());
            }
            if failed.kind == Kind::Exists {
                return Err(failed);
            }
            budget.wait(self.google.clock(), failed).await?;
        }
    }

    /// Writes a small file, whatever is there.
    async fn put(&self, path: &str, content: &[u8]) -> Result<()> {
        let replaces = self.object(path).await?.map_or("0".to_owned(), |object| object.generation);
        self.google.upload_bytes(&self.bucket, &key(path), content, &replaces).await
    }

    /// Under its name it appears whole and checked, or not at all.
    async fn fetch_one(&self, object: &ObjectSeen, target: &Path) -> Result<()> {
        let failed =
            |error: &dyn std::fmt::Display| Error::other(format!("write {}", target.display()), error);
        let folder = target.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
        let private = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
        let mut file = tokio::fs::File::from_std(private.reopen().map_err(|error| failed(&error))?);
        let write = async |bytes: bytes::Bytes| file.write_all(&bytes).await;
        self.google.read_object(&self.bucket, object, write).await?;
        file.flush().await.map_err(|error| failed(&error))?;
        private.persist(target).map(drop).map_err(|error| failed(&error))
    }
}

impl BucketFiles for BucketVolume {
    /// Google was asked for it before.
    async fn reach(&self) -> Result<()> {
        Ok(())
    }

    async fn staged(&self) -> Result<Option<String>> {
        match self.object(STAGED).await? {
            Some(object) => Ok(String::from_utf8(self.read(&object).await?).ok()),
            None => Ok(None),
        }
    }

    async fn stage(&self, batch: &Batch, datasets: &Datasets, tell: &mut dyn FnMut(&str)) -> Result<()> {
        // Before the first of them changes: a set that is cut short must not be taken for the one before it.
        if let Some(mark) = self.object(STAGED).await? {
            self.google.delete_object(&self.bucket, &mark).await?;
        }
        let there: BTreeMap<_, _> = self
            .objects("datasets/")
            .await?
            .into_iter()
            .map(|object| (object.name.clone(), object))
            .collect();
        let from = Local { folder: &datasets.from, is_flat: datasets.is_flat };
        for file in &batch.files {
            let seen = there.get(&key(&file.path));
            if seen.is_some_and(|seen| is_it(seen, file)) {
                continue;
            }
            tell(&file.path);
            self.put_file(file, seen, &from.path(file)).await?;
        }
        self.put(STAGED, batch.digest().as_bytes()).await
    }

    async fn write_list(&self, batch: &Batch) -> Result<()> {
        self.put(&list_path(&batch.digest()), list(&batch.files).as_bytes()).await
    }

    async fn results(&self) -> Result<Vec<ResultFile>> {
        let mut files: Vec<_> =
            self.objects(&format!("{OUTPUT}/")).await?.iter().filter_map(result).collect();
        files.sort();
        Ok(files)
    }

    async fn fetch(&self, files: &[ResultFile], into: &Path) -> Result<()> {
        let objects = self.objects(&format!("{OUTPUT}/")).await?;
        for file in files {
            let object = objects.iter().find(|object| result(object).as_ref() == Some(file));
            let gone = || Error::new(format!("fetch {}", file.path), "it was replaced", Kind::Transient);
            self.fetch_one(object.ok_or_else(gone)?, &into.join(&file.path)).await?;
        }
        Ok(())
    }

    async fn usage(&self, ran: &Ran) -> Result<Vec<PodUse>> {
        let mut objects = Vec::new();
        for object in self.objects(&format!("{}/", RunPaths::new(&ran.run).events())).await? {
            objects.push((object.name.clone(), self.read(&object).await?));
        }
        Ok(of_objects(objects, ran))
    }
}

/// In the bucket.
fn key(path: &str) -> String {
    format!("{VOLUME_FOLDER}/{path}")
}

fn is_it(object: &ObjectSeen, file: &StagedFile) -> bool {
    object.sha256.as_ref() == Some(&file.sha256) && object.bytes == file.bytes
}

/// None: an object whose name is no path of a file below the folder.
fn result(object: &ObjectSeen) -> Option<ResultFile> {
    let path = object.name.strip_prefix(VOLUME_FOLDER)?.strip_prefix('/')?;
    let is_plain = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let content = object.generation.clone();
    is_plain.then(|| ResultFile { path: path.to_owned(), bytes: object.bytes, content })
}

/// A deployment's cluster, and the bucket that is its volume, if one is.
pub type Deployed<C> = WithBucket<C, BucketVolume>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_no_file_is_not_fetched() {
        let object = |name: &str| ObjectSeen {
            name: name.to_owned(),
            bytes: 1,
            generation: "7".into(),
            crc32c: String::new(),
            sha256: None,
        };
        let path = |name: &str| result(&object(name)).map(|file| file.path);
        assert_eq!(path("volume/output/report.txt").as_deref(), Some("output/report.txt"));
        for name in ["volume/output/", "volume/output/../../x", "volumes/output/x", "volume/output//x"] {
            assert_eq!(path(name), None, "{name}");
        }
    }
}
