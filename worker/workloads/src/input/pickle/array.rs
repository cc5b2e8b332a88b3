//! numpy arrays inside a pickle: shape, type and order, and the cells of one line.

use super::global::Global;
use super::graph::{Graph, Value};
use crate::input::cell::{Cell, DOUBLE, SINGLE, Unit};
use crate::input::reject::Reject;
use crate::input::table::Visit;

/// Type of an array's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Bool,
    /// Width in bytes.
    Int(usize),
    Uint(usize),
    Float(usize),
    Time(Unit),
    Object,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Dtype {
    element: Element,
    big_endian: bool,
}

/// An array of one or two dimensions; one counts as a single line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Array {
    pub(super) lines: usize,
    pub(super) length: usize,
    dtype: Dtype,
    /// Whether the elements of a column, not of a line, lie side by side.
    fortran: bool,
    data: Value,
}

type Wrong = &'static str;

pub(super) const OTHER: Wrong = "neither of numbers nor of times";

impl Array {
    /// Looks at an array without looking at its data.
    pub(super) fn of(graph: &Graph<'_>, value: Value) -> Result<Self, Wrong> {
        let parts = Self::reconstructed(graph, value).or_else(|| Self::from_buffer(graph, value));
        let (shape, dtype, fortran, data) = parts.ok_or("an array is something else")?;
        let (lines, length) = match graph.tuple(shape) {
            Some(&[length]) => (Some(1), length.size()),
            Some(&[lines, length]) => (lines.size(), length.size()),
            _ => return Err("an array has neither one nor two dimensions"),
        };
        let (Some(lines), Some(length)) = (lines, length) else {
            return Err("an array's shape is no shape");
        };
        let dtype = Dtype::of(graph, dtype)?;
        // Lists of objects are always written line by line.
        let fortran = fortran && dtype.element != Element::Object;
        Ok(Self { lines, length, dtype, fortran, data })
    }

    /// Shape, type, order and data of an array that is made empty and given its state.
    fn reconstructed(graph: &Graph<'_>, value: Value) -> Option<(Value, Value, bool, Value)> {
        match graph.tuple(graph.state(value, Global::Reconstruct)?)? {
            &[_version, shape, dtype, fortran, data] => Some((shape, dtype, fortran.truth()?, data)),
            _ => None,
        }
    }

    /// The same of one that is made from its bytes, as protocol 5 does.
    fn from_buffer(graph: &Graph<'_>, value: Value) -> Option<(Value, Value, bool, Value)> {
        let &[data, dtype, shape, order] = graph.args(value, Global::FromBuffer)? else {
            return None;
        };
        match graph.text(order)? {
            "C" => Some((shape, dtype, false, data)),
            "F" => Some((shape, dtype, true, data)),
            _ => None,
        }
    }

    /// Every cell of a line.
    pub(super) fn visit(&self, graph: &Graph<'_>, line: usize, each: &mut Visit<'_>) -> Result<(), Halt> {
        let count = self.lines.checked_mul(self.length).ok_or(SIZE)?;
        let (first, step) = if self.fortran { (line, self.lines) } else { (line * self.length, 1) };
        let at = |index: usize| first + index * step;
        if self.dtype.element == Element::Object {
            let items = graph.list(self.data).filter(|items| items.len() == count).ok_or(SIZE)?;
            for index in 0..self.length {
                each(index, cell(graph, items[at(index)]))?;
            }
            return Ok(());
        }
        let width = self.dtype.width();
        let size = count.checked_mul(width).ok_or(SIZE)?;
        let data = graph.bytes(self.data, size).filter(|data| data.len() == size).ok_or(SIZE)?;
        for index in 0..self.length {
            each(index, self.dtype.cell(&data[at(index) * width..][..width]))?;
        }
        Ok(())
    }

    /// The integers of a line.
    pub(super) fn integers(&self, graph: &Graph<'_>) -> Result<Vec<i64>, Wrong> {
        let mut integers = Vec::new();
        let read = self.visit(graph, 0, &mut |_, cell| {
            if let Cell::Int(value) = cell {
                integers.push(value);
            }
            Ok(())
        });
        match read {
            Ok(()) if integers.len() == self.length => Ok(integers),
            _ => Err("a block's columns are not integers"),
        }
    }
}

