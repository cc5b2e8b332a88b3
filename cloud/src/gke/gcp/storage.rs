//! Cloud Storage: the bucket that holds a deployment's volume. What lies in it is in `objects.rs`.

use std::collections::BTreeSet;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Google;
use super::call::PAGES_MAX;
use super::observe::seconds;
use super::rest::{array, labels, path, text};
use crate::error::{Error, Kind, Result};
use crate::gke::plan::{BucketSeen, Desired, ROLE, is_ours};

/// How many objects are deleted beside each other.
const AT_ONCE: usize = 32;
/// How often a listing of uploads begins again, a thousand an answer.
const ROUNDS_MAX: usize = 100;

/// An upload in parts that was not ended: no listing of objects shows it, and it is billed.
#[derive(Debug, Deserialize)]
struct Upload {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "UploadId")]
    id: String,
}

#[derive(Debug, Deserialize)]
struct Uploads {
    #[serde(default, rename = "Upload")]
    uploads: Vec<Upload>,
}

impl Google {
    /// All buckets of the project.
    pub(super) async fn buckets(&self) -> Result<Vec<BucketSeen>> {
        self.listed_buckets(format!("list the buckets of project {}", self.project), "false").await
    }

    /// Buckets that were deleted, and that a policy keeps for a while.
    pub(super) async fn deleted_buckets(&self) -> Result<Vec<BucketSeen>> {
        let doing = format!("list the deleted buckets of project {}", self.project);
        let listed = self.listed_buckets(doing, "true").await?;
        Ok(listed.into_iter().filter(|seen| !seen.kept_until.is_empty()).collect())
    }

    async fn listed_buckets(&self, doing: String, deleted: &str) -> Result<Vec<BucketSeen>> {
        let query = [("project", self.project.as_str()), ("softDeleted", deleted)];
        let mut found = Vec::new();
        let take = |answer: &Value| found.extend(array(answer, "items").map(seen));
        self.pages(&self.storage, &doing, "/storage/v1/b", &query, PAGES_MAX, take).await?;
        Ok(found)
    }

    async fn bucket(&self, name: &str) -> Result<BucketSeen> {
        let doing = format!("look at bucket {name}");
        let path = path(&["storage", "v1", "b", name]);
        Ok(seen(&self.get(&self.storage, &doing, &path, &[]).await?))
    }

    /// Makes the bucket, which has no operation: it is there once that is answered.
    pub async fn create_bucket(&self, desired: &Desired) -> Result<()> {
        let name = desired.bucket_name();
        let doing = format!("create bucket {name} in {}", desired.region);
        let query = [("project", self.project.as_str())];
        let body = super::requests::bucket_request(desired);
        let sent = self.storage.send(&doing, Method::POST, "/storage/v1/b", &query, Some(&body));
        self.within_limit(&doing, sent).await.map(drop)
    }

    /// Gives a bucket back the settings that it was made with.
    pub async fn repair_bucket(&self, name: &str) -> Result<()> {
        let doing = format!("change the settings of bucket {name}");
        let mut body = super::requests::bucket_settings();
        body["versioning"] = json!({"enabled": false});
        let path = path(&["storage", "v1", "b", name]);
        let sent = self.storage.send(&doing, Method::PATCH, &path, &[], Some(&body));
        self.within_limit(&doing, sent).await.map(drop)
    }

    async fn policy(&self, bucket: &str) -> Result<Value> {
        let doing = format!("read who has access to bucket {bucket}");
        let path = path(&["storage", "v1", "b", bucket, "iam"]);
        self.get(&self.storage, &doing, &path, &[("optionsRequestedPolicyVersion", "3")]).await
    }

