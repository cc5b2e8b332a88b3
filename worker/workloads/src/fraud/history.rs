//! All that is remembered. Customers and terminals are remembered apart, so that two workers can do a half each.

use super::customers::Customers;
use super::memory::Memory;
use super::rows::Rows;
use super::terminals::Terminals;

/// All customers and terminals, as of the rows pushed.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub(super) customers: Customers,
    pub(super) terminals: Terminals,
}

impl History {
    /// Adds a dataset whose features are not asked for, before rows from `now` on. What is long past then
    /// counts in sums only, and is not judged: that would be most of a rebuild's work.
    pub fn push_all(&mut self, rows: &Rows, now: i64) {
        self.customers.push_all(rows, now);
        self.terminals.push_all(rows, now);
    }

    /// Lets go of what no row from `now` on looks at.
    pub fn forget(&mut self, now: i64) {
        self.customers.forget(now);
        self.terminals.forget(now);
    }
}
