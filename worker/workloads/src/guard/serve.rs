//! The guard's own side: a process that starts one program after the other for its worker.

use std::ffi::OsString;
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::{
    DESCRIPTORS, GUARD, KILL, METRICS, NOT_FOUND, NOT_STARTED, Request, SIGNALLED, START, TERMINATE,
};
use crate::exec::scratch::remove_if_dead;

/// How often the program's end is looked for where the system has no descriptor for it.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// Runs `guard <scratch>`; `None` where the arguments are not those of a guard.
pub fn main(args: &[OsString]) -> Option<ExitCode> {
    let [_, guard, scratch] = args else { return None };
    if guard != GUARD {
        return None;
    }
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_child_subreaper(true);
    // A copy that no program inherits.
    let Ok(control) = std::io::stdin().as_fd().try_clone_to_owned() else { return Some(ExitCode::FAILURE) };
    let control = UnixStream::from(control);
    while let Some((request, descriptors)) = next_request(&control) {
        let code = run(&control, request, descriptors);
        if (&control).write_all(&[code]).is_err() {
            break;
        }
    }
    // A worker that lives on holds its lock. One that died lost it first: it is the older descriptor.
    remove_if_dead(Path::new(scratch));
    Some(ExitCode::SUCCESS)
}

/// Waits for the next program to start; `None` where the worker has closed the socket, or is gone.
pub(super) fn next_request(mut control: &UnixStream) -> Option<(Request, Vec<OwnedFd>)> {
    let descriptors = loop {
        let (byte, descriptors) = next_byte(control)?;
        // What asks for a signal came too late for the last program.
        if byte == START {
            break descriptors;
        }
    };
    let mut length = [0; 4];
    control.read_exact(&mut length).ok()?;
    let mut request = vec![0; u32::from_le_bytes(length) as usize];
    control.read_exact(&mut request).ok()?;
    Some((serde_json::from_slice(&request).ok()?, descriptors))
}

/// One byte, with the descriptors that came with it.
fn next_byte(control: &UnixStream) -> Option<(u8, Vec<OwnedFd>)> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(&mut byte)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::io::retry_on_intr(|| recvmsg(control, &mut into, &mut beside, flags)).ok()?;
    let mut descriptors = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = message {
            descriptors.extend(sent);
        }
    }
    (received.bytes == 1).then_some((byte[0], descriptors))
}

/// Runs a program to its end; returns the exit code to tell.
fn run(control: &UnixStream, request: Request, descriptors: Vec<OwnedFd>) -> u8 {
    let Ok([out, errors, metrics]) = <[OwnedFd; DESCRIPTORS]>::try_from(descriptors) else {
        return NOT_STARTED;
    };
    let Ok(told) = errors.try_clone() else { return NOT_STARTED };
    let mut command = Command::new(&request.program);
    command
        .args(&request.arguments)
        .envs(request.environment)
        .env(METRICS, metrics.as_raw_fd().to_string())
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(errors)
        .process_group(0);
    // The program inherits it. Its number has one digit, as this process has few: a shell writes to no other.
    let _ = fcntl_setfd(&metrics, FdFlags::empty());
    let started = command.spawn();
    match started {
        Ok(child) => {
            // The only ends left are the program's: the worker sees where it closes them.
            drop((command, metrics, told));
            watch(child, control)
        }
        Err(error) => {
            let mut told = std::fs::File::from(told);
            let _ = writeln!(told, "failed to start {}: {error}", request.program);
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            if missing { NOT_FOUND } else { NOT_STARTED }
        }
    }
}

/// Waits for the program's end, passing on signals that the worker asks for; then kills what it left.
fn watch(mut child: Child, control: &UnixStream) -> u8 {
    let group = Pid::from_raw(child.id().cast_signed());
    let end = end_of(&child);
    let mut worker = Some(control);
    let status = loop {
        match wait(worker, end.as_ref().map(AsFd::as_fd)) {
            Event::Asked(TERMINATE) => {
                let _ = killpg(group, Signal::SIGTERM);
            }
            Event::Asked(KILL) => {
                let _ = killpg(group, Signal::SIGKILL);
            }
            Event::Asked(_) => {}
            Event::Closed => {
                worker = None;
                let _ = killpg(group, Signal::SIGKILL);
            }
            Event::Ended => {
                // Before it is reaped: until then the group's number is no other's.
                let _ = killpg(group, Signal::SIGKILL);
                break child.wait();
            }
            Event::Look => {
                if let Ok(Some(status)) = child.try_wait() {
                    let _ = killpg(group, Signal::SIGKILL);
                    break Ok(status);
                }
            }
        }
    };
    kill_descendants();
    code_of(status)
}

enum Event {
    /// The worker asks for a signal.
    Asked(u8),
    /// The worker has closed the socket, or is gone.
    Closed,
    /// The program has ended, and is not reaped.
    Ended,
    /// It may have: the system tells nothing.
    Look,
}

/// Waits for what happens next.
fn wait(worker: Option<&UnixStream>, end: Option<BorrowedFd<'_>>) -> Event {
    let mut on: Vec<PollFd<'_>> = Vec::new();
    on.extend(end.map(|end| PollFd::from_borrowed_fd(end, PollFlags::IN)));
    on.extend(worker.map(|worker| PollFd::new(worker, PollFlags::IN)));
    let found = poll(&mut on, end.is_none().then_some(&LOOK));
    let is_ready = |at: usize| found.is_ok() && on.get(at).is_some_and(|on| !on.revents().is_empty());
    if end.is_some() && is_ready(0) {
        return Event::Ended;
    }
    match worker {
        Some(worker) if is_ready(on.len() - 1) => {
            next_byte(worker).map_or(Event::Closed, |(byte, _)| Event::Asked(byte))
        }
        _ => Event::Look,
    }
}

/// A descriptor that is readable once the process has ended.
#[cfg(target_os = "linux")]
fn end_of(child: &Child) -> Option<OwnedFd> {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    pidfd_open(Pid::from_child(child), PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
fn end_of(_: &Child) -> Option<OwnedFd> {
    None
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
        // Most programs leave nothing, and this says so at once.
        if waitpid(None, Some(WaitPidFlag::WNOHANG)) == Err(Errno::ECHILD) {
            return;
        }
        let left = std::fs::read_to_string(&children).unwrap_or_default();
        for pid in left.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            let _ = waitpid(Pid::from_raw(pid), None);
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn kill_descendants() {
    // What stayed in the group is killed; reap it.
    while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|status| status.pid().is_some()) {}
}
