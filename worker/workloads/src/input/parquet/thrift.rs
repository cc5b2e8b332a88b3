//! As much of Thrift's compact protocol as tells a page's sizes and a footer's encryption, which the
//! `parquet` crate keeps to itself.

/// Bytes from which a struct is read.
#[derive(Debug)]
pub(super) struct Compact<'a> {
    bytes: &'a [u8],
}

/// Takes a field: the number of the struct that it is in, its own, and its value.
pub(super) type Each<'e> = dyn FnMut(i64, i64, Option<i64>) + 'e;

/// Structs, lists and maps inside of one another: Parquet's own are five deep.
const MAX_DEPTH: u32 = 16;

// Types of fields.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

impl<'a> Compact<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len()
    }

    /// Reads a struct to its end, and hands over its fields and those of the structs in it: the number of the
    /// struct's field, or 0, the field's own number, and its value, if that is an integer.
    pub(super) fn fields(&mut self, each: &mut Each<'_>) -> Option<()> {
        self.fields_at(MAX_DEPTH, 0, each)
    }

    fn fields_at(&mut self, depth: u32, parent: i64, each: &mut Each<'_>) -> Option<()> {
        let mut id = 0_i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            id = match head >> 4 {
                0 => self.integer()?,
                step => id.checked_add(i64::from(step))?,
            };
            let value = match head & 0xf {
                I16 | I32 | I64 => Some(self.integer()?),
                STRUCT if parent == 0 => {
                    self.fields_at(depth.checked_sub(1)?, id, each)?;
                    None
                }
                kind => {
                    self.skip(kind, depth)?;
                    None
                }
            };
            each(parent, id, value);
        }
    }

    fn skip(&mut self, kind: u8, depth: u32) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            TRUE | FALSE => Some(()),
            BYTE => self.take(1),
            I16 | I32 | I64 => self.varint().map(|_| ()),
            DOUBLE => self.take(8),
            BINARY => {
                let length = self.varint()?;
                self.take(length)
            }
            LIST | SET => {
                let head = self.byte()?;
                let count = if head >> 4 == 0xf { self.varint()? } else { u64::from(head >> 4) };
                self.skip_all(count, &[head & 0xf], depth)
            }
            MAP => match self.varint()? {
                0 => Some(()),
                count => {
                    let kinds = self.byte()?;
                    self.skip_all(count, &[kinds >> 4, kinds & 0xf], depth)
                }
            },
            STRUCT => self.fields_at(depth, -1, &mut |_, _, _| ()),
            _ => None,
        }
    }

    /// Skips what a list or a map holds, where each entry is at least a byte long.
    fn skip_all(&mut self, count: u64, kinds: &[u8], depth: u32) -> Option<()> {
        for _ in 0..count {
            for &kind in kinds {
                match kind {
                    TRUE | FALSE => self.take(1)?,
                    kind => self.skip(kind, depth)?,
                }
            }
        }
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(byte)
    }

    fn take(&mut self, count: u64) -> Option<()> {
        self.bytes = self.bytes.get(usize::try_from(count).ok()?..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A signed integer: 0, -1, 1, -2, … are written as 0, 1, 2, 3, …
    fn integer(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_and_the_rest_is_skipped() {
        // 1: i32 -3; 2: list of two structs {1: true}; 7 (in its long form): map {byte 5: "ab"}; 8: i64 300;
        // 9: struct {5: i32 7}
        let bytes = [
            0x15, 5, 0x19, 0x2c, 0x11, 0, 0x11, 0, 0x0b, 14, 1, 0x38, 5, 2, b'a', b'b', 0x16, 0xd8, 4, 0x1c,
            0x55, 14, 0, 0, 9,
        ];
        let mut compact = Compact::new(&bytes);
        let mut fields = Vec::new();
        compact.fields(&mut |parent, id, value| fields.push((parent, id, value))).unwrap();
        let read =
            [(0, 1, Some(-3)), (0, 2, None), (0, 7, None), (0, 8, Some(300)), (9, 5, Some(7)), (0, 9, None)];
        assert_eq!(fields, read);
        assert_eq!(compact.left(), 1);
        for cut in 0..bytes.len() - 1 {
            assert!(Compact::new(&bytes[..cut]).fields(&mut |_, _, _| ()).is_none(), "{cut}");
        }
        // Lists inside of lists without an end.
        assert!(Compact::new(&[0x19; 100]).fields(&mut |_, _, _| ()).is_none());
    }
}
