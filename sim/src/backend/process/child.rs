//! Child processes that never outlive the simulator, however it ends.
//!
//! The simulator starts itself again as `sim child <its pid> …`. On Linux that asks the kernel for
//! SIGKILL at the parent's end (which a stopped process gets too) before it becomes what it is to
//! be; the wish survives exec. Elsewhere the worker watches its standard input, whose other end the
//! parent holds (`--stop-with-stdin`).

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ExitCode, Stdio};

use tokio::process::Command;
use worker::contract::Exit;
use worker::failure::Failure;

/// The hidden subcommand's name.
pub const CHILD: &str = "child";
/// What a child becomes: the worker of this program, or another program.
const WORKER: &str = "worker";
const EXEC: &str = "exec";

/// A worker of this very program, with the worker's own arguments.
pub fn worker(exe: &Path, args: Vec<OsString>) -> Command {
    let mut command = bound(exe);
    command.arg(WORKER).args(args);
    command
}

/// Another program.
pub fn program(exe: &Path, name: &std::ffi::OsStr, args: &[OsString]) -> Command {
    let mut command = bound(exe);
    command.arg(EXEC).arg(name).args(args);
    command
}

fn bound(exe: &Path) -> Command {
    let mut command = Command::new(exe);
    command
        .arg(CHILD)
        .arg(std::process::id().to_string())
        // A group of its own: the terminal's Ctrl-C is the simulator's to act on, and a signal to
        // the group reaches whatever the child starts. The session stays the same, so that the
        // kernel wakes a stopped child whose parent went.
        .process_group(0)
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// Runs `child <parent> worker …` or `child <parent> exec <program> …`; `None` where the arguments
/// are not those of a child.
pub fn main(args: &[OsString]) -> Option<ExitCode> {
    let [_, child, parent, what, rest @ ..] = args else { return None };
    if child != CHILD {
        return None;
    }
    let parent: u32 = parent.to_str()?.parse().ok()?;
    if !bind(parent) {
        return Some(ExitCode::FAILURE);
    }
    if what == WORKER {
        let args = [OsString::from(WORKER)].into_iter().chain(rest.iter().cloned());
        return Some(worker::cli::main(args));
    }
    if what != EXEC {
        return None;
    }
    let (program, args) = rest.split_first()?;
    let error = std::process::Command::new(program).args(args).exec();
    eprintln!("cannot start {}: {error}", program.to_string_lossy());
    Some(ExitCode::FAILURE)
}

/// Ties this process to its parent; false where the parent has gone already.
#[cfg(target_os = "linux")]
fn bind(parent: u32) -> bool {
    let tied = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
    // The parent may have gone before the wish was known: then another is our parent.
    tied.is_ok() && std::os::unix::process::parent_id() == parent
}

#[cfg(not(target_os = "linux"))]
fn bind(parent: u32) -> bool {
    std::os::unix::process::parent_id() == parent
}

/// This program's file.
///
/// # Errors
/// Where the system does not tell.
pub fn own_program() -> Result<std::path::PathBuf, Failure> {
    let doing = "find the simulator's own program to start workers from";
    std::env::current_exe().map_err(Failure::when(Exit::Failed, doing))
}
