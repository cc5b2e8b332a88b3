//! `worker prune`: removes the results of runs that nobody needs any more, and says first what that frees.

use std::collections::BTreeSet;

use clap::Args;

use super::table::{size, table};
use super::{Failure, VolumeArgs, check_name, look, print};
use crate::contract::{Exit, OUTPUT, RunPaths};
use crate::ending::{Ending, Left, Why};
use crate::reader::prune::{Candidate, Stays, Verdict, Wanted, verdicts};
use crate::reader::state::{Files, State};
use crate::store::any::AnyStore;
use crate::store::{Keep, Store};
use crate::system::random_nonce;
use crate::workload::exec::logs;

#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    on: VolumeArgs,
    /// Keep this many of the newest numbered runs, and the newest complete one
    #[arg(long, value_name = "N", required_unless_present = "runs", conflicts_with = "runs",
          value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// Say what would be removed, and remove nothing.
    #[arg(long)]
    dry_run: bool,
    /// These runs, and no others.
    #[arg(value_name = "RUN")]
    runs: Vec<String>,
}

/// A run, what becomes of it, and what removing its results frees.
struct Planned {
    run: String,
    state: State,
    verdict: Verdict,
    bytes: u64,
}

/// Removes results, or says why not. Of a pruned run the manifest stays, with a record in place of the report, so that
/// a worker which is started for it once more ends at once.
pub(crate) async fn prune(args: PruneArgs) -> Result<Exit, Failure> {
    let store = args.on.store().await?;
    let plan = plan(&store, &wanted(&args)?).await?;
    refuse(&args, &plan)?;
    let goes: Vec<&Planned> = plan.iter().filter(|planned| planned.verdict == Verdict::Goes).collect();
    let bytes = size(goes.iter().map(|planned| planned.bytes).sum());
    let verb = if args.dry_run { "would free" } else { "frees" };
    let mut text = shown(&plan, verb);
    text += &match goes.len() {
        0 => "nothing to remove\n".to_owned(),
        count => format!("{verb} {bytes} of {count} {}\n", if count == 1 { "run" } else { "runs" }),
    };
    print(&text)?;
    if !args.dry_run {
        for planned in goes {
            remove(&store, &planned.run).await?;
        }
    }
    Ok(Exit::Finished)
}

fn wanted(args: &PruneArgs) -> Result<Wanted, Failure> {
    if let Some(keep) = args.keep {
        return Ok(Wanted::AllBut(keep as usize));
    }
    let names = args.runs.iter().map(|run| check_name("the run", run).cloned());
    Ok(Wanted::Named(names.collect::<Result<BTreeSet<String>, Failure>>()?))
}

async fn plan(store: &AnyStore, wanted: &Wanted) -> Result<Vec<Planned>, Failure> {
    let (mut candidates, mut states) = (Vec::new(), Vec::new());
    for run in look::runs(store).await? {
        let files = look::files(store, &run).await?;
        candidates.push(candidate(store, run, &files).await);
        states.push(files.state());
    }
    let mut plan = Vec::new();
    for ((candidate, state), verdict) in candidates.iter().zip(states).zip(verdicts(&candidates, wanted)) {
        let run = candidate.run.clone();
        let mut bytes = 0;
        if verdict == Verdict::Goes {
            for path in removable(store, &run).await? {
                bytes += store.size(&path).await.unwrap_or_default();
            }
        }
        // What was pruned before is no news, unless that was cut short.
        if !(candidate.is_pruned && bytes == 0) {
            plan.push(Planned { run, state, verdict, bytes });
        }
    }
    Ok(plan)
}

async fn candidate(store: &AnyStore, run: String, files: &Files) -> Candidate {
    let state = files.state();
    let mut is_shown = false;
    if let Some(Ending::Report(report)) = &files.ending {
        for (name, text) in &report.files {
            let shown = store.get(&format!("{OUTPUT}/{name}")).await;
            is_shown |= shown.is_ok_and(|shown| shown == text.as_bytes());
        }
    }
    Candidate {
        run,
        has_ended: state.has_ended(),
        is_complete: state.is_complete(),
        is_pruned: matches!(state, State::Left(Left { why: Why::Pruned, .. })),
        is_shown,
        continues: files.continues(),
    }
}

