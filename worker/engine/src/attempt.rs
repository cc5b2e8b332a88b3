//! One claim's work, and the private names that it has used.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::hash::Hash;
use crate::item::Name;
use crate::queue::Claim;

/// How the names of blocks begin among an attempt's saved states.
const BLOCK: &str = "block-";

/// Where a block of a saved state lies, in an attempt's folder.
pub(crate) fn block_path(folder: &str, number: u32) -> String {
    format!("{folder}/{BLOCK}{number}")
}

/// Whether a name in an attempt's folder is a block's.
pub(crate) fn is_block(name: &str) -> bool {
    name.starts_with(BLOCK)
}

/// One claim's work, and the private names that it has used.
///
/// Files lie beside each other in `attempts/`, `<attempt>-<n>`: a folder for each would cost every commit
/// two more calls, and ext4 steps over the inodes of the last minute's folders whenever it makes one. Only
/// saved progress has a folder, `<attempt>/<n>`, since there may be much of it and others look for it.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub item: Name,
    /// A path that no other attempt has, and its folder where it has one.
    pub folder: String,
    next: Cell<u32>,
    private: RefCell<Vec<String>>,
    has_saved: Cell<bool>,
    /// The blocks of saved states in the attempt's folder, with their numbers there.
    blocks: RefCell<BTreeMap<Hash, u32>>,
    /// Those of the state that is saved next.
    of_state: RefCell<BTreeMap<Hash, u32>>,
    overtaken: Cell<bool>,
    moved_on: Cell<bool>,
    earlier: RefCell<Vec<String>>,
    /// The claim, until it has made progress, where workers died at the item before.
    unproven: RefCell<Option<Claim>>,
}

impl Attempt {
    pub fn new(claim: &Claim, folder: String) -> Self {
        Self {
            item: claim.item.name,
            folder,
            next: Cell::new(0),
            private: RefCell::default(),
            has_saved: Cell::new(false),
            blocks: RefCell::default(),
            of_state: RefCell::default(),
            overtaken: Cell::new(false),
            moved_on: Cell::new(false),
            earlier: RefCell::default(),
            unproven: RefCell::new((claim.lost > 0).then(|| claim.clone())),
        }
    }

    /// The claim, once, where the queue must learn of its first progress.
    pub fn take_unproven(&self) -> Option<Claim> {
        self.unproven.take().map(|claim| self.claim_now(&claim))
    }

    /// The chain is at another dataset than when it was claimed.
    pub fn has_moved_on(&self) {
        self.moved_on.set(true);
    }

    /// The claim as the queue is to keep it: a chain is one item, and each of its datasets has its own failures.
    pub fn claim_now(&self, claim: &Claim) -> Claim {
        let failures = if self.moved_on.get() { 0 } else { claim.failures };
        Claim { failures, ..claim.clone() }
    }

    /// Whether another worker's commit was found where this attempt made one.
    pub fn is_overtaken(&self) -> bool {
        self.overtaken.get()
    }

    pub fn was_overtaken(&self) {
        self.overtaken.set(true);
    }

    /// Whether it has a folder of saved progress, from which the next attempt may go on.
    pub fn has_saved(&self) -> bool {
        self.has_saved.get()
    }

    /// A name for saved progress that was not used before.
    pub fn saved_name(&self) -> String {
        self.has_saved.set(true);
        format!("{}/{}", self.folder, self.number())
    }

    /// Whether a block lies in the folder already: then the state that is saved next refers to it there.
    pub fn has_block(&self, hash: Hash) -> bool {
        let number = self.blocks.borrow().get(&hash).copied();
        self.of_state.borrow_mut().extend(number.map(|number| (hash, number)));
        number.is_some()
    }

    /// A number for a block that was not used before, and its path.
    pub fn block_name(&self) -> (u32, String) {
        self.has_saved.set(true);
        let number = self.number();
        (number, block_path(&self.folder, number))
    }

    /// Records that a block lies in the folder.
    pub fn put_block(&self, hash: Hash, number: u32) {
        self.blocks.borrow_mut().insert(hash, number);
        self.of_state.borrow_mut().insert(hash, number);
    }

    /// The blocks of the state that is saved now.
    pub fn blocks_of_state(&self) -> BTreeMap<Hash, u32> {
        self.of_state.take()
    }

    /// Keeps the blocks of the newest state alone; returns the paths of the others.
    pub fn drop_other_blocks(&self, newest: &BTreeMap<Hash, u32>) -> Vec<String> {
        let before = self.blocks.replace(newest.clone());
        let others = before.into_iter().filter(|(hash, _)| !newest.contains_key(hash));
        others.map(|(_, number)| block_path(&self.folder, number)).collect()
    }

    /// A name for what is to be made public that was not used before.
    pub fn private_name(&self) -> String {
        let name = format!("{}-{}", self.folder, self.number());
        self.private.borrow_mut().push(name.clone());
        name
    }

    /// The private names used since the last call.
    pub fn take_private(&self) -> Vec<String> {
        self.private.take()
    }

    /// Records another attempt at the same item: its file or folder goes with this one's.
    pub fn follows(&self, path: &str) {
        if !path.starts_with(&self.folder) {
            self.earlier.borrow_mut().push(path.to_owned());
        }
    }

    /// Files and folders of earlier attempts at the same item.
    pub fn take_earlier(&self) -> Vec<String> {
        self.earlier.take()
    }

    fn number(&self) -> u32 {
        self.next.replace(self.next.get() + 1)
    }
}
