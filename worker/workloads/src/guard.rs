//! A process between a worker and its program: nothing that the program starts survives the worker, however that
//! ends, and nothing survives the program's own end.
//!
//! The worker starts this program again as `guard <scratch> <program> …` and holds the other end of its standard
//! input: a byte asks for SIGTERM to the program's process group, the end of input (the worker has closed it, or is
//! gone) for SIGKILL. What the program left running is killed once it has ended; as the subreaper of its
//! descendants the guard also finds the ones that left the group. Where the worker died, the guard removes the
//! attempt's folder, and what else the worker kept in scratch.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};

use crate::exec::scratch::remove_if_dead;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// The hidden subcommand's name.
pub const GUARD: &str = "guard";
/// The program could not be started: codes of their own, as shells have them.
pub const NOT_STARTED: u8 = 126;
pub const NOT_FOUND: u8 = 127;
/// The exit code of a program that a signal ended is this plus the signal's number, as in shells.
pub const SIGNALLED: u8 = 128;
/// Asks the guard for SIGTERM.
pub const TERMINATE: u8 = b't';

/// The variable with the number of the descriptor that metrics are written to.
pub const METRICS: &str = "BATCH_METRICS_FD";
/// The lowest descriptor behind the standard ones.
const LOWEST: i32 = 3;

enum Message {
    Terminate,
    /// The worker has closed the guard's input, or is gone.
    Closed,
    Ended(std::io::Result<ExitStatus>),
}

/// A guarded program, to be started with a standard input that stays open.
///
/// # Errors
/// Where the system does not tell which file this program is.
pub fn command(scratch: &Path, program: &str) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    // The terminal's Ctrl-C is the worker's to act on.
    command.arg(GUARD).arg(scratch).arg(program).process_group(0);
    Ok(command)
}

/// Runs `guard <scratch> <program> …`; `None` where the arguments are not those of a guard.
pub fn main(args: &[OsString]) -> Option<ExitCode> {
    let [_, guard, scratch, program, rest @ ..] = args else { return None };
    if guard != GUARD {
        return None;
    }
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_child_subreaper(true);
    let mut command = Command::new(program);
    command.args(rest).stdin(Stdio::null()).process_group(0);
    let _kept = renumber(&mut command);
    let started = command.spawn();
    let child = match started {
        Ok(child) => child,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "failed to start {}: {error}", program.display());
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            return Some(ExitCode::from(if missing { NOT_FOUND } else { NOT_STARTED }));
        }
    };
    Some(ExitCode::from(watch(child, Path::new(scratch))))
}

/// Gives the descriptor for metrics that this process inherited a number of one digit: a shell writes to no other.
fn renumber(command: &mut Command) -> Option<File> {
    let number = std::env::var(METRICS).ok()?;
    // Without /dev/fd the program has the number that the worker gave it.
    let file = File::options().write(true).open(format!("/dev/fd/{number}")).ok()?;
    let low = fcntl(&file, FcntlArg::F_DUPFD(LOWEST)).ok()?;
    command.env(METRICS, low.to_string());
    Some(file)
}

/// Waits for the program's end, and for the worker's; returns the exit code to tell.
fn watch(child: Child, scratch: &Path) -> u8 {
    let group = Pid::from_raw(child.id().cast_signed());
    let (sender, messages) = channel();
    listen(sender.clone());
    wait(child, sender);
    let mut is_orphan = false;
    let code = loop {
        match messages.recv() {
            Ok(Message::Terminate) => {
                let _ = killpg(group, Signal::SIGTERM);
            }
            Ok(Message::Closed) => {
                is_orphan = true;
                let _ = killpg(group, Signal::SIGKILL);
            }
            Ok(Message::Ended(status)) => break code_of(status),
            Err(_) => break NOT_STARTED,
        }
    };
    let _ = killpg(group, Signal::SIGKILL);
    kill_descendants();
    if is_orphan {
        let _ = std::fs::remove_dir_all(scratch);
        // A worker that lives on has closed the input to kill its program, and holds its lock.
        scratch.parent().into_iter().for_each(remove_if_dead);
    }
    code
}

/// Reads what the worker asks for.
fn listen(sender: Sender<Message>) {
    std::thread::spawn(move || {
        let mut byte = [0];
        while let Ok(1) = std::io::stdin().read(&mut byte) {
            if byte[0] == TERMINATE && sender.send(Message::Terminate).is_err() {
                return;
            }
        }
        let _ = sender.send(Message::Closed);
    });
}

fn wait(mut child: Child, sender: Sender<Message>) {
    std::thread::spawn(move || {
        let _ = sender.send(Message::Ended(child.wait()));
    });
}

fn code_of(status: std::io::Result<ExitStatus>) -> u8 {
    let Ok(status) = status else { return NOT_STARTED };
    let number = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, signal) => i32::from(SIGNALLED) + signal.unwrap_or_default(),
    };
    u8::try_from(number).unwrap_or(u8::MAX)
}

/// Kills and reaps what the program has left: orphans become children of their subreaper.
#[cfg(target_os = "linux")]
fn kill_descendants() {
    /// Rounds, at most: each reaps what the one before orphaned.
    const ROUNDS_MAX: u32 = 1_000;
    let children = format!("/proc/self/task/{}/children", std::process::id());
    for _ in 0..ROUNDS_MAX {
        let left = std::fs::read_to_string(&children).unwrap_or_default();
        let left: Vec<i32> = left.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        if left.is_empty() {
            return;
        }
        for pid in left {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            let _ = nix::sys::wait::waitpid(Pid::from_raw(pid), None);
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn kill_descendants() {}
