//! After a run: the queue is settled, everything is checked, the undisturbed twin runs, and what
//! happened is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use worker::contract::{Exit, OUTPUT, RunPaths};
use worker::failure::Failure;
use worker::manifest::Manifest;
use worker::queue::Counts;
use worker::reader::ManifestReader;
use worker::record::Record;
use worker::report::Report;
use worker::workload::registry;
use worker::workload::{Outcome, Workload};

use super::place::Backend;
use super::{INTERRUPTED, Prepared, queue};
use crate::backend::Ended;
use crate::backend::process::{self, Plan};
use crate::check::{self, Evidence, Verdict};
use crate::datasets::put;
use crate::report::terminal::print;
use crate::report::{self, DatasetCounts, Summary, Verified};
use crate::schedule::Schedule;
use crate::settle::settle;
use crate::signals::Signals;
use crate::story::Story;
use crate::view::View;

/// The report for people.
const REPORT: &str = "report.txt";

/// Checks, compares, tells; answers the exit code.
pub async fn conclude(
    prepared: &Prepared,
    story: &Story,
    mut ended: Ended,
    signals: &mut Signals,
) -> Result<u8, Failure> {
    let view = View::read(&prepared.out.root, &prepared.plan.run)?;
    let mut checked = Verdict::default();
    let mut verified = None;
    if ended == Ended::Complete {
        tokio::select! {
            biased;
            () = signals.recv() => ended = Ended::Interrupted,
            looked = look(prepared, story, &view) => checked = looked?,
        }
    }
    if ended == Ended::Complete && prepared.args.verify.unwrap_or(prepared.args.datasets.is_none()) {
        match twin(prepared, &view, signals).await? {
            Ok(found) => verified = Some(found),
            Err(why) => ended = why,
        }
    }
    let different = verified.as_ref().is_some_and(|verified: &Verified| !verified.different.is_empty());
    let (exit, words) = match &ended {
        Ended::Complete if different || !checked.violations.is_empty() => {
            (Exit::Check.code(), "broke its promise".to_owned())
        }
        Ended::Complete => match committed_report(&view, &prepared.plan.run).map(|report| report.tally) {
            Some(tally) => (tally.exit(prepared.args.fail_on_rejected).code(), tally.state()),
            None => (Exit::Finished.code(), "complete".to_owned()),
        },
        Ended::Interrupted => (INTERRUPTED, "interrupted".to_owned()),
        Ended::Failed { exit, .. } => (*exit, "failed".to_owned()),
    };
    let mut summary = summarise(prepared, story, &view, words, exit);
    (summary.checked, summary.verified) = (checked, verified);
    tell(prepared, story, &view, &summary)?;
    match ended {
        Ended::Failed { exit, reason } => Err(Failure { exit, ..Failure::of(Exit::Failed, reason) }),
        _ => Ok(exit),
    }
}

async fn look(prepared: &Prepared, story: &Story, view: &View) -> Result<Verdict, Failure> {
    let plan = &prepared.plan;
    let queue = queue::open(plan).await?;
    let workload = workload(view, &plan.run)?;
    let left: Counts = settle(&queue, &plan.volume, &plan.run, workload.pipeline(), plan.lease.duration())
        .await
        .map_err(Failure::when(Exit::Queue, "look at the queue"))?;
    Ok(check::check(&Evidence {
        run: &plan.run,
        story,
        view,
        queue: left,
        workload: workload.as_ref(),
        drained_ms_max: u64::try_from(plan.patience.as_millis()).unwrap_or(u64::MAX),
    }))
}

/// The manifest, as far as it can be read.
fn manifest(view: &View, run: &str) -> Option<Manifest> {
    let reader = ManifestReader::read(run, |path| view.files.get(path).cloned()).ok()?;
    reader.manifest().cloned()
}

/// The workload that the manifest names; without a manifest, the one that would have begun the run.
fn workload(view: &View, run: &str) -> Result<Arc<dyn Workload>, Failure> {
    let registry = registry::standard();
    let workload = match manifest(view, run) {
        Some(manifest) => registry.of(&manifest.spec),
        None => registry.make("fraud", &BTreeMap::new()),
    };
    workload.map_err(|reason| Failure::of(Exit::Version, reason))
}

/// The report that the run has committed. `output/` may still hold an earlier run's.
fn committed_report(view: &View, run: &str) -> Option<Report> {
    let bytes = view.files.get(&RunPaths::new(run).report())?;
    Report::of(&Record::decode(bytes.clone()).ok()?).ok()
}

