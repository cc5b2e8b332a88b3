//! A client of a bucket by its URL and by the environment's settings, as users of the providers' own tools know them.

use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, Result, RetryConfig};

use super::http::Connector;
use crate::location::{BucketUrl, Provider};

/// Emulators of Google Cloud Storage, as Google's own clients find them.
const GCS_EMULATOR: &str = "STORAGE_EMULATOR_HOST";
/// Requests have time limits of their own (`http.rs`), by what they carry.
const NO_LIMIT: &str = "1day";
/// How long a request is repeated while the server cannot be reached, or is busy or failing.
const PATIENCE: Duration = Duration::from_secs(30);

/// What decides, beside its URL, how a bucket is reached.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `AWS_ENDPOINT_URL`, `GOOGLE_APPLICATION_CREDENTIALS`… with their values.
    pub variables: Vec<(String, String)>,
    /// How long a request is repeated while the server cannot be reached, or is busy or failing.
    pub patience: Duration,
}

impl Settings {
    /// Those of the environment.
    pub fn of_environment() -> Self {
        let in_utf8 = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?)).filter(|(_, value)| !value.is_empty())
        });
        Self { variables: in_utf8.collect(), patience: PATIENCE }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Those whose names object_store knows.
    fn known<K: std::str::FromStr>(&self, prefix: &str) -> impl Iterator<Item = (K, &str)> {
        let variables = self.variables.iter().filter(move |(name, _)| name.starts_with(prefix));
        variables.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value.as_str())))
    }

    /// Again and again until patience is over: a server that restarts is no reason to end.
    fn retry(&self) -> RetryConfig {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(3));
        let backoff = BackoffConfig { init_backoff: first, max_backoff: most, base: 2.0 };
        RetryConfig { backoff, max_retries: 1_000, retry_timeout: self.patience }
    }
}

/// Makes the client. Nothing is sent yet.
pub(super) fn client(
    url: &BucketUrl,
    settings: &Settings,
    connector: Connector,
) -> Result<Box<dyn ObjectStore>> {
    // Refused where one was chosen before: then there is a choice, which is all that is needed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match url.provider {
        Provider::S3 => s3(url, settings, connector),
        Provider::Gcs => gcs(url, settings, connector),
    }
}

fn s3(url: &BucketUrl, settings: &Settings, connector: Connector) -> Result<Box<dyn ObjectStore>> {
    let known = settings.known("AWS_");
    let builder = known.fold(AmazonS3Builder::new(), |builder, (key, value)| builder.with_config(key, value));
    let endpoints = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
    let endpoint = endpoints.iter().find_map(|key| builder.get_config_value(key)).unwrap_or_default();
    let client = |key| AmazonS3ConfigKey::Client(key);
    // A person who names such an endpoint means it.
    let builder = match endpoint.starts_with("http://") {
        true => builder.with_config(client(ClientConfigKey::AllowHttp), "true"),
        false => builder,
    };
    let builder = builder
        .with_bucket_name(&url.bucket)
        .with_config(client(ClientConfigKey::Timeout), NO_LIMIT)
        // Every server knows the deletion of one object.
        .with_disable_bulk_delete(true)
        .with_retry(settings.retry())
        .with_http_connector(connector);
    Ok(Box::new(builder.build()?))
}

fn gcs(url: &BucketUrl, settings: &Settings, connector: Connector) -> Result<Box<dyn ObjectStore>> {
    let known = settings.known("GOOGLE_");
    let new = GoogleCloudStorageBuilder::new();
    let mut builder = known.fold(new, |builder, (key, value)| builder.with_config(key, value));
    if let Some(host) = settings.get(GCS_EMULATOR) {
        let base = if host.contains("://") { host.to_owned() } else { format!("http://{host}") };
        builder = builder
            .with_config(GoogleConfigKey::BaseUrl, base.trim_end_matches('/'))
            .with_config(GoogleConfigKey::SkipSignature, "true")
            // Writes ask for a token all the same.
            .with_config(GoogleConfigKey::BearerToken, "emulator");
    }
    let builder = builder
        .with_bucket_name(&url.bucket)
        .with_config(GoogleConfigKey::Client(ClientConfigKey::Timeout), NO_LIMIT)
        .with_retry(settings.retry())
        .with_http_connector(connector);
    Ok(Box::new(builder.build()?))
}
