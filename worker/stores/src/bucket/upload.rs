//! A large object on its way in parts, of which no more than two are in memory.

use std::fmt;

use engine::store::Result;
use object_store::{ObjectStoreExt, WriteMultipart};

use super::Client;

/// Bytes of a part. Providers take ten thousand parts, and of 5 MiB at least.
const PART_BYTES: usize = 8 << 20;
/// Parts under way at once.
const PARTS: usize = 1;

/// An object that is not there before all of its parts are.
pub struct Upload {
    name: String,
    parts: WriteMultipart,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload({})", self.name)
    }
}

impl Upload {
    pub(super) async fn begin(client: &Client, name: &str) -> Result<Self> {
        let key = client.key("write", name)?;
        let begun = client.store.put_multipart(&key).await;
        let upload = begun.map_err(|error| client.failure("write", name, &error))?;
        let parts = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        Ok(Self { name: name.to_owned(), parts })
    }

    pub(super) async fn add(&mut self, client: &Client, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(PART_BYTES) {
            let capacity = self.parts.wait_for_capacity(PARTS + 1).await;
            capacity.map_err(|error| client.failure("write", &self.name, &error))?;
            self.parts.write(piece);
        }
        Ok(())
    }

    pub(super) async fn end(self, client: &Client) -> Result<()> {
        let Self { name, parts } = self;
        parts.finish().await.map(drop).map_err(|error| client.failure("write", &name, &error))
    }
}