/// Runs the same datasets on a volume of their own where nobody disturbs them, and compares.
async fn twin(
    prepared: &Prepared,
    view: &View,
    signals: &mut Signals,
) -> Result<Result<Verified, Ended>, Failure> {
    let volume = prepared.out.folder().join("undisturbed");
    prepared.datasets.stage(&volume)?;
    let list = prepared.datasets.paths.join("\n") + "\n";
    put(&volume.join("datasets.txt"), list.as_bytes())?;
    let plan = Plan {
        queue: format!("sqlite:{}", volume.join("queue.sqlite").display()),
        list: "datasets.txt".to_owned(),
        errors: volume.join("workers.log"),
        volume,
        idle: Backend::Process.defaults().idle,
        ..prepared.plan.clone()
    };
    let (story, ended) = process::run(&plan, &Schedule::none(), None, signals, &mut |_, _| {}).await?;
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

/// How many files were compared, and which differ. Of `output/`, earlier runs may have left more.
fn compare(view: &View, undisturbed: &View) -> (u32, Vec<String>) {
    let ours = view.files.keys().filter(|path| !path.starts_with(OUTPUT));
    let all: BTreeSet<&String> = ours.chain(undisturbed.files.keys()).collect();
    let differs = |path: &&&String| view.files.get(**path) != undisturbed.files.get(**path);
    let different = all.iter().filter(differs).map(|path| (*path).clone()).collect();
    (u32::try_from(all.len()).unwrap_or(u32::MAX), different)
}

fn summarise(prepared: &Prepared, story: &Story, view: &View, ended: String, exit: u8) -> Summary {
    let attempts = story.attempts();
    let rejected = rejected(view, &prepared.plan.run);
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
        figures: figures(view, &prepared.plan.run),
        report: committed_report(view, &prepared.plan.run)
            .map(|_| prepared.shown(&prepared.out.root.join(OUTPUT).join(REPORT))),
        page: prepared.shown(&folder.join("report.html")),
        schedule: prepared.shown(&folder.join("schedule.toml")),
    }
}

/// Reasons of rejected datasets, by path.
fn rejected(view: &View, run: &str) -> BTreeMap<String, String> {
    let paths = RunPaths::new(run);
    let mut rejected = BTreeMap::new();
    let Some(manifest) = manifest(view, run) else { return rejected };
    let Ok(workload) = registry::standard().of(&manifest.spec) else { return rejected };
    let pipeline = workload.pipeline();
    for dataset in &manifest.datasets {
        for stage in pipeline.stages() {
            let bytes = view.files.get(&paths.commit(pipeline.folder(stage), dataset.index));
            let record = bytes.and_then(|bytes| Record::decode(bytes.clone()).ok());
            if let Some(Record { outcome: Outcome::Rejected(reason), .. }) = record {
                rejected.entry(dataset.path.clone()).or_insert(reason);
            }
        }
    }
    rejected
}

/// The figures that the run's workload puts first.
fn figures(view: &View, run: &str) -> BTreeMap<String, f64> {
    let workload = manifest(view, run).and_then(|manifest| registry::standard().of(&manifest.spec).ok());
    let report = committed_report(view, run);
    let file = |name: &str| Some(report.as_ref()?.files.get(name)?.clone().into_bytes());
    workload.map(|workload| workload.headline(&file)).unwrap_or_default()
}

fn tell(prepared: &Prepared, story: &Story, view: &View, summary: &Summary) -> Result<(), Failure> {
    let folder = prepared.out.folder();
    let text = committed_report(view, &prepared.plan.run).and_then(|mut report| report.files.remove(REPORT));
    let attempts = story.attempts();
    let page = report::page::render(story, &attempts, summary, &text.unwrap_or_default())
        .map_err(Failure::when(Exit::Failed, "draw the page"))?;
    put(&folder.join("report.html"), page.as_bytes())?;
    let picture = report::picture::render(story, &attempts, summary)
        .map_err(Failure::when(Exit::Failed, "draw the timeline"))?;
    put(&folder.join("timeline.svg"), picture.as_bytes())?;
    let json =
        serde_json::to_string_pretty(summary).map_err(Failure::when(Exit::Failed, "write the summary"))?;
    put(&folder.join("summary.json"), json.as_bytes())?;
    print(&if prepared.args.json { json + "\n" } else { summary.text() })?;
    Ok(())
}
