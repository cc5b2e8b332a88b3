//! The client of a server, by TLS where its URL asks for it, and a connection by it.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, RedisError, Value};

use engine::queue::QueueError;

use super::failure::bad_url;
use super::tls::Files;

/// Makes the client of a server, with the files for TLS where it is reached so. Does not connect yet.
#[cfg(feature = "tls")]
pub(super) fn of(info: ConnectionInfo, files: &Files) -> Result<Client, QueueError> {
    use redis::{ClientTlsConfig, TlsCertificates};

    if !matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) {
        return open(info);
    }
    // Refused where one was chosen before: then there is a choice, which is all that is needed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificates = TlsCertificates {
        root_cert: files.authority.as_deref().map(read).transpose()?,
        client_tls: match &files.identity {
            Some((cert, key)) => Some(ClientTlsConfig { client_cert: read(cert)?, client_key: read(key)? }),
            None => None,
        },
    };
    Client::build_with_tls(info, certificates).map_err(|error| {
        QueueError::Refused(format!(
            "a file for TLS cannot be used: {error}\nhint: the files are PEM; a key has no passphrase"
        ))
    })
}

#[cfg(not(feature = "tls"))]
pub(super) fn of(info: ConnectionInfo, _files: &Files) -> Result<Client, QueueError> {
    open(info)
}

/// Connects, and waits no longer than `patience` for that and for each answer.
pub(super) async fn dial(client: &Client, patience: Duration) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(patience))
        .set_response_timeout(Some(patience));
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// Signs in, with what [`super::address::Address::sign_in`] gives.
pub(super) async fn sign_in(
    connection: &mut MultiplexedConnection,
    credentials: &[&str],
) -> Result<(), RedisError> {
    redis::cmd("AUTH").arg(credentials).query_async::<Value>(connection).await.map(drop)
}

fn open(info: ConnectionInfo) -> Result<Client, QueueError> {
    Client::open(info).map_err(|error| bad_url(&error))
}

#[cfg(feature = "tls")]
fn read(path: &str) -> Result<Vec<u8>, QueueError> {
    std::fs::read(path).map_err(|error| {
        QueueError::Refused(format!(
            "the file {path} for TLS cannot be read: {error}\n\
             hint: ssl_ca_certs, ssl_certfile and ssl_keyfile in the URL name files of this machine"
        ))
    })
}
