//! TLS to a server: the files that a URL names for it, and what its refusals mean.

use redis::RedisError;

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
