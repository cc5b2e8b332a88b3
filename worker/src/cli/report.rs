//! `worker report`: a page about any run, with the timeline of its workers, from what lies on the volume.

use std::collections::BTreeMap;
use std::path::PathBuf;

use askama::Template;
use clap::Args;
use serde_json::json;

use super::table::for_a_time;
use super::tail::Tail;
use super::watched::{Moment, Watched};
use super::{Failure, VolumeArgs, existing_run, look, print, watch};
use crate::contract::Exit;
use crate::ending::Ending;
use crate::events::{Event, first_of, parse};
use crate::manifest::Refusal;
use crate::page::{self, STYLE, Scale, Timeline};
use crate::reader::attempts::{Attempt, End, Incarnation, attempts, incarnations};
use crate::store::any::AnyStore;
use crate::system::Machine;
use crate::workload::registry;

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    on: VolumeArgs,
    /// The run's name [default: the newest number]
    #[arg(long, env = "WORKER_RUN", value_name = "NAME")]
    run: Option<String>,
    /// Write a page into this file; `-` is standard output
    #[arg(long, value_name = "FILE", required_unless_present = "trace")]
    html: Option<PathBuf>,
    /// Write the attempts into this file, as a trace for chrome://tracing or ui.perfetto.dev
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

/// Lanes that a page shows: beyond, it could not be read.
const LANES_MAX: usize = 200;
/// Attempts that a page draws.
const ATTEMPTS_MAX: usize = 20_000;

/// Writes what was asked for.
pub(crate) async fn report(args: ReportArgs) -> Result<Exit, Failure> {
    let store = args.on.store().await?;
    let machine = Machine::new(false).map_err(Failure::when(Exit::Failed, "listen for signals"))?;
    let run = existing_run(&store, args.run).await?;
    let lives = files(&store, &run).await?;
    let moment = Watched::new(store, run).look(&machine).await?;
    let lives = incarnations(lives, moment.state.has_ended());
    let attempts = attempts(&lives, &[]);
    if let Some(file) = &args.trace {
        write(file, &trace(&lives, &attempts))?;
    }
    if let Some(file) = &args.html {
        let page = Page::of(&moment, &lives, &attempts).render();
        write(file, &page.map_err(Failure::when(Exit::Failed, "make the page"))?)?;
    }
    Ok(Exit::Finished)
}

/// The events of each file.
async fn files(store: &AnyStore, run: &str) -> Result<Vec<Vec<Event>>, Failure> {
    let (mut tail, mut files) = (Tail::default(), BTreeMap::<String, Vec<u8>>::new());
    loop {
        let news = tail.news(store, run).await.map_err(look::unreadable)?;
        if news.is_empty() {
            return Ok(files.into_values().map(|lines| parse(&lines).0).collect());
        }
        for (file, lines) in news {
            files.entry(file).or_default().extend(lines);
        }
    }
}

fn write(file: &PathBuf, text: &str) -> Result<(), Failure> {
    if file.as_os_str() == "-" {
        return print(text);
    }
    std::fs::write(file, text).map_err(|error| {
        let failure = Failure::new(Exit::Failed, format!("write {}", file.display()), error);
        failure.hint("name a file in a folder that is there and may be written to")
    })
}

