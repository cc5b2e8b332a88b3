//! Names the commit that a release is built from, for `--version`. A development build names none, so that a commit
//! alone rebuilds nothing.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=BUILD_COMMIT");
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let given = env::var("BUILD_COMMIT").ok().filter(|commit| !commit.is_empty());
    let shown = match given.or_else(of_checkout) {
        Some(commit) => format!("{version} ({commit})"),
        None => version,
    };
    println!("cargo::rustc-env=SHOWN_VERSION={shown}");
}

/// The checkout's commit, where this is a release, git is here and the sources are a checkout.
fn of_checkout() -> Option<String> {
    if env::var("PROFILE").ok()? != "release" {
        return None;
    }
    // It changes with every commit; HEAD alone names a branch.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    println!("cargo::rerun-if-changed={log}");
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
