//! S3 servers of the tests' own: moto from PyPI, which holds all in memory, and versitygw, which holds a folder and can
//! so be killed and started again. Gone when dropped, and however the tests die.

#![expect(clippy::disallowed_methods, reason = "waits for a real server by real time")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use crate::server::{cache, end, has, installed, needed, share, spawn};

/// Bound of every wait for a server; nothing is asserted of how long it takes.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const USER: &str = "tester";
pub const SECRET: &str = "tester-secret";
pub const REGION: &str = "us-east-1";

/// Set where a machine must have the server: its absence then fails the tests.
const REQUIRED_MOTO: &str = "TESTS_REQUIRE_MOTO";
const REQUIRED_VERSITYGW: &str = "TESTS_REQUIRE_VERSITYGW";
const MOTO: &str = "moto[s3,server]==5.2.5";
/// What is no S3 of Google's: it lets a second create of a name succeed.
const GCS_EMULATOR: &str = "gcp-storage-emulator==2026.7.19";

#[derive(Debug)]
pub struct Server {
    child: Child,
    command: Vec<String>,
    port: u16,
    /// What versitygw holds: a folder in it is a bucket.
    folder: Option<tempfile::TempDir>,
    buckets: AtomicU32,
}

static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());

impl Server {
    /// The server that tests share while any of them runs; `None`, said aloud, where there is none.
    pub fn shared() -> Option<Arc<Self>> {
        share(&SHARED, || needed(Self::moto(), "moto", REQUIRED_MOTO))
    }

    /// A server for one test, which keeps what it holds when it is killed and started again.
    pub fn durable() -> Option<Self> {
        needed(Self::of_versitygw(), "versitygw", REQUIRED_VERSITYGW)
    }

    /// An emulator of Google Cloud Storage that ignores preconditions.
    pub fn careless_gcs() -> Option<Self> {
        needed(Self::gcs_emulator(), "gcp-storage-emulator", REQUIRED_MOTO)
    }

    fn moto() -> Result<Self, String> {
        let program = installed("moto", MOTO, "moto_server")?;
        Self::start(None, |port| {
            [program.to_str().unwrap_or_default(), "-H", "127.0.0.1", "-p", port].map(str::to_owned).to_vec()
        })
    }

    fn gcs_emulator() -> Result<Self, String> {
        let program = installed("gcp-storage-emulator", GCS_EMULATOR, "gcp-storage-emulator")?;
        let program = program.to_str().unwrap_or_default();
        let command = |port: &str| {
            let arguments = [program, "start", "--host", "127.0.0.1", "--port", port, "--in-memory"];
            [&arguments[..], &["--default-bucket", "bucket"]]
                .concat()
                .into_iter()
                .map(str::to_owned)
                .collect()
        };
        Self::start(None, command)
    }

    fn of_versitygw() -> Result<Self, String> {
        let program = versitygw()?;
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = folder.path().to_str().unwrap_or_default().to_owned();
        let command = |port: &str| {
            let keys = ["--access", USER, "--secret", SECRET, "--region", REGION];
            let address = format!("127.0.0.1:{port}");
            let arguments = [&[program.as_str()], &keys[..], &["--port", &address, "posix", &path]].concat();
            arguments.into_iter().map(str::to_owned).collect()
        };
        Self::start(Some(folder), command)
    }

    fn start(
        folder: Option<tempfile::TempDir>,
        command: impl Fn(&str) -> Vec<String>,
    ) -> Result<Self, String> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.map_err(|error| error.to_string())?.port();
        let command = command(&port.to_string());
        let child = spawn(&command[0], &command[1..])?;
        let mut server = Self { child, command, port, folder, buckets: AtomicU32::new(0) };
        server.wait()?;
        Ok(server)
    }

    /// Until it answers; a process that has ended never will.
    fn wait(&mut self) -> Result<(), String> {
        let begin = Instant::now();
        while request(self.port, "GET", "/").is_none() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("{}: {status}", self.command[0]));
            }
            if begin.elapsed() > PATIENCE {
                return Err(format!("{} does not answer", self.command[0]));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A bucket that no one has used.
    pub fn fresh_bucket(&self) -> String {
        let name = format!("bucket-{}", self.buckets.fetch_add(1, Ordering::SeqCst));
        match &self.folder {
            Some(folder) => std::fs::create_dir(folder.path().join(&name)).expect("a new bucket"),
            // moto checks no signatures by default.
            None => assert_eq!(request(self.port, "PUT", &format!("/{name}")), Some(200), "make {name}"),
        }
        name
    }

    /// Kills the process by SIGKILL.
    pub fn kill(&mut self) {
        end(&mut self.child);
    }

    /// Starts it again, on the same port and folder.
    pub fn restart(&mut self) {
        self.child = spawn(&self.command[0], &self.command[1..]).expect("the server starts again");
        self.wait().expect("the server answers again");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// versitygw from the path, or from where `.ci/run` puts it.
///
/// # Errors
/// Where it is in neither place.
pub fn versitygw() -> Result<String, String> {
    let built = cache().join("versitygw-1.8.0/versitygw");
    let found = [Path::new("versitygw"), &built].into_iter().find(|program| has(program));
    let found = found.ok_or_else(|| format!("it is neither on the path nor {}", built.display()))?;
    Ok(found.to_string_lossy().into_owned())
}

/// The status of a request without a body; `None` where nobody answers.
fn request(port: u16, method: &str, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}
