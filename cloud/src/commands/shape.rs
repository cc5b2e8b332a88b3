//! What is asked for, on the command line.

use std::path::PathBuf;

use clap::Args;

use super::workers::WorkersArgs;
use crate::error::{Error, Result};
use crate::gke::connect::Connect;
use crate::gke::cost::Prices;
use crate::gke::deploy::Deployer;
use crate::gke::gcp::Google;
use crate::gke::money::Money;
use crate::gke::plan::{Desired, Mode, Storage, Tier, Work};
use crate::k8s::cluster::{Datasets, GRACE_SECONDS, datasets_digest};

/// What the deployment looks like; the defaults are the tutorial's.
#[derive(Clone, Debug, Args)]
pub(super) struct Shape {
    #[arg(long, default_value = "us-central1")]
    region: String,
    /// The zone of Filestore and of a Standard cluster. [default: the region's zone b, unless the tier is regional]
    #[arg(long)]
    zone: Option<String>,
    #[arg(long, default_value = "default")]
    network: String,
    /// Who runs the machines: Google (autopilot), or you (standard).
    #[arg(long, value_enum, default_value = "autopilot")]
    mode: ModeName,
    /// The machine type of a Standard cluster.
    #[arg(long, default_value = "e2-standard-2")]
    machine_type: String,
    /// Spot machines of a Standard cluster.
    #[arg(long, default_value_t = 1)]
    nodes: u32,
    /// What holds the volume: a Filestore instance, or a bucket.
    #[arg(long, value_enum, default_value = "filestore")]
    storage: Storage,
    /// The bucket's name. [default: the project's and the deployment's]
    #[arg(long)]
    bucket: Option<String>,
    /// Filestore's service tier.
    #[arg(long, default_value_t = Tier::BasicHdd)]
    tier: Tier,
    /// Filestore's size in GiB.
    #[arg(long, default_value_t = 1024)]
    capacity: u64,
    /// Workers at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    workers: u32,
    /// A folder with training/ and testing/. A program takes any folder of files. Without datasets no Job is started: the
    /// rest is made.
    #[arg(long)]
    datasets: Option<PathBuf>,
    /// Stop the Job after this time, such as 90m or 6h [default: never]
    #[arg(long, value_parser = deadline)]
    deadline: Option<u64>,
    /// Refuse what may cost more than this many dollars an hour.
    #[arg(long, value_name = "DOLLARS")]
    max_cost: Option<Money>,
    /// Stop the Job once the deployment, at the highest of the prices, may have cost this many dollars since the Job
    /// began to run.
    #[arg(long, value_name = "DOLLARS", requires = "datasets")]
    max_run_cost: Option<Money>,
    #[command(flatten)]
    workers_args: WorkersArgs,
}

/// A number of seconds, written with its unit.
pub(super) fn deadline(text: &str) -> Result<u64, String> {
    let example = "write a number with its unit: 90m, 6h";
    let span = humantime::parse_duration(text).map_err(|error| format!("{error}; {example}"))?;
    match span.as_secs() {
        0 => Err("it must be at least one second".to_owned()),
        seconds => Ok(seconds),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ModeName {
    Autopilot,
    Standard,
}

impl Shape {
    pub(super) fn desired(&self, project: &str, name: &str, datasets: Option<&Datasets>) -> Result<Desired> {
        let zone =
            self.zone.clone().or_else(|| (!self.tier.is_regional()).then(|| format!("{}-b", self.region)));
        self.check_machines()?;
        let mode = match self.mode {
            ModeName::Autopilot => Mode::Autopilot,
            ModeName::Standard => Mode::Standard {
                machine_type: self.machine_type.clone(),
                nodes: self.nodes,
                grace_s: Mode::leaves(self.workers_args.grace_s()),
            },
        };
        let work = datasets.map(|datasets| self.work(datasets)).transpose()?;
        Ok(Desired {
            deployment: name.to_owned(),
            project: project.to_owned(),
            region: self.region.clone(),
            zone,
            network: self.network.clone(),
            mode,
            storage: self.storage,
            tier: self.tier,
            capacity_gib: self.capacity,
            bucket: self.bucket.clone(),
            workers: self.workers,
            work,
        })
    }

    /// Refuses what machines of the mode cannot do.
    fn check_machines(&self) -> Result<()> {
        let (grace_s, gpus) = (self.workers_args.grace_s(), self.workers_args.gpu);
        match self.mode {
            ModeName::Autopilot if grace_s > GRACE_SECONDS => Err(Error::with_hint(
                "give the workers their --grace",
                format!(
                    "Autopilot's Spot machines leave pods {GRACE_SECONDS}s, and {grace_s}s were asked for"
                ),
                "--mode standard makes machines that leave up to 120s; or leave --grace out",
            )),
            ModeName::Autopilot if gpus > 0 && self.workers_args.gpu_type.is_none() => Err(Error::with_hint(
                "give the workers a GPU",
                "Autopilot makes a machine for it, and must know which GPU",
                "--gpu-type nvidia-l4, or another of https://cloud.google.com/kubernetes-engine/docs/how-to/autopilot-gpus",
            )),
            ModeName::Standard if gpus > 0 => Err(Error::with_hint(
                "give the workers a GPU",
                "the machines that --mode standard makes have none",
                "--mode autopilot makes a machine with the GPU that --gpu-type names; a cluster of yours with GPUs \
                 takes `cloud run`",
            )),
            _ => Ok(()),
        }
    }

    fn work(&self, datasets: &Datasets) -> Result<Work> {
        let workers = self.workers_args.workers()?;
        Ok(Work {
            image: workers.image()?,
            worker_args: workers.args,
            pod: workers.pod,
            digest: datasets_digest(&datasets.files),
            files: datasets.files.len(),
            bytes: datasets.files.iter().map(|file| file.bytes).sum(),
            deadline_s: self.deadline,
            max_run_cost: self.max_run_cost,
        })
    }
}

/// What is asked for, with the datasets read.
pub(super) struct Asked {
    pub(super) desired: Desired,
    pub(super) datasets: Option<Datasets>,
    pub(super) max_cost: Option<Money>,
}

impl Asked {
    pub(super) async fn of(shape: &Shape, project: &str, name: &str) -> Result<Self> {
        let datasets = match &shape.datasets {
            Some(folder) => {
                // Before they are hashed, which may take long.
                shape.workers_args.workers()?.image()?;
                Some(shape.workers_args.datasets(folder).await?)
            }
            None if shape.workers_args.is_program() => {
                let hint = "give the folder of its datasets with --datasets";
                return Err(Error::with_hint("run a program", "--datasets is missing", hint));
            }
            None => None,
        };
        let desired = shape.desired(project, name, datasets.as_ref())?;
        Ok(Self { desired, datasets, max_cost: shape.max_cost })
    }

    pub(super) fn deployer<'a, C: Connect>(
        &'a self,
        google: &'a Google,
        prices: &'a Prices,
        connect: &'a C,
    ) -> Deployer<'a, C> {
        let Self { desired, datasets, max_cost } = self;
        let (datasets, max_cost) = (datasets.as_ref(), *max_cost);
        Deployer { google, connect, prices, desired, datasets, max_cost }
    }
}

#[cfg(test)]
mod tests {
    use super::deadline;

    #[test]
    fn a_deadline_has_a_unit() {
        assert_eq!((deadline("90m"), deadline("6h"), deadline("1s")), (Ok(5400), Ok(21_600), Ok(1)));
        for wrong in ["", "90", "-1h", "10ms"] {
            assert!(deadline(wrong).is_err(), "{wrong}");
        }
    }
}
