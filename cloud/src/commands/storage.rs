//! `--storage`: a bucket as the volume of a batch, in any cluster.

use clap::Args;
use worker::store::location::{BucketUrl, Location, Provider};

use super::workers::Workers;
use crate::error::{Error, Result};
use crate::k8s::cluster::Volume;
use crate::k8s::pod::{SecretEnv, parse_object};

/// What workers find in the Secret, under these names, and what this machine's environment says of the server. All but
/// the keys may be seen by anybody.
const KEYS: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
const SETTINGS: [&str; 3] = ["AWS_REGION", "AWS_DEFAULT_REGION", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST"];
const ENDPOINT: &str = "AWS_ENDPOINT_URL";

/// The bucket, and how workers reach it.
#[derive(Args, Clone, Debug)]
pub(crate) struct StorageArgs {
    /// A bucket in place of the export: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX.
    #[arg(long, value_name = "URL", conflicts_with_all = ["nfs", "mount_options"], value_parser = bucket)]
    pub storage: Option<BucketUrl>,
    /// The Secret in the namespace that holds the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of workers for an
    /// s3:// bucket [default: the identity of their pods or nodes]
    #[arg(long, value_name = "SECRET", requires = "storage", value_parser = parse_object)]
    storage_secret: Option<String>,
    /// Where workers find the server of an s3:// bucket [default: as here, AWS_ENDPOINT_URL]
    #[arg(long, value_name = "URL", requires = "storage")]
    storage_endpoint: Option<String>,
}

impl StorageArgs {
    /// The volume, where it is a bucket.
    pub(super) fn volume(&self) -> Option<Volume> {
        self.storage.as_ref().map(|url| Volume::Bucket(url.to_string()))
    }

    /// Gives workers what they reach the bucket by; `variable` is this machine's environment.
    ///
    /// # Errors
    /// Where an option is for another kind of bucket.
    pub(super) fn give(
        &self,
        workers: &mut Workers,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<()> {
        let Some(url) = &self.storage else { return Ok(()) };
        if url.provider == Provider::Gcs {
            let options =
                [("--storage-secret", &self.storage_secret), ("--storage-endpoint", &self.storage_endpoint)];
            let Some((option, _)) = options.iter().find(|(_, given)| given.is_some()) else { return Ok(()) };
            let hint = "leave it out: workers reach a gs:// bucket by the identity of their pods, the service account \
                        `workload`";
            return Err(Error::with_hint(format!("use {option}"), format!("{url} takes none"), hint));
        }
        let keys = self.storage_secret.iter().flat_map(|secret| {
            KEYS.map(|key| SecretEnv { name: key.to_owned(), secret: secret.clone(), key: key.to_owned() })
        });
        workers.pod.secrets.extend(keys);
        let endpoint = self.storage_endpoint.clone().or_else(|| variable(ENDPOINT));
        let settings = SETTINGS.map(|name| (name, variable(name))).into_iter().chain([(ENDPOINT, endpoint)]);
        let given = settings.filter_map(|(name, value)| Some((name.to_owned(), value?)));
        workers.pod.variables.extend(given);
        Ok(())
    }
}

/// This machine's.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn bucket(text: &str) -> Result<BucketUrl, String> {
    match Location::parse(text.into())? {
        Location::Bucket(url) => Ok(url),
        Location::Folder(_) => Err("give s3://BUCKET/PREFIX or gs://BUCKET/PREFIX".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::k8s::pod::PodChoice;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        storage: StorageArgs,
        #[arg(long)]
        nfs: Option<String>,
        #[arg(long)]
        mount_options: Option<String>,
    }

    fn given(options: &str) -> Result<PodChoice> {
        let line = Line::parse_from(["line"].into_iter().chain(options.split(' ')));
        let mut workers = Workers { image: None, args: Vec::new(), pod: PodChoice::default() };
        let here = |name: &str| match name {
            "AWS_REGION" => Some("eu-central-1".to_owned()),
            "AWS_ENDPOINT_URL" => Some("http://here:9000".to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some("sesame".to_owned()),
            _ => None,
        };
        line.storage.give(&mut workers, here).map(|()| workers.pod)
    }

    #[test]
    fn workers_are_given_the_server_and_the_name_of_a_secret() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let pod = given("--storage s3://data/team").unwrap();
        let here = [pair("AWS_REGION", "eu-central-1"), pair("AWS_ENDPOINT_URL", "http://here:9000")];
        assert_eq!((pod.variables, pod.secrets), (here.to_vec(), Vec::new()));
        let pod =
            given("--storage s3://data --storage-secret keys --storage-endpoint http://s3:7070").unwrap();
        assert_eq!(pod.variables[1], pair("AWS_ENDPOINT_URL", "http://s3:7070"));
        let names: Vec<_> = pod.secrets.iter().map(|one| (&*one.name, &*one.secret, &*one.key)).collect();
        assert_eq!(names, KEYS.map(|key| (key, "keys", key)));
        assert!(!format!("{:?}", given("--storage s3://data")).contains("sesame"));
        assert_eq!(given("--storage gs://data"), Ok(PodChoice::default()));
        assert!(given("--storage gs://data --storage-secret keys").is_err());
    }

    #[test]
    fn a_bucket_is_no_export() {
        for wrong in ["--storage folder", "--storage s3://b --nfs a:/b", "--storage-secret keys"] {
            assert!(Line::try_parse_from(["line"].into_iter().chain(wrong.split(' '))).is_err(), "{wrong}");
        }
    }
}
