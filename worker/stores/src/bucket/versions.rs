//! What this client last read of names, so that nothing is replaced that has changed since.

use std::cell::RefCell;
use std::collections::BTreeMap;

use object_store::UpdateVersion;

/// Names that are remembered, at least. Between reading a name and replacing it a worker reads few others.
const NAMES_MIN: usize = 4096;

/// A name's version as it was read or written last; `None` where nothing was there.
pub(super) type Seen = Option<UpdateVersion>;

/// The names read or written last.
#[derive(Debug, Default)]
pub(super) struct Versions {
    young: RefCell<BTreeMap<String, Seen>>,
    old: RefCell<BTreeMap<String, Seen>>,
}

impl Versions {
    pub fn record(&self, path: &str, seen: Seen) {
        if self.young.borrow().len() >= NAMES_MIN {
            self.old.replace(self.young.take());
        }
        self.young.borrow_mut().insert(path.to_owned(), seen);
    }

    /// The name has changed in a way that gives no version.
    pub fn forget(&self, path: &str) {
        self.young.borrow_mut().remove(path);
        self.old.borrow_mut().remove(path);
    }

    /// `None` where the name was not read, or long ago.
    pub fn of(&self, path: &str) -> Option<Seen> {
        let young = self.young.borrow().get(path).cloned();
        young.or_else(|| self.old.borrow().get(path).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_last_is_remembered_and_memory_is_bounded() {
        let versions = Versions::default();
        let seen = |at: usize| Some(UpdateVersion { e_tag: Some(at.to_string()), version: None });
        for at in 0..NAMES_MIN * 5 {
            versions.record(&at.to_string(), seen(at));
        }
        for at in NAMES_MIN * 4..NAMES_MIN * 5 {
            assert_eq!(versions.of(&at.to_string()), Some(seen(at)));
        }
        assert_eq!(versions.of("0"), None);
        assert!(versions.young.borrow().len() + versions.old.borrow().len() <= 2 * NAMES_MIN);
        versions.record("0", None);
        assert_eq!(versions.of("0"), Some(None), "seen to be absent");
    }
}
