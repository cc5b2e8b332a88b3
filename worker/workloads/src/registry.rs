//! The workloads of this program, and which one a command line names.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

use clap::Args;
use engine::audit::Share;
use engine::registry::Registry;
use engine::workload::Workload;

use crate::exec::cli::ExecArgs;
use crate::exec::log::Logs;
use crate::exec::{self, Exec, Local, Setup};
use crate::fraud::{self, Fraud, Params};
use crate::input::Columns;
use crate::input::cli::ColumnArgs;
use crate::longer::{self, Longer};

/// What a command line says of the workload, should this worker begin the run.
#[derive(Debug, Clone, Args)]
// A program reads its own columns.
#[command(
    mut_arg("map_columns", |columns| columns.conflicts_with_all(["command", "prepare"])),
    mut_arg("text_ids", |ids| ids.conflicts_with_all(["command", "prepare"]))
)]
pub struct WorkloadArgs {
    #[command(flatten)]
    pub exec: ExecArgs,
    /// The share of the items that a worker does twice and compares before it commits them: two results that differ void
    /// the run. Every worker chooses the same. Of a program the bytes are compared with --deterministic, else what --digest
    /// prints [default: 0%]
    #[arg(long, env = "WORKER_AUDIT", value_name = "SHARE", default_value_t = Share::NONE, hide_default_value = true)]
    pub audit: Share,
    /// A parameter of the fraud workload, NAME=VALUE (repeatable); recorded in the manifest.
    #[arg(
        long = "param",
        env = "WORKER_PARAMS",
        value_name = "NAME=VALUE",
        value_delimiter = ',',
        conflicts_with_all = ["command", "prepare"]
    )]
    params: Vec<String>,
    #[command(flatten)]
    columns: ColumnArgs,
}

impl WorkloadArgs {
    /// Whether the workload is a program of the user's.
    pub fn is_program(&self) -> bool {
        self.exec.is_program()
    }

    /// The same as arguments of `worker run`, which end with a program's command.
    pub fn to_arguments(&self) -> Vec<OsString> {
        let params = self.params.iter().flat_map(|param| ["--param", param]).map(OsString::from);
        let audit = Some(self.audit).filter(|audit| *audit != Share::NONE);
        let audit = audit.into_iter().flat_map(|audit| ["--audit".to_owned(), audit.to_string()]);
        let own = params.chain(audit.map(OsString::from)).chain(self.columns.to_arguments());
        own.chain(self.exec.to_arguments()).collect()
    }

    /// The workloads of this program, with what the command line says of this machine.
    pub fn registry(&self, shown_max: u64, logs: Option<Logs>) -> Registry {
        on(self.exec.local(shown_max, logs))
    }

    /// The workload's name and its parameters, with rounds of extra work for each dataset.
    ///
    /// # Errors
    /// Where a parameter or a variable has no `=`.
    pub fn named(&self, rounds: u64) -> Result<(&'static str, BTreeMap<String, String>), String> {
        if let Some(setup) = self.exec.setup()? {
            let is_audited = self.audit != Share::NONE;
            if is_audited && !setup.deterministic && self.exec.digest.is_none() {
                return Err(
                    "--audit compares two results byte for byte, and this program's may differ\nhint: \
                            declare --deterministic where `sim check` finds them equal, or let --digest print what counts"
                        .to_owned(),
                );
            }
            if is_audited && setup.deterministic && self.exec.digest.is_some() {
                return Err("--digest is for results whose bytes differ, and --deterministic says that they do not\nhint: \
                            leave one of them out"
                    .to_owned());
            }
            return Ok((exec::NAME, setup.params()));
        }
        let mut params = BTreeMap::new();
        for param in &self.params {
            let (name, value) =
                param.split_once('=').ok_or_else(|| format!("--param {param}: write it as NAME=VALUE"))?;
            params.insert(name.trim().to_owned(), value.trim().to_owned());
        }
        params.extend(self.columns.columns()?.params());
        if rounds > 0 {
            params.insert(longer::PARAM.to_owned(), rounds.to_string());
        }
        Ok((fraud::NAME, params))
    }
}

/// The workloads of this program, as a machine runs them that says nothing of its own.
pub fn standard() -> Registry {
    on(Local::default())
}

/// The workloads of this program on a machine.
pub fn on(local: Local) -> Registry {
    let exec = move |params: &BTreeMap<String, String>| -> Result<Arc<dyn Workload>, String> {
        Ok(Arc::new(Exec::new(Setup::parse(params)?, local.clone())))
    };
    Registry::new().with(fraud::NAME, Box::new(make_fraud)).with(exec::NAME, Box::new(exec))
}

/// The fraud model, with extra work where the parameters ask for it.
fn make_fraud(params: &BTreeMap<String, String>) -> Result<Arc<dyn Workload>, String> {
    let mut params = params.clone();
    let rounds = params.remove(longer::PARAM);
    let columns = Columns::take(&mut params)?;
    let fraud = Arc::new(Fraud::new(Params::parse(&params)?).reading(columns));
    let Some(rounds) = rounds else { return Ok(fraud) };
    let rounds = rounds.parse().map_err(|_| format!("{}: `{rounds}` is no number", longer::PARAM))?;
    Ok(Arc::new(Longer::new(fraud, rounds)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_stage_has_a_name_and_a_folder_of_its_own() {
        let program = |stages: &[&str]| -> BTreeMap<String, String> {
            stages.iter().map(|stage| ((*stage).to_owned(), r#"["true"]"#.to_owned())).collect()
        };
        let programs: [&[&str]; 5] = [
            &["prepare"],
            &["train"],
            &["prepare", "train"],
            &["train", "evaluate"],
            &["prepare", "train", "evaluate"],
        ];
        let programs = programs.map(|stages| (exec::NAME, program(stages)));
        for (name, params) in [(fraud::NAME, BTreeMap::new())].into_iter().chain(programs) {
            let pipeline = standard().make(name, &params).unwrap().pipeline();
            let specs: Vec<_> = pipeline.stages().map(|stage| pipeline.spec(stage)).collect();
            let names: BTreeSet<&str> = specs.iter().map(|spec| spec.name).collect();
            let folders: BTreeSet<&str> = specs.iter().map(|spec| spec.folder).collect();
            assert_eq!((names.len(), folders.len()), (specs.len(), specs.len()));
        }
    }
}
