//! The stack machine: from a pickle's opcodes to a graph, executing nothing.

use super::global::{Global, is_suspicious};
use super::graph::{Graph, Node, Span, Value};
use super::opcode as op;
use super::refusal::Refusal;
use crate::input::reject::quote;

/// Limits far above what a day of transactions needs. Together they bound the memory that a
/// hostile pickle can ask for to about a gigabyte, and less for a small one: every value and
/// node takes at least a byte of the file.
const MAX_BYTES: usize = 1 << 28;
const MAX_VALUES: usize = 1 << 24;
const MAX_NODES: usize = 1 << 22;
const MAX_MEMO: usize = 1 << 22;
/// Of values that wait to be put into something: pandas puts at most 1000 at a time into a list.
const MAX_STACK: usize = 1 << 16;
/// Of things begun and not ended.
const MAX_DEPTH: usize = 100;
const MAX_ENTRIES: usize = 1 << 12;
const MAX_NAME: usize = 256;

/// Runs a pickle to its end.
pub(super) fn run(bytes: &[u8]) -> Result<(Graph<'_>, Value), Refusal> {
    if bytes.len() > MAX_BYTES {
        return Err(Refusal::TooLarge { what: "bytes", limit: MAX_BYTES });
    }
    let graph = Graph { bytes, nodes: Vec::new() };
    let mut machine = Machine {
        graph,
        at: 0,
        opcode_at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
        values: 0,
    };
    loop {
        machine.opcode_at = machine.at;
        match machine.number::<1>()? as u8 {
            op::STOP => return machine.stop(),
            code => machine.step(code)?,
        }
    }
}

struct Machine<'a> {
    graph: Graph<'a>,
    at: usize,
    /// Where the opcode being run stands.
    opcode_at: usize,
    stack: Vec<Value>,
    /// Heights of the stack at each open MARK.
    marks: Vec<usize>,
    memo: Vec<Value>,
    /// How many were ever pushed.
    values: usize,
}

impl<'a> Machine<'a> {
    fn step(&mut self, code: u8) -> Result<(), Refusal> {
        match code {
            op::PROTO => self.protocol(),
            op::FRAME => self.number::<8>().and_then(|len| self.have(len)),
            op::MARK => self.mark(),
            op::NONE => self.push(Value::None),
            op::NEWTRUE => self.push(Value::Bool(true)),
            op::NEWFALSE => self.push(Value::Bool(false)),
            op::BININT1 => self.number::<1>().and_then(|n| self.push(Value::Int(n as i64))),
            op::BININT2 => self.number::<2>().and_then(|n| self.push(Value::Int(n as i64))),
            op::BININT => self.number::<4>().and_then(|n| self.push(Value::Int(n as u32 as i32 as i64))),
            op::LONG1 => self.span::<1>().and_then(|span| self.long(span)),
            op::LONG4 => self.span::<4>().and_then(|span| self.long(span)),
            op::BINFLOAT => {
                self.number::<8>().and_then(|n| self.push(Value::Float(f64::from_bits(n.swap_bytes()))))
            }
            op::SHORT_BINUNICODE => self.span::<1>().and_then(|span| self.push(Value::Text(span))),
            op::BINUNICODE => self.span::<4>().and_then(|span| self.push(Value::Text(span))),
            op::BINUNICODE8 => self.span::<8>().and_then(|span| self.push(Value::Text(span))),
            op::SHORT_BINBYTES => self.span::<1>().and_then(|span| self.push(Value::Bytes(span))),
            op::BINBYTES => self.span::<4>().and_then(|span| self.push(Value::Bytes(span))),
            op::BINBYTES8 | op::BYTEARRAY8 => self.span::<8>().and_then(|span| self.push(Value::Bytes(span))),
            op::EMPTY_TUPLE => self.tuple(0),
            op::TUPLE1 => self.tuple(1),
            op::TUPLE2 => self.tuple(2),
            op::TUPLE3 => self.tuple(3),
            op::TUPLE => self.marked().and_then(|count| self.tuple(count)),
            op::EMPTY_LIST => self.push_node(Node::List(Vec::new())),
            // Nothing looks into a set, so it is read as a list.
            op::EMPTY_SET => self.push_node(Node::List(Vec::new())),
            op::ADDITEMS => self.marked().and_then(|count| self.append(count)),
            op::FROZENSET => self.marked().and_then(|count| self.tuple(count)),
            op::EMPTY_DICT => self.push_node(Node::Dict(Vec::new())),
            op::APPEND => self.append(1),
            op::APPENDS => self.marked().and_then(|count| self.append(count)),
            op::SETITEM => self.set_items(2),
            op::SETITEMS => self.marked().and_then(|count| self.set_items(count)),
            op::MEMOIZE => self.put(self.memo.len() as u64),
            op::BINPUT => self.number::<1>().and_then(|index| self.put(index)),
            op::LONG_BINPUT => self.number::<4>().and_then(|index| self.put(index)),
            op::BINGET => self.number::<1>().and_then(|index| self.get(index)),
            op::LONG_BINGET => self.number::<4>().and_then(|index| self.get(index)),
            op::GLOBAL | op::INST => self.global(),
            op::STACK_GLOBAL => self.stack_global(),
            op::REDUCE | op::NEWOBJ => self.call(),
            op::NEWOBJ_EX => self.pop().and_then(|_keywords| self.call()),
            op::BUILD => self.build(),
            _ => Err(match op::refused(code) {
                Some(name) => Refusal::Opcode { name, offset: self.opcode_at },
                None => self.damaged("not an opcode"),
            }),
        }
    }

