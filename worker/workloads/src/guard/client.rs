//! The worker's side: it starts a guard, asks it for programs, and reads how each ended.

use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::{DESCRIPTORS, GUARD, KILL, Request, START, TERMINATE};

/// Variables of the worker's own that may hold the queue's password.
const SECRETS: [&str; 2] = ["REDISCLI_AUTH", "WORKER_QUEUE"];

/// The guards that have no program at the moment: one, where a worker does one item at a time.
#[derive(Debug, Default)]
pub(crate) struct Guards(Mutex<Vec<Guard>>);

impl Guards {
    /// Starts a program under a guard; its process lasts for the programs after it.
    ///
    /// # Errors
    /// Where no guard can be started.
    pub fn run(
        &self,
        scratch: &Path,
        request: &Request,
        descriptors: [BorrowedFd<'_>; DESCRIPTORS],
    ) -> io::Result<Guard> {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // One that was killed takes no request.
        if let Some(guard) = idle.filter(|guard| send(&guard.control, request, descriptors).is_ok()) {
            return Ok(guard);
        }
        let guard = Guard::start(scratch)?;
        send(&guard.control, request, descriptors)?;
        Ok(guard)
    }

    /// Takes a guard back whose program has ended.
    pub fn give_back(&self, guard: Guard) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(guard);
    }
}

/// A guard process.
#[derive(Debug)]
pub(crate) struct Guard {
    process: Child,
    control: UnixStream,
}

impl Guard {
    fn start(scratch: &Path) -> io::Result<Self> {
        let (control, theirs) = UnixStream::pair()?;
        let mut command = Command::new(std::env::current_exe()?);
        for secret in SECRETS {
            command.env_remove(secret);
        }
        command
            .arg(GUARD)
            .arg(scratch)
            // The terminal's Ctrl-C is the worker's to act on.
            .process_group(0)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Self { process: command.spawn()?, control })
    }

    /// Asks for SIGTERM to the program.
    pub fn terminate(&self) {
        let _ = (&self.control).write_all(&[TERMINATE]);
    }

    /// Asks for SIGKILL to the program. Its code comes all the same.
    pub fn kill(&self) {
        let _ = (&self.control).write_all(&[KILL]);
    }

    /// Waits for the program's exit code, where [`AsFd`] is not readable yet.
    ///
    /// # Errors
    /// Where the guard itself is gone.
    pub fn code(&self) -> io::Result<u8> {
        let mut code = [0];
        (&self.control).read_exact(&mut code)?;
        Ok(code[0])
    }
}

/// Readable when the exit code is there.
impl AsFd for Guard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }
}

impl Drop for Guard {
    /// Once its socket is closed, the guard kills what it has and ends.
    fn drop(&mut self) {
        let _ = self.control.shutdown(std::net::Shutdown::Both);
        let _ = self.process.wait();
    }
}

/// Sends a request, and the descriptors with its first byte.
pub(super) fn send(
    control: &UnixStream,
    request: &Request,
    descriptors: [BorrowedFd<'_>; DESCRIPTORS],
) -> io::Result<()> {
    let request = serde_json::to_vec(request)?;
    let length = u32::try_from(request.len()).map_err(io::Error::other)?.to_le_bytes();
    let message = [&[START][..], &length, &request].concat();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    beside.push(SendAncillaryMessage::ScmRights(&descriptors));
    // Without a signal where the guard is gone.
    let sent = sendmsg(control, &[IoSlice::new(&message)], &mut beside, SendFlags::NOSIGNAL)?;
    (&*control).write_all(&message[sent..])
}
