//! Looks into two files of one format for the part of them that differs.

use std::collections::BTreeSet;
use std::io::Read;

use serde_json::Value;

use super::first_difference;
use super::format::Format;
use super::zip::{self, Member};

/// What lies around the first difference.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// From the outside in.
    pub path: Vec<String>,
    /// Where something inside says more than the format alone.
    pub hint: Option<String>,
}

/// Files inside files, at most.
const DEPTH_MAX: usize = 4;
/// Bytes that are unpacked, at most.
const UNPACKED_MAX: u64 = 64 << 20;
/// Bytes of a value that are shown.
const SHOWN_MAX: usize = 60;

const THREADS: &str = "the count of threads or cores is in the file: give the program one constant (`--env OMP_NUM_THREADS=1`, `num_threads=1`, `n_jobs=1`)";
const TIME: &str = "the time is in the file: leave it out, or set it to a constant before saving";
const TORCH_NAME: &str = "torch.save puts the file's name into the archive: save under the same name each time, or to a BytesIO that is written to the file";
const FLOATS: &str = "only the last digits of numbers differ: sums in another order do that. Keep the counts of threads (`--env OMP_NUM_THREADS=1`), the kind of CPU (`--env OPENBLAS_CORETYPE=Haswell`) and the order of rows the same";
const ROWS: &str = "sampled rows are drawn by the seed: give `seed={seed}`, which is another for each dataset and the same at each attempt";

pub(super) fn look(format: Format, path: &str, first: &[u8], second: &[u8]) -> Found {
    look_at(format, path, first, second, 0)
}

fn look_at(format: Format, name: &str, first: &[u8], second: &[u8], depth: usize) -> Found {
    let found = match format {
        _ if depth >= DEPTH_MAX => None,
        Format::Zip | Format::Npz | Format::Torch | Format::Keras | Format::Skops | Format::ZarrZip => {
            in_archive(format, first, second, depth)
        }
        Format::Gzip => in_gzip(name, first, second, depth),
        Format::Zlib => in_zlib(name, first, second, depth),
        Format::Npy => in_array(first, second),
        Format::Json | Format::XgboostJson => in_json(first, second),
        Format::XgboostUbj => in_ubjson(first, second),
        Format::Joblib | Format::Pickle | Format::TorchLegacy => in_pickle(first, second),
        Format::Lightgbm | Format::Text => in_text(first, second),
        Format::Catboost => in_catboost(first, second),
        Format::Safetensors => in_safetensors(first, second),
        Format::Hdf5
        | Format::Onnx
        | Format::Parquet
        | Format::Avro
        | Format::DeltaLog
        | Format::Sqlite
        | Format::Duckdb
        | Format::Unknown => None,
    };
    found.unwrap_or_default()
}

/// Looks into what lies inside a file, and puts its place before what is found there.
fn look_inside(place: String, name: &str, first: &[u8], second: &[u8], depth: usize) -> Found {
    let format = Format::of(name, first, second);
    let inner = look_at(format, name, first, second, depth + 1);
    let at = first_difference(first, second);
    let mut path = vec![format!("{place} differs at byte {at} of it; it is {}", format.words())];
    path.extend(inner.path);
    let says_more = !matches!(format, Format::Unknown | Format::Text | Format::Json);
    Found { path, hint: inner.hint.or_else(|| says_more.then(|| format.hint().to_owned())) }
}

fn in_archive(format: Format, first: &[u8], second: &[u8], depth: usize) -> Option<Found> {
    let (one, other) = (zip::members(first)?, zip::members(second)?);
    let names = |members: &[Member<'_>]| -> Vec<String> {
        members.iter().map(|member| member.name.clone()).collect()
    };
    let (these, those) = (names(&one), names(&other));
    if these != those {
        return Some(of_names(format, &these, &those));
    }
    // PyTorch's id is made from all other members: it says nothing where another differs.
    let is_derived = |member: &Member<'_>| member.name.ends_with(".data/serialization_id");
    let differ = |(a, b): &(&Member<'_>, &Member<'_>)| a.crc != b.crc;
    let pairs = || one.iter().zip(&other);
    let other_than_derived = pairs().find(|pair| differ(pair) && !is_derived(pair.0));
    if let Some((a, b)) = other_than_derived.or_else(|| pairs().find(differ)) {
        let place = format!("its member {}", a.name);
        let (Some(ours), Some(theirs)) = (a.content(), b.content()) else {
            return Some(Found { path: vec![format!("{place} differs")], hint: None });
        };
        let mut found = look_inside(place, &a.name, &ours, &theirs, depth);
        // What Keras says of itself counts for more than that its member is JSON.
        if matches!(format, Format::Keras | Format::Skops) {
            found.hint = None;
        }
        return Some(found);
    }
    let (a, b) = pairs().find(|(a, b)| a.time != b.time)?;
    let text =
        format!("its members are equal; the time of {} is {} and {}", a.name, a.time_text(), b.time_text());
    Some(Found { path: vec![text], hint: None })
}

