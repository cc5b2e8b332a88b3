//! Parquet, by the `parquet` crate's column readers: one thread, only the columns needed.
//!
//! Not by polars: with the features that read a timestamp it takes ten times as long to build,
//! brings a thread pool and an HTTP client, and reads a day in the same millisecond.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use parquet::basic::{Compression, ConvertedType, LogicalType, TimeUnit};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType, Int96};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use super::reject::{ParquetPart, Reject, quote};
use super::table::{self, Cell, MAX_ROWS, Table, Unit, Visit};
use super::{Labels, Transactions};

/// Rows taken from a column at a time, so that a file's word for the number of its rows allocates nothing.
const BATCH: usize = 1 << 16;

/// Reads a Parquet file into transactions.
///
/// The crate answers damaged files with errors, but fuzzing found few that make it panic instead
/// (negative offsets, pages whose dictionary is missing). A dataset must not be able to end the
/// worker, so a panic is taken for the damage that it is; nothing outlives it.
///
/// Memory is not bounded by the file's size: the crate decompresses a page whole, Snappy and Zstandard into up to
/// as many bytes as the page's header claims (2 GiB at most), gzip into as many as come out. It shows no page's
/// header before that and takes no decompressor of ours: a file made to do so can use up a machine's memory.
pub(super) fn read(bytes: &[u8], labels: Labels) -> Result<Transactions, Reject> {
    if bytes.len() < 12 || !bytes.ends_with(b"PAR1") {
        return Err(Reject::ParquetCut);
    }
    let bytes = Bytes::copy_from_slice(bytes);
    let read = catch_unwind(AssertUnwindSafe(|| table::transactions(&Parquet::open(bytes)?, labels)));
    read.unwrap_or(Err(Reject::ParquetDamaged(ParquetPart::Content)))
}

struct Parquet {
    reader: SerializedFileReader<Bytes>,
    rows: usize,
}

impl Parquet {
    fn open(bytes: Bytes) -> Result<Self, Reject> {
        let footer = || Reject::ParquetDamaged(ParquetPart::Footer);
        let reader = SerializedFileReader::new(bytes).map_err(|_| footer())?;
        let mut rows = 0_u64;
        for group in reader.metadata().row_groups() {
            let more = u64::try_from(group.num_rows()).map_err(|_| footer())?;
            rows = rows.checked_add(more).ok_or_else(footer)?;
        }
        match usize::try_from(rows) {
            Ok(rows) if rows <= MAX_ROWS => Ok(Self { reader, rows }),
            _ => Err(Reject::TooManyRows { rows, max: MAX_ROWS }),
        }
    }

    fn name(&self, column: usize) -> String {
        quote(self.reader.metadata().file_metadata().schema_descr().column(column).name())
    }

    fn group(&self, index: usize, visitor: &mut Visitor<'_, '_>) -> Result<(), Halt> {
        let group = self.reader.get_row_group(index).map_err(|_| Halt::Damaged)?;
        let column = chunk(group.metadata(), visitor.column)?.column_descr();
        let meaning = Meaning::of(column);
        let of = Group { rows: group.metadata().num_rows() as usize, present: column.max_def_level() };
        match group.get_column_reader(visitor.column).map_err(|_| Halt::Damaged)? {
            ColumnReader::BoolColumnReader(reader) => visitor.read(reader, of, |v| Cell::Bool(*v)),
            ColumnReader::Int32ColumnReader(reader) => visitor.read(reader, of, |v| meaning.int32(*v)),
            ColumnReader::Int64ColumnReader(reader) => visitor.read(reader, of, |v| meaning.int64(*v)),
            ColumnReader::Int96ColumnReader(reader) => visitor.read(reader, of, int96),
            ColumnReader::FloatColumnReader(reader) => visitor.read(reader, of, |v| Cell::Float((*v).into())),
            ColumnReader::DoubleColumnReader(reader) => visitor.read(reader, of, |v| Cell::Float(*v)),
            ColumnReader::ByteArrayColumnReader(reader) => visitor.read(reader, of, |v| meaning.text(v)),
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                visitor.read(reader, of, |_| Cell::Other("a value of another type"))
            }
        }
    }
}

