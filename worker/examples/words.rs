//! A workload of one's own on the engine: counts the words of each text, in parallel, and reports the sums.
//!
//! `cargo run -p worker --example words -- FOLDER`, where FOLDER holds `datasets/training/*.txt`. Start it in several
//! terminals, kill some: each text counts once.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use worker::manifest::{Role, Spec};
use worker::pipeline::{Input, Order, Pipeline, Stage, StageSpec};
use worker::queue::any::AnyQueue;
use worker::run::{Config, Ended, Source, run};
use worker::store::{Store, any, identity::identify};
use worker::system::{Machine, System};
use worker::workload::{Inputs, Once, Outcome, Registry, ReportInput, Task, Workload};

const STAGES: &[StageSpec] = &[StageSpec {
    name: "count",
    folder: "counted",
    order: Order::Each,
    roles: &[Role::Train],
    inputs: &[Input::Content],
}];

struct Words;

impl Workload for Words {
    fn name(&self) -> &'static str {
        "words"
    }
    fn results_version(&self) -> u32 {
        1
    }
    fn params(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
    fn pipeline(&self) -> Pipeline {
        Pipeline::new(STAGES)
    }
    fn task(&self, _: Stage, inputs: Inputs) -> Box<dyn Task> {
        Once::task(move || match std::str::from_utf8(&inputs.content) {
            Ok(text) => Outcome::Part(text.split_whitespace().count().to_string().into_bytes()),
            Err(_) => Outcome::Rejected("it is no text".to_owned()),
        })
    }
    fn report(&self, input: &ReportInput<'_>) -> Result<BTreeMap<String, String>, String> {
        let counts = input.evals.iter().map(|part| String::from_utf8_lossy(&part.bytes).parse::<u64>());
        let sum: u64 = counts.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?.iter().sum();
        Ok([("report.txt".to_owned(), format!("{sum} words in {} texts\n", input.evals.len()))].into())
    }
    fn checkpoint_name(&self, stem: &str) -> String {
        format!("{stem}.count")
    }
}

/// Works on run 1 of a folder until it is finished.
pub async fn count(folder: &Path) -> Result<Ended, Box<dyn Error>> {
    let (store, machine) = (any::open(&folder.into())?, Machine::new(false)?);
    let names = store.list("datasets/training").await?;
    let listed = Source::Listed(names.iter().map(|name| format!("datasets/training/{name}")).collect());
    let config = Config::new("words", "1", listed, Spec::of(&Words));
    let queue =
        AnyQueue::open("sqlite", Some(folder), &identify(&store, machine.nonce()).await?, &config.run)?;
    let registry = Registry::new().with("words", Box::new(|_| Ok(Arc::new(Words))));
    let factory = |spec: &Spec| registry.of(spec);
    Ok(run(&config, &queue, &store, &machine, &factory, &|event| println!("{event:?}")).await)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let Ended { exit, reason } =
        count(&PathBuf::from(std::env::args().nth(1).ok_or("give a folder")?)).await?;
    eprintln!("{reason}");
    Ok(ExitCode::from(exit.code()))
}
