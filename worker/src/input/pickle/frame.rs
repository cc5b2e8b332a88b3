//! A DataFrame inside a pickle: its blocks and its columns' names.

use super::Refusal;
use super::array::{Array, Halt};
use super::global::Global;
use super::graph::{Call, Graph, Value};
use crate::input::reject::Reject;
use crate::input::table::{Cell, Table, Visit};

const MAX_COLUMNS: usize = 4096;
/// Bytes of all names where Arrow holds them.
const MAX_NAMES: usize = 1 << 20;

type Wrong = &'static str;

pub(in crate::input) struct Frame<'g> {
    graph: &'g Graph<'g>,
    names: Vec<String>,
    rows: usize,
    /// For each column its block and the line therein.
    columns: Vec<(Array, usize)>,
}

impl<'g> Frame<'g> {
    pub(super) fn of(graph: &'g Graph<'g>, root: Value) -> Result<Self, Wrong> {
        let state = match graph.call(root) {
            Some(Call {
                callee: Global::DataFrame,
                state: Some(state),
                ..
            }) => state,
            _ => return Err("it holds something else"),
        };
        // `_data` until pandas 1.0
        let manager = graph.get(state, "_mgr").or_else(|| graph.get(state, "_data"));
        let manager = manager
            .and_then(|manager| Manager::of(graph, manager))
            .ok_or("it has no blocks")?;
        let names = names(graph, *manager.axes.first().ok_or("it has no columns")?)?;
        if names.len() > MAX_COLUMNS || manager.blocks.len() > names.len() {
            return Err("it has too many columns or blocks");
        }
        let mut columns = vec![None; names.len()];
        for Block { values, placement } in manager.blocks {
            let block = Array::of(graph, unwrapped(graph, values))?;
            for (line, column) in placed(graph, placement, block.lines)?.into_iter().enumerate() {
                match usize::try_from(column)
                    .ok()
                    .and_then(|column| columns.get_mut(column))
                {
                    Some(free @ None) => *free = Some((block, line)),
                    _ => return Err("a block stands where there is no room for it"),
                }
            }
        }
        let columns: Vec<_> = columns
            .into_iter()
            .collect::<Option<_>>()
            .ok_or("a column has no block")?;
        let rows = columns.first().map_or(0, |(block, _)| block.length);
        if columns.iter().any(|(block, _)| block.length != rows) {
            return Err("its blocks differ in length");
        }
        Ok(Self {
            graph,
            names,
            rows,
            columns,
        })
    }
}

