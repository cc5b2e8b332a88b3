//! The end of a pipe that is read: what has come is taken, and nothing is waited for.

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read};

use rustix::event::{PollFd, PollFlags};

/// Reads at a time, at most: a program that writes without end does not keep the worker from its lease.
const READS_MAX: usize = 128;

#[derive(Debug)]
pub(super) struct Pipe {
    from: PipeReader,
    is_open: bool,
}

impl Pipe {
    /// A pipe, and the end that is written to.
    pub fn open() -> io::Result<(Self, PipeWriter)> {
        let (from, to) = io::pipe()?;
        rustix::io::ioctl_fionbio(&from, true)?;
        Ok((Self { from, is_open: true }, to))
    }

    /// What to wait for, until the other end is closed.
    pub fn readable(&self) -> Option<PollFd<'_>> {
        self.is_open.then(|| PollFd::new(&self.from, PollFlags::IN))
    }

    /// Hands on what has come since.
    pub fn read(&mut self, mut take: impl FnMut(&[u8])) {
        let mut buffer = [0; 8192];
        for _ in 0..READS_MAX {
            match self.from.read(&mut buffer) {
                Ok(0) => {
                    self.is_open = false;
                    return;
                }
                Ok(count) => take(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}