fn of_names(format: Format, one: &[String], other: &[String]) -> Found {
    let root = |names: &[String]| names.first().and_then(|name| Some(name.split_once('/')?.0.to_owned()));
    if format == Format::Torch
        && let (Some(a), Some(b)) = (root(one), root(other))
        && a != b
    {
        let path = vec![format!("its members lie in the folder {a}/ and in {b}/")];
        return Found { path, hint: Some(TORCH_NAME.to_owned()) };
    }
    let sorted = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    let differs = one.iter().zip(other).find(|(a, b)| a != b);
    let text = match differs {
        Some((a, b)) if sorted(one) == sorted(other) => format!("its members are in another order: {a}, {b}"),
        Some((a, b)) => format!("a member is named {a} and {b}"),
        None => format!("it has {} and {} members", one.len(), other.len()),
    };
    Found { path: vec![text], hint: None }
}

fn in_gzip(name: &str, first: &[u8], second: &[u8], depth: usize) -> Option<Found> {
    let unpack = |bytes| unpack(flate2::read::MultiGzDecoder::new(bytes));
    let (ours, theirs) = (unpack(first)?, unpack(second)?);
    let name = name.strip_suffix(".gz").unwrap_or(name);
    if ours != theirs {
        let mut found = look_inside("its content".to_owned(), name, &ours, &theirs, depth);
        // It is not how it was packed that differs.
        found.hint = found.hint.or_else(|| Some(Format::Unknown.hint().to_owned()));
        return Some(found);
    }
    let time = |bytes: &[u8]| Some(u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?));
    let (one, other) = (time(first)?, time(second)?);
    let text = match one == other {
        true => "its content is equal; the file's name in its header, or how it was compressed, differs"
            .to_owned(),
        false => format!(
            "its content is equal; the time in its header is {one} and {other}, in seconds since 1970"
        ),
    };
    Some(Found { path: vec![text], hint: None })
}

fn in_zlib(name: &str, first: &[u8], second: &[u8], depth: usize) -> Option<Found> {
    let unpack = |bytes| unpack(flate2::read::ZlibDecoder::new(bytes));
    let (ours, theirs) = (unpack(first)?, unpack(second)?);
    if ours == theirs {
        let path = vec!["its content is equal; it was compressed at another level".to_owned()];
        return Some(Found { path, hint: Some("give compress= the same level each time".to_owned()) });
    }
    Some(look_inside("its content".to_owned(), name, &ours, &theirs, depth))
}

fn unpack(reader: impl Read) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    reader.take(UNPACKED_MAX).read_to_end(&mut content).ok()?;
    Some(content)
}

/// The element of an array that differs.
fn in_array(first: &[u8], second: &[u8]) -> Option<Found> {
    let (header, from) = array_header(first)?;
    let (other, _) = array_header(second)?;
    if header != other {
        let path = vec![format!("its header is {} and {}", shown(header.trim()), shown(other.trim()))];
        return Some(Found { path, hint: None });
    }
    let kind = header.split("'descr': '").nth(1)?.split('\'').next()?;
    let width: usize = kind.get(2..)?.parse().ok().filter(|width| *width > 0)?;
    let element = first_difference(first, second).checked_sub(from)? / width;
    let at = from + element * width;
    let (one, other) = (first.get(at..at + width)?, second.get(at..at + width)?);
    let Some((a, b)) = float(kind, one).zip(float(kind, other)) else {
        return Some(Found { path: vec![format!("its element {element} differs")], hint: None });
    };
    let close = (a - b).abs() <= 1e-6 * a.abs().max(b.abs());
    let path = vec![format!("its element {element} is {a} and {b}")];
    Some(Found { path, hint: close.then(|| FLOATS.to_owned()) })
}

fn array_header(bytes: &[u8]) -> Option<(&str, usize)> {
    let (length, from) = match bytes.get(6)? {
        1 => (u32::from(u16::from_le_bytes(bytes.get(8..10)?.try_into().ok()?)), 10),
        _ => (u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?), 12),
    };
    let end = from + length as usize;
    Some((std::str::from_utf8(bytes.get(from..end)?).ok()?, end))
}

