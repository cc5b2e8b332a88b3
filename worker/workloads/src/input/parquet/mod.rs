//! Parquet, by the `parquet` crate's column readers: one thread, only the columns needed.
//!
//! Not by polars: with the features that read a timestamp it takes ten times as long to build,
//! brings a thread pool and an HTTP client, and reads a day in the same millisecond.

mod meaning;
mod pages;
mod thrift;

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use parquet::basic::{ConvertedType, LogicalType};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::Type;

use meaning::{Meaning, int96};

use super::cell::{Cell, DOUBLE, SINGLE};
use super::reject::{ParquetPart, Reject, quote};
use super::table::{self, MAX_ROWS, Table, Visit};
use super::{How, Transactions};

/// How a Parquet file begins and ends, and one whose footer is encrypted.
pub(super) const MAGIC: &[u8; 4] = b"PAR1";
pub(super) const MAGIC_ENCRYPTED: &[u8; 4] = b"PARE";

/// Reads a Parquet file into transactions.
///
/// The crate answers damaged files with errors, but fuzzing found few that make it panic instead
/// (negative offsets, pages whose dictionary is missing). A dataset must not be able to end the
/// worker, so a panic is taken for the damage that it is; nothing outlives it.
///
/// The crate decompresses a page whole, into as many bytes as the page's header claims: these are looked at
/// before (`pages.rs`).
pub(super) fn read(bytes: &[u8], how: How<'_>) -> Result<Transactions, Reject> {
    if bytes.starts_with(MAGIC_ENCRYPTED) {
        return Err(Reject::ParquetEncrypted);
    }
    if bytes.len() < 12 || !bytes.ends_with(MAGIC) {
        return Err(Reject::ParquetCut);
    }
    let bytes = Bytes::copy_from_slice(bytes);
    let read = catch_unwind(AssertUnwindSafe(|| table::transactions(&Parquet::open(bytes)?, how)));
    read.unwrap_or(Err(Reject::ParquetDamaged(ParquetPart::Content)))
}

/// What pandas notes in a footer. A column of an index is its name, or what it would hold.
#[derive(serde::Deserialize)]
struct Pandas {
    index_columns: Vec<serde_json::Value>,
}

struct Parquet {
    bytes: Bytes,
    reader: SerializedFileReader<Bytes>,
    rows: usize,
    fields: Vec<Field>,
}

/// A field at the top of the schema.
struct Field {
    name: String,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// One value a row: the column's place among all.
    Column(usize),
    /// Several: what it is.
    Nested(&'static str),
}

impl Parquet {
    fn open(bytes: Bytes) -> Result<Self, Reject> {
        let footer = || Reject::ParquetDamaged(ParquetPart::Footer);
        if is_encrypted(&bytes) {
            return Err(Reject::ParquetEncrypted);
        }
        let reader = SerializedFileReader::new(bytes.clone());
        let reader = reader.map_err(|_| if says_no_rows(&bytes) { Reject::NoRows } else { footer() })?;
        let mut rows = 0_u64;
        for group in reader.metadata().row_groups() {
            let more = u64::try_from(group.num_rows()).map_err(|_| footer())?;
            rows = rows.checked_add(more).ok_or_else(footer)?;
        }
        let fields = fields(&reader);
        match usize::try_from(rows) {
            Ok(rows) if rows <= MAX_ROWS => Ok(Self { bytes, reader, rows, fields }),
            _ => Err(Reject::TooManyRows { rows, max: MAX_ROWS }),
        }
    }

