//! A program that has been started: its process, and what it says.

#![expect(clippy::disallowed_methods, reason = "an adapter: programs run in real time")]

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::metrics::Metrics;
use super::transcript::{Output, Transcript};
use crate::guard::{Guard, Guards, Request};

pub(super) struct Running {
    guards: Arc<Guards>,
    /// `None` once the program has ended.
    guard: Option<Guard>,
    outputs: [Output; 2],
    metrics: Metrics,
    transcript: Transcript,
    since: Instant,
}

/// What a program is started with.
pub(super) struct Start<'a> {
    pub guards: &'a Arc<Guards>,
    /// The worker's folder in scratch.
    pub scratch: &'a Path,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub transcript: Transcript,
    /// Bytes of its output that are kept.
    pub kept_max: usize,
}

impl Running {
    pub(super) fn start(start: Start<'_>) -> Result<Self, String> {
        let mut arguments = start.arguments.into_iter();
        let program = arguments.next().ok_or_else(|| "the command is empty".to_owned())?;
        let failed = |error: std::io::Error| format!("start {program}: {error}");
        let (output, to_output) = Output::open(start.kept_max).map_err(failed)?;
        let (errors, to_errors) = Output::open(0).map_err(failed)?;
        let (metrics, to_metrics) = Metrics::open().map_err(failed)?;
        let descriptors = [&to_output, &to_errors, &to_metrics].map(AsFd::as_fd);
        let environment = start.environment;
        let request = Request { program: program.clone(), arguments: arguments.collect(), environment };
        let guard = start.guards.run(start.scratch, &request, descriptors).map_err(failed)?;
        Ok(Self {
            guards: start.guards.clone(),
            guard: Some(guard),
            outputs: [output, errors],
            metrics,
            transcript: start.transcript,
            since: Instant::now(),
        })
    }

    /// Waits a moment for the program's end, and takes what it says; returns its exit code.
    ///
    /// # Errors
    /// Where nobody can say how it ended.
    pub(super) fn wait(&mut self, moment: Duration) -> Result<Option<u8>, String> {
        let until = Instant::now() + moment;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if self.has_ended(left) {
                return self.take_code().map(Some);
            }
            for output in &mut self.outputs {
                output.read(&mut self.transcript);
            }
            self.read_metrics();
            if left.is_zero() {
                return Ok(None);
            }
        }
    }

    /// Waits until the program has ended or said something, at most this long; returns whether it has ended.
    fn has_ended(&self, at_most: Duration) -> bool {
        let Some(guard) = &self.guard else { return true };
        let mut on = vec![PollFd::new(guard, PollFlags::IN)];
        on.extend(self.outputs.iter().filter_map(Output::readable));
        on.extend(self.metrics.readable());
        let at_most =
            Timespec { tv_sec: at_most.as_secs().cast_signed(), tv_nsec: i64::from(at_most.subsec_nanos()) };
        poll(&mut on, Some(&at_most)).is_ok() && !on[0].revents().is_empty()
    }

    /// Waits for the exit code, and takes the last of what the program said.
    fn take_code(&mut self) -> Result<u8, String> {
        let Some(guard) = self.guard.take() else { return Err("the program has ended before".to_owned()) };
        let code =
            guard.code().map_err(|error| format!("wait for the program: its guard is gone: {error}"))?;
        self.guards.give_back(guard);
        // The guard has killed whatever held the pipes open.
        for output in &mut self.outputs {
            output.end(&mut self.transcript);
        }
        self.read_metrics();
        Ok(code)
    }

    fn read_metrics(&mut self) {
        for line in self.metrics.read() {
            self.transcript.line(&line);
        }
    }

    /// The beginning of what it wrote to its output.
    pub(super) fn kept(&self) -> &[u8] {
        self.outputs[0].kept()
    }

    pub(super) fn ran_for(&self) -> Duration {
        self.since.elapsed()
    }

    /// Asks for SIGTERM to the program.
    pub(super) fn terminate(&self) {
        self.guard.iter().for_each(Guard::terminate);
    }

    /// Kills the program where it still runs, and returns the last lines of its output.
    pub(super) fn end(&mut self) -> String {
        self.kill();
        self.transcript.last_lines()
    }

    /// Kills the program where it still runs.
    pub(super) fn kill(&mut self) {
        if let Some(guard) = &self.guard {
            guard.kill();
            let _ = self.take_code();
        }
    }
}
