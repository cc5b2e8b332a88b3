//! TLS to a server: the files that a URL names for it, and what its refusals mean.

use redis::{Client, ConnectionInfo, RedisError};

use engine::queue::QueueError;

/// What the URL's parameters name, as redis-py calls them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Files {
    /// `ssl_ca_certs`: who signed the server's certificate, where the system does not know them.
    pub authority: Option<String>,
    /// `ssl_certfile` and `ssl_keyfile`: who we are, where the server asks.
    pub identity: Option<(String, String)>,
}

/// Why a handshake was refused, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub why: String,
    pub hint: &'static str,
}

/// Makes the client of a server, with the files for TLS where it is reached so. Does not connect yet.
#[cfg(feature = "tls")]
pub(super) fn client(info: ConnectionInfo, files: &Files) -> Result<Client, QueueError> {
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
pub(super) fn client(info: ConnectionInfo, _files: &Files) -> Result<Client, QueueError> {
    open(info)
}

fn open(info: ConnectionInfo) -> Result<Client, QueueError> {
    Client::open(info).map_err(|error| super::failure::bad_url(&error))
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

/// What the other side, or our own check of its certificate, refuses. Not what may pass, such as a broken connection.
#[cfg(feature = "tls")]
pub(super) fn refusal(error: &RedisError) -> Option<Refusal> {
    use rustls::CertificateError::{Expired, ExpiredContext, NotValidForName, NotValidForNameContext};
    use rustls::CertificateError::{NotValidYet, NotValidYetContext, UnknownIssuer};
    use rustls::Error::{AlertReceived, InvalidCertificate};

    let error = cause(error)?;
    let hint = match error {
        InvalidCertificate(UnknownIssuer) => {
            "name the authority that signed it: ?ssl_ca_certs=FILE at the URL's end, or SSL_CERT_FILE"
        }
        InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            "use the host's name as the certificate has it"
        }
        InvalidCertificate(Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }) => {
            "renew the server's certificate, or set this machine's clock"
        }
        InvalidCertificate(_) => "the server needs another certificate",
        AlertReceived(_) => {
            "the server asks for a certificate that it knows: ?ssl_certfile=FILE&ssl_keyfile=FILE at the URL's end"
        }
        _ => return None,
    };
    Some(Refusal { why: error.to_string(), hint })
}

#[cfg(not(feature = "tls"))]
pub(super) fn refusal(_error: &RedisError) -> Option<Refusal> {
    None
}

/// The error of TLS within the client's, which wraps it twice.
#[cfg(feature = "tls")]
fn cause(error: &RedisError) -> Option<&rustls::Error> {
    use std::error::Error;
    use std::sync::Arc;

    let source = error.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>()?;
    source.downcast_ref::<rustls::Error>().or_else(|| {
        let io = source.downcast_ref::<std::io::Error>()?;
        io.get_ref()?.downcast_ref::<rustls::Error>()
    })
}
