//! Pickles of pandas DataFrames, read without running them.
//!
//! A pickle is a program for a stack machine, and Python's own reader does what it says: import
//! any name, call it with any arguments. This reader is another machine for the same programs
//! ([`machine`]). It knows the opcodes and the names ([`global`]) that a DataFrame of numbers is
//! made of. Other names are kept as what they are, names: they make the columns and indexes that nobody
//! reads. Names that only an attack asks for are refused by name and offset. What is called is only written
//! down, as part of an inert graph ([`graph`]); [`frame`], [`values`], [`array`] and [`arrow`] then look
//! whether that graph is one of the forms in which pandas 0.25 to 3 and numpy 1 and 2 write a
//! DataFrame, and take the columns out of it.
//!
//! Why no pickle can do harm: no name is resolved to anything that could run. Each opcode takes
//! at least one byte and constant time and memory, lengths are compared with what is left of
//! the file before they are used, and numbers of values, nodes and entries have limits. Nothing
//! walks the graph recursively: [`frame`] follows fixed paths, so that cycles and deep or shared
//! structures cost nothing, and looks at a column's data only when that column is read.

mod array;
mod arrow;
mod frame;
mod global;
mod graph;
mod machine;
mod opcode;
pub(super) mod refusal;
mod values;

pub(super) use opcode::PROTO;

use frame::Frame;
use graph::{Graph, Value};
use refusal::Refusal;

use super::reject::Reject;

/// What a pickle built.
pub(super) struct Unpickled<'a> {
    graph: Graph<'a>,
    root: Value,
}

/// Runs a pickle.
pub(super) fn read(bytes: &[u8]) -> Result<Unpickled<'_>, Reject> {
    match machine::run(bytes) {
        Ok((graph, root)) => Ok(Unpickled { graph, root }),
        // What asks for a name is a pickle, whatever else it may be.
        Err(refusal @ Refusal::Global { .. }) => Err(refusal.into()),
        Err(refusal) => Err(old_protocol(bytes).unwrap_or_else(|| refusal.into())),
    }
}

/// Why a file without the mark of protocols 2 to 5 is no pickle of these. An object in the older ones begins
/// with a name of two lines and a number that it is remembered by, written in protocol 0 as text.
fn old_protocol(bytes: &[u8]) -> Option<Reject> {
    if bytes.first() == Some(&PROTO) {
        return None;
    }
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let named = lines.next().is_some_and(|line| line.starts_with(b"c")) && lines.next().is_some();
    Some(match (named, lines.next().and_then(<[u8]>::first)) {
        (true, Some(b'p')) => Refusal::OldProtocol("0").into(),
        (true, Some(b'q')) => Refusal::OldProtocol("1").into(),
        (true, _) => Refusal::OldProtocol("0 or 1").into(),
        (false, _) => Reject::NotWhatItSays("a pickle of protocol 2 to 5"),
    })
}

impl Unpickled<'_> {
    /// The DataFrame that it has to be.
    pub(super) fn table(&self) -> Result<Frame<'_>, Reject> {
        let frame = Frame::of(&self.graph, self.root);
        frame.map_err(|wrong| {
            old_protocol(self.graph.bytes).unwrap_or_else(|| Refusal::NotAFrame(wrong).into())
        })
    }
}
