//! What a crash of the server, or a loss of power, leaves.
//!
//! Of a file's bytes that were not synced, a prefix. Of names, where those have to be synced, no more than POSIX
//! promises: each by itself falls back to any state that it had since its folder was last synced, and a file's own
//! `fsync` says nothing of its name (fsync(2)). File systems with a journal keep to an order; nothing here relies
//! on it.

use std::collections::BTreeMap;

use super::super::dice::Dice;
use super::{Change, Changes, Inode, Server, apart};

/// What a name meant when its folder was last synced, and then, in order.
type States = Vec<Option<Inode>>;

/// Picks how much is left: from the least to the most, both included.
type Choose<'a> = &'a mut dyn FnMut(usize, usize) -> usize;

fn by_chance(dice: &mut Dice) -> impl FnMut(usize, usize) -> usize {
    |least, most| dice.between(least as u64, most as u64) as usize
}

/// Names whose folder was not synced since they changed.
#[derive(Debug, Clone, Default)]
pub struct Unsynced {
    folders: BTreeMap<String, BTreeMap<String, States>>,
}

impl Unsynced {
    /// A name that meant `before` means `after` now.
    pub fn changed(&mut self, folder: &str, name: &str, before: Option<Inode>, after: Option<Inode>) {
        let names = self.folders.entry(folder.to_owned()).or_default();
        names.entry(name.to_owned()).or_insert_with(|| vec![before]).push(after);
    }

    pub fn synced(&mut self, folder: &str) {
        self.folders.remove(folder);
    }

    /// What a name meant when its folder was last synced, where it has changed since.
    fn synced_state(&self, folder: &str, name: &str) -> Option<Option<Inode>> {
        self.folders.get(folder)?.get(name)?.first().copied()
    }

    /// Forgets: of the states that a name may have, `choose` picks one. Returns folder, name and meaning.
    fn fall_back(&mut self, choose: Choose<'_>) -> Vec<(String, String, Option<Inode>)> {
        let mut fallen = Vec::new();
        for (folder, names) in std::mem::take(&mut self.folders) {
            for (name, states) in names {
                fallen.push((folder.clone(), name, states[choose(0, states.len() - 1)]));
            }
        }
        fallen
    }
}

impl Server {
    /// The server loses what no client synced: of each file a prefix is left. Returns how many files
    /// were cut.
    pub fn crash(&mut self, dice: &mut Dice) -> usize {
        self.cut(&mut by_chance(dice))
    }

    /// Everybody's power is gone: bytes that were not synced, and names where those have to be. Returns how
    /// many files were cut or changed their names.
    pub fn lose_power(&mut self, dice: &mut Dice) -> usize {
        let mut choose = by_chance(dice);
        self.cut(&mut choose) + self.forget_names(&mut choose)
    }

    /// What a file holds after a loss of power at its worst, which leaves nothing that was not synced.
    pub fn lasting_bytes(&self, path: &str) -> Option<&[u8]> {
        let node = |path: &str| {
            let (folder, name) = apart(path);
            let synced = self.unsynced.as_ref().and_then(|unsynced| unsynced.synced_state(folder, name));
            Some(&self.nodes[synced.unwrap_or_else(|| self.now_at(path))?])
        };
        let mut folders = path.match_indices('/').map(|(end, _)| &path[..end]);
        let is_below_folders = folders.all(|folder| node(folder).is_some_and(|node| node.folder));
        let file = node(path).filter(|node| is_below_folders && !node.folder)?;
        Some(&file.bytes[..file.synced])
    }

    fn cut(&mut self, choose: Choose<'_>) -> usize {
        let mut cut = 0;
        for node in self.nodes.iter_mut().filter(|node| node.synced < node.bytes.len()) {
            node.bytes.truncate(choose(node.synced, node.bytes.len()));
            cut += 1;
        }
        cut
    }

