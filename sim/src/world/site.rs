//! Where a call of a worker goes.

use super::ask::Ask;
use super::nfs::Call;

/// Where a call goes.
#[derive(Debug, Clone, Copy)]
pub enum Site<'a> {
    Volume(&'a Call),
    Queue(&'a Ask),
    Compute,
}
