//! The cells of a block or an index: a numpy array, bare or inside one of pandas' own arrays.

use super::array::{Array, Halt, OTHER};
use super::arrow::ArrowArray;
use super::global::Global;
use super::graph::{Graph, Value};
use crate::input::cell::Cell;
use crate::input::table::Visit;

/// Lines of cells of equal length.
#[derive(Debug, Clone, Copy)]
pub(super) enum Values {
    Array(Array),
    Arrow(ArrowArray),
    /// Numbers, and which of them are missing.
    Masked(Array, Array),
}

impl Values {
    /// Looks at what holds the cells, without looking at them. The error says what it is instead.
    pub(super) fn of(graph: &Graph<'_>, value: Value) -> Result<Self, &'static str> {
        if let Some(array) = ArrowArray::of(graph, value) {
            return array.map(Self::Arrow);
        }
        if let Some(state) = graph.state(value, Global::MaskedArray) {
            return masked(graph, state).ok_or("an array with a mask that is not whole");
        }
        match graph.maker(value) {
            Some("Categorical") => Err("of categories"),
            Some("PeriodArray") => Err("of periods"),
            Some("TimedeltaArray") => Err("of spans of time"),
            Some("IntervalArray") => Err("of intervals"),
            Some("SparseArray") => Err("sparse"),
            Some(_) => Err(OTHER),
            None => Array::of(graph, bare(graph, value).unwrap_or(value)).map(Self::Array),
        }
    }

    pub(super) fn lines(&self) -> usize {
        match self {
            Self::Array(array) => array.lines,
            Self::Arrow(_) | Self::Masked(..) => 1,
        }
    }

    pub(super) fn length(&self) -> usize {
        match self {
            Self::Array(array) | Self::Masked(array, _) => array.length,
            Self::Arrow(array) => array.length,
        }
    }

    /// Every cell of a line.
    pub(super) fn visit(&self, graph: &Graph<'_>, line: usize, each: &mut Visit<'_>) -> Result<(), Halt> {
        match self {
            Self::Array(array) => array.visit(graph, line, each),
            Self::Arrow(array) => array.visit(graph, each),
            Self::Masked(array, mask) => {
                let mut missing = Vec::new();
                mask.visit(graph, 0, &mut |_, cell| {
                    missing.push(matches!(cell, Cell::Bool(true)));
                    Ok(())
                })?;
                array.visit(graph, line, &mut |row, cell| {
                    each(row, if missing[row] { Cell::Null } else { cell })
                })
            }
        }
    }
}

fn masked(graph: &Graph<'_>, state: Value) -> Option<Values> {
    let part = |name| Array::of(graph, graph.get(state, name)?).ok();
    let (data, mask) = (part("_data")?, part("_mask")?);
    (data.lines == 1 && mask.lines == 1 && data.length == mask.length).then_some(Values::Masked(data, mask))
}

/// The numpy array inside an array of times or of text.
fn bare(graph: &Graph<'_>, value: Value) -> Option<Value> {
    // until pandas 1.2
    if let Some(state) = graph.state(value, Global::DatetimeArray) {
        return graph.get(state, "_data");
    }
    let state = graph.tuple(graph.state(value, Global::ArrayBacked)?)?;
    // Of array, type and attributes some versions leave one out and some swap two.
    state.iter().take(3).copied().find(|&part| Array::of(graph, part).is_ok())
}
