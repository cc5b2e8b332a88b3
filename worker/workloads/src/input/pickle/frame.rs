//! A DataFrame inside a pickle: its blocks and its columns' names.

use super::array::{Array, Halt, integer};
use super::global::Global;
use super::graph::{Graph, Value};
use super::refusal::Refusal;
use super::values::Values;
use crate::input::cell::Cell;
use crate::input::reject::{Reject, quote};
use crate::input::table::{Table, Visit};

const MAX_COLUMNS: usize = 4096;

/// What keeps a pickle from being a DataFrame.
type Wrong = &'static str;

pub(in crate::input) struct Frame<'g> {
    graph: &'g Graph<'g>,
    names: Vec<String>,
    index: Vec<String>,
    rows: usize,
    columns: Vec<Column>,
}

/// A column is a line of a block, or something that is not read.
#[derive(Clone, Copy)]
struct Column {
    block: Result<Values, Wrong>,
    line: usize,
}

impl<'g> Frame<'g> {
    pub(super) fn of(graph: &'g Graph<'g>, root: Value) -> Result<Self, Wrong> {
        let state = graph.state(root, Global::DataFrame).ok_or("it holds something else")?;
        // `_data` until pandas 1.0
        let manager = graph.get(state, "_mgr").or_else(|| graph.get(state, "_data"));
        let manager = manager.and_then(|manager| Manager::of(graph, manager)).ok_or("it has no blocks")?;
        let names = names(graph, *manager.axes.first().ok_or(NO_NAMES)?)?;
        let columns = columns(graph, &manager.blocks, names.len())?;
        let mut lengths = columns.iter().filter_map(|column| Some(column.block.ok()?.length()));
        let rows = lengths.next().unwrap_or(0);
        if lengths.any(|length| length != rows) {
            return Err("its columns differ in length");
        }
        let index = manager.axes.get(1).map_or_else(Vec::new, |&rows| index_names(graph, rows));
        Ok(Self { graph, names, index, rows, columns })
    }
}

impl Table for Frame<'_> {
    fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn index(&self) -> Vec<String> {
        self.index.clone()
    }

    fn visit(&self, column: usize, each: &mut Visit<'_>) -> Result<(), Reject> {
        let Column { block, line } = self.columns[column];
        let name = || quote(&self.names[column]);
        let block = block.map_err(|what| Refusal::Column { name: name(), what })?;
        block.visit(self.graph, line, each).map_err(|halt| match halt {
            Halt::Cell(reject) => reject,
            Halt::Wrong(wrong) => Refusal::NotAFrame(wrong).into(),
        })
    }
}

/// What a BlockManager is made of.
struct Manager<'g> {
    /// The columns' index and the rows'.
    axes: &'g [Value],
    blocks: Vec<Block>,
}

/// Columns of one type, and which they are.
#[derive(Clone, Copy)]
struct Block {
    values: Value,
    placement: Value,
}

impl<'g> Manager<'g> {
    /// In the two ways in which it is written: by arguments since pandas 1.3, by state before.
    fn of(graph: &'g Graph<'_>, manager: Value) -> Option<Self> {
        if let &[blocks, axes] = graph.args(manager, Global::BlockManager)? {
            let block = |&block: &Value| match graph.args(block, Global::Block)? {
                &[values, placement, ..] => Some(Block { values, placement }),
                _ => None,
            };
            let blocks = graph.tuple(blocks)?.iter().map(block).collect::<Option<_>>()?;
            return Some(Self { axes: graph.list(axes)?, blocks });
        }
        let state = graph.tuple(graph.state(manager, Global::BlockManager)?)?;
        let state = graph.get(*state.last()?, "0.14.1")?;
        let block = |&block: &Value| {
            let (values, placement) = (graph.get(block, "values")?, graph.get(block, "mgr_locs")?);
            Some(Block { values, placement })
        };
        let blocks = graph.list(graph.get(state, "blocks")?)?.iter().map(block).collect::<Option<_>>()?;
        Some(Self { axes: graph.list(graph.get(state, "axes")?)?, blocks })
    }
}

