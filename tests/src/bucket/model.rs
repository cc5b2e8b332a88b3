//! The simulator's model of a bucket, on a day when nothing goes wrong: what it does then must be what a real one does.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sim::world::nfs::{Call, Condition, Inode, Put, Reply, Server, View};
use worker::conformance::store::Arm;
use worker::store::bucket::Bucket;
use worker::store::bucket::objects::{Object, Objects};
use worker::store::{Kind, Result};

#[derive(Debug, Default)]
pub struct BucketModel(Rc<RefCell<Server>>);

impl Arm for BucketModel {
    type Client = Bucket<Requests>;

    fn open() -> Option<Self> {
        Some(Self::default())
    }

    fn client(&self) -> Self::Client {
        Bucket::new(Requests(self.0.clone()))
    }
}

/// Requests that are answered at once.
#[derive(Debug)]
pub struct Requests(Rc<RefCell<Server>>);

impl Requests {
    fn ask(&self, call: &Call) -> Result<Reply> {
        self.0.borrow_mut().apply(0, View { client: 1, as_of: None }, call)
    }

    fn names(&self, call: &Call) -> Result<Vec<String>> {
        match self.ask(call) {
            Ok(Reply::Names(names)) => Ok(names),
            Err(error) if error.kind == Kind::NotFound => Ok(Vec::new()),
            other => panic!("{call:?}: {other:?}"),
        }
    }
}

impl Objects for Requests {
    type Version = Inode;
    type Upload = (String, Vec<u8>);

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    fn url(&self) -> String {
        "s3://model".to_owned()
    }

    async fn put(
        &self,
        path: &str,
        bytes: &[u8],
        condition: Condition,
        attempt: Option<&str>,
    ) -> Result<Inode> {
        let (path, attempt) = (path.to_owned(), attempt.map(str::to_owned));
        match self.ask(&Call::Put(Put { path, bytes: bytes.to_vec(), condition, attempt }))? {
            Reply::File(version) => Ok(version),
            other => panic!("a write: {other:?}"),
        }
    }

    async fn get(&self, path: &str) -> Result<Object<Inode>> {
        match self.ask(&Call::Get(path.to_owned()))? {
            Reply::Object(object) => Ok(object),
            other => panic!("{path} has {other:?}"),
        }
    }

    async fn get_range(&self, path: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
        self.ask(&Call::ReadAt(path.to_owned(), offset, length)).map(Reply::bytes)
    }

    async fn size(&self, path: &str) -> Result<u64> {
        match self.ask(&Call::Meta(path.to_owned()))? {
            Reply::Meta(meta) => Ok(meta.bytes),
            other => panic!("{path} has {other:?}"),
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        self.names(&Call::List(folder.to_owned()))
    }

    async fn list_below(&self, folder: &str) -> Result<Vec<String>> {
        self.names(&Call::Below(folder.to_owned()))
    }

    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        self.ask(&Call::Copy(from.to_owned(), to.to_owned())).map(drop)
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.ask(&Call::Delete(path.to_owned())).map(drop)
    }

    async fn begin_upload(&self, path: &str) -> Result<Self::Upload> {
        Ok((path.to_owned(), Vec::new()))
    }

    async fn upload(&self, (_, whole): &mut Self::Upload, bytes: &[u8]) -> Result<()> {
        whole.extend_from_slice(bytes);
        Ok(())
    }

    async fn end_upload(&self, (path, whole): Self::Upload) -> Result<()> {
        self.put(&path, &whole, Condition::Always, None).await.map(drop)
    }
}
