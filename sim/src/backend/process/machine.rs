//! One worker's process and its task: reads what it says, signals it, reaps it. Signals go through
//! the task that reaps, so that none can reach a process that took over the number.

use std::fs::File;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use worker::contract::Exit;
use worker::events::Event;
use worker::failure::Failure;

use super::child;

/// What a process's task tells.
#[derive(Debug)]
pub enum Told {
    Event(Box<Event>),
    /// The end: everything that it said has been told before.
    Ended(ExitStatus),
    /// Its task cannot go on, and why.
    Lost(String),
}

/// The supervisor's hold on a process.
#[derive(Debug)]
pub struct Handle {
    pub pid: u32,
    signals: UnboundedSender<Signal>,
}

impl Handle {
    /// Sends a signal to the process and all that it started, unless it has ended.
    pub fn signal(&self, signal: Signal) {
        // A task that has ended has reaped its process: nobody is left to signal.
        let _ = self.signals.send(signal);
    }
}

/// Starts a worker; what it tells arrives with its number.
///
/// # Errors
/// Where the process cannot be started.
pub fn start(
    exe: &Path,
    args: Vec<std::ffi::OsString>,
    errors: &Path,
    number: usize,
    tell: UnboundedSender<(usize, Told)>,
) -> Result<Handle, Failure> {
    let errors_file = File::options()
        .append(true)
        .create(true)
        .open(errors)
        .map_err(Failure::when(Exit::Failed, format!("open {}", errors.display())))?;
    let mut child = child::worker(exe, args)
        .stderr(Stdio::from(errors_file))
        .spawn()
        .map_err(Failure::when(Exit::Failed, format!("start {} as a worker", exe.display())))?;
    let (Some(pid), Some(out)) = (child.id(), child.stdout.take()) else {
        return Err(Failure::new(Exit::Failed, "watch a worker", "it ended as it was started"));
    };
    let (signals, orders) = unbounded_channel();
    tokio::spawn(async move {
        let told = tend(&mut child, BufReader::new(out).lines(), orders, number, &tell).await;
        let _ = tell.send((number, told));
    });
    Ok(Handle { pid, signals })
}

/// Reads lines and passes signals on until the process has ended.
async fn tend(
    child: &mut Child,
    mut lines: Lines<BufReader<ChildStdout>>,
    mut orders: UnboundedReceiver<Signal>,
    number: usize,
    tell: &UnboundedSender<(usize, Told)>,
) -> Told {
    let mut open = true;
    loop {
        tokio::select! {
            Some(signal) = orders.recv() => send(child, signal),
            line = lines.next_line(), if open => match line {
                Ok(Some(line)) => {
                    // A line that a kill tore is no event, and what it would have told did not happen.
                    if let Ok(event) = serde_json::from_str(&line) {
                        let _ = tell.send((number, Told::Event(Box::new(event))));
                    }
                }
                Ok(None) | Err(_) => open = false,
            },
            status = child.wait(), if !open => {
                return match status {
                    Ok(status) => Told::Ended(status),
                    Err(error) => Told::Lost(error.to_string()),
                };
            }
        }
    }
}

fn send(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // ESRCH: it has ended, and is about to be reaped.
        let _ = killpg(Pid::from_raw(pid), signal);
    }
}
