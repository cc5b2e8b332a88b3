//! Which workload a manifest, or a command line, names.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;

use super::Workload;
use super::exec::cli::ExecArgs;
use super::exec::{self, Exec, Local, Setup};
use super::fraud::{self, Fraud, Params};
use super::longer::{self, Longer};
use crate::manifest::Spec;

/// What a command line says of the workload, should this worker begin the run.
#[derive(Debug, Clone, Args)]
pub struct WorkloadArgs {
    #[command(flatten)]
    exec: ExecArgs,
    /// A parameter of the fraud workload, NAME=VALUE (repeatable); recorded in the manifest.
    #[arg(
        long = "param",
        env = "WORKER_PARAMS",
        value_name = "NAME=VALUE",
        value_delimiter = ',',
        conflicts_with = "command"
    )]
    params: Vec<String>,
}

impl WorkloadArgs {
    /// The workloads of this program, with what the command line says of this machine.
    pub fn registry(&self, shows_output: bool) -> Registry {
        Registry::on(self.exec.local(shows_output))
    }

    /// The workload's name and its parameters, with rounds of extra work for each dataset.
    ///
    /// # Errors
    /// Where a parameter or a variable has no `=`.
    pub fn named(&self, rounds: u64) -> Result<(&'static str, BTreeMap<String, String>), String> {
        if let Some(setup) = self.exec.setup()? {
            return Ok((exec::NAME, setup.params()));
        }
        let mut params = BTreeMap::new();
        for param in &self.params {
            let (name, value) =
                param.split_once('=').ok_or_else(|| format!("--param {param}: write it as NAME=VALUE"))?;
            params.insert(name.trim().to_owned(), value.trim().to_owned());
        }
        if rounds > 0 {
            params.insert(longer::PARAM.to_owned(), rounds.to_string());
        }
        Ok((fraud::NAME, params))
    }
}

/// Makes a workload from its parameters; what they leave out has its default. Refuses with a reason that names
/// the parameter.
pub type Maker = Box<dyn Fn(&BTreeMap<String, String>) -> Result<Arc<dyn Workload>, String>>;

/// The workloads that a program knows, by the name that manifests carry.
#[derive(Default)]
pub struct Registry {
    makers: BTreeMap<&'static str, Maker>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.makers.keys()).finish()
    }
}

impl Registry {
    pub fn new() -> Self {
        Self::default()
    }

    /// The workloads of this program, as a machine runs them that says nothing of its own.
    pub fn standard() -> Self {
        Self::on(Local::default())
    }

    /// The workloads of this program on a machine.
    pub fn on(local: Local) -> Self {
        let exec = move |params: &BTreeMap<String, String>| -> Result<Arc<dyn Workload>, String> {
            Ok(Arc::new(Exec::new(Setup::parse(params)?, local.clone())))
        };
        Self::new().with(fraud::NAME, Box::new(make_fraud)).with(exec::NAME, Box::new(exec))
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, maker: Maker) -> Self {
        self.makers.insert(name, maker);
        self
    }

    /// Makes a workload by its name.
    ///
    /// # Errors
    /// Names the workloads there are where there is none of this name, or the parameter that is unknown or has no
    /// such value.
    pub fn make(&self, name: &str, params: &BTreeMap<String, String>) -> Result<Arc<dyn Workload>, String> {
        let Some(maker) = self.makers.get(name) else {
            let known: Vec<&str> = self.makers.keys().copied().collect();
            return Err(format!("there is no workload `{name}`: this worker has {}", known.join(", ")));
        };
        maker(params)
    }

    /// The workload that a manifest names.
    ///
    /// # Errors
    /// As [`Registry::make`].
    pub fn of(&self, spec: &Spec) -> Result<Arc<dyn Workload>, String> {
        self.make(&spec.workload, &spec.params)
    }
}

/// The fraud model, with extra work where the parameters ask for it.
fn make_fraud(params: &BTreeMap<String, String>) -> Result<Arc<dyn Workload>, String> {
    let mut params = params.clone();
    let rounds = params.remove(longer::PARAM);
    let fraud = Arc::new(Fraud::new(Params::parse(&params)?));
    let Some(rounds) = rounds else { return Ok(fraud) };
    let rounds = rounds.parse().map_err(|_| format!("{}: `{rounds}` is no number", longer::PARAM))?;
    Ok(Arc::new(Longer::new(fraud, rounds)))
}
