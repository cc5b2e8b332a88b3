//! `worker runs`: every run on a volume.

use clap::Args;
use serde::Serialize;

use super::table::{minute, table};
use super::{Failure, VolumeArgs, look, print};
use crate::contract::Exit;
use crate::ending::{Left, Why};
use crate::reader::state::{State, done};
use crate::store::any::AnyStore;

#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    #[command(flatten)]
    on: VolumeArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A run in the list.
#[derive(Debug, Serialize)]
struct Row {
    run: String,
    state: State,
    /// The run's own datasets, and how many of them are done; that is not known of a pruned run.
    datasets: u32,
    done: Option<u32>,
    workload: Option<String>,
    /// The runs whose results this one reads.
    continues: Vec<String>,
    /// When its first worker started, and when it ended, by the workers' clocks.
    begun_ms: Option<u64>,
    ended_ms: Option<u64>,
}

/// Shows all runs, oldest first.
pub(crate) async fn runs(args: RunsArgs) -> Result<Exit, Failure> {
    let store = args.on.store().await?;
    let mut rows = Vec::new();
    for run in look::runs(&store).await? {
        rows.push(row(&store, run).await?);
    }
    if args.json {
        print(&(serde_json::to_string_pretty(&rows).unwrap_or_default() + "\n"))?;
    } else if rows.is_empty() {
        print("no runs yet: `worker run` begins one\n")?;
    } else {
        print(&shown(&rows))?;
    }
    Ok(Exit::Finished)
}

async fn row(store: &AnyStore, run: String) -> Result<Row, Failure> {
    let files = look::files(store, &run).await?;
    let state = files.state();
    let (mut datasets, mut is_done) = (0, None);
    if let Some(manifest) = &files.manifest {
        datasets = manifest.len() - manifest.own_from();
        is_done = match (&state, look::pipeline(&files)) {
            (State::Complete(_), _) => Some(datasets),
            (State::Left(Left { why: Why::Pruned, .. }), _) => None,
            (_, Ok(Some(pipeline))) => {
                Some(done(manifest, pipeline, &look::commits(store, &run, pipeline).await?))
            }
            // This program does not know the workload.
            _ => None,
        };
    }
    let span = look::span_ms(store, &run).await?;
    Ok(Row {
        datasets,
        done: is_done,
        workload: files.manifest.as_ref().map(|manifest| manifest.spec.workload.clone()),
        continues: files.continues().into_iter().collect(),
        begun_ms: span.map(|(first, _)| first),
        ended_ms: span.filter(|_| state.has_ended()).map(|(_, last)| last),
        state,
        run,
    })
}

fn shown(rows: &[Row]) -> String {
    let time = |at_ms: Option<u64>| at_ms.map_or_else(|| "-".to_owned(), minute);
    let lines: Vec<[String; 6]> = rows
        .iter()
        .map(|row| {
            [
                row.run.clone(),
                row.state.word(),
                row.done
                    .map_or_else(|| format!("-/{}", row.datasets), |done| format!("{done}/{}", row.datasets)),
                time(row.begun_ms),
                time(row.ended_ms),
                row.workload.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        })
        .collect();
    table(["RUN", "STATE", "DONE", "BEGUN (UTC)", "ENDED (UTC)", "WORKLOAD"], &lines, &[])
}