/// Every column's place in the blocks; each has one.
fn columns(graph: &Graph<'_>, blocks: &[Block], count: usize) -> Result<Vec<Column>, Wrong> {
    if blocks.len() > count {
        return Err("it has more blocks than columns");
    }
    let mut columns = vec![None; count];
    for &Block { values, placement } in blocks {
        let block = Values::of(graph, values);
        let lines = block.as_ref().ok().map(Values::lines);
        for (line, column) in placed(graph, placement, lines)?.into_iter().enumerate() {
            let place = usize::try_from(column).ok().and_then(|column| columns.get_mut(column));
            match place {
                Some(free @ None) => *free = Some(Column { block, line }),
                _ => return Err("a block stands where there is no room for it"),
            }
        }
    }
    columns.into_iter().collect::<Option<_>>().ok_or("a column is in no block")
}

/// The columns that the lines of a block are, whose number is known where the block is read.
fn placed(graph: &Graph<'_>, placement: Value, lines: Option<usize>) -> Result<Vec<i64>, Wrong> {
    const WRONG: Wrong = "a block's columns are not as many as its lines";
    let most = lines.unwrap_or(MAX_COLUMNS);
    if most > MAX_COLUMNS {
        return Err(WRONG);
    }
    let columns = match graph.args(placement, Global::Slice) {
        Some(slice) => sliced(graph, slice, most).ok_or(WRONG)?,
        None => {
            let array = Array::of(graph, placement).map_err(|_| "a block's columns are no array")?;
            if array.lines != 1 || array.length > most {
                return Err(WRONG);
            }
            array.integers(graph)?
        }
    };
    if lines.is_none_or(|lines| columns.len() == lines) { Ok(columns) } else { Err(WRONG) }
}

/// The members of a slice, at most one more than `wanted` of them.
fn sliced(graph: &Graph<'_>, slice: &[Value], wanted: usize) -> Option<Vec<i64>> {
    let &[start, stop, step] = slice else { return None };
    let (start, step) = (integer(graph, start)?, integer(graph, step)?);
    let stop = match stop {
        // Python's way to say that it goes down to the first column
        Value::None => -1,
        stop => integer(graph, stop)?,
    };
    let members = (0..=wanted as i64).map_while(|index| step.checked_mul(index)?.checked_add(start));
    Some(members.take_while(|&member| if step > 0 { member < stop } else { member > stop }).collect())
}

/// The names of an index of rows, or of the levels of one: as many as a person gives.
fn index_names(graph: &Graph<'_>, index: Value) -> Vec<String> {
    const MOST: usize = 16;
    let Some(&[_class, entries]) = graph.args(index, Global::NewIndex) else { return Vec::new() };
    let name = graph.get(entries, "name");
    let levels = graph.get(entries, "names").and_then(|names| graph.list(names)).unwrap_or_default();
    let all = name.iter().chain(levels).take(MOST);
    all.filter_map(|&name| graph.text(name).map(str::to_owned)).collect()
}

const NO_NAMES: Wrong = "its columns have no names";

/// The labels of an index; a label that is no text is replaced by a stand-in.
fn names(graph: &Graph<'_>, index: Value) -> Result<Vec<String>, Wrong> {
    let Some(&[_class, entries]) = graph.args(index, Global::NewIndex) else {
        return Err(NO_NAMES);
    };
    let labels = Values::of(graph, graph.get(entries, "data").ok_or(NO_NAMES)?)?;
    if labels.lines() != 1 || labels.length() > MAX_COLUMNS {
        return Err("it has too many columns");
    }
    let mut names = Vec::with_capacity(labels.length());
    let visited = labels.visit(graph, 0, &mut |_, cell| {
        names.push(match cell {
            Cell::Text(name) => name.to_owned(),
            Cell::Int(name) => name.to_string(),
            _ => "?".to_owned(),
        });
        Ok(())
    });
    visited.map_err(|_| NO_NAMES).map(|()| names)
}