/// Refuses runs that were named and cannot go: then nothing is removed.
fn refuse(args: &PruneArgs, plan: &[Planned]) -> Result<(), Failure> {
    for run in &args.runs {
        let doing = format!("prune run {run}");
        let planned = plan.iter().find(|planned| planned.run == *run);
        let Some(planned) = planned else {
            let failure =
                Failure::new(Exit::NoDatasets, doing, "it is not on the volume, or was pruned before");
            return Err(failure.hint("worker runs lists the runs"));
        };
        if let Verdict::Stays(why) = &planned.verdict {
            let hint = match why {
                Stays::Open => format!("finish it, or end it first: worker abandon {run}"),
                Stays::ContinuedBy(later) => {
                    format!("prune run {later} in the same command, once it can be pruned")
                }
                _ => "it can go once a later run is complete".to_owned(),
            };
            return Err(Failure::new(Exit::Failed, doing, why).hint(hint));
        }
    }
    Ok(())
}

fn shown(plan: &[Planned], verb: &str) -> String {
    let what = |planned: &Planned| match &planned.verdict {
        Verdict::Goes => Some(format!("{verb} {}", size(planned.bytes))),
        // Of runs that were not named nothing is said.
        Verdict::Stays(Stays::Unwanted) => None,
        Verdict::Stays(why) => Some(format!("stays: {why}")),
    };
    let row = |planned: &Planned| Some([planned.run.clone(), planned.state.word(), what(planned)?]);
    let rows: Vec<[String; 3]> = plan.iter().filter_map(row).collect();
    if rows.is_empty() { String::new() } else { table(["RUN", "STATE", ""], &rows, &[]) }
}

/// What goes of a run: all but its manifest and what says how it ended. A folder of the pipeline's may have folders of
/// later commits in it.
async fn removable(store: &AnyStore, run: &str) -> Result<Vec<String>, Failure> {
    let paths = RunPaths::new(run);
    let stays = [paths.manifest(), paths.report(), paths.projected(), paths.violation()];
    let mut folders: Vec<String> = vec![logs::folder(run)];
    let mut found = Vec::new();
    for name in store.list(paths.root()).await.map_err(look::unreadable)? {
        let path = format!("{}/{name}", paths.root());
        if !stays.contains(&path) {
            folders.push(path);
        }
    }
    while let Some(folder) = folders.pop() {
        let names = store.list(&folder).await.map_err(look::unreadable)?;
        if names.is_empty() {
            found.push(folder);
        } else {
            folders.extend(names.into_iter().map(|name| format!("{folder}/{name}")));
        }
    }
    Ok(found)
}

/// First the record: from then on nobody works on the run, nor continues it. What a crash leaves, the next call removes.
async fn remove(store: &AnyStore, run: &str) -> Result<(), Failure> {
    let paths = RunPaths::new(run);
    let record = Left { why: Why::Pruned, reason: None }.record().encode(paths.place(&paths.report()));
    let private = format!("{}/prune-{:032x}", paths.attempts(), random_nonce());
    let failed = |error: crate::store::StoreError| {
        Failure::new(Exit::Volume, format!("prune run {run}"), error.with_hint())
    };
    let staged = store.stage(&private, &record, Keep::Durable).await.map_err(failed)?;
    store.replace(&staged, &paths.report()).await.map_err(failed)?;
    store.settle(paths.root()).await.map_err(failed)?;
    let found = removable(store, run).await?;
    for path in &found {
        store.delete_all(path).await;
    }
    let mut folders: BTreeSet<&str> = BTreeSet::new();
    for path in &found {
        let mut at = path.as_str();
        while let Some((above, _)) = at.rsplit_once('/').filter(|(above, _)| *above != paths.root()) {
            folders.insert(above);
            at = above;
        }
    }
    // The deepest first.
    for folder in folders.into_iter().rev() {
        store.delete_folder(folder).await;
    }
    Ok(())
}
