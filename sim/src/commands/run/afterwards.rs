//! After a run: settles the queue, checks everything, runs the undisturbed twin, and reports what
//! happened.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use worker::contract::{Exit, OUTPUT, RUNS, RunPaths};
use worker::failure::{Failure, INTERRUPTED};
use worker::queue::Counts;

use super::place::Backend;
use super::results::{REPORT, Results};
use super::{Prepared, queue};
use crate::backend::Ended;
use crate::backend::process::{self, Plan};
use crate::check::{self, Evidence, Verdict};
use crate::datasets::put;
use crate::report::terminal::{Mode, Terminal, print, tell as say};
use crate::report::{self, DatasetCounts, Summary, Verified};
use crate::schedule::Schedule;
use crate::settle::settle;
use crate::signals::Signals;
use crate::story::Story;
use crate::view::{self, View};

/// Checks, compares and reports; returns the exit code.
pub async fn conclude(
    prepared: &Prepared,
    story: &Story,
    mut ended: Ended,
    signals: &mut Signals,
) -> Result<u8, Failure> {
    let results = Results::read(prepared)?;
    let mut checked = Verdict::default();
    let mut verified = None;
    if ended == Ended::Complete {
        tokio::select! {
            biased;
            () = signals.recv() => ended = Ended::Interrupted,
            looked = look(prepared, story, &results) => checked = looked?,
        }
    }
    if ended == Ended::Complete && prepared.verifies() {
        match twin(prepared, &results.view, signals).await? {
            Ok(found) => verified = Some(found),
            Err(why) => ended = why,
        }
    }
    let different = verified.as_ref().is_some_and(|verified: &Verified| !verified.different.is_empty());
    let (exit, words) = match &ended {
        Ended::Complete if different || !checked.violations.is_empty() => {
            (Exit::Check.code(), "broke its promise".to_owned())
        }
        Ended::Complete => match results.report.as_ref().map(|report| &report.tally) {
            Some(tally) => (tally.exit(prepared.args.fail_on_rejected).code(), tally.state()),
            None => (Exit::Finished.code(), "complete".to_owned()),
        },
        Ended::Interrupted => (INTERRUPTED, "interrupted".to_owned()),
        Ended::Failed { exit, .. } => (*exit, "failed".to_owned()),
    };
    let mut summary = summarise(prepared, story, &results, words, exit);
    (summary.checked, summary.verified) = (checked, verified);
    tell(prepared, story, &results, &summary)?;
    if ended == Ended::Interrupted
        && results.report.is_none()
        && prepared.args.place.backend == Backend::Process
    {
        say(&format!("hint: the same command with --resume goes on with run {}", prepared.plan.run));
    }
    match ended {
        Ended::Failed { exit, reason } => Err(Failure { exit, ..Failure::of(Exit::Failed, reason) }),
        _ => Ok(exit),
    }
}

async fn look(prepared: &Prepared, story: &Story, results: &Results) -> Result<Verdict, Failure> {
    let plan = &prepared.plan;
    let whole = match prepared.args.resume {
        true => &story.with_unseen(view::events_of(&plan.volume, &plan.run)),
        false => story,
    };
    let (queue, pipeline) = (queue::open(plan).await?, results.workload.pipeline());
    let left: Counts = settle(&queue, &plan.volume, &plan.run, pipeline, plan.lease.duration())
        .await
        .map_err(Failure::when(Exit::Queue, "look at the queue"))?;
    Ok(check::check(&Evidence {
        run: &plan.run,
        story: whole,
        view: &results.view,
        queue: left,
        workload: results.workload.as_ref(),
        drained_ms_max: u64::try_from(plan.patience.as_millis()).unwrap_or(u64::MAX),
    }))
}

/// Runs the same datasets on a volume of their own where nobody disturbs them, and compares.
async fn twin(
    prepared: &Prepared,
    view: &View,
    signals: &mut Signals,
) -> Result<Result<Verified, Ended>, Failure> {
    let volume = prepared.out.folder().join("undisturbed");
    prepared.datasets.stage(&volume)?;
    // What this run continues is there already.
    let own = format!("{}/", RunPaths::new(&prepared.plan.run).root());
    let is_earlier = |path: &str| path.starts_with(RUNS) && !path.starts_with(&own);
    let mut earlier = BTreeSet::new();
    for (path, bytes) in view.files.iter().filter(|(path, _)| is_earlier(path)) {
        put(&volume.join(path), bytes)?;
        earlier.extend(path.split('/').nth(1));
    }
    for run in earlier {
        copy_blocks(run, &prepared.plan.volume, &volume)?;
    }
    let list = prepared.datasets.paths.join("\n") + "\n";
    put(&volume.join("datasets.txt"), list.as_bytes())?;
    let plan = Plan {
        queue: format!("sqlite:{}", volume.join("queue.sqlite").display()),
        list: "datasets.txt".to_owned(),
        errors: volume.join("workers.log"),
        location: volume.as_path().into(),
        volume,
        idle: Backend::Process.defaults().idle,
        ..prepared.plan.clone()
    };
    let mut terminal = Terminal::of_undisturbed(prepared.mode, prepared.commits());
    let mut watch = |story: &Story, update| terminal.update(story, update);
    let ran = process::run(&plan, &Schedule::none(), None, signals, &mut watch).await;
    terminal.end(None);
    let (story, ended) = ran?;
    if ended != Ended::Complete {
        return Ok(Err(match ended {
            Ended::Failed { exit, reason } => {
                Ended::Failed { exit, reason: format!("the undisturbed run: {reason}") }
            }
            other => other,
        }));
    }
    let undisturbed = View::read(&plan.volume, &plan.run)?;
    let (files, different) = compare(view, &undisturbed);
    Ok(Ok(Verified {
        seconds: story.ended_ms.saturating_sub(story.began_ms) as f64 / 1000.0,
        files,
        different,
    }))
}

