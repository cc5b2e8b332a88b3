//! Volumes that commits cannot be made on: refused at the start, with a hint how to go on.

#![expect(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use tests::command::{run, transcript, write_volume};

const SIM: &str = env!("CARGO_BIN_EXE_sim-under-test");

/// The answer of a program that this machine may not have; said aloud where it is missing or fails.
fn tool(command: &mut Command, needs: &str) -> Option<Output> {
    match command.output() {
        Ok(output) if output.status.success() => Some(output),
        answer => {
            let _ = writeln!(std::io::stderr(), "SKIPPED, {needs}: {answer:?}");
            None
        }
    }
}

fn pushed(volume: &Path) {
    write_volume(volume);
    let volume = volume.to_str().unwrap();
    let push = ["worker", "push", "--volume", volume, "datasets/training/2018-04-01.parquet"];
    assert!(run(SIM, &push).status.success());
}

/// Compares with a snapshot what the worker printed, the log's lines left out.
fn see(name: &str, output: &Output, volume: &Path) {
    let text = transcript(output).replace(volume.to_str().unwrap(), "VOLUME");
    insta::with_settings!({filters => [
        (r"probe-[0-9a-f]{32}", "probe-NONCE"),
        (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "SESSION"),
    ]}, { insta::assert_snapshot!(name, text) });
}

fn committed(volume: &Path) -> usize {
    fs::read_dir(volume.join("runs/1/manifest")).map_or(0, Iterator::count)
}

#[test]
fn a_file_system_without_hard_links_is_refused() {
    if tool(Command::new("strace").arg("--version"), "answering for the kernel needs strace").is_none() {
        return;
    }
    let volume = tempfile::tempdir().unwrap();
    pushed(volume.path());
    let mut command = Command::new("strace");
    // As vfat and exfat answer link(2).
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=link,linkat:error=EPERM", SIM]);
    command.args(["worker", "run", "--volume"]).arg(volume.path());
    let output = command.output().unwrap();
    see("no_hard_links", &output, volume.path());
    assert_eq!(committed(volume.path()), 0);
}

/// A file system mounted where attempts are written, unmounted when dropped.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn attempts_on_another_file_system_are_refused() {
    let volume = tempfile::tempdir().unwrap();
    pushed(volume.path());
    let attempts = volume.path().join("runs/1/attempts");
    fs::create_dir_all(&attempts).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "tmpfs"]).arg(&attempts);
    if tool(&mut mount, "mounting a tmpfs needs root").is_none() {
        return;
    }
    let mounted = Mounted(&attempts);
    let arguments = ["worker", "run", "--volume", volume.path().to_str().unwrap()];
    let output = run(SIM, &arguments);
    drop(mounted);
    see("another_file_system", &output, volume.path());
    assert_eq!(committed(volume.path()), 0);
}