    fn group(&self, index: usize, visitor: &mut Visitor<'_, '_>) -> Result<(), Halt> {
        let group = self.reader.get_row_group(index).map_err(|_| Halt::Damaged)?;
        let rows = usize::try_from(group.metadata().num_rows()).map_err(|_| Halt::Damaged)?;
        if rows == 0 {
            return Ok(());
        }
        let chunk = chunk(group.metadata(), visitor.column)?;
        let largest = pages::largest(chunk, &self.bytes).ok_or(Halt::Damaged)?;
        if largest > pages::MAX_PAGE {
            return Err(Halt::Page(largest));
        }
        let column = chunk.column_descr();
        let meaning = Meaning::of(column);
        let of = Group { rows, present: column.max_def_level(), batch: pages::batch(chunk, largest) };
        match group.get_column_reader(visitor.column).map_err(|_| Halt::Damaged)? {
            ColumnReader::BoolColumnReader(reader) => visitor.read(reader, of, |v| Cell::Bool(*v)),
            ColumnReader::Int32ColumnReader(reader) => visitor.read(reader, of, |v| meaning.int32(*v)),
            ColumnReader::Int64ColumnReader(reader) => visitor.read(reader, of, |v| meaning.int64(*v)),
            ColumnReader::Int96ColumnReader(reader) => visitor.read(reader, of, int96),
            ColumnReader::FloatColumnReader(reader) => {
                visitor.read(reader, of, |v| Cell::Float((*v).into(), SINGLE))
            }
            ColumnReader::DoubleColumnReader(reader) => visitor.read(reader, of, |v| Cell::Float(*v, DOUBLE)),
            ColumnReader::ByteArrayColumnReader(reader) => {
                visitor.read(reader, of, |v| meaning.bytes(v.data()))
            }
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                visitor.read(reader, of, |v| meaning.bytes(v.data()))
            }
        }
    }
}

/// Fields of the footer.
const ROWS: i64 = 3;
const ALGORITHM: i64 = 8;

/// Whether the footer names an algorithm of encryption. Such a footer can be plain itself.
fn is_encrypted(bytes: &[u8]) -> bool {
    footer_has(bytes, |id, _| id == ALGORITHM)
}

/// Whether the footer counts no rows. Where there are none, fastparquet writes the list of row groups as one of
/// bytes, which the crate refuses.
fn says_no_rows(bytes: &[u8]) -> bool {
    footer_has(bytes, |id, value| id == ROWS && value == Some(0))
}

fn footer_has(bytes: &[u8], is: impl Fn(i64, Option<i64>) -> bool) -> bool {
    const TAIL: usize = 8;
    let Some((rest, &[a, b, c, d, ..])) = bytes.split_last_chunk::<TAIL>() else { return false };
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    let Some(start) = rest.len().checked_sub(length) else { return false };
    let mut has = false;
    let read = thrift::Compact::new(&rest[start..])
        .fields(&mut |parent, id, value| has |= parent == 0 && is(id, value));
    read.is_some() && has
}

fn fields(reader: &SerializedFileReader<Bytes>) -> Vec<Field> {
    let schema = reader.metadata().file_metadata().schema_descr();
    let mut columns = 0;
    let fields = schema.root_schema().get_fields().iter().enumerate().map(|(root, field)| {
        let first = columns;
        while columns < schema.num_columns() && schema.get_column_root_idx(columns) == root {
            columns += 1;
        }
        Field { name: field.name().to_owned(), kind: kind(field, first) }
    });
    fields.collect()
}

fn kind(field: &Type, column: usize) -> Kind {
    let info = field.get_basic_info();
    let is_repeated = info.has_repetition() && info.repetition() == parquet::basic::Repetition::REPEATED;
    match (info.logical_type_ref(), info.converted_type()) {
        (Some(LogicalType::List), _) | (_, ConvertedType::LIST) => Kind::Nested("a list"),
        (Some(LogicalType::Map), _) | (_, ConvertedType::MAP) => Kind::Nested("a map"),
        _ if is_repeated => Kind::Nested("a list"),
        _ if field.is_group() => Kind::Nested("a struct"),
        _ => Kind::Column(column),
    }
}

impl Table for Parquet {
    fn names(&self) -> Vec<String> {
        self.fields.iter().map(|field| field.name.clone()).collect()
    }

