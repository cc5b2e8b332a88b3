//! `worker abandon`: ends a run that nobody wants to finish, or nobody can.

use clap::Args;

use super::{Failure, VolumeArgs, check_name, print};
use crate::abandon::{self, AbandonError, Abandoned};
use crate::contract::Exit;
use crate::system::{Machine, System};

#[derive(Debug, Args)]
pub(crate) struct AbandonArgs {
    #[command(flatten)]
    on: VolumeArgs,
    /// The reason, for people who find the run later.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// The run's name.
    #[arg(value_name = "RUN")]
    run: String,
}

/// Ends a run. Workers may be at work on it.
pub(crate) async fn abandon(args: AbandonArgs) -> Result<Exit, Failure> {
    let store = args.on.store().await?;
    let run = check_name("the run", &args.run)?;
    let doing = format!("abandon run {run}");
    let machine = Machine::new(false).map_err(Failure::when(Exit::Failed, "listen for signals"))?;
    let abandoned = tokio::select! {
        biased;
        () = machine.stop_requested() => {
            let failure = Failure::new(Exit::Preempted, doing, "told to stop: the run may be abandoned, or not");
            return Err(failure.hint("give the command again"));
        }
        abandoned = abandon::abandon(&store, &machine, run, args.reason) => abandoned,
    };
    let abandoned = abandoned.map_err(|error| match error {
        AbandonError::Store(error) => Failure::new(Exit::Volume, &doing, error.with_hint()),
        AbandonError::Damaged { .. } => Failure::new(Exit::Damaged, &doing, error)
            .hint("a worker of the run repairs its report; without one, remove that file and try again"),
    })?;
    let next = "what is pushed from now on becomes part of the next run";
    match abandoned {
        Abandoned::Now => print(&format!(
            "run {run} is abandoned: {next}\nits workers finish what they hold and exit with {}\n",
            Exit::Left.code()
        ))?,
        Abandoned::Before(left) => {
            let reason = left.reason.map_or_else(String::new, |reason| format!(" ({reason})"));
            print(&format!("run {run} was {} before{reason}: {next}\n", left.why.word()))?;
        }
        Abandoned::Complete => {
            let failure = Failure::new(Exit::Failed, doing, "it is complete");
            return Err(failure.hint(format!("to remove its results: worker prune {run}")));
        }
        Abandoned::NotBegun => {
            let failure =
                Failure::new(Exit::NoDatasets, doing, "it has not begun, so that it holds no datasets");
            return Err(failure.hint("worker unpush PATH… removes pushed paths; worker runs lists the runs"));
        }
    }
    Ok(Exit::Finished)
}
