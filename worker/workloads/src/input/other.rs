//! Files of other formats, known by how they begin: named, so that nobody looks for an error in CSV.

/// The format of a file that is neither CSV nor any that is read.
pub(super) fn format_of(bytes: &[u8]) -> Option<&'static str> {
    const MAGIC: [(&[u8], &str); 7] = [
        (b"ARROW1", "an Arrow file (Feather)"),
        (b"Obj\x01", "Avro"),
        (b"ORC", "ORC"),
        (b"\x89HDF", "HDF5"),
        (b"SQLite format 3\0", "a database of SQLite"),
        (b"\x93NUMPY", "an array of numpy"),
        (b"%PDF", "PDF"),
    ];
    let magic = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, name)| *name);
    magic
        .or_else(|| is_workbook(bytes).then_some("a workbook of Excel"))
        .or_else(|| is_tar(bytes).then_some("a tar archive"))
        .or_else(|| is_json(bytes).then_some("JSON"))
}

/// A zip archive whose first members are those of a workbook.
fn is_workbook(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(4096)];
    let has = |name: &[u8]| head.windows(name.len()).any(|part| part == name);
    bytes.starts_with(b"PK\x03\x04") && (has(b"[Content_Types].xml") || has(b"xl/"))
}

/// The mark of the first member's header.
fn is_tar(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
}

/// An object or a list of them: no header of CSV begins so.
fn is_json(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    let rest = text.strip_prefix(b"[").unwrap_or(text).trim_ascii_start();
    rest.strip_prefix(b"{").is_some_and(|object| matches!(object.trim_ascii_start(), [b'"', ..]))
}

#[cfg(test)]
mod tests {
    use super::format_of;

    #[test]
    fn other_formats_are_named_and_csv_is_none() {
        let tar = [&[b'a'; 257][..], b"ustar\x0000"].concat();
        let named: [(&[u8], &str); 6] = [
            (b"ARROW1\0\0", "an Arrow file (Feather)"),
            (b"{\"TX_AMOUNT\": 1}\n", "JSON"),
            (b"\n[ {\n \"TX_AMOUNT\": 1}]", "JSON"),
            (b"PK\x03\x04\x14\0\x06\0[Content_Types].xml", "a workbook of Excel"),
            (b"ORC\n", "ORC"),
            (&tar, "a tar archive"),
        ];
        for (bytes, name) in named {
            assert_eq!(format_of(bytes), Some(name));
        }
        let others: [&[u8]; 5] = [b"", b"TX_AMOUNT,TX_FRAUD\n", b"{a},b\n", b"[", b"PK\x03\x04rest"];
        for bytes in others {
            assert_eq!(format_of(bytes), None, "{bytes:?}");
        }
    }
}
