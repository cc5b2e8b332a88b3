//! The names that a pickled DataFrame of numbers may ask for.

/// A known name. It stands for itself: there is nothing behind it that could be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    DataFrame,
    BlockManager,
    /// `_unpickle_block`, and `new_block` before pandas 1.4.
    Block,
    /// `functools.partial`, around `new_block` in pandas 1.3.
    Partial,
    Slice,
    /// A class of index, whichever.
    Index,
    NewIndex,
    DatetimeArray,
    StringArray,
    ArrowStringArray,
    /// Cython's way to make a DatetimeArray or StringArray.
    ArrayBacked,
    /// Types of extension arrays, and the UTC that one of them names: never looked at.
    Type,
    NdArray,
    Reconstruct,
    FromBuffer,
    Scalar,
    Dtype,
    Bytearray,
    /// `_codecs.encode`, by which protocol 2 writes bytes as text.
    Encode,
    ArrowArray,
    ArrowBuffer,
    ArrowType,
}

impl Global {
    pub(super) fn find(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("pandas.core.frame" | "pandas", "DataFrame") => Self::DataFrame,
            ("pandas.core.internals.managers", "BlockManager") => Self::BlockManager,
            ("pandas.core.internals.blocks", "new_block") => Self::Block,
            ("pandas._libs.internals", "_unpickle_block") => Self::Block,
            ("functools", "partial") => Self::Partial,
            ("builtins" | "__builtin__", "slice") => Self::Slice,
            ("pandas.core.indexes.base" | "pandas", "Index") => Self::Index,
            ("pandas.core.indexes.range" | "pandas", "RangeIndex") => Self::Index,
            ("pandas.core.indexes.datetimes" | "pandas", "DatetimeIndex") => Self::Index,
            ("pandas.core.indexes.numeric", "Int64Index" | "UInt64Index" | "Float64Index") => Self::Index,
            ("pandas.core.indexes.base", "_new_Index") => Self::NewIndex,
            ("pandas.core.indexes.datetimes", "_new_DatetimeIndex") => Self::NewIndex,
            ("pandas.core.arrays.datetimes" | "pandas.arrays", "DatetimeArray") => Self::DatetimeArray,
            ("pandas.core.arrays.string_" | "pandas.arrays", "StringArray") => Self::StringArray,
            ("pandas.core.arrays.string_arrow" | "pandas.arrays", "ArrowStringArray") => {
                Self::ArrowStringArray
            }
            ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked") => Self::ArrayBacked,
            ("pandas.core.arrays.string_" | "pandas", "StringDtype") => Self::Type,
            ("pandas.core.dtypes.dtypes" | "pandas", "DatetimeTZDtype") => Self::Type,
            ("pytz", "_UTC") | ("datetime", "timezone" | "timedelta") => Self::Type,
            ("numpy", "ndarray") => Self::NdArray,
            ("numpy", "dtype") => Self::Dtype,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Self::Reconstruct,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Self::Scalar,
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Self::FromBuffer,
            ("builtins" | "__builtin__", "bytearray") => Self::Bytearray,
            ("_codecs", "encode") => Self::Encode,
            ("pyarrow.lib", "_restore_array") => Self::ArrowArray,
            ("pyarrow.lib", "py_buffer") => Self::ArrowBuffer,
            ("pyarrow.lib", "type_for_alias") => Self::ArrowType,
            _ => return None,
        })
    }
}
