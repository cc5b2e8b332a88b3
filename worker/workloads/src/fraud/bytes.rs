//! Little-endian writing and bounded reading of the workload's parts.

use super::feature_set::FeatureSet;

/// Writes a part: magic, version, then what is asked.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new(magic: &[u8; 8], version: u32) -> Self {
        let mut out = Self(magic.to_vec());
        out.u32(version);
        out
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn f64s(&mut self, values: &[f64]) {
        for value in values {
            self.bytes(&value.to_le_bytes());
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.bytes(text.as_bytes());
    }

    /// A column as its smallest value and the offsets from it, in the narrowest width that fits.
    pub(super) fn packed(&mut self, column: &[i64]) {
        let base = column.iter().copied().min().unwrap_or(0);
        let reach = column.iter().map(|value| value.wrapping_sub(base) as u64).max().unwrap_or(0);
        let width: u8 = match reach {
            0..=0xff => 1,
            0x100..=0xffff => 2,
            0x1_0000..=0xffff_ffff => 4,
            _ => 8,
        };
        self.i64(base);
        self.u8(width);
        let offsets = column.iter().map(|value| value.wrapping_sub(base) as u64);
        match width {
            1 => self.0.extend(offsets.map(|offset| offset as u8)),
            2 => offsets.for_each(|offset| self.bytes(&(offset as u16).to_le_bytes())),
            4 => offsets.for_each(|offset| self.bytes(&(offset as u32).to_le_bytes())),
            _ => offsets.for_each(|offset| self.bytes(&offset.to_le_bytes())),
        }
    }

    /// Labels, and with them the scenario where the data names it: one byte a row.
    pub(super) fn flags(&mut self, fraud: &[bool], scenario: Option<&[u8]>) {
        for (row, fraud) in fraud.iter().enumerate() {
            let scenario = scenario.map_or(0, |scenario| scenario[row] + 1);
            self.u8(u8::from(*fraud) | scenario << 1);
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads a part. Lengths are checked against what is left before anything is allocated.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], magic: &[u8; 8], version: u32) -> Result<Self, String> {
        let mut input = Self(bytes);
        let name = String::from_utf8_lossy(magic);
        if input.take(8)? != magic {
            return Err(format!("it does not begin with {name}"));
        }
        match input.u32()? {
            found if found == version => Ok(input),
            found => Err(format!("{name} of version {found}, this program reads version {version}")),
        }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let short = || format!("it ends {} bytes early", count - self.0.len());
        let (head, tail) = self.0.split_at_checked(count).ok_or_else(short)?;
        self.0 = tail;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, String> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, String> {
        self.array().map(i64::from_le_bytes)
    }

    /// A count of things of at least one byte each.
    pub(super) fn len(&mut self) -> Result<usize, String> {
        let count = self.u64()?;
        match usize::try_from(count) {
            Ok(count) if count <= self.0.len() => Ok(count),
            _ => Err(format!("it promises {count} rows and holds {} bytes", self.0.len())),
        }
    }

    pub(super) fn f64s(&mut self, count: usize) -> Result<Vec<f64>, String> {
        let bytes = self.take(count.saturating_mul(8))?;
        Ok(bytes.as_chunks::<8>().0.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect())
    }

    pub(super) fn text(&mut self) -> Result<String, String> {
        let length = self.u32()? as usize;
        let bytes = self.take(length)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| "a text in it is not UTF-8".to_owned())
    }

    /// A feature set by its name.
    pub(super) fn set(&mut self) -> Result<FeatureSet, String> {
        let name = self.text()?;
        let known = FeatureSet::ALL.into_iter().find(|set| set.name() == name);
        known.ok_or_else(|| format!("`{name}` is no feature set of this program"))
    }

    pub(super) fn packed(&mut self, rows: usize) -> Result<Vec<i64>, String> {
        let base = self.i64()?;
        let width = self.u8()?;
        let offsets = self.take(rows.saturating_mul(width as usize))?;
        let at = |offset: u64| base.wrapping_add(offset as i64);
        Ok(match width {
            1 => offsets.iter().map(|byte| at(u64::from(*byte))).collect(),
            2 => offsets.as_chunks().0.iter().map(|chunk| at(u16::from_le_bytes(*chunk).into())).collect(),
            4 => offsets.as_chunks().0.iter().map(|chunk| at(u32::from_le_bytes(*chunk).into())).collect(),
            8 => offsets.as_chunks().0.iter().map(|chunk| at(u64::from_le_bytes(*chunk))).collect(),
            _ => return Err(format!("a column of width {width}")),
        })
    }

    /// First and last value of a packed column.
    pub(super) fn packed_ends(&mut self, rows: usize) -> Result<(i64, i64), String> {
        let base = self.i64()?;
        let width = usize::from(self.u8()?);
        let offsets = self.take(rows.saturating_mul(width))?;
        let at = |offset: &[u8]| {
            let offset = offset.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
            base.wrapping_add(offset as i64)
        };
        match (offsets.chunks_exact(width.max(1)).next(), offsets.rchunks_exact(width.max(1)).next()) {
            (Some(first), Some(last)) if width <= 8 => Ok((at(first), at(last))),
            _ => Err("it holds no rows".to_owned()),
        }
    }

    pub(super) fn flags(&mut self, rows: usize) -> Result<(Vec<bool>, Option<Vec<u8>>), String> {
        let flags = self.take(rows)?;
        let fraud = flags.iter().map(|flag| flag & 1 == 1).collect();
        let named = rows > 0 && flags.iter().all(|flag| flag >> 1 != 0);
        Ok((fraud, named.then(|| flags.iter().map(|flag| (flag >> 1) - 1).collect())))
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(super) fn end(&self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("{} bytes too many", self.0.len())) }
    }
}