    fn forget_names(&mut self, choose: Choose<'_>) -> usize {
        let Some(unsynced) = &mut self.unsynced else { return 0 };
        let mut changed = 0;
        for (folder, name, node) in unsynced.fall_back(choose) {
            let names = self.folders.entry(folder).or_default();
            let now = names.get(&name).and_then(|changes| changes.last.node);
            changed += usize::from(now != node);
            let last = Change { at: 0, by: 0, node };
            match node {
                Some(_) => names.insert(name, Changes { before: Vec::new(), last }),
                None => names.remove(&name),
            };
        }
        self.drop_what_has_no_folder();
        changed
    }

    /// A folder that lost its name takes along what is in it. Then names are counted again.
    fn drop_what_has_no_folder(&mut self) {
        let mut folders: Vec<String> = self.folders.keys().cloned().collect();
        // A folder comes before those in it.
        folders.sort_unstable();
        for folder in folders {
            let is_there =
                folder.is_empty() || self.now_at(&folder).is_some_and(|node| self.nodes[node].folder);
            if !is_there {
                self.folders.remove(&folder);
            }
        }
        for node in &mut self.nodes {
            node.links = 0;
        }
        for node in self.folders.values().flat_map(BTreeMap::values).filter_map(|changes| changes.last.node) {
            self.nodes[node].links += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Call, Reply, View};
    use super::*;
    use worker::store::posix::calls::Meta;

    const FRESH: View = View { client: 1, as_of: None };

    #[test]
    fn a_crash_keeps_what_was_synced_and_a_prefix_of_the_rest() {
        let mut server = Server::new(false);
        server.install(0, "a/private", b"bytes".to_vec());
        let Ok(Reply::File(file)) = server.apply(1, FRESH, &Call::Create("a/new".into())) else {
            panic!("not created");
        };
        let flush = |bytes: &[u8], sync| Call::Flush { file, bytes: bytes.to_vec(), sync };
        server.apply(2, FRESH, &flush(b"kept", true)).unwrap();
        server.apply(3, FRESH, &flush(b"lost", false)).unwrap();
        server.crash(&mut Dice::new(1));
        let bytes = server.bytes("a/new").unwrap();
        assert!(bytes.starts_with(b"kept") && b"keptlost".starts_with(bytes));
        assert_eq!(server.bytes("a/private"), Some(&b"bytes"[..]));
    }

    #[test]
    fn a_name_lasts_on_one_machine_once_its_folder_is_synced() {
        let mut server = Server::new(true);
        server.install(0, "a/private", b"bytes".to_vec());
        let names = |server: &Server| server.names("a").join(" ");
        for call in [Call::Link("a/private".into(), "a/kept".into()), Call::SyncFolder("a".into())] {
            server.apply(1, FRESH, &call).unwrap();
        }
        let made = [Call::MakeFolder("a/b".into()), Call::Link("a/private".into(), "a/b/lost".into())];
        let gone = [Call::Remove("a/private".into()), Call::Remove("a/kept".into())];
        for call in made.iter().chain(&gone) {
            server.apply(2, FRESH, call).unwrap();
        }
        assert_eq!(names(&server), "b");
        let lasting = |path| server.lasting_bytes(path).map(<[u8]>::to_vec);
        assert_eq!(["a/kept", "a/private"].map(lasting), [(); 2].map(|()| Some(b"bytes".to_vec())));
        assert_eq!(["a/b/lost", "a/b", "a"].map(lasting), [(); 3].map(|()| None));
        let mut least = |least, _| least;
        server.cut(&mut least);
        server.forget_names(&mut least);
        assert_eq!(names(&server), "kept private");
        assert_eq!(server.bytes("a/kept"), Some(&b"bytes"[..]));
        let meta = server.apply(3, FRESH, &Call::Meta("a/kept".into()));
        assert_eq!(meta, Ok(Reply::Meta(Meta { bytes: 5, links: 2 })));
    }
}
