//! Buckets under test: on a real S3 server, and by way of a proxy that loses answers.

pub mod canned;
pub mod gcs;
pub mod model;
pub mod proxy;
pub mod server;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use worker::conformance::store::Arm;
use worker::store::bucket::{self, Bucket, Client, Settings};
use worker::store::location::{BucketUrl, Location};

use self::server::Server;

/// Serves each connection to a free port of this machine, for as long as the process lives; returns its address.
fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            sender.send(listener.local_addr().expect("an address")).expect("somebody waits");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
    });
    receiver.recv().expect("it starts")
}

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

/// Has a bucket of the shared server, moto, for itself.
#[derive(Debug)]
pub struct S3Arm {
    server: Arc<Server>,
    url: BucketUrl,
}

impl Arm for S3Arm {
    type Client = Bucket<Client>;

    /// moto 5.2.5 looks and then writes, in threads: on a loaded machine it let two of six creates of a name succeed,
    /// about once in some hundred races. versitygw is held to it (`DurableArm`).
    const CREATES_ATOMICALLY: bool = false;

    fn open() -> Option<Self> {
        let server = Server::shared()?;
        let url = url(&format!("s3://{}/team/volume", server.fresh_bucket()));
        Some(Self { server, url })
    }

    fn client(&self) -> Bucket<Client> {
        bucket::open(&self.url, &settings(&self.server.endpoint(), server::PATIENCE)).expect("good settings")
    }
}

/// Has a versitygw for itself.
#[derive(Debug)]
pub struct DurableArm {
    server: Server,
    url: BucketUrl,
}

impl Arm for DurableArm {
    type Client = Bucket<Client>;

    fn open() -> Option<Self> {
        let server = Server::durable()?;
        let url = url(&format!("s3://{}/team/volume", server.fresh_bucket()));
        Some(Self { server, url })
    }

    fn client(&self) -> Bucket<Client> {
        bucket::open(&self.url, &settings(&self.server.endpoint(), server::PATIENCE)).expect("good settings")
    }
}
