//! The simulator's model of an NFS server, on a day when nothing goes wrong: what it does then must
//! be what a directory does.

use std::cell::RefCell;
use std::rc::Rc;

use sim::world::nfs::{Call, Client, Inode, Reply, Server, View};
use worker::store::Result;
use worker::store::posix::calls::{FileSystem, Meta};

use super::Arm;

#[derive(Debug, Default)]
pub struct NfsArm {
    server: Rc<RefCell<Server>>,
    clients: RefCell<Client>,
}

impl Arm for NfsArm {
    type Client = Mounted;

    fn open() -> Self {
        Self::default()
    }

    fn client(&self) -> Mounted {
        *self.clients.borrow_mut() += 1;
        Mounted { server: self.server.clone(), client: *self.clients.borrow() }
    }
}

/// One client's mount.
#[derive(Debug)]
pub struct Mounted {
    server: Rc<RefCell<Server>>,
    client: Client,
}

/// What is written waits in the client's memory until it is synced or closed.
#[derive(Debug)]
pub struct Open {
    server: Rc<RefCell<Server>>,
    view: View,
    node: Inode,
    dirty: Vec<u8>,
}

impl Drop for Open {
    /// A process that ends has its files closed.
    fn drop(&mut self) {
        let call = Call::Flush { file: self.node, bytes: std::mem::take(&mut self.dirty), sync: false };
        let _ = self.server.borrow_mut().apply(0, self.view, &call);
    }
}

impl Mounted {
    fn ask(&self, call: &Call) -> Result<Reply> {
        let fresh = View { client: self.client, as_of: None };
        self.server.borrow_mut().apply(0, fresh, call)
    }

    fn do_it(&self, call: &Call) -> Result<()> {
        self.ask(call).map(drop)
    }

    fn flush(&self, file: &mut Open, sync: bool) -> Result<()> {
        self.do_it(&Call::Flush { file: file.node, bytes: std::mem::take(&mut file.dirty), sync })
    }
}

impl FileSystem for Mounted {
    type File = Open;

    fn is_on_one_machine(&self) -> bool {
        false
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.ask(&Call::Read(path.to_owned())).map(Reply::bytes)
    }

    async fn read_at(&self, path: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
        self.ask(&Call::ReadAt(path.to_owned(), offset, length)).map(Reply::bytes)
    }

    async fn meta(&self, path: &str) -> Result<Meta> {
        match self.ask(&Call::Meta(path.to_owned()))? {
            Reply::Meta(meta) => Ok(meta),
            other => panic!("{path} has {other:?}"),
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        match self.ask(&Call::List(folder.to_owned()))? {
            Reply::Names(names) => Ok(names),
            other => panic!("{folder} holds {other:?}"),
        }
    }

    async fn create(&self, path: &str) -> Result<Open> {
        match self.ask(&Call::Create(path.to_owned()))? {
            Reply::File(node) => {
                let view = View { client: self.client, as_of: None };
                Ok(Open { server: self.server.clone(), view, node, dirty: Vec::new() })
            }
            other => panic!("{path} is {other:?}"),
        }
    }

    async fn write(&self, file: &mut Open, bytes: &[u8]) -> Result<()> {
        file.dirty.extend_from_slice(bytes);
        Ok(())
    }

    async fn sync(&self, file: &mut Open) -> Result<()> {
        self.flush(file, true)
    }

    async fn close(&self, mut file: Open) -> Result<()> {
        self.flush(&mut file, false)
    }

    async fn link(&self, from: &str, to: &str) -> Result<()> {
        self.do_it(&Call::Link(from.to_owned(), to.to_owned()))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.do_it(&Call::Rename(from.to_owned(), to.to_owned()))
    }

    async fn remove(&self, path: &str) -> Result<()> {
        self.do_it(&Call::Remove(path.to_owned()))
    }

    async fn make_folder(&self, path: &str) -> Result<()> {
        self.do_it(&Call::MakeFolder(path.to_owned()))
    }

    async fn remove_folder(&self, path: &str) -> Result<()> {
        self.do_it(&Call::RemoveFolder(path.to_owned()))
    }

    async fn sync_folder(&self, path: &str) -> Result<()> {
        self.do_it(&Call::SyncFolder(path.to_owned()))
    }
}
