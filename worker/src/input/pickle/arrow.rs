//! Arrow's arrays of text inside a pickle: what pandas 3 writes for text where pyarrow is
//! installed, names of columns included.

use super::array::Halt;
use super::global::Global;
use super::graph::{Graph, Value};
use crate::input::cell::Cell;
use crate::input::table::Visit;

/// An array whose cells are pieces of one text, one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct ArrowText {
    pub(super) length: usize,
    /// Cells of the buffers that come before the array's first.
    skipped: usize,
    /// One bit a cell, 0 where there is none; where every cell has a value it may be absent.
    validity: Value,
    /// Where each cell begins, and the last one ends, as integers of so many bytes.
    bounds: Value,
    width: usize,
    text: Value,
}

const WRONG: Halt = Halt::Wrong("an array of text is not whole");

impl ArrowText {
    /// Looks at an array, without its data: `_restore_array` of (type, length, nulls, offset,
    /// [validity, bounds, text], children, dictionary).
    pub(super) fn of(graph: &Graph<'_>, value: Value) -> Option<Self> {
        let state = graph.state(value, Global::ArrowStringArray)?;
        let &[parts] = graph.args(graph.get(state, "_pa_array")?, Global::ArrowArray)? else {
            return None;
        };
        let &[kind, length, _nulls, skipped, buffers, ..] = graph.tuple(parts)? else {
            return None;
        };
        let &[alias] = graph.args(kind, Global::ArrowType)? else {
            return None;
        };
        let width = match graph.text(alias)? {
            "large_string" => 8,
            "string" => 4,
            _ => return None,
        };
        let &[validity, bounds, text] = graph.list(buffers)? else {
            return None;
        };
        Some(Self { length: length.size()?, skipped: skipped.size()?, validity, bounds, width, text })
    }

    /// Every cell.
    pub(super) fn visit(&self, graph: &Graph<'_>, each: &mut Visit<'_>) -> Result<(), Halt> {
        let buffer = |value: Value| match graph.args(value, Global::ArrowBuffer)? {
            &[data] => graph.bytes(data, graph.bytes.len()),
            _ => None,
        };
        let bounds = buffer(self.bounds).ok_or(WRONG)?;
        let text = buffer(self.text).ok_or(WRONG)?;
        let validity = match self.validity {
            Value::None => None,
            bits => Some(buffer(bits).ok_or(WRONG)?),
        };
        let bound = |cell: usize| {
            let bytes = bounds.get(cell.checked_mul(self.width)?..)?.get(..self.width)?;
            let bound = bytes.iter().rev().fold(0_u64, |bound, &byte| bound << 8 | u64::from(byte));
            usize::try_from(bound).ok()
        };
        let cell = |cell: usize| match validity.as_ref().map(|bits| bits.get(cell / 8)) {
            Some(None) => None,
            Some(Some(byte)) if byte >> (cell % 8) & 1 == 0 => Some(Cell::Null),
            _ => Some(Cell::text(text.get(bound(cell)?..bound(cell + 1)?)?)),
        };
        for index in 0..self.length {
            let at = self.skipped.checked_add(index).filter(|&at| at < usize::MAX).ok_or(WRONG)?;
            each(index, cell(at).ok_or(WRONG)?)?;
        }
        Ok(())
    }
}