/// One event a line of the trace: the attempts as spans, by machine.
fn trace(lives: &[Incarnation], attempts: &[Attempt]) -> String {
    let names: BTreeMap<u32, &str> = lives.iter().map(|life| (life.machine, life.name.as_str())).collect();
    let names = names.into_iter().map(|(machine, name)| {
        json!({ "name": "thread_name", "ph": "M", "pid": 1, "tid": machine, "args": { "name": name } })
    });
    let spans = attempts.iter().map(|attempt| {
        json!({
            "name": attempt.held.item,
            "cat": attempt.held.item.step(),
            "ph": "X",
            "ts": attempt.start_ms * 1000,
            "dur": attempt.end_ms.saturating_sub(attempt.start_ms) * 1000,
            "pid": 1,
            "tid": attempt.machine,
            "args": {
                "dataset": attempt.dataset,
                "token": attempt.held.token,
                "ended": attempt.end,
                "lost_ms": attempt.lost_ms,
                "resumed_from": attempt.resumed_from,
            },
        })
    });
    let lines: Vec<String> = names.chain(spans).map(|line| line.to_string()).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

#[derive(Template)]
#[template(path = "run.html")]
struct Page<'m> {
    style: &'static str,
    moment: &'m Moment,
    is_good: bool,
    is_bad: bool,
    lead: String,
    facts: Vec<(&'static str, String)>,
    timeline: String,
    curves: Vec<String>,
    /// Machines and attempts that are not drawn.
    undrawn: Option<String>,
    lives: Vec<[String; 4]>,
    waits: Vec<(&'static str, [String; 4])>,
    datasets: Vec<Dataset>,
    refused: &'m [Refusal],
    report: Vec<(&'m str, &'m str)>,
}

/// A dataset in the page.
struct Dataset {
    index: u32,
    path: String,
    state: String,
    attempts: u64,
    resumed: usize,
    work: String,
    lost: String,
    reason: String,
}

impl<'m> Page<'m> {
    fn of(moment: &'m Moment, lives: &[Incarnation], attempts: &[Attempt]) -> Self {
        let (timeline, undrawn) = timeline(moment, lives, attempts);
        let sums = &moment.sums;
        let facts = vec![
            ("Progress", watch::steps(moment)),
            ("Preemptions", watch::preemptions(moment)),
            ("Work", format!("{} of it lost: {}", for_a_time(sums.busy_ms), for_a_time(sums.lost_ms))),
            ("Claims", format!("{} of items, {} commits found another's", sums.claims, sums.duplicates)),
            ("Workers' time", for_a_time(moment.alive_ms)),
        ];
        let manifest = moment.files.manifest.as_ref();
        let own = manifest.map_or(0, |manifest| manifest.own().len());
        let word = moment.state.word();
        let report = match &moment.files.ending {
            Some(Ending::Report(report)) => Some(&report.files),
            _ => None,
        };
        let file = |name: &str| Some(report?.get(name)?.clone().into_bytes());
        let workload = manifest.and_then(|manifest| registry::standard().of(&manifest.spec).ok());
        let curves = workload.map_or_else(Vec::new, |workload| workload.curves(&file));
        let texts = report.into_iter().flatten().filter(|(name, _)| name.ends_with(".txt"));
        Self {
            style: STYLE,
            is_good: word == "complete",
            is_bad: ["void", "damaged", "trained on nothing"].contains(&word.as_str()),
            lead: format!(
                "{own} datasets, {} workers in {} lives, {}, workload {}",
                moment.workers.len(),
                lives.len(),
                for_a_time(watch::took_ms(moment)),
                manifest.map_or("unknown", |manifest| &manifest.spec.workload)
            ),
            facts,
            timeline,
            curves: page::curves(&curves),
            undrawn,
            lives: lives.iter().map(life).collect(),
            waits: waits(attempts),
            datasets: datasets(moment, attempts),
            refused: manifest.map_or(&[][..], |manifest| &manifest.refused[..]),
            report: texts.map(|(name, text)| (name.as_str(), text.as_str())).collect(),
            moment,
        }
    }
}

/// The picture, and what it leaves out.
fn timeline(moment: &Moment, lives: &[Incarnation], attempts: &[Attempt]) -> (String, Option<String>) {
    let (began_ms, last_ms) = moment.span_ms.unwrap_or_default();
    let until_ms = if moment.state.has_ended() { last_ms } else { moment.at_ms.max(last_ms) };
    let scale = Scale::new(began_ms, until_ms);
    let drawn = &attempts[..attempts.len().min(ATTEMPTS_MAX)];
    let mut names: Vec<(u32, &str)> = lives.iter().map(|life| (life.machine, life.name.as_str())).collect();
    names.sort_unstable();
    names.dedup();
    let lanes = names.iter().take(LANES_MAX);
    let lanes = lanes.map(|(machine, name)| {
        let name = super::table::last_chars(name, 6);
        page::lane(name, *machine, (lives, drawn), until_ms, scale, class_of)
    });
    let picture = Timeline::new(lanes.collect(), scale).render().unwrap_or_default();
    let machines = names.len().saturating_sub(LANES_MAX);
    let more = attempts.len() - drawn.len();
    let undrawn =
        (machines + more > 0).then(|| format!("{machines} machines and {more} attempts are not drawn"));
    (picture, undrawn)
}

/// A program's chain has the colour of the model's.
fn class_of(attempt: &Attempt) -> &'static str {
    match page::class_of(attempt) {
        "other" if attempt.held.item.step() == "train" => "fold",
        class => class,
    }
}

/// Name, process, how long and how it ended.
fn life(life: &Incarnation) -> [String; 4] {
    let last_ms = life.events.last().map_or(life.started_ms, |event| event.at_ms);
    let ended = match (life.last_words(), life.ended_ms) {
        (Some((code, reason)), _) => format!("{code}: {}", reason.lines().next().unwrap_or_default()),
        (None, Some(_)) => "vanished, or its last events are lost".to_owned(),
        (None, None) => "not ended, as far as is known".to_owned(),
    };
    let lived = for_a_time(last_ms.saturating_sub(life.started_ms));
    [life.name.clone(), life.pid.to_string(), lived, ended]
}

/// From the end of an attempt that did not succeed to the next claim of its item, by how it ended: how many, the
/// median, the ninth decile and the longest.
fn waits(attempts: &[Attempt]) -> Vec<(&'static str, [String; 4])> {
    let is_preempted = |end: End| matches!(end, End::GaveBack(crate::queue::Release::Preempted));
    let kinds: [(&'static str, &dyn Fn(End) -> bool); 2] =
        [("after a notice", &is_preempted), ("after a machine vanished", &|end| end == End::Died)];
    let mut rows = Vec::new();
    for (kind, is_it) in kinds {
        let mut waited: Vec<u64> = attempts
            .iter()
            .filter(|attempt| is_it(attempt.end))
            .filter_map(|attempt| {
                let next = attempts.iter().filter(|next| next.held.item == attempt.held.item);
                let next = next.map(|next| next.start_ms).filter(|start_ms| *start_ms >= attempt.end_ms);
                Some(next.min()? - attempt.end_ms)
            })
            .collect();
        waited.sort_unstable();
        let at = |share: f64| for_a_time(waited[((waited.len() - 1) as f64 * share).round() as usize]);
        if !waited.is_empty() {
            rows.push((kind, [waited.len().to_string(), at(0.5), at(0.9), at(1.0)]));
        }
    }
    rows
}

fn datasets(moment: &Moment, attempts: &[Attempt]) -> Vec<Dataset> {
    let mut sums: BTreeMap<u32, (usize, u64)> = BTreeMap::new();
    for attempt in attempts {
        if let Some(index) = first_of(attempt.held.item) {
            let (resumed, lost) = sums.entry(index).or_default();
            *resumed += usize::from(attempt.resumed_from.is_some());
            *lost += attempt.lost_ms;
        }
    }
    let row = |row: &crate::reader::overview::DatasetRow| {
        let (resumed, lost) = sums.get(&row.index).copied().unwrap_or_default();
        Dataset {
            index: row.index,
            path: row.path.clone(),
            state: row.state.words(),
            attempts: row.attempts,
            resumed,
            work: for_a_time(row.busy_ms),
            lost: for_a_time(lost),
            reason: row.reason.clone().unwrap_or_default(),
        }
    };
    moment.datasets.iter().map(row).collect()
}
