//! `--volume`: a bucket in place of the folder.

use worker::contract::Exit;
use worker::failure::Failure;

use super::place::Backend;
use super::{Prepared, RunArgs};
use crate::bucket;

/// # Errors
/// Where --volume names what cannot be one.
pub fn check(args: &RunArgs) -> Result<(), Failure> {
    let Some(volume) = &args.volume else { return Ok(()) };
    let refuse = |why: &str, hint: &str| {
        Err(Failure::new(Exit::Usage, format!("use --volume {volume}"), why).hint(hint))
    };
    if volume.folder().is_some() {
        return refuse("it is no bucket", "give a folder as --out: the volume then lies there");
    }
    match args.place.backend {
        Backend::Process => Ok(()),
        Backend::Kind => refuse("a cluster has a volume of its own", "leave out --backend kind"),
    }
}

impl Prepared {
    /// Puts the datasets where the volume is a bucket.
    pub(super) async fn stage_in_bucket(&mut self) -> Result<(), Failure> {
        if self.args.volume.is_some() {
            let store = bucket::open(&self.plan.location).await?;
            bucket::stage(&store, &self.datasets, &self.plan.run, &self.plan.list).await?;
            self.bucket = Some(store);
        }
        Ok(())
    }

    /// Copies to the folder what the run left in the bucket.
    pub(super) async fn fetch_from_bucket(&self) -> Result<(), Failure> {
        match &self.bucket {
            Some(store) => bucket::fetch(store, &self.plan.run, &self.plan.volume).await,
            None => Ok(()),
        }
    }
}
