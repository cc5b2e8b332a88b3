//! The client of a bucket in a world. The arm above it is the one that real buckets have.

use std::time::Duration;

use worker::mutant::Mutant;
use worker::store::bucket::objects::{Object, Objects};
use worker::store::{Kind, Result, StoreError};

use super::clock::{Micros, ms};
use super::injection::Injected;
use super::inside::Inside;
use super::machine::Machine;
use super::nfs::{Call, Condition, Inode, Put, Reply};
use super::world::World;

/// Least time between two writes of a name, where each name takes one write a second.
const BETWEEN_WRITES: Micros = ms(1_000);
/// Names that an answer of a bucket has.
const NAMES_A_PAGE: usize = 1_000;

impl World {
    /// Waits until a throttled name takes a write, as clients do that repeat what was answered with 429; or gives up.
    pub(super) async fn wait_for_turn(&self, call: &Call) -> Result<()> {
        // A deletion is no write.
        let (Call::Put(_) | Call::Copy(..)) = call else { return Ok(()) };
        while self.share.throttled.is_open(self.now()) {
            let written = self.share.server.borrow().written_at(call.path());
            let Some(free) = written.map(|at| at + BETWEEN_WRITES).filter(|free| *free > self.now()) else {
                break;
            };
            self.noticed(&self.share.throttled);
            if self.dice.borrow_mut().chance(1, 8) {
                return Err(call.fail(Kind::Io, "too many requests (429)"));
            }
            // Nobody waits for longer than the fault lasts: checks go by the last one's end.
            self.clock.sleep_until(free.min(self.share.throttled.until())).await;
        }
        Ok(())
    }

    /// What a bucket alone may answer, before a call takes effect.
    pub(super) fn conflict(&self, call: &Call, injected: &Injected) -> Option<StoreError> {
        injected.conflict.then(|| call.fail(Kind::Exists, "a conflicting operation is in progress (409)"))
    }

    /// An answer that breaks off is none.
    pub(super) fn break_off(&self, call: &Call, answer: Result<Reply>) -> Result<Reply> {
        let half = |length: usize| length / 2;
        match answer {
            Ok(Reply::Names(mut names)) if self.breaks(Mutant::TrustFirstPage) => {
                names.truncate(half(names.len()));
                Ok(Reply::Names(names))
            }
            Ok(Reply::Bytes(mut bytes)) if self.breaks(Mutant::TrustCutBody) => {
                bytes.truncate(half(bytes.len()));
                Ok(Reply::Bytes(bytes))
            }
            Ok(Reply::Object(mut object)) if self.breaks(Mutant::TrustCutBody) => {
                object.bytes.truncate(half(object.bytes.len()));
                Ok(Reply::Object(object))
            }
            Ok(_) => Err(call.fail(Kind::Io, "the server stopped in the middle of its answer")),
            failed => failed,
        }
    }

    /// What is seen of a call to a bucket that took effect.
    pub(super) fn saw_object(&self, machine: &Machine, call: &Call, answer: &Result<Reply>) {
        match (call, answer) {
            (Call::Put(put), Ok(_)) if put.attempt.is_some() => self.watch.linked(&put.path, &put.bytes),
            (Call::Get(path), Ok(_)) if path.ends_with("/violation") => machine.void_seen.set(true),
            (Call::List(_) | Call::Below(_), Ok(Reply::Names(names))) => {
                let more = (names.len() / NAMES_A_PAGE) as u64;
                self.share.calls.set(self.share.calls.get() + more);
            }
            _ => {}
        }
    }
}

/// Who takes calls of a bucket: a machine's way into its world, or a server on a day when nothing goes wrong.
#[expect(async_fn_in_trait, reason = "workers are single futures on one thread (rule 19)")]
pub trait Endpoint {
    /// One call, with all that may happen to it.
    async fn ask(&self, call: Call) -> Result<Reply>;

    /// Time since the beginning.
    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether a rule is to be forgotten.
    fn breaks(&self, _: Mutant) -> bool {
        false
    }
}

impl Endpoint for Inside {
    async fn ask(&self, call: Call) -> Result<Reply> {
        self.world.volume_call(&self.machine, call).await
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.world.now())
    }

    fn breaks(&self, mutant: Mutant) -> bool {
        self.world.breaks(mutant)
    }
}

/// A bucket's client over calls.
#[derive(Debug, Clone)]
pub struct Requests<E>(pub E);

/// A large object on its way: its parts are in the client's memory until they are one object.
#[derive(Debug)]
pub struct Parts {
    path: String,
    bytes: Vec<u8>,
}

impl<E: Endpoint> Requests<E> {
    /// Asks, and takes what `read` makes of the answer.
    async fn ask<T>(&self, call: Call, read: impl FnOnce(Reply) -> Option<T>) -> Result<T> {
        let reply = self.0.ask(call.clone()).await?;
        read(reply).ok_or_else(|| call.fail(Kind::Io, "the answer is one to something else"))
    }

    async fn names(&self, call: Call) -> Result<Vec<String>> {
        let names = |reply| if let Reply::Names(names) = reply { Some(names) } else { None };
        match self.ask(call, names).await {
            Err(error) if error.kind == Kind::NotFound => Ok(Vec::new()),
            names => names,
        }
    }
}

impl<E: Endpoint> Objects for Requests<E> {
    type Version = Inode;
    type Upload = Parts;

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn breaks(&self, mutant: Mutant) -> bool {
        self.0.breaks(mutant)
    }

    fn url(&self) -> String {
        "s3://world".to_owned()
    }

    async fn put(
        &self,
        path: &str,
        bytes: &[u8],
        condition: Condition,
        attempt: Option<&str>,
    ) -> Result<Inode> {
        let (path, attempt) = (path.to_owned(), attempt.map(str::to_owned));
        let put = Call::Put(Put { path, bytes: bytes.to_vec(), condition, attempt });
        self.ask(put, |reply| if let Reply::File(version) = reply { Some(version) } else { None }).await
    }

    async fn get(&self, path: &str) -> Result<Object<Inode>> {
        let object = |reply| if let Reply::Object(object) = reply { Some(object) } else { None };
        self.ask(Call::Get(path.to_owned()), object).await
    }

    async fn get_range(&self, path: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
        self.ask(Call::ReadAt(path.to_owned(), offset, length), |reply| Some(reply.bytes())).await
    }

    async fn size(&self, path: &str) -> Result<u64> {
        let bytes = |reply| if let Reply::Meta(meta) = reply { Some(meta.bytes) } else { None };
        self.ask(Call::Meta(path.to_owned()), bytes).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        self.names(Call::List(folder.to_owned())).await
    }

    async fn list_below(&self, folder: &str) -> Result<Vec<String>> {
        self.names(Call::Below(folder.to_owned())).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        self.0.ask(Call::Copy(from.to_owned(), to.to_owned())).await.map(drop)
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.0.ask(Call::Delete(path.to_owned())).await.map(drop)
    }

    async fn begin_upload(&self, path: &str) -> Result<Parts> {
        Ok(Parts { path: path.to_owned(), bytes: Vec::new() })
    }

    async fn upload(&self, parts: &mut Parts, bytes: &[u8]) -> Result<()> {
        parts.bytes.extend_from_slice(bytes);
        self.0.ask(Call::Write).await.map(drop)
    }

    async fn end_upload(&self, parts: Parts) -> Result<()> {
        self.put(&parts.path, &parts.bytes, Condition::Always, None).await.map(drop)
    }
}