/// Copies the blocks to which an earlier run's results refer. A view does not hold them: they may be large.
fn copy_blocks(run: &str, from: &Path, to: &Path) -> Result<(), Failure> {
    let mut below = vec![RunPaths::new(run).blocks()];
    while let Some(folder) = below.pop() {
        let doing = || format!("copy the blocks in {folder} to the undisturbed run");
        fs::create_dir_all(to.join(&folder)).map_err(Failure::when(Exit::Failed, doing()))?;
        for name in view::names(from, &folder) {
            fs::copy(from.join(&name), to.join(&name)).map_err(Failure::when(Exit::Failed, doing()))?;
        }
        below.extend(view::folders(from, &folder));
    }
    Ok(())
}

/// How many files were compared, and which differ. Of `output/`, earlier runs may have left more.
fn compare(view: &View, undisturbed: &View) -> (u32, Vec<String>) {
    let ours = view.files.keys().filter(|path| !path.starts_with(OUTPUT));
    let all: BTreeSet<&String> = ours.chain(undisturbed.files.keys()).collect();
    let differs = |path: &&&String| view.files.get(**path) != undisturbed.files.get(**path);
    let different = all.iter().filter(differs).map(|path| (*path).clone()).collect();
    (u32::try_from(all.len()).unwrap_or(u32::MAX), different)
}

fn summarise(prepared: &Prepared, story: &Story, results: &Results, ended: String, exit: u8) -> Summary {
    let attempts = story.attempts();
    let rejected = results.rejected();
    let folder = prepared.out.folder();
    Summary {
        run: prepared.out.run.clone(),
        out: prepared.shown(&prepared.out.root),
        ended,
        exit,
        datasets: DatasetCounts {
            training: prepared.datasets.trainings(),
            test: prepared.datasets.tests(),
            rejected: u32::try_from(rejected.len()).unwrap_or(u32::MAX),
        },
        rejected,
        workers: prepared.plan.workers,
        queue: prepared.queue.to_string(),
        rule: prepared.schedule.rule.clone(),
        seed: prepared.schedule.seed,
        work_rounds: prepared.plan.rounds,
        seconds: story.ended_ms.saturating_sub(story.began_ms) as f64 / 1000.0,
        phases: prepared.phases.clone(),
        attempts: report::attempt_counts(story, &attempts),
        preemptions: report::preemption_counts(story),
        lost: report::lost(&attempts),
        verified: None,
        checked: Verdict::default(),
        figures: results.figures(),
        report: results.report.as_ref().map(|_| prepared.shown(&prepared.out.root.join(OUTPUT).join(REPORT))),
        page: prepared.shown(&folder.join("report.html")),
        schedule: prepared.shown(&folder.join("schedule.toml")),
    }
}

fn tell(prepared: &Prepared, story: &Story, results: &Results, summary: &Summary) -> Result<(), Failure> {
    let folder = prepared.out.folder();
    let attempts = story.attempts();
    let page = report::page::render(story, &attempts, summary, results.text(), &results.curves())
        .map_err(Failure::when(Exit::Failed, "draw the page"))?;
    put(&folder.join("report.html"), page.as_bytes())?;
    let picture = report::picture::render(story, &attempts, summary)
        .map_err(Failure::when(Exit::Failed, "draw the timeline"))?;
    put(&folder.join("timeline.svg"), picture.as_bytes())?;
    let json =
        serde_json::to_string_pretty(summary).map_err(Failure::when(Exit::Failed, "write the summary"))?;
    put(&folder.join("summary.json"), json.as_bytes())?;
    let is_coloured = prepared.mode == Mode::Bars && std::env::var_os("NO_COLOR").is_none();
    print(&if prepared.args.json { json + "\n" } else { summary.text(is_coloured) })?;
    Ok(())
}
