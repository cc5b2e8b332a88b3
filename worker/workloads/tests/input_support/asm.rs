//! Pickles put together opcode by opcode, and DataFrames as pandas 1.4 and later write them.

use super::Row;

/// A pickle being written.
#[derive(Debug, Clone, Default)]
pub struct Asm(pub Vec<u8>);

impl Asm {
    pub fn new() -> Self {
        Self(b"\x80\x04".to_vec())
    }

    pub fn op(mut self, code: &[u8]) -> Self {
        self.0.extend(code);
        self
    }

    pub fn text(self, text: &str) -> Self {
        let len = (text.len() as u32).to_le_bytes();
        self.op(b"X").op(&len).op(text.as_bytes())
    }

    pub fn bytes(self, bytes: &[u8]) -> Self {
        let len = (bytes.len() as u32).to_le_bytes();
        self.op(b"B").op(&len).op(bytes)
    }

    pub fn global(self, module: &str, name: &str) -> Self {
        self.text(module).text(name).op(b"\x93")
    }

    /// As short as Python writes it.
    pub fn int(self, value: i64) -> Self {
        match value {
            0..=0xff => self.op(b"K").op(&value.to_le_bytes()[..1]),
            0x100..=0xffff => self.op(b"M").op(&value.to_le_bytes()[..2]),
            _ if i32::try_from(value).is_ok() => self.op(b"J").op(&value.to_le_bytes()[..4]),
            _ => self.op(b"\x8a\x08").op(&value.to_le_bytes()),
        }
    }

    pub fn dtype(self, code: &str, unit: Option<&[u8]>) -> Self {
        let asm = self.global("numpy", "dtype").text(code).op(b"\x89\x88\x87R(");
        let order = if code == "O8" { "|" } else { "<" };
        let asm = asm.int(3).text(order).op(b"NNN").int(-1).int(-1).int(0);
        match unit {
            Some(unit) => asm.op(b"N(").bytes(unit).int(1).int(1).int(1).op(b"t\x86tb"),
            None => asm.op(b"tb"),
        }
    }

    /// An array but for its data, which `data` is to write.
    pub fn array(
        self,
        (lines, length): (usize, usize),
        code: &str,
        unit: Option<&[u8]>,
        data: impl FnOnce(Self) -> Self,
    ) -> Self {
        let asm = self.global("numpy.core.multiarray", "_reconstruct").global("numpy", "ndarray");
        let asm = asm.int(0).op(b"\x85").bytes(b"b").op(b"\x87R(").int(1);
        let asm = asm.int(lines as i64).int(length as i64).op(b"\x86").dtype(code, unit).op(b"\x89");
        data(asm).op(b"tb")
    }

    pub fn integers(self, lines: &[Vec<i64>], code: &str, unit: Option<&[u8]>) -> Self {
        let data: Vec<u8> = lines.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
        self.array((lines.len(), lines[0].len()), code, unit, |asm| asm.bytes(&data))
    }

    pub fn objects(self, lines: &[Vec<i64>]) -> Self {
        let shape = (lines.len(), lines[0].len());
        self.array(shape, "O8", None, |asm| {
            lines.concat().chunks(1000).fold(asm.op(b"]"), |asm, chunk| {
                chunk.iter().fold(asm.op(b"("), |asm, &value| asm.int(value)).op(b"e")
            })
        })
    }

    /// A block of the columns from `first` on; `values` is to write its array.
    pub fn block(self, first: i64, after: i64, values: impl FnOnce(Self) -> Self) -> Self {
        let asm = values(self.global("pandas._libs.internals", "_unpickle_block"));
        let asm = asm.global("builtins", "slice").int(first).int(after).int(1).op(b"\x87R");
        asm.int(2).op(b"\x87R")
    }

    /// A DataFrame of named columns; `blocks` is to write its blocks.
    pub fn frame(self, names: &[&str], blocks: impl FnOnce(Self) -> Self) -> Self {
        let asm = self.global("pandas.core.frame", "DataFrame").op(b")\x81}").text("_mgr");
        let asm = asm.global("pandas.core.internals.managers", "BlockManager").op(b"(");
        let asm = blocks(asm).op(b"t](").global("pandas.core.indexes.base", "_new_Index");
        let asm = asm.global("pandas.core.indexes.base", "Index").op(b"}").text("data");
        let asm = asm.array((1, names.len()), "O8", None, |asm| {
            names.iter().fold(asm.op(b"]("), |asm, name| asm.text(name)).op(b"e")
        });
        // The rows' index is never looked at.
        asm.op(b"s\x86RNe\x86Rsb.")
    }
}

/// A table as the tutorial's pickles have it: ids of customers and terminals as objects.
pub fn pickle(rows: &[Row]) -> Vec<u8> {
    let column = |cell: fn(&Row) -> i64| rows.iter().map(cell).collect::<Vec<i64>>();
    let amounts = column(|row| (row.cents as f64 / 100.0).to_bits() as i64);
    let asm = Asm::new().frame(&super::NAMES, |asm| {
        asm.block(0, 1, |asm| asm.integers(&[column(|row| row.id)], "i8", None))
            .block(1, 2, |asm| asm.integers(&[column(|row| row.time * 1_000)], "M8", Some(b"ms")))
            .block(2, 4, |asm| asm.objects(&[column(|row| row.customer), column(|row| row.terminal)]))
            .block(4, 5, |asm| asm.integers(&[amounts], "f8", None))
            .block(5, 7, |asm| {
                asm.integers(&[column(|row| row.fraud.into()), column(|row| row.scenario.into())], "i8", None)
            })
    });
    asm.0
}