fn float(kind: &str, bytes: &[u8]) -> Option<f64> {
    match kind {
        "<f8" => Some(f64::from_le_bytes(bytes.try_into().ok()?)),
        "<f4" => Some(f64::from(f32::from_le_bytes(bytes.try_into().ok()?))),
        _ => None,
    }
}

fn in_json(first: &[u8], second: &[u8]) -> Option<Found> {
    let parse = |bytes| serde_json::from_slice::<Value>(bytes).ok();
    let (one, other) = (parse(first)?, parse(second)?);
    let Some((pointer, a, b)) = differing_value(&one, &other) else {
        let path = vec!["its values are equal: their order or the spaces between them differ".to_owned()];
        let hint = "write keys in sorted order (`json.dump(…, sort_keys=True)`)";
        return Some(Found { path, hint: Some(hint.to_owned()) });
    };
    let hint = match (a.as_f64(), b.as_f64()) {
        _ if is_of_time(&pointer) => Some(TIME),
        (Some(a), Some(b)) if (a - b).abs() <= 1e-6 * a.abs().max(b.abs()) => Some(FLOATS),
        _ if pointer.contains("/gradient_booster/") => Some(ROWS),
        _ => None,
    };
    let path =
        vec![format!("its value {pointer} is {} and {}", shown(&a.to_string()), shown(&b.to_string()))];
    Some(Found { path, hint: hint.map(str::to_owned) })
}

/// The pointer to the first value that differs, and both values; an absent one is null.
fn differing_value<'v>(one: &'v Value, other: &'v Value) -> Option<(String, &'v Value, &'v Value)> {
    let below =
        |key: &str, found: (String, &'v Value, &'v Value)| (format!("/{key}{}", found.0), found.1, found.2);
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            let value = |of: &'v serde_json::Map<String, Value>, key| of.get(key).unwrap_or(&Value::Null);
            keys.into_iter().find_map(|key| Some(below(key, differing_value(value(a, key), value(b, key))?)))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let mut pairs = a.iter().zip(b).enumerate();
            pairs.find_map(|(at, (a, b))| Some(below(&at.to_string(), differing_value(a, b)?)))
        }
        _ => (one != other).then(|| (String::new(), one, other)),
    }
}

fn is_of_time(name: &str) -> bool {
    let name = name.to_lowercase();
    ["date", "time", "saved", "created"].iter().any(|word| name.contains(word))
}

/// The last key before the difference: its length as `L` and eight bytes, or `i` and one, and its text.
fn in_ubjson(first: &[u8], second: &[u8]) -> Option<Found> {
    let at = first_difference(first, second);
    let before = first.get(..at)?;
    let key = (0..at).rev().find_map(|from| match before.get(from)? {
        b'L' => {
            name_at(before, from + 9, u64::from_be_bytes(before.get(from + 1..from + 9)?.try_into().ok()?))
        }
        b'i' | b'U' => name_at(before, from + 2, u64::from(*before.get(from + 1)?)),
        _ => None,
    })?;
    let of_trees =
        ["split_conditions", "base_weights", "loss_changes", "sum_hessian", "split_indices", "left_children"];
    let hint = of_trees.contains(&key.as_str()).then(|| ROWS.to_owned());
    Some(Found { path: vec![format!("what follows its key {key} differs")], hint })
}

/// A name of some length, as keys and attributes have.
fn name_at(bytes: &[u8], from: usize, length: u64) -> Option<String> {
    let length = usize::try_from(length).ok().filter(|length| (2..100).contains(length))?;
    let text = std::str::from_utf8(bytes.get(from..from.checked_add(length)?)?).ok()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.chars().all(plain).then(|| text.to_owned())
}

/// The last name before the difference: its length in one byte (SHORT_BINUNICODE) and its text. It is the
/// attribute or key whose value differs, or one close to it.
fn in_pickle(first: &[u8], second: &[u8]) -> Option<Found> {
    let at = first_difference(first, second);
    let before = first.get(..at)?;
    let name = (0..at).rev().find_map(|from| {
        let name = match before.get(from)? {
            0x8c => name_at(before, from + 2, u64::from(*before.get(from + 1)?)),
            b'X' => name_at(
                before,
                from + 5,
                u64::from(u32::from_le_bytes(before.get(from + 1..from + 5)?.try_into().ok()?)),
            ),
            _ => None,
        }?;
        (!is_plumbing(&name)).then_some(name)
    })?;
    let hint = match name.as_str() {
        name if TREE.contains(&name) => Some(
            "a forest that was loaded and dumped differs in the padding of its nodes: no setting makes it equal. Compare predictions with --digest",
        ),
        "_n_threads" | "n_threads" | "n_jobs" | "_n_features_outs" => Some(THREADS),
        name if name.contains("random_state") || name.contains("rng") => {
            Some("a random state is in the pickle: seed it (random_state={seed})")
        }
        name if is_of_time(name) => Some(TIME),
        _ => None,
    };
    Some(Found { path: vec![format!("what follows the name {name} differs")], hint: hint.map(str::to_owned) })
}

