use std::collections::BTreeMap;
use std::io::Write;

use flate2::write::{GzEncoder, ZlibEncoder};
use flate2::{Compression, GzBuilder};
use proptest::prelude::*;

use super::*;

fn explained(path: &str, first: &[u8], second: &[u8]) -> String {
    let tree = |content: &[u8]| Tree {
        entries: BTreeMap::from([(
            path.to_owned(),
            Entry::File { executable: false, content: FileContent::Inline(content.to_vec()) },
        )]),
    };
    Difference::of_trees(&tree(first), &tree(second), &Blocks::new())
        .map(|found| found.to_string())
        .unwrap_or_default()
}

/// A zip archive that stores its members, all with one time in MS-DOS's form.
fn zip(members: &[(&str, &[u8])], time: u32) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in members {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let mut fields = Vec::new();
        fields.extend(20_u16.to_le_bytes());
        fields.extend([0; 4]);
        fields.extend(time.to_le_bytes());
        fields.extend(crc.sum().to_le_bytes());
        fields.extend((content.len() as u32).to_le_bytes());
        fields.extend((content.len() as u32).to_le_bytes());
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend(0_u16.to_le_bytes());
        let at = bytes.len() as u32;
        bytes.extend([b"PK\x03\x04", &fields[..], name.as_bytes(), content].concat());
        let rest = [0; 10];
        directory
            .extend([b"PK\x01\x02\x14\x00", &fields[..], &rest, &at.to_le_bytes(), name.as_bytes()].concat());
    }
    let (at, length, count) = (bytes.len() as u32, directory.len() as u32, members.len() as u16);
    bytes.extend(directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    bytes.extend([length.to_le_bytes(), at.to_le_bytes()].concat());
    bytes.extend(0_u16.to_le_bytes());
    bytes
}

/// 2026-11-30, 02:15:04 and two seconds later.
const TIMES: [u32; 2] = [0x5d7e_11e2, 0x5d7e_11e3];

fn npy(values: &[f64]) -> Vec<u8> {
    let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({},), }}\n", values.len());
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