const SIZE: Halt = Halt::Wrong("an array's data does not have its shape's size");

/// What ends a visit: the array itself, or the visitor's opinion of a cell.
#[derive(Debug)]
pub(super) enum Halt {
    Wrong(Wrong),
    Cell(Reject),
}

impl From<Reject> for Halt {
    fn from(reject: Reject) -> Self {
        Self::Cell(reject)
    }
}

/// A Python object as a cell.
fn cell<'g>(graph: &'g Graph<'_>, value: Value) -> Cell<'g> {
    match value {
        Value::None => Cell::Null,
        Value::Bool(value) => Cell::Bool(value),
        Value::Int(value) => Cell::Int(value),
        Value::Wide => Cell::Huge,
        Value::Float(value) => Cell::Float(value, DOUBLE),
        Value::Text(span) => Cell::text(graph.span(span)),
        Value::Bytes(_) => Cell::Other("bytes"),
        Value::Global(Global::Missing) => Cell::Null,
        Value::Global(_) => Cell::Other("a class"),
        Value::Node(_) => {
            scalar(graph, value).or_else(|| object(graph, value)).unwrap_or(Cell::Other("a Python object"))
        }
    }
}

/// An object of Python's own among others.
fn object<'g>(graph: &'g Graph<'_>, value: Value) -> Option<Cell<'g>> {
    if let Some(&[digits]) = graph.args(value, Global::Decimal) {
        return graph.text(digits).map(Cell::Text);
    }
    if graph.args(value, Global::NotATime).is_some() {
        return Some(Cell::Null);
    }
    if let Some(args) = graph.args(value, Global::Timestamp) {
        return Some(timestamp(args).unwrap_or(Cell::Other("a Timestamp object")));
    }
    if let Some(args) = graph.args(value, Global::DateTime) {
        return Some(datetime(graph, args).unwrap_or(Cell::Other("a datetime object")));
    }
    Some(Cell::Other(match graph.maker(value)? {
        "date" => "a date object",
        "UUID" => "a UUID",
        _ => return None,
    }))
}

/// A Timestamp's count of time since 1970 UTC, whatever its zone, and numpy's number for the count's unit, which
/// came with pandas 2.
fn timestamp(args: &[Value]) -> Option<Cell<'static>> {
    let (count, unit) = match args {
        [count, _frequency, _zone] => (count, Unit::Nanoseconds),
        [count, _frequency, _zone, Value::Int(unit)] => {
            (count, *Unit::ALL.get(usize::try_from(unit.checked_sub(7)?).ok()?)?)
        }
        _ => return None,
    };
    Some(Cell::Time(count.int()?, unit))
}

