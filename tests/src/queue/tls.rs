//! Certificates for servers of the tests, by the program `openssl`.

use std::path::Path;
use std::process::{Command, Stdio};

use super::server::REQUIRED_ENV;
use crate::server::needed;

/// An authority, and what it signed: a server's certificate for `localhost` alone, and a client's.
#[derive(Debug)]
pub struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    /// `None`, said aloud, where there is no `openssl`.
    pub fn make() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let made = make(folder.path()).map(|()| Self { folder });
        needed(made, "certificate", REQUIRED_ENV)
    }

    /// One of `ca.crt`, `server.crt`, `server.key`, `client.crt`, `client.key`.
    pub fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("a path of letters").to_owned()
    }
}

fn make(folder: &Path) -> Result<(), String> {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(folder, &format!("req -x509 {key} -keyout ca.key -out ca.crt -subj /CN=authority"))?;
    for name in ["server", "client"] {
        let signed = "-CA ca.crt -CAkey ca.key -addext subjectAltName=DNS:localhost";
        let unsigned = "-addext basicConstraints=critical,CA:FALSE";
        openssl(
            folder,
            &format!(
                "req -x509 {key} {signed} {unsigned} -keyout {name}.key -out {name}.crt -subj /CN={name}"
            ),
        )?;
    }
    Ok(())
}

fn openssl(folder: &Path, arguments: &str) -> Result<(), String> {
    let mut command = Command::new("openssl");
    command.args(arguments.split(' ')).current_dir(folder).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("openssl: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("openssl {arguments}: {said}")) }
}
