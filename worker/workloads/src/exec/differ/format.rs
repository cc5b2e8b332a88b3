//! Which format a file has, recognized by its first bytes, and what users of it do to get equal bytes.

/// A format that programs save models and tables in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    Zip,
    Npz,
    Torch,
    TorchLegacy,
    Keras,
    Skops,
    ZarrZip,
    Npy,
    Gzip,
    Zlib,
    Joblib,
    Pickle,
    Hdf5,
    XgboostJson,
    XgboostUbj,
    Lightgbm,
    Catboost,
    Safetensors,
    Onnx,
    Parquet,
    Avro,
    DeltaLog,
    Sqlite,
    Duckdb,
    Json,
    Text,
    Unknown,
}

/// Enough of a file to find a name that tells its format.
const HEAD: usize = 64 << 10;
/// The pickle of a number with which `torch.save` began files before it wrote archives.
const TORCH_LEGACY: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// What most differences between trainings come from.
const STATE: &str = "the state itself differs: seed every random generator ({seed}), sort what has no order of its own \
    (sets, listings of folders), and keep clocks and paths out of it";

impl Format {
    /// The format of two files under one name.
    pub fn of(path: &str, first: &[u8], second: &[u8]) -> Self {
        let (one, other) = (Self::of_one(path, first), Self::of_one(path, second));
        if one == other { one } else { Self::Unknown }
    }

    fn of_one(path: &str, bytes: &[u8]) -> Self {
        let head = &bytes[..bytes.len().min(HEAD)];
        let begins = |magic: &[u8]| bytes.starts_with(magic);
        match () {
            () if begins(b"PK\x03\x04") || begins(b"PK\x05\x06") => Self::of_zip(path, head),
            () if begins(b"\x1f\x8b") => Self::Gzip,
            () if begins(b"\x89HDF\r\n\x1a\n") => Self::Hdf5,
            () if begins(b"\x93NUMPY") => Self::Npy,
            () if begins(b"CBM1") => Self::Catboost,
            () if begins(b"PAR1") => Self::Parquet,
            () if begins(b"Obj\x01") => Self::Avro,
            () if path.contains("_delta_log/") && path.ends_with(".json") => Self::DeltaLog,
            () if begins(b"SQLite format 3\0") => Self::Sqlite,
            () if bytes.get(8..12) == Some(b"DUCK") => Self::Duckdb,
            () if begins(b"tree\nversion=") => Self::Lightgbm,
            () if begins(TORCH_LEGACY) => Self::TorchLegacy,
            () if is_pickle(bytes) => match has(head, b"joblib.numpy_pickle") {
                true => Self::Joblib,
                false => Self::Pickle,
            },
            // Of joblib's `compress`; the second byte's low bits make the pair a multiple of 31.
            () if begins(b"\x78")
                && bytes.get(1).is_some_and(|flags| (0x7800 + u16::from(*flags)) % 31 == 0) =>
            {
                Self::Zlib
            }
            () if is_safetensors(bytes) => Self::Safetensors,
            () if begins(b"{") && has(head, b"\"learner\"") => Self::XgboostJson,
            () if begins(b"{") && has(head, b"\x07learner") => Self::XgboostUbj,
            () if path.ends_with(".onnx") => Self::Onnx,
            () => Self::of_text(bytes),
        }
    }

    fn of_zip(path: &str, head: &[u8]) -> Self {
        match () {
            () if has(head, b"/data.pkl") || has(head, b"/.data/serialization_id") => Self::Torch,
            () if path.ends_with(".keras") || has(head, b"model.weights.h5") => Self::Keras,
            () if path.ends_with(".skops") || has(head, b"schema.json") => Self::Skops,
            () if has(head, b"zarr.json") || has(head, b".zarray") => Self::ZarrZip,
            () if path.ends_with(".npz") || has(head, b".npy") => Self::Npz,
            () => Self::Zip,
        }
    }

