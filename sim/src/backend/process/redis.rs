//! A Redis server of the simulator's own: redis-server from the path, else one in a container. It
//! keeps its data in the run's folder and listens on a free port of the loopback.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getgid, getuid};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;
use worker::contract::Exit;
use worker::failure::Failure;

use super::child;

/// The image that a container engine runs.
const IMAGE: &str = "redis:7-bookworm";
/// What every Redis since 4 prints once it serves.
const READY: &str = "Ready to accept connections";
/// From its start to serving; an image may have to be pulled first.
const PATIENCE: Duration = Duration::from_secs(120);
/// Ports are chosen free and may be taken by another before Redis listens.
const TRIES: u32 = 3;

/// What to do without a server.
const HINT: &str = "use --queue sqlite, or a server that runs: --queue redis://HOST";

/// A failure of Redis's.
fn failed<E: std::fmt::Display>(doing: &str) -> impl FnOnce(E) -> Failure {
    Failure::when(Exit::Queue, doing)
}

#[derive(Debug)]
enum How {
    Program(PathBuf),
    Container(PathBuf),
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    how: How,
    exe: PathBuf,
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Starts a server whose data lies in `folder`.
    ///
    /// # Errors
    /// Where there is neither redis-server nor a container engine, or it does not come to serve.
    pub async fn start(exe: &Path, folder: &Path) -> Result<Self, Failure> {
        let how = find()?;
        let folder = std::path::absolute(folder).map_err(failed("find the folder for Redis's data"))?;
        std::fs::create_dir_all(&folder).map_err(failed("create the folder for Redis's data"))?;
        let mut server = Self { how, exe: exe.to_owned(), folder, port: 0, child: None };
        let mut last = None;
        for _ in 0..TRIES {
            server.port = free_port()?;
            match server.launch().await {
                Ok(()) => return Ok(server),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| failed("start Redis")("no port was tried")))
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// What serves, in a sentence.
    pub fn what(&self) -> String {
        match &self.how {
            How::Program(path) => format!("{} on port {}", path.display(), self.port),
            How::Container(engine) => format!("{IMAGE} by {} on port {}", engine.display(), self.port),
        }
    }

    /// SIGKILL: the server goes without notice.
    pub fn kill(&mut self) {
        let Some(child) = &mut self.child else { return };
        // In a container, the end of its input kills the server.
        drop(child.stdin.take());
        if let (How::Program(_), Some(pid)) = (&self.how, child.id().and_then(|pid| i32::try_from(pid).ok()))
        {
            // Its group: ESRCH if it has gone already.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Starts a killed server again on its port, with what it had written down or with nothing.
    ///
    /// # Errors
    /// Where its data cannot be removed, or it does not come to serve.
    pub async fn restart(&mut self, wipe: bool) -> Result<(), Failure> {
        self.stop().await;
        if wipe {
            std::fs::remove_dir_all(&self.folder).map_err(failed("remove Redis's data"))?;
            std::fs::create_dir_all(&self.folder).map_err(failed("create the folder for Redis's data"))?;
        }
        self.launch().await
    }

    /// Kills the server and waits for its end.
    pub async fn stop(&mut self) {
        self.kill();
        if let Some(mut child) = self.child.take() {
            // Its end was asked for; how it ended tells nothing.
            let _ = timeout(PATIENCE, child.wait()).await;
        }
    }

    async fn launch(&mut self) -> Result<(), Failure> {
        let mut child = self.command().spawn().map_err(failed("start Redis"))?;
        let out = child.stdout.take().ok_or_else(|| failed("start Redis")("it has no standard output"))?;
        let (tell, ready) = oneshot::channel();
        let log = self.folder.join("redis.log");
        tokio::spawn(async move { keep_log(out, &log, tell).await });
        self.child = Some(child);
        match timeout(PATIENCE, ready).await {
            Ok(Ok(())) => Ok(()),
            _ => {
                self.stop().await;
                let log = self.folder.join("redis.log");
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                let last = said.trim_end().lines().next_back().unwrap_or("it said nothing");
                Err(failed(&format!("start Redis ({})", self.what()))(last).hint(HINT))
            }
        }
    }

    fn command(&self) -> Command {
        let port = self.port.to_string();
        let mut command = match &self.how {
            How::Program(path) => {
                let mut args: Vec<OsString> = ["--bind", "127.0.0.1", "--port", &port].map(Into::into).into();
                args.extend(["--appendonly", "yes", "--save", "", "--dir"].map(OsString::from));
                args.push(self.folder.clone().into());
                child::program(&self.exe, path.as_os_str(), &args)
            }
            How::Container(engine) => {
                let user = format!("{}:{}", getuid(), getgid());
                let data = format!("{}:/data", self.folder.display());
                let publish = format!("127.0.0.1:{port}:6379");
                // The container's life hangs on its input, whose other end we hold.
                let script = "redis-server --appendonly yes --save '' & cat >/dev/null; kill -9 $!";
                let args = [
                    "run", "--rm", "-i", "--user", &user, "-v", &data, "-p", &publish, IMAGE, "sh", "-c",
                    script,
                ];
                child::program(&self.exe, engine.as_os_str(), &args.map(Into::into))
            }
        };
        command.stderr(std::process::Stdio::null());
        command
    }
}

/// Keeps what the server says, and tells when it serves.
async fn keep_log(out: tokio::process::ChildStdout, log: &Path, ready: oneshot::Sender<()>) {
    let mut ready = Some(ready);
    let mut lines = BufReader::new(out).lines();
    let options = tokio::fs::OpenOptions::new().create(true).append(true).open(log).await;
    let mut file = options.ok();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(file) = &mut file {
            // The log is for people who look: without it the server serves as well.
            let _ = file.write_all(format!("{line}\n").as_bytes()).await;
            let _ = file.flush().await;
        }
        if line.contains(READY)
            && let Some(ready) = ready.take()
        {
            // The receiver may have given up.
            let _ = ready.send(());
        }
    }
}

fn find() -> Result<How, Failure> {
    if let Some(program) = on_path("redis-server") {
        return Ok(How::Program(program));
    }
    if let Some(engine) = on_path("docker").or_else(|| on_path("podman")) {
        return Ok(How::Container(engine));
    }
    let failure = failed("start Redis")("neither redis-server nor docker nor podman is on the path");
    Err(failure.hint(format!("install Redis, or {HINT}")))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok() && file.is_file())
}

fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(failed("find a free port for Redis"))?;
    Ok(listener.local_addr().map_err(failed("find a free port for Redis"))?.port())
}
