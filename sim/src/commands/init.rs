//! `sim init`: a scenario file with comments, from what a folder holds.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use worker::contract::Exit;
use worker::failure::Failure;
use worker::workload::days::day_of;

use crate::report::terminal::print;

#[derive(Debug, Args)]
pub struct InitArgs {
    /// The folder to look at and to write batch.toml into.
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

const NAME: &str = "batch.toml";

/// Writes it, to an exit code.
///
/// # Errors
/// Where it is there already, or cannot be written.
pub fn main(args: &InitArgs) -> Result<u8, Failure> {
    let path = args.folder.join(NAME);
    let text = scenario(&Found::look(&args.folder)?);
    let mut file = fs::File::create_new(&path).map_err(|error| {
        let failure = Failure::new(Exit::Usage, format!("write {}", path.display()), error);
        if path.exists() { failure.hint("remove it first, or edit it") } else { failure }
    })?;
    std::io::Write::write_all(&mut file, text.as_bytes())
        .map_err(Failure::when(Exit::Failed, "write the scenario"))?;
    let path = path.display();
    print(&format!("wrote {path}\nhint: sim check --scenario {path}, then sim run --scenario {path}\n"))?;
    Ok(Exit::Finished.code())
}

/// What a folder holds.
struct Found {
    datasets: Option<String>,
    script: Option<String>,
}

impl Found {
    fn look(folder: &Path) -> Result<Self, Failure> {
        let names = |folder: &Path| -> Result<Vec<String>, Failure> {
            let entries = fs::read_dir(folder)
                .map_err(Failure::when(Exit::Usage, format!("read {}", folder.display())))
                .map_err(|failure| failure.hint("name a folder with your program and its data"))?;
            let mut names: Vec<String> =
                entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
            names.sort_unstable();
            Ok(names)
        };
        let all = names(folder)?;
        let days = |name: &&String| {
            let inside = names(&folder.join(name)).unwrap_or_default();
            inside.iter().filter(|name| day_of(name).is_some()).count()
        };
        // The folder with the most days in the names of its files; of equal ones the first by name.
        let datasets =
            all.iter().rev().filter(|name| folder.join(name).is_dir() && days(name) > 0).max_by_key(days);
        let is_script = |name: &&String| name.ends_with(".py") || name.ends_with(".sh");
        let script = all.iter().find(|name| is_script(name) && name.contains("train"));
        let script = script.or_else(|| all.iter().find(is_script));
        Ok(Self { datasets: datasets.cloned(), script: script.cloned() })
    }
}

fn scenario(found: &Found) -> String {
    let datasets = found.datasets.as_deref().unwrap_or("days");
    let script = found.script.as_deref().unwrap_or("train.py");
    let interpreter = if script.ends_with(".sh") { "sh" } else { "python3" };
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let train =
        [interpreter, script, "--data", "{input}", "--init", "{previous}", "--out", "{output}"].map(quoted);
    let (datasets, train) = (quoted(datasets), train.join(", "));
    format!(
        r##"# A batch, for `sim run --scenario batch.toml`, `sim check`, `worker run` and `cloud`; docs/own-code.md says more.
# Options on the command line win. Paths are relative to the folder where the command is started.

# A folder with a file a day, days in their names; those with `test` in their name are to test with.
datasets = {datasets}
# tests = ["days/2018-04-06.csv"]

[commands]
# One after the other, each from the state before. An argument with {{previous}} is left out for the first dataset,
# and the option before it.
train = [{train}]
# Each dataset alone, before the chain; {{input}} of train is then the folder that it leaves.
# prepare = "python3 prepare.py {{input}} {{output}}"
# Each state, with the test datasets.
# evaluate = "python3 evaluate.py {{input}} {{tests}} {{output}}"
# Once, at the end: a folder with each dataset's last output, and the chain's last state.
# report = "python3 report.py {{input}} {{previous}} {{output}}"

[program]
# Whether equal inputs give equal bytes; `sim check` finds out.
deterministic = false
# What counts of a result where bytes cannot be equal: `sim check` and audits compare what it prints.
# digest = "python3 predict.py {{output}}"
# Other platforms' variables as well: CLOUD_RUN_TASK_INDEX and so on.
aliases = false
# scratch = "/mnt/local-ssd"

[limits]
# item_timeout = "1h"
# retries = 3

[run]
workers = 3
# queue = "redis"
# lease = "5s"
# out = "out/mine"
# For `worker run`:
# volume = "/mnt/fileserver"
# list = "datasets.txt"

[preemption]
# progress, none, poisson:30s, every:1m
rule = "progress"
seed = 1
# grace = "15s"
# silent = 0.3
# pause = 0.2

[env]
# OMP_NUM_THREADS = "1"

# For `cloud run`, `cloud deploy`, `cloud plan` and `cloud render`:
[containers]
# image = "registry/mine:1"
# worker_image = "registry/worker:1"
# pull_secret = "registry"
# kueue_queue = "team-a"

[resources]
# cpu = "4"
# memory = "16Gi"
# gpu = 1
# gpu_type = "nvidia-l4"
# scratch = "20Gi"

# Variables whose values are in Secrets: SECRET:KEY.
[secrets]
# TOKEN = "hub:token"

# Labels that machines must have.
[node_selector]
# pool = "big"
"##
    )
}
