//! A process between a worker and its programs: nothing that a program starts survives the worker, however that
//! ends, and nothing survives the program's own end.
//!
//! The worker executes itself again as `guard <scratch>`, once, and keeps the other end of a socket that is the guard's
//! standard input (`client.rs`). Over it the worker asks for one program after the other, with the ends of the pipes that
//! the program writes to, and is sent each exit code. `TERMINATE` asks for SIGTERM to the program's process
//! group. `KILL`, and the socket's end (the worker has closed it, or is gone), ask for SIGKILL. What the program left
//! running is killed once it has ended: as the subreaper of its descendants the guard also finds those outside the
//! group. Where the worker died, the guard removes what it kept in scratch (`serve.rs`).

mod client;
mod serve;

pub(crate) use client::{Guard, Guards};
pub use serve::main;

use serde::{Deserialize, Serialize};

/// The hidden subcommand's name.
const GUARD: &str = "guard";
/// The program could not be started: codes of their own, as shells have them.
pub const NOT_STARTED: u8 = 126;
pub const NOT_FOUND: u8 = 127;
/// The exit code of a program that a signal ended is this plus the signal's number, as in shells.
pub const SIGNALLED: u8 = 128;

/// Each message to the guard begins with one of these. [`START`] comes with the descriptors, the length of a
/// [`Request`] as four bytes, and the request as JSON.
const START: u8 = b's';
const TERMINATE: u8 = b't';
const KILL: u8 = b'k';

/// The variable with the number of the descriptor that metrics are written to.
pub const METRICS: &str = "BATCH_METRICS_FD";

/// Descriptors that a program writes to: its output, its errors, its metrics.
const DESCRIPTORS: usize = 3;

/// A program to start. It also has the environment that the guard itself was started with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub program: String,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_request_arrives_with_its_descriptors_and_signals_before_it_are_passed_over() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let long = "x".repeat(300_000);
        let sent = std::thread::spawn({
            let long = long.clone();
            move || {
                let (_from, to) = nix::unistd::pipe().unwrap();
                let environment = vec![("NAME".to_owned(), long)];
                let request = Request { program: "true".to_owned(), arguments: vec![], environment };
                rustix::net::send(&ours, &[KILL, TERMINATE], rustix::net::SendFlags::empty()).unwrap();
                client::send(&ours, &request, [&to, &to, &to].map(std::os::fd::AsFd::as_fd)).unwrap();
            }
        });
        let (request, descriptors) = serve::next_request(&theirs).unwrap();
        assert_eq!((request.program.as_str(), descriptors.len()), ("true", DESCRIPTORS));
        assert_eq!(request.environment[0].1, long);
        sent.join().unwrap();
        assert!(serve::next_request(&theirs).is_none(), "the worker is gone");
    }
}
