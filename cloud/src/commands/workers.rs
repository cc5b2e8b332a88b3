//! What the workers run, and in what pods: the same options wherever a Job is made or rendered.

use std::path::Path;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use worker::cli::batch::BatchArgs;

use super::datasets;
use crate::error::{Error, Result};
use crate::gke::ACCELERATOR;
use crate::k8s::cluster::{Datasets, GRACE_SECONDS};
use crate::k8s::pod::{
    PodChoice, SecretEnv, parse_cpu, parse_grace, parse_label, parse_memory, parse_object, parse_scratch,
    parse_secret,
};

/// The workers of a batch.
#[derive(Clone, Debug, Args)]
pub struct WorkersArgs {
    /// The image that workers run in. With a command after `--`: your image, unchanged. Otherwise: the worker's, as
    /// `cloud image` prints it. The cluster's nodes must be able to pull it or already have it.
    #[arg(long, value_name = "IMAGE", value_parser = NonEmptyStringValueParser::new())]
    pub image: Option<String>,
    /// With a command after `--`: the worker's image, from which the worker's program is copied into yours.
    #[arg(long, env = "CLOUD_WORKER_IMAGE", value_name = "IMAGE")]
    worker_image: Option<String>,
    /// vCPUs of each worker: 2, 0.5 or 500m [default: 1]
    #[arg(long, value_name = "CPU", value_parser = parse_cpu)]
    cpu: Option<u64>,
    /// Memory of each worker, the program's included: 512Mi or 8Gi [default: 2Gi]
    #[arg(long, value_name = "MEMORY", value_parser = parse_memory)]
    memory: Option<u64>,
    /// GPUs of each worker, of NVIDIA's.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=64))]
    pub(super) gpu: u32,
    /// GKE's name of the GPU, as nvidia-l4: the machines' label cloud.google.com/gke-accelerator.
    #[arg(long, value_name = "TYPE", requires = "gpu")]
    pub(super) gpu_type: Option<String>,
    /// Space for the folders that a program's attempts work in [default: 8Gi]
    #[arg(long, value_name = "SIZE", value_parser = parse_scratch)]
    scratch_size: Option<u64>,
    /// A label that machines must have (repeatable).
    #[arg(long = "node-selector", value_name = "KEY=VALUE", value_parser = parse_label)]
    node_selectors: Vec<(String, String)>,
    /// A variable of the program's environment whose value is a key of a Secret in the namespace (repeatable). It is not
    /// recorded in the run; what --env gives is.
    #[arg(long = "secret-env", value_name = "NAME=SECRET:KEY", value_parser = parse_secret)]
    secrets: Vec<SecretEnv>,
    /// The Secret with which images are pulled.
    #[arg(long, value_name = "SECRET", value_parser = parse_object)]
    pull_secret: Option<String>,
    /// Let Kueue start and stop the Job: the name of a LocalQueue in the namespace.
    #[arg(long, value_name = "NAME", value_parser = parse_object)]
    kueue_queue: Option<String>,
    /// Time from SIGTERM to SIGKILL, at most 120s. The machines must allow it: GKE Spot does in a Standard cluster
    /// with Kubernetes 1.35 or newer [default: 15s]
    #[arg(long, value_name = "TIME", value_parser = parse_grace)]
    grace: Option<u32>,
    #[command(flatten)]
    batch: BatchArgs,
}

/// What workers are.
#[derive(Clone, Debug)]
pub(super) struct Workers {
    /// The worker's image.
    pub image: Option<String>,
    pub args: Vec<String>,
    pub pod: PodChoice,
}

impl Workers {
    /// The worker's image, which must be known.
    ///
    /// # Errors
    /// Where none was given.
    pub(super) fn image(&self) -> Result<String> {
        let hint = "it names the worker's image: `cloud image` makes one, and docs/kubernetes.md says how to without Google";
        self.image.clone().ok_or_else(|| Error::with_hint("run a batch", "--image is missing", hint))
    }
}

impl WorkersArgs {
    /// Whether a program of the user's is run.
    pub(super) fn is_program(&self) -> bool {
        self.batch.is_program()
    }

    /// What is asked for.
    ///
    /// # Errors
    /// Names the option that is wrong, or that does not fit to another.
    pub(super) fn workers(&self) -> Result<Workers> {
        self.check_batch()?;
        let (image, program_image) = self.images()?;
        let mut node_selector: std::collections::BTreeMap<_, _> =
            self.node_selectors.iter().cloned().collect();
        node_selector.extend(self.gpu_type.clone().map(|gpu| (ACCELERATOR.to_owned(), gpu)));
        let args = self.batch.to_arguments().into_iter().map(|argument| {
            // What is no text was given on no command line that this one reads.
            argument.to_string_lossy().into_owned()
        });
        Ok(Workers {
            image,
            args: args.collect(),
            pod: PodChoice {
                program_image,
                milli_cpu: self.cpu,
                mib: self.memory,
                gpus: self.gpu,
                scratch_gib: self.scratch_size,
                node_selector,
                secrets: self.secrets.clone(),
                variables: Vec::new(),
                pull_secret: self.pull_secret.clone(),
                kueue_queue: self.kueue_queue.clone(),
                grace_s: self.grace,
            },
        })
    }

    /// From SIGTERM to SIGKILL, in seconds.
    pub(super) fn grace_s(&self) -> u32 {
        self.grace.unwrap_or(GRACE_SECONDS)
    }

    fn check_batch(&self) -> Result<()> {
        self.batch.check().map_err(|why| {
            let (why, hint) =
                why.split_once("\nhint: ").map_or((why.as_str(), None), |(why, hint)| (why, Some(hint)));
            let doing = "understand what is to be run";
            hint.map_or_else(|| Error::other(doing, why), |hint| Error::with_hint(doing, why, hint))
        })
    }

    /// The worker's image, and that of a program.
    fn images(&self) -> Result<(Option<String>, Option<String>)> {
        let doing = "choose the images";
        match (self.batch.is_program(), &self.image, &self.worker_image) {
            (true, Some(_), None) => Err(Error::with_hint(
                doing,
                "a program runs in its own image, and the worker's program is copied into it from the worker's",
                "name that with --worker-image: `cloud image` makes it and prints its name",
            )),
            // The worker's image has a shell, and may have more.
            (true, image, worker) => Ok((worker.clone(), image.clone().or_else(|| worker.clone()))),
            (false, None, worker) => Ok((worker.clone(), None)),
            (false, Some(image), None) => Ok((Some(image.clone()), None)),
            (false, Some(image), Some(worker)) if image == worker => Ok((Some(image.clone()), None)),
            (false, Some(_), Some(_)) => Err(Error::with_hint(
                doing,
                "the fraud model runs in the worker's own image, and another is given",
                "leave out --image, or give the command of a program after `--`",
            )),
        }
    }

    /// The datasets of a folder, for what is run.
    pub(super) async fn datasets(&self, folder: &Path) -> Result<Datasets> {
        datasets::read(folder, self.batch.is_program()).await
    }
}