    fn of_text(bytes: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(bytes) else { return Self::Unknown };
        if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
            return Self::Unknown;
        }
        match text.trim_start().starts_with(['{', '[']) {
            true => Self::Json,
            false => Self::Text,
        }
    }

    /// As in `model.pt is …`.
    pub fn words(self) -> &'static str {
        match self {
            Self::Zip => "a zip archive",
            Self::Npz => "an archive of NumPy's arrays (npz)",
            Self::Torch => "a checkpoint of PyTorch",
            Self::TorchLegacy => "a checkpoint of PyTorch in its old format",
            Self::Keras => "a model of Keras",
            Self::Skops => "a model of skops",
            Self::ZarrZip => "a store of zarr as a zip archive",
            Self::Npy => "an array of NumPy",
            Self::Gzip => "compressed with gzip",
            Self::Zlib => "compressed with zlib, as joblib does",
            Self::Joblib => "a pickle of joblib",
            Self::Pickle => "a pickle",
            Self::Hdf5 => "an HDF5 file",
            Self::XgboostJson => "a model of XGBoost as JSON",
            Self::XgboostUbj => "a model of XGBoost as UBJSON",
            Self::Lightgbm => "a model of LightGBM",
            Self::Catboost => "a model of CatBoost",
            Self::Safetensors => "a file of safetensors",
            Self::Onnx => "a model as ONNX",
            Self::Parquet => "a Parquet file",
            Self::Avro => "an Avro file",
            Self::DeltaLog => "the log of a Delta table",
            Self::Sqlite => "a SQLite database",
            Self::Duckdb => "a DuckDB database",
            Self::Json => "JSON",
            Self::Text => "text",
            Self::Unknown => "of no format that is known here",
        }
    }

    /// What users of the format do, where nothing inside says more.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Zip => {
                "write each member with a fixed time (`ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))`) and in sorted order"
            }
            Self::Npz
            | Self::Npy
            | Self::Torch
            | Self::Pickle
            | Self::XgboostJson
            | Self::Json
            | Self::Text
            | Self::Parquet
            | Self::Unknown => STATE,
            Self::TorchLegacy => {
                "the old format holds memory addresses: leave out `_use_new_zipfile_serialization=False`"
            }
            Self::Keras => {
                "Keras puts the date and times into its archive: save the weights with numpy.savez, or compare them with --digest"
            }
            Self::Skops => {
                "skops puts the time and memory addresses into its archive: save with joblib, or compare predictions with --digest"
            }
            Self::ZarrZip => "a ZipStore holds times: write a folder (LocalStore) instead",
            Self::Gzip => {
                "gzip's header holds the time and the file's name: `gzip -n`, or `gzip.GzipFile(filename='', mtime=0, …)`"
            }
            Self::Zlib | Self::Joblib => {
                "seed every random generator (random_state={seed}). A model that was loaded and dumped again may differ \
                without harm: then compare predictions with --digest"
            }
            Self::Hdf5 => "create datasets with `track_times=False`, and in the same order each time",
            Self::XgboostUbj => {
                "with subsample or colsample the rows are drawn by the seed: give `seed={seed}` for each dataset"
            }
            Self::Lightgbm => {
                "the model's text holds its parameters: give the same num_threads and paths, `deterministic=true` and seed={seed}"
            }
            Self::Catboost => {
                "CatBoost writes a random model_guid and the time: set both with `model.get_metadata()` before \
                save_model, or compare predictions with --digest"
            }
            Self::Safetensors => {
                "more than one key of metadata is written in random order: put all of it as JSON under a single key"
            }
            Self::Onnx => "skl2onnx writes its opsets in the order of a set: keep PYTHONHASHSEED at 0",
            Self::Avro => {
                "Avro's sync marker is random: give 16 bytes of yours, as fastavro.writer(…, sync_marker=…) takes them"
            }
            Self::DeltaLog => {
                "a Delta table's log holds times and random names: export plain Parquet, or compare a dump with --digest"
            }
            Self::Sqlite => {
                "SQLite counts changes and writes pages in their order: export the rows sorted, or compare a dump with --digest"
            }
            Self::Duckdb => "DuckDB writes a random id: export to Parquet, or compare a dump with --digest",
        }
    }
}

/// A pickle of protocol 2 or later.
fn is_pickle(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 2..=5, .., b'.'])
}

fn is_safetensors(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else { return false };
    let length = u64::from_le_bytes(*length);
    length >= 2 && length <= rest.len() as u64 && rest.starts_with(b"{\"")
}

pub(super) fn has(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
