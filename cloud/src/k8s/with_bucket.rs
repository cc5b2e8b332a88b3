//! A cluster whose volume may be a bucket: files then go straight into it from this machine, and come straight from it.

use std::path::Path;

use super::cluster::{Batch, Cluster, Datasets, Follow, Objects, PodUse, Ran, ResultFile};
use crate::error::Result;

/// A bucket that is the volume of a batch, as this machine reaches it.
#[expect(async_fn_in_trait, reason = "called from one thread; no bound on the futures is needed")]
pub trait BucketFiles {
    /// Looks whether it is there and lets us in, where nothing else has.
    async fn reach(&self) -> Result<()>;

    /// The digest of the datasets that are all there, where the bucket keeps it.
    async fn staged(&self) -> Result<Option<String>>;

    /// Puts what is not there; `tell` gets each path.
    async fn stage(&self, batch: &Batch, datasets: &Datasets, tell: &mut dyn FnMut(&str)) -> Result<()>;

    /// Puts the list of the run's datasets.
    async fn write_list(&self, batch: &Batch) -> Result<()>;

    /// The results that are there, sorted by path.
    async fn results(&self) -> Result<Vec<ResultFile>>;

    /// Copies results here. Each appears under its name whole, or not at all.
    async fn fetch(&self, files: &[ResultFile], into: &Path) -> Result<()>;

    /// How long the workers of a run were there, by its events.
    async fn usage(&self, ran: &Ran) -> Result<Vec<PodUse>>;
}

/// A cluster, and the bucket that is the volume of the batch in it, if one is.
#[derive(Clone, Debug)]
pub struct WithBucket<C, B> {
    pub cluster: C,
    pub bucket: Option<B>,
}

impl<C: Cluster, B: BucketFiles> Cluster for WithBucket<C, B> {
    async fn fit(&self) -> Result<()> {
        if let Some(bucket) = &self.bucket {
            bucket.reach().await?;
        }
        self.cluster.fit().await
    }

    async fn observe(&self, deployment: &str) -> Result<Objects> {
        let mut objects = self.cluster.observe(deployment).await?;
        if let Some(bucket) = &self.bucket {
            objects.staged = bucket.staged().await?;
        }
        Ok(objects)
    }

    async fn apply(&self, batch: &Batch, tell: &mut dyn FnMut(&str)) -> Result<()> {
        self.cluster.apply(batch, tell).await
    }

    async fn stage(&self, batch: &Batch, datasets: &Datasets, tell: &mut dyn FnMut(&str)) -> Result<()> {
        match &self.bucket {
            Some(bucket) => bucket.stage(batch, datasets, tell).await,
            None => self.cluster.stage(batch, datasets, tell).await,
        }
    }

    async fn start(&self, batch: &Batch) -> Result<()> {
        if let Some(bucket) = &self.bucket {
            bucket.write_list(batch).await?;
        }
        self.cluster.start(batch).await
    }

    async fn logs(&self, deployment: &str, follow: Follow, tell: &mut dyn FnMut(&str)) -> Result<()> {
        self.cluster.logs(deployment, follow, tell).await
    }

    async fn results(&self, deployment: &str) -> Result<Vec<ResultFile>> {
        match &self.bucket {
            Some(bucket) => bucket.results().await,
            None => self.cluster.results(deployment).await,
        }
    }

    async fn fetch(&self, deployment: &str, files: &[ResultFile], into: &Path) -> Result<()> {
        match &self.bucket {
            Some(bucket) => bucket.fetch(files, into).await,
            None => self.cluster.fetch(deployment, files, into).await,
        }
    }

    async fn ran(&self, deployment: &str) -> Result<Option<Ran>> {
        self.cluster.ran(deployment).await
    }

    async fn usage(&self, deployment: &str) -> Result<Vec<PodUse>> {
        let Some(bucket) = &self.bucket else { return self.cluster.usage(deployment).await };
        match self.cluster.ran(deployment).await? {
            Some(ran) => bucket.usage(&ran).await,
            None => Ok(Vec::new()),
        }
    }

    async fn delete(&self, deployment: &str, tell: &mut dyn FnMut(&str)) -> Result<()> {
        self.cluster.delete(deployment, tell).await
    }
}