    /// Who may read and write objects of the bucket by its policy. None of a bucket that has just gone.
    pub(super) async fn users(&self, bucket: &str) -> Result<BTreeSet<String>> {
        let policy = match self.policy(bucket).await {
            Err(error) if error.kind == Kind::NotFound => return Ok(BTreeSet::new()),
            policy => policy?,
        };
        let of_role = |binding: &&Value| text(binding, "role") == ROLE && binding.get("condition").is_none();
        let bindings = array(&policy, "bindings").filter(of_role);
        let members = bindings.flat_map(|binding| array(binding, "members"));
        Ok(members.filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// Lets `member` read and write the bucket's objects. What else its policy says stays: it is replaced only if it is
    /// still what was read.
    pub async fn admit(&self, bucket: &str, member: &str) -> Result<()> {
        let doing = format!("let the pods use bucket {bucket}");
        let mut policy = self.policy(bucket).await?;
        let binding = json!({"role": ROLE, "members": [member]});
        match policy.get_mut("bindings").and_then(Value::as_array_mut) {
            Some(bindings) => bindings.push(binding),
            None => policy["bindings"] = json!([binding]),
        }
        let path = path(&["storage", "v1", "b", bucket, "iam"]);
        let sent = self.storage.send(&doing, Method::PUT, &path, &[], Some(&policy));
        self.within_limit(&doing, sent).await.map(drop)
    }

    /// Deletes a deployment's bucket with all that is in it: objects with their earlier versions, and uploads that were
    /// not ended. The object `first` goes before the others: it says of them that they are all there. Not there is
    /// success.
    pub async fn delete_bucket(
        &self,
        name: &str,
        deployment: &str,
        first: &str,
        tell: &mut dyn FnMut(&str),
    ) -> Result<()> {
        match self.empty_and_delete(name, deployment, first, tell).await {
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            done => done,
        }
    }

    async fn empty_and_delete(
        &self,
        name: &str,
        deployment: &str,
        first: &str,
        tell: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let seen = self.bucket(name).await?;
        // Since it was listed, it may have been deleted, and somebody else may have taken its name.
        if !is_ours(&seen.labels, deployment) {
            return Ok(());
        }
        self.forget_deleted(&seen, tell).await?;
        self.delete_objects(name, &self.objects(name, first).await?).await?;
        let (mut deleted, mut page) = (0, String::new());
        loop {
            let (objects, next) = self.versions(name, &page).await?;
            self.delete_objects(name, &objects).await?;
            deleted += objects.len();
            page = next;
            if page.is_empty() {
                break;
            }
            if !objects.is_empty() {
                tell(&format!("deleted {deleted} objects of bucket {name}"));
            }
        }
        self.abort_uploads(name).await?;
        let doing = format!("delete bucket {name}");
        let path = path(&["storage", "v1", "b", name]);
        let sent = self.storage.send(&doing, Method::DELETE, &path, &[], None);
        self.within_limit(&doing, sent).await.map(drop)
    }

    /// Has what is deleted from now on be gone at once: else it stays, and is billed.
    async fn forget_deleted(&self, seen: &BucketSeen, tell: &mut dyn FnMut(&str)) -> Result<()> {
        if seen.differences().is_empty() {
            return Ok(());
        }
        match self.repair_bucket(&seen.name).await {
            // Refused for good, as by a policy of the organisation's: once it is deleted, it bills as long as that keeps
            // it, and no longer.
            Err(error) if error.kind == Kind::Other && seen.soft_delete_s > 0 => {
                tell(&format!("failed to {error}; what is deleted is kept and billed for a while"));
                Ok(())
            }
            done => done,
        }
    }

    async fn delete_objects(&self, bucket: &str, objects: &[super::ObjectSeen]) -> Result<()> {
        use futures::stream::{StreamExt as _, TryStreamExt as _, iter};
        let deletions = objects.iter().map(|object| self.delete_object(bucket, object));
        iter(deletions).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// What only the XML API shows.
    async fn abort_uploads(&self, bucket: &str) -> Result<()> {
        let doing = format!("list uploads to bucket {bucket} that were not ended");
        for _ in 0..ROUNDS_MAX {
            let list = || self.storage.request(Method::GET, &path(&[bucket])).query(&[("uploads", "")]);
            let exchange = || self.storage.exchange(&doing, list());
            let (_, _, bytes) = self.read(async || self.within_limit(&doing, exchange()).await).await?;
            let listed: Uploads =
                quick_xml::de::from_reader(&*bytes).map_err(|error| Error::other(&doing, error))?;
            if listed.uploads.is_empty() {
                return Ok(());
            }
            for Upload { key, id } in listed.uploads {
                let doing = format!("abort an upload of {key} to bucket {bucket}");
                let abort = || {
                    let path = path(&[&[bucket], &key.split('/').collect::<Vec<_>>()[..]].concat());
                    self.storage.request(Method::DELETE, &path).query(&[("uploadId", &id)])
                };
                let exchange = || self.storage.exchange(&doing, abort());
                match self.read(async || self.within_limit(&doing, exchange()).await).await {
                    Err(error) if error.kind != Kind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Err(Error::other(doing, format!("there are still some after {ROUNDS_MAX} rounds")))
    }
}

fn seen(found: &Value) -> BucketSeen {
    let at = |pointer: &str| found.pointer(pointer);
    let is = |pointer: &str| at(pointer).and_then(Value::as_bool).unwrap_or(false);
    let seconds_of = |pointer: &str| at(pointer).and_then(Value::as_str).and_then(|text| text.parse().ok());
    BucketSeen {
        name: text(found, "name"),
        location: text(found, "location").to_lowercase(),
        labels: labels(found),
        created_s: seconds(&text(found, "timeCreated")),
        project_number: text(found, "projectNumber"),
        uniform_access: is("/iamConfiguration/uniformBucketLevelAccess/enabled"),
        public_prevented: at("/iamConfiguration/publicAccessPrevention") == Some(&json!("enforced")),
        soft_delete_s: seconds_of("/softDeletePolicy/retentionDurationSeconds").unwrap_or(0),
        versioned: is("/versioning/enabled"),
        kept_until: text(found, "hardDeleteTime"),
        users: None,
    }
}