impl Table for Frame<'_> {
    fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn visit(&self, column: usize, each: &mut Visit<'_>) -> Result<(), Reject> {
        let Some((block, line)) = self.columns.get(column) else {
            return Ok(());
        };
        block
            .visit(self.graph, *line, each)
            .map_err(|problem| match problem {
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

/// An array of columns of one type, and which columns they are.
struct Block {
    values: Value,
    placement: Value,
}

impl<'g> Manager<'g> {
    /// In the two ways in which it is written: by arguments since pandas 1.3, by state before.
    fn of(graph: &'g Graph<'_>, manager: Value) -> Option<Self> {
        let Some(Call {
            callee: Global::BlockManager,
            args,
            state,
        }) = graph.call(manager)
        else {
            return None;
        };
        if let &[blocks, axes] = args {
            let block = |&block: &Value| match graph.call(block)? {
                Call {
                    callee: Global::Block,
                    args: &[values, placement, ..],
                    ..
                } => Some(Block { values, placement }),
                _ => None,
            };
            let blocks = graph.tuple(blocks)?.iter().map(block).collect::<Option<_>>()?;
            return Some(Self {
                axes: graph.list(axes)?,
                blocks,
            });
        }
        let &[.., extra] = graph.tuple(state?)? else {
            return None;
        };
        let since = graph.get(extra, "0.14.1")?;
        let block = |&block: &Value| {
            Some(Block {
                values: graph.get(block, "values")?,
                placement: graph.get(block, "mgr_locs")?,
            })
        };
        let blocks = graph
            .list(graph.get(since, "blocks")?)?
            .iter()
            .map(block)
            .collect::<Option<_>>()?;
        Some(Self {
            axes: graph.list(graph.get(since, "axes")?)?,
            blocks,
        })
    }
}

/// The array inside an array of times or of text, or the value itself.
fn unwrapped(graph: &Graph<'_>, value: Value) -> Value {
    let inside = match graph.call(value) {
        Some(Call {
            callee: Global::ArrayBacked,
            args: [Value::Global(Global::DatetimeArray | Global::StringArray), ..],
            state: Some(state),
        }) => {
            // Of array, type and attributes some versions leave one out and some swap two.
            graph.tuple(state).and_then(|state| {
                state
                    .iter()
                    .take(3)
                    .copied()
                    .find(|&part| Array::of(graph, part).is_ok())
            })
        }
        // until pandas 1.2
        Some(Call {
            callee: Global::DatetimeArray,
            state: Some(state),
            ..
        }) => graph.get(state, "_data").or_else(|| graph.get(state, "_ndarray")),
        _ => None,
    };
    inside.unwrap_or(value)
}

/// The columns that the lines of a block are.
fn placed(graph: &Graph<'_>, placement: Value, lines: usize) -> Result<Vec<i64>, Wrong> {
    const WRONG: Wrong = "a block's columns are not as many as its lines";
    if lines > MAX_COLUMNS {
        return Err(WRONG);
    }
    if let Some(Call {
        callee: Global::Slice,
        args: &[start, stop, step],
        ..
    }) = graph.call(placement)
    {
        let (Some(start), Some(step)) = (start.int(), step.int()) else {
            return Err(WRONG);
        };
        // Down to the first column, Python's stop is None.
        let stop = if matches!(stop, Value::None) {
            -1
        } else {
            stop.int().ok_or(WRONG)?
        };
        let columns: Vec<i64> = (0..=lines as i64)
            .map_while(|line| step.checked_mul(line)?.checked_add(start))
            .take_while(|&column| if step > 0 { column < stop } else { column > stop })
            .collect();
        return if columns.len() == lines {
            Ok(columns)
        } else {
            Err(WRONG)
        };
    }
    let array = Array::of(graph, placement)?;
    if (array.lines, array.length) != (1, lines) {
        return Err(WRONG);
    }
    array.integers(graph)
}

/// The labels of an index, those that are no text by a stand-in.
fn names(graph: &Graph<'_>, index: Value) -> Result<Vec<String>, Wrong> {
    const WRONG: Wrong = "its columns have no names";
    let Some(Call {
        callee: Global::NewIndex,
        args: &[_class, entries],
        ..
    }) = graph.call(index)
    else {
        return Err(WRONG);
    };
    let data = graph.get(entries, "data").ok_or(WRONG)?;
    if let Some(Call {
        callee: Global::ArrowStringArray,
        state: Some(state),
        ..
    }) = graph.call(data)
    {
        return graph
            .get(state, "_pa_array")
            .and_then(|array| arrow_names(graph, array))
            .ok_or(WRONG);
    }
    let array = Array::of(graph, unwrapped(graph, data))?;
    if array.lines != 1 || array.length > MAX_COLUMNS {
        return Err("it has too many columns or blocks");
    }
    let mut names = Vec::with_capacity(array.length);
    let read = array.visit(graph, 0, &mut |_, cell| {
        names.push(label(cell));
        Ok(())
    });
    read.map_err(|_| WRONG).map(|()| names)
}

fn label(cell: Cell<'_>) -> String {
    match cell {
        Cell::Text(name) => name.to_owned(),
        Cell::Int(name) => name.to_string(),
        _ => "?".to_owned(),
    }
}

/// Names held by Arrow, as pandas 3 does where pyarrow is installed: `_restore_array` of (type,
/// length, nulls, offset, (validity, ends, text), children, dictionary).
fn arrow_names(graph: &Graph<'_>, array: Value) -> Option<Vec<String>> {
    let Some(Call {
        callee: Global::ArrowArray,
        args: &[parts],
        ..
    }) = graph.call(array)
    else {
        return None;
    };
    let &[kind, length, Value::Int(0), Value::Int(0), buffers, ..] = graph.tuple(parts)? else {
        return None;
    };
    let length = length.size().filter(|&length| length <= MAX_COLUMNS)?;
    let width = match graph.call(kind)? {
        Call {
            callee: Global::ArrowType,
            args: [alias],
            ..
        } => match graph.text(*alias)? {
            "large_string" => 8,
            "string" => 4,
            _ => return None,
        },
        _ => return None,
    };
    let buffer = |value: Value| match graph.call(value)? {
        Call {
            callee: Global::ArrowBuffer,
            args: [data],
            ..
        } => graph.bytes(*data, MAX_NAMES),
        _ => None,
    };
    let &[_validity, ends, text] = graph.list(buffers)? else {
        return None;
    };
    let (ends, text) = (buffer(ends)?, buffer(text)?);
    let end = |index: usize| {
        let bytes = ends.get(index * width..)?.get(..width)?;
        usize::try_from(
            bytes
                .iter()
                .rev()
                .fold(0_u64, |end, &byte| end << 8 | u64::from(byte)),
        )
        .ok()
    };
    (0..length)
        .map(|index| Some(label(Cell::text(text.get(end(index)?..end(index + 1)?)?))))
        .collect()
}
