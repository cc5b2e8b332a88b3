//! What this client last read of names, so that nothing is replaced that has changed since.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// Names that are remembered, at least. Between reading a name and replacing it a worker reads few others.
const NAMES_MIN: usize = 4096;

/// The names read or written last, each with its version then, or `None` where nothing was there.
#[derive(Debug)]
pub(super) struct Versions<V> {
    young: RefCell<BTreeMap<String, Option<V>>>,
    old: RefCell<BTreeMap<String, Option<V>>>,
}

impl<V> Default for Versions<V> {
    fn default() -> Self {
        Self { young: RefCell::default(), old: RefCell::default() }
    }
}

impl<V: Clone> Versions<V> {
    pub fn record(&self, path: &str, seen: Option<V>) {
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
    pub fn of(&self, path: &str) -> Option<Option<V>> {
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
        for at in 0..NAMES_MIN * 5 {
            versions.record(&at.to_string(), Some(at));
        }
        for at in NAMES_MIN * 4..NAMES_MIN * 5 {
            assert_eq!(versions.of(&at.to_string()), Some(Some(at)));
        }
        assert_eq!(versions.of("0"), None);
        assert!(versions.young.borrow().len() + versions.old.borrow().len() <= 2 * NAMES_MIN);
        versions.record("0", None);
        assert_eq!(versions.of("0"), Some(None), "seen to be absent");
    }
}
