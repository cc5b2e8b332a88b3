//! `cloud render`: the manifests as files.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use crate::commands::manifests::{File, Target, files};
use crate::commands::storage::{StorageArgs, variable};
use crate::commands::workers::{Workers, WorkersArgs};
use crate::error::{Error, Result};
use crate::k8s::cluster::{Nfs, Volume};
use crate::k8s::objects::volume;

/// Write the Kubernetes manifests, for use with kubectl alone.
#[derive(Args, Clone, Debug)]
pub struct Render {
    /// Which manifests.
    #[arg(long, value_enum)]
    pub target: Target,
    /// The folder to write into.
    #[arg(long, default_value = "manifests")]
    pub out: PathBuf,
    /// Write nothing; fail if what is there differs from what would be written.
    #[arg(long)]
    pub check: bool,
    /// The NFS export, SERVER:/PATH, on GKE Filestore's address and share.
    #[arg(long, value_name = "SERVER:/PATH")]
    pub nfs: Option<String>,
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
    /// How many workers run at once.
    #[arg(long)]
    pub workers: Option<u32>,
    /// Mount options; each replaces the default for the same setting: `nfsvers=4.1`.
    #[arg(long, value_name = "OPTIONS")]
    pub mount_options: Option<String>,
    #[command(flatten)]
    pub workers_args: WorkersArgs,
}

impl Render {
    /// Writes, or compares, and gives the paths that were written or equal.
    ///
    /// # Errors
    /// If a file cannot be written, or with `check` if one is missing or differs.
    pub fn run(&self) -> Result<Vec<PathBuf>> {
        let folder = self.out.join(self.target.folder());
        let mut done = Vec::new();
        for File { path, text } in files(self.target, &self.config()?)? {
            let path = folder.join(path);
            if self.check {
                check(&path, &text)?;
            } else {
                write(&path, &text)?;
            }
            done.push(path);
        }
        Ok(done)
    }

    fn config(&self) -> Result<crate::k8s::objects::Config> {
        let mut config = self.target.config();
        if let Some(nfs) = &self.nfs {
            let (server, path) =
                nfs.rsplit_once(":/").filter(|(server, _)| !server.is_empty()).ok_or_else(|| {
                    Error::with_hint(
                        format!("read --nfs {nfs}"),
                        "it is not SERVER:/PATH",
                        "on GKE: `gcloud filestore instances list` shows the address; --nfs 10.1.2.3:/NFSVol",
                    )
                })?;
            let capacity_gib = config.nfs().map_or(0, |nfs| nfs.capacity_gib);
            config.volume =
                Volume::Nfs(Nfs { server: server.to_owned(), path: format!("/{path}"), capacity_gib });
        }
        config.volume = self.storage.volume().unwrap_or(config.volume);
        let mut workers = self.workers_args.workers()?;
        self.storage.give(&mut workers, variable)?;
        let Workers { image, args, pod } = workers;
        config.image = image.unwrap_or(config.image);
        (config.worker_args, config.pod) = (args, pod);
        config.workers = self.workers.unwrap_or(config.workers);
        if let Some(options) = &self.mount_options {
            config.mount_options = volume::mount_options(options)
                .map_err(|why| Error::other(format!("read --mount-options {options}"), why))?;
        }
        Ok(config)
    }
}

pub(super) fn run(arguments: &Render) -> Result<()> {
    // What is committed has placeholders, and with `check` is compared with them.
    if arguments.target == Target::Gke && !arguments.check {
        let image = arguments.workers_args.workers()?.image;
        let missing = [
            ("--nfs", arguments.nfs.is_none() && arguments.storage.storage.is_none()),
            ("--image", image.is_none()),
        ];
        if let Some((option, _)) = missing.iter().find(|(_, missing)| *missing) {
            let hint = "--nfs ADDRESS:/NFSVol is Filestore's (`gcloud filestore instances list`), --image is what \
                        `cloud image` prints";
            return Err(Error::with_hint(
                "render the manifests for GKE",
                format!("{option} is missing"),
                hint,
            ));
        }
    }
    arguments.run()?.iter().try_for_each(|path| super::terminal::print(&path.display().to_string()))
}

fn write(path: &std::path::Path, text: &str) -> Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text)).map_err(|error| {
        let hint = "name a folder with --out that is there or can be made";
        Error::with_hint(format!("write {}", path.display()), error, hint)
    })
}

fn check(path: &std::path::Path, text: &str) -> Result<()> {
    let doing = format!("check {}", path.display());
    let hint = "run `cloud render`, and commit the difference";
    let found = fs::read_to_string(path).map_err(|error| Error::with_hint(&doing, error, hint))?;
    if found == text {
        return Ok(());
    }
    Err(Error::with_hint(doing, "it is not what the objects in cloud/src/k8s/objects say", hint))
}
