//! `worker status`: what is true, read from the volume; what is under way, from the queue and the workers' events.

use clap::Args;
use serde::Serialize;

use super::shown::{self, ROWS_MAX};
use super::watched::{Moment, Watched};
use super::{Failure, QueueArgs, existing_run, print};
use crate::contract::{Exit, OUTPUT};
use crate::manifest::Refusal;
use crate::queue::{Counts, Inbox, WorkQueue};
use crate::reader::state::State;
use crate::report::Tally;
use crate::system::Machine;

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    queue: QueueArgs,
    /// The run's name [default: the newest number]
    #[arg(long, env = "WORKER_RUN", value_name = "NAME")]
    run: Option<String>,
    /// Show every dataset and every worker, also the ones that are done.
    #[arg(long)]
    all: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Status {
    /// Pages of the manifest.
    pages: u32,
    reported: bool,
    void: bool,
    /// What a run that is reported came to.
    tally: Option<Tally>,
    /// Pushed paths that are no part of the run.
    refused: Vec<Refusal>,
    queue: Counts,
    pushed: u64,
    #[serde(flatten)]
    moment: Moment,
}

pub(crate) async fn status(args: StatusArgs) -> Result<Exit, Failure> {
    let store = args.queue.store().await?;
    let run = existing_run(&store, args.run).await?;
    let machine = Machine::new(false).map_err(Failure::when(Exit::Failed, "listen for signals"))?;
    let queue = args.queue.open(&store, &run).await?;
    let moment = Watched::new(store, run).look(&machine).await?;
    let manifest = moment.files.manifest.as_ref();
    let status = Status {
        pages: manifest.map_or(0, |manifest| manifest.next_page),
        tally: match &moment.state {
            State::Complete(tally) => Some(*tally),
            _ => None,
        },
        refused: manifest.map_or_else(Vec::new, |manifest| manifest.refused.clone()),
        reported: moment.state.is_complete(),
        void: moment.files.violation.is_some(),
        queue: queue.counts().await?,
        pushed: queue.pushed_count().await?,
        moment,
    };
    let text = if args.json {
        serde_json::to_string_pretty(&status).unwrap_or_default() + "\n"
    } else {
        text(&status, args.all)
    };
    print(&text)?;
    Ok(Exit::Finished)
}

fn text(status: &Status, all: bool) -> String {
    let moment = &status.moment;
    let mut committed = format!("{} pages of the manifest", status.pages);
    for (stage, count) in &moment.committed {
        committed.push_str(&format!(", {count} {stage}"));
    }
    let Counts { pending, claimed } = status.queue;
    let mut text = format!(
        "run {}: {}\n\
         committed: {committed}\n\
         queue: {pending} pending, {claimed} claimed, {} pushed\n",
        moment.run, moment.state, status.pushed
    );
    if let Some(tally) = status.tally.filter(|tally| tally.rejected > 0) {
        text += &format!("rejected: {}, see {OUTPUT}/report.txt\n", tally.rejected);
    }
    for Refusal { path, reason } in &status.refused {
        text += &format!("refused: {}: {reason}\n", path.escape_debug());
    }
    if let Some(why) = &moment.unknown {
        text += &format!("datasets: {why}\n");
    }
    let rows_max = if all { usize::MAX } else { ROWS_MAX };
    text + &shown::workers(moment, all, rows_max) + &shown::datasets(moment, all, rows_max)
}
