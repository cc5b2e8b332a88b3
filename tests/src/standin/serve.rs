//! The server: one listener an API, since several of them share paths.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cloud::gke::gcp::Settings;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use super::enums::{named, numbered};
use super::faults::Fault;
use super::project::{Api, Project, Recorded};
use super::registry;
use super::reply::Reply;

/// Projects by their id.
type Projects = Arc<Mutex<BTreeMap<String, Project>>>;

/// A running stand-in. Its tasks end with the runtime that it was started in.
#[derive(Clone, Debug)]
pub struct Standin {
    projects: Projects,
    settings: Settings,
    /// Where Application Default Credentials get tokens.
    pub token_uri: String,
    /// Host and port that images are pushed to.
    pub images: String,
}

/// What listens at an address.
#[derive(Clone, Copy, Debug)]
enum Door {
    Api(Api),
    Token,
    Images,
}

impl Standin {
    /// Listens on loopback.
    pub async fn start() -> std::io::Result<Self> {
        let projects = Projects::default();
        let listen = async |door: Door| -> std::io::Result<String> {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let url = format!("http://{}", listener.local_addr()?);
            tokio::spawn(accept(listener, door, Arc::clone(&projects)));
            Ok(url)
        };
        let settings = Settings {
            container: listen(Door::Api(Api::Container)).await?,
            filestore: listen(Door::Api(Api::Filestore)).await?,
            services: listen(Door::Api(Api::Services)).await?,
            compute: listen(Door::Api(Api::Compute)).await?,
            artifacts: listen(Door::Api(Api::Artifacts)).await?,
            storage: listen(Door::Api(Api::Storage)).await?,
            billing: listen(Door::Api(Api::Billing)).await?,
        };
        let token_uri = format!("{}/token", listen(Door::Token).await?);
        let images = listen(Door::Images).await?.trim_start_matches("http://").to_owned();
        Ok(Self { projects, settings, token_uri, images })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The variables that point gcloud, and the deployer, here.
    pub fn variables(&self) -> Vec<(String, String)> {
        let Settings { container, filestore, services, compute, artifacts, storage, billing } =
            &self.settings;
        let pairs = [
            ("CONTAINER", container.clone()),
            ("FILE", filestore.clone()),
            ("SERVICEUSAGE", services.clone()),
            ("COMPUTE", format!("{compute}/compute/v1")),
            ("ARTIFACTREGISTRY", artifacts.clone()),
            ("STORAGE", format!("{storage}/storage/v1")),
            ("CLOUDBILLING", billing.clone()),
        ];
        let name = |api: &str| format!("CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}");
        let apis = pairs.into_iter().map(|(api, url)| (name(api), format!("{url}/")));
        apis.chain([("CLOUD_IMAGE_HOST".to_owned(), self.images.clone())]).collect()
    }

    /// Adds a project.
    pub fn add(&self, project: Project) {
        self.lock().insert(project.id.clone(), project);
    }

    /// Looks at, or changes, a project. Panics if it was never added.
    pub fn with<T>(&self, id: &str, what: impl FnOnce(&mut Project) -> T) -> T {
        let mut projects = self.lock();
        what(projects.get_mut(id).expect("a project that was added"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Project>> {
        self.projects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, door: Door, projects: Projects) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream, door, Arc::clone(&projects)));
    }
}

async fn connection(stream: TcpStream, door: Door, projects: Projects) {
    let service = service_fn(move |request| {
        let projects = Arc::clone(&projects);
        async move { answer(request, door, &projects).await }
    });
    // An error is a client that went away, or a connection that we cut.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Ends the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("cut")]
struct Cut;

async fn answer(
    request: Request<Incoming>,
    door: Door,
    projects: &Projects,
) -> Result<Response<Full<Bytes>>, Cut> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let api = match door {
        Door::Api(api) => api,
        Door::Token => return Ok(token()),
        Door::Images => return Ok(image_pushed(&parts, &body, projects)),
    };
    if !has_length(&parts) {
        return Ok(respond(411, "<html><title>Error 411 (Length Required)!!1</title></html>"));
    }
    let raw = body;
    let body = serde_json::from_slice(&raw).map(named).unwrap_or_default();
    let path = parts.uri.path().to_owned();
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect();
    let in_numbers = query.iter().any(|(key, value)| key == "$alt" && value.contains("enum-encoding=int"));
    let (method, headers) = (parts.method.as_str(), &parts.headers);
    let asked = Asked { api, method, path: &path, query: &query, body: &body, raw: &raw, headers };
    let authorized = parts.headers.contains_key("authorization");
    let counted = parts.headers.get("x-goog-user-project").and_then(|project| project.to_str().ok());
    let done = {
        let mut projects = projects.lock().unwrap_or_else(PoisonError::into_inner);
        match (asked.project(&projects), authorized) {
            (Some(id), true) => projects.get_mut(&id).map(|project| {
                project.counted_against.insert(counted.unwrap_or_default().to_owned());
                asked.carry_out(project)
            }),
            (Some(_), false) => {
                Some(Done::Reply(Reply::error(401, "UNAUTHENTICATED", "no credentials were given")))
            }
            (None, _) => None,
        }
    };
    let unknown = || {
        Done::Reply(match api {
            Api::Storage => super::bucket::error(404, "The specified bucket does not exist."),
            _ => Reply::error(403, "PERMISSION_DENIED", "Permission denied on the project"),
        })
    };
    match done.unwrap_or_else(unknown) {
        Done::Reply(reply) if in_numbers => Ok(respond(reply.status, numbered(reply.body).to_string())),
        Done::Reply(reply) => {
            let text = reply.text.unwrap_or_else(|| reply.body.to_string().into_bytes());
            let mut response = respond(reply.status, text);
            if let Some((name, value)) = reply.header
                && let Ok(value) = hyper::header::HeaderValue::from_str(&value)
            {
                response.headers_mut().insert(name, value);
            }
            Ok(response)
        }
        Done::Text(status, text) => Ok(respond(status, text)),
        Done::Cut => Err(Cut),
        Done::Silence => std::future::pending().await,
    }
}

/// Google's front end takes no POST that leaves open whether a body follows.
fn has_length(parts: &Parts) -> bool {
    let says = |header: &str| parts.headers.contains_key(header);
    parts.method != "POST" || says("content-length") || says("transfer-encoding")
}

/// One request of `docker push`.
fn image_pushed(parts: &Parts, body: &[u8], projects: &Projects) -> Response<Full<Bytes>> {
    let path = parts.uri.path().trim_matches('/').strip_prefix("v2").unwrap_or_default();
    let rest: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    if !parts.headers.contains_key("authorization") {
        return registry::challenge();
    }
    let Some(id) = rest.first() else { return registry::answer(200, &[]) };
    let query = parts.uri.query().unwrap_or_default();
    let digest = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "digest");
    let digest = digest.map(|(_, digest)| digest.into_owned());
    let asked = registry::Asked { method: &parts.method, rest: &rest, digest, body };
    let mut projects = projects.lock().unwrap_or_else(PoisonError::into_inner);
    projects.get_mut(*id).map_or_else(|| registry::answer(404, &[]), |project| project.push(&asked))
}

