//! What a bucket's provider charges for.

/// How many requests were sent, repeated ones included. Deletions are free of charge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// Objects written.
    pub writes: u64,
    /// Pages of names.
    pub lists: u64,
    /// Objects read or looked at.
    pub reads: u64,
    /// Objects deleted.
    pub deletes: u64,
}
