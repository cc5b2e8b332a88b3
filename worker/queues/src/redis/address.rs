//! What the URL of a server says: where it is, how to get in, which database.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisError};

use super::failure;
use super::tls::Files;
use engine::queue::QueueError;

/// Begins the URL of a master that Sentinels name.
const SENTINEL: &str = "+sentinel://";

const SENTINEL_PORT: u16 = 26379;

/// Where a queue's server is and how to get in.
pub(super) struct Address {
    /// The server, or the Sentinels that know it.
    pub servers: Vec<ConnectionInfo>,
    /// The name that Sentinels know the server by.
    pub master: Option<String>,
    pub files: Files,
    pub username: Option<String>,
    pub password: Option<String>,
    pub database: i64,
    /// All of this to be shown: no password.
    pub shown: String,
}

impl Address {
    /// Reads a URL; `password` is for one that has none.
    pub(super) fn read(url: &str, password: Option<String>) -> Result<Self, QueueError> {
        if !cfg!(feature = "tls") && is_encrypted(url) {
            return Err(QueueError::Refused(
                "this program is built without TLS\nhint: install it with --features tls".to_owned(),
            ));
        }
        let (url, files) = parameters(url)?;
        let mut address = match url.split_once(SENTINEL) {
            Some((scheme, rest)) => sentinels(scheme, rest)?,
            None => server(&url)?,
        };
        address.files = files;
        address.password = address.password.or(password);
        Ok(address)
    }

    /// The password, after the user's name where there is one; nothing without a password.
    pub(super) fn sign_in(&self) -> Vec<&str> {
        let Some(password) = self.password.as_deref() else { return Vec::new() };
        self.username.as_deref().into_iter().chain([password]).collect()
    }

    /// A server at another place that is reached in the same way.
    pub(super) fn at(&self, host: String, port: u16) -> Result<ConnectionInfo, QueueError> {
        bare(match self.servers.first().map(ConnectionInfo::addr) {
            Some(ConnectionAddr::TcpTls { .. }) => tls_at(host, port),
            _ => ConnectionAddr::Tcp(host, port),
        })
    }
}

/// A place that is reached by TLS, whose certificate is checked.
pub(super) fn tls_at(host: String, port: u16) -> ConnectionAddr {
    ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
}

/// The place alone, since signing in is done by [`super::connection`]: the crate's own hides the server's words.
pub(super) fn bare(addr: ConnectionAddr) -> Result<ConnectionInfo, QueueError> {
    let info = addr.into_connection_info().map_err(|error| failure::bad_url(&error))?;
    Ok(info.set_redis_settings(RedisConnectionInfo::default().set_skip_set_lib_name()))
}

fn server(url: &str) -> Result<Address, QueueError> {
    let info = url.into_connection_info().map_err(|error| failure::bad_url(&error))?;
    if let ConnectionAddr::TcpTls { insecure: true, .. } = info.addr() {
        return Err(refused("certificates are always checked: name who signed it by ?ssl_ca_certs=FILE"));
    }
    let settings = info.redis_settings();
    let database = settings.db();
    let shown = match info.addr() {
        ConnectionAddr::Tcp(host, port) => format!("redis://{host}:{port}/{database}"),
        ConnectionAddr::TcpTls { host, port, .. } => format!("rediss://{host}:{port}/{database}"),
        other => format!("redis at {other} database {database}"),
    };
    Ok(Address {
        servers: vec![bare(info.addr().clone())?],
        master: None,
        files: Files::default(),
        username: settings.username().map(str::to_owned),
        password: settings.password().map(str::to_owned),
        database,
        shown,
    })
}

/// `[user:password@]HOST[:PORT][,HOST[:PORT]…]/NAME[/DATABASE]`.
fn sentinels(scheme: &str, rest: &str) -> Result<Address, QueueError> {
    let (before, hosts) = rest.split_at(rest.rfind('@').map_or(0, |at| at + 1));
    let mut parts = hosts.trim_end_matches('/').split('/');
    let hosts = parts.next().unwrap_or_default();
    let (name, database) = match (parts.next(), parts.next().unwrap_or("0"), parts.next()) {
        (Some(name), database, None) if !name.is_empty() => (name, database),
        _ => return Err(refused("the URL of Sentinels ends with the master's name")),
    };
    let mut address: Option<Address> = None;
    for host in hosts.split(',') {
        let port = match host.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => String::new(),
            _ => format!(":{SENTINEL_PORT}"),
        };
        let one = server(&format!("{scheme}://{before}{host}{port}/{database}"))?;
        match &mut address {
            Some(address) => address.servers.extend(one.servers),
            None => address = Some(one),
        }
    }
    let Some(address) = address else { return Err(refused("the URL of Sentinels names none")) };
    let shown = format!("{scheme}{SENTINEL}{hosts}/{name}/{}", address.database);
    Ok(Address { master: Some(name.to_owned()), shown, ..address })
}

