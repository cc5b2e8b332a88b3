//! Arrow's arrays inside a pickle: what pandas 3 writes for text where pyarrow is installed, names of
//! columns included, and any pandas since 2.0 for columns of `ArrowDtype`.

use std::borrow::Cow;

use super::array::{Dtype, Element, Halt};
use super::global::Global;
use super::graph::{Graph, Value};
use crate::input::cell::{Cell, Unit};
use crate::input::table::Visit;

/// An array of cells.
#[derive(Debug, Clone, Copy)]
pub(super) struct ArrowArray {
    pub(super) length: usize,
    kind: Kind,
    /// Cells of the buffers that come before the array's first.
    skipped: usize,
    /// One bit a cell, 0 where there is none; where every cell has a value it may be absent.
    validity: Value,
    /// The cells, or the bounds of the cells in the text.
    data: Value,
    text: Value,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Pieces of one text, one after the other: bounds are integers of this size in bytes.
    Text(usize),
    Bits,
    Fixed(Dtype),
    /// With this number of digits behind the decimal point.
    Decimal(u32),
}

const WRONG: Halt = Halt::Wrong("an Arrow array is not whole");

/// Bytes of an Arrow decimal128.
const DECIMAL_BYTES: usize = 16;

impl ArrowArray {
    /// Looks at an array, without its data: `_restore_array` of (type, length, nulls, offset, buffers,
    /// children, dictionary). `None` where it is something else, `Err` where its type is not read.
    pub(super) fn of(graph: &Graph<'_>, value: Value) -> Option<Result<Self, &'static str>> {
        let state = graph.state(value, Global::ArrowStringArray);
        let state = state.or_else(|| graph.state(value, Global::ArrowExtensionArray))?;
        let &[parts] = graph.args(graph.get(state, "_pa_array")?, Global::ArrowArray)? else {
            return None;
        };
        let &[kind, length, _nulls, skipped, buffers, ..] = graph.tuple(parts)? else {
            return None;
        };
        let Some(kind) = Kind::of(graph, kind) else {
            return Some(Err("of an Arrow type that is not read"));
        };
        let (length, skipped) = (length.size()?, skipped.size()?);
        let (validity, data, text) = match (kind, graph.list(buffers)?) {
            (Kind::Text(_), &[validity, bounds, text]) => (validity, bounds, text),
            (_, &[validity, data]) => (validity, data, Value::None),
            _ => return None,
        };
        Some(Ok(Self { length, kind, skipped, validity, data, text }))
    }

    /// Every cell.
    pub(super) fn visit(&self, graph: &Graph<'_>, each: &mut Visit<'_>) -> Result<(), Halt> {
        let data = buffer(graph, self.data)?;
        let text = match self.kind {
            Kind::Text(_) => buffer(graph, self.text)?,
            _ => Cow::Borrowed(&[][..]),
        };
        let validity = match self.validity {
            Value::None => None,
            bits => Some(buffer(graph, bits)?),
        };
        for index in 0..self.length {
            let at = self.skipped.checked_add(index).filter(|&at| at < usize::MAX).ok_or(WRONG)?;
            let is_valid = match &validity {
                Some(bits) => bit(bits, at).ok_or(WRONG)?,
                None => true,
            };
            let cell = if is_valid { self.kind.cell(&data, &text, at).ok_or(WRONG)? } else { Cell::Null };
            each(index, cell)?;
        }
        Ok(())
    }
}

fn buffer<'g>(graph: &Graph<'g>, value: Value) -> Result<Cow<'g, [u8]>, Halt> {
    match graph.args(value, Global::ArrowBuffer) {
        Some(&[data]) => graph.bytes(data, graph.bytes.len()).ok_or(WRONG),
        _ => Err(WRONG),
    }
}

fn bit(bits: &[u8], at: usize) -> Option<bool> {
    Some(bits.get(at / 8)? >> (at % 8) & 1 == 1)
}

impl Kind {
    fn of(graph: &Graph<'_>, kind: Value) -> Option<Self> {
        let fixed = |element| Some(Self::Fixed(Dtype::little_endian(element)));
        if let Some(&[unit, ..]) = graph.args(kind, Global::ArrowTimestamp) {
            return fixed(Element::Time(match graph.text(unit)? {
                "s" => Unit::Seconds,
                "ms" => Unit::Milliseconds,
                "us" => Unit::Microseconds,
                "ns" => Unit::Nanoseconds,
                _ => return None,
            }));
        }
        if let Some(&[_precision, scale]) = graph.args(kind, Global::ArrowDecimal) {
            return u32::try_from(scale.int()?).ok().filter(|scale| *scale <= 38).map(Self::Decimal);
        }
        let &[alias] = graph.args(kind, Global::ArrowType)? else {
            return None;
        };
        match graph.text(alias)? {
            "large_string" => Some(Self::Text(8)),
            "string" => Some(Self::Text(4)),
            "bool" => Some(Self::Bits),
            "int8" => fixed(Element::Int(1)),
            "int16" => fixed(Element::Int(2)),
            "int32" => fixed(Element::Int(4)),
            "int64" => fixed(Element::Int(8)),
            "uint8" => fixed(Element::Uint(1)),
            "uint16" => fixed(Element::Uint(2)),
            "uint32" => fixed(Element::Uint(4)),
            "uint64" => fixed(Element::Uint(8)),
            "halffloat" => fixed(Element::Float(2)),
            "float" => fixed(Element::Float(4)),
            "double" => fixed(Element::Float(8)),
            _ => None,
        }
    }

    fn cell<'d>(self, data: &'d [u8], text: &'d [u8], at: usize) -> Option<Cell<'d>> {
        let cell = |at: usize, width: usize| data.get(at.checked_mul(width)?..)?.get(..width);
        match self {
            Self::Text(width) => {
                let bound = |at| {
                    let bytes = cell(at, width)?.iter().rev();
                    usize::try_from(bytes.fold(0_u64, |bound, &byte| bound << 8 | u64::from(byte))).ok()
                };
                Some(Cell::text(text.get(bound(at)?..bound(at + 1)?)?))
            }
            Self::Bits => bit(data, at).map(Cell::Bool),
            Self::Fixed(dtype) => Some(dtype.cell(cell(at, dtype.width())?)),
            Self::Decimal(scale) => {
                let bytes = <[u8; DECIMAL_BYTES]>::try_from(cell(at, DECIMAL_BYTES)?).ok()?;
                Some(Cell::Decimal(i128::from_le_bytes(bytes), scale))
            }
        }
    }
}
