//! A span of time in which something is out of order.

use std::cell::Cell;

use super::clock::Micros;

/// Until when it lasts, and whether anybody has noticed.
#[derive(Debug, Default)]
pub struct Window {
    until: Cell<Micros>,
    /// The kind of fault that opened it, until it has changed an answer.
    unnoticed: Cell<Option<&'static str>>,
}

impl Window {
    pub fn open(&self, until: Micros, kind: &'static str) {
        self.until.set(until.max(self.until.get()));
        self.unnoticed.set(Some(kind));
    }

    pub fn is_open(&self, now: Micros) -> bool {
        now < self.until.get()
    }

    /// When it ends, or ended.
    pub fn until(&self) -> Micros {
        self.until.get()
    }

    /// The kind of fault that opened it, the first time that somebody notices.
    pub fn notice(&self) -> Option<&'static str> {
        self.unnoticed.take()
    }
}
