//! Workers as processes of this machine. A machine's preemption is what its process sees of one:
//! SIGTERM, grace, SIGKILL; SIGKILL alone; SIGSTOP past the lease and SIGCONT.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use worker::failure::Failure;
use worker::store::location::Location;
use worker::workload::registry::WorkloadArgs;

use super::supervisor::{Policy, supervise};
use super::{Ended, Observer};
use crate::schedule::Schedule;
use crate::signals::Signals;
use crate::story::Story;
use crate::units::Span;

pub mod child;
mod machine;
mod machines;
pub mod redis;

use self::machines::Machines;
use self::redis::Server;

/// Workers that end unasked, with a signal or as preempted, are replaced this many times, all together.
const CRASHES_MAX: u32 = 100;

/// What to start, where, and for how long to believe in it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The program that is started as a worker.
    pub exe: PathBuf,
    /// Where the run is looked at afterwards: the volume, or what is copied from it.
    pub volume: PathBuf,
    /// The volume, as the worker's `--volume` takes it.
    pub location: Location,
    pub run: String,
    /// As the worker's `--queue` takes it.
    pub queue: String,
    /// The file that lists the datasets, relative to the volume.
    pub list: String,
    /// The run that this one continues.
    pub after: Option<String>,
    pub created: String,
    pub workers: u32,
    pub lease: Span,
    pub grace: Span,
    pub progress_every: Span,
    pub idle: Span,
    /// Rounds of hashing that each dataset's preparation takes longer.
    pub rounds: u64,
    /// The workload, and its parameters.
    pub workload: WorkloadArgs,
    /// Where workers' standard error goes.
    pub errors: PathBuf,
    /// From the last fault, the workers must be done within this.
    pub patience: Duration,
}

impl Plan {
    fn arguments(&self, name: &str) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["run".into()];
        let mut option = |name: &str, value: OsString| args.extend([OsString::from(name), value]);
        option("--volume", (&self.location).into());
        option("--queue", self.queue.clone().into());
        option("--run", self.run.clone().into());
        option("--list", self.list.clone().into());
        if let Some(after) = &self.after {
            option("--after", after.into());
        }
        option("--created", self.created.clone().into());
        option("--lease", self.lease.to_string().into());
        option("--grace", self.grace.to_string().into());
        option("--progress-every", self.progress_every.to_string().into());
        option("--idle", self.idle.to_string().into());
        option("--work-rounds", self.rounds.to_string().into());
        option("--name", name.into());
        option("--log", "events".into());
        args.push("--stop-with-stdin".into());
        args.extend(self.workload.to_arguments());
        args
    }
}

/// Runs workers under a schedule until the run has ended, or a signal came; none of them is left when this returns.
///
/// # Errors
/// Where processes cannot be had at all.
pub async fn run(
    plan: &Plan,
    schedule: &Schedule,
    redis: Option<&mut Server>,
    signals: &mut Signals,
    watch: Observer<'_>,
) -> Result<(Story, Ended), Failure> {
    let policy = Policy {
        run: plan.run.clone(),
        machines: plan.workers,
        patience: plan.patience,
        failures_max: 0,
        crashes_max: Some(CRASHES_MAX),
        machine_is_worker: true,
    };
    supervise(&mut Machines::new(plan, redis), policy, schedule, signals.recv(), watch).await
}
