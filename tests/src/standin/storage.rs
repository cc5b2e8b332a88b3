//! Cloud Storage's buckets.

use serde_json::{Value, json};

use super::bucket::{Asked, Bucket, error};
use super::project::Project;
use super::reply::Reply;

/// The bucket that a path is about; empty for none.
pub fn bucket_of(path: &str) -> String {
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    let name = match parts[..] {
        ["upload", "storage", "v1", "b", name, ..] | ["storage", "v1", "b", name, ..] => name,
        ["storage", ..] => "",
        [name, ..] => name,
        [] => "",
    };
    name.to_owned()
}

impl Project {
    /// `parts` is the path, split.
    pub fn storage(&mut self, parts: &[&str], asked: &Asked<'_>) -> Reply {
        match (asked.method, parts) {
            ("GET", ["storage", "v1", "b"]) if asked.of("softDeleted") == "true" => {
                Reply::ok(json!({"items": self.deleted_buckets}))
            }
            ("GET", ["storage", "v1", "b"]) => {
                let items: Vec<_> = self.buckets.values().map(|bucket| bucket.resource.clone()).collect();
                Reply::ok(json!({"items": items}))
            }
            ("POST", ["storage", "v1", "b"]) => self.create_bucket(asked.body),
            ("DELETE", ["storage", "v1", "b", name]) => match self.buckets.get(*name) {
                Some(bucket) if !bucket.objects.is_empty() || !bucket.uploads.is_empty() => {
                    error(409, "The bucket you tried to delete is not empty.")
                }
                Some(_) => {
                    let gone = self.buckets.remove(*name).map(|bucket| bucket.resource);
                    let kept =
                        |resource: &Value| resource["softDeletePolicy"]["retentionDurationSeconds"] != "0";
                    self.deleted_buckets.extend(gone.filter(kept).map(|mut resource| {
                        resource["hardDeleteTime"] = json!("2026-12-01T00:00:00Z");
                        resource
                    }));
                    Reply::ok(Value::Null)
                }
                None => error(404, "The specified bucket does not exist."),
            },
            (
                _,
                ["upload", "storage", "v1", "b", name, rest @ ..] | ["storage", "v1", "b", name, rest @ ..],
            ) => match self.buckets.get_mut(*name) {
                Some(bucket) => bucket.carry_out(rest, asked),
                None => error(404, "The specified bucket does not exist."),
            },
            (_, [name, key @ ..]) => match self.buckets.get_mut(*name) {
                Some(bucket) => bucket.of_xml(&key.join("/"), asked),
                None => error(404, "NoSuchBucket"),
            },
            _ => error(404, "Not Found"),
        }
    }

    fn create_bucket(&mut self, body: &Value) -> Reply {
        let name = body["name"].as_str().unwrap_or_default();
        if self.taken_names.contains(name) {
            return error(
                409,
                "The requested bucket name is not available. The bucket namespace is shared by all users.",
            );
        }
        if self.buckets.contains_key(name) {
            return error(
                409,
                "Your previous request to create the named bucket succeeded and you already own it.",
            );
        }
        let mut resource = body.clone();
        resource["location"] = json!(body["location"].as_str().unwrap_or_default().to_uppercase());
        resource["projectNumber"] = json!("123");
        resource["timeCreated"] = json!("2026-11-24T00:00:00Z");
        self.buckets.insert(name.to_owned(), Bucket::new(resource.clone()));
        Reply::ok(resource)
    }
}