/// Names of how arrays are pickled, which say nothing of whose they are.
fn is_plumbing(name: &str) -> bool {
    const NAMES: [&str; 11] = [
        "subclass",
        "shape",
        "order",
        "dtype",
        "allow_mmap",
        "numpy_array_alignment_bytes",
        "numpy",
        "ndarray",
        "scalar",
        "NumpyArrayWrapper",
        "_reconstruct",
    ];
    // Of numbers: `f8`.
    let is_kind =
        name.len() <= 3 && name.starts_with(['b', 'f', 'i', 'u', 'V']) && name[1..].parse::<u8>().is_ok();
    is_kind || NAMES.contains(&name)
}

/// The fields of a decision tree's nodes in scikit-learn.
const TREE: [&str; 9] = [
    "nodes",
    "left_child",
    "right_child",
    "feature",
    "threshold",
    "impurity",
    "n_node_samples",
    "weighted_n_node_samples",
    "missing_go_to_left",
];

fn in_text(first: &[u8], second: &[u8]) -> Option<Found> {
    let (one, other) = (std::str::from_utf8(first).ok()?, std::str::from_utf8(second).ok()?);
    let (mut a, mut b, mut number) = (one.split('\n'), other.split('\n'), 0);
    let (a, b) = loop {
        number += 1;
        match (a.next(), b.next()) {
            (a, b) if a == b && a.is_some() => {}
            (a, b) => break (a.unwrap_or_default(), b.unwrap_or_default()),
        }
    };
    let hint = match () {
        () if a.contains("thread") || a.contains("n_jobs") => Some(THREADS),
        () if a.contains("/batch-") || b.contains("/batch-") => {
            Some("a path of the attempt is in the file: paths differ between attempts, names do not")
        }
        () => None,
    };
    let path = vec![format!("its line {number} is {} and {}", shown(a), shown(b))];
    Some(Found { path, hint: hint.map(str::to_owned) })
}

/// A value stands before its key there.
fn in_catboost(first: &[u8], second: &[u8]) -> Option<Found> {
    let at = first_difference(first, second);
    let after = first.get(at..)?;
    let found = ["model_guid", "train_finish_time", "params", "training"].iter().filter_map(|key| {
        let follows = after.windows(key.len()).position(|window| window == key.as_bytes())?;
        Some((follows, *key))
    });
    let (_, key) = found.min()?;
    let hint = (key == "params").then(|| THREADS.to_owned());
    Some(Found { path: vec![format!("its metadata {key} differs")], hint })
}

fn in_safetensors(first: &[u8], second: &[u8]) -> Option<Found> {
    let header = |bytes: &[u8]| -> Option<(Vec<u8>, usize)> {
        let length = usize::try_from(u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?)).ok()?;
        Some((bytes.get(8..length.checked_add(8)?)?.to_vec(), 8 + length))
    };
    let ((one, from), (other, _)) = (header(first)?, header(second)?);
    if one != other {
        let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
        let equal = parse(&one)? == parse(&other)?;
        if equal {
            let path = vec!["its header has the same keys in another order".to_owned()];
            return Some(Found { path, hint: None });
        }
        let mut found = in_json(&one, &other)?;
        found.hint =
            found.hint.or_else(|| Some(TIME.to_owned()).filter(|_| found.path[0].contains("__metadata__")));
        return Some(found);
    }
    let at = (first_difference(first, second).checked_sub(from)?) as u64;
    let tensors: serde_json::Map<String, Value> = serde_json::from_slice(&one).ok()?;
    let name = tensors.iter().find_map(|(name, tensor)| {
        let offsets = tensor.get("data_offsets")?;
        let (begin, end) = (offsets.get(0)?.as_u64()?, offsets.get(1)?.as_u64()?);
        (begin..end).contains(&at).then_some(name)
    })?;
    Some(Found {
        path: vec![format!("its tensor {name} differs")],
        hint: Some(Format::Npz.hint().to_owned()),
    })
}

/// A value for people: short, and without control characters.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(SHOWN_MAX).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    let plain = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() };
    let short: String = short.chars().map(plain).collect();
    format!("`{short}{dots}`")
}
