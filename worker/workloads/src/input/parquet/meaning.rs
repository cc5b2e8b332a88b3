//! What a column's integers and bytes mean.

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type};
use parquet::data_type::Int96;
use parquet::schema::types::ColumnDescriptor;

use crate::input::cell::{Cell, Unit};

#[derive(Debug, Clone, Copy)]
pub(super) enum Meaning {
    Plain,
    Unsigned,
    /// An integer with this number of digits behind the decimal point.
    Decimal(u32),
    /// A half-precision float.
    Half,
    /// Days since 1970.
    Date,
    Time(Unit),
    Uuid,
    Other(&'static str),
}

/// Of a decimal of 256 bits, the widest that there are.
const MAX_SCALE: i32 = 76;

impl Meaning {
    pub(super) fn of(column: &ColumnDescriptor) -> Self {
        match column.logical_type_ref() {
            Some(LogicalType::Integer(kind)) if !kind.is_signed => Self::Unsigned,
            Some(LogicalType::Integer(_) | LogicalType::String | LogicalType::Enum) => Self::Plain,
            Some(LogicalType::Date) => Self::Date,
            Some(LogicalType::Timestamp(kind)) => Self::Time(match kind.unit {
                TimeUnit::MILLIS => Unit::Milliseconds,
                TimeUnit::MICROS => Unit::Microseconds,
                TimeUnit::NANOS => Unit::Nanoseconds,
            }),
            Some(LogicalType::Decimal(kind)) => Self::decimal(kind.scale),
            Some(LogicalType::Float16) => Self::Half,
            Some(LogicalType::Uuid) => Self::Uuid,
            Some(LogicalType::Time(_)) => Self::Other("a time of day"),
            Some(LogicalType::Json | LogicalType::Bson) => Self::Other("a JSON value"),
            Some(_) => Self::Other("a value of another type"),
            None => Self::converted(column),
        }
    }

    /// The older way to say the same.
    fn converted(column: &ColumnDescriptor) -> Self {
        use ConvertedType as Kind;
        match column.converted_type() {
            Kind::UINT_8 | Kind::UINT_16 | Kind::UINT_32 | Kind::UINT_64 => Self::Unsigned,
            Kind::INT_8 | Kind::INT_16 | Kind::INT_32 | Kind::INT_64 => Self::Plain,
            Kind::NONE if column.physical_type() == Type::FIXED_LEN_BYTE_ARRAY => {
                match column.type_length() {
                    16 => Self::Other("16 bytes, as polars writes its Int128,"),
                    _ => Self::Other("bytes"),
                }
            }
            Kind::NONE | Kind::UTF8 | Kind::ENUM => Self::Plain,
            Kind::DATE => Self::Date,
            Kind::TIMESTAMP_MILLIS => Self::Time(Unit::Milliseconds),
            Kind::TIMESTAMP_MICROS => Self::Time(Unit::Microseconds),
            Kind::DECIMAL => Self::decimal(column.type_scale()),
            _ => Self::Other("a value of another type"),
        }
    }

    fn decimal(scale: i32) -> Self {
        match u32::try_from(scale) {
            Ok(digits) if scale <= MAX_SCALE => Self::Decimal(digits),
            _ => Self::Other("a decimal of more than 76 digits"),
        }
    }

    pub(super) fn int32(self, value: i32) -> Cell<'static> {
        match self {
            Self::Plain => Cell::Int(value.into()),
            Self::Unsigned => Cell::Int(value.cast_unsigned().into()),
            Self::Decimal(scale) => Cell::Decimal(value.into(), scale),
            Self::Date => Cell::Time(i64::from(value) * 86_400, Unit::Seconds),
            Self::Half | Self::Time(_) | Self::Uuid => Cell::Other("a value of another type"),
            Self::Other(name) => Cell::Other(name),
        }
    }

    pub(super) fn int64(self, value: i64) -> Cell<'static> {
        match self {
            Self::Plain => Cell::Int(value),
            Self::Unsigned => Cell::unsigned(value.cast_unsigned()),
            Self::Decimal(scale) => Cell::Decimal(value.into(), scale),
            Self::Time(unit) => Cell::Time(value, unit),
            Self::Half | Self::Date | Self::Uuid => Cell::Other("a value of another type"),
            Self::Other(name) => Cell::Other(name),
        }
    }

    pub(super) fn bytes(self, value: &[u8]) -> Cell<'_> {
        match (self, value) {
            (Self::Decimal(scale), _) => Cell::decimal(value, scale),
            (Self::Half, &[low, high]) => Cell::half(u16::from_le_bytes([low, high])),
            (Self::Uuid, _) => {
                value.try_into().map_or(Cell::Other("a UUID"), |id| Cell::Uuid(u128::from_be_bytes(id)))
            }
            (Self::Other(name), _) => Cell::Other(name),
            _ => Cell::text(value),
        }
    }
}

/// The time that Spark and Impala once wrote: a Julian day and nanoseconds of the day.
pub(super) fn int96(value: &Int96) -> Cell<'_> {
    Cell::Time(value.to_seconds(), Unit::Seconds)
}