/// Takes the parameters that are ours out of a URL. Those of a socket are the client's.
fn parameters(url: &str) -> Result<(String, Files), QueueError> {
    let Some((place, query)) = url.split_once('?').filter(|_| !is_socket(url)) else {
        return Ok((url.to_owned(), Files::default()));
    };
    let (mut authority, mut cert, mut key) = (None, None, None);
    for (name, value) in pairs(query) {
        let place = match name.as_str() {
            "ssl_ca_certs" => &mut authority,
            "ssl_certfile" => &mut cert,
            "ssl_keyfile" => &mut key,
            // Not shown: an unencoded password may be taken for parameters.
            _ => return Err(refused("ssl_ca_certs, ssl_certfile and ssl_keyfile are its only parameters")),
        };
        *place = Some(value);
    }
    if !is_encrypted(place) && (authority.is_some() || cert.is_some() || key.is_some()) {
        return Err(refused("it names files for TLS, and no TLS: that begins with rediss://"));
    }
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => return Err(refused("ssl_certfile and ssl_keyfile come together")),
    };
    Ok((place.to_owned(), Files { authority, identity }))
}

fn is_encrypted(url: &str) -> bool {
    ["rediss", "valkeys"].iter().any(|scheme| url.starts_with(scheme))
}

fn is_socket(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| scheme.ends_with("unix"))
}

/// Names and values of a query, decoded.
fn pairs(query: &str) -> Vec<(String, String)> {
    let whole = redis::parse_redis_url(&format!("redis://host/?{query}"));
    let pairs = whole.iter().flat_map(|url| url.query_pairs());
    pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

fn refused(why: &str) -> QueueError {
    failure::bad_url(&RedisError::from((redis::ErrorKind::InvalidClientConfig, "", why.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Address {
        Address::read(url, None).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    fn places(address: &Address) -> Vec<String> {
        address.servers.iter().map(|server| server.addr().to_string()).collect()
    }

    #[test]
    fn a_url_of_sentinels_names_each_and_the_master() {
        let address = read("redis+sentinel://me:p%40ss@one,two:7000,[::1]:7001/main/3");
        assert_eq!(places(&address), ["one:26379", "two:7000", "::1:7001"]);
        assert_eq!(address.master.as_deref(), Some("main"));
        assert_eq!((address.username.as_deref(), address.password.as_deref()), (Some("me"), Some("p@ss")));
        assert_eq!(address.database, 3);
        assert_eq!(address.shown, "redis+sentinel://one,two:7000,[::1]:7001/main/3");
        for url in [
            "redis+sentinel://one",
            "redis+sentinel://one/",
            "redis+sentinel:///main",
            "redis+sentinel://one/a/b",
        ] {
            assert!(Address::read(url, None).is_err(), "{url}");
        }
    }

    #[test]
    fn a_parameter_is_known_or_refused() {
        let error = |url| match Address::read(url, None) {
            Err(QueueError::Refused(why)) => why.lines().next().unwrap_or_default().to_owned(),
            _ => panic!("{url} is taken"),
        };
        insta::assert_snapshot!(
            [
                "redis://:hun?ter2@h/0",
                "redis://:hunter2@h/0?ssl_ca_certs=ca.pem",
                "redis://h/0?ssl_cert_reqs=none",
                "redis+sentinel://h/main?ssl_ca_certs=ca.pem",
            ]
            .map(error)
            .join("\n"),
            @r"
        the URL of Redis cannot be used: ssl_ca_certs, ssl_certfile and ssl_keyfile are its only parameters
        the URL of Redis cannot be used: it names files for TLS, and no TLS: that begins with rediss://
        the URL of Redis cannot be used: ssl_ca_certs, ssl_certfile and ssl_keyfile are its only parameters
        the URL of Redis cannot be used: it names files for TLS, and no TLS: that begins with rediss://
        "
        );
        assert_eq!(read("unix:///run/redis.sock?db=2").database, 2);
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_has_its_files() {
        let address = read("rediss://h/1?ssl_ca_certs=%2Fetc%2Fmy%20ca.pem&ssl_certfile=c&ssl_keyfile=k");
        assert_eq!(address.files.authority.as_deref(), Some("/etc/my ca.pem"));
        assert_eq!(address.files.identity, Some(("c".to_owned(), "k".to_owned())));
        assert_eq!(address.shown, "rediss://h:6379/1");
        assert!(Address::read("rediss://h/1?ssl_certfile=c", None).is_err());
        let address = read("rediss+sentinel://one/main");
        assert!(matches!(
            address.at("two".to_owned(), 5).expect("a place").addr(),
            ConnectionAddr::TcpTls { port: 5, .. }
        ));
    }
}
