//! Tables, and the formats that the readers read, written without the readers.
#![allow(dead_code, reason = "each test program uses its own part of this")]

pub mod asm;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use workloads::input::Transactions;

pub const NAMES: [&str; 7] = [
    "TRANSACTION_ID",
    "TX_DATETIME",
    "CUSTOMER_ID",
    "TERMINAL_ID",
    "TX_AMOUNT",
    "TX_FRAUD",
    "TX_FRAUD_SCENARIO",
];

#[derive(Debug, Clone)]
pub struct Row {
    pub id: i64,
    pub time: i64,
    pub customer: i64,
    pub terminal: i64,
    pub cents: i64,
    pub fraud: bool,
    pub scenario: u8,
}

/// Tables of up to `most` rows: ids differ, everything else may be anything that is allowed.
pub fn rows(most: usize) -> impl Strategy<Value = Vec<Row>> {
    let id = prop_oneof![0..1_000_000_i64, any::<i64>()];
    let time = prop_oneof![1_522_540_800..1_522_540_900_i64, 0..7_258_118_400_i64];
    let key = prop_oneof![0..20_i64, 0..70_000_i64, any::<i64>()];
    let cents = prop_oneof![0..100_000_i64, 0..=100_000_000_000_i64];
    let cells = (time, key.clone(), key, cents, any::<bool>(), 0..=126_u8);
    prop::collection::btree_map(id, cells, 1..=most)
        .prop_map(|rows| {
            let row = |(id, (time, customer, terminal, cents, fraud, scenario))| Row {
                id,
                time,
                customer,
                terminal,
                cents,
                fraud,
                scenario,
            };
            rows.into_iter().map(row).collect()
        })
        .prop_shuffle()
}

/// What reading them has to give.
pub fn expected(rows: &[Row]) -> Transactions {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| (row.time, row.id));
    Transactions {
        id: rows.iter().map(|row| row.id).collect(),
        time: rows.iter().map(|row| row.time).collect(),
        customer: rows.iter().map(|row| row.customer).collect(),
        terminal: rows.iter().map(|row| row.terminal).collect(),
        cents: rows.iter().map(|row| row.cents).collect(),
        fraud: rows.iter().map(|row| row.fraud).collect(),
        scenario: Some(rows.iter().map(|row| row.scenario).collect()),
    }
}

pub fn csv(rows: &[Row]) -> Vec<u8> {
    let mut text = NAMES.join(",") + "\n";
    for row in rows {
        let time = jiff::Timestamp::from_second(row.time).unwrap().strftime("%Y-%m-%d %H:%M:%S").to_string();
        let Row { id, customer, terminal, cents, fraud, scenario, .. } = row;
        let (whole, rest, fraud) = (cents / 100, cents % 100, u8::from(*fraud));
        writeln!(text, "{id},{time},{customer},{terminal},{whole}.{rest:02},{fraud},{scenario}").unwrap();
    }
    text.into_bytes()
}

/// A column as Parquet holds it, with what stands for no value.
#[derive(Debug, Clone)]
pub enum Column {
    /// The type as Parquet's own schema language has it, such as `int64 (TIMESTAMP_MICROS)`.
    Int64(&'static str, Vec<Option<i64>>),
    Int32(&'static str, Vec<Option<i32>>),
    Double(Vec<Option<f64>>),
    Text(Vec<Option<String>>),
    Bool(Vec<Option<bool>>),
    /// Bytes of a length that the type says, and of any.
    Fixed(&'static str, Vec<Option<Vec<u8>>>),
    Bytes(&'static str, Vec<Option<Vec<u8>>>),
}

/// How a Parquet file is written.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    pub codec: u8,
    pub second_version: bool,
    pub dictionary: bool,
    pub page_rows: usize,
    pub group_rows: usize,
    pub optional: bool,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            codec: 1,
            second_version: false,
            dictionary: true,
            page_rows: 1000,
            group_rows: 10_000,
            optional: true,
        }
    }
}

pub fn layouts() -> impl Strategy<Value = Layout> {
    (0..7_u8, any::<bool>(), any::<bool>(), 1..20_usize, 1..30_usize, any::<bool>()).prop_map(
        |(codec, second_version, dictionary, page_rows, group_rows, optional)| Layout {
            codec,
            second_version,
            dictionary,
            page_rows,
            group_rows,
            optional,
        },
    )
}

pub fn parquet(columns: &[(&str, Column)], layout: Layout) -> Vec<u8> {
    let mut schema = "message schema {\n".to_owned();
    for (name, column) in columns {
        let kind = match column {
            Column::Int64(kind, _) | Column::Int32(kind, _) => kind,
            Column::Fixed(kind, _) | Column::Bytes(kind, _) => kind,
            Column::Double(_) => "double",
            Column::Text(_) => "binary (UTF8)",
            Column::Bool(_) => "boolean",
        };
        let (kind, annotation) = kind.split_once(' ').unwrap_or((kind, ""));
        let repetition = if layout.optional { "optional" } else { "required" };
        writeln!(schema, "{repetition} {kind} {name} {annotation};").unwrap();
    }
    let schema = Arc::new(parse_message_type(&(schema + "}")).unwrap());
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::ZSTD(ZstdLevel::default()),
        Compression::GZIP(Default::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::BROTLI(Default::default()),
    ];
    let version = if layout.second_version { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 };
    let properties = WriterProperties::builder()
        .set_compression(codecs[layout.codec as usize])
        .set_writer_version(version)
        .set_dictionary_enabled(layout.dictionary)
        .set_data_page_row_count_limit(layout.page_rows)
        .set_write_batch_size(layout.page_rows)
        .build();
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
    let count = columns.first().map_or(0, |(_, column)| column.len());
    for start in (0..count).step_by(layout.group_rows) {
        let range = start..count.min(start + layout.group_rows);
        let mut group = file.next_row_group().unwrap();
        for (_, column) in columns {
            let mut writer = group.next_column().unwrap().unwrap();
            column.write(writer.untyped(), range.clone(), layout.optional);
            writer.close().unwrap();
        }
        group.close().unwrap();
    }
    file.into_inner().unwrap()
}

impl Column {
    fn len(&self) -> usize {
        match self {
            Self::Int64(_, values) => values.len(),
            Self::Int32(_, values) => values.len(),
            Self::Double(values) => values.len(),
            Self::Text(values) => values.len(),
            Self::Bool(values) => values.len(),
            Self::Fixed(_, values) | Self::Bytes(_, values) => values.len(),
        }
    }

