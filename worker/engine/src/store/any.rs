//! The store that a command line names: so far, a folder.

use std::path::Path;

use super::posix::Posix;
use super::posix::dir::Directory;
use super::{Kind, Result, StoreError};

/// Whichever arm the command line named.
pub type AnyStore = Posix<Directory>;

/// Opens the store at a location.
///
/// # Errors
/// Where nothing that could be one is there.
pub fn open(location: &Path) -> Result<AnyStore> {
    if location.is_dir() {
        return Ok(Posix::new(Directory::new(location)));
    }
    let (path, detail) = (location.display().to_string(), "it is no folder".to_owned());
    Err(StoreError { kind: Kind::NotFound, operation: "open", path, detail })
}
