//! The requests of an object store, one an operation, so that each is a place where a simulated client can crash, be
//! delayed or be lied to.

use std::fmt;
use std::time::Duration;

use crate::mutant::Mutant;
use crate::store::Result;

/// What must hold of a name for a write to take effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition<V> {
    /// Whatever is there.
    Always,
    /// Nothing is there.
    Absent,
    /// What is there has this version still.
    Unchanged(V),
}

/// An object that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object<V> {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Tells it from what others put under the name.
    pub version: V,
    /// The private name under which it was staged, where it was committed.
    pub attempt: Option<String>,
}

/// A client of an object store, which repeats a request while the server is busy or cannot be reached. Paths are
/// relative, normalised, with `/`.
///
/// A request that fails may have taken effect; a write that is answered with [`crate::store::Kind::Exists`] too: an
/// earlier sending of it may be what is there. And where the store answers so to a conflict, nothing may be there.
#[expect(async_fn_in_trait, reason = "workers are single futures on one thread (rule 19)")]
pub trait Objects {
    /// Tells contents of a name apart.
    type Version: Clone + fmt::Debug;

    /// A large object on its way.
    type Upload: fmt::Debug;

    /// Time since some moment, by a clock that never goes back: for when to write a log, which decides no result.
    fn elapsed(&self) -> Duration;

    /// Whether a rule is to be forgotten: never, but in the simulated world.
    fn breaks(&self, _: Mutant) -> bool {
        false
    }

    /// The place in the store, as a user names it.
    fn url(&self) -> String;

    /// Writes an object, whole or not at all, with the attempt that does where it is a commit; returns its version.
    async fn put(
        &self,
        path: &str,
        bytes: &[u8],
        condition: Condition<Self::Version>,
        attempt: Option<&str>,
    ) -> Result<Self::Version>;

    /// Reads an object.
    async fn get(&self, path: &str) -> Result<Object<Self::Version>>;

    /// Up to `length` bytes at `offset`; fewer only at the end.
    async fn get_range(&self, path: &str, offset: u64, length: u64) -> Result<Vec<u8>>;

    /// How many bytes an object has.
    async fn size(&self, path: &str) -> Result<u64>;

    /// The names directly below a folder, in any order, of all pages of the answer.
    async fn list(&self, folder: &str) -> Result<Vec<String>>;

    /// The paths of all objects below a folder.
    async fn list_below(&self, folder: &str) -> Result<Vec<String>>;

    /// Makes an object of another, on the server.
    async fn copy(&self, from: &str, to: &str) -> Result<()>;

    /// Deletes an object.
    async fn delete(&self, path: &str) -> Result<()>;

    /// Begins a large object.
    async fn begin_upload(&self, path: &str) -> Result<Self::Upload>;

    /// Adds bytes to its end.
    async fn upload(&self, upload: &mut Self::Upload, bytes: &[u8]) -> Result<()>;

    /// Ends it: before, it is not there.
    async fn end_upload(&self, upload: Self::Upload) -> Result<()>;
}