fn respond(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    response
        .headers_mut()
        .insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    response
}

fn token() -> Response<Full<Bytes>> {
    let body =
        serde_json::json!({"access_token": "from-the-stand-in", "expires_in": 3600, "token_type": "Bearer"});
    respond(200, body.to_string())
}

/// What becomes of a request.
enum Done {
    Reply(Reply),
    Text(u16, String),
    Cut,
    Silence,
}

struct Asked<'a> {
    api: Api,
    method: &'a str,
    path: &'a str,
    query: &'a [(String, String)],
    body: &'a Value,
    raw: &'a Bytes,
    headers: &'a hyper::HeaderMap,
}

impl Asked<'_> {
    /// Service Usage's operations are in no project's path: the one that began it is found. So is whose a bucket is.
    fn project(&self, projects: &BTreeMap<String, Project>) -> Option<String> {
        if self.api == Api::Storage {
            let named = self.query.iter().find(|(key, _)| key == "project").map(|(_, id)| id.clone());
            let bucket = super::storage::bucket_of(self.path);
            let owner = || projects.values().find(|project| project.buckets.contains_key(&bucket));
            return named.or_else(|| owner().map(|project| project.id.clone()));
        }
        // The catalogue is the same for all: whose call it is, no path says.
        if self.api == Api::Billing {
            return projects.keys().next().cloned();
        }
        let mut parts = self.path.split('/').skip_while(|part| *part != "projects").skip(1);
        if let Some(id) = parts.next() {
            return projects.contains_key(id).then(|| id.to_owned());
        }
        let operation = self.path.rsplit('/').next()?;
        let began =
            |project: &&Project| project.operations.get(operation).is_some_and(|o| o.api == Api::Services);
        projects.values().find(began).map(|project| project.id.clone())
    }

    fn carry_out(&self, project: &mut Project) -> Done {
        self.record(project);
        let matches = |rule: &super::Rule| {
            rule.times > 0 && rule.method == self.method && self.path.contains(rule.path)
        };
        if let Some(rule) = project.rules.iter_mut().find(|rule| matches(rule)) {
            rule.times -= 1;
            return Done::Text(rule.status, rule.body.clone());
        }
        let fault = project.fault();
        let reply = match fault.is_none_or(Fault::takes_effect) {
            true => self.route(project),
            false => Reply::ok(Value::Null),
        };
        match fault {
            None | Some(Fault::FailedOperation) => Done::Reply(reply),
            Some(fault) => self.spoil(fault, project),
        }
    }

    fn spoil(&self, fault: Fault, project: &Project) -> Done {
        let error = |status, code: &str| Done::Reply(Reply::error(status, code, "made to fail"));
        match fault {
            Fault::Unauthorized => error(401, "UNAUTHENTICATED"),
            Fault::Forbidden => error(403, "PERMISSION_DENIED"),
            Fault::NotFound => error(404, "NOT_FOUND"),
            Fault::Conflict if self.method == "POST" => error(409, "ALREADY_EXISTS"),
            Fault::Conflict => error(400, "FAILED_PRECONDITION"),
            Fault::TooMany => error(429, "RESOURCE_EXHAUSTED"),
            Fault::Internal { .. } => error(500, "INTERNAL"),
            Fault::Unavailable { .. } => error(503, "UNAVAILABLE"),
            Fault::BadGateway { .. } => Done::Text(502, "<html>bad gateway</html>".into()),
            Fault::Cut { .. } => Done::Cut,
            Fault::Slow { .. } => {
                project.clock.expire_limits();
                Done::Silence
            }
            Fault::Interrupt { .. } | Fault::FailedOperation => {
                project.interrupted.notify_one();
                Done::Silence
            }
        }
    }

    fn record(&self, project: &mut Project) {
        let shown = self.query.iter().filter(|(key, value)| !key.ends_with("alt") && !value.is_empty());
        let shown: Vec<_> = shown.map(|(key, value)| format!("{key}={value}")).collect();
        let target = if shown.is_empty() {
            self.path.to_owned()
        } else {
            format!("{}?{}", self.path, shown.join("&"))
        };
        project.recorded.push(Recorded { method: self.method.to_owned(), target, body: self.body.clone() });
    }

    fn route(&self, project: &mut Project) -> Reply {
        let host = self.api.host();
        if self.api != Api::Services && !project.apis.contains(host) {
            return Reply::api_disabled(host, &project.id);
        }
        let parts: Vec<_> = self.path.split('/').filter(|part| !part.is_empty()).collect();
        match (self.api, parts.as_slice()) {
            (Api::Services, ["v1", rest @ ..]) => project.services(self.method, rest, self.query, self.body),
            (Api::Compute, ["compute", "v1", "projects", _, rest @ ..]) => {
                project.compute(self.method, rest, self.query)
            }
            (Api::Container, ["v1", "projects", _, "locations", rest @ ..]) => {
                project.container(self.method, rest, self.body)
            }
            (Api::Filestore, ["v1", "projects", _, "locations", rest @ ..]) => {
                project.filestore(self.method, rest, self.query, self.body)
            }
            (Api::Billing, ["v1", "services", service, "skus"]) => project.catalog(service, self.query),
            (Api::Storage, parts) => {
                let asked = super::bucket::Asked {
                    method: self.method,
                    query: self.query,
                    body: self.body,
                    raw: self.raw,
                    headers: self.headers,
                };
                project.storage(parts, &asked)
            }
            (Api::Artifacts, ["v1", "projects", _, "locations", rest @ ..]) => {
                project.artifacts(self.method, rest, self.query, self.body)
            }
            _ => Reply::not_found(self.path),
        }
    }
}
