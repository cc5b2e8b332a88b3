//! A bucket of Cloud Storage: its JSON API, and of its XML API the uploads in parts that were not ended.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hyper::HeaderMap;
use serde_json::{Value, json};

use super::reply::Reply;

/// Objects in an answer.
const PAGE: usize = 3;

/// A generation of an object.
#[derive(Clone, Debug)]
pub struct Stored {
    pub bytes: Vec<u8>,
    pub metadata: Value,
    /// The newest of its name.
    pub is_live: bool,
    /// Under a retention policy or a hold.
    pub is_held: bool,
}

/// An upload that has begun.
#[derive(Clone, Debug)]
struct Session {
    name: String,
    metadata: Value,
    replaces: Option<u64>,
    bytes: Vec<u8>,
}

/// A bucket with what is in it.
#[derive(Clone, Debug, Default)]
pub struct Bucket {
    pub resource: Value,
    /// By role.
    pub policy: BTreeMap<String, BTreeSet<String>>,
    policies: u64,
    /// By name and generation.
    pub objects: BTreeMap<(String, u64), Stored>,
    /// Uploads in parts: keys by id.
    pub uploads: BTreeMap<String, String>,
    sessions: BTreeMap<String, Session>,
    generations: u64,
}

/// A request.
#[derive(Debug)]
pub struct Asked<'a> {
    pub method: &'a str,
    pub query: &'a [(String, String)],
    pub body: &'a Value,
    pub raw: &'a Bytes,
    pub headers: &'a HeaderMap,
}

