//! What a pickle builds, as inert data.

use std::borrow::Cow;

use super::global::Global;

/// A piece of the pickle's own bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) len: u32,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer outside an i64.
    Wide,
    Float(f64),
    /// UTF-8, once looked at.
    Text(Span),
    Bytes(Span),
    Global(Global),
    /// Index into the graph's nodes.
    Node(u32),
}

#[derive(Debug)]
pub(super) enum Node {
    Tuple(Box<[Value]>),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    /// A name that no DataFrame of numbers needs: what is made with it is never looked into.
    Foreign {
        name: Span,
    },
    /// A call that was asked for, and the state that its result was to be given.
    Call {
        callee: Value,
        args: Value,
        state: Option<Value>,
    },
}

#[derive(Debug)]
pub(super) struct Graph<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) nodes: Vec<Node>,
}

impl<'a> Graph<'a> {
    fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(index) => self.nodes.get(index as usize),
            _ => None,
        }
    }

    pub(super) fn tuple(&self, value: Value) -> Option<&[Value]> {
        match self.node(value)? {
            Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn list(&self, value: Value) -> Option<&[Value]> {
        match self.node(value)? {
            Node::List(items) => Some(items),
            _ => None,
        }
    }

    /// The arguments of a call, if that is what was called.
    pub(super) fn args(&self, value: Value, called: Global) -> Option<&[Value]> {
        match self.node(value)? {
            Node::Call { callee, args, .. } if self.callee(*callee) == Some(called) => self.tuple(*args),
            _ => None,
        }
    }

    /// The state given to the result of a call, if that is what was called.
    pub(super) fn state(&self, value: Value, called: Global) -> Option<Value> {
        match self.node(value)? {
            Node::Call { callee, state, .. } if self.callee(*callee) == Some(called) => *state,
            _ => None,
        }
    }

    /// The last part of the name that made an object: that of a class, or of a function that stands for one.
    pub(super) fn maker(&self, value: Value) -> Option<&'a str> {
        let name = |value| match self.node(value)? {
            Node::Foreign { name } => str::from_utf8(self.span(*name)).ok(),
            _ => None,
        };
        match self.node(value)? {
            // Cython's functions take the class as the first argument.
            Node::Call { callee: Value::Global(Global::ArrayBacked), args, .. } => {
                name(*self.tuple(*args)?.first()?)
            }
            Node::Call { callee, .. } => name(*callee),
            _ => name(value),
        }
    }

    /// What a call calls, seen through a `partial`.
    fn callee(&self, value: Value) -> Option<Global> {
        let partial = match value {
            Value::Global(callee) => return Some(callee),
            value => self.node(value)?,
        };
        match partial {
            Node::Call { callee: Value::Global(Global::Partial), args, .. } => match self.tuple(*args)? {
                [Value::Global(callee), ..] => Some(*callee),
                _ => None,
            },
            _ => None,
        }
    }

    /// The value of a key of a dict; of keys set twice the last.
    pub(super) fn get(&self, value: Value, key: &str) -> Option<Value> {
        let Node::Dict(entries) = self.node(value)? else {
            return None;
        };
        let is_key = |entry: &&(Value, Value)| self.raw_text(entry.0) == Some(key.as_bytes());
        entries.iter().rev().find(is_key).map(|entry| entry.1)
    }

    /// A text of at most `LONGEST` bytes: no text in the form of a DataFrame is longer.
    pub(super) fn text(&self, value: Value) -> Option<&'a str> {
        const LONGEST: usize = 256;
        str::from_utf8(self.raw_text(value).filter(|text| text.len() <= LONGEST)?).ok()
    }

    fn raw_text(&self, value: Value) -> Option<&'a [u8]> {
        match value {
            Value::Text(span) => Some(self.span(span)),
            _ => None,
        }
    }

    pub(super) fn span(&self, span: Span) -> &'a [u8] {
        &self.bytes[span.start as usize..][..span.len as usize]
    }

    /// Bytes, at most `at_most`, in any of the ways in which they are written: as such, as a
    /// bytearray of such, and as text whose characters are the bytes.
    pub(super) fn bytes(&self, value: Value, at_most: usize) -> Option<Cow<'a, [u8]>> {
        let value = match self.args(value, Global::Bytearray) {
            Some(&[inner, ..]) => inner,
            _ => value,
        };
        let text = match (value, self.args(value, Global::Encode)) {
            (Value::Bytes(span), _) => {
                return Some(Cow::Borrowed(self.span(span))).filter(|bytes| bytes.len() <= at_most);
            }
            (_, Some(&[text, ..])) => self.raw_text(text)?,
            _ => self.raw_text(value)?,
        };
        // Characters up to 255 take at most two bytes of UTF-8.
        let text =
            str::from_utf8(text.get(..at_most.saturating_mul(2).saturating_add(1)).unwrap_or(text)).ok()?;
        let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
        bytes.filter(|bytes| bytes.len() <= at_most).map(Cow::Owned)
    }
}

impl Value {
    pub(super) fn int(self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(value),
            _ => None,
        }
    }

    /// A size or a position.
    pub(super) fn size(self) -> Option<usize> {
        usize::try_from(self.int()?).ok()
    }

    /// A truth: `True` and `False`, or 0 and 1 as older numpy writes them.
    pub(super) fn truth(self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(value),
            Self::Int(value) => Some(value != 0),
            _ => None,
        }
    }
}
