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
    ArrowExtensionArray,
    /// Numbers with a mask of the missing ones.
    MaskedArray,
    /// Cython's way to make an array of times, text, categories and others.
    ArrayBacked,
    /// `pandas.NA`
    Missing,
    /// The function that gives `pandas.NaT`.
    NotATime,
    Decimal,
    /// Python's datetime, and what makes pandas' Timestamp.
    DateTime,
    Timestamp,
    GetAttr,
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
    ArrowTimestamp,
    ArrowDecimal,
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
            ("pandas.core.arrays.arrow.array" | "pandas.arrays", "ArrowExtensionArray") => {
                Self::ArrowExtensionArray
            }
            ("pandas.core.arrays.integer" | "pandas.arrays", "IntegerArray") => Self::MaskedArray,
            ("pandas.core.arrays.floating" | "pandas.arrays", "FloatingArray") => Self::MaskedArray,
            ("pandas.core.arrays.boolean" | "pandas.arrays", "BooleanArray") => Self::MaskedArray,
            ("pandas._libs.missing" | "pandas", "NA") => Self::Missing,
            ("pandas._libs.tslibs.nattype", "__nat_unpickle" | "_nat_unpickle") => Self::NotATime,
            ("decimal", "Decimal") => Self::Decimal,
            ("datetime", "datetime") => Self::DateTime,
            ("pandas._libs.tslibs.timestamps", "_unpickle_timestamp") => Self::Timestamp,
            ("builtins" | "__builtin__", "getattr") => Self::GetAttr,
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
            ("pyarrow.lib", "timestamp") => Self::ArrowTimestamp,
            ("pyarrow.lib", "decimal128") => Self::ArrowDecimal,
            _ => return None,
        })
    }
}

/// Whether a name can have no place in a table, and is what attacks on Python's own reader ask for. It decides
/// only what is said of a pickle: nothing that this reader meets is ever run.
pub(super) fn is_suspicious(module: &str, name: &str) -> bool {
    const MODULES: &[&str] = &[
        "asyncio",
        "bdb",
        "cProfile",
        "code",
        "codeop",
        "commands",
        "concurrent",
        "ctypes",
        "ftplib",
        "gc",
        "http",
        "imp",
        "importlib",
        "inspect",
        "linecache",
        "logging",
        "marshal",
        "multiprocessing",
        "nt",
        "operator",
        "os",
        "pdb",
        "pickle",
        "pip",
        "pkgutil",
        "platform",
        "popen2",
        "posix",
        "profile",
        "pty",
        "pydoc",
        "requests",
        "runpy",
        "setuptools",
        "shelve",
        "shutil",
        "signal",
        "smtplib",
        "socket",
        "ssl",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "timeit",
        "trace",
        "types",
        "urllib",
        "urllib2",
        "webbrowser",
        "_io",
        "_pickle",
        "_posixsubprocess",
        "_thread",
        "io",
        "functools",
        "ntpath",
        "posixpath",
    ];
    const BUILTINS: &[&str] = &[
        "Ellipsis",
        "NotImplemented",
        "bool",
        "bytes",
        "complex",
        "dict",
        "float",
        "frozenset",
        "int",
        "list",
        "long",
        "object",
        "range",
        "set",
        "str",
        "tuple",
        "unicode",
        "xrange",
    ];
    // A module counts by its package; a dotted name is followed from attribute to attribute.
    let mut parts = module.split('.').take(1).chain(name.split('.').rev().skip(1));
    match module {
        "builtins" | "__builtin__" => !BUILTINS.contains(&name),
        _ => parts.any(|part| MODULES.contains(&part)),
    }
}
