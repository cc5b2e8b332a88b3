//! What tests on a kind cluster share: whether they can run here, and what they left.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Command;

use crate::command::{run, transcript};

/// What a kind cluster takes that is not here.
pub fn missing() -> Option<String> {
    for (program, arguments) in [("docker", ["info"]), ("kind", ["version"])] {
        match Command::new(program).args(arguments).output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                return Some(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()));
            }
            Err(error) => return Some(format!("{program}: {error}")),
        }
    }
    None
}

/// How many seeds to run, or why there is no Kubernetes to be had here.
///
/// # Errors
/// Where none were asked for, or what they need is not here.
pub fn seeds() -> Result<u64, String> {
    let asked = std::env::var("KIND_SEEDS").map_err(|_| "KIND_SEEDS is not set".to_owned())?;
    let seeds = asked.parse().map_err(|_| format!("KIND_SEEDS={asked} is no number"))?;
    missing().map_or(Ok(seeds), Err)
}

/// Straight to the terminal: the harness hides what a test prints that passes.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Containers, networks and images that carry the cluster's name or our label.
pub fn left(cluster: &str) -> BTreeSet<String> {
    let name = format!("name={cluster}");
    let mut left = ask(&["ps", "--all", "--filter", &name, "--format", "{{.Names}}"]);
    left.extend(ask(&["network", "ls", "--filter", &name, "--format", "{{.Name}}"]));
    let images =
        ask(&["images", "--filter", "label=batch.image=built", "--format", "{{.Repository}}:{{.Tag}}"]);
    for image in images {
        // One that another cluster's container runs is not ours to remove.
        let users = format!("ancestor={image}");
        if ask(&["ps", "--all", "--quiet", "--filter", &users]).is_empty() {
            left.push(image);
        }
    }
    left.into_iter().collect()
}

fn ask(arguments: &[&str]) -> Vec<String> {
    let output = run("docker", arguments);
    assert!(output.status.success(), "{}", transcript(&output));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}