    fn damaged(&self, what: &'static str) -> Refusal {
        Refusal::Damaged { offset: self.opcode_at, what }
    }

    fn cut(&self) -> Refusal {
        Refusal::Cut { offset: self.opcode_at }
    }

    // Taking from the bytes.

    /// An unsigned little-endian number of `BYTES` bytes.
    fn number<const BYTES: usize>(&mut self) -> Result<u64, Refusal> {
        let bytes = self.graph.bytes.get(self.at..self.at + BYTES).ok_or_else(|| self.cut())?;
        self.at += BYTES;
        Ok(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// Makes sure that `len` bytes are left.
    fn have(&self, len: u64) -> Result<(), Refusal> {
        let left = (self.graph.bytes.len() - self.at) as u64;
        if len <= left { Ok(()) } else { Err(self.cut()) }
    }

    /// What follows a length of `BYTES` bytes.
    fn span<const BYTES: usize>(&mut self) -> Result<Span, Refusal> {
        let len = self.number::<BYTES>()?;
        self.have(len)?;
        // Both fit: the file is shorter than MAX_BYTES.
        let span = Span { start: self.at as u32, len: len as u32 };
        self.at += len as usize;
        Ok(span)
    }

    fn protocol(&mut self) -> Result<(), Refusal> {
        match self.number::<1>()? as u8 {
            2..=5 => Ok(()),
            version => Err(Refusal::Protocol(version)),
        }
    }

    /// An integer in as many bytes as it needs, in two's complement.
    fn long(&mut self, span: Span) -> Result<(), Refusal> {
        let bytes = &self.graph.bytes[span.start as usize..][..span.len as usize];
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        if bytes.len() > 8 {
            return self.push(Value::Wide);
        }
        let mut whole = [if negative { 0xff } else { 0 }; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(whole)))
    }

    /// A name up to the end of its line.
    fn line(&mut self) -> Result<Span, Refusal> {
        let rest = &self.graph.bytes[self.at..];
        let within = &rest[..rest.len().min(MAX_NAME)];
        match within.iter().position(|&byte| byte == b'\n') {
            Some(len) => {
                let span = Span { start: self.at as u32, len: len as u32 };
                self.at += len + 1;
                Ok(span)
            }
            None if rest.len() < MAX_NAME => Err(self.cut()),
            None => Err(self.damaged("a name has no end")),
        }
    }

    // The stack.

    fn push(&mut self, value: Value) -> Result<(), Refusal> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(Refusal::TooLarge { what: "values", limit: MAX_VALUES });
        }
        if self.stack.len() == MAX_STACK {
            return Err(Refusal::TooLarge { what: "values waiting on its stack", limit: MAX_STACK });
        }
        self.stack.push(value);
        Ok(())
    }

    fn push_node(&mut self, node: Node) -> Result<(), Refusal> {
        if self.graph.nodes.len() == MAX_NODES {
            return Err(Refusal::TooLarge { what: "objects", limit: MAX_NODES });
        }
        self.graph.nodes.push(node);
        self.push(Value::Node((self.graph.nodes.len() - 1) as u32))
    }

    fn mark(&mut self) -> Result<(), Refusal> {
        if self.marks.len() == MAX_DEPTH {
            return Err(Refusal::TooLarge { what: "objects inside one another", limit: MAX_DEPTH });
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    /// Closes the last MARK and says how many values stand above it.
    fn marked(&mut self) -> Result<usize, Refusal> {
        let height = self.marks.pop().ok_or_else(|| self.damaged("no mark is open"))?;
        Ok(self.stack.len() - height)
    }

    /// Where the last `count` values begin; none of them may lie below an open mark.
    fn last(&self, count: usize) -> Result<usize, Refusal> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let start = self.stack.len().checked_sub(count).filter(|&start| start >= floor);
        start.ok_or_else(|| self.damaged("too few values on the stack"))
    }

    fn pop(&mut self) -> Result<Value, Refusal> {
        self.last(1)?;
        self.stack.pop().ok_or_else(|| self.damaged("too few values on the stack"))
    }

    fn stop(mut self) -> Result<(Graph<'a>, Value), Refusal> {
        let root = self.pop()?;
        if !self.stack.is_empty() || !self.marks.is_empty() {
            return Err(self.damaged("it ends with values left over"));
        }
        if self.at != self.graph.bytes.len() {
            return Err(self.damaged("bytes follow its end"));
        }
        Ok((self.graph, root))
    }

    // Containers.

    fn tuple(&mut self, count: usize) -> Result<(), Refusal> {
        let start = self.last(count)?;
        let items = self.stack.drain(start..).collect();
        self.push_node(Node::Tuple(items))
    }

    fn append(&mut self, count: usize) -> Result<(), Refusal> {
        let start = self.last(count)?;
        let list = self.last(count + 1)?;
        let node = match self.stack[list] {
            Value::Node(index) => self.graph.nodes.get_mut(index as usize),
            _ => None,
        };
        match node {
            Some(Node::List(items)) => items.extend(self.stack.drain(start..)),
            // A list of a class of its own: no column is one.
            Some(Node::Call { .. }) => self.stack.truncate(start),
            _ => return Err(self.damaged("appends to what is no list")),
        }
        Ok(())
    }

    fn set_items(&mut self, count: usize) -> Result<(), Refusal> {
        let start = self.last(count)?;
        let dict = self.last(count + 1)?;
        let node = match self.stack[dict] {
            Value::Node(index) => self.graph.nodes.get_mut(index as usize),
            _ => None,
        };
        let (pairs, rest) = self.stack[start..].as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.damaged("a key has no value"));
        }
        match node {
            Some(Node::Dict(entries)) if entries.len() + pairs.len() > MAX_ENTRIES => {
                return Err(Refusal::TooLarge { what: "entries in one dict", limit: MAX_ENTRIES });
            }
            Some(Node::Dict(entries)) => entries.extend(pairs.iter().map(|&[key, value]| (key, value))),
            // A dict of a class of its own.
            Some(Node::Call { .. }) => {}
            _ => return Err(self.damaged("sets items of what is no dict")),
        }
        self.stack.truncate(start);
        Ok(())
    }

    // The memo.

    /// Python numbers its memo from 0 without gaps.
    fn put(&mut self, index: u64) -> Result<(), Refusal> {
        let value = self.stack[self.last(1)?];
        if index == self.memo.len() as u64 && self.memo.len() < MAX_MEMO {
            self.memo.push(value);
        } else if let Some(entry) = self.memo.get_mut(index as usize) {
            *entry = value;
        } else if self.memo.len() == MAX_MEMO {
            return Err(Refusal::TooLarge { what: "memo entries", limit: MAX_MEMO });
        } else {
            return Err(self.damaged("a gap in its memo"));
        }
        Ok(())
    }

    fn get(&mut self, index: u64) -> Result<(), Refusal> {
        let value =
            self.memo.get(index as usize).copied().ok_or_else(|| self.damaged("no such memo entry"))?;
        self.push(value)
    }

    // Names and calls.

    fn global(&mut self) -> Result<(), Refusal> {
        let (module, name) = (self.line()?, self.line()?);
        self.named(module, name)
    }

    fn stack_global(&mut self) -> Result<(), Refusal> {
        match (self.pop()?, self.pop()?) {
            (Value::Text(name), Value::Text(module)) => self.named(module, name),
            _ => Err(self.damaged("a name is not text")),
        }
    }

    fn named(&mut self, module: Span, name: Span) -> Result<(), Refusal> {
        let text = |span: Span| {
            let text = (span.len as usize <= MAX_NAME).then(|| str::from_utf8(self.graph.span(span)).ok());
            text.flatten().ok_or_else(|| self.damaged("a name is not text"))
        };
        let (of, what) = (text(module)?, text(name)?);
        // What follows it is an array's bytes as they are.
        if of == "joblib.numpy_pickle" {
            return Err(Refusal::Joblib);
        }
        if is_suspicious(of, what) && Global::find(of, what).is_none() {
            let name = format!("{}.{}", quote(of), quote(what));
            return Err(Refusal::Global { name, offset: self.opcode_at });
        }
        // INST would also call it: no DataFrame has one, whatever it names.
        if self.graph.bytes[self.opcode_at] == op::INST {
            return Err(Refusal::Opcode { name: "INST", offset: self.opcode_at });
        }
        match Global::find(of, what) {
            Some(global) => self.push(Value::Global(global)),
            None => self.push_node(Node::Foreign { name }),
        }
    }

    /// Writes down a call.
    fn call(&mut self) -> Result<(), Refusal> {
        let (args, callee) = (self.pop()?, self.pop()?);
        let Some(values) = self.graph.tuple(args) else {
            return Err(self.damaged("calls what cannot be called"));
        };
        match (callee, values) {
            // By this a ZoneInfo is made; of anything but a name it is no part of a table.
            (Value::Global(Global::GetAttr), &[of, Value::Text(_)]) if self.is_name(of) => {}
            (Value::Global(Global::GetAttr), _) => {
                let name = "builtins.getattr".to_owned();
                return Err(Refusal::Global { name, offset: self.opcode_at });
            }
            (Value::Global(_) | Value::Node(_), _) => {}
            _ => return Err(self.damaged("calls what cannot be called")),
        }
        self.push_node(Node::Call { callee, args, state: None })
    }

    fn is_name(&self, value: Value) -> bool {
        match value {
            Value::Global(_) => true,
            Value::Node(index) => matches!(self.graph.nodes.get(index as usize), Some(Node::Foreign { .. })),
            _ => false,
        }
    }

    fn build(&mut self) -> Result<(), Refusal> {
        let state = self.pop()?;
        let target = self.stack[self.last(1)?];
        let Value::Node(index) = target else {
            return Err(self.damaged("gives state to a plain value"));
        };
        match self.graph.nodes.get_mut(index as usize) {
            Some(Node::Call { state: given @ None, .. }) => *given = Some(state),
            _ => return Err(self.damaged("gives state to what has some or can have none")),
        }
        Ok(())
    }
}
