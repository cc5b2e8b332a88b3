//! The cells of a block or an index: a numpy array, bare or inside one of pandas' own arrays.

use super::array::{Array, Halt};
use super::arrow::ArrowText;
use super::global::Global;
use super::graph::{Graph, Value};
use crate::input::table::Visit;

/// Lines of cells of equal length.
#[derive(Debug, Clone, Copy)]
pub(super) enum Values {
    Array(Array),
    Arrow(ArrowText),
}

impl Values {
    /// Looks at what holds the cells, without looking at them.
    pub(super) fn of(graph: &Graph<'_>, value: Value) -> Result<Self, &'static str> {
        if let Some(text) = ArrowText::of(graph, value) {
            return Ok(Self::Arrow(text));
        }
        Array::of(graph, bare(graph, value).unwrap_or(value)).map(Self::Array)
    }

    pub(super) fn lines(&self) -> usize {
        match self {
            Self::Array(array) => array.lines,
            Self::Arrow(_) => 1,
        }
    }

    pub(super) fn length(&self) -> usize {
        match self {
            Self::Array(array) => array.length,
            Self::Arrow(text) => text.length,
        }
    }

    /// Every cell of a line.
    pub(super) fn visit(&self, graph: &Graph<'_>, line: usize, each: &mut Visit<'_>) -> Result<(), Halt> {
        match self {
            Self::Array(array) => array.visit(graph, line, each),
            Self::Arrow(text) => text.visit(graph, each),
        }
    }
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
