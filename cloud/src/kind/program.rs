//! Docker and kind, driven as programs: what they print is for people, what they return is for us.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::error::{Error, Result};

/// Runs a program and gives what it printed.
pub(crate) async fn run(program: &str, args: &[&str], doing: &str) -> Result<String> {
    run_in(program, args, None, &[], doing).await
}

/// The same for `docker`.
pub(crate) async fn docker(args: &[&str], doing: &str) -> Result<String> {
    run("docker", args, doing).await
}

/// The same in a folder and with further environment variables.
///
/// The program is in a process group of its own: Ctrl-C reaches only us, and we know what to undo.
/// It is killed with the future that waits for it.
pub(crate) async fn run_in(
    program: &str,
    args: &[&str],
    folder: Option<&Path>,
    env: &[(&str, &str)],
    doing: &str,
) -> Result<String> {
    run_with(program, args, folder, env, Stdio::null(), doing).await
}

/// The same with a standard input.
pub(crate) async fn run_with(
    program: &str,
    args: &[&str],
    folder: Option<&Path>,
    env: &[(&str, &str)],
    input: Stdio,
    doing: &str,
) -> Result<String> {
    let mut command = Command::new(program);
    command.args(args).envs(env.iter().copied()).stdin(input).process_group(0).kill_on_drop(true);
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    tracing::debug!(program, ?args, "run");
    let output = command.output().await.map_err(|error| not_started(program, doing, &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(explain(program, doing, last_lines(&said)))
}

fn not_started(program: &str, doing: &str, error: &std::io::Error) -> Error {
    if error.kind() != std::io::ErrorKind::NotFound {
        return Error::other(doing, format!("{program}: {error}"));
    }
    let hint = match program {
        "docker" => "install Docker (https://docs.docker.com/get-docker/) and start it",
        _ => "install kind 0.30 or newer (https://kind.sigs.k8s.io/docs/user/quick-start/#installation)",
    };
    Error::with_hint(doing, format!("there is no program `{program}` on the path"), hint)
}

fn explain(program: &str, doing: &str, said: String) -> Error {
    let lower = said.to_lowercase();
    let has = |part: &str| lower.contains(part);
    let hint = if has("permission denied") && has("docker") {
        "you may not use Docker: `sudo usermod -aG docker $USER`, then log in again"
    } else if has("cannot connect to the docker daemon") || has("is the docker daemon running") {
        "Docker is not running: start Docker Desktop, or `sudo systemctl start docker`"
    } else if has("no space left on device") {
        "the disk is full: `docker system df` shows what Docker holds, `docker system prune` frees what is unused"
    } else if has("pull access denied") || has("failed to pull image") || has("manifest unknown") {
        "the image is neither here nor in its registry; name another (for nodes: --node-image or SIM_NODE_IMAGE)"
    } else {
        return Error::other(doing, format!("{program} failed: {said}"));
    };
    Error::with_hint(doing, format!("{program} failed: {said}"), hint)
}

/// The end of what was said is where the reason is.
fn last_lines(said: &str) -> String {
    let lines: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(6)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::{explain, run};

    #[test]
    fn a_failure_tells_the_next_step() {
        let said = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock";
        let error = explain("docker", "look for clusters", said.to_owned());
        assert!(error.hint.as_deref().unwrap().contains("usermod"), "{error}");
        let said = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?";
        assert!(explain("docker", "look", said.to_owned()).hint.unwrap().contains("start Docker"));
    }

    #[tokio::test]
    async fn a_missing_program_is_named_with_where_to_get_it() {
        let error = run("kind-that-is-not-there", &["version"], "ask for kind's version").await.unwrap_err();
        assert!(error.to_string().contains("kind-that-is-not-there"), "{error}");
        assert!(error.hint.as_deref().unwrap().contains("https://kind.sigs.k8s.io"));
    }

    #[tokio::test]
    async fn the_reason_is_in_the_error() {
        let error = run("sh", &["-c", "echo useless; echo the reason >&2; exit 3"], "try").await.unwrap_err();
        assert!(error.to_string().contains("the reason"), "{error}");
    }
}
