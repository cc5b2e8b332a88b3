//! A program that has been started: its process, and what it says.

#![expect(clippy::disallowed_methods, reason = "an adapter: programs run in real time")]

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::logs::Log;
use super::metrics::{self, Metrics};
use crate::guard;

/// The last lines of a program's output that are kept for errors, and the bytes of a line at most.
const LINES_KEPT: usize = 20;
const LINE_BYTES_MAX: u64 = 2_000;

/// How long a program that has closed its output is waited for at first: most end in that moment.
const CLOSED: Duration = Duration::from_micros(200);

/// Variables of the worker's own that may hold the queue's password.
const SECRETS: [&str; 2] = ["REDISCLI_AUTH", "WORKER_QUEUE"];

/// What a program said: shown, kept, and its last lines for errors.
#[derive(Debug)]
pub(super) struct Said {
    /// The item, before each line that is shown.
    prefix: String,
    /// Bytes that are still shown.
    shown_left: u64,
    log: Option<Log>,
    last: VecDeque<String>,
}

impl Said {
    pub(super) fn new(prefix: String, shown_max: u64, log: Option<Log>) -> Self {
        Self { prefix, shown_left: shown_max, log, last: VecDeque::new() }
    }

    fn line(&mut self, text: String) {
        self.tell(&text);
        if self.last.len() >= LINES_KEPT {
            self.last.pop_front();
        }
        self.last.push_back(text);
    }

    /// A line that is no output of the program's.
    fn tell(&mut self, text: &str) {
        if self.shown_left > 0 {
            self.shown_left = self.shown_left.saturating_sub(text.len() as u64 + 1);
            // Where nobody reads it, the program works on.
            let _ = writeln!(std::io::stderr(), "{} | {text}", self.prefix);
        }
        if let Some(log) = &mut self.log {
            log.line(text);
        }
    }

    /// The last lines, to be put behind why the program ended.
    fn last(&mut self) -> String {
        let lines: Vec<&str> = self.last.iter().map(String::as_str).collect();
        if let Some(log) = self.log.as_mut().filter(|log| log.is_cut()) {
            log.end(&lines.join("\n"));
        }
        if lines.is_empty() { String::new() } else { format!("; its last lines:\n  {}", lines.join("\n  ")) }
    }
}

pub(super) struct Running {
    child: Child,
    /// Closing it kills the program.
    input: Option<ChildStdin>,
    ended: Receiver<()>,
    said: Arc<Mutex<Said>>,
    metrics: Metrics,
    since: Instant,
    /// How long to wait next, where it has closed its output.
    closed: Duration,
}

/// What a program is started with.
pub(super) struct Start<'a> {
    /// The attempt's folder.
    pub folder: &'a Path,
    pub arguments: &'a [String],
    pub environment: Vec<(String, OsString)>,
    pub said: Said,
}

impl Running {
    pub(super) fn start(start: Start<'_>) -> Result<Self, String> {
        let Some((program, arguments)) = start.arguments.split_first() else {
            return Err("the command is empty".to_owned());
        };
        let (metrics, inherited) = Metrics::open().map_err(|error| format!("open a pipe: {error}"))?;
        let started = guard::command(start.folder, program).and_then(|mut command| {
            for secret in SECRETS {
                command.env_remove(secret);
            }
            command
                .args(arguments)
                .envs(start.environment)
                .env(guard::METRICS, metrics::number(&inherited))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
        });
        let mut child = started.map_err(|error| format!("start {program}: {error}"))?;
        let said = Arc::new(Mutex::new(start.said));
        let (tell, ended) = channel();
        // The channel closes once both ends of the output are closed, or the process has ended.
        if let Some(out) = child.stdout.take() {
            follow(out, &said, tell.clone());
        }
        if let Some(out) = child.stderr.take() {
            follow(out, &said, tell.clone());
        }
        let input = child.stdin.take();
        Ok(Self { child, input, ended, said, metrics, since: Instant::now(), closed: CLOSED })
    }

    /// Waits a moment for the program's end; returns its exit code.
    ///
    /// # Errors
    /// Where the system does not tell how it ended.
    pub(super) fn wait(&mut self, moment: Duration) -> Result<Option<u8>, String> {
        let waited = self.ended.recv_timeout(moment);
        self.read_metrics();
        let status = self.child.try_wait().map_err(|error| format!("wait for the program: {error}"))?;
        match (status, waited) {
            // It has closed its output, and works on or ends.
            (None, Err(RecvTimeoutError::Disconnected)) => {
                std::thread::sleep(self.closed);
                self.closed = (self.closed * 2).min(moment);
            }
            (None, _) => {}
            (Some(status), _) => {
                return Ok(Some(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)));
            }
        }
        Ok(None)
    }

    fn read_metrics(&mut self) {
        let lines = self.metrics.read();
        if lines.is_empty() {
            return;
        }
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines {
            said.tell(&line);
        }
    }

    pub(super) fn ran_for(&self) -> Duration {
        self.since.elapsed()
    }

    /// Asks for SIGTERM to the program.
    pub(super) fn terminate(&mut self) {
        if let Some(input) = &mut self.input {
            let _ = input.write_all(&[guard::TERMINATE]);
        }
    }

    /// Kills the program where it still runs, and returns the last lines of its output.
    pub(super) fn end(&mut self) -> String {
        self.kill();
        // The guard has killed whatever held the output open.
        while self.ended.recv().is_ok() {}
        self.read_metrics();
        self.said.lock().unwrap_or_else(PoisonError::into_inner).last()
    }

    /// Kills the program where it still runs.
    pub(super) fn kill(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

/// Reads a program's output line by line.
fn follow(out: impl Read + Send + 'static, said: &Arc<Mutex<Said>>, tell: Sender<()>) {
    let said = said.clone();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(out);
        let mut line = Vec::new();
        loop {
            line.clear();
            match reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            said.lock().unwrap_or_else(PoisonError::into_inner).line(text);
        }
        drop(tell);
    });
}
