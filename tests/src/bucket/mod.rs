//! Buckets under test: on a real S3 server, and by way of a proxy that loses answers.

pub mod canned;
pub mod gcs;
pub mod proxy;
pub mod server;

use std::sync::Arc;
use std::time::Duration;

use worker::conformance::store::Arm;
use worker::store::bucket::{Bucket, Settings};
use worker::store::location::{BucketUrl, Location};

use self::server::Server;

/// The settings of a client that reaches S3 at an endpoint.
pub fn settings(endpoint: &str, patience: Duration) -> Settings {
    Settings { variables: variables(endpoint).to_vec(), patience }
}

/// The same as a person's environment holds them.
pub fn variables(endpoint: &str) -> [(String, String); 4] {
    [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", server::USER),
        ("AWS_SECRET_ACCESS_KEY", server::SECRET),
        ("AWS_REGION", server::REGION),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
}

/// A bucket's URL.
pub fn url(text: &str) -> BucketUrl {
    match Location::parse(text.into()) {
        Ok(Location::Bucket(url)) => url,
        other => panic!("{text}: {other:?}"),
    }
}

/// Has a bucket of the shared server for itself.
#[derive(Debug)]
pub struct S3Arm {
    server: Arc<Server>,
    url: BucketUrl,
}

impl Arm for S3Arm {
    type Client = Bucket;

    fn open() -> Option<Self> {
        let server = Server::shared()?;
        let url = url(&format!("s3://{}/team/volume", server.fresh_bucket()));
        Some(Self { server, url })
    }

    fn client(&self) -> Bucket {
        Bucket::open(&self.url, &settings(&self.server.endpoint(), server::PATIENCE)).expect("good settings")
    }
}
