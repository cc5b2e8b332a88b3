//! The simulator's model of a bucket, on a day when nothing goes wrong: what it does then must be what a real one does.

use std::cell::RefCell;
use std::rc::Rc;

use sim::world::bucket::{Endpoint, Requests};
use sim::world::nfs::{Call, Reply, Server, View};
use worker::conformance::store::Arm;
use worker::store::Result;
use worker::store::bucket::Bucket;

#[derive(Debug, Default)]
pub struct BucketModel(Quiet);

impl Arm for BucketModel {
    type Client = Bucket<Requests<Quiet>>;

    fn open() -> Option<Self> {
        Some(Self::default())
    }

    fn client(&self) -> Self::Client {
        Bucket::new(Requests(self.0.clone()))
    }
}

/// A server that answers at once.
#[derive(Debug, Default, Clone)]
pub struct Quiet(Rc<RefCell<Server>>);

impl Endpoint for Quiet {
    async fn ask(&self, call: Call) -> Result<Reply> {
        self.0.borrow_mut().apply(0, View { client: 1, as_of: None }, &call)
    }
}