    fn rows(&self) -> usize {
        self.rows
    }

    /// An index of evenly spaced numbers is no column: pandas writes it into the footer alone.
    fn index(&self) -> Vec<String> {
        let metadata = self.reader.metadata().file_metadata().key_value_metadata();
        let pandas = metadata.into_iter().flatten().find(|entry| entry.key == "pandas");
        let text = pandas.and_then(|entry| entry.value.as_deref()).unwrap_or_default();
        let Ok(Pandas { index_columns }) = serde_json::from_str(text) else { return Vec::new() };
        index_columns.iter().filter_map(|column| column.get("name")?.as_str().map(str::to_owned)).collect()
    }

    fn visit(&self, field: usize, each: &mut Visit<'_>) -> Result<(), Reject> {
        let Field { name, kind } = &self.fields[field];
        let column = match *kind {
            Kind::Column(column) => column,
            Kind::Nested(kind) => return (0..self.rows).try_for_each(|row| each(row, Cell::Other(kind))),
        };
        let mut visitor = Visitor { column, row: 0, each };
        for index in 0..self.reader.num_row_groups() {
            self.group(index, &mut visitor).map_err(|halt| match halt {
                Halt::Damaged => Reject::ParquetDamaged(ParquetPart::Column(quote(name))),
                Halt::Codec(codec) => Reject::ParquetCodec(codec),
                Halt::Page(bytes) => Reject::ParquetPage { column: quote(name), mib: bytes >> 20 },
                Halt::Cell(reject) => reject,
            })?;
        }
        Ok(())
    }
}

/// What ends a visit.
enum Halt {
    Damaged,
    Codec(&'static str),
    /// A page of this size in bytes.
    Page(usize),
    Cell(Reject),
}

/// A column's part in a row group, if it can be read.
fn chunk(group: &RowGroupMetaData, column: usize) -> Result<&ColumnChunkMetaData, Halt> {
    let chunk = group.columns().get(column).ok_or(Halt::Damaged)?;
    let offset = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
    if offset < 0 || chunk.compressed_size() < 0 || chunk.column_descr().max_rep_level() > 0 {
        return Err(Halt::Damaged);
    }
    match pages::unread_codec(chunk.compression()) {
        Some(codec) => Err(Halt::Codec(codec)),
        None => Ok(chunk),
    }
}

/// Hands a column's cells over, row group by row group.
struct Visitor<'v, 'e> {
    column: usize,
    /// Of the whole file.
    row: usize,
    each: &'v mut Visit<'e>,
}

impl Visitor<'_, '_> {
    /// Reads a row group of `rows` rows.
    fn read<T: DataType>(
        &mut self,
        mut reader: ColumnReaderImpl<T>,
        Group { mut rows, present, batch }: Group,
        cell: impl Fn(&T::T) -> Cell<'_>,
    ) -> Result<(), Halt> {
        let (mut values, mut levels) = (Vec::new(), Vec::new());
        while rows > 0 {
            values.clear();
            levels.clear();
            let read = reader.read_records(rows.min(batch), Some(&mut levels), None, &mut values);
            let (count, _, _) = read.map_err(|_| Halt::Damaged)?;
            rows = rows.checked_sub(count).filter(|_| count > 0).ok_or(Halt::Damaged)?;
            let mut values = values.iter();
            for index in 0..count {
                // Columns that always have a value have no levels.
                let cell = match levels.get(index) {
                    Some(&level) if level != present => Cell::Null,
                    _ => cell(values.next().ok_or(Halt::Damaged)?),
                };
                (self.each)(self.row, cell).map_err(Halt::Cell)?;
                self.row += 1;
            }
        }
        Ok(())
    }
}

/// A row group's number of rows, the definition level that says that a row has a value, and how many rows
/// are read at a time.
#[derive(Clone, Copy)]
struct Group {
    rows: usize,
    present: i16,
    batch: usize,
}
