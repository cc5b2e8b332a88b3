//! The same names as a bucket has them: each is an object, whole or absent, which has a version, the number of its
//! inode. A folder is there while an object lies below it.

use worker::store::Kind;
use worker::store::bucket::objects::{self, Object};

use super::{Answer, Call, Client, Inode, Micros, Reply, Server, apart};

/// What must hold of a name for a write to take effect.
pub type Condition = objects::Condition<Inode>;

/// A write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    pub path: String,
    pub bytes: Vec<u8>,
    pub condition: Condition,
    pub attempt: Option<String>,
}

impl Put {
    pub fn operation(&self) -> &'static str {
        match self.condition {
            Condition::Always => "write",
            Condition::Absent => "create",
            Condition::Unchanged(_) => "replace",
        }
    }
}

impl Server {
    /// The object of a name.
    fn object(&self, path: &str) -> Option<Inode> {
        self.now_at(path).filter(|node| !self.nodes[*node].folder)
    }

    /// When a name was last written, where something is there.
    pub fn written_at(&self, path: &str) -> Option<Micros> {
        self.changes(path).map(|changes| changes.last.at)
    }

    pub(super) fn serve(&mut self, now: Micros, by: Client, call: &Call) -> Answer {
        let not_found = || Err(call.fail(Kind::NotFound, "no such object"));
        match call {
            Call::Put(put) => {
                let before = self.object(&put.path);
                let holds = match put.condition {
                    Condition::Always => true,
                    Condition::Absent => before.is_none(),
                    Condition::Unchanged(version) => before == Some(version),
                };
                if !holds {
                    return Err(call.fail(Kind::Exists, "the condition does not hold (412)"));
                }
                let node = self.put_object(now, by, &put.path, put.bytes.clone());
                self.nodes[node].attempt = put.attempt.as_deref().map(Box::from);
                Ok(Reply::File(node))
            }
            Call::Copy(from, to) => {
                let Some(source) = self.object(from) else { return not_found() };
                let bytes = self.nodes[source].bytes.clone();
                self.put_object(now, by, to, bytes);
                Ok(Reply::Done)
            }
            Call::Delete(path) => {
                let Some(node) = self.object(path) else { return not_found() };
                self.unlink(node);
                self.set(now, by, path, None);
                self.drop_empty_folders(now, by, apart(path).0);
                Ok(Reply::Done)
            }
            Call::Below(folder) => Ok(Reply::Names(self.files(folder).into_keys().collect())),
            _ => {
                let Some(version) = self.object(call.path()) else { return not_found() };
                let node = &self.nodes[version];
                let attempt = node.attempt.as_deref().map(str::to_owned);
                Ok(Reply::Object(Object { bytes: node.bytes.clone(), version, attempt }))
            }
        }
    }

    fn put_object(&mut self, now: Micros, by: Client, path: &str, bytes: Vec<u8>) -> Inode {
        if let Some(before) = self.object(path) {
            self.unlink(before);
        }
        self.install_as(now, by, path, bytes)
    }

    fn drop_empty_folders(&mut self, now: Micros, by: Client, folder: &str) {
        let mut folder = folder.to_owned();
        while !folder.is_empty() && self.names(&folder).is_empty() {
            self.set(now, by, &folder, None);
            folder = apart(&folder).0.to_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::View;
    use super::*;

    fn put(server: &mut Server, path: &str, bytes: &[u8], condition: Condition) -> Answer {
        let put = Put { path: path.to_owned(), bytes: bytes.to_vec(), condition, attempt: None };
        server.apply(1, View { client: 1, as_of: None }, &Call::Put(put))
    }

    #[test]
    fn conditions_hold_or_nothing_happens() {
        let mut server = Server::new(false);
        let Ok(Reply::File(first)) = put(&mut server, "a/b", b"1", Condition::Absent) else { panic!() };
        assert_eq!(put(&mut server, "a/b", b"2", Condition::Absent).unwrap_err().kind, Kind::Exists);
        let Ok(Reply::File(second)) = put(&mut server, "a/b", b"2", Condition::Unchanged(first)) else {
            panic!()
        };
        let stale = put(&mut server, "a/b", b"3", Condition::Unchanged(first));
        assert_eq!((stale.unwrap_err().kind, first == second), (Kind::Exists, false));
        assert_eq!(server.bytes("a/b"), Some(&b"2"[..]));
    }

    #[test]
    fn a_folder_is_there_while_something_lies_below_it() {
        let mut server = Server::new(false);
        put(&mut server, "a/b/c", b"1", Condition::Always).unwrap();
        assert_eq!(server.names("a"), ["b"]);
        server.apply(2, View { client: 1, as_of: None }, &Call::Delete("a/b/c".to_owned())).unwrap();
        assert_eq!((server.names("a").len(), server.names("").len()), (0, 0));
    }
}