impl Asked<'_> {
    pub fn of(&self, name: &str) -> &str {
        self.query.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// As this API says it: without a canonical code.
pub fn error(status: u16, message: &str) -> Reply {
    let body = json!({"error": {"code": status, "message": message, "errors": [{"message": message}]}});
    Reply { status, ..Reply::ok(body) }
}

fn decoded(part: &str) -> String {
    let query = format!("a={}", part.replace('+', "%2B").replace('&', "%26"));
    url::form_urlencoded::parse(query.as_bytes())
        .next()
        .map(|(_, name)| name.into_owned())
        .unwrap_or_default()
}

impl Bucket {
    /// An empty one.
    pub fn new(resource: Value) -> Self {
        Self { resource, ..Self::default() }
    }

    /// Puts an object there, as a worker does.
    pub fn put(&mut self, name: &str, bytes: &[u8], metadata: Value) -> u64 {
        self.generations += 1;
        let keeps = self.resource["versioning"]["enabled"] == true;
        self.objects.retain(|(other, _), _| other != name || keeps);
        self.objects
            .iter_mut()
            .filter(|((other, _), _)| other == name)
            .for_each(|(_, old)| old.is_live = false);
        let stored = Stored { bytes: bytes.to_vec(), metadata, is_live: true, is_held: false };
        self.objects.insert((name.to_owned(), self.generations), stored);
        self.generations
    }

    fn live(&self, name: &str) -> u64 {
        let live = self.objects.iter().find(|((other, _), stored)| other == name && stored.is_live);
        live.map_or(0, |((_, generation), _)| *generation)
    }

    /// The names of objects that are there.
    pub fn names(&self) -> BTreeSet<&str> {
        self.objects.keys().map(|(name, _)| name.as_str()).collect()
    }

    pub fn carry_out(&mut self, rest: &[&str], asked: &Asked<'_>) -> Reply {
        match (asked.method, rest) {
            ("GET", []) => Reply::ok(self.resource.clone()),
            ("PATCH", []) => {
                for (field, value) in asked.body.as_object().into_iter().flatten() {
                    self.resource[field] = value.clone();
                }
                Reply::ok(self.resource.clone())
            }
            ("GET", ["iam"]) => Reply::ok(self.shown_policy()),
            ("PUT", ["iam"]) => self.set_policy(asked.body),
            ("GET", ["o"]) => self.list(asked),
            ("GET", ["o", name]) => self.read(&decoded(name), asked),
            ("DELETE", ["o", name]) => self.delete(decoded(name), asked),
            ("POST", ["o"]) => self.begin(asked),
            ("PUT", ["o"]) => self.receive(asked),
            _ => error(404, "Not Found"),
        }
    }

    fn shown_policy(&self) -> Value {
        let binding =
            |(role, members): (&String, &BTreeSet<String>)| json!({"role": role, "members": members});
        let bindings: Vec<_> = self.policy.iter().map(binding).collect();
        json!({"bindings": bindings, "etag": format!("e{}", self.policies), "version": 1})
    }

    fn set_policy(&mut self, body: &Value) -> Reply {
        if body["etag"] != format!("e{}", self.policies) {
            return error(412, "Precondition Failed");
        }
        self.policies += 1;
        self.policy.clear();
        for binding in body["bindings"].as_array().into_iter().flatten() {
            let members = binding["members"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let role = binding["role"].as_str().unwrap_or_default().to_owned();
            self.policy.entry(role).or_default().extend(members.map(str::to_owned));
        }
        Reply::ok(self.shown_policy())
    }

    fn list(&self, asked: &Asked<'_>) -> Reply {
        let (prefix, versions) = (asked.of("prefix"), asked.of("versions") == "true");
        let token = asked.of("pageToken");
        if versions && token.is_empty() {
            // A page may have less than there is, or nothing.
            return Reply::ok(json!({"nextPageToken": "0 "}));
        }
        let after = token
            .split_once(' ')
            .and_then(|(generation, name)| Some((name.to_owned(), generation.parse::<u64>().ok()?)));
        let shown = self
            .objects
            .iter()
            .filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after))
            .filter(|((name, _), stored)| name.starts_with(prefix) && (versions || stored.is_live));
        let item = |((name, generation), stored): (&(String, u64), &Stored)| {
            let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &stored.bytes) as u32;
            json!({
                "name": name, "generation": generation.to_string(), "size": stored.bytes.len().to_string(),
                "metadata": stored.metadata, "crc32c": base64(sum.to_be_bytes()),
            })
        };
        let items: Vec<_> = shown.clone().take(PAGE).map(item).collect();
        let mut answer = json!({"items": items});
        if let (Some(((name, generation), _)), true) = (shown.clone().nth(PAGE - 1), shown.count() > PAGE) {
            answer["nextPageToken"] = json!(format!("{generation} {name}"));
        }
        Reply::ok(answer)
    }

    fn read(&self, name: &str, asked: &Asked<'_>) -> Reply {
        let generation = asked.of("generation").parse().unwrap_or_else(|_| self.live(name));
        let Some(stored) = self.objects.get(&(name.to_owned(), generation)) else {
            return error(404, &format!("No such object: {name}"));
        };
        let range = asked.header("range").strip_prefix("bytes=").and_then(|range| range.split_once('-'));
        let range =
            range.and_then(|(from, to)| Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()?)));
        match range {
            Some((from, to)) => match stored.bytes.get(from..stored.bytes.len().min(to + 1)) {
                Some(bytes) => Reply { status: 206, ..Reply::text(bytes) },
                None => error(416, "Requested range not satisfiable"),
            },
            None => Reply::text(stored.bytes.clone()),
        }
    }

    fn delete(&mut self, name: String, asked: &Asked<'_>) -> Reply {
        let generation = asked.of("generation").parse().unwrap_or_else(|_| self.live(&name));
        let key = (name, generation);
        match self.objects.get(&key) {
            Some(stored) if stored.is_held => {
                let why = "is subject to bucket's retention policy or object retention and cannot be deleted";
                error(403, &format!("Object '{}' {why} or overwritten until 2027-01-01T00:00:00Z", key.0))
            }
            Some(_) => {
                self.objects.remove(&key);
                Reply::ok(Value::Null)
            }
            None => error(404, &format!("No such object: {}", key.0)),
        }
    }

    fn begin(&mut self, asked: &Asked<'_>) -> Reply {
        let id = format!("session-{}", self.sessions.len());
        let session = Session {
            name: asked.of("name").to_owned(),
            metadata: asked.body["metadata"].clone(),
            replaces: asked.of("ifGenerationMatch").parse().ok(),
            bytes: Vec::new(),
        };
        self.sessions.insert(id.clone(), session);
        let bucket = self.resource["name"].as_str().unwrap_or_default();
        let place =
            format!("http://elsewhere/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={id}");
        Reply::ok(Value::Null).with_header("location", place)
    }

    /// A piece of an upload, `bytes A-B/TOTAL`, or the question what has arrived, `bytes */TOTAL`.
    fn receive(&mut self, asked: &Asked<'_>) -> Reply {
        let Some(session) = self.sessions.get_mut(asked.of("upload_id")) else {
            return error(404, "Upload ID not found");
        };
        let range = asked.header("content-range").strip_prefix("bytes ").unwrap_or_default().to_owned();
        let (range, total) = range.split_once('/').unwrap_or_default();
        if let Some((from, _)) = range.split_once('-')
            && from.parse() == Ok(session.bytes.len())
        {
            session.bytes.extend_from_slice(asked.raw);
        }
        let arrived = session.bytes.len();
        if total.parse() != Ok(arrived) {
            let some = Reply { status: 308, ..Reply::text("") };
            return if arrived == 0 {
                some
            } else {
                some.with_header("range", format!("bytes=0-{}", arrived - 1))
            };
        }
        let Session { name, metadata, replaces, bytes } = session.clone();
        // Asked again of an upload that is whole, it says so again.
        let live = self.live(&name);
        let is_there = self.objects.get(&(name.clone(), live)).is_some_and(|stored| stored.bytes == bytes);
        if replaces.is_some_and(|replaces| replaces != live) && !is_there {
            return error(412, "At least one of the pre-conditions you specified did not hold.");
        }
        let generation = if is_there { live } else { self.put(&name, &bytes, metadata) };
        Reply::ok(json!({"name": name, "generation": generation.to_string()}))
    }

    pub fn of_xml(&mut self, key: &str, asked: &Asked<'_>) -> Reply {
        match asked.method {
            "GET" if asked.query.iter().any(|(name, _)| name == "uploads") => {
                let upload = |(id, key): (&String, &String)| {
                    let key = key.replace('&', "&amp;");
                    format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId></Upload>")
                };
                let uploads: String = self.uploads.iter().map(upload).collect();
                let head = "<?xml version='1.0' encoding='UTF-8'?>";
                Reply::text(format!(
                    "{head}<ListMultipartUploadsResult>{uploads}</ListMultipartUploadsResult>"
                ))
            }
            "DELETE" => {
                let id = asked.of("uploadId");
                match self.uploads.get(id).is_some_and(|of| *of == decoded(key)) {
                    true => {
                        self.uploads.remove(id);
                        Reply::text("")
                    }
                    false => error(404, "NoSuchUpload"),
                }
            }
            _ => error(404, "Not Found"),
        }
    }
}

fn base64(bytes: [u8; 4]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