fn gzip(content: &[u8], time: u32) -> Vec<u8> {
    let mut encoder: GzEncoder<Vec<u8>> = GzBuilder::new().mtime(time).write(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zlib(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A pickle of an object with one attribute, as far as telling it needs.
fn pickle(module: &[u8], attribute: &str, value: u8) -> Vec<u8> {
    let name = |text: &[u8]| [&[0x8c, text.len() as u8], text].concat();
    [b"\x80\x04\x95", &[0; 8][..], &name(module), &name(attribute.as_bytes()), b"K", &[value], b"s."].concat()
}

fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// A key of UBJSON and one byte of its value.
fn ubjson(key: &str, value: u8) -> Vec<u8> {
    let name = |text: &str| [b"L", &(text.len() as u64).to_be_bytes()[..], text.as_bytes()].concat();
    [b"{", &name("learner")[..], b"{", &name(key), b"[$d", &[value], b"}}"].concat()
}

#[test]
fn known_formats_are_explained() {
    let numbers = [npy(&[1.0, 2.0]), npy(&[1.0, 2.000_000_000_1])];
    let torch =
        |folder: &str| zip(&[(&format!("{folder}/data.pkl"), b"x"), (&format!("{folder}/version"), b"3")], 0);
    let keras = |date: &str| {
        zip(
            &[
                ("metadata.json", format!("{{\"date_saved\": \"{date}\"}}").as_bytes()),
                ("model.weights.h5", b"x"),
            ],
            0,
        )
    };
    let joblib = |attribute| [1, 2].map(|value| pickle(b"joblib.numpy_pickle", attribute, value));
    let forest = joblib("nodes");
    let tensors =
        |data: &[u8]| safetensors(r#"{"a":{"data_offsets":[0,2]},"b":{"data_offsets":[2,4]}}"#, data);
    let meta = |text: &str| safetensors(&format!(r#"{{"__metadata__":{{{text}}}}}"#), b"");
    let catboost = |value: &str| format!("CBM1....{value}\0\n\0model_guid\0").into_bytes();
    let lightgbm = |threads: u32| format!("tree\nversion=v4\n[num_threads: {threads}]\n").into_bytes();
    let cases: Vec<(&str, &str, Vec<u8>, Vec<u8>)> = vec![
        ("zip, times", "a.zip", zip(&[("x", b"1")], TIMES[0]), zip(&[("x", b"1")], TIMES[1])),
        ("zip, order", "a.zip", zip(&[("x", b"1"), ("y", b"1")], 0), zip(&[("y", b"1"), ("x", b"1")], 0)),
        ("npz", "w.npz", zip(&[("w.npy", &numbers[0])], 0), zip(&[("w.npy", &numbers[1])], 0)),
        ("torch, name", "m.pt", torch("m1"), torch("m2")),
        ("keras", "m.keras", keras("2026-11-30"), keras("2026-12-01")),
        ("gzip, time", "a.csv.gz", gzip(b"x", 1), gzip(b"x", 2)),
        ("gzip, content", "a.csv.gz", gzip(b"a\nb\n", 1), gzip(b"a\nc\n", 1)),
        ("joblib, forest", "f.joblib", forest[0].clone(), forest[1].clone()),
        ("joblib, compressed", "f.joblib", zlib(&joblib("coef_")[0]), zlib(&joblib("coef_")[1])),
        ("pickle, cores", "m.pkl", pickle(b"m", "_n_threads", 1), pickle(b"m", "_n_threads", 2)),
        ("safetensors, tensor", "m.safetensors", tensors(b"1234"), tensors(b"1235")),
        ("safetensors, order", "m.safetensors", meta(r#""a":"1","b":"2""#), meta(r#""b":"2","a":"1""#)),
        (
            "xgboost, json",
            "m.json",
            br#"{"learner":{"gradient_booster":{"t":[1]}}}"#.to_vec(),
            br#"{"learner":{"gradient_booster":{"t":[2]}}}"#.to_vec(),
        ),
        ("xgboost, ubj", "m.ubj", ubjson("base_weights", 1), ubjson("base_weights", 2)),
        ("lightgbm", "m.txt", lightgbm(1), lightgbm(2)),
        ("catboost", "m.cbm", catboost("abc"), catboost("abd")),
        ("avro", "m.avro", b"Obj\x01\0a".to_vec(), b"Obj\x01\0b".to_vec()),
        ("delta", "t/_delta_log/0.json", br#"{"commitInfo":1}"#.to_vec(), br#"{"commitInfo":2}"#.to_vec()),
        ("hdf5", "w.h5", b"\x89HDF\r\n\x1a\n1".to_vec(), b"\x89HDF\r\n\x1a\n2".to_vec()),
        ("text, path", "notes", b"x\n/tmp/batch-1/output\n".to_vec(), b"x\n/tmp/batch-2/output\n".to_vec()),
        ("unknown", "state", b"\0\x01\x02".to_vec(), b"\0\x01".to_vec()),
    ];
    let all: Vec<String> = cases
        .iter()
        .map(|(what, path, first, second)| format!("== {what}\n{}\n", explained(path, first, second)))
        .collect();
    insta::assert_snapshot!("known_formats", all.concat());
}

#[test]
fn the_first_path_that_differs_is_named() {
    let file = |content: &str| Entry::File {
        executable: false,
        content: FileContent::Inline(content.as_bytes().to_vec()),
    };
    let tree = |entries: &[(&str, Entry)]| Tree {
        entries: entries.iter().map(|(path, entry)| ((*path).to_owned(), entry.clone())).collect(),
    };
    let first = tree(&[("a", file("same")), ("b", file("1")), ("c", file("1"))]);
    let found = |second: &[(&str, Entry)]| {
        Difference::of_trees(&first, &tree(second), &Blocks::new()).map(|found| found.to_string())
    };
    assert_eq!(found(&[("a", file("same")), ("b", file("1")), ("c", file("1"))]), None);
    let words = found(&[("a", file("same")), ("b", file("2")), ("c", file("2"))]).unwrap();
    assert!(words.starts_with("b differs at byte 0 of 1\n"), "{words}");
    let words = found(&[("a", file("same")), ("b", Entry::Folder), ("c", file("1"))]).unwrap();
    assert!(words.starts_with("b is a file, folder or link"), "{words}");
    let words = found(&[("a", file("same")), ("c", file("1"))]).unwrap();
    assert!(words.starts_with("the first result has b, the second has not"), "{words}");
    let executable = Entry::File { executable: true, content: FileContent::Inline(b"1".to_vec()) };
    let words = found(&[("a", file("same")), ("b", executable), ("c", file("1"))]).unwrap();
    assert!(words.starts_with("b may be executed"), "{words}");
}

/// First bytes by which formats are recognized.
const MAGICS: [&[u8]; 8] = [
    b"PK\x03\x04",
    b"\x1f\x8b\x08",
    b"\x93NUMPY\x01\x00",
    b"\x80\x04",
    b"CBM1",
    b"\x78\x9c",
    b"{\"learner\"",
    b"\x02\0\0\0\0\0\0\0{\"",
];

proptest! {
    #[test]
    fn nothing_panics_on_what_only_looks_like_a_format(
        magic in prop::sample::select(&MAGICS[..]),
        first in prop::collection::vec(any::<u8>(), 0..80),
        second in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let (first, second) = ([magic, &first].concat(), [magic, &second].concat());
        prop_assert_eq!(explained("x", &first, &second).is_empty(), first == second);
    }

    #[test]
    fn a_cut_archive_is_no_archive(cut in any::<prop::sample::Index>()) {
        let bytes = zip(&[("x.npy", &npy(&[1.0])), ("y", b"2")], TIMES[0]);
        let cut = &bytes[..cut.index(bytes.len())];
        prop_assert!(!explained("x.npz", cut, &bytes).is_empty());
    }
}