    fn write(&self, writer: &mut ColumnWriter<'_>, range: std::ops::Range<usize>, optional: bool) {
        fn levels<T>(values: &[Option<T>], optional: bool) -> Option<Vec<i16>> {
            optional.then(|| values.iter().map(|value| i16::from(value.is_some())).collect())
        }
        fn some<T: Clone>(values: &[Option<T>]) -> Vec<T> {
            values.iter().flatten().cloned().collect()
        }
        macro_rules! write {
            ($writer:expr, $values:expr) => {{
                let values = &$values[range];
                $writer.write_batch(&some(values), levels(values, optional).as_deref(), None).unwrap();
            }};
        }
        match (self, writer) {
            (Self::Int64(_, values), ColumnWriter::Int64ColumnWriter(writer)) => write!(writer, values),
            (Self::Int32(_, values), ColumnWriter::Int32ColumnWriter(writer)) => write!(writer, values),
            (Self::Double(values), ColumnWriter::DoubleColumnWriter(writer)) => write!(writer, values),
            (Self::Bool(values), ColumnWriter::BoolColumnWriter(writer)) => write!(writer, values),
            (Self::Text(values), ColumnWriter::ByteArrayColumnWriter(writer)) => {
                let bytes: Vec<_> = values.iter().map(|text| text.as_deref().map(ByteArray::from)).collect();
                write!(writer, bytes);
            }
            (Self::Bytes(_, values), ColumnWriter::ByteArrayColumnWriter(writer)) => {
                let bytes: Vec<_> = values.iter().cloned().map(|bytes| bytes.map(ByteArray::from)).collect();
                write!(writer, bytes);
            }
            (Self::Fixed(_, values), ColumnWriter::FixedLenByteArrayColumnWriter(writer)) => {
                let fixed = |bytes: Vec<u8>| FixedLenByteArray::from(ByteArray::from(bytes));
                let bytes: Vec<_> = values.iter().cloned().map(|bytes| bytes.map(fixed)).collect();
                write!(writer, bytes);
            }
            (column, _) => panic!("not this column's writer: {column:?}"),
        }
    }
}

/// The columns of a table, as pandas writes them to Parquet.
pub fn columns(rows: &[Row]) -> Vec<(&'static str, Column)> {
    let int =
        |cell: fn(&Row) -> i64| Column::Int64("int64", rows.iter().map(|row| Some(cell(row))).collect());
    let time = rows.iter().map(|row| Some(row.time * 1_000_000)).collect();
    let amount = rows.iter().map(|row| Some(row.cents as f64 / 100.0)).collect();
    let columns = [
        int(|row| row.id),
        Column::Int64("int64 (TIMESTAMP_MICROS)", time),
        int(|row| row.customer),
        int(|row| row.terminal),
        Column::Double(amount),
        int(|row| row.fraud.into()),
        int(|row| row.scenario.into()),
    ];
    NAMES.into_iter().zip(columns).collect()
}

/// The committed samples of a kind, sorted by name.
pub fn samples(kind: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(kind);
    let mut samples: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (format!("{kind}/{}", path.file_name().unwrap().to_string_lossy()), std::fs::read(&path).unwrap())
        })
        .collect();
    samples.sort();
    samples
}

/// The tutorial's and the handbook's data, which are not part of the project.
pub fn shared_data() -> Option<PathBuf> {
    shared("data")
}

/// A folder of `../shared`, which lies beside the workspace and is no part of the project. Says so where it is
/// missing.
pub fn shared(name: &str) -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    // A git worktree may lie one folder deeper than the workspace itself.
    let folders = workspace.ancestors().skip(1).take(2).map(|folder| folder.join("shared").join(name));
    let found = folders.into_iter().find(|folder| folder.is_dir());
    if found.is_none() {
        eprintln!("NOT TESTED: ../shared/{name} is not there");
    }
    found
}