impl Table for Parquet {
    /// Only columns at the top are found by name; those inside structs keep their path.
    fn names(&self) -> Vec<String> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        schema.columns().iter().map(|column| column.path().string()).collect()
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn visit(&self, column: usize, each: &mut Visit<'_>) -> Result<(), Reject> {
        let mut visitor = Visitor { column, row: 0, each };
        for index in 0..self.reader.num_row_groups() {
            self.group(index, &mut visitor).map_err(|halt| match halt {
                Halt::Damaged => Reject::ParquetDamaged(ParquetPart::Column(self.name(column))),
                Halt::Codec(codec) => Reject::ParquetCodec(codec),
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
    Cell(Reject),
}

/// A column's part in a row group, if it can be read.
fn chunk(group: &RowGroupMetaData, column: usize) -> Result<&ColumnChunkMetaData, Halt> {
    let chunk = group.columns().get(column).ok_or(Halt::Damaged)?;
    let offset = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
    if offset < 0 || chunk.compressed_size() < 0 || chunk.column_descr().max_rep_level() > 0 {
        return Err(Halt::Damaged);
    }
    match chunk.compression() {
        Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_) | Compression::ZSTD(_) => {
            Ok(chunk)
        }
        Compression::LZO => Err(Halt::Codec("LZO")),
        Compression::BROTLI(_) => Err(Halt::Codec("Brotli")),
        Compression::LZ4 | Compression::LZ4_RAW => Err(Halt::Codec("LZ4")),
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
    /// Reads a row group of so many rows.
    fn read<T: DataType>(
        &mut self,
        mut reader: ColumnReaderImpl<T>,
        Group { mut rows, present }: Group,
        cell: impl Fn(&T::T) -> Cell<'_>,
    ) -> Result<(), Halt> {
        let (mut values, mut levels) = (Vec::new(), Vec::new());
        while rows > 0 {
            values.clear();
            levels.clear();
            let read = reader.read_records(rows.min(BATCH), Some(&mut levels), None, &mut values);
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

/// A row group's number of rows, and the definition level that says that a row has a value.
#[derive(Clone, Copy)]
struct Group {
    rows: usize,
    present: i16,
}

/// What a column's integers and bytes mean.
#[derive(Debug, Clone, Copy)]
enum Meaning {
    Plain,
    Unsigned,
    /// Days since 1970.
    Date,
    Time(Unit),
    Other(&'static str),
}

impl Meaning {
    fn of(column: &ColumnDescriptor) -> Self {
        match column.logical_type_ref() {
            Some(LogicalType::Integer(kind)) if !kind.is_signed => Self::Unsigned,
            Some(LogicalType::Integer(_) | LogicalType::String | LogicalType::Enum) => Self::Plain,
            Some(LogicalType::Date) => Self::Date,
            Some(LogicalType::Timestamp(kind)) => Self::Time(match kind.unit {
                TimeUnit::MILLIS => Unit::Milliseconds,
                TimeUnit::MICROS => Unit::Microseconds,
                TimeUnit::NANOS => Unit::Nanoseconds,
            }),
            Some(LogicalType::Decimal(_)) => Self::Other("a decimal"),
            Some(_) => Self::Other("a value of another type"),
            None => Self::converted(column.converted_type()),
        }
    }

    /// The older way to say the same.
    fn converted(kind: ConvertedType) -> Self {
        use ConvertedType as Kind;
        match kind {
            Kind::UINT_8 | Kind::UINT_16 | Kind::UINT_32 | Kind::UINT_64 => Self::Unsigned,
            Kind::INT_8 | Kind::INT_16 | Kind::INT_32 | Kind::INT_64 => Self::Plain,
            Kind::NONE | Kind::UTF8 | Kind::ENUM => Self::Plain,
            Kind::DATE => Self::Date,
            Kind::TIMESTAMP_MILLIS => Self::Time(Unit::Milliseconds),
            Kind::TIMESTAMP_MICROS => Self::Time(Unit::Microseconds),
            Kind::DECIMAL => Self::Other("a decimal"),
            _ => Self::Other("a value of another type"),
        }
    }

    fn int32(self, value: i32) -> Cell<'static> {
        match self {
            Self::Plain => Cell::Int(value.into()),
            Self::Unsigned => Cell::Int(value.cast_unsigned().into()),
            Self::Date => Cell::Time(i64::from(value) * 86_400, Unit::Seconds),
            Self::Time(_) => Cell::Other("a value of another type"),
            Self::Other(name) => Cell::Other(name),
        }
    }

    fn int64(self, value: i64) -> Cell<'static> {
        match self {
            Self::Plain => Cell::Int(value),
            Self::Unsigned => u64::try_into(value.cast_unsigned()).map_or(Cell::Wide, Cell::Int),
            Self::Time(unit) => Cell::Time(value, unit),
            Self::Date => Cell::Other("a value of another type"),
            Self::Other(name) => Cell::Other(name),
        }
    }

    fn text(self, value: &ByteArray) -> Cell<'_> {
        match self {
            Self::Other(name) => Cell::Other(name),
            _ => Cell::text(value.data()),
        }
    }
}

/// The time that Spark and Impala once wrote: a Julian day and nanoseconds of the day.
fn int96(value: &Int96) -> Cell<'_> {
    Cell::Time(value.to_seconds(), Unit::Seconds)
}