/// A datetime without a zone: its year in two bytes, then month, day, hour, minute and second in one each.
fn datetime(graph: &Graph<'_>, args: &[Value]) -> Option<Cell<'static>> {
    let &[packed] = args else { return None };
    let packed = graph.bytes(packed, 10)?;
    let &[high, low, month, day, hour, minute, second, ..] = packed.as_ref() else { return None };
    let year = i16::from_be_bytes([high, low]);
    let [month, day, hour, minute, second] = [month, day, hour, minute, second].map(u8::cast_signed);
    let time = jiff::civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    let time = jiff::tz::Offset::UTC.to_timestamp(time).ok()?;
    Some(Cell::Time(time.as_second(), Unit::Seconds))
}

/// An integer, whether Python's own or numpy's.
pub(super) fn integer(graph: &Graph<'_>, value: Value) -> Option<i64> {
    match cell(graph, value) {
        Cell::Int(value) => Some(value),
        _ => None,
    }
}

/// A numpy scalar among Python objects.
fn scalar<'g>(graph: &'g Graph<'_>, value: Value) -> Option<Cell<'g>> {
    let &[dtype, data] = graph.args(value, Global::Scalar)? else {
        return None;
    };
    let dtype = Dtype::of(graph, dtype).ok().filter(|dtype| dtype.element != Element::Object)?;
    let data = graph.bytes(data, dtype.width()).filter(|data| data.len() == dtype.width())?;
    Some(dtype.cell(&data))
}

impl Dtype {
    fn of(graph: &Graph<'_>, value: Value) -> Result<Self, Wrong> {
        let Some(&[code, ..]) = graph.args(value, Global::Dtype) else {
            return Err("an array's type is something else");
        };
        let state = graph.state(value, Global::Dtype).and_then(|state| graph.tuple(state));
        let element = match graph.text(code).ok_or(OTHER)? {
            "b1" => Element::Bool,
            "i1" => Element::Int(1),
            "i2" => Element::Int(2),
            "i4" => Element::Int(4),
            "i8" => Element::Int(8),
            "u1" => Element::Uint(1),
            "u2" => Element::Uint(2),
            "u4" => Element::Uint(4),
            "u8" => Element::Uint(8),
            "f2" => Element::Float(2),
            "f4" => Element::Float(4),
            "f8" => Element::Float(8),
            "M8" => Element::Time(unit(graph, state).ok_or("an array's unit of time is none of pandas'")?),
            "O8" | "O4" => Element::Object,
            "m8" => return Err("of spans of time"),
            "c8" | "c16" => return Err("of complex numbers"),
            _ => return Err(OTHER),
        };
        // The state is (version, byte order, …); bytes and objects have none, '|'.
        let order = state.and_then(|state| graph.text(*state.get(1)?));
        match order {
            Some("<" | "|") => Ok(Self { element, big_endian: false }),
            Some(">") => Ok(Self { element, big_endian: true }),
            _ => Err("an array's byte order is unknown"),
        }
    }

    /// That of Arrow's arrays.
    pub(super) fn little_endian(element: Element) -> Self {
        Self { element, big_endian: false }
    }

    pub(super) fn width(self) -> usize {
        match self.element {
            Element::Bool => 1,
            Element::Int(width) | Element::Uint(width) | Element::Float(width) => width,
            Element::Time(_) | Element::Object => 8,
        }
    }

    /// An element, from as many bytes as it is wide.
    pub(super) fn cell(self, bytes: &[u8]) -> Cell<'static> {
        let width = bytes.len();
        let mut wide = [0; 8];
        for (to, &byte) in wide.iter_mut().zip(bytes) {
            *to = byte;
        }
        if self.big_endian {
            wide[..width].reverse();
        }
        let number = u64::from_le_bytes(wide);
        // Shifted up and down again, the sign fills the bytes above.
        let unused = 64 - 8 * width as u32;
        match self.element {
            Element::Bool => Cell::Bool(number != 0),
            Element::Int(_) => Cell::Int((number << unused).cast_signed() >> unused),
            Element::Uint(_) => Cell::unsigned(number),
            Element::Float(2) => Cell::half(number as u16),
            Element::Float(4) => Cell::Float(f32::from_bits(number as u32).into(), SINGLE),
            Element::Float(_) => Cell::Float(f64::from_bits(number), DOUBLE),
            // numpy's NaT
            Element::Time(_) if number.cast_signed() == i64::MIN => Cell::Null,
            Element::Time(unit) => Cell::Time(number.cast_signed(), unit),
            Element::Object => Cell::Other("an object"),
        }
    }
}

/// The unit of times: the last of a type's state is (…, (unit, count, …)), the count being 1.
fn unit(graph: &Graph<'_>, state: Option<&[Value]>) -> Option<Unit> {
    let &[.., meta] = state? else { return None };
    let &[.., unit] = graph.tuple(meta)? else {
        return None;
    };
    let &[unit, Value::Int(1), ..] = graph.tuple(unit)? else {
        return None;
    };
    match graph.bytes(unit, 2)?.as_ref() {
        b"s" => Some(Unit::Seconds),
        b"ms" => Some(Unit::Milliseconds),
        b"us" => Some(Unit::Microseconds),
        b"ns" => Some(Unit::Nanoseconds),
        _ => None,
    }
}
