//! One worker's process and its task: reads what it says, signals it, reaps it. Signals go through
//! the task that reaps, so that none can reach a later process with the same PID.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use worker::contract::Exit;
use worker::failure::Failure;

use super::child;
use crate::backend::News;

/// Where a process's task reports: its events, then its end; or that it cannot go on.
pub type Tell = UnboundedSender<Result<News, Failure>>;

/// A process, to be signalled and waited for.
#[derive(Debug, Clone)]
pub struct Handle {
    signals: UnboundedSender<Signal>,
    ended: watch::Receiver<bool>,
}

impl Handle {
    /// Sends a signal to the process and all that it started, unless it has ended.
    pub fn signal(&self, signal: Signal) {
        // A task that has ended has reaped its process: nobody is left to signal.
        let _ = self.signals.send(signal);
    }

    /// Waits for the end of the process. All that it said has been reported then, and its end too.
    pub async fn ended(&mut self) {
        // An error: its task is gone, and so is the process.
        let _ = self.ended.wait_for(|ended| *ended).await;
    }
}

/// One life of a machine, as its process.
#[derive(Debug)]
pub struct Life<'a> {
    /// Among all of the run.
    pub number: usize,
    pub machine: u32,
    pub name: &'a str,
}

/// Starts a worker. That it started is reported first.
///
/// # Errors
/// Where the process cannot be started.
pub fn start(
    exe: &Path,
    args: Vec<std::ffi::OsString>,
    errors: &Path,
    life: &Life<'_>,
    tell: Tell,
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
    let number = life.number;
    let _ = tell.send(Ok(News::Started { machine: life.machine, name: life.name.to_owned(), pid }));
    let (signals, orders) = unbounded_channel();
    let (tell_end, ended) = watch::channel(false);
    tokio::spawn(async move {
        let status = tend(&mut child, BufReader::new(out).lines(), orders, number, &tell).await;
        let _ = tell.send(match status {
            Ok(status) => Ok(News::Ended { life: number, exit: Some(exit_of(status)), said: None }),
            Err(error) => Err(Failure::new(Exit::Failed, format!("wait for worker process {number}"), error)),
        });
        let _ = tell_end.send(true);
    });
    Ok(Handle { signals, ended })
}

/// The exit code, or the signal's negative number.
fn exit_of(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| -status.signal().unwrap_or(0))
}

/// Reads lines and passes signals on until the process has ended.
async fn tend(
    child: &mut Child,
    mut lines: Lines<BufReader<ChildStdout>>,
    mut orders: UnboundedReceiver<Signal>,
    number: usize,
    tell: &Tell,
) -> std::io::Result<ExitStatus> {
    let mut open = true;
    loop {
        tokio::select! {
            Some(signal) = orders.recv() => send(child, signal),
            line = lines.next_line(), if open => match line {
                Ok(Some(line)) => {
                    // A line that a kill tore is no event, and what it would have reported did not happen.
                    if let Ok(event) = serde_json::from_str(&line) {
                        let _ = tell.send(Ok(News::Event(number, Box::new(event))));
                    }
                }
                Ok(None) | Err(_) => open = false,
            },
            status = child.wait(), if !open => return status,
        }
    }
}

fn send(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // ESRCH: it has ended, and is about to be reaped.
        let _ = killpg(Pid::from_raw(pid), signal);
    }
}
