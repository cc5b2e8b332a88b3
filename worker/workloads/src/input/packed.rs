//! Files that are compressed as a whole, as pandas does by the ending of a name: `.csv.gz`, `.pkl.xz`.

use std::io::Read;

use super::reject::Reject;

/// Endings of the compressions that are read.
const ENDINGS: [&str; 4] = ["gz", "bz2", "xz", "zst"];

/// Maximum size of a decompressed file in bytes: that of five million rows of CSV.
const MAX_BYTES: usize = 1 << 29;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Bzip2,
    Xz,
    Zstandard,
}

/// A compression that the content shows, whether or not it is read.
pub(super) fn name_of(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [b'P', b'K', 3, 4, ..] => Some("zip"),
        // Of the default window, whatever the level. Such as joblib's, which is no DataFrame's pickle when unpacked.
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] if std::str::from_utf8(bytes).is_err() => {
            Some("zlib, as joblib does")
        }
        _ => Packing::of(bytes).map(Packing::name),
    }
}

/// A name without the ending of a compression.
pub(super) fn without_ending(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, ending)) if ENDINGS.contains(&ending.to_ascii_lowercase().as_str()) => stem,
        _ => name,
    }
}

impl Packing {
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Self::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstandard),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstandard => "Zstandard",
        }
    }

    /// Decompresses a file, which is one that ends as it should.
    pub(super) fn unpack(self, bytes: &[u8]) -> Result<Vec<u8>, Reject> {
        self.unpack_at_most(bytes, MAX_BYTES)
    }

    fn unpack_at_most(self, bytes: &[u8], most: usize) -> Result<Vec<u8>, Reject> {
        let whole = |reader: &mut dyn Read| {
            let mut unpacked = Vec::new();
            reader.take(most as u64 + 1).read_to_end(&mut unpacked).map(|_| unpacked)
        };
        let unpacked = match self {
            Self::Gzip => whole(&mut flate2::bufread::MultiGzDecoder::new(bytes)),
            Self::Bzip2 => whole(&mut bzip2::bufread::MultiBzDecoder::new(bytes)),
            Self::Xz => whole(&mut lzma_rust2::XzReader::new(bytes, true)),
            Self::Zstandard => {
                zstd::stream::read::Decoder::with_buffer(bytes).and_then(|mut reader| whole(&mut reader))
            }
        };
        match unpacked {
            Ok(unpacked) if unpacked.len() > most => Err(Reject::PackingLarge { mib: most >> 20 }),
            Ok(unpacked) => Ok(unpacked),
            Err(_) => Err(Reject::PackingDamaged(self.name())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn no_more_is_unpacked_than_may_be() {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        writer.write_all(&[b'x'; 3 << 20]).unwrap();
        let packed = writer.finish().unwrap();
        let unpacked = |most| Packing::Gzip.unpack_at_most(&packed, most).map(|unpacked| unpacked.len());
        assert_eq!(unpacked(3 << 20), Ok(3 << 20));
        assert_eq!(unpacked(2 << 20), Err(Reject::PackingLarge { mib: 2 }));
    }

    #[test]
    fn endings_are_seen_in_any_case() {
        assert_eq!(without_ending("a.csv.GZ"), "a.csv");
        assert_eq!(without_ending("a.csv"), "a.csv");
        assert_eq!(without_ending("gz"), "gz");
    }
}
